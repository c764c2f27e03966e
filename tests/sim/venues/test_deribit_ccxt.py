"""Somebody else's client against the simulated Deribit: what ccxt.pro speaks, REST and WebSocket, it must be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from sim.venues.deribit.opening import KEYS, open_venue
from sim.venues.deribit.venue import DeribitVenue

ccxt_pro = pytest.importorskip("ccxt.pro")
SYMBOL = "BTC/USD:BTC"
SECONDS_MAX = 40.0
pytestmark = pytest.mark.timeout(60)


def with_client(test: Callable[[Any, DeribitVenue, Served], Awaitable[None]], account: str = "main") -> None:
    async def run() -> None:
        clock = SystemClock()
        venue = open_venue(seed=3, faults={}, ts=clock.now())
        async with serve(venue, clock) as served:
            client = ccxt_pro.deribit(
                {
                    "apiKey": KEYS[account]["key"],
                    "secret": KEYS[account]["secret"],
                    "enableRateLimit": False,
                    "options": {"maxRetriesOnFailure": 0},
                }
            )
            client.urls["api"] = {"rest": f"http://{served}", "ws": f"ws://{served}/ws/api/v2"}
            try:
                await asyncio.wait_for(_coroutine(test(client, venue, served)), SECONDS_MAX)
            finally:
                await client.close()

    asyncio.run(run())


async def _coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


def test_markets_and_the_public_side() -> None:
    async def test(client: Any, _venue: DeribitVenue, _served: Served) -> None:
        markets = await client.load_markets()
        market = markets[SYMBOL]
        assert (market["id"], market["inverse"], market["precision"]["price"]) == ("BTC-PERPETUAL", True, 0.5)
        assert {"ETH/USDC:USDC", "BTC/USD:BTC-261225-100000-C"} <= set(markets)
        assert set(client.currencies) >= {"BTC", "USDC", "ETH"}
        ticker = await client.fetch_ticker(SYMBOL)
        assert 0 < ticker["bid"] < ticker["ask"]
        book = await client.fetch_order_book(SYMBOL)
        assert book["bids"][0][0] < book["asks"][0][0]

    with_client(test)


def test_orders_by_rest() -> None:
    async def test(client: Any, venue: DeribitVenue, _served: Served) -> None:
        await client.load_markets()
        bid = (await client.fetch_ticker(SYMBOL))["bid"]
        order = await client.create_order(SYMBOL, "limit", "buy", 20, bid - 100, {"label": "a"})
        assert (order["status"], order["amount"], order["price"]) == ("open", 20.0, bid - 100)
        (found,) = await client.fetch_open_orders(SYMBOL)
        assert found["id"] == order["id"]
        edited = await client.edit_order(order["id"], SYMBOL, "limit", "buy", 30, bid - 120)
        assert (edited["amount"], edited["price"]) == (30.0, bid - 120)
        canceled = await client.cancel_order(order["id"], SYMBOL)
        assert canceled["status"] == "canceled"
        assert (await client.fetch_order(order["id"], SYMBOL))["status"] == "canceled"
        filled = await client.create_order(SYMBOL, "market", "sell", 10)
        assert (filled["status"], filled["filled"]) == ("closed", 10.0)
        (trade,) = await client.fetch_my_trades(SYMBOL)
        assert (trade["order"], trade["side"], trade["amount"], trade["takerOrMaker"]) == (filled["id"], "sell", 10.0, "taker")
        (position,) = await client.fetch_positions()
        # The venue's size is negative for what was sold (documented), and ccxt hands it on as it is.
        assert (position["symbol"], position["side"], position["contracts"]) == (SYMBOL, "short", -10.0)
        balance = await client.fetch_balance({"code": "BTC"})
        assert balance["BTC"]["total"] == pytest.approx(venue.accounts["sim-main"].cash["BTC"] / 10**8)
        assert [each["origin"] for each in venue.ledger()["orders"]] == ["client", "client"]

    with_client(test)


def test_refusals_are_what_the_library_takes_them_for() -> None:
    async def test(client: Any, _venue: DeribitVenue, _served: Served) -> None:
        await client.load_markets()
        with pytest.raises(ccxt_pro.InsufficientFunds):
            await client.create_order(SYMBOL, "limit", "buy", 10**9, 50_000)
        with pytest.raises(ccxt_pro.OrderNotFound):
            await client.cancel_order("BTC-12345", SYMBOL)
        client.secret = "another"
        with pytest.raises(ccxt_pro.AuthenticationError):
            await client.fetch_open_orders(SYMBOL)

    with_client(test)


def test_streams() -> None:
    async def test(client: Any, _venue: DeribitVenue, _served: Served) -> None:
        await client.load_markets()
        for _ in range(5):
            book = await client.watch_order_book(SYMBOL)
            assert book["bids"][0][0] < book["asks"][0][0]
        trades = await client.watch_trades(SYMBOL)
        assert trades[0]["symbol"] == SYMBOL
        ticker = await client.watch_ticker(SYMBOL)
        assert ticker["bid"] < ticker["ask"]

    with_client(test)


def test_the_streams_of_an_account() -> None:
    async def test(client: Any, _venue: DeribitVenue, _served: Served) -> None:
        await client.load_markets()
        orders = asyncio.create_task(client.watch_orders(SYMBOL))
        await asyncio.sleep(0.2)
        bid = (await client.fetch_ticker(SYMBOL))["bid"]
        placed = await client.create_order(SYMBOL, "limit", "buy", 20, bid - 100)
        (told,) = await orders
        assert (told["id"], told["status"]) == (placed["id"], "open")
        trades = asyncio.create_task(client.watch_my_trades(SYMBOL))
        await asyncio.sleep(0.2)
        filled = await client.create_order(SYMBOL, "market", "buy", 10)
        (trade,) = await trades
        assert (trade["order"], trade["amount"]) == (filled["id"], 10.0)
        await client.cancel_all_orders(SYMBOL)  # an own order in the way would be refused
        balance = asyncio.create_task(client.watch_balance())
        await asyncio.sleep(0.2)
        await client.create_order(SYMBOL, "market", "sell", 10)
        told_of = (await balance)["info"]
        assert (told_of["currency"], 9.9 < told_of["equity"] < 10) == ("BTC", True)

    with_client(test)
