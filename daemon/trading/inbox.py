"""The one door into the loop: bounded, stamped by one clock, numbered.

When it is full
- market data is conflated: of each instrument the latest quote and the latest book wait outside; older ones, and public prints
  that find no room, are left out and counted. What waits outside comes in before anything newer, as soon as there is room.
- everything else (order events, market status, gaps) is never dropped: `offer` says no, and the feed waits in `put` until there
  is room. While a feed waits, its own connection is what holds the venue back.
"""

from __future__ import annotations

from collections import deque

import anyio
import msgspec

from core.events import AnyEvent, Book, Quote, Trade
from daemon.trading.clock import Clock

CONFLATED = (Quote, Book, Trade)


class Inbox:
    """`events_max` is the room; what is conflated waits outside it, two events for each instrument at most."""

    def __init__(self, clock: Clock, events_max: int) -> None:
        assert events_max > 0
        self._clock = clock
        self.events_max = events_max
        self._queue: deque[AnyEvent] = deque()
        self._latest: dict[tuple[type, str], AnyEvent] = {}
        self._filled = anyio.Event()
        self._emptied = anyio.Event()
        self.seq = 0  # events that came in so far
        self.conflated = 0  # market events that a later one replaced, or that were left out
        self.depth_max = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._latest)

    def offer(self, event: AnyEvent) -> bool:
        """Stamp and keep `event`; False where it must not be dropped and there is no room: await `put` then."""
        if len(self._queue) >= self.events_max:
            if not isinstance(event, CONFLATED):
                return False
            self._conflate(event)
            return True
        if self._latest:
            self._release()
        self._queue.append(self._stamp(event))
        self.depth_max = max(self.depth_max, len(self._queue))
        self._filled.set()
        return True

    async def put(self, event: AnyEvent) -> None:
        """As `offer`, but waits for room."""
        while not self.offer(event):
            self._emptied = anyio.Event()
            await self._emptied.wait()

    def _stamp(self, event: AnyEvent) -> AnyEvent:
        self.seq += 1
        return msgspec.structs.replace(event, ts_init=self._clock.now())

    def _conflate(self, event: Quote | Book | Trade) -> None:
        if isinstance(event, Trade):
            self.conflated += 1
            return
        key = (type(event), event.instrument_id)
        # Out and in again: what waits stays in the order of its stamps.
        if self._latest.pop(key, None) is not None:
            self.conflated += 1
        self._latest[key] = self._stamp(event)

    def _release(self) -> None:
        self._queue.extend(self._latest.values())
        self._latest.clear()

    def take(self, events_max: int) -> list[AnyEvent]:
        """The next events, oldest first, without waiting."""
        queue = self._queue
        if not queue and self._latest:
            self._release()
        taken = [queue.popleft() for _ in range(min(events_max, len(queue)))]
        if taken:
            self._emptied.set()
        return taken

    def oldest_ts(self) -> int | None:
        """Stamp of the event that comes out next; None where there is none."""
        if self._queue:
            return self._queue[0].ts_init
        return next((event.ts_init for event in self._latest.values()), None)

    async def wait(self) -> None:
        """Until there is something to take, or `wake` was called."""
        if not self._queue and not self._latest:
            if self._filled.is_set():
                self._filled = anyio.Event()
            await self._filled.wait()

    def wake(self) -> None:
        self._filled.set()
