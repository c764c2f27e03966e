"""Executions bear the exchange's id of their order and nothing of ours: whose they are is found out, whenever it was sent."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest

from core.enums import Reason
from core.errors import TransportError
from core.events import GapDetected, OrderCanceled, OrderFilled
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_SECOND
from tests.adapters.ccxt_any.stage import Stage, cancel_all, order_id, play, submit
from tests.adapters.ccxt_any.test_adapter import facts
from tests.adapters.ccxt_any.venue import FAST, PREFIX, Exchange, error

EARLIER = (6 << 32) | 4


def place(exchange: Exchange, client_id: str = f"{PREFIX}-6-4") -> None:
    exchange.place(
        {"symbol": "BTCUSDT", "newClientOrderId": client_id, "quantity": "1", "price": "90", "type": "LIMIT", "side": "BUY"}
    )


def test_what_an_ended_order_of_an_earlier_run_did_is_its_own() -> None:
    """The daemon was down while it was filled: no list of open orders has it any more."""
    exchange = Exchange()
    place(exchange)
    exchange.fill(1, 30_000)
    exchange.cancel({"orderId": "1"})
    place(exchange, "by-hand")
    exchange.fill(2, 10_000)

    async def story(stage: Stage) -> None:
        state = await stage.adapter.query(0)
        assert [(fill.client_order_id, fill.execution_id, fill.leaves_qty) for fill in state.executions] == [
            (EARLIER, "1000", 70_000),
            (FOREIGN_ORDER_ID, "1001", 90_000),
        ]
        again = await stage.adapter.query(0)
        assert [fill.client_order_id for fill in again.executions] == [EARLIER, FOREIGN_ORDER_ID]

    seen = play(story, exchange).exchange.seen
    assert sum(name == "GET order" for name, _ in seen) <= 4, "what is known is not asked for again"


def test_an_order_of_an_earlier_run_that_arrives_late_is_its_own() -> None:
    """It was on its way when that run died; it shows, is filled and ends with this one."""

    async def story(stage: Stage) -> None:
        await stage.looks()
        place(stage.exchange)
        stage.exchange.fill(1, 20_000)
        await stage.until(lambda: len(stage.sink.of(OrderFilled)) == 1)
        stage.exchange.fill(1, 30_000)
        await stage.until(lambda: len(stage.sink.of(OrderFilled)) == 2)
        stage.send(cancel_all())
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    found = facts(play(story))
    assert found[0][:2] == ("Accepted", EARLIER)
    assert [(*fact[:2], fact[3], fact[4]) for fact in found if fact[0] == "Filled"] == [
        ("Filled", EARLIER, 20_000, 80_000),
        ("Filled", EARLIER, 30_000, 50_000),
    ]
    assert found[-1] == ("Canceled", EARLIER, Reason.REQUESTED)


def test_one_that_comes_and_goes_between_two_looks_is_its_own() -> None:
    async def story(stage: Stage) -> None:
        await stage.looks()
        place(stage.exchange)
        stage.exchange.fill(1, 20_000)
        stage.exchange.cancel({"orderId": "1"})
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    assert facts(play(story)) == [("Filled", EARLIER, "1000", 20_000, 80_000), ("Canceled", EARLIER, Reason.NONE)]


def test_an_order_that_the_exchange_does_not_show_is_nobodys_we_know_after_two_reads() -> None:
    async def story(stage: Stage) -> None:
        await stage.looks()
        place(stage.exchange, "by-hand")
        stage.exchange.hidden.add(1)
        stage.exchange.fill(1, 20_000)
        await stage.until(lambda: stage.sink.of(OrderFilled))
        assert sum(name == "GET order" for name, _ in stage.exchange.seen) == 2

    assert facts(play(story)) == [("Filled", FOREIGN_ORDER_ID, "1000", 20_000, 0)]


def test_whose_an_execution_is_is_no_guess_where_the_question_fails() -> None:
    """The comparison waits: an execution that is told as somebody else's halts everything."""

    async def story(stage: Stage) -> None:
        await stage.looks()
        stage.exchange.always["GET order"] = lambda exchange, params: error(503, -1, "busy")
        place(stage.exchange)
        stage.exchange.fill(1, 100_000)
        await anyio.sleep(3 * FAST["lost_after_s"])
        await stage.looks()
        assert not stage.sink.of(OrderFilled, GapDetected), "it is not away because of this one order"
        with pytest.raises(TransportError, match="status 503"):
            await stage.adapter.query(0)
        del stage.exchange.always["GET order"]
        await stage.until(lambda: stage.sink.of(OrderFilled))

    assert facts(play(story)) == [("Filled", EARLIER, "1000", 100_000, 0)]


def test_a_comparison_knows_an_order_whose_answer_was_lost_and_that_is_filled() -> None:
    """Where the exchange was away the comparison comes first: nothing else would find out that the order is ours."""
    exchange = Exchange()

    def lost(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        exchange.place(params)
        exchange.fill(1, 25_000)
        exchange.always["GET openOrders"] = lambda exchange, params: error(503, -1, "busy")
        return error(503, -1, "busy")

    exchange.faults["POST order"] = [lost]

    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(GapDetected))
        del stage.exchange.always["GET openOrders"]
        await stage.until(lambda: stage.states)
        (fill,) = stage.states[0].executions
        assert (fill.client_order_id, fill.qty) == (order_id(), 25_000)
        await stage.until(lambda: stage.sink.of(OrderFilled))

    assert [fact[:2] for fact in facts(play(story, exchange))] == [
        ("OutcomeUnknown", order_id()),
        ("Accepted", order_id()),
        ("Filled", order_id()),
    ]


def test_our_stamps_may_be_ahead_of_the_exchanges() -> None:
    """A machine's clock that was set wrong stays so in our stamps: what the exchange lists is asked for by its own."""

    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.exchange.orders)
        stage.exchange.fill(1, 25_000)
        await stage.until(lambda: stage.sink.of(OrderFilled))

    stage = play(story, now=lambda: time.time_ns() + 3_600 * NS_PER_SECOND)
    assert stage.sink.of(OrderFilled)[0].client_order_id == order_id()
