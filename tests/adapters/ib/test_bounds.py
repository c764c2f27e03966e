"""Budgets and bounds: messages a second, what a reduce-only order may take, the reset, a gateway that is away."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ib.gate import WAITING_MAX, WINDOW_NS, Gate
from adapters.ib.holdings import Holdings
from core.commands import CancelOrder
from core.enums import Reason, Side
from core.errors import CapacityError
from core.events import CancelRejected, OrderAccepted, OrderCanceled, OrderRejected
from tests.adapters.ib.bench import Bench, buy, in_a_loop, order_id

MS = 1_000_000


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(("order", "cancel", "ask"))), max_size=300))
def test_no_window_ever_holds_more_than_the_budget_and_cancels_go_first(deeds: list[tuple[int, str]]) -> None:
    gate, ts, left = Gate(9, 3), 0, []
    waiting: list[int] = []
    for number, (wait_ms, what) in enumerate(deeds):
        ts += wait_ms * MS
        frame = f"{what} {number}".encode()
        if what == "cancel":
            gate.cancel(ts, frame)
        elif what == "ask":
            gate.ask(ts, frame)
            waiting.append(number)
        else:
            gate.take(ts, frame)
        left += [(ts, sent) for sent in gate.take_out()]
    while gate.next_deadline < (1 << 62):
        ts = max(ts, gate.next_deadline)
        gate.release(ts)
        left += [(ts, sent) for sent in gate.take_out()]
    for at, _ in left:
        window = [sent for ts, sent in left if at <= ts <= at + WINDOW_NS]
        assert len(window) <= 9
        assert sum(not sent.startswith(b"cancel") for sent in window) <= 9
    cancels = [sent for _, sent in left if sent.startswith(b"cancel")]
    assert cancels == [f"cancel {n}".encode() for n, (_, what) in enumerate(deeds) if what == "cancel"]
    assert [sent for _, sent in left if sent.startswith(b"ask")] == [f"ask {number}".encode() for number in waiting]


def test_orders_leave_the_reserve_to_cancels() -> None:
    gate = Gate(9, 3)
    assert [gate.take(0, b"o") for _ in range(8)] == [True] * 6 + [False] * 2
    for _ in range(5):
        gate.cancel(0, b"c")
    assert gate.take_out() == [b"o"] * 6 + [b"c"] * 3
    assert not gate.take(WINDOW_NS, b"o")  # cancels wait: nothing overtakes them
    gate.release(WINDOW_NS + 1)
    assert gate.take_out() == [b"c"] * 2
    gate.clear()
    for _ in range(WAITING_MAX + 4):  # four of them leave
        gate.ask(WINDOW_NS + 1, b"q")
    with pytest.raises(CapacityError):
        gate.ask(WINDOW_NS + 1, b"q")


def test_holdings_are_the_smaller_of_what_is_said_and_what_is_counted() -> None:
    holdings = Holdings(["A", "B"])
    holdings.executed("A", Side.BUY, 5)  # nothing is known before the first look
    assert holdings.reducible("A", Side.SELL) == 0
    holdings.looked({"A": 5, "B": -3})
    assert [holdings.reducible(key, side) for key in "AB" for side in (Side.BUY, Side.SELL)] == [0, 5, 3, 0]
    holdings.executed("A", Side.SELL, 4)
    assert holdings.reducible("A", Side.SELL) == 1
    holdings.said("A", 1)
    holdings.executed("A", Side.BUY, 2)
    assert holdings.reducible("A", Side.SELL) == 1
    holdings.said("B", 0)
    assert holdings.reducible("B", Side.BUY) == 0


def test_new_orders_are_refused_around_the_reset_and_cancels_are_not() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_000))
            await bench.sink.until(OrderAccepted)
        now = bench.clock.now() // 10**9
        minute = (now + 90) // 60
        settings: dict[str, Any] = {
            "reset_time": f"{minute // 60 % 24:02d}:{minute % 60:02d}",
            "reset_time_zone": "UTC",
            "reset_quiet_s": 120,
        }
        bench.adapter = bench.make_adapter(settings=settings)
        await bench.until(lambda: not bench.served.connections)
        async with bench.running():
            bench.send(buy(2), CancelOrder(1, order_id(1)))
            (rejected,) = await bench.sink.until(OrderRejected)
            assert (rejected.reason, rejected.text) == (Reason.CLOSED, "the daily reset")
            await bench.sink.until(OrderCanceled)

    in_a_loop(test)


def test_a_gateway_that_is_away_from_its_servers_at_the_login_is_sent_nothing() -> None:
    async def test(bench: Bench) -> None:
        bench.act("lose_servers")
        async with bench.running():
            bench.send(buy(1), CancelOrder(1, order_id(1)))
            assert (await bench.sink.until(OrderRejected))[0].reason is Reason.NOT_SENT
            assert (await bench.sink.until(CancelRejected))[0].reason is Reason.NOT_SENT
            bench.act("restore_servers")
            await bench.until(lambda: len(bench.states) == 2)
            await anyio.sleep(0)
            bench.send(buy(2, 679_000))
            await bench.sink.until(OrderAccepted)
        assert bench.venue.exchange.by_client_id(bench.venue.exchange.accounts[bench.opening().account], "bench-1-1") == []

    in_a_loop(test)
