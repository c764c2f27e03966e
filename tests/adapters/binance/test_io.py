"""The adapter on real sockets at a small venue: opening and what it refuses, orders, streams, connections that are lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.binance.endpoints import Product
from core.commands import CancelAll, CancelOrder
from core.enums import Reason, Side
from core.errors import ConfigError, RefusedError, TransportError
from core.events import OrderAccepted, OrderCanceled, OrderFilled, OrderRejected
from core.identifiers import make_order_id
from core.venue_adapter import VenueOrder
from tests.adapters.binance.account_for_tests import ORDER_ID, WIRE_ID, submit
from tests.adapters.binance.bench_at_venue import Bench, at_venue
from tests.adapters.binance.plain_signer import KEY, SECRET
from tests.adapters.binance.small_venue import LISTEN_KEY, RIGHTS, SmallVenue, rules

SPOT, USDM = Product.SPOT, Product.USDM
BOTH = pytest.mark.parametrize("product", [SPOT, USDM])
pytestmark = pytest.mark.timeout(60)


def rehearse(product: Product, work: Callable[[Bench, SmallVenue], Awaitable[None]], *, seed: int = 3) -> None:
    async def run() -> None:
        venue = SmallVenue(product, seed=seed)
        async with at_venue(venue, product) as bench:
            await work(bench, venue)

    anyio.run(run)


@BOTH
def test_an_order_lives_and_ends(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(product))
            (accepted, *_) = await bench.events(OrderAccepted)
            assert (accepted.client_order_id, accepted.leaves_qty) == (ORDER_ID, submit(product).quantity)
            bench.served.act("fill", {"wire_id": WIRE_ID})
            (fill, *_) = await bench.events(OrderFilled)
            assert (fill.client_order_id, fill.side, fill.commission) == (ORDER_ID, Side.BUY, 1_000_000)
            state = await adapter.query(0)
            assert [each.execution_id for each in state.executions] == [fill.execution_id]
            if fill.leaves_qty:
                bench.send(adapter, CancelOrder(0, ORDER_ID))
                (canceled, *_) = await bench.events(OrderCanceled)
                assert canceled.client_order_id == ORDER_ID

    rehearse(product, work)


Answer = Any


@pytest.mark.parametrize(
    ("product", "answers", "error", "words"),
    [
        (USDM, {"GET apiRestrictions": (200, {**RIGHTS, "enableWithdrawals": True})}, ConfigError, "may withdraw"),
        (SPOT, {"GET apiRestrictions": (200, {**RIGHTS, "ipRestrict": False})}, ConfigError, "works from any address"),
        (USDM, {"GET dual": (200, {"dualSidePosition": True})}, ConfigError, "hedge mode"),
        (USDM, {"GET exchangeInfo": (200, rules(USDM, tick="0.5"))}, ConfigError, "tick is 0.1 in the configuration and 0.5 at"),
        (
            SPOT,
            {"GET exchangeInfo": (200, rules(SPOT, lot="0.0001"))},
            ConfigError,
            "lot is 0.00001 in the configuration",
        ),
        (USDM, {"GET dual": (401, {"code": -2015, "msg": "Invalid API-key."})}, RefusedError, "-2015 Invalid API-key"),
        (USDM, {"POST listenKey": (401, {"code": -2015, "msg": "Invalid API-key."})}, TransportError, "no listen key"),
        (USDM, {"GET time": (503, b"")}, TransportError, "clock cannot be read"),
    ],
)
def test_what_stops_a_start(product: Product, answers: dict[str, Answer], error: type[Exception], words: str) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        venue.answers = answers
        with pytest.raises(error, match=words):
            async with bench.adapter():
                pass
        assert not venue.users

    rehearse(product, work)


@BOTH
def test_no_order_leaves_while_its_fate_cannot_be_heard_and_cancels_do(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(product))
            await bench.events(OrderAccepted)
            # The account's stream goes away, and the venue takes no new one for a while.
            venue.answers = {"POST listenKey": (503, b""), "GET openOrders": (503, b"")}
            bench.served.act("cut", {"connection": venue.users[0]})
            await bench.until(lambda: not adapter._user.session.may_place)
            late = make_order_id(7, 4)
            bench.send(adapter, submit(product, client_order_id=late))
            (refused,) = await bench.events(OrderRejected)
            assert (refused.client_order_id, refused.reason) == (late, Reason.NOT_SENT)
            bench.send(adapter, CancelOrder(0, ORDER_ID))
            await bench.until(lambda: "DELETE order" in venue.requests)
            await bench.events(OrderCanceled)
            assert bench.states == []
            venue.answers = {}
            (state,) = await bench.until(lambda: bench.states)
            assert state.open_orders == ()
            await bench.until(lambda: adapter._user.session.may_place)
            bench.send(adapter, submit(product, client_order_id=make_order_id(7, 5)))
            await bench.until(lambda: [each for each in bench.sink.of(OrderAccepted) if each.client_order_id > late])

    rehearse(product, work, seed=5)


@BOTH
def test_a_fill_that_the_stream_missed_comes_by_the_question_after_the_reconnect(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(product))
            await bench.events(OrderAccepted)
            bench.served.act("cut", {"connection": venue.users[0]})
            await bench.until(lambda: not venue.users)
            bench.served.act("fill", {"wire_id": WIRE_ID})
            (state, *_) = await bench.until(lambda: bench.states)
            assert [(each.client_order_id, each.side) for each in state.executions] == [(ORDER_ID, Side.BUY)]
            left = [each.leaves_qty for each in state.open_orders]
            assert left == [each.leaves_qty for each in state.executions if each.leaves_qty]
            assert bench.sink.of(OrderFilled) == []

    rehearse(product, work, seed=5)


@BOTH
def test_another_stream_is_opened_where_one_does_not_tell_what_was_taken(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            (mute,) = await bench.until(lambda: list(venue.users))
            venue.users.remove(mute)  # it stays open, and answers pings
            bench.send(adapter, submit(product))
            await bench.events(OrderAccepted)
            await bench.until(lambda: venue.users)
            assert any("does not tell of an order" in text for text in bench.trouble)
            await bench.until(lambda: bench.states and adapter._user.session.may_place)
            bench.send(adapter, submit(product, client_order_id=make_order_id(7, 5)))
            await bench.events(OrderAccepted, 2)
            assert not adapter._desk.debts.is_overdue(1 << 62)

    rehearse(product, work)


def test_another_stream_is_opened_where_the_listen_key_is_gone() -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter():
            first = venue.users[0]
            bench.served.act("tell", {"event": {"e": "listenKeyExpired", "E": 5, "listenKey": "x"}})
            await bench.until(lambda: venue.users and venue.users[0] != first)
            await bench.until(lambda: bench.states)
            assert venue.requests.count("POST listenKey") == 2

    rehearse(USDM, work)


@pytest.mark.parametrize("event", ["eventStreamTerminated", "serverShutdown"])
def test_spot_subscribes_again_where_the_venue_ends_the_stream(event: str) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter():
            first = venue.users[0]
            bench.served.act("tell", {"event": {"e": event, "E": 5}})
            await bench.until(lambda: venue.users and venue.users[-1] != first)
            await bench.until(lambda: bench.states)

    rehearse(SPOT, work)


@BOTH
def test_orders_and_fills_of_somebody_else(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(product))
            await bench.events(OrderAccepted)
            venue.model.orders["web_1"] = {**venue.model.orders.pop(WIRE_ID), "clientOrderId": "web_1"}
            (theirs,) = (await adapter.query(0)).open_orders
            assert (theirs.client_order_id, theirs.venue_order_id) == (None, "1000")
            bench.served.act("fill", {"wire_id": "web_1"})
            (fill,) = await bench.events(OrderFilled)
            assert (fill.client_order_id, fill.commission) == (0, 1_000_000)
            (asked,) = (await adapter.query(0)).executions
            assert (asked.client_order_id, asked.execution_id) == (0, fill.execution_id)
            # From here on it goes by an id of ours.
            ours = make_order_id(9, 1)
            adapter.adopt(ours, theirs)
            if fill.leaves_qty:
                bench.served.act("fill", {"wire_id": "web_1"})
                await bench.until(lambda: [each for each in bench.sink.of(OrderFilled) if each.client_order_id == ours])
            assert {each.client_order_id for each in (await adapter.query(0)).executions} == {ours}

    rehearse(product, work, seed=5)


@BOTH
def test_what_a_crash_has_left_is_found_and_can_be_canceled(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(product))
            await bench.events(OrderAccepted)
        bench.sink.events.clear()
        async with bench.adapter() as adapter:
            (found,) = (await adapter.query(0)).open_orders
            assert found == VenueOrder(
                ORDER_ID, submit(product).instrument_id, Side.BUY, submit(product).price, submit(product).quantity, "1000"
            )
            bench.send(adapter, CancelOrder(0, ORDER_ID))
            await bench.events(OrderCanceled)

    rehearse(product, work, seed=5)


@BOTH
def test_everything_is_canceled_by_the_venues_own_call(product: Product) -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            orders = [make_order_id(7, number) for number in range(1, 6)]
            bench.send(adapter, *(submit(product, client_order_id=order_id) for order_id in orders))
            await bench.until(lambda: len(bench.sink.of(OrderAccepted, OrderRejected)) >= 5)
            bench.send(adapter, CancelAll(0, None))
            await bench.until(lambda: not adapter._desk.has_open_cancels())
            assert (await adapter.query(0)).open_orders == ()
            assert "DELETE order" not in venue.requests

    rehearse(product, work)


def test_no_secret_is_in_what_is_recorded() -> None:
    async def work(bench: Bench, venue: SmallVenue) -> None:
        async with bench.adapter() as adapter:
            bench.send(adapter, submit(venue.product))
            await bench.events(OrderAccepted)
            await adapter.query(0)
        kept = b"".join(data for _, _, data in bench.frames)
        for secret in (KEY, SECRET, LISTEN_KEY):
            assert secret.encode() not in kept
        assert {what for _, what, _ in bench.frames} >= {"opened", "sent", "received"}

    rehearse(SPOT, work)
    rehearse(USDM, work)
