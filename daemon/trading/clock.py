"""The one clock of a running daemon: ns UTC that never go back, whatever is done to the machine's own clock."""

from __future__ import annotations

import time
from typing import Protocol

# A process is stopped anywhere, between two readings too: one pair that was read within this tells how far apart two clocks are.
PAIR_NS_MAX = 1_000_000
PAIRS_MAX = 8


def wall_now() -> int:
    """The machine's own clock, ns UTC, steps and all."""
    # Looked up when it is called: a simulated machine puts its own in its place.
    return time.time_ns()


class Clock(Protocol):
    def now(self) -> int:
        """ns UTC, never less than any value before."""


class SystemClock:
    """Follows the wall clock where that is ahead, and runs on with the monotonic one where it was set back.

    `floor` is the last stamp of the runs before this one: a clock that was set back while nothing ran cannot make time go back.
    """

    def __init__(self, floor: int = 0) -> None:
        self._anchor_ns = max(time.time_ns(), floor)
        self._anchor_monotonic_ns = time.monotonic_ns()

    def now(self) -> int:
        # The wall clock first: were the process stopped between the two the other way round, its pause would count as a step
        # of the wall clock, and all later stamps would be ahead by it.
        wall = time.time_ns()
        elapsed_ns = time.monotonic_ns() - self._anchor_monotonic_ns
        ts = self._anchor_ns + elapsed_ns
        if wall > ts:
            self._anchor_ns, self._anchor_monotonic_ns = wall, self._anchor_monotonic_ns + elapsed_ns
            return wall
        return ts


def wall_offset_ns() -> int:
    """How far the wall clock is ahead of the monotonic one, by the pair of readings that lay closest together."""
    offset_ns, width_ns = 0, None
    before_ns = time.monotonic_ns()
    for _ in range(PAIRS_MAX):
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        if width_ns is None or after_ns - before_ns < width_ns:
            offset_ns, width_ns = wall_ns - after_ns, after_ns - before_ns
        if width_ns <= PAIR_NS_MAX:
            break
        before_ns = after_ns
    return offset_ns


class WallWatch:
    """Sees where somebody moves the machine's own clock."""

    def __init__(self) -> None:
        self._offset_ns = wall_offset_ns()

    def stepped_ns(self) -> int:
        """How far since the last question: forward above 0, back below."""
        offset_ns = wall_offset_ns()
        stepped_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        return stepped_ns

    def ahead_ns(self, clock: Clock) -> int:
        """How far `clock` is ahead of the machine's."""
        return max(clock.now() - time.time_ns(), 0)
