"""How many questions may be asked one by one, so that a comparison of the whole account always finds requests left. Pure.

A comparison says in a few requests what questions about single orders say in many; where these used up the minute, none came
through. Orders leave the same part (the meter's `query_reserve`). Times are monotonic ns.
"""

from __future__ import annotations

from adapters.http.meters import Lane, SlidingWindow
from core.units import NS_PER_MS

AGAIN_NS = 10 * NS_PER_MS  # requests that were begun may not be counted yet


class QuestionPace:
    """`budget` is the transport's own meter of requests, which the venue's word on what is used goes into as well."""

    def __init__(self, budget: SlidingWindow, kept: int) -> None:
        self._budget = budget
        self._kept = kept

    def room(self, now: int) -> int:
        """So many may be asked now."""
        return max(self._budget.left(now, Lane.QUERY) - self._kept, 0)

    def wait(self, now: int) -> int:
        """ns until there may be room again; never 0, for whoever asks in a loop."""
        return max(self._budget.wait(now, self._kept + 1, Lane.QUERY), AGAIN_NS)
