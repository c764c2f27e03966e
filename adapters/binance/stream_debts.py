"""Orders that an answer said were taken and that the account's stream has not told of yet. Pure; monotonic ns.

A WebSocket that answers pings may bring nothing else any more. No silence shows that, for an account may be quiet: but what was
taken must be told, within moments.
"""

from __future__ import annotations

from core.units import NS_PER_SECOND

LATE_NS = 5 * NS_PER_SECOND
OWED_MAX = 10_000


class StreamDebts:
    def __init__(self) -> None:
        self._owed: dict[int, int] = {}  # when each is overdue, oldest first

    def taken(self, client_order_id: int, now: int) -> None:
        """The venue has answered that it has the order, and the stream has said nothing of it."""
        if len(self._owed) < OWED_MAX:
            self._owed.setdefault(client_order_id, now + LATE_NS)

    def told(self, client_order_id: int) -> None:
        self._owed.pop(client_order_id, None)

    def is_overdue(self, now: int) -> bool:
        return next(iter(self._owed.values()), now + 1) <= now

    def clear(self) -> None:
        """Another connection owes nothing of what the last one left out."""
        self._owed.clear()
