"""When a query is asked again, and how long after: bounded in number and in time. Nothing else is ever sent twice. Pure."""

from __future__ import annotations

import msgspec

from adapters.http.request import Intent, Outcome, Sent, T
from core.units import NS_PER_MS, NS_PER_SECOND


class RetryLimits(msgspec.Struct, frozen=True, kw_only=True):
    attempts_max: int = 4
    first_wait_ns: int = 100 * NS_PER_MS
    wait_max_ns: int = 2 * NS_PER_SECOND


# The request was fine and the moment was not: too many at once, or a server that is down.
_PASSING = frozenset({418, 429, 500, 502, 503, 504, 520, 522, 523, 524})


def wait_before_retry(limits: RetryLimits, intent: Intent, sent: Sent[T], attempts: int) -> int | None:
    """ns to wait before a query goes again after `attempts` times without an answer; None: it stays as it is."""
    if intent is not Intent.QUERY or sent.outcome is Outcome.ACCEPTED or attempts >= limits.attempts_max:
        return None
    if sent.answer is not None and sent.answer.status not in _PASSING:
        return None
    return min(limits.first_wait_ns << (attempts - 1), limits.wait_max_ns)
