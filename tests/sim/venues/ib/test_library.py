"""The library itself, IB() with connectAsync and the *Async methods, against the simulated gateway over loopback."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.ib.library import NAME, Contract, ExecutionFilter, Order
from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from sim.venues.ib.opening import ACCOUNTS, open_venue
from sim.venues.ib.venue import IbVenue

LIBRARY: Any = importlib.import_module(NAME)
SECONDS_MAX = 50.0
pytestmark = pytest.mark.timeout(60)
TS = 1_795_000_000_000_000_000
ES = Contract(secType="FUT", localSymbol="ESZ6", exchange="CME", currency="USD")


def in_a_loop(test: Callable[[IbVenue, Served, Any], Awaitable[None]], *, version_max: int = 178) -> None:
    async def main() -> None:
        clock = SystemClock()
        venue = open_venue(seed=1, faults={}, ts=clock.now(), is_alone=True, version_max=version_max)
        async with serve(venue, clock) as served:
            served.act("quote", {"listing": "ESZ6.IB", "side": "BUY", "price": 680_000, "qty": 10})
            served.act("quote", {"listing": "ESZ6.IB", "side": "SELL", "price": 680_025, "qty": 10})
            ib = LIBRARY.IB()
            with anyio.fail_after(SECONDS_MAX):
                await ib.connectAsync(served.host, served.port, clientId=11, timeout=20)
                try:
                    await test(venue, served, ib)
                finally:
                    ib.disconnect()

    anyio.run(main)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await anyio.sleep(0.005)


@pytest.mark.parametrize("version", [164, 166, 170, 176, 177, 178])
def test_an_order_lives_and_is_told_of_in_each_version_of_the_protocol(version: int) -> None:
    async def test(venue: IbVenue, served: Served, ib: Any) -> None:
        assert ib.client.serverVersion() == min(version, ib.client.MaxClientVersion)
        assert ib.managedAccounts() == list(ACCOUNTS)
        (contract,) = await ib.qualifyContractsAsync(ES)
        assert (contract.conId, contract.multiplier, contract.lastTradeDateOrContractMonth) == (495512557, "50", "20261218")
        order = Order(
            action="BUY", totalQuantity=3, orderType="LMT", lmtPrice=6799.5, tif="GTC", account=ACCOUNTS[0], orderRef="a-1-1"
        )
        trade = ib.placeOrder(contract, order)
        await until(lambda: trade.orderStatus.status == "Submitted")
        order.lmtPrice, order.totalQuantity = 6800.25, 4
        ib.placeOrder(contract, order)
        await until(lambda: trade.orderStatus.status == "Filled")
        assert trade.orderStatus.avgFillPrice == 6800.25
        (fill,) = trade.fills
        await until(lambda: fill.commissionReport.commission)
        assert (fill.execution.shares, fill.execution.price, fill.execution.orderRef) == (4.0, 6800.25, "a-1-1")
        assert (fill.commissionReport.commission, fill.commissionReport.currency) == (9.0, "USD")
        positions = await ib.reqPositionsAsync()
        assert [(each.account, each.contract.conId, each.position) for each in positions] == [(ACCOUNTS[0], 495512557, 4.0)]
        (known,) = venue.exchange.fills
        assert (known.price, known.qty, known.fee) == (680_025, 4, 9 * 10**8)

    in_a_loop(test, version_max=version)


def test_cancels_stops_and_what_is_refused() -> None:
    async def test(venue: IbVenue, served: Served, ib: Any) -> None:
        errors: list[tuple[int, int]] = []
        ib.errorEvent += lambda number, code, *_rest: errors.append((number, code))
        resting = ib.placeOrder(ES, Order(action="SELL", totalQuantity=1, orderType="LMT", lmtPrice=6900.0, tif="DAY"))
        stop = ib.placeOrder(ES, Order(action="SELL", totalQuantity=2, orderType="STP", auxPrice=6790.0, tif="GTC"))
        await until(lambda: resting.orderStatus.status == "Submitted" and stop.orderStatus.status == "PreSubmitted")
        assert stop.orderStatus.whyHeld == "trigger"
        ib.cancelOrder(resting.order)
        await until(lambda: resting.orderStatus.status == "Cancelled")
        await until(lambda: (resting.order.orderId, 202) in errors)
        off_tick = ib.placeOrder(ES, Order(action="BUY", totalQuantity=1, orderType="LMT", lmtPrice=6800.1, tif="GTC"))
        await until(lambda: (off_tick.order.orderId, 110) in errors)
        served.act("quote", {"listing": "ESZ6.IB", "side": "BUY", "price": 678_900, "qty": 5})
        served.act("print", {"listing": "ESZ6.IB", "side": "SELL", "price": 678_975, "qty": 1})
        await until(lambda: stop.orderStatus.status == "Filled")
        more = ib.placeOrder(ES, Order(action="SELL", totalQuantity=1, orderType="LMT", lmtPrice=6900.0, tif="GTC"))
        await until(lambda: more.orderStatus.status == "Submitted")
        ib.reqGlobalCancel()
        await until(lambda: more.orderStatus.status == "Cancelled")
        assert await ib.reqAllOpenOrdersAsync() == []
        fills = await ib.reqExecutionsAsync(ExecutionFilter())
        assert [(each.execution.side, each.execution.shares) for each in fills] == [("SLD", 2.0)]

    in_a_loop(test)


def test_market_data_lines_ticks_depth_and_a_bar() -> None:
    async def test(venue: IbVenue, served: Served, ib: Any) -> None:
        (contract,) = await ib.qualifyContractsAsync(ES)
        ticker = ib.reqMktData(contract)
        await until(lambda: ticker.bid == 6800.0 and ticker.ask == 6800.25 and ticker.bidSize == 10)
        ib.reqTickByTickData(contract, "Last")
        ib.reqMktDepth(contract, numRows=5)
        await until(lambda: [(level.price, level.size) for level in ticker.domAsks] == [(6800.25, 10.0)])
        served.act("trade", {"listing": "ESZ6.IB", "side": "BUY", "qty": 4})
        await until(lambda: ticker.askSize == 6 and ticker.last == 6800.25)
        await until(lambda: [(level.price, level.size) for level in ticker.domAsks] == [(6800.25, 6.0)])
        (bar,) = await ib.reqHistoricalDataAsync(contract, "", "1 D", "1 day", "TRADES", False)
        assert bar.close == 6800.25
        rules = await ib.reqMarketRuleAsync(67)
        assert [(each.lowEdge, each.increment) for each in rules] == [(0.0, 0.25)]

    in_a_loop(test)


def test_a_client_id_is_taken_once() -> None:
    async def test(venue: IbVenue, served: Served, ib: Any) -> None:
        second = LIBRARY.IB()
        with pytest.raises((ConnectionError, TimeoutError)):
            await second.connectAsync(served.host, served.port, clientId=11, timeout=5)
        other = LIBRARY.IB()
        await other.connectAsync(served.host, served.port, clientId=12, timeout=20)
        mine = other.placeOrder(ES, Order(action="BUY", totalQuantity=1, orderType="LMT", lmtPrice=6700.0, tif="GTC"))
        await until(lambda: mine.orderStatus.status == "Submitted")
        orders = await ib.reqAllOpenOrdersAsync()
        assert [each.order.clientId for each in orders] == [12]
        other.disconnect()

    in_a_loop(test)
