"""A symmetric market maker: the same distance from the middle on both sides, or at the best prices.

    bid = floor_tick((best_bid + best_ask) / 2 - half_spread)       ask = ceil_tick((best_bid + best_ask) / 2 + half_spread)

Without half_spread it joins the best bid and the best offer. Level i rests i * level_step_ticks further out. It never crosses the
market: a bid stays below the best offer, an offer above the best bid. This is the benchmark strategy of Avellaneda and Stoikov,
"High-frequency trading in a limit order book", Quantitative Finance 8 (2008), section 3.3: constant spread around the mid-price.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from core.enums import TradingState
from core.events import AnyOrderEvent, GapDetected, Quote, StatusChanged
from core.instruments import Instrument
from core.orders import Order
from core.strategy import Context, Subscription
from core.units import NS_PER_MS
from strategies.parameters import find_instrument, parse_order_qty, parse_position_qty, parse_price_distance
from strategies.quoting import quote_ladder
from strategies.requote import NO_PRICES, Requoter


class SymmetricMaker:
    class Params(BaseModel):
        """Prices and quantities are decimal text in whole currency and whole units."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        instrument_id: str
        order_qty: str = Field(description="quantity of each order")
        position_qty_max: str = Field(description="largest position either way")
        half_spread: str | None = Field(default=None, description="distance from the middle; absent: join the best prices")
        levels: int = Field(default=1, ge=1, le=10, description="orders on each side")
        level_step_ticks: int = Field(default=1, ge=1, le=10_000)
        requote_interval_ms: int = Field(default=0, ge=0, le=3_600_000, description="look at the market at most so often")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        instrument = find_instrument(instruments, params.instrument_id)
        self._instrument_id = params.instrument_id
        self._interval_ns = params.requote_interval_ms * NS_PER_MS
        self._tick = instrument.tick
        self._step = params.level_step_ticks * instrument.tick
        self._levels = params.levels
        self._order_qty = parse_order_qty(instrument, "order_qty", params.order_qty)
        position_qty_max = parse_position_qty(instrument, "position_qty_max", params.position_qty_max)
        self._half_spread = (
            None if params.half_spread is None else parse_price_distance(instrument, "half_spread", params.half_spread)
        )
        self._requoter = Requoter(instrument, position_qty_max=position_qty_max)

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=self._instrument_id, quotes="price", interval_ns=self._interval_ns)]

    def on_quote(self, context: Context, quote: Quote) -> None:
        if quote.bid_qty == 0 or quote.ask_qty == 0 or quote.bid_price >= quote.ask_price:
            # One side alone is no middle, and a crossed market no market.
            self._requoter.aim(context, NO_PRICES, NO_PRICES, self._order_qty)
            return
        bid, ask, tick = quote.bid_price, quote.ask_price, self._tick
        if self._half_spread is not None:
            twice_mid = bid + ask
            bid = min((twice_mid - 2 * self._half_spread) // (2 * tick) * tick, ask - tick)
            ask = max(-(-(twice_mid + 2 * self._half_spread) // (2 * tick)) * tick, quote.bid_price + tick)
        bids, asks = quote_ladder(bid, ask, self._levels, self._step)
        self._requoter.aim(context, bids, asks, self._order_qty)

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
