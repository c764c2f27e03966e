"""Real ccxt, REST and streams, against the simulated Binance on loopback: an order's life, books, positions, fills."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from sim.venues.binance.opening import open_venue
from sim.venues.binance.venue import BinanceVenue

ccxt = pytest.importorskip("ccxt.pro")

WAIT_S = 60.0
SYMBOLS = {"spot": "BTC/USDT", "usdm": "BTC/USDT:USDT"}
Story = Callable[[Any, str, BinanceVenue, Served], Awaitable[None]]


def client(served: Served, product: str) -> Any:
    """A ccxt exchange whose every address is the simulator's."""
    kinds = {"spot": ("spot", "spot"), "usdm": ("linear", "swap")}[product]
    exchange = ccxt.binance(
        {
            "apiKey": "us-key",
            "secret": "us-secret",
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": [kinds[0]]}, "defaultType": kinds[1]},
        }
    )

    def moved(url: str, scheme: str) -> str:
        return f"{scheme}://{served}/{url.split('/', 3)[3]}"

    addresses = exchange.urls["api"]
    for name, url in list(addresses.items()):
        if isinstance(url, str):
            addresses[name] = moved(url, "http")
    streams = addresses["ws"]
    streams["ws-api"] = {name: moved(url, "ws") for name, url in streams["ws-api"].items()}
    for name, url in list(streams.items()):
        if isinstance(url, str):
            streams[name] = moved(url, "ws")
    # Without "/stream" in it ccxt takes spot depth updates for those of a swap.
    streams["spot"] = f"ws://{served}/stream"
    return exchange


def run(product: str, story: Story) -> BinanceVenue:
    clock = SystemClock()
    venue = open_venue(seed=1, faults={}, ts=clock.now(), product=product)

    async def main() -> None:
        async with serve(venue, clock) as served:
            exchange = client(served, product)
            try:
                await asyncio.wait_for(_whole(story(exchange, SYMBOLS[product], venue, served)), WAIT_S)
            finally:
                await exchange.close()

    asyncio.run(main())
    venue.desk.exchange.check()
    return venue


async def _whole(story: Awaitable[None]) -> None:
    await story


def price(product: str) -> float:
    return 49_000.0 if product == "usdm" else 45_000.0


@pytest.mark.parametrize("product", ["spot", "usdm"])
def test_an_orders_life_by_rest(product: str) -> None:
    async def story(exchange: Any, symbol: str, venue: BinanceVenue, served: Served) -> None:
        markets = await exchange.load_markets()
        assert symbol in markets
        book = await exchange.fetch_order_book(symbol, 10)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert (await exchange.fetch_ticker(symbol))["bid"] > 0
        before = (await exchange.fetch_balance())["USDT"]["total"]
        assert before == 100_000.0
        placed = await exchange.create_order(symbol, "limit", "buy", 0.01, price(product), {"clientOrderId": "mine-1"})
        assert (placed["status"], placed["clientOrderId"], placed["filled"]) == ("open", "mine-1", 0.0)
        assert [order["id"] for order in await exchange.fetch_open_orders(symbol)] == [placed["id"]]
        edited = await exchange.edit_order(placed["id"], symbol, "limit", "buy", 0.02, price(product) - 100)
        asked = await exchange.fetch_order(edited["id"], symbol)
        assert (asked["status"], asked["amount"], asked["price"]) == ("open", 0.02, price(product) - 100)
        assert (await exchange.cancel_order(edited["id"], symbol))["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(edited["id"], symbol)
        bought = await exchange.create_order(symbol, "market", "buy", 0.01)
        assert (bought["status"], bought["filled"]) == ("closed", 0.01)
        [trade] = await exchange.fetch_my_trades(symbol)
        assert (trade["order"], trade["amount"], trade["side"]) == (bought["id"], 0.01, "buy")
        # ccxt knows the product's codes by the host's name only, so that here they are errors without a name of their own.
        with pytest.raises(ccxt.ExchangeError, match=r"insufficient balance|-2019"):
            await exchange.create_order(symbol, "limit", "buy", 100, price(product))
        await exchange.create_order(symbol, "limit", "buy", 0.01, price(product), {"clientOrderId": "mine-2"})
        with pytest.raises(ccxt.ExchangeError, match=r"Duplicate|-4116"):
            await exchange.create_order(symbol, "limit", "buy", 0.01, price(product), {"clientOrderId": "mine-2"})
        await exchange.cancel_all_orders(symbol)
        assert await exchange.fetch_open_orders(symbol) == []

    ledger = run(product, story).ledger()
    assert [row["filled_qty"] > 0 for row in ledger["orders"]].count(True) == 1
    assert {row["client_order_id"] for row in ledger["orders"]} >= {"mine-1", "mine-2"}


@pytest.mark.parametrize("product", ["spot", "usdm"])
def test_streams_of_orders_fills_books_and_prints(product: str) -> None:
    async def story(exchange: Any, symbol: str, venue: BinanceVenue, served: Served) -> None:
        await exchange.load_markets()
        watching = asyncio.create_task(exchange.watch_orders(symbol))
        while not (venue.streams.listen_keys or any(line.subscriptions for line in venue.streams.lines.values())):
            await asyncio.sleep(0.01)
        while not any(line.kind in ("user", "api") for line in venue.streams.lines.values()):
            await asyncio.sleep(0.01)
        placed = await exchange.create_order(symbol, "limit", "buy", 0.01, price(product))
        [order] = await watching
        assert (order["id"], order["status"]) == (placed["id"], "open")
        fills = asyncio.create_task(exchange.watch_my_trades(symbol))
        await asyncio.sleep(0.01)
        bought = await exchange.create_order(symbol, "market", "buy", 0.01)
        trade = (await fills)[-1]
        assert (trade["order"], trade["amount"]) == (bought["id"], 0.01)
        for _ in range(10):
            book = await exchange.watch_order_book(symbol)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert book["nonce"] > 50_000_000_000
        prints = await exchange.watch_trades(symbol)
        assert prints[-1]["price"] > 0
        ticker = await exchange.watch_bids_asks([symbol])
        assert ticker[symbol]["bid"] < ticker[symbol]["ask"]

    run(product, story)


def test_futures_positions_leverage_and_conditional_orders() -> None:
    async def story(exchange: Any, symbol: str, venue: BinanceVenue, served: Served) -> None:
        await exchange.load_markets()
        assert int((await exchange.set_leverage(10, symbol))["leverage"]) == 10
        await exchange.create_order(symbol, "market", "sell", 0.1)
        [position] = await exchange.fetch_positions([symbol])
        assert (position["side"], position["contracts"], position["leverage"]) == ("short", 0.1, 10.0)
        assert position["liquidationPrice"] > position["entryPrice"]
        stop = await exchange.create_order(symbol, "market", "buy", 0.1, None, {"stopLossPrice": 52_000.0, "reduceOnly": True})
        served.act("print", {"symbol": "BTCUSDT", "side": "BUY", "price": 520_000, "qty": 1})
        assert stop["id"]
        assert [row["contracts"] for row in await exchange.fetch_positions([symbol]) if row["contracts"]] == []
        tiers = await exchange.fetch_leverage_tiers([symbol])
        assert tiers[symbol][0]["maxLeverage"] == 125.0
        rate = await exchange.fetch_funding_rate(symbol)
        assert rate["fundingRate"] == 0.0001

    ledger = run("usdm", story).ledger()
    assert [row["reduce_only"] for row in ledger["orders"]] == [False, True]
    assert ledger["positions"]["us"] == {}
