"""Two simple moving averages of the close: long while the fast one is above the slow one, short while below.

    SMA_n(t) = (close_t + ... + close_{t-n+1}) / n

Source: W. Brock, J. Lakonishok, B. LeBaron, "Simple technical trading rules and the stochastic properties of stock returns",
Journal of Finance 47 (1992): the variable-length moving average rule, without a band. The averages are compared as whole numbers,
fast_sum * slow_bars against slow_sum * fast_bars: exact, and equal averages leave the position as it is.
"""

from __future__ import annotations

from collections import deque

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.enums import TradingState
from core.events import Bar, StatusChanged
from core.instruments import Instrument
from core.portfolio import Position
from core.strategy import Context, Subscription
from core.units import NS_PER_SECOND
from strategies.parameters import find_instrument, parse_order_qty
from strategies.target_position import TargetPosition


class SmaCross:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        instrument_id: str
        position_qty: str = Field(description="quantity held, long or short, decimal text")
        bar_s: int = Field(default=60, ge=1, le=604_800, description="length of the bars, seconds")
        fast_bars: int = Field(default=20, ge=1, le=100_000)
        slow_bars: int = Field(default=50, ge=2, le=100_000)

        @model_validator(mode="after")
        def _check_order(self) -> SmaCross.Params:
            if self.fast_bars >= self.slow_bars:
                raise ValueError(f"fast_bars {self.fast_bars} must be below slow_bars {self.slow_bars}")
            return self

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        instrument = find_instrument(instruments, params.instrument_id)
        self._instrument_id = params.instrument_id
        self._interval_ns = params.bar_s * NS_PER_SECOND
        self._fast = params.fast_bars
        self._slow = params.slow_bars
        self._qty = parse_order_qty(instrument, "position_qty", params.position_qty)
        self._position = TargetPosition(instrument)
        self._held_qty = 0
        self._closes = deque([0] * params.slow_bars, maxlen=params.slow_bars)
        self._bars_missing = params.slow_bars
        self._lead = 0  # fast_sum * slow_bars - slow_sum * fast_bars: its sign says which average is above

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=self._instrument_id, bars_ns=self._interval_ns)]

    def on_bar(self, context: Context, bar: Bar) -> None:
        closes, close = self._closes, bar.close
        # closes[-fast] leaves the fast average now, closes[0] the slow one.
        lead = (close - closes[-self._fast]) * self._slow - (close - closes[0]) * self._fast + self._lead
        self._lead = lead
        closes.append(close)
        if self._bars_missing:
            self._bars_missing -= 1
            if self._bars_missing:
                return
        if lead == 0:
            return
        target_qty = self._qty if lead > 0 else -self._qty
        if target_qty != self._held_qty:
            self._position.seek(context, target_qty)

    def on_position(self, context: Context, position: Position) -> None:
        self._held_qty = position.qty

    def on_status(self, context: Context, status: StatusChanged) -> None:
        self._position.on_status(status)

    def on_halt(self, context: Context, state: TradingState, reason: str) -> None:
        self._position.on_halt(context, state)

    def on_stop(self, context: Context, reason: str) -> None:
        self._position.cancel(context)
