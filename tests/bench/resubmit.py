"""A strategy that sends a new order with every change of the best prices, and cancels the one before: each waits for the disk."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Context, Subscription


class Resubmitter:
    class Params(BaseModel):
        model_config = ConfigDict(extra="ignore")
        instrument_id: str
        order_qty: str

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._key = params.instrument_id
        (instrument,) = (each for each in instruments if each.instrument_id == self._key)
        self._qty = instrument.parse_qty(params.order_qty)

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=self._key, quotes="size")]

    def on_quote(self, context: Context, quote: Quote) -> None:
        for order in context.open_orders(self._key):
            context.cancel(order)
        context.submit(self._key, Side.BUY, self._qty, quote.bid_price)
