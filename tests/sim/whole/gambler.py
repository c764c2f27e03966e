"""A strategy that does everything there is to do, at random from its seed: places, replaces, cancels, at every instrument."""

from __future__ import annotations

import random
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import OrderType, Side, TimeInForce
from core.instruments import Instrument
from core.strategy import Subscription

MS = 1_000_000
OPEN_MAX = 10
TICKS_AWAY_MAX = 6
LOTS_MAX = 8
TIMER = "gamble"


class Gambler:
    """Its seed and the time of its start decide everything, so that a replay does the same again."""

    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")
        seed: int = 1
        pause_ms: int = 300
        lots: dict[str, int] = {}  # of one step, by instrument
        plain: bool = False  # nothing but limit orders that rest or trade

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._params = params
        self._instruments = instruments
        self._random = random.Random(params.seed)
        self._pause_ns = params.pause_ms * MS

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=each.instrument_id, quotes="price") for each in self._instruments]

    def on_start(self, context: Any) -> None:
        self._random = random.Random(self._params.seed ^ context.now)
        context.set_timer(TIMER, context.now + self._pause_ns)

    def on_timer(self, context: Any, name: str) -> None:
        context.set_timer(name, context.now + self._random.randrange(self._pause_ns // 10, self._pause_ns * 2))
        self._act(context)

    def _act(self, context: Any) -> None:
        draw = self._random
        orders = context.open_orders()
        choice = draw.random()
        if choice < 0.25 and orders:
            context.cancel(draw.choice(orders))
        elif choice < 0.45 and orders:
            self._replace(context, draw.choice(orders))
        elif len(orders) < OPEN_MAX:
            self._submit(context, draw.choice(self._instruments))

    def _replace(self, context: Any, order: Any) -> None:
        quote = context.quote(order.instrument_id)
        instrument = context.instrument(order.instrument_id)
        if order.price is None or quote is None or not quote.bid_qty or not quote.ask_qty:
            return
        context.replace(order, self._quantity(instrument), self._price(order.side, quote, instrument))

    def _submit(self, context: Any, instrument: Instrument) -> None:
        draw, key = self._random, instrument.instrument_id
        quote = context.quote(key)
        if quote is None or not quote.bid_qty or not quote.ask_qty:
            return
        side = draw.choice((Side.BUY, Side.SELL))
        quantity, price = self._quantity(instrument), self._price(side, quote, instrument)
        kind = 1.0 if self._params.plain else draw.random()
        if kind < 0.1:
            context.submit(key, side, quantity, order_type=OrderType.MARKET)
        elif kind < 0.2:
            context.submit(key, side, quantity, price, time_in_force=TimeInForce.IOC)
        elif kind < 0.3:
            context.submit(key, side, quantity, price, reduce_only=True)
        elif kind < 0.5:
            context.submit(key, side, quantity, price, post_only=True)
        else:
            context.submit(key, side, quantity, price)

    def _quantity(self, instrument: Instrument) -> int:
        step = self._params.lots.get(instrument.instrument_id, 1)
        return instrument.lot * step * self._random.randint(1, LOTS_MAX)

    def _price(self, side: Side, quote: Any, instrument: Instrument) -> int:
        away = self._random.randint(-2, TICKS_AWAY_MAX) * instrument.tick
        price = quote.bid_price - away if side is Side.BUY else quote.ask_price + away
        return max(instrument.tick, int(price))
