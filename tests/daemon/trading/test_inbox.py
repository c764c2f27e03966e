"""The inbox: what is stamped, what waits, what is conflated and what never is."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import AggressorSide, MarketStatus, Reason
from core.events import AnyEvent, OrderCanceled, Quote, StatusChanged, Trade
from daemon.trading.inbox import Inbox
from tests.daemon.trading.harness import HandClock, kinds


def quote(instrument_id: str, bid: int) -> Quote:
    return Quote(1, 1, instrument_id, bid, 1, bid + 1, 1)


def canceled(order_id: int) -> OrderCanceled:
    return OrderCanceled(1, 1, order_id, 5, Reason.REQUESTED)


def test_events_are_stamped_and_numbered_in_the_order_they_came() -> None:
    clock = HandClock(100)
    inbox = Inbox(clock, 10)
    inbox.offer(quote("A.X", 1))
    clock.ts = 200
    inbox.offer(canceled(1))
    assert [event.ts_init for event in inbox.take(10)] == [100, 200]
    assert inbox.seq == 2


def test_a_full_inbox_keeps_the_latest_quote_of_each_instrument() -> None:
    inbox = Inbox(HandClock(), 2)
    for bid in range(5):
        assert inbox.offer(quote("A.X", bid))
        assert inbox.offer(quote("B.X", bid))
    taken = inbox.take(10) + inbox.take(10)
    assert [(event.instrument_id, event.bid_price) for event in taken if isinstance(event, Quote)] == [
        ("A.X", 0),
        ("B.X", 0),
        ("A.X", 4),
        ("B.X", 4),
    ]
    assert inbox.conflated == 6


def test_public_prints_that_find_no_room_are_counted() -> None:
    inbox = Inbox(HandClock(), 1)
    inbox.offer(quote("A.X", 1))
    assert inbox.offer(Trade(1, 1, "A.X", 5, 1, AggressorSide.NONE))
    assert (len(inbox), inbox.conflated) == (1, 1)


@pytest.mark.parametrize("event", [canceled(7), StatusChanged(1, 1, "A.X", MarketStatus.HALTED)], ids=["order", "status"])
def test_what_must_not_be_dropped_makes_the_feed_wait(event: AnyEvent) -> None:
    inbox = Inbox(HandClock(), 1)
    inbox.offer(quote("A.X", 1))
    assert not inbox.offer(event)
    taken: list[AnyEvent] = []

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inbox.put, event)
            await anyio.wait_all_tasks_blocked()
            taken.extend(inbox.take(1))
        taken.extend(inbox.take(1))

    anyio.run(run)
    assert kinds(taken) == ["Quote", type(event).__name__]


@given(st.lists(st.tuples(st.sampled_from(["quote A", "quote B", "order", "take"]), st.integers(1, 5)), max_size=60))
def test_no_order_event_is_lost_and_stamps_never_go_back(script: list[tuple[str, int]]) -> None:
    clock = HandClock(0)
    inbox = Inbox(clock, 3)
    taken: list[AnyEvent] = []
    orders: list[int] = []
    last: dict[str, int] = {}
    for number, (what, count) in enumerate(script):
        clock.ts += 1
        if what == "take":
            taken += inbox.take(count)
        elif what == "order":
            if inbox.offer(canceled(number)):
                orders.append(number)
        else:
            last[what[-1]] = number
            assert inbox.offer(quote(what[-1], number))
    while len(inbox):
        taken += inbox.take(2)
    stamps = [event.ts_init for event in taken]
    assert stamps == sorted(stamps)
    assert [event.client_order_id for event in taken if isinstance(event, OrderCanceled)] == orders
    # Whatever was conflated, the newest quote of each instrument has come through.
    assert {event.instrument_id: event.bid_price for event in taken if isinstance(event, Quote)} == last
