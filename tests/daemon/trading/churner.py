"""A strategy that never rests: orders, replaces and cancels drawn from its own seeded numbers, so that every path is walked."""

from __future__ import annotations

import random
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.events import Quote
from core.instruments import Instrument
from core.strategy import Subscription

INSTRUMENT = "ACME.SIM"
OPEN_MAX = 6


class Churner:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")
        seed: int = 1

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._random = random.Random(params.seed)

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        draw = self._random.random()
        orders = context.open_orders(INSTRUMENT)
        if draw < 0.5 and len(orders) < OPEN_MAX:
            side = self._random.choice((Side.BUY, Side.SELL))
            price = quote.bid_price if side is Side.BUY else quote.ask_price
            context.submit(INSTRUMENT, side, self._random.randint(1, 9), price)
        elif orders and draw < 0.7:
            order = self._random.choice(orders)
            context.replace(order, self._random.randint(1, 9), order.price + self._random.choice((-1, 0, 1)))
        elif orders and draw < 0.9:
            context.cancel(self._random.choice(orders))
