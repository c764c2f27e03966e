"""Our count of the venue's credits: exact, and empty before the venue's own, however requests bunch on the way."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from adapters.deribit.credits import Bucket, Credits, CreditSettings
from core.units import NS_PER_MS, NS_PER_SECOND


class ExactBucket:
    """Slow and obvious: whole history, exact fractions."""

    def __init__(self, size: int, refill_per_s: int) -> None:
        self.size, self.refill = size, refill_per_s
        self.tokens, self.ts = Fraction(size), 0

    def take(self, ts: int, cost: int, reserve: int) -> bool:
        self.tokens = min(Fraction(self.size), self.tokens + Fraction((ts - self.ts) * self.refill, NS_PER_SECOND))
        self.ts = ts
        if self.tokens - cost < reserve:
            return False
        self.tokens -= cost
        return True


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 2 * NS_PER_SECOND), st.integers(1, 5), st.integers(0, 5)), max_size=60),
)
def test_a_bucket_is_exact(size: int, refill: int, takes: list[tuple[int, int, int]]) -> None:
    bucket, oracle, ts = Bucket(size, refill, 0), ExactBucket(size, refill), 0
    for pause, cost, reserve in takes:
        ts += pause
        ready = bucket.ready_at(ts, cost, reserve)
        taken = bucket.take(ts, cost, reserve)
        assert taken == oracle.take(ts, cost, reserve)
        assert taken == (ready <= ts)


@given(st.lists(st.tuples(st.integers(0, 400 * NS_PER_MS), st.integers(0, 500 * NS_PER_MS)), max_size=200))
def test_the_venues_bucket_never_runs_out(sends: list[tuple[int, int]]) -> None:
    """Whatever leaves may be late by up to `jitter_ns`, and arrive in one bunch."""
    settings = CreditSettings(cancel_reserve=0)
    ours, ts, arrivals = Credits(settings, 0), 0, []
    for pause, delay in sends:
        ts += pause
        if ours.take_cancel(ts):
            arrivals.append(ts + delay)
    venue = ExactBucket(settings.engine_burst, settings.engine_per_s)
    assert all(venue.take(arrival, 1, 0) for arrival in sorted(arrivals))


def test_orders_leave_the_reserve_to_cancels() -> None:
    settings = CreditSettings(engine_burst=20, engine_per_s=5, cancel_reserve=6, jitter_ns=0)
    budget = Credits(settings, 0)
    orders = sum(budget.take_order(0) for _ in range(100))
    cancels = sum(budget.take_cancel(0) for _ in range(100))
    assert (orders, cancels, budget.cancel_ready_at(0)) == (14, 6, NS_PER_SECOND // 5)


def test_questions_leave_the_reserve_to_heartbeats() -> None:
    settings = CreditSettings(pool=50_000, query_reserve=20, jitter_ns=0)
    budget = Credits(settings, 0)
    asked = sum(budget.take_query(0) for _ in range(1_000))
    beats = sum(budget.take_session(0) for _ in range(1_000))
    assert (asked, beats) == (80, 20)
