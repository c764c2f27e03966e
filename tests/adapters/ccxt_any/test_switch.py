"""The guardian's switch at any exchange: everything canceled and asked about, and positions closed, without a daemon."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from adapters.ccxt_any.opening import open_switch
from adapters.ccxt_any.switch import CcxtSwitch
from core.enums import Side
from core.errors import RefusedError, TransportError
from core.identifiers import make_order_id
from core.units import NS_PER_SECOND
from core.venue_adapter import VenueOrder
from tests.adapters.ccxt_any.venue import INSTRUMENT, Exchange, error, opening


def act(story: Callable[[CcxtSwitch], Awaitable[None]], exchange: Exchange, **settings: Any) -> None:
    async def run() -> None:
        switch = open_switch(opening(**settings), wire=httpx.MockTransport(exchange.handle))
        try:
            await story(switch)
        finally:
            await switch.close()

    anyio.run(run)


def with_orders(count: int) -> Exchange:
    exchange = Exchange()
    for number in range(count):
        name = f"td-7-{number + 1}" if number else "by-hand"
        exchange.place(
            {"symbol": "BTCUSDT", "newClientOrderId": name, "quantity": "1", "price": "90", "type": "LIMIT", "side": "BUY"}
        )
    return exchange


def test_everything_is_canceled_and_asked_about() -> None:
    exchange = with_orders(3)

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        assert switch.venue == "BINANCE"
        orders = await switch.open_orders()
        assert orders[0] == VenueOrder(None, INSTRUMENT, Side.BUY, 9_000, 100_000, "1")
        assert [order.client_order_id for order in orders] == [None, make_order_id(7, 2), make_order_id(7, 3)]
        await switch.cancel_all()
        assert await switch.open_orders() == ()
        await switch.cancel_all()
        assert not await switch.refresh_dead_man(10.0)

    act(story, exchange)
    assert {order["status"] for order in exchange.orders.values()} == {"CANCELED"}


def test_a_machine_whose_clock_is_wrong_kills_all_the_same() -> None:
    exchange = with_orders(1)
    exchange.always["DELETE openOrders"] = exchange.always["GET openOrders"] = lambda exchange, params: (
        None if abs(int(params["timestamp"]) - exchange.ms()) < 60_000 else error(400, -1021, "Timestamp is ahead.")
    )

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        await switch.cancel_all()
        assert await switch.open_orders() == ()

    act(story, exchange, now=lambda: time.time_ns() + 3_600 * NS_PER_SECOND)


def test_an_exchange_that_does_not_say_its_time_is_killed_by_our_own() -> None:
    exchange = with_orders(1)
    exchange.always["GET time"] = lambda exchange, params: error(503, -1, "busy")

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        await switch.cancel_all()
        assert await switch.open_orders() == ()

    act(story, exchange)


def test_where_the_bulk_call_fails_each_order_is_canceled_also_those_by_hand() -> None:
    exchange = with_orders(3)
    exchange.always["DELETE openOrders"] = lambda exchange, params: httpx.Response(503)

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        await switch.cancel_all()
        assert await switch.open_orders() == ()

    act(story, exchange)
    assert sum(name == "DELETE order" for name, _ in exchange.seen) == 3


def test_a_cancel_that_fails_is_told_and_one_of_an_order_that_is_gone_is_not() -> None:
    exchange = with_orders(2)
    exchange.always["DELETE openOrders"] = lambda exchange, params: httpx.Response(503)
    exchange.always["DELETE order"] = lambda exchange, params: (
        error(400, -2011, "Unknown order sent.") if params["orderId"] == "1" else httpx.Response(503)
    )

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        with pytest.raises(TransportError, match="1 of 2 cancels were not taken"):
            await switch.cancel_all()

    act(story, exchange)


def test_a_bad_key_is_refused_at_the_start() -> None:
    exchange = Exchange()
    exchange.always["GET openOrders"] = lambda exchange, params: error(401, -2014, "API-key format invalid.")

    async def story(switch: CcxtSwitch) -> None:
        with pytest.raises(RefusedError, match="does not take the key"):
            await switch.open()

    act(story, exchange)


def test_nothing_works_before_it_is_open_and_an_exchange_away_is_told() -> None:
    exchange = Exchange()

    async def story(switch: CcxtSwitch) -> None:
        for call in (switch.cancel_all, switch.open_orders, switch.positions, switch.flatten):
            with pytest.raises(TransportError, match="was not opened"):
                await call()
        exchange.always["GET exchangeInfo"] = lambda exchange, params: httpx.Response(502)
        with pytest.raises(TransportError):
            await switch.open()

    act(story, exchange)


def test_flatten_sells_what_is_held() -> None:
    exchange = Exchange()
    exchange.balance = "0.123456"

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        assert await switch.positions() == {INSTRUMENT: 12_345}
        await switch.flatten()

    act(story, exchange, first_order_id=make_order_id(9, 1))
    (placed,) = [params for name, params in exchange.seen if name == "POST order"]
    assert {key: placed[key] for key in ("side", "type", "quantity", "newClientOrderId")} == {
        "side": "SELL",
        "type": "MARKET",
        "quantity": "0.12345",
        "newClientOrderId": "td-9-1",
    }


def test_a_dead_man_switch_where_the_exchange_has_one() -> None:
    """Of Binance spot there is none: the exchange of the test is given one."""
    exchange = Exchange()
    answers = iter([200, 503])
    exchange.always["POST timer"] = lambda exchange, params: httpx.Response(next(answers), json={})

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        ccxt = switch._account.exchange
        ccxt.has["cancelAllOrdersAfter"] = True

        async def timer(milliseconds: int) -> Any:
            return await ccxt.request("timer", ["private"], "POST", {"timeout": milliseconds})

        ccxt.cancel_all_orders_after = timer
        assert await switch.refresh_dead_man(10.0)
        with pytest.raises(TransportError, match="status 503"):
            await switch.refresh_dead_man(10.0)

        async def wants_more(milliseconds: int) -> None:
            from ccxt.base.errors import ArgumentsRequired

            raise ArgumentsRequired("a symbol, too")

        ccxt.cancel_all_orders_after = wants_more
        assert not await switch.refresh_dead_man(10.0)

    act(story, exchange)
    assert [params["timeout"] for name, params in exchange.seen if name == "POST timer"] == ["10000", "10000"]


def test_flatten_says_what_was_not_taken() -> None:
    exchange = Exchange()
    exchange.balance = "1"
    exchange.always["POST order"] = lambda exchange, params: error(400, -2010, "Market is closed.")

    async def story(switch: CcxtSwitch) -> None:
        await switch.open()
        with pytest.raises(TransportError, match="1 of 1 orders were not taken"):
            await switch.flatten()

    act(story, exchange)
