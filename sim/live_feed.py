"""A SimulatedVenue whose market is a live feed: what adapters say becomes rows, as a recording of it would have been.

Quotes become best prices, prints become prints, books the levels that changed. The book that orders meet is therefore what the
feed shows, beside which they stand as with recorded data of that kind (docs/MATCHING.md): nobody else's order reacts to ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.enums import AggressorSide
from core.events import AnyEvent, Book, GapDetected, Quote, StatusChanged, Trade
from native import market_data as md
from native.market_data import MD_ROW
from sim.outer_venue import OuterVenue
from sim.venue import SimulatedVenue

# Of events that wait for the venue's clock: a feed that brings more between two looks at it is held up.
ROWS_WAITING_MAX = 1 << 17
_SIDES = {AggressorSide.BUY: md.BUY, AggressorSide.SELL: md.SELL}

Row = tuple[int, int, int, int, int, int, int, int, int]


class LiveFeedVenue(OuterVenue):
    """`take_market` what the feed brings, `advance` to now. Stamps that go back, as of several venues, are moved up."""

    done = False

    def __init__(self, venue: SimulatedVenue, ts_start: int) -> None:
        super().__init__(venue)
        self._waiting: list[Row] = []
        self._levels: dict[str, tuple[dict[int, int], dict[int, int]]] = {}  # of the last book
        self._is_lost: set[str] = set()  # instruments whose book is not to be trusted since a gap
        self._ts_event = self._ts_init = ts_start
        self._horizon = ts_start + 1

    @property
    def now(self) -> int:
        return max(self.inner.now, self._horizon - 1)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= ROWS_WAITING_MAX

    def take_market(self, event: AnyEvent, now: int) -> None:
        """What is no market data is passed over: a connection that only watches has nothing else to say."""
        match event:
            case Quote():
                self._begin(event, now)
                self._row(event.instrument_id, md.BBO, md.BUY, event.bid_price, event.bid_qty)
                self._row(event.instrument_id, md.BBO, md.SELL, event.ask_price, event.ask_qty, flags=md.FLAG_LAST)
            case Trade():
                self._stamp(event.ts_event, now)
                side = _SIDES.get(event.aggressor_side, md.NO_SIDE)
                self._row(event.instrument_id, md.TRADE, side, event.price, event.qty, flags=md.FLAG_LAST, number=event.trade_id)
            case Book():
                self._begin(event, now)
                self._book(event)
            case GapDetected():
                self._stamp(event.ts_event, now)
                self._row(event.instrument_id, md.GAP, md.NO_SIDE, 0, 0, flags=md.FLAG_LAST)
                self._levels.pop(event.instrument_id, None)
                self._is_lost.add(event.instrument_id)
            case StatusChanged():
                self._stamp(event.ts_event, now)
                self._row(event.instrument_id, md.STATUS, md.NO_SIDE, int(event.status), 0, flags=md.FLAG_LAST)
            case _:
                pass

    def _begin(self, event: Quote | Book, now: int) -> None:
        self._stamp(event.ts_event, now)
        if event.instrument_id in self._is_lost:
            self._is_lost.remove(event.instrument_id)
            self._row(event.instrument_id, md.CLEAR, md.NO_SIDE, 0, 0, flags=md.FLAG_SNAPSHOT)

    def _book(self, book: Book) -> None:
        """The levels that are otherwise than before; one that left the book's depth counts as gone."""
        known = self._levels.get(book.instrument_id, ({}, {}))
        now = (dict(book.bids), dict(book.asks))
        for side, before, after in ((md.BUY, known[0], now[0]), (md.SELL, known[1], now[1])):
            for price in before.keys() - after.keys():
                self._row(book.instrument_id, md.LEVEL, side, price, 0)
        for side, before, after in ((md.BUY, known[0], now[0]), (md.SELL, known[1], now[1])):
            for price, qty in after.items():
                if before.get(price) != qty:
                    self._row(book.instrument_id, md.LEVEL, side, price, qty)
        self._levels[book.instrument_id] = now
        # The end of the packet, also of one that changed nothing: whoever wants every packet is woken.
        best = book.bids[0] if book.bids else (0, 0)
        self._row(book.instrument_id, md.LEVEL, md.BUY, *best, flags=md.FLAG_LAST)

    def _stamp(self, ts_event: int, now: int) -> None:
        self._ts_init = max(self._ts_init, now, self._horizon)
        self._ts_event = min(max(self._ts_event, ts_event), self._ts_init)

    def _row(self, instrument_id: str, kind: int, side: int, price: int, qty: int, *, flags: int = 0, number: int = 0) -> None:
        index = self.inner.index_of(instrument_id)
        self._waiting.append((self._ts_event, self._ts_init, price, qty, number, index, kind, side, flags))

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        """The next wake-up's events; empty where everything before `until_ts` has happened.

        Raises DataError for a feed that no book can follow.
        """
        # Every row that was fed has been used up when this comes back empty.
        events = self.inner.advance(self._horizon - 1)
        if events:
            return events
        if self._waiting:
            rows = _rows(self._waiting)
            self._waiting.clear()
            self.inner.feed(rows)
        # More rows of `until_ts` itself may follow: both clocks stop one ns before it.
        self._horizon = max(self._horizon, until_ts, self._ts_init + 1)
        self.inner.horizon(self._horizon)
        return self.inner.advance(self._horizon - 1)


def _rows(waiting: list[Row]) -> npt.NDArray[Any]:
    return np.array(waiting, dtype=MD_ROW)
