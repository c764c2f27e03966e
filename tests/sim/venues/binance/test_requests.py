"""The simulated Binance's requests: keys, signatures, the clock, parameters, weights, bans; and what exchangeInfo says."""

from __future__ import annotations

from typing import Any

import pytest

from sim.venues.binance.limits import LIMITS
from sim.venues.binance.markets import ClientSetup, Product
from sim.venues.faults import Faults
from sim.venues.protocol import HttpRequest
from tests.sim.venues.binance.signed import MS, Binance, S, Spot, Usdm, opened

GOOD: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "50000",
}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({}, 200, None),
        ({"timestamp": None}, 400, -1102),
        ({"timestamp": 5_001}, 400, -1021),
        ({"timestamp": 5_000}, 200, None),
        ({"timestamp": -999}, 200, None),
        ({"timestamp": -1_000}, 400, -1021),
        ({"timestamp": 5_001, "recvWindow": 6000}, 200, None),
        ({"recvWindow": 60_001}, 400, -1131),
        ({"signature": "0" * 64}, 400, -1022),
        ({"signature": "é"}, 400, -1022),
        ({"symbol": "NOTHING"}, 400, -1121),
        ({"symbol": ""}, 400, -1102),
        ({"side": "UP"}, 400, -1117),
        ({"type": "WISH"}, 400, -1116),
        ({"timeInForce": "LATER"}, 400, -1115),
        ({"timeInForce": ""}, 400, -1102),
        ({"price": "NaN"}, 400, -1100),
        ({"price": "-1"}, 400, -1100),
        ({"price": "1e5"}, 400, -1100),
        ({"price": "50000.000000001"}, 400, -1111),
        ({"price": "50000.001"}, 400, -1013),
        ({"quantity": "0.000001"}, 400, -1013),
        ({"quantity": "99999999"}, 400, -1013),
        ({"quantity": "0.00001"}, 400, -1013),
        ({"price": "500000"}, 400, -1013),
        ({"quantity": "3"}, 400, -2010),
        ({"newClientOrderId": "x" * 37}, 400, -1100),
        ({"newClientOrderId": "a b"}, 400, -1100),
        ({"type": "MARKET"}, 400, -1106),
        ({"reduceOnly": "false"}, 200, None),
    ],
)
def test_an_order_request_is_checked_as_documented(changes: dict[str, Any], status: int, code: int | None) -> None:
    venue = Spot()
    values = GOOD | changes
    if isinstance(changes.get("timestamp"), int):
        values["timestamp"] = venue.ts // MS - changes["timestamp"]
    if "timestamp" in changes and changes["timestamp"] is None:
        values["timestamp"] = ""
    found, body = venue.http("POST", "/api/v3/order", values)
    assert (found, body.get("code")) == (status, code), body
    if code is not None:
        assert venue.http("GET", "/api/v3/openOrders", symbol="BTCUSDT") == (200, [])


@pytest.mark.parametrize(("key", "code"), [("", -2014), ("nobody", -2015), ("us", None)])
def test_keys(key: str, code: int | None) -> None:
    status, body = Spot().http("GET", "/api/v3/account", key=key)
    assert (status, body.get("code")) == ((200, None) if code is None else (401, code))


def test_a_key_that_is_revoked_and_one_without_rights() -> None:
    venue = Spot()
    venue.act("revoke", account="us")
    assert venue.http("GET", "/api/v3/account")[1]["code"] == -2015
    venue.act("restore", account="us")
    assert venue.http("GET", "/api/v3/account")[0] == 200
    setup = ClientSetup(
        name="us", key="us-key", secret="us-secret", balances={"USDT": 10**12}, may_withdraw=True, may_trade=False
    )
    reader = Binance(opened(Product.SPOT, setups=[setup]).venue)
    _, rights = reader.http("GET", "/sapi/v1/account/apiRestrictions")
    assert (rights["enableWithdrawals"], rights["enableSpotAndMarginTrading"], rights["enableReading"]) == (True, False, True)
    assert reader.http("POST", "/api/v3/order", GOOD)[1]["code"] == -2015


def test_a_parameter_twice_and_paths_that_are_none() -> None:
    venue = Spot()
    assert venue.http("GET", "/api/v3/depth?", symbol="BTCUSDT", signed=False)[0] == 404
    assert venue.http("GET", "/fapi/v1/order")[0] == 404
    assert venue.http("PATCH", "/api/v3/order")[0] == 404
    request = HttpRequest(method="GET", path="/api/v3/depth", query="symbol=BTCUSDT&symbol=ETHUSDT")
    assert b"-1101" in venue.venue.http(venue.ts, venue.connect(), request).body


def test_weights_throttle_and_ban() -> None:
    venue = Spot()
    for _ in range(LIMITS[Product.SPOT].weight_1m // 250):
        assert venue.http("GET", "/api/v3/depth", symbol="BTCUSDT", limit="5000", signed=False)[0] == 200
    assert dict(venue.reply.headers)["x-mbx-used-weight-1m"] == "6000"
    for _ in range(11):
        status, body = venue.http("GET", "/api/v3/time", signed=False)
        assert (status, body["code"]) == (429, -1003)
    assert dict(venue.reply.headers)["Retry-After"] == "40"
    assert venue.http("GET", "/api/v3/time", signed=False)[0] == 418
    venue.wait(121 * S)
    assert venue.http("GET", "/api/v3/time", signed=False)[0] == 200


def test_order_counts_are_the_accounts_own() -> None:
    venue = Usdm()
    for _ in range(LIMITS[Product.USDM].orders_10s):
        venue.order("BUY", "0.01", "NaN")
    assert venue.order("BUY", "0.01", "50000")[1]["code"] == -1015
    assert dict(venue.reply.headers)["x-mbx-order-count-10s"] == "301"
    assert venue.order("BUY", "0.01", "50000", key="them")[0] == 200
    venue.wait(10 * S)
    assert venue.order("BUY", "0.01", "50000")[0] == 200


def test_exchange_info_says_its_rules() -> None:
    _, spot = Spot().http("GET", "/api/v3/exchangeInfo", signed=False)
    [row] = [row for row in spot["symbols"] if row["symbol"] == "BTCUSDT"]
    filters = {row["filterType"]: row for row in row["filters"]}
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.01000000", "0.00001000")
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    _, usdm = Usdm().http("GET", "/fapi/v1/exchangeInfo", signed=False)
    [row] = [row for row in usdm["symbols"] if row["symbol"] == "BTCUSDT"]
    filters = {row["filterType"]: row for row in row["filters"]}
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.1", "0.001")
    assert {(row["rateLimitType"], row["interval"], row["intervalNum"], row["limit"]) for row in usdm["rateLimits"]} == {
        ("REQUEST_WEIGHT", "MINUTE", 1, 2400),
        ("ORDERS", "SECOND", 10, 300),
        ("ORDERS", "MINUTE", 1, 1200),
        ("RAW_REQUESTS", "MINUTE", 5, 61_000),
    }


def test_acts_that_are_none_are_refused() -> None:
    venue = Spot()
    for name, arguments in (
        ("dance", {}),
        ("hit", {}),
        ("trade", {"symbol": "BTCUSDT"}),
        ("halt", {"symbol": "X"}),
        ("restart", {"orders_lost": "many"}),
    ):
        with pytest.raises(ValueError, match=r"."):
            venue.act(name, **arguments)


def test_a_fault_that_is_none_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot show fault 63"):
        opened(Product.SPOT).venue.faults.arm(63)
    assert isinstance(opened(Product.SPOT).venue.faults, Faults)
