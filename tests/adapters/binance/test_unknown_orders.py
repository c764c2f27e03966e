"""The two-not-found rule: nothing but a fact ends an UNKNOWN, and a read counts only when nothing can be under way any more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.binance.unknown_orders import UnknownLimits, UnknownOrders
from adapters.http.request import Intent
from core.errors import CapacityError
from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND

LIMITS = UnknownLimits()
WINDOW, ERROR = 5 * NS_PER_SECOND, 40 * NS_PER_MS
# recvWindow + 10 s + clock error + margin
BOUND = WINDOW + 10 * NS_PER_SECOND + ERROR + 2 * NS_PER_SECOND


def orders(*intents: Intent, sent: int = 0) -> UnknownOrders:
    under = UnknownOrders(LIMITS)
    for index, intent in enumerate(intents, 1):
        under.add(index, "BTCUSDT.BINANCE", intent, sent=sent, recv_window_ns=WINDOW, clock_error_ns=ERROR)
    return under


def test_a_new_order_that_is_found_is_settled_at_once() -> None:
    under = orders(Intent.PLACE)
    assert [order.client_order_id for order in under.due(LIMITS.first_ask_ns)] == [1]
    assert under.due(LIMITS.first_ask_ns) == []  # it is being asked
    assert under.found(1, LIMITS.first_ask_ns, LIMITS.first_ask_ns + 5, is_open=True)
    assert len(under) == 0


def test_not_found_before_the_bound_proves_nothing_however_often() -> None:
    under = orders(Intent.PLACE)
    now = 0
    asked = []
    while True:
        now = under.next_at() or 0
        (order,) = under.due(now)
        if now >= order.bound:
            break
        asked.append(now)
        assert not under.not_found(1, now, now + NS_PER_MS)
    assert len(asked) >= 4
    # Asked before the bound and answered after it: that read may have been made before as well.
    assert not under.not_found(1, BOUND - 1, BOUND + 1)
    # The first question that counts comes as soon as it can.
    assert now == BOUND


def test_it_takes_two_reads_after_the_bound() -> None:
    under = orders(Intent.PLACE)
    under.due(BOUND)
    assert not under.not_found(1, BOUND, BOUND + NS_PER_MS)
    assert under.next_at() == BOUND + NS_PER_MS + LIMITS.ask_again_ns
    under.due(BOUND + 2 * NS_PER_SECOND)
    assert under.not_found(1, BOUND + 2 * NS_PER_SECOND, BOUND + 2 * NS_PER_SECOND)
    assert 1 not in under


def test_a_cancel_is_settled_by_the_end_of_the_order_or_after_the_bound() -> None:
    for intent in (Intent.CANCEL, Intent.CHANGE):
        under = orders(intent, intent)
        under.due(NS_PER_SECOND)
        assert not under.found(1, NS_PER_SECOND, NS_PER_SECOND, is_open=True)  # it may still be on its way
        assert under.found(2, NS_PER_SECOND, NS_PER_SECOND, is_open=False)
        assert not under.found(1, BOUND - 1, BOUND, is_open=True)
        assert under.found(1, BOUND, BOUND, is_open=True)
        assert len(under) == 0


def test_another_unknown_request_moves_the_bound_and_starts_the_count_anew() -> None:
    under = orders(Intent.PLACE)
    under.due(BOUND)
    assert not under.not_found(1, BOUND, BOUND)
    under.add(1, "BTCUSDT.BINANCE", Intent.CANCEL, sent=BOUND, recv_window_ns=WINDOW, clock_error_ns=ERROR)
    assert not under.not_found(1, BOUND + 1, BOUND + 1)
    assert not under.not_found(1, 2 * BOUND, 2 * BOUND)
    assert under.not_found(1, 2 * BOUND + 1, 2 * BOUND + 1)


def test_what_the_venue_may_have_forgotten_is_never_proven_gone() -> None:
    under = orders(Intent.PLACE)
    late = 3 * NS_PER_DAY
    for asked in (late, late + NS_PER_SECOND, late + 2 * NS_PER_SECOND):
        under.due(asked)
        assert not under.not_found(1, asked, asked)
    (order,) = under.due(late + NS_PER_DAY)
    assert order.is_beyond_retention


def test_the_stream_settles_it_and_late_answers_do_nothing() -> None:
    under = orders(Intent.PLACE)
    under.exists(1)
    under.exists(99)
    under.asked_in_vain(1, 5)
    assert (under.found(1, 0, 0, is_open=True), under.not_found(1, BOUND, BOUND), len(under)) == (True, False, 0)
    assert under.next_at() is None


def test_a_change_and_a_cancel_stay_unknown_when_the_order_is_seen() -> None:
    under = orders(Intent.PLACE)
    for intent in (Intent.CHANGE, Intent.CANCEL):
        under.add(1, "BTCUSDT.BINANCE", intent, sent=0, recv_window_ns=WINDOW, clock_error_ns=ERROR)
    under.exists(1)
    assert not under.found(1, NS_PER_SECOND, NS_PER_SECOND, is_open=True)
    under.changed(1)
    assert not under.found(1, NS_PER_SECOND, NS_PER_SECOND, is_open=True)
    under.ended(1)
    assert len(under) == 0


def test_questions_that_fail_are_asked_again_ever_more_slowly() -> None:
    under = orders(Intent.PLACE)
    now, waits = LIMITS.first_ask_ns, []
    for _ in range(6):
        under.due(now)
        under.asked_in_vain(1, now)
        following = under.next_at()
        assert following is not None
        waits.append((following - now) / NS_PER_SECOND)
        now = following
    assert waits == [1, 2, 4, 8, pytest.approx(1.79), 10]  # the fifth stops at the bound


def test_there_is_a_limit() -> None:
    under = UnknownOrders(UnknownLimits(orders_max=1))
    under.add(1, "X.Y", Intent.PLACE, sent=0, recv_window_ns=0, clock_error_ns=0)
    with pytest.raises(CapacityError):
        under.add(2, "X.Y", Intent.PLACE, sent=0, recv_window_ns=0, clock_error_ns=0)


@given(
    arrival=st.none() | st.integers(0, BOUND - 1),
    lag=st.integers(0, 3 * NS_PER_SECOND),
    delays=st.lists(st.integers(0, 3 * NS_PER_SECOND), min_size=40, max_size=40),
)
def test_an_order_that_exists_is_never_declared_gone(arrival: int | None, lag: int, delays: list[int]) -> None:
    """The engine takes it at any moment inside the bound; one read in a row may come from a server `lag` behind."""
    under = orders(Intent.PLACE)
    now, reads = 0, 0
    for delay in delays:
        following = under.next_at()
        if following is None:
            break
        now = max(now, following)
        if not under.due(now):
            continue
        reads += 1
        # Every other read sees the state of `lag` ago.
        sees = arrival is not None and arrival <= (now - lag if reads % 2 else now)
        if sees:
            assert under.found(1, now, now + delay, is_open=True)
        elif under.not_found(1, now, now + delay):
            assert arrival is None
        now += delay
    assert len(under) == 0
