"""Each fault that the simulator can show, met by the adapter: afterwards our books are the venue's, one order for each intent."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import anyio
import msgspec
import pytest

from core.enums import OrderStatus, Reason, Side
from core.errors import TransportError
from core.events import CancelRejected, OrderFilled, OrderOutcomeUnknown, OrderRejected
from sim.venues.alpaca.faults import KNOWN, ON_CHANGES
from tests.adapters.alpaca.world import SETTINGS, World, run

DOUBTFUL = (2, 3, 4, 5, 6, 8, 9, 10, 11, 14)  # what became of the request nobody can say from the answer


async def busy(world: World) -> None:
    """Some of everything, not waiting for answers where a strategy would not."""
    world.buy(10, 2_000_000)
    world.buy(4, None)
    await anyio.sleep(0.2)
    world.do(lambda context: context.replace(world.order(0), 6, 2_010_000))
    world.submit(Side.SELL, 2, None)
    await anyio.sleep(0.2)
    world.buy(3, 2_020_000)
    world.do(lambda context: context.cancel(world.order(0)))
    await anyio.sleep(0.2)
    world.do(lambda context: context.cancel_all())
    await anyio.sleep(0.2)
    world.submit(Side.SELL, 2, None)
    await anyio.sleep(0.2)


@pytest.mark.parametrize("number", sorted(set(KNOWN) - {31}))
def test_the_books_are_the_venues_afterwards(number: int) -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(number, 3)
        await busy(world)
        world.venue.faults._armed.clear()
        await world.settled()
        names = Counter(row["client_order_id"] for row in world.venue.ledger()["orders"])
        assert max(names.values(), default=1) == 1
        executions = [(fill.client_order_id, fill.execution_id) for fill in world.heard(OrderFilled)]
        booked = world.trader.portfolio.fills_booked
        assert booked == len(set(executions)) == len(world.venue.ledger()["fills"])

    run(test)


@pytest.mark.parametrize("number", DOUBTFUL)
def test_an_answer_that_proves_nothing_is_unknown_until_a_fact(number: int) -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(number)
        world.served.act("cut", {"which": "trades"})  # the stream does not tell either
        await world.until(lambda: world.states)
        world.buy(10, 2_000_000)
        await world.until(lambda: world.heard(OrderOutcomeUnknown) or world.order().status is OrderStatus.ACCEPTED)
        await world.until(lambda: world.order().status in (OrderStatus.ACCEPTED, OrderStatus.CANCELED))
        is_there = any(row["is_open"] for row in world.venue.ledger()["orders"])
        assert (world.order().status is OrderStatus.ACCEPTED) is is_there
        await world.settled()

    run(test)


def test_a_refusal_by_its_own_words_is_one(request: pytest.FixtureRequest) -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(37)
        world.buy(10, 2_000_000)
        await world.until(lambda: world.heard(OrderRejected))
        assert world.heard(OrderRejected)[0].reason is Reason.FULL
        world.venue.faults.arm(39)
        await anyio.sleep(1.1)  # until the venue wants orders again
        world.buy(10, 2_000_000)
        await world.until(lambda: len(world.heard(OrderRejected)) == 2)
        assert world.heard(OrderOutcomeUnknown) == []
        await world.settled()

    run(test)


def test_a_cancel_that_was_taken_and_is_never_done_is_told_as_refused() -> None:
    async def test(world: World) -> None:
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.venue.faults.arm(29)
        world.do(lambda context: context.cancel(world.order()))
        ticket = world.venue.engine.open_tickets("main")[0]
        await world.until(lambda: ticket.status == "pending_cancel")
        await world.until(lambda: ticket.status == "new")  # the venue has dropped the cancel
        await world.until(lambda: world.heard(CancelRejected))
        assert world.order().status is OrderStatus.ACCEPTED
        await world.settled()

    run(test)


def test_an_order_is_filled_between_the_cancels_answer_and_the_cancel() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {"withdraws": True})
        world.buy(10, 2_300_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.venue.faults.arm(25)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert world.order().filled_qty == 5
        assert world.differences() == []

    run(test)


def test_executions_that_come_late_are_waited_for() -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(36)  # the stream says nothing of the fill
        world.buy(4, None)
        await world.until(lambda: world.venue.ledger()["fills"])
        await world.settled()
        assert world.order().filled_qty == 4

    run(test, msgspec.structs.replace(SETTINGS, activities_ns=800_000_000))


def test_a_bust_is_told_and_the_position_differs() -> None:
    async def test(world: World) -> None:
        world.buy(4, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        world.served.act("bust", {"account": "main"})
        await world.until(lambda: any("takes back" in trouble for trouble in world.troubles))
        assert await world.reconcile() != []

    run(test)


def test_more_is_filled_than_was_asked_for() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {"withdraws": True})
        world.buy(10, 2_300_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        ticket = world.venue.engine.open_tickets("main")[0]
        world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 10})
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        world.is_tolerant = True
        world.served.act("overfill", {"account": "main", "id": ticket.id, "qty": 2, "price": 2_300_000})
        await world.until(lambda: world.state_errors)
        assert await world.reconcile() != []

    run(test)


@pytest.mark.parametrize("number", ON_CHANGES)
def test_the_switch_meets_the_faults_of_the_order_path(number: int) -> None:
    async def test(world: World) -> None:
        for price in (2_000_000, 2_010_000):
            world.buy(1, price)
        await world.until(lambda: len(world.venue.engine.open_tickets("main")) == 2)
        switch = world.switch()
        await switch.open()
        world.venue.faults.arm(number)
        while await switch.open_orders():
            # What failed is asked for again by whoever wants it done: so does the guardian.
            with suppress(TransportError):
                await switch.cancel_all()
            await anyio.sleep(0.1)
        await switch.close()
        await world.settled()

    run(test)


def test_an_expired_key_is_said_and_comes_back() -> None:
    async def test(world: World) -> None:
        world.served.act("revoke", {"account": "main"})
        world.buy(10, 2_000_000)
        await world.until(lambda: world.heard(OrderRejected))
        world.served.act("restore", {"account": "main"})
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        await world.settled()

    run(test)


def test_a_restart_that_lost_the_orders() -> None:
    async def test(world: World) -> None:
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.served.act("restart", {"loses": True})
        await world.until(lambda: world.states)
        await world.settled()
        assert world.order().status is OrderStatus.CANCELED

    run(test)


def test_a_split_cancels_and_the_position_differs() -> None:
    async def test(world: World) -> None:
        world.buy(4, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        world.buy(1, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.served.act("split", {"symbol": "AAPL", "numerator": 4, "denominator": 1})
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert any("16" in problem for problem in await world.reconcile())

    run(test)
