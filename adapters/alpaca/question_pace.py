"""How many questions may be asked one by one, so that a comparison of the whole account always finds requests left. Pure.

A comparison says in a few requests what questions about single orders say in many; where these used up the minute, none came
through. Orders leave the same part (the meter's `query_reserve`). Times are monotonic ns.
"""

from __future__ import annotations

from adapters.http.meters import Lane, SlidingWindow
from core.units import NS_PER_MS

AGAIN_NS = 10 * NS_PER_MS  # requests that were begun may not be counted yet
# Between two rounds of questions, while of what they may use a half, a quarter, or less is left: those of one round share a list.
PAUSES_NS = ((2, 100 * NS_PER_MS), (4, 1_000 * NS_PER_MS))
PAUSE_NS_MAX = 2_000 * NS_PER_MS


class QuestionPace:
    """`budget` is the transport's own meter of requests, which the venue's word on what is used goes into as well."""

    def __init__(self, budget: SlidingWindow, kept: int) -> None:
        self._budget = budget
        self._kept = kept
        self._full = budget.most(Lane.QUERY) - kept
        self._asked = -PAUSE_NS_MAX

    def room(self, now: int) -> int:
        """So many may be asked, as far as the budget goes."""
        return max(self._budget.left(now, Lane.QUERY) - self._kept, 0)

    def turn(self, now: int) -> int:
        """So many questions may be asked now; 0 where the last round is not long enough ago."""
        return self.room(now) if now >= self._asked + self._pause(now) else 0

    def asked(self, now: int) -> None:
        """A round has begun."""
        self._asked = now

    def wait(self, now: int) -> int:
        """ns until it may be one's turn again; never 0, for whoever asks in a loop."""
        pause = self._asked + self._pause(now) - now
        return max(self._budget.wait(now, self._kept + 1, Lane.QUERY), pause, AGAIN_NS)

    def _pause(self, now: int) -> int:
        room = self.room(now)
        return next((pause for part, pause in PAUSES_NS if part * room >= self._full), PAUSE_NS_MAX)
