"""What the adapter makes of few requests: which cancels are sent, and what is made of answers where the stream says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from adapters.alpaca.desk import CANCEL_AGAIN_NS, OrderDesk, Reaction
from adapters.alpaca.io import AlpacaAdapter
from adapters.alpaca.opening import open_adapter
from adapters.alpaca.orders import Ours
from adapters.http.record import HttpRecord
from core.commands import CancelAll, CancelOrder
from core.enums import OrderStatus, Reason, Side, TimeInForce
from core.events import CancelAllRequested, CancelRejected, OrderAccepted, OrderFilled, OrderReplaced
from core.units import NS_PER_SECOND
from core.venue_opening import SENT
from tests.adapters.alpaca.world import KEY, World, run


def cancels(world: World) -> list[str]:
    """The addresses of all cancels that were sent, in order."""
    sent = [msgspec.json.decode(data, type=HttpRecord) for _, what, data in world.frames if what == SENT and b'"DELETE"' in data]
    return [each.url for each in sent]


def without(shown: Callable[..., list[dict[str, Any]]], venue_id: str) -> Callable[..., list[dict[str, Any]]]:
    return lambda *arguments: [each for each in shown(*arguments) if each["id"] != venue_id]


def names(world: World) -> list[str]:
    """Of all requests that were sent, but for those about money, which come by themselves."""
    records = [msgspec.json.decode(data, type=HttpRecord) for _, what, data in world.frames if what == SENT and data[:1] == b"{"]
    return [each.name for each in records if each.name != "activities.others"]


async def rest_unheard(world: World, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """So many orders, one after the other; of none the stream says anything, and nobody else trades."""
    world.served.act("quiet", {})
    monkeypatch.setattr(OrderDesk, "heard", lambda *_: Reaction())
    for _ in range(count):
        world.buy(4, 2_000_000)
        await world.until(lambda: all(order.status is OrderStatus.ACCEPTED for order in world.trader.orders.open_orders()))


def test_a_replace_whose_end_and_fills_are_heard_of_by_questions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is filled before anybody hears that it was replaced, and by how much it was filled is known before by what."""

    async def test(world: World) -> None:
        world.served.act("quiet", {})
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        monkeypatch.setattr(OrderDesk, "heard", lambda *_: Reaction())
        world.do(lambda context: context.replace(world.order(), 7, 2_010_000))
        (ticket,) = await world.until(
            lambda: [each for each in world.venue.engine.open_tickets("main") if each.client_id == "t-1-1-r1"]
        )
        world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 7})
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        replaced, filled = world.heard(OrderReplaced), world.heard(OrderFilled)
        assert [(event.leaves_qty, event.filled_qty) for event in replaced] == [(0, 7)]
        assert [event.qty for event in filled] == [7]
        assert world.differences() == []

    run(test)


@pytest.mark.parametrize(
    ("told", "claimed", "filled", "expected"),
    [
        ({}, {"new": 4}, 4, 4),  # nothing was filled before
        ({"old": {3: 3}}, {"old": 3}, 0, 3),
        ({"old": {3: 3}}, {"old": 3}, 3, 3),  # it goes on counting
        ({}, {"old": 3}, 0, 3),  # of the older one it is only claimed yet
        ({"old": {3: 3}, "new": {5: 2}}, {"old": 3}, 5, 5),
        ({"old": {3: 3}, "new": {2: 2}}, {"old": 3}, 2, 5),  # it began at nothing
        ({"old": {3: 3}}, {"old": 3}, 5, 8),  # nobody knows: rather too much is left
    ],
)
def test_filled_in_all(told: dict[str, dict[int, int]], claimed: dict[str, int], filled: int, expected: int) -> None:
    ours = Ours(1, KEY, Side.BUY, TimeInForce.GTC, 100, 10, told=told, claimed=claimed)
    assert ours.filled_in_all("new", filled) == expected


def test_a_cancel_is_not_sent_again_while_it_may_be_on_its_way() -> None:
    async def test(world: World) -> None:
        world.buy(1, 2_000_000)
        await world.until(lambda: world.heard(OrderAccepted))
        assert isinstance(world.adapter, AlpacaAdapter)
        desk, now = world.adapter._desk, world.clock.now()
        order_id = world.order().client_order_id
        command = CancelOrder(ts=now, client_order_id=order_id)
        everything = CancelAll(ts=now, instrument_id=KEY)
        asked = [
            len(desk.send(each, now + ns).asks)
            for each, ns in ((command, 0), (command, 10**9), (everything, 10**9), (command, 3 * 10**9))
        ]
        assert asked == [1, 0, 0, 1]
        assert len(desk.send(command, now - 10**9).asks) == 1, "the wall clock was set back"

    run(test)


def test_a_second_cancel_that_meets_the_first_one_is_not_refused() -> None:
    async def test(world: World) -> None:
        world.buy(1, 2_000_000)
        await world.until(lambda: world.heard(OrderAccepted))
        world.venue.faults.arm(29)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: world.venue.engine.open_tickets("main")[0].status == "pending_cancel")
        world.frames.clear()
        assert isinstance(world.adapter, AlpacaAdapter)
        world.adapter._orders.open()[0].cancel_sent_ts = 0  # the first one was long ago
        world.step(CancelAllRequested(0, 0, "test"))
        # The bulk call leaves it out, one by itself is told why; then the venue has dropped the first, and is asked again.
        await world.until(lambda: len(cancels(world)) == 2)
        assert world.heard(CancelRejected) == []
        await world.until(lambda: world.heard(CancelRejected))
        world.step(CancelAllRequested(0, 0, "test"))
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert world.differences() == []

    run(test)


def test_cancels_that_are_refused_leave_the_budget_to_the_question_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is dead and the order filled; who cancels again at each refusal used up what the answer would have cost."""

    async def test(world: World) -> None:
        world.served.act("quiet", {})
        world.buy(4, 2_000_000)
        await world.until(lambda: world.heard(OrderAccepted))
        with monkeypatch.context() as dead:
            dead.setattr(OrderDesk, "heard", lambda *_: Reaction())
            dead.setattr(OrderDesk, "due", lambda *_: [])
            (ticket,) = world.venue.engine.open_tickets("main")
            world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 4})
            for refused in range(20):
                assert len(world.heard(CancelRejected)) == refused
                world.do(lambda context: context.cancel(world.order()))
                await anyio.sleep(0.05)
            assert len(cancels(world)) == 1
            await anyio.sleep(CANCEL_AGAIN_NS / NS_PER_SECOND)
            world.do(lambda context: context.cancel(world.order()))
            await world.until(lambda: len(cancels(world)) == 2)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        assert world.differences() == []

    run(test)


def test_a_cancel_that_met_too_many_requests_is_sent_again_at_once() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {})
        world.buy(4, 2_000_000)
        await world.until(lambda: world.heard(OrderAccepted))
        world.venue.faults.arm(37)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: world.heard(CancelRejected))
        world.do(lambda context: context.cancel(world.order()))
        with anyio.fail_after(CANCEL_AGAIN_NS / NS_PER_SECOND):
            await world.until(lambda: len(cancels(world)) == 2)
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert [event.reason for event in world.heard(CancelRejected)] == [Reason.FULL]
        assert len(cancels(world)) == 2

    run(test)


def test_an_order_that_ends_while_the_lists_are_read_is_not_open_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is the later word: behind a reconnect a list of before would have halted."""

    async def test(world: World) -> None:
        world.served.act("quiet", {})
        for price in (2_000_000, 1_990_000):
            world.buy(4, price)
        await world.until(lambda: len(world.heard(OrderAccepted)) == 2)
        assert isinstance(world.adapter, AlpacaAdapter)
        reader = world.adapter._reader
        positions = reader.positions

        async def meanwhile() -> dict[str, int]:
            world.do(lambda context: context.cancel(world.order(0)))
            await world.until(lambda: world.order(0).status is OrderStatus.CANCELED)
            return await positions()

        monkeypatch.setattr(reader, "positions", meanwhile)
        state = await world.adapter.query(world.begun)
        assert [order.client_order_id for order in state.open_orders] == [world.order(1).client_order_id]
        # What had ended before and is listed as open is a contradiction that somebody has to look at.
        monkeypatch.setattr(reader, "positions", positions)
        (ticket,) = (each for each in world.venue.engine.tickets.values() if each.client_id == "t-1-1")
        ticket.status = "new"
        state = await world.adapter.query(world.begun)
        assert len(state.open_orders) == 2

    run(test)


def test_what_an_earlier_process_has_ended_is_not_canceled() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {})
        for price in (2_000_000, 1_990_000, 1_980_000):
            world.buy(4, price)
        await world.until(lambda: len(world.heard(OrderAccepted)) == 3)
        world.do(lambda context: context.cancel(world.order(0)))
        await world.until(lambda: world.order(0).status is OrderStatus.CANCELED)
        tickets = {ticket.client_id: ticket for ticket in world.venue.engine.open_tickets("main")}
        first, world.adapter = world.adapter, open_adapter(world.opening())
        await first.close()
        world.served.act("hit", {"account": "main", "id": tickets["t-1-2"].id, "qty": 4})
        world.frames.clear()
        await world.adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.adapter.run, world, world.on_reconnect)
            assert await world.reconcile() == []
            assert world.order(1).status is OrderStatus.FILLED
            world.step(CancelAllRequested(0, 0, "test"))
            await world.until(lambda: not world.trader.orders.open_orders())
            assert await world.reconcile() == []  # its questions leave behind whatever the answer to the cancel has asked for
            assert [url.rpartition("/")[2] for url in cancels(world)] == ["orders"]
            assert world.differences() == []
            tasks.cancel_scope.cancel()
        await world.adapter.close()

    run(test)


def test_what_became_of_several_orders_is_asked_in_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        await rest_unheard(world, monkeypatch, 5)
        for ticket in world.venue.engine.open_tickets("main")[:3]:
            world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 3})
        world.frames.clear()
        world.step(CancelAllRequested(0, 0, "test"))
        await world.until(lambda: not world.trader.orders.open_orders())
        assert [event.qty for event in world.heard(OrderFilled)] == [3, 3, 3]
        assert world.differences() == []
        assert names(world) == ["orders.cancel_all", "orders", "activities.fills", "orders"]

    run(test)


def test_one_that_a_list_does_not_have_is_asked_about_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        await rest_unheard(world, monkeypatch, 3)
        assert isinstance(world.adapter, AlpacaAdapter)
        first = world.adapter._orders.get(world.order(0).client_order_id)
        assert first is not None
        monkeypatch.setattr(world.venue._rest, "_list", without(world.venue._rest._list, first.venue_id))
        world.frames.clear()
        world.step(CancelAllRequested(0, 0, "test"))
        await world.until(lambda: not world.trader.orders.open_orders())
        assert names(world) == ["orders.cancel_all", "orders", "order.by_id"]

    run(test)


def test_a_comparison_reads_what_its_list_of_open_orders_lacks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        await rest_unheard(world, monkeypatch, 4)
        await world.reconcile()
        for ticket in world.venue.engine.open_tickets("main")[:3]:
            world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 4})
        world.frames.clear()
        assert await world.reconcile() == []
        assert [world.order(number).status for number in range(3)] == [OrderStatus.FILLED] * 3
        # Of the second look, that finds the same, no order has to be read again.
        assert [name for name in names(world) if name.startswith("order")] == ["orders", "orders", "orders"]

    run(test)
