"""Alpaca's own Python clients against the simulator over loopback: what they can do, and what they read back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from sim.venues.alpaca.opening import open_venue
from sim.venues.alpaca.settings import DEFAULT

pytest.importorskip("alpaca")

from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.live.stock import StockDataStream
from alpaca.data.requests import StockLatestQuoteRequest, StockLatestTradeRequest, StockSnapshotRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopOrderRequest,
)
from alpaca.trading.stream import TradingStream

MAIN = DEFAULT.accounts[0]
BOUND_S = 20.0


@asynccontextmanager
async def served_venue() -> AsyncIterator[Served]:
    clock = SystemClock()
    async with serve(open_venue(seed=1, ts=clock.now()), clock) as served:
        yield served


def client_of(served: Served) -> TradingClient:
    return TradingClient(MAIN.key, MAIN.secret, url_override=f"http://{served}")


def run(test: Any) -> None:
    async def bounded() -> None:
        with anyio.fail_after(BOUND_S):
            async with served_venue() as served:
                await test(served)

    asyncio.run(bounded())


async def call(blocking: Callable[[], Any]) -> Any:
    """In a thread that nobody waits for where the test is over."""
    return await anyio.to_thread.run_sync(blocking, abandon_on_cancel=True)


async def until(condition: Any) -> Any:
    while True:
        found = condition()
        if found:
            return found
        await anyio.sleep(0.01)


def test_account_clock_calendar_and_assets() -> None:
    async def test(served: Served) -> None:
        client = client_of(served)
        account = await call(client.get_account)
        assert (account.status.value, account.currency, account.cash, account.multiplier) == ("ACTIVE", "USD", "1000000", "4")
        clock = await call(client.get_clock)
        assert clock.next_close > clock.timestamp
        calendar = await call(lambda: client.get_calendar(GetCalendarRequest()))
        assert len(calendar) == 1
        asset = await call(lambda: client.get_asset("AAPL"))
        assert (asset.symbol, asset.tradable) == ("AAPL", True)
        assert {each.symbol for each in await call(client.get_all_assets)} == {"AAPL", "MSFT", "SPY"}

    run(test)


def test_the_life_of_orders() -> None:
    async def test(served: Served) -> None:
        client = client_of(served)

        def limit(**changes: Any) -> LimitOrderRequest:
            fields = {"symbol": "AAPL", "qty": 10, "side": OrderSide.BUY, "time_in_force": TimeInForce.DAY, "limit_price": 200}
            return LimitOrderRequest(**(fields | changes))

        placed = await call(lambda: client.submit_order(limit(client_order_id="run-1-1")))
        assert (placed.client_order_id, placed.status, placed.filled_qty) == ("run-1-1", OrderStatus.PENDING_NEW, "0")
        again = await call(lambda: client.get_order_by_client_id("run-1-1"))
        assert (again.id, again.status, again.limit_price) == (placed.id, OrderStatus.NEW, "200")
        with pytest.raises(APIError, match="must be unique"):
            await call(lambda: client.submit_order(limit(client_order_id="run-1-1")))
        with pytest.raises(APIError, match="sub-penny"):
            await call(lambda: client.submit_order(limit(limit_price=200.001)))
        with pytest.raises(APIError, match="insufficient buying power"):
            await call(lambda: client.submit_order(limit(qty=900_000)))
        with pytest.raises(APIError, match="wash trade"):
            await call(lambda: client.submit_order(limit(side=OrderSide.SELL, limit_price=150)))

        replaced = await call(lambda: client.replace_order_by_id(placed.id, ReplaceOrderRequest(qty=5, limit_price=201)))
        assert (replaced.replaces, replaced.qty, replaced.limit_price) == (placed.id, "5", "201")
        old = await until_status(client, placed.id, OrderStatus.REPLACED)
        assert old.replaced_by == replaced.id
        listed = await call(lambda: client.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN)))
        assert [each.id for each in listed] == [replaced.id]
        await call(lambda: client.cancel_order_by_id(replaced.id))
        await until_status(client, replaced.id, OrderStatus.CANCELED)
        with pytest.raises(APIError, match="already in"):
            await call(lambda: client.cancel_order_by_id(replaced.id))

        market = MarketOrderRequest(symbol="AAPL", qty=3, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        bought = await call(lambda: client.submit_order(market))
        filled = await until_status(client, bought.id, OrderStatus.FILLED)
        assert filled.filled_qty == "3"
        position = await call(lambda: client.get_open_position("AAPL"))
        assert (position.qty, position.side.value) == ("3", "long")
        stop = StopOrderRequest(symbol="AAPL", qty=3, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, stop_price=100)
        await call(lambda: client.submit_order(stop))
        closed = await call(lambda: client.close_all_positions(cancel_orders=True))
        assert [(each.symbol, each.status) for each in closed] == [("AAPL", 200)]
        await until_flat(client)
        assert await call(client.get_orders) == []

    run(test)


async def until_status(client: TradingClient, order_id: Any, status: OrderStatus) -> Any:
    while True:
        order = await call(lambda: client.get_order_by_id(order_id))
        if order.status is status:
            return order
        await anyio.sleep(0.05)


async def until_flat(client: TradingClient) -> None:
    while await call(client.get_all_positions):
        await anyio.sleep(0.05)


def test_cancel_everything() -> None:
    async def test(served: Served) -> None:
        client = client_of(served)
        for price in (100, 101, 102):
            order = LimitOrderRequest(
                symbol="SPY", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=price, extended_hours=False
            )
            await call(lambda order=order: client.submit_order(order))
        lines = await call(client.cancel_orders)
        assert [line.status for line in lines] == [200, 200, 200]
        await anyio.sleep(0.05)
        assert await call(client.get_orders) == []

    run(test)


def test_market_data_by_rest() -> None:
    async def test(served: Served) -> None:
        client = StockHistoricalDataClient(MAIN.key, MAIN.secret, url_override=f"http://{served}")
        quote_request = StockLatestQuoteRequest(symbol_or_symbols="AAPL")
        quotes = await call(lambda: client.get_stock_latest_quote(quote_request))
        assert 0 < quotes["AAPL"].bid_price < quotes["AAPL"].ask_price
        trade_request = StockLatestTradeRequest(symbol_or_symbols=["AAPL", "SPY"])
        trades = await call(lambda: client.get_stock_latest_trade(trade_request))
        assert set(trades) == {"AAPL", "SPY"}
        snapshot_request = StockSnapshotRequest(symbol_or_symbols="MSFT")
        snapshots = await call(lambda: client.get_stock_snapshot(snapshot_request))
        assert snapshots["MSFT"].latest_quote.bid_price > 0

    run(test)


def test_trading_stream() -> None:
    async def test(served: Served) -> None:
        stream = TradingStream(MAIN.key, MAIN.secret, url_override=f"ws://{served}/stream")
        heard: list[Any] = []

        async def on_update(update: Any) -> None:
            heard.append(update)

        stream.subscribe_trade_updates(on_update)
        task = asyncio.ensure_future(stream._run_forever())
        await until(lambda: any(each.is_listening for each in served.venue._streams.listeners))
        client = client_of(served)
        market = MarketOrderRequest(symbol="SPY", qty=2, side=OrderSide.BUY, time_in_force=TimeInForce.IOC)
        await call(lambda: client.submit_order(market))
        await until(lambda: [each for each in heard if each.event == "fill"])
        assert heard[0].event == "new"
        fill = heard[-1]
        assert (fill.order.status, fill.order.filled_qty, fill.position_qty) == (OrderStatus.FILLED, "2", 2.0)
        task.cancel()
        await stream.close()

    run(test)


def test_data_stream() -> None:
    async def test(served: Served) -> None:
        stream = StockDataStream(MAIN.key, MAIN.secret, url_override=f"ws://{served}/v2/iex")
        quotes: list[Any] = []
        trades: list[Any] = []

        async def on_quote(quote: Any) -> None:
            quotes.append(quote)

        async def on_trade(trade: Any) -> None:
            trades.append(trade)

        stream.subscribe_quotes(on_quote, "AAPL")
        stream.subscribe_trades(on_trade, "AAPL", "SPY")
        task = asyncio.ensure_future(stream._run_forever())
        await until(lambda: quotes and trades)
        assert quotes[0].symbol == "AAPL"
        assert quotes[-1].bid_price < quotes[-1].ask_price
        assert trades[0].price > 0
        task.cancel()
        await stream.close()

    run(test)


def test_a_wrong_secret() -> None:
    async def test(served: Served) -> None:
        client = TradingClient(MAIN.key, "wrong", url_override=f"http://{served}")
        with pytest.raises(APIError, match="not authorized"):
            await call(client.get_account)

    run(test)
