"""Polled order books and prints as market events. Pure.

A book is a snapshot: what happened between two of them nobody tells. Prints overlap from one page to the next; where they do not,
some were missed, and that is told as a gap.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from zlib import crc32

from adapters.ccxt_any.reports import Print
from core.enums import AggressorSide, Side
from core.events import AnyEvent, Book, GapDetected, Quote, Trade
from core.units import INT64_MAX

PRINTS_KEPT_MAX = 5_000
Levels = Sequence[tuple[int, int]]

_AGGRESSORS = {Side.BUY: AggressorSide.BUY, Side.SELL: AggressorSide.SELL, None: AggressorSide.NONE}


def book_events(instrument_id: str, ts_event: int, ts: int, bids: Levels, asks: Levels) -> list[AnyEvent]:
    bid_price, bid_qty = bids[0] if bids else (0, 0)
    ask_price, ask_qty = asks[0] if asks else (0, 0)
    return [
        Quote(ts_event, ts, instrument_id, bid_price, bid_qty, ask_price, ask_qty),
        Book(ts_event, ts, instrument_id, tuple(bids), tuple(asks)),
    ]


class PrintTape:
    """The prints of one instrument, each told once."""

    def __init__(self, instrument_id: str) -> None:
        self._instrument_id = instrument_id
        self._seen: OrderedDict[str, None] = OrderedDict()

    def page(self, prints: Sequence[Print], *, is_full: bool, ts: int) -> list[AnyEvent]:
        """The new ones of the latest page, oldest first. The first page tells nothing: it is of before. `is_full`: as many as
        were asked for, so that there may be others between this page and the one before it."""
        is_first = not self._seen
        new = [each for each in sorted(prints, key=lambda each: each.ts) if each.name not in self._seen]
        events: list[AnyEvent] = []
        if not is_first:
            if is_full and len(new) == len(prints):
                events.append(GapDetected(ts, ts, self._instrument_id))
            events += [
                Trade(each.ts, ts, self._instrument_id, each.price, each.qty, _AGGRESSORS[each.side], _number(each.name))
                for each in new
            ]
        self._seen.update((each.name, None) for each in new)
        while len(self._seen) > PRINTS_KEPT_MAX:
            self._seen.popitem(last=False)
        return events

    def forget(self) -> None:
        self._seen.clear()


def _number(name: str) -> int:
    """The exchange's number of a print, or one made of its name."""
    if name.isascii() and name.isdecimal() and len(name) <= 18:
        return int(name)
    return crc32(name.encode()) & INT64_MAX
