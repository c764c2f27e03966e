"""How soon the venue may be asked again where everything stands, so that some weight is always left for other questions. Pure.

Whoever asks (a timer, a reconnect, a person, an order without an answer) asks through here. As long as little is used the answer
is: at once. Then inquiries are so far apart that what is left would last for a minute of them, but no further than where they
would use a third of our budget for ever. Only the last of it they leave alone as long as they can: it is for the questions about
single orders, which decide what an inquiry can only repeat. Times are monotonic ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.binance.endpoints import WEIGHT
from adapters.http.meters import Lane, SlidingWindow
from adapters.http.request import Request
from core.units import NS_PER_MINUTE

FREE_PERCENT = 50  # of our budget: while so much is left for questions, nobody waits
LASTING_PART = 3  # one in so many parts of it can be used for ever
KEPT_PART = 16  # one in so many is what is left alone


class InquiryPace:
    """`budget` is the transport's own meter of request weight, which the venue's word on what is used goes into as well."""

    def __init__(self, budget: SlidingWindow) -> None:
        self._budget = budget
        self._began = 0
        self._taken = 0  # by the inquiry under way, or the last one

    def wait(self, now: int) -> int:
        """ns until the next inquiry may begin, at most a minute after the last one."""
        # What others, or an earlier process, used leaves the window at its own time, in one piece perhaps: then nobody waits on.
        until_free = self._budget.wait(now, -(-FREE_PERCENT * self._budget.limit // 100), Lane.QUERY)
        if until_free == 0:
            return 0
        left = self._budget.left(now, Lane.QUERY)
        apart = NS_PER_MINUTE * self._taken // max(left, self._taken, 1)
        if left - self._taken >= self._budget.limit // KEPT_PART:
            apart = min(apart, NS_PER_MINUTE * self._taken * LASTING_PART // self._budget.limit)
        return max(0, min(self._began + apart - now, until_free))

    def begin(self, now: int) -> None:
        self._began, self._taken = now, 0

    def ask(self, requests: Sequence[Request[Any]]) -> None:
        """A batch of it leaves."""
        self._taken += sum(amount for request in requests for name, amount in request.costs if name == WEIGHT)
