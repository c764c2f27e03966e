"""A strategy for any feed: at every tenth quote or print it buys or sells one at that price, or cancels what rests."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote, Trade
from core.instruments import Instrument
from core.strategy import Context, Subscription

INSTRUMENT = "ACME.SIM"
EVERY = 10


class Follower:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._seen = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size", trades=True)]

    def on_quote(self, context: Context, quote: Quote) -> None:
        if quote.bid_price and quote.ask_price:
            self._act(context, quote.bid_price, quote.ask_price)

    def on_trade(self, context: Context, trade: Trade) -> None:
        self._act(context, trade.price, trade.price)

    def _act(self, context: Context, buy_at: int, sell_at: int) -> None:
        self._seen += 1
        if self._seen % EVERY:
            return
        resting = context.open_orders(INSTRUMENT)
        if len(resting) > 1:
            context.cancel(resting[0])
        elif self._seen // EVERY % 2:
            context.submit(INSTRUMENT, Side.BUY, 1, sell_at)
        else:
            context.submit(INSTRUMENT, Side.SELL, 1, buy_at)
