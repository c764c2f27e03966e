"""Counting within sliding windows of time: orders, messages, executions, refusals. Time is the event's, never a clock's."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque


class SlidingWindow:
    """The stamps of the last `events_max` events: is there room for one more?

    An event has left the window exactly `window_ns` after it happened. Stamps never go back: the Trader sees to it.
    """

    __slots__ = ("_stamps", "add", "events_max", "window_ns")

    def __init__(self, events_max: int, window_ns: int) -> None:
        assert events_max > 0
        self.events_max = events_max
        self.window_ns = window_ns
        self._stamps: deque[int] = deque(maxlen=events_max)
        self.add = self._stamps.append

    def has_room(self, now: int, reserve: int = 0) -> bool:
        """True while fewer than `events_max - reserve` events happened within the window."""
        stamps = self._stamps
        place = len(stamps) + reserve - self.events_max
        return place < 0 or now - stamps[place] >= self.window_ns

    def count(self, now: int) -> int:
        """How many of the last `events_max` events the window holds: for the text of a refusal, and for views."""
        return len(self._stamps) - bisect_right(self._stamps, now - self.window_ns)

    def clear(self) -> None:
        self._stamps.clear()
