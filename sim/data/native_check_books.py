"""The native matching engine and the simulated venue as books that `data check` rebuilds: the recorded data proves them too."""

from __future__ import annotations

import numpy as np

from core.errors import InputError
from native.loader import make_book
from native.market_data import BUY, CLEAR, FLAG_LAST, LEVEL, MD_ROW, SELL
from native.venue import NativeVenue
from sim.data.check_books import Best, Resting

# Room for a day of one symbol's live orders and prices.
ORDERS_MAX = 1 << 17
LEVELS_MAX = 1 << 16
# The engine wants ids above 0; the seed's negative ones move up here, where no venue's ids are.
_SEED_ID_BASE = 1 << 62


class EngineOrderBook:
    """An OrderBook on the matching engine (native/book_api.h): every add goes through its matching code, and must not match."""

    def __init__(self) -> None:
        self._book = make_book(orders_max=ORDERS_MAX, levels_max=LEVELS_MAX)
        self._symbol = self._book.symbol_add(tick=1, lot=1, qty_min=1, qty_max=10**15, price_min=1, price_max=10**15)
        self._messages = 0

    def add(self, order_id: int, side: int, price: int, qty: int) -> None:
        reports = self._book.submit(0, order_id=_engine_id(order_id), side=side, price=price, qty=qty, symbol=self._symbol)
        if len(reports) != 1:
            raise InputError(f"order {order_id}, {qty} at {price}, does not rest in the engine: it crosses the book")
        self._count()

    def take(self, order_id: int, qty: int) -> None:
        self._book.execute_resting(0, _engine_id(order_id), qty)
        self._count()

    def resting(self, order_id: int) -> Resting | None:
        order = self._book.order(_engine_id(order_id))
        return None if order is None else Resting(order.side, order.price, order.leaves_qty)

    def is_head(self, order_id: int) -> bool:
        return self._book.queue_ahead(_engine_id(order_id)) == 0

    def best(self) -> Best:
        bid, ask = (self._book.best(self._symbol, side) for side in (BUY, SELL))
        return Best(None if bid is None else (bid.price, bid.qty), None if ask is None else (ask.price, ask.qty))

    def _count(self) -> None:
        self._messages += 1
        if self._messages % 4096 == 0:
            self._book.check()


class VenueLevelBook:
    """A LevelBook on the simulated venue's ladder (native/venue_api.h), fed with the rows that a backtest would feed."""

    def __init__(self) -> None:
        self._venue = NativeVenue()
        self._instrument = self._venue.add_instrument(levels_max=LEVELS_MAX)
        self._rows: list[tuple[int, ...]] = []
        self._ts = 0

    def clear(self) -> None:
        self._rows.append((self._ts, self._ts, 0, 0, 0, self._instrument, CLEAR, 2, 0))

    def set_level(self, side: int, price: int, qty: int) -> None:
        self._rows.append((self._ts, self._ts, price, qty, 0, self._instrument, LEVEL, side, 0))

    def best(self) -> Best:
        if self._rows:
            self._rows[-1] = (*self._rows[-1][:8], FLAG_LAST)
            self._venue.feed(np.array(self._rows, dtype=MD_ROW))
            self._rows.clear()
            self._ts += 1
            # Every row is one moment: the horizon lets the venue's clock reach it.
            self._venue.horizon(self._ts)
            assert self._venue.run() == []
            assert self._venue.check()
        bid, ask = (self._venue.depth_at_venue(self._instrument, side, 1) for side in (BUY, SELL))
        return Best(bid[0] if bid else None, ask[0] if ask else None)


def _engine_id(order_id: int) -> int:
    return order_id if order_id > 0 else _SEED_ID_BASE - order_id
