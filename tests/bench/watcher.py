"""A strategy that wants everything and does little: each change of the best prices or their sizes, and each print."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.events import Quote, Trade
from core.instruments import Instrument
from core.strategy import Context, Subscription

INSTRUMENT = "ACME.SIM"


class Watcher:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self.middle_sum = 0
        self.volume = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size", trades=True)]

    def on_quote(self, context: Context, quote: Quote) -> None:
        self.middle_sum += quote.bid_price + quote.ask_price

    def on_trade(self, context: Context, trade: Trade) -> None:
        self.volume += trade.qty
