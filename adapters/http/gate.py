"""Which request goes next: lanes, budgets, a bound on what is under way, and the venue's own "slower". Pure; monotonic ns."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from adapters.http.meters import NEVER, Lane, Meter
from adapters.http.request import Intent, Throttle
from core.errors import CapacityError
from core.units import NS_PER_MS, NS_PER_SECOND

LANES = {
    Intent.CANCEL: Lane.CANCEL,
    Intent.CHANGE: Lane.ORDER,
    Intent.PLACE: Lane.ORDER,
    Intent.QUERY: Lane.QUERY,
    Intent.OTHER: Lane.QUERY,
}


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`in_flight_max` counts every lane; the reserves are slots of it."""

    in_flight_max: int = 16
    cancel_slots: int = 4  # for cancels alone
    order_slots: int = 4  # for orders and cancels
    waiting_max: int = 256  # in each lane
    # Where the venue says slower without saying for how long.
    backoff_first_ns: int = NS_PER_SECOND
    backoff_max_ns: int = 120 * NS_PER_SECOND
    ban_default_ns: int = 120 * NS_PER_SECOND
    ban_max_ns: int = 3 * 86_400 * NS_PER_SECOND
    # While others wait, cancels go on, the first at once, the others so far apart; twice as far for each one that is refused.
    cancel_pace_first_ns: int = 100 * NS_PER_MS
    cancel_pace_max_ns: int = 5 * NS_PER_SECOND


class Ticket:
    """One request's place. `granted` and `expired` are written by the gate; neither: it waits."""

    __slots__ = ("costs", "deadline", "expired", "granted", "intent", "lane")

    def __init__(self, intent: Intent, costs: tuple[tuple[str, int], ...], deadline: int) -> None:
        self.intent = intent
        self.lane = LANES[intent]
        self.costs = costs
        self.deadline = deadline
        self.granted = False
        self.expired = False

    def waits(self) -> bool:
        return not (self.granted or self.expired)


class Gate:
    def __init__(self, limits: GateLimits, meters: Mapping[str, Meter]) -> None:
        assert limits.cancel_slots + limits.order_slots < limits.in_flight_max
        self._limits = limits
        self._meters = dict(meters)
        self._lanes: tuple[deque[Ticket], ...] = tuple(deque() for _ in Lane)
        self._slots = (
            limits.in_flight_max,
            limits.in_flight_max - limits.cancel_slots,
            limits.in_flight_max - limits.cancel_slots - limits.order_slots,
        )
        self.in_flight = 0
        self._ban_until = 0
        self._slow_until = 0
        self._orders_until = 0
        self._backoff = limits.backoff_first_ns
        self._cancel_pace = limits.cancel_pace_first_ns
        self._cancel_next = 0

    def enter(self, intent: Intent, costs: tuple[tuple[str, int], ...], now: int, deadline: int) -> Ticket:
        """A place in its lane; ask `advance` what may go. Raises CapacityError where it could never go."""
        ticket = Ticket(intent, costs, deadline)
        lane = self._lanes[ticket.lane]
        if len(lane) >= self._limits.waiting_max:
            raise CapacityError(f"{len(lane)} requests wait in lane {ticket.lane.name} already")
        for name, amount in costs:
            if self._meters[name].wait(now, amount, ticket.lane) >= NEVER:
                raise CapacityError(f"{amount} of {name} is more than lane {ticket.lane.name} may ever use")
        lane.append(ticket)
        return ticket

    def advance(self, now: int) -> tuple[list[Ticket], int]:
        """Tickets that may go now or have waited too long, in order, and when to ask again (NEVER: when one leaves)."""
        moved: list[Ticket] = []
        wake = NEVER
        for lane in self._lanes:
            for ticket in [waiting for waiting in lane if waiting.deadline <= now]:
                ticket.expired = True
                lane.remove(ticket)
                moved.append(ticket)
            while lane:
                wait = self._wait(lane[0], now)
                if wait > 0:
                    wake = min(wake, now + wait, *(waiting.deadline for waiting in lane))
                    break
                self._grant(lane[0], now)
                moved.append(lane.popleft())
        return moved, wake

    def ban_left(self, now: int) -> int:
        """ns for which nothing at all may leave; 0: there is no ban."""
        return max(self._ban_until - now, 0)

    def why_waiting(self, ticket: Ticket, now: int) -> str:
        """What held a request back, for a message."""
        if now < self._ban_until:
            return f"the venue has banned this address for another {(self._ban_until - now) // NS_PER_SECOND} s"
        if now < self._slow_until:
            return f"the venue wants no requests for another {(self._slow_until - now) // NS_PER_MS} ms"
        if ticket.lane is Lane.ORDER and now < self._orders_until:
            return f"the venue takes no new orders for another {(self._orders_until - now) // NS_PER_MS} ms"
        if self.in_flight >= self._slots[ticket.lane]:
            return f"{self.in_flight} requests are under way"
        return "its request budget is used up"

    def _wait(self, ticket: Ticket, now: int) -> int:
        if self.in_flight >= self._slots[ticket.lane]:
            return NEVER - now
        wait = max(0, self._ban_until - now)
        if ticket.lane is Lane.CANCEL:
            if now < self._slow_until:
                wait = max(wait, self._cancel_next - now)
        else:
            wait = max(wait, self._slow_until - now)
        if ticket.lane is Lane.ORDER:
            wait = max(wait, self._orders_until - now)
        for name, amount in ticket.costs:
            wait = max(wait, self._meters[name].wait(now, amount, ticket.lane))
        return wait

    def _grant(self, ticket: Ticket, now: int) -> None:
        for name, amount in ticket.costs:
            self._meters[name].take(now, amount)
        if ticket.lane is Lane.CANCEL and now < self._slow_until:
            self._cancel_next = now + self._cancel_pace
        ticket.granted = True
        self.in_flight += 1

    def abandon(self, ticket: Ticket) -> None:
        """Its caller gave up while it waited."""
        assert not ticket.granted
        if not ticket.expired:
            self._lanes[ticket.lane].remove(ticket)

    def leave(self, ticket: Ticket, *, was_sent: bool) -> None:
        """A granted request is over. One that provably did not leave has used nothing."""
        assert ticket.granted
        self.in_flight -= 1
        if not was_sent:
            for name, amount in ticket.costs:
                self._meters[name].give_back(amount)

    def observe(self, name: str, used: int, now: int) -> None:
        meter = self._meters.get(name)
        if meter is not None:
            meter.observe(now, used)

    def served(self) -> None:
        """An answer that did not say slower."""
        self._backoff = self._limits.backoff_first_ns
        self._cancel_pace = self._limits.cancel_pace_first_ns

    def throttled(self, throttle: Throttle, intent: Intent, now: int) -> None:
        """The venue said slower to a request with `intent`.

        A ban serves nobody, so nobody asks, cancels neither. A throttle is about too many requests: a few cancels are worth
        more than its patience, so they go on, slowly, and the more slowly the more of them it refuses.
        """
        told = throttle.retry_after_ns
        if throttle.is_ban:
            wait = self._limits.ban_default_ns if told is None else min(told, self._limits.ban_max_ns)
            self._ban_until = max(self._ban_until, now + wait)
            return
        if told is None:
            told = self._backoff
            self._backoff = min(2 * self._backoff, self._limits.backoff_max_ns)
        until = now + min(told, self._limits.ban_max_ns)
        if throttle.orders_only:
            self._orders_until = max(self._orders_until, until)
            return
        self._slow_until = max(self._slow_until, until)
        if intent is Intent.CANCEL:
            self._cancel_pace = min(2 * self._cancel_pace, self._limits.cancel_pace_max_ns)
            self._cancel_next = max(self._cancel_next, now + self._cancel_pace)
