"""How soon the venue may be asked again where everything stands, so that some weight is always left for other questions. Pure.

Whoever asks (a timer, a reconnect, a person, an order without an answer) asks through here. A third of a minute's weight for
questions may go at once and half of it comes back in a minute: a sixth is never touched, for the questions about single orders
whose outcome is unknown, which decide what the next inquiry can only repeat. Times are monotonic ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.binance.endpoints import WEIGHT
from adapters.http.meters import Lane, TokenBucket
from adapters.http.request import Request

SECONDS = 60


class InquiryPace:
    """`weight` is what questions may use in a minute."""

    def __init__(self, weight: int) -> None:
        self._bucket = TokenBucket(max(1, weight // 3), max(1, weight // (2 * SECONDS)))
        self._taken = 0  # by the inquiry under way, or the last one

    def wait(self, now: int) -> int:
        """ns until the next inquiry may begin: one like the last must be in hand."""
        return self._bucket.wait(now, self._taken, Lane.CANCEL)

    def begin(self) -> None:
        self._taken = 0

    def ask(self, now: int, requests: Sequence[Request[Any]]) -> None:
        """A batch of it leaves. What one inquiry takes beyond all that may go at once is not counted: it would wait for ever."""
        weight = sum(amount for request in requests for name, amount in request.costs if name == WEIGHT)
        counted = min(weight, self._bucket.capacity - self._taken)
        self._taken += counted
        self._bucket.take(now, counted)
