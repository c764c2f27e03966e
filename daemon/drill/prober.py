"""The drill's own strategy beside the user's: small orders of every kind, so that each fault finds an occasion.

One step every `pause_ms`, of the instruments in turn: an order that rests is placed, changed and canceled; a small one takes and
the next one gives it back; a post-only one is priced so that it would take. All of it passes the user's own limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.enums import Side, TimeInForce
from core.events import Quote
from core.instruments import Instrument
from core.orders import Order
from core.strategy import Subscription
from core.units import NS_PER_MS

AWAY_TICKS = 10  # of an order that is to rest
ORDERS_MAX = 4  # of one instrument: what is unknown for a while is not added to


class Prober:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        instrument_ids: list[str] = Field(description="what it trades")
        book_levels: dict[str, int] = Field(default={}, description="of these instruments it hears the book, so many levels")
        pause_ms: int = Field(default=250, ge=10, le=60_000, description="between two steps")

    def __init__(self, params: Params, instruments: Sequence[Instrument]) -> None:
        known = {instrument.instrument_id: instrument for instrument in instruments}
        self._instruments = [known[key] for key in params.instrument_ids]
        self._levels = params.book_levels
        self._pause_ns = params.pause_ms * NS_PER_MS
        self._step = 0

    def subscriptions(self) -> list[Subscription]:
        return [
            Subscription(instrument_id=key, quotes="price", book_levels=self._levels.get(key, 0))
            for key in (each.instrument_id for each in self._instruments)
        ]

    def on_start(self, context: Any) -> None:
        context.set_timer("probe", context.now + self._pause_ns)

    def on_timer(self, context: Any, name: str) -> None:
        context.set_timer(name, context.now + self._pause_ns)
        step, self._step = self._step, self._step + 1
        instrument = self._instruments[step % len(self._instruments)]
        quote = context.quote(instrument.instrument_id)
        if quote is not None and quote.bid_qty and quote.ask_qty:
            self._do(context, step // len(self._instruments) % 8, instrument, quote)

    def _do(self, context: Any, step: int, instrument: Instrument, quote: Quote) -> None:
        key, qty = instrument.instrument_id, _smallest(instrument)
        orders: list[Order] = context.open_orders(key)
        resting = [order for order in orders if order.price is not None]
        far = instrument.round_price(max(quote.bid_price - AWAY_TICKS * instrument.tick, instrument.price_min), "down")
        match step:
            case 0 | 4 if len(orders) < ORDERS_MAX:
                context.submit(key, Side.BUY, 2 * qty, far)
            case 1 | 5 if resting:
                context.replace(resting[-1], 2 * qty, far - instrument.tick)
            case 2 if len(orders) < ORDERS_MAX:
                context.submit(key, Side.BUY, qty, quote.ask_price, time_in_force=TimeInForce.IOC)
            case 3 | 7 if resting:
                context.cancel(resting[0])
            case 6 if context.position(key).qty > 0:
                context.submit(key, Side.SELL, qty, quote.bid_price, time_in_force=TimeInForce.IOC)
            case 6 if len(orders) < ORDERS_MAX:
                context.submit(key, Side.BUY, qty, quote.ask_price, post_only=True)
            case _:
                return


def _smallest(instrument: Instrument) -> int:
    """An order that keeps the rules and can be halved."""
    lots = -(-instrument.qty_min // instrument.lot)
    return lots * instrument.lot
