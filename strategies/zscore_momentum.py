"""Time-series momentum on bars: long when the latest move is unusually large upwards, short when downwards, flat when it fades.

With r the return of one bar, over a window of W bars with mean m and standard deviation s (ddof 1), and the last L <= W bars:

    z = (sum of the last L r - L m) / (s sqrt(L))
    |z| >= entry_z: position of position_qty in the direction of z;   |z| <= exit_z: flat;   between: as it was

Source: T. Moskowitz, Y. H. Ooi, L. H. Pedersen, "Time series momentum", Journal of Financial Economics 104 (2012): the sign of
the past return, scaled by volatility; entered on its z-score. Returns are kept as whole parts per billion, so that the running
sums are exact and stay so however long the run.
"""

from __future__ import annotations

import math
from collections import deque

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.enums import TradingState
from core.events import Bar, StatusChanged
from core.instruments import Instrument
from core.strategy import Context, Subscription
from core.units import NS_PER_SECOND
from strategies.parameters import find_instrument, parse_order_qty
from strategies.target_position import TargetPosition

PPB = 1_000_000_000


class ZScoreMomentum:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        instrument_id: str
        position_qty: str = Field(description="quantity held while the signal lasts, decimal text")
        bar_s: int = Field(default=60, ge=1, le=604_800, description="length of the bars, seconds")
        window_bars: int = Field(default=60, ge=3, le=100_000, description="W")
        lookback_bars: int = Field(default=5, ge=1, le=100_000, description="L")
        entry_z: float = Field(default=2.0, gt=0, le=100, allow_inf_nan=False)
        exit_z: float = Field(default=0.5, ge=0, le=100, allow_inf_nan=False)

        @model_validator(mode="after")
        def _check_order(self) -> ZScoreMomentum.Params:
            if self.exit_z >= self.entry_z:
                raise ValueError(f"exit_z {self.exit_z} must lie below entry_z {self.entry_z}")
            if self.lookback_bars > self.window_bars:
                raise ValueError(f"lookback_bars {self.lookback_bars} cannot exceed window_bars {self.window_bars}")
            return self

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        instrument = find_instrument(instruments, params.instrument_id)
        self._params = params
        self._qty = parse_order_qty(instrument, "position_qty", params.position_qty)
        self._position = TargetPosition(instrument)
        self._target_qty = 0
        self._close = 0
        self._returns: deque[int] = deque()  # the last W, parts per billion
        self._sum = 0
        self._sum_squares = 0
        self._sum_lookback = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=self._params.instrument_id, bars_ns=self._params.bar_s * NS_PER_SECOND)]

    def on_bar(self, context: Context, bar: Bar) -> None:
        previous, self._close = self._close, bar.close
        if previous <= 0 or bar.close <= 0:
            return  # the first bar; or a price from which no return can be made
        self._add((bar.close - previous) * PPB // previous)
        z = self.zscore()
        if z is None:
            return
        if abs(z) >= self._params.entry_z:
            self._target_qty = self._qty if z > 0 else -self._qty
        elif abs(z) <= self._params.exit_z:
            self._target_qty = 0
        self._position.seek(context, self._target_qty)

    def _add(self, value: int) -> None:
        returns, params = self._returns, self._params
        if len(returns) == params.window_bars:
            oldest = returns.popleft()
            self._sum -= oldest
            self._sum_squares -= oldest * oldest
        returns.append(value)
        self._sum += value
        self._sum_squares += value * value
        self._sum_lookback += value
        if len(returns) > params.lookback_bars:
            self._sum_lookback -= returns[-1 - params.lookback_bars]
        elif len(returns) == params.window_bars == params.lookback_bars:
            self._sum_lookback = self._sum

    def zscore(self) -> float | None:
        """z of the docstring; None until the window is full, and while every return in it is the same."""
        window, lookback = self._params.window_bars, self._params.lookback_bars
        if len(self._returns) < window:
            return None
        # W^2 times the population variance; exact, so never negative and 0 only where all returns are equal.
        spread = window * self._sum_squares - self._sum * self._sum
        if spread == 0:
            return None
        deviation = math.sqrt(spread / (window * (window - 1)))
        return (self._sum_lookback - lookback * self._sum / window) / (deviation * math.sqrt(lookback))

    def on_status(self, context: Context, status: StatusChanged) -> None:
        self._position.on_status(status)

    def on_halt(self, context: Context, state: TradingState, reason: str) -> None:
        self._position.on_halt(context, state)

    def on_stop(self, context: Context, reason: str) -> None:
        self._position.cancel(context)
