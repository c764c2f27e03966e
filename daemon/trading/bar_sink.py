"""Between a venue's adapter and the inbox: the bars that strategies want and no venue sends, in front of what ends them.

In front of the inbox, because that leaves prints out when it is full, and a bar without them would be a wrong one.
"""

from __future__ import annotations

from collections import deque

from core.bars import Bars
from core.events import AnyEvent, Bar
from daemon.trading.clock import Clock
from daemon.trading.inbox import Inbox


class BarSink:
    """An EventSink. `tell_due` is to be called at `next_due` by whoever keeps the time."""

    def __init__(self, inbox: Inbox, clock: Clock, bars: Bars) -> None:
        self._inbox = inbox
        self._clock = clock
        self._bars = bars
        self._waiting: deque[Bar] = deque()  # for room in the inbox: one at most of each length and interval

    @property
    def next_due(self) -> int:
        """ns UTC."""
        return self._bars.next_due

    def offer(self, event: AnyEvent) -> bool:
        if self._bars.are_wanted:
            self._give(self._bars.receive(self._clock.now(), event))
        return self._inbox.offer(event)

    async def put(self, event: AnyEvent) -> None:
        if self._bars.are_wanted:
            self._give(self._bars.receive(self._clock.now(), event))
        await self._inbox.put(event)

    def tell_due(self) -> None:
        if self._bars.are_wanted:
            self._give(self._bars.due(self._clock.now()))

    def _give(self, bars: list[Bar]) -> None:
        if not bars and not self._waiting:
            return
        self._waiting += bars
        while self._waiting and self._inbox.offer(self._waiting[0]):
            self._waiting.popleft()
