"""The account's executions in one symbol as far as they were asked for: what to ask next, and what is known. Pure.

The venue gives executions by time, at most a window at once, or from an id on, at most a page at once. Asked every few seconds,
the whole of it would be read again each time; so what was read is kept, and only its end is read again: what was booked a moment
ago may have become visible since.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from adapters.binance.codec import TRADES_MAX
from adapters.binance.rest_bodies import TradeBody
from core.errors import CapacityError

READ_AGAIN_MS = 60_000
TRADES_KEPT_MAX = 200_000
# Further back than so many windows it is read from the first execution on instead.
WINDOWS_MAX = 30


class Window(msgspec.Struct, frozen=True):
    """Executions between two stamps, ms, both included."""

    since_ms: int
    until_ms: int


class Page(msgspec.Struct, frozen=True):
    """Executions from an id on."""

    from_id: int


class TradeLog:
    """`window_ms`: how far apart the two ends of a window may lie."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._since_ms = -1  # known from there on; -1: nothing is known
        self._until_ms = 0  # nothing was found before then, where `_trades` is empty
        self._trades: dict[tuple[int, int], TradeBody] = {}  # two orders of ours that meet share one id
        self._next: Window | Page | None = None
        self._now_ms = 0

    def begin(self, since_ms: int, now_ms: int) -> None:
        """Have everything from `since_ms` to `now_ms`, the venue's time."""
        self._now_ms = now_ms
        if self._since_ms < 0 or since_ms < self._since_ms:
            self._since_ms, self._until_ms = since_ms, since_ms
            self._trades.clear()
        else:
            self._forget(since_ms)
        self._next = self._from_here()

    def _forget(self, since_ms: int) -> None:
        kept = {key: trade for key, trade in self._trades.items() if trade.time >= since_ms - READ_AGAIN_MS}
        if kept or not self._trades:
            self._trades = kept
        else:
            # The last one stays: ids from it on are all that is new.
            last = max(self._trades)
            self._trades = {last: self._trades[last]}
        self._since_ms = since_ms

    def _from_here(self) -> Window | Page:
        if not self._trades:
            if self._now_ms - max(self._until_ms, self._since_ms) > WINDOWS_MAX * self._window_ms:
                return Page(0)
            since_ms = max(self._until_ms - READ_AGAIN_MS, self._since_ms)
            return Window(since_ms, min(since_ms + self._window_ms, max(self._now_ms, since_ms)))
        last_ms = max(trade.time for trade in self._trades.values())
        return Page(min(trade.id for trade in self._trades.values() if trade.time >= last_ms - READ_AGAIN_MS))

    @property
    def next(self) -> Window | Page | None:
        """What to ask; None: everything is known."""
        return self._next

    def answered(self, trades: list[TradeBody]) -> None:
        """The answer to `next`. Raises CapacityError where there are more than can be kept."""
        asked = self._next
        assert asked is not None
        self._trades.update(((trade.id, trade.order_id), trade) for trade in trades)
        if len(self._trades) > TRADES_KEPT_MAX:
            raise CapacityError(f"more than {TRADES_KEPT_MAX} executions since the last agreement")
        is_full = len(trades) >= TRADES_MAX
        if isinstance(asked, Window):
            if is_full and asked.until_ms > asked.since_ms:
                # Which part of the window a full page holds is nowhere said: half of it, until it is all there.
                self._next = Window(asked.since_ms, (asked.since_ms + asked.until_ms) // 2)
                return
            self._until_ms = asked.until_ms
            if trades:
                # From the last one that is known, ids lead on to the end, however many there are behind.
                self._next = Page(max(trade.id for trade in trades))
            elif asked.until_ms < self._now_ms:
                self._next = Window(asked.until_ms, min(asked.until_ms + self._window_ms, self._now_ms))
            else:
                self._next = None
            return
        if is_full:
            # The last id again: two orders of ours that met share it, and the page may end between them.
            last = max(trade.id for trade in trades)
            self._next = Page(last if last > asked.from_id else last + 1)
            return
        self._next, self._until_ms = None, self._now_ms

    def known(self, since_ms: int) -> list[TradeBody]:
        """Executions from `since_ms` on, in the order they happened."""
        rows = sorted(self._trades.values(), key=lambda trade: (trade.time, trade.id))
        return rows[bisect_left(rows, since_ms, key=lambda trade: trade.time) :]
