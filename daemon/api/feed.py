"""Hands the daemon's one stream on to every WebSocket: market data conflated for each, fills kept in order for each.

A subscriber that does not read costs its own place and nothing else: the daemon never hears of it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from daemon.api.link import Link, Unanswered, Unreachable
from daemon.control.wire import STREAM_INTERVAL_MS_MAX

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 2.0
FILLS_WAITING_MAX = 1_000  # of one WebSocket

Line = dict[str, Any]


class MarketSubscriber:
    """The latest market of some instruments; each is sent at most once in `interval_s`."""

    def __init__(self, instruments: list[str], interval_s: float) -> None:
        self._wanted = frozenset(instruments)
        self._interval_s = interval_s
        self._waiting: dict[str, Line] = {}
        self._due_s: dict[str, float] = {}
        self._changed = anyio.Event()

    def take_in(self, line: Line) -> None:
        if line["instrument_id"] in self._wanted:
            self._waiting[line["instrument_id"]] = line
            self._changed.set()

    async def next(self) -> list[Line]:
        """Waits until there is one that may be sent."""
        while True:
            now_s = anyio.current_time()
            due = [key for key in self._waiting if self._due_s.get(key, 0.0) <= now_s]
            if due:
                self._due_s.update(dict.fromkeys(due, now_s + self._interval_s))
                return [self._waiting.pop(key) for key in due]
            self._changed = anyio.Event()
            next_s = min((self._due_s[key] for key in self._waiting), default=None)
            with anyio.move_on_after(None if next_s is None else next_s - now_s):
                await self._changed.wait()


class FillSubscriber:
    """One client's fills, every one of them, until `is_over`: then some may be missing, and whoever listens must be told."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self._waiting: deque[Line] = deque()
        self._changed = anyio.Event()
        self.is_over = False

    def take_in(self, line: Line) -> None:
        if line["strategy_id"] == self.client_id:
            self._waiting.append(line)
            if len(self._waiting) > FILLS_WAITING_MAX:
                self.is_over = True
            self._changed.set()

    def end(self) -> None:
        self.is_over = True
        self._changed.set()

    async def next(self) -> list[Line]:
        """Empty at the end."""
        while not self._waiting and not self.is_over:
            self._changed = anyio.Event()
            await self._changed.wait()
        if self.is_over:
            return []
        lines = list(self._waiting)
        self._waiting.clear()
        return lines


class Feed:
    """`run` it as a task; subscribers come and go."""

    def __init__(self, link: Link, interval_s: float) -> None:
        """`interval_s`: the shortest that a client may have; the daemon sends no more often than somebody could be sent it."""
        self._link = link
        interval_ms = min(int(interval_s * 1_000), STREAM_INTERVAL_MS_MAX)
        self._target = f"/stream?topics=md,fills&interval_ms={interval_ms}"
        self._markets: list[MarketSubscriber] = []
        self._fills: list[FillSubscriber] = []
        self._latest: dict[str, Line] = {}
        self.is_connected = False

    async def run(self) -> None:
        """Until cancelled: connects again for ever, ever more slowly while nobody answers."""
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                async for line in self._link.lines(self._target):
                    self.is_connected = True
                    backoff_s = BACKOFF_S_MIN
                    self._hand_on(line)
            except (Unreachable, Unanswered):
                self._lost()
            await anyio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    def _hand_on(self, line: Line) -> None:
        match line["type"]:
            case "md":
                self._latest[line["instrument_id"]] = line
                for market in self._markets:
                    market.take_in(line)
            case "fill":
                for subscriber in self._fills:
                    subscriber.take_in(line)

    def _lost(self) -> None:
        """What was the market is none any more, and fills may be missed from here on."""
        self.is_connected = False
        self._latest.clear()
        for subscriber in self._fills:
            subscriber.end()
        self._fills.clear()

    def open_market(self, instruments: list[str], interval_s: float) -> MarketSubscriber:
        subscriber = MarketSubscriber(instruments, interval_s)
        self._markets.append(subscriber)
        for line in self._latest.values():
            subscriber.take_in(line)
        return subscriber

    def open_fills(self, client_id: str) -> FillSubscriber:
        subscriber = FillSubscriber(client_id)
        if self.is_connected:
            self._fills.append(subscriber)
        else:
            subscriber.end()
        return subscriber

    def close_market(self, subscriber: MarketSubscriber) -> None:
        self._markets.remove(subscriber)

    def close_fills(self, subscriber: FillSubscriber) -> None:
        if subscriber in self._fills:
            self._fills.remove(subscriber)
