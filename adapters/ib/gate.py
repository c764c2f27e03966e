"""The message budget: no more a second than the gateway takes, the last of them kept for cancels. Pure.

What must not wait is refused by whoever asks `take` and is told no; what may wait is queued: cancels go first, then questions.
"""

from __future__ import annotations

from collections import deque

from core.errors import CapacityError
from core.units import NS_PER_SECOND

WAITING_MAX = 4_096
# A gateway counts a second as messages come in: what is delayed on its way may meet there what was sent later.
WINDOW_NS = NS_PER_SECOND + NS_PER_SECOND // 4
NEVER = (1 << 63) - 1


class Gate:
    def __init__(self, messages_per_second: int, cancel_reserve: int) -> None:
        self._all = messages_per_second
        self._others = messages_per_second - cancel_reserve
        self._sent: deque[int] = deque(maxlen=messages_per_second)
        self._cancels: deque[bytes] = deque()
        self._questions: deque[bytes] = deque()
        self._out: list[bytes] = []

    def clear(self) -> None:
        """The connection is gone; what waited was not sent. What was sent lately still counts."""
        self._cancels.clear()
        self._questions.clear()
        self._out.clear()

    def take(self, ts: int, frame: bytes) -> bool:
        """An order leaves now, or not at all."""
        if self._used(ts) >= self._others or self._cancels:
            return False
        self._leave(ts, frame)
        return True

    def cancel(self, ts: int, frame: bytes) -> None:
        """Leaves now or as soon as the gateway takes it. Raises CapacityError where too many wait."""
        self._wait(self._cancels, frame)
        self.release(ts)

    def ask(self, ts: int, frame: bytes) -> None:
        self._wait(self._questions, frame)
        self.release(ts)

    def release(self, ts: int) -> None:
        """What waits and may leave by now."""
        while self._cancels and self._used(ts) < self._all:
            self._leave(ts, self._cancels.popleft())
        while self._questions and not self._cancels and self._used(ts) < self._others:
            self._leave(ts, self._questions.popleft())

    def take_out(self) -> list[bytes]:
        """What has to be sent now, oldest first."""
        out, self._out = self._out, []
        return out

    @property
    def next_deadline(self) -> int:
        if not self._cancels and not self._questions:
            return NEVER
        needed = self._all if self._cancels else self._others
        return self._sent[-needed] + WINDOW_NS + 1 if len(self._sent) >= needed else 0

    def _used(self, ts: int) -> int:
        return sum(1 for sent in self._sent if ts - sent <= WINDOW_NS)

    def _leave(self, ts: int, frame: bytes) -> None:
        self._sent.append(ts)
        self._out.append(frame)

    @staticmethod
    def _wait(queue: deque[bytes], frame: bytes) -> None:
        if len(queue) >= WAITING_MAX:
            raise CapacityError(f"{WAITING_MAX} messages wait for the gateway already")
        queue.append(frame)
