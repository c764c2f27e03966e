"""The gate: who goes first, what a reserve keeps, and what a throttle or a ban does to cancels and to everybody else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.gate import Gate, GateLimits, Ticket
from adapters.http.meters import NEVER, SlidingWindow
from adapters.http.request import Intent, Throttle
from core.errors import CapacityError
from core.units import NS_PER_MS, NS_PER_SECOND

FAR = 1000 * NS_PER_SECOND
LIMITS = GateLimits(in_flight_max=6, cancel_slots=2, order_slots=2, waiting_max=8)
COST = (("weight", 1),)


def gate(limit: int = 1000, limits: GateLimits = LIMITS) -> Gate:
    return Gate(limits, {"weight": SlidingWindow(limit, NS_PER_SECOND, cancel_reserve=2, order_reserve=2)})


def enter(target: Gate, *intents: Intent, now: int = 0, deadline: int = FAR) -> list[Ticket]:
    return [target.enter(intent, COST, now, deadline) for intent in intents]


def names(tickets: list[Ticket]) -> list[str]:
    return [ticket.intent.name for ticket in tickets]


def test_cancels_pass_orders_and_orders_pass_queries() -> None:
    under = gate()
    enter(under, Intent.QUERY, Intent.PLACE, Intent.OTHER, Intent.CHANGE, Intent.CANCEL)
    # Six slots: two for cancels alone, two more for orders; a query finds two of them free at most.
    moved, wake = under.advance(0)
    assert (names(moved), wake >= FAR - 1) == (["CANCEL", "PLACE", "CHANGE"], True)


def test_slots_are_kept_for_those_who_may_have_them() -> None:
    under = gate()
    enter(under, *[Intent.QUERY] * 5)
    assert names(under.advance(0)[0]) == ["QUERY"] * 2
    enter(under, *[Intent.PLACE] * 5)
    assert names(under.advance(0)[0]) == ["PLACE"] * 2
    enter(under, *[Intent.CANCEL] * 5)
    moved, _ = under.advance(0)
    assert (names(moved), under.in_flight) == (["CANCEL"] * 2, 6)
    under.leave(moved[0], was_sent=True)
    assert names(under.advance(0)[0]) == ["CANCEL"]


def test_the_budgets_reserve_is_for_cancels() -> None:
    under = gate(limit=5, limits=GateLimits(in_flight_max=60, cancel_slots=20, order_slots=20))
    enter(under, Intent.QUERY, Intent.QUERY)
    assert names(under.advance(0)[0]) == ["QUERY"]
    enter(under, *[Intent.PLACE] * 4)
    assert names(under.advance(0)[0]) == ["PLACE"] * 2
    enter(under, *[Intent.CANCEL] * 4)
    moved, wake = under.advance(0)
    assert names(moved) == ["CANCEL"] * 2
    assert NS_PER_SECOND <= wake <= NS_PER_SECOND + NS_PER_SECOND // 60
    assert names(under.advance(wake)[0]) == ["CANCEL"] * 2 + ["PLACE"]


def test_what_could_never_go_is_refused_at_once() -> None:
    under = gate(limit=5)
    with pytest.raises(CapacityError, match="more than lane QUERY may ever use"):
        under.enter(Intent.QUERY, (("weight", 2),), 0, FAR)
    enter(under, *[Intent.QUERY] * 8)
    with pytest.raises(CapacityError, match="8 requests wait"):
        enter(under, Intent.QUERY)
    assert names(enter(under, Intent.CANCEL)) == ["CANCEL"]


def test_a_deadline_behind_a_patient_request_is_kept() -> None:
    under = gate()
    under.throttled(Throttle(retry_after_ns=500 * NS_PER_SECOND), Intent.QUERY, 0)
    (patient,) = enter(under, Intent.PLACE)
    (hasty,) = enter(under, Intent.PLACE, deadline=NS_PER_SECOND)
    moved, wake = under.advance(0)
    assert (moved, wake) == ([], NS_PER_SECOND)
    moved, _ = under.advance(wake)
    assert (moved, hasty.expired, patient.waits()) == ([hasty], True, True)
    assert under.why_waiting(hasty, wake) == "the venue wants no requests for another 499000 ms"


def test_a_throttle_holds_others_back_and_only_paces_cancels() -> None:
    under = gate()
    under.throttled(Throttle(retry_after_ns=10 * NS_PER_SECOND), Intent.PLACE, 0)
    enter(under, Intent.PLACE, Intent.QUERY, Intent.CANCEL, Intent.CANCEL, Intent.CANCEL)
    pace = LIMITS.cancel_pace_first_ns
    moved, wake = under.advance(0)
    assert (names(moved), wake) == (["CANCEL"], pace)
    # This one is refused as well: the next waits twice as long.
    under.throttled(Throttle(retry_after_ns=10 * NS_PER_SECOND), Intent.CANCEL, pace // 2)
    under.leave(moved[0], was_sent=True)
    moved, wake = under.advance(pace)
    assert (names(moved), wake) == ([], pace // 2 + 2 * pace)
    moved, _ = under.advance(wake)
    assert names(moved) == ["CANCEL"]
    under.leave(moved[0], was_sent=True)
    assert names(under.advance(10_050 * NS_PER_MS)[0]) == ["CANCEL", "PLACE"]


def test_a_throttle_without_a_time_backs_off_twice_as_long_each_time() -> None:
    under = gate()
    (ticket,) = enter(under, Intent.PLACE)
    now = 0
    waits = []
    for _ in range(10):
        under.throttled(Throttle(), Intent.PLACE, now)
        moved, wake = under.advance(now)
        assert moved == []
        waits.append((wake - now) // NS_PER_SECOND)
        now = wake
    assert waits == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]
    under.served()
    under.throttled(Throttle(), Intent.PLACE, now)
    assert under.advance(now)[1] == now + NS_PER_SECOND
    assert ticket.waits()


def test_too_many_orders_hold_back_orders_alone() -> None:
    under = gate()
    under.throttled(Throttle(orders_only=True, retry_after_ns=NS_PER_SECOND), Intent.PLACE, 0)
    enter(under, Intent.PLACE, Intent.QUERY, Intent.CANCEL)
    moved, wake = under.advance(0)
    assert (names(moved), wake) == (["CANCEL", "QUERY"], NS_PER_SECOND)
    assert names(under.advance(wake)[0]) == ["PLACE"]


def test_a_ban_is_sat_out_by_everybody() -> None:
    under = gate()
    under.throttled(Throttle(is_ban=True, retry_after_ns=7 * NS_PER_SECOND), Intent.CANCEL, 0)
    (cancel,) = enter(under, Intent.CANCEL)
    assert under.advance(0) == ([], 7 * NS_PER_SECOND)
    assert under.why_waiting(cancel, 0) == "the venue has banned this address for another 7 s"
    assert names(under.advance(7 * NS_PER_SECOND)[0]) == ["CANCEL"]
    under.throttled(Throttle(is_ban=True), Intent.CANCEL, 0)
    enter(under, Intent.CANCEL)
    assert under.advance(0)[1] == LIMITS.ban_default_ns


def test_what_was_not_sent_costs_nothing() -> None:
    under = gate(limit=5)
    (ticket,) = enter(under, Intent.QUERY)
    under.advance(0)
    enter(under, Intent.QUERY)
    assert under.advance(0)[0] == []
    under.leave(ticket, was_sent=False)
    assert names(under.advance(0)[0]) == ["QUERY"]


@given(st.lists(st.tuples(st.sampled_from(Intent), st.integers(0, 300), st.booleans()), max_size=60), st.integers(0, 2**32))
def test_no_request_is_lost_and_no_bound_passed(steps: list[tuple[Intent, int, bool]], seed: int) -> None:
    """Random arrivals, ends and throttles: each ticket ends granted or expired, slots and window always hold."""
    under = gate(limit=6)
    now, tickets, running, granted_at = 0, [], [], []
    for intent, pause, is_throttled in steps:
        now += pause * NS_PER_MS
        if is_throttled:
            under.throttled(Throttle(retry_after_ns=pause * NS_PER_MS), intent, now)
        with suppress(CapacityError):
            tickets.append(under.enter(intent, COST, now, now + 3 * NS_PER_SECOND))
        moved, _ = under.advance(now)
        running += [ticket for ticket in moved if ticket.granted]
        granted_at += [now for ticket in moved if ticket.granted]
        assert under.in_flight == len(running) <= LIMITS.in_flight_max
        if running and (seed >> (now % 31)) & 1:
            under.leave(running.pop(), was_sent=True)
    while any(ticket.waits() for ticket in tickets):
        while running:
            under.leave(running.pop(), was_sent=True)
        moved, wake = under.advance(now)
        running += [ticket for ticket in moved if ticket.granted]
        granted_at += [now for ticket in moved if ticket.granted]
        if not moved:
            assert now < wake < NEVER
            now = wake
    assert all(ticket.granted != ticket.expired for ticket in tickets)
    assert all(sum(start <= at < start + NS_PER_SECOND for at in granted_at) <= 6 for start in granted_at)
