"""Every request byte for byte, and that oandapyV20's own client would send the same."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import oandapyV20
import pytest
import requests
from oandapyV20.endpoints import accounts, orders, positions, transactions

from adapters.http.request import Intent, Request, Wire
from adapters.oanda.codec import LimitTerms, OandaCodec
from adapters.oanda.rules import rules_of
from core.commands import SubmitOrder
from core.enums import OrderType, Reason, Side, TimeInForce
from tests.adapters.oanda.world import EURO, TOKEN, instruments

ACCOUNT = "101-001-1000001-001"
API, STREAM = "https://api.example.com", "https://stream.example.com"
RULES = rules_of(instruments()[EURO], "EUR_USD")
CODEC = OandaCodec(account=ACCOUNT, token=TOKEN, api=API, stream=STREAM, deadline_s=10.0)


def order(**more: Any) -> SubmitOrder:
    values: dict[str, Any] = {
        "ts": 0,
        "client_order_id": 1,
        "strategy_id": "s",
        "instrument_id": EURO,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": 1_000,
        "price": 110_000,
    }
    return SubmitOrder(**{**values, **more})


def built(request: Request[Any] | Reason) -> Wire:
    assert isinstance(request, Request)
    return request.build(0)


def body_of(command: SubmitOrder) -> dict[str, Any]:
    wire = built(CODEC.place(command, RULES, "t-3-1"))
    assert (wire.method, wire.origin, wire.target) == ("POST", API, f"/v3/accounts/{ACCOUNT}/orders")
    found: dict[str, Any] = json.loads(wire.body)["order"]
    return found


def test_orders() -> None:
    common = {"instrument": "EUR_USD", "units": "1000", "positionFill": "DEFAULT", "clientExtensions": {"id": "t-3-1"}}
    resting = {"triggerCondition": "DEFAULT"}
    assert body_of(order()) == {**common, "type": "LIMIT", "price": "1.10000", "timeInForce": "GTC", **resting}
    assert body_of(order(order_type=OrderType.MARKET, price=None)) == {**common, "type": "MARKET", "timeInForce": "IOC"}
    fok = order(order_type=OrderType.MARKET, price=None, time_in_force=TimeInForce.FOK, side=Side.SELL, reduce_only=True)
    assert body_of(fok) == {
        **common,
        "units": "-1000",
        "positionFill": "REDUCE_ONLY",
        "type": "MARKET",
        "timeInForce": "FOK",
    }
    dated = order(time_in_force=TimeInForce.GTD, expire_ts=1_790_000_000_123_456_789)
    assert body_of(dated)["gtdTime"] == "2026-09-21T14:13:20.123456789Z"
    assert body_of(order(time_in_force=TimeInForce.DAY))["timeInForce"] == "GFD"
    stop = order(order_type=OrderType.STOP, price=None, trigger_price=112_345)
    assert body_of(stop) == {**common, "type": "STOP", "price": "1.12345", "timeInForce": "GTC", **resting}
    bound = order(order_type=OrderType.STOP_LIMIT, price=112_400, trigger_price=112_345, time_in_force=TimeInForce.IOC)
    assert body_of(bound) == {**body_of(stop), "priceBound": "1.12400"}


def test_what_there_is_no_word_for() -> None:
    refused = [
        order(post_only=True),
        order(display_qty=10),
        order(time_in_force=TimeInForce.OPG),
        order(order_type=OrderType.MARKET, price=None, time_in_force=TimeInForce.GTD),
        order(order_type=OrderType.STOP_LIMIT, trigger_price=1),
        order(order_type=OrderType.STOP, price=None, trigger_price=1, time_in_force=TimeInForce.FOK),
    ]
    assert [CODEC.place(each, RULES, "t-3-1") for each in refused] == [Reason.BAD_FIELD] * 6


def test_the_other_requests() -> None:
    terms = LimitTerms("GTD", "2026-09-21T14:13:20.000000000Z", "REDUCE_ONLY")
    replace = built(CODEC.replace("77", RULES, terms, Side.SELL, 300, 111_111))
    assert (replace.method, replace.target) == ("PUT", f"/v3/accounts/{ACCOUNT}/orders/77")
    assert json.loads(replace.body) == {
        "order": {
            "type": "LIMIT",
            "instrument": "EUR_USD",
            "units": "-300",
            "price": "1.11111",
            "timeInForce": "GTD",
            "positionFill": "REDUCE_ONLY",
            "triggerCondition": "DEFAULT",
            "gtdTime": "2026-09-21T14:13:20.000000000Z",
        }
    }
    cancel = CODEC.cancel("@t-3-1")
    assert (cancel.intent, cancel.costs) == (Intent.CANCEL, (("requests", 1),))
    assert (built(cancel).method, built(cancel).target, built(cancel).body) == (
        "PUT",
        f"/v3/accounts/{ACCOUNT}/orders/@t-3-1/cancel",
        b"",
    )
    close = built(CODEC.close_position("EUR_USD", is_long=False))
    assert (close.method, close.target, close.body) == (
        "PUT",
        f"/v3/accounts/{ACCOUNT}/positions/EUR_USD/close",
        b'{"shortUnits":"ALL"}',
    )
    targets = [
        built(request).target
        for request in (
            CODEC.accounts(),
            CODEC.account(),
            CODEC.instruments(["EUR_USD", "USD_JPY"]),
            CODEC.transactions_since(7),
            CODEC.booked(3, 9),
            CODEC.booked_pages(1_790_000_000_000_000_000, 1_000),
        )
    ]
    account = f"/v3/accounts/{ACCOUNT}"
    assert targets == [
        "/v3/accounts",
        account,
        f"{account}/instruments?instruments=EUR_USD%2CUSD_JPY",
        f"{account}/transactions/sinceid?id=7",
        f"{account}/transactions/idrange?from=3&to=9&type=ORDER_FILL%2CDAILY_FINANCING%2CTRANSFER_FUNDS%2CFUNDING%2CADMIN",
        f"{account}/transactions?from=2026-09-21T14%3A13%3A20.000000000Z&type=ORDER_FILL%2CDAILY_FINANCING%2CTRANSFER_FUNDS%2CFUNDING%2CADMIN"
        "&pageSize=1000",
    ]
    stream = built(CODEC.price_stream(["EUR_USD"]))
    assert (stream.origin, stream.target) == (STREAM, f"{account}/pricing/stream?instruments=EUR_USD&snapshot=true")
    assert dict(stream.headers)["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("request_", "endpoint"),
    [
        (CODEC.place(order(), RULES, "t-3-1"), orders.OrderCreate(ACCOUNT, {"order": body_of(order())})),
        (CODEC.cancel("77"), orders.OrderCancel(ACCOUNT, "77")),
        (CODEC.accounts(), accounts.AccountList()),
        (CODEC.instruments(["EUR_USD", "USD_JPY"]), accounts.AccountInstruments(ACCOUNT, {"instruments": "EUR_USD,USD_JPY"})),
        (CODEC.transactions_since(7), transactions.TransactionsSinceID(ACCOUNT, {"id": "7"})),
        (CODEC.close_position("EUR_USD", is_long=True), positions.PositionClose(ACCOUNT, "EUR_USD", {"longUnits": "ALL"})),
    ],
)
def test_the_librarys_own_client_sends_the_same(request_: Any, endpoint: Any) -> None:
    sent: list[requests.PreparedRequest] = []

    def send(_self: requests.Session, request: requests.PreparedRequest, **_more: Any) -> requests.Response:
        sent.append(request)
        raise requests.ConnectionError

    with patch.object(requests.Session, "send", send), pytest.raises(requests.ConnectionError):
        oandapyV20.API(access_token=TOKEN).request(endpoint)
    (theirs,), ours = sent, built(request_)
    assert theirs.url is not None
    path = theirs.url.removeprefix("https://api-fxpractice.oanda.com")
    # The library writes a slash too many where the endpoint's own path begins with one.
    assert (theirs.method, path.replace("//", "/")) == (ours.method, ours.target)
    assert json.loads(theirs.body or b"{}") == json.loads(ours.body or b"{}")
    assert theirs.headers["Authorization"] == dict(ours.headers)["Authorization"]
