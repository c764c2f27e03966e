"""Orders that have to be asked about, until a fact ends it: when, and when an answer proves that there is nothing. Pure.

A request may still be done so long after it left as `bound_ns` says; a read that was begun later and does not find the order is
one proof, and it takes several, since one may have been answered by a server that was behind. Times are monotonic ns.
"""

from __future__ import annotations

from enum import IntFlag

import msgspec

from core.units import NS_PER_MS, NS_PER_SECOND

FIRST_ASK_NS = 250 * NS_PER_MS
ASK_AGAIN_NS = 500 * NS_PER_MS  # doubles
ASK_AGAIN_NS_MAX = 8 * NS_PER_SECOND


class Why(IntFlag):
    """What is not known of an order."""

    NEW = 1  # whether it came to be
    CANCEL = 2  # whether a cancel of it is still to be done
    CHANGE = 4  # whether a replace of it is
    FILLS = 8  # which executions made the quantity that it says is filled
    LOOK = 16  # how it stands: any answer will do


class Question(msgspec.Struct):
    client_order_id: int
    why: Why
    bound: int
    ask_at: int
    since: int
    wait: int = ASK_AGAIN_NS
    is_asked: bool = False
    is_alone: bool = False  # a list did not have it
    not_found: int = 0


class Questions:
    def __init__(self, bound_ns: int, not_found_needed: int) -> None:
        self._bound_ns = bound_ns
        self._needed = not_found_needed
        self._open: dict[int, Question] = {}

    def __contains__(self, client_order_id: int) -> bool:
        return client_order_id in self._open

    def get(self, client_order_id: int) -> Question | None:
        return self._open.get(client_order_id)

    def add(self, client_order_id: int, why: Why, *, sent: int, now: int) -> None:
        """`sent`: when the request left whose outcome is not known. A second one moves the bound: either may be under way."""
        known = self._open.get(client_order_id)
        bound = sent + self._bound_ns
        if known is None:
            # The stream is given a moment: most of what would be asked it tells by itself, and requests are few.
            self._open[client_order_id] = Question(client_order_id, why, bound, now + FIRST_ASK_NS, now)
            return
        if why & (Why.NEW | Why.CANCEL | Why.CHANGE):
            known.bound = max(known.bound, bound)
            known.not_found = 0
        known.why |= why
        if why is not Why.FILLS:  # they are asked for in their own time: the venue may be a while behind with them
            known.ask_at = min(known.ask_at, now + FIRST_ASK_NS)

    def due(self, now: int, most: int) -> list[Question]:
        """Whom to ask about now, oldest first, at most so many; each counts as asked until `later`, `not_found` or `settled`."""
        found = [each for each in self._open.values() if not each.is_asked and each.ask_at <= now]
        found = sorted(found, key=lambda each: (each.since, each.client_order_id))[:most]
        for each in found:
            each.is_asked = True
        return found

    def next_at(self) -> int | None:
        return min((each.ask_at for each in self._open.values() if not each.is_asked), default=None)

    def later(self, client_order_id: int, now: int) -> None:
        """The question has no answer that settles it yet."""
        known = self._open.get(client_order_id)
        if known is None:
            return
        known.is_asked = False
        wait, known.wait = known.wait, min(2 * known.wait, ASK_AGAIN_NS_MAX)
        # Not past the bound: the first answer that counts should come as soon as it can.
        known.ask_at = known.bound if now < known.bound < now + wait else now + wait

    def not_listed(self, client_order_id: int) -> None:
        """A list that was to show it did not: it is asked about by itself from here on."""
        known = self._open.get(client_order_id)
        if known is not None:
            known.is_alone = True

    def is_past_bound(self, client_order_id: int, asked: int) -> bool:
        known = self._open.get(client_order_id)
        return known is None or asked >= known.bound

    def not_found(self, client_order_id: int, asked: int, now: int) -> bool:
        """The venue does not have it, said to a question begun at `asked`. True: that proves that there is nothing."""
        known = self._open.get(client_order_id)
        if known is None:
            return False
        if asked >= known.bound:
            known.not_found += 1
            if known.not_found >= self._needed:
                del self._open[client_order_id]
                return True
        self.later(client_order_id, now)
        return False

    def settle(self, client_order_id: int, what: Why) -> None:
        """`what` of it is known now."""
        known = self._open.get(client_order_id)
        if known is None:
            return
        known.why &= ~what
        if not known.why:
            del self._open[client_order_id]

    def settled(self, client_order_id: int) -> None:
        self._open.pop(client_order_id, None)
