"""The strategies' timers, by the clock."""

from __future__ import annotations

import heapq

from core.commands import CancelTimer, SetTimer
from core.events import TimerFired


class Timers:
    """Due ones come out in the order of their moments, and at one moment in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._set: set[int] = set()

    def __len__(self) -> int:
        return len(self._set)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        if isinstance(command, SetTimer):
            self._set.add(command.timer_id)
            heapq.heappush(self._heap, (command.at, command.timer_id))
        else:
            self._set.discard(command.timer_id)
            self._drop_canceled()

    def next_ts(self) -> int | None:
        """When the next one is due, ns UTC; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int) -> list[TimerFired]:
        """Those due at `now`, stamped with it."""
        due: list[TimerFired] = []
        while self._heap and self._heap[0][0] <= now:
            at, timer_id = heapq.heappop(self._heap)
            self._set.discard(timer_id)
            due.append(TimerFired(at, now, timer_id))
            self._drop_canceled()
        return due

    def _drop_canceled(self) -> None:
        while self._heap and self._heap[0][1] not in self._set:
            heapq.heappop(self._heap)
