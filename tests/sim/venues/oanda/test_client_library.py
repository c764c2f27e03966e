"""oandapyV20's own client against the simulator over loopback: REST, errors and both streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import oandapyV20
import pytest
import requests
from oandapyV20.contrib.requests import LimitOrderRequest, MarketOrderRequest
from oandapyV20.endpoints import accounts, orders, positions, pricing, trades, transactions
from oandapyV20.exceptions import V20Error

from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import Served, serve
from sim.venues.oanda.venue import OandaVenue

ACCOUNT, TOKEN = "101-001-1000001-001", "token-of-the-test"
MONDAY_NS = 1_790_000_000 * 10**9
TIMEOUT_S = 20


class MondayClock:
    """The machine's clock moved to a Monday at which the market is open."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._offset_ns = MONDAY_NS - self._clock.now()

    def now(self) -> int:
        return self._clock.now() + self._offset_ns


@contextmanager
def serving(venue: OandaVenue) -> Iterator[Served]:
    """In a thread of its own: the library blocks."""
    ready: list[Served] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with serve(venue, MondayClock()) as served:
            ready.append(served)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert started.wait(TIMEOUT_S)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT_S)
        loop.close()


@pytest.fixture
def client() -> Iterator[oandapyV20.API]:
    venue = OandaVenue(MONDAY_NS, seed=1, connections_per_s=0)
    venue.add_account(MONDAY_NS, ACCOUNT, TOKEN, 100_000 * 10**8)
    with serving(venue) as served:
        origin = f"http://{served}"
        environments = {"practice": {"api": origin, "stream": origin}}
        with patch.dict("oandapyV20.oandapyV20.TRADING_ENVIRONMENTS", environments):
            yield oandapyV20.API(access_token=TOKEN, request_params={"timeout": TIMEOUT_S})
    assert served.failure is None


def test_an_orders_life(client: oandapyV20.API) -> None:
    placed = client.request(orders.OrderCreate(ACCOUNT, LimitOrderRequest("EUR_USD", units=500, price=1.1).data))
    number = placed["orderCreateTransaction"]["id"]
    assert placed["lastTransactionID"] == number
    pending = client.request(orders.OrdersPending(ACCOUNT))["orders"]
    assert [(order["id"], order["state"], order["units"]) for order in pending] == [(number, "PENDING", "500")]
    data = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "600", "price": "1.09", "timeInForce": "GTC"}}
    replaced = client.request(orders.OrderReplace(ACCOUNT, number, data))
    again = replaced["orderCreateTransaction"]["id"]
    assert replaced["orderCancelTransaction"]["replacedByOrderID"] == again
    canceled = client.request(orders.OrderCancel(ACCOUNT, again))
    assert canceled["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    assert client.request(orders.OrderDetails(ACCOUNT, again))["order"]["state"] == "CANCELLED"
    with pytest.raises(V20Error) as error:
        client.request(orders.OrderCancel(ACCOUNT, again))
    assert error.value.code == 404
    assert "ORDER_DOESNT_EXIST" in str(error.value)


def test_positions_trades_and_transactions(client: oandapyV20.API) -> None:
    filled = client.request(orders.OrderCreate(ACCOUNT, MarketOrderRequest("EUR_USD", units=1000).data))
    assert filled["orderFillTransaction"]["units"] == "1000"
    (position,) = client.request(positions.OpenPositions(ACCOUNT))["positions"]
    assert (position["instrument"], position["long"]["units"], position["short"]["units"]) == ("EUR_USD", "1000", "0")
    (trade,) = client.request(trades.OpenTrades(ACCOUNT))["trades"]
    assert trade["currentUnits"] == "1000"
    closed = client.request(positions.PositionClose(ACCOUNT, "EUR_USD", {"longUnits": "ALL"}))
    assert closed["longOrderFillTransaction"]["tradesClosed"][0]["tradeID"] == trade["id"]
    since = client.request(transactions.TransactionsSinceID(ACCOUNT, {"id": 2}))
    kinds = [each["type"] for each in since["transactions"]]
    assert kinds == ["MARKET_ORDER", "ORDER_FILL", "MARKET_ORDER", "ORDER_FILL"]
    pages = client.request(transactions.TransactionList(ACCOUNT, {"pageSize": 2}))["pages"]
    assert [page.partition("?")[2] for page in pages] == ["from=1&to=2", "from=3&to=4", "from=5&to=6"]
    ranged = client.request(transactions.TransactionIDRange(ACCOUNT, {"from": 3, "to": 6, "type": "ORDER_FILL"}))
    assert [each["id"] for each in ranged["transactions"]] == ["4", "6"]
    details = client.request(accounts.AccountDetails(ACCOUNT))["account"]
    assert (details["hedgingEnabled"], details["openPositionCount"], details["lastTransactionID"]) == (False, 0, "6")
    listed = client.request(accounts.AccountInstruments(ACCOUNT, {"instruments": "USD_JPY"}))["instruments"]
    assert [(each["name"], each["displayPrecision"], each["marginRate"]) for each in listed] == [("USD_JPY", 3, "0.02")]
    assert client.request(accounts.AccountList()) == {"accounts": [{"id": ACCOUNT, "tags": []}]}


def test_both_streams(client: oandapyV20.API) -> None:
    lines = client.request(pricing.PricingStream(ACCOUNT, {"instruments": "EUR_USD,USD_JPY"}))
    first = [next(lines) for _ in range(4)]
    assert {line["instrument"] for line in first} == {"EUR_USD", "USD_JPY"}
    assert all(line["type"] == "PRICE" and float(line["bids"][0]["price"]) < float(line["asks"][0]["price"]) for line in first)
    told = client.request(transactions.TransactionsStream(ACCOUNT))
    heartbeat = next(told)
    assert (heartbeat["type"], heartbeat["lastTransactionID"]) == ("HEARTBEAT", "2")
    other = oandapyV20.API(access_token=TOKEN, request_params={"timeout": TIMEOUT_S})
    other.request(orders.OrderCreate(ACCOUNT, MarketOrderRequest("USD_JPY", units=-100).data))
    assert [next(told)["type"] for _ in range(2)] == ["MARKET_ORDER", "ORDER_FILL"]


def test_what_is_refused(client: oandapyV20.API) -> None:
    too_fine = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "1.000001", "timeInForce": "GTC"}}
    with pytest.raises(V20Error) as error:
        client.request(orders.OrderCreate(ACCOUNT, too_fine))
    assert (error.value.code, "PRICE_PRECISION_EXCEEDED" in str(error.value)) == (400, True)
    stranger = oandapyV20.API(access_token="nobody", request_params={"timeout": TIMEOUT_S})
    with pytest.raises(V20Error) as error:
        stranger.request(accounts.AccountList())
    assert error.value.code == 401
    assert requests.Session is not None
