"""Budgets against slow and obvious oracles: no window ever overflows, no credit is made from nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.meters import NEVER, SLICES, Lane, SlidingWindow, TokenBucket
from core.units import NS_PER_SECOND

STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 12), st.sampled_from(Lane)), max_size=80)


@given(STEPS)
def test_no_window_of_the_venues_ever_holds_more_than_the_limit(steps: list[tuple[int, int, Lane]]) -> None:
    """Each step waits `pause`, then takes as soon as the meter lets it."""
    limit, interval = 20, 1000
    meter = SlidingWindow(limit, interval, cancel_reserve=4, order_reserve=6, query_reserve=3)
    allowed = {Lane.CANCEL: 20, Lane.ORDER: 13, Lane.QUERY: 10}
    now, taken = 0, []
    for pause, amount, lane in steps:
        now += pause
        wait = meter.wait(now, amount, lane)
        if amount > allowed[lane]:
            assert wait == NEVER
            continue
        now += wait
        assert meter.wait(now, amount, lane) == 0
        before = sum(count for at, count in taken if at > now - interval)
        assert before + amount <= allowed[lane]
        # It is not held back for longer than the window and one slice of it.
        assert wait <= interval + interval // SLICES + 1
        meter.take(now, amount)
        taken.append((now, amount))
    assert all(sum(count for at, count in taken if start <= at < start + interval) <= limit for start, _ in taken)


def test_what_the_venue_says_is_believed_upward_only() -> None:
    meter = SlidingWindow(100, 1000)
    meter.take(0, 30)
    meter.observe(10, 80)  # somebody else on this address
    assert (meter.used, meter.wait(10, 20, Lane.QUERY), meter.wait(10, 21, Lane.QUERY)) == (80, 0, 1005)
    meter.observe(20, 5)  # its own window began anew
    assert meter.used == 80
    assert meter.wait(1100, 100, Lane.QUERY) == 0


def test_what_was_not_sent_is_given_back() -> None:
    meter = SlidingWindow(10, 1000)
    meter.take(0, 4)
    meter.take(500, 6)
    meter.give_back(6)
    assert (meter.used, meter.wait(600, 6, Lane.QUERY), meter.wait(600, 7, Lane.QUERY)) == (4, 0, 415)
    meter.give_back(100)
    assert meter.used == 0


@given(STEPS)
def test_credits_follow_the_refill_exactly(steps: list[tuple[int, int, Lane]]) -> None:
    capacity, refill = 20, 7
    meter = TokenBucket(capacity, refill, cancel_reserve=4, order_reserve=6)
    floors = {Lane.CANCEL: 0, Lane.ORDER: 4, Lane.QUERY: 10}
    now, held = 0, capacity * NS_PER_SECOND
    for pause, amount, lane in steps:
        pause_ns = pause * NS_PER_SECOND // 100
        now += pause_ns
        held = min(capacity * NS_PER_SECOND, held + pause_ns * refill)
        wait = meter.wait(now, amount, lane)
        if amount > capacity - floors[lane]:
            assert wait == NEVER
            continue
        missing = (amount + floors[lane]) * NS_PER_SECOND - held
        assert wait == max(0, -(-missing // refill))
        now += wait
        held = min(capacity * NS_PER_SECOND, held + wait * refill)
        meter.take(now, amount)
        held -= amount * NS_PER_SECOND
        assert held >= floors[lane] * NS_PER_SECOND


def test_credits_reported_by_the_venue_count() -> None:
    meter = TokenBucket(100, 10)
    meter.observe(0, 95)
    assert meter.wait(0, 10, Lane.CANCEL) == NS_PER_SECOND // 2
    meter.give_back(1000)
    assert meter.wait(0, 100, Lane.CANCEL) == 0


@pytest.mark.parametrize(("cancel", "order", "query"), [(5, 5, 0), (10, 0, 0), (5, 0, 5)])
def test_reserves_leave_something_for_everybody(cancel: int, order: int, query: int) -> None:
    with pytest.raises(AssertionError):
        SlidingWindow(10, 1000, cancel_reserve=cancel, order_reserve=order, query_reserve=query)
