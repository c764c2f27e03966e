"""A strategy that takes one at the best price again and again, buying and selling in turn: orders and fills at a steady rate."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.enums import Side, TimeInForce
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Context, Subscription

INSTRUMENT = "ACME.SIM"
INTERVAL_NS = 10_000_000


class Taker:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._side = Side.BUY
        self._next_ts = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Context, quote: Quote) -> None:
        # By itself: strategies on one instrument share the finest of their filters.
        if context.now < self._next_ts:
            return
        self._next_ts = context.now + INTERVAL_NS
        price = quote.ask_price if self._side is Side.BUY else quote.bid_price
        context.submit(INSTRUMENT, self._side, 1, price, time_in_force=TimeInForce.IOC)
        self._side = Side.SELL if self._side is Side.BUY else Side.BUY
