"""Maker: what every market maker here shares: parameters, when it wakes, when it must not quote. A maker adds only its prices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from core.enums import TradingState
from core.events import AnyOrderEvent, GapDetected, Quote, StatusChanged
from core.instruments import Instrument
from core.orders import Order
from core.strategy import Context, Subscription
from core.units import NS_PER_MS
from strategies.parameters import find_instrument, parse_order_qty, parse_position_qty
from strategies.requote import NO_PRICES, Requoter


class MakerParams(BaseModel):
    """Prices and quantities are decimal text, in whole currency and whole units of the instrument."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instrument_id: str
    order_qty: str = Field(description="quantity of each order")
    position_qty_max: str = Field(description="largest position either way; open orders count towards it")
    levels: int = Field(default=1, ge=1, le=10, description="orders on each side")
    level_step_ticks: int = Field(default=1, ge=1, le=10_000, description="distance between levels")
    post_only: bool = Field(default=True, description="false: where the venue has no such orders; one that comes late may trade")
    requote_interval_ms: int = Field(default=0, ge=0, le=3_600_000, description="look at the market at most so often")


class Maker(ABC):
    """Quotes one bid and one ask, or ladders of them, at the prices of `prices`; cancels all where there is no price to trust.

    It never crosses the market: a bid stays below the best offer, an ask above the best bid, every order is post-only
    unless the parameters say otherwise.
    """

    def __init__(self, params: MakerParams, instruments: Sequence[Instrument]) -> None:
        self.instrument = find_instrument(instruments, params.instrument_id)
        self._instrument_id = params.instrument_id
        self._interval_ns = params.requote_interval_ms * NS_PER_MS
        self._tick = self.instrument.tick
        self._levels = params.levels
        self._step = params.level_step_ticks * self.instrument.tick
        self.order_qty = parse_order_qty(self.instrument, "order_qty", params.order_qty)
        position_qty_max = parse_position_qty(self.instrument, "position_qty_max", params.position_qty_max)
        self._requoter = Requoter(self.instrument, position_qty_max=position_qty_max, post_only=params.post_only)

    @abstractmethod
    def prices(self, context: Context, quote: Quote) -> tuple[int, int] | None:
        """The bid below the ask to quote at, points on tick; None: out of the market. `quote` has both sides, not crossed."""

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=self._instrument_id, quotes="price", interval_ns=self._interval_ns)]

    def on_quote(self, context: Context, quote: Quote) -> None:
        best_bid, best_ask = quote.bid_price, quote.ask_price
        # One side alone has no middle, and a crossed market is none.
        found = None
        if quote.bid_qty > 0 and quote.ask_qty > 0 and best_bid < best_ask and self._requoter.may_quote:
            found = self.prices(context, quote)
        if found is None:
            self._requoter.aim(context, NO_PRICES, NO_PRICES, self.order_qty)
            return
        bid = min(found[0], best_ask - self._tick)
        ask = max(found[1], best_bid + self._tick)
        if self._levels == 1:
            self._requoter.aim(context, (bid,), (ask,), self.order_qty)
            return
        step, depth = self._step, self._levels * self._step
        self._requoter.aim(context, range(bid, bid - depth, -step), range(ask, ask + depth, step), self.order_qty)

    def on_order(self, context: Context, order: Order, event: AnyOrderEvent) -> None:
        quote = context.quote(self._instrument_id)
        if self._requoter.on_order(order, event, context.now) and quote is not None:
            self.on_quote(context, quote)

    def on_status(self, context: Context, status: StatusChanged) -> None:
        self._requoter.on_status(context, status)

    def on_gap(self, context: Context, gap: GapDetected) -> None:
        if gap.instrument_id == self._instrument_id:
            self._requoter.withdraw(context)

    def on_halt(self, context: Context, state: TradingState, reason: str) -> None:
        self._requoter.on_halt(context, state)

    def on_reconciled(self, context: Context) -> None:
        self._requoter.on_reconciled(context)

    def on_stop(self, context: Context, reason: str) -> None:
        self._requoter.on_stop(context)
