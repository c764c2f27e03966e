"""Commands as requests, byte for byte; answers that name another order prove nothing; what has no word is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import TABLES, Product, Security
from adapters.binance.income_log import IncomePage
from adapters.http.request import Answer, Intent, Outcome, Request, Wire
from core.commands import ReplaceOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import RefusedError
from core.units import NS_PER_SECOND
from tests.adapters.binance.account_for_tests import (
    NOW,
    ORDER_ID,
    STAMP,
    STAMP_MS,
    WIRE_ID,
    codec,
    encoded,
    order_body,
    submit,
)
from tests.adapters.binance.plain_signer import KEY, PlainSigner, signature

SPOT, USDM = Product.SPOT, Product.USDM


def params_of(request: Request[Any]) -> dict[str, str]:
    """What is signed, without what signing adds."""
    wire = request.build(STAMP)
    text = wire.body.decode() or wire.target.partition("?")[2]
    return {name: value for name, value in parse_qsl(text) if name not in ("timestamp", "recvWindow", "signature")}


COMMON = {"symbol": "BTCUSDT", "newClientOrderId": WIRE_ID, "newOrderRespType": "RESULT", "side": "BUY", "quantity": "0.25"}
FUTURES = {**COMMON, "quantity": "0.25"}
LATER = STAMP + 3600 * NS_PER_SECOND


@pytest.mark.parametrize(
    ("product", "changes", "params"),
    [
        (SPOT, {}, {**COMMON, "type": "LIMIT", "price": "61837.5", "timeInForce": "GTC"}),
        (SPOT, {"post_only": True}, {**COMMON, "type": "LIMIT_MAKER", "price": "61837.5"}),
        (SPOT, {"time_in_force": TimeInForce.FOK}, {**COMMON, "type": "LIMIT", "price": "61837.5", "timeInForce": "FOK"}),
        (SPOT, {"order_type": OrderType.MARKET, "price": None}, {**COMMON, "type": "MARKET"}),
        (
            SPOT,
            {"order_type": OrderType.STOP, "price": None, "trigger_price": 6000000},
            {**COMMON, "type": "STOP_LOSS", "stopPrice": "60000"},
        ),
        (
            SPOT,
            {"order_type": OrderType.STOP_LIMIT, "trigger_price": 6000000},
            {**COMMON, "type": "STOP_LOSS_LIMIT", "stopPrice": "60000", "price": "61837.5", "timeInForce": "GTC"},
        ),
        (
            SPOT,
            {"display_qty": 1000},
            {**COMMON, "type": "LIMIT", "price": "61837.5", "timeInForce": "GTC", "icebergQty": "0.01"},
        ),
        # A spot sale can only sell what is there: it needs no flag to reduce only.
        (
            SPOT,
            {"reduce_only": True, "side": Side.SELL, "order_type": OrderType.MARKET, "price": None},
            {**COMMON, "side": "SELL", "type": "MARKET"},
        ),
        (USDM, {}, {**FUTURES, "type": "LIMIT", "price": "61837.5", "timeInForce": "GTC"}),
        (USDM, {"post_only": True}, {**FUTURES, "type": "LIMIT", "price": "61837.5", "timeInForce": "GTX"}),
        (
            USDM,
            {"time_in_force": TimeInForce.GTD, "expire_ts": LATER},
            {**FUTURES, "type": "LIMIT", "price": "61837.5", "timeInForce": "GTD", "goodTillDate": str(STAMP_MS + 3_600_000)},
        ),
        (
            USDM,
            {"order_type": OrderType.MARKET, "price": None, "reduce_only": True, "side": Side.SELL},
            {**FUTURES, "side": "SELL", "type": "MARKET", "reduceOnly": "true"},
        ),
    ],
)
def test_orders_as_they_leave(product: Product, changes: dict[str, Any], params: dict[str, str]) -> None:
    request = codec(product).place(submit(product, **changes), NOW)
    assert (params_of(request), request.intent) == (params, Intent.PLACE)


@pytest.mark.parametrize(
    ("product", "changes"),
    [
        (SPOT, {"time_in_force": TimeInForce.GTD, "expire_ts": LATER}),
        (SPOT, {"time_in_force": TimeInForce.DAY}),
        (SPOT, {"post_only": True, "time_in_force": TimeInForce.IOC}),
        (SPOT, {"post_only": True, "order_type": OrderType.MARKET, "price": None}),
        (SPOT, {"reduce_only": True}),
        (SPOT, {"display_qty": 1000, "time_in_force": TimeInForce.IOC}),
        (USDM, {"time_in_force": TimeInForce.OPG}),
        (USDM, {"time_in_force": TimeInForce.GTD, "expire_ts": NOW + 600 * NS_PER_SECOND}),
        (USDM, {"post_only": True, "time_in_force": TimeInForce.FOK}),
        (USDM, {"display_qty": 10}),
        (USDM, {"order_type": OrderType.STOP, "price": None, "trigger_price": 600000}),
    ],
)
def test_what_the_product_has_no_word_for_is_refused(product: Product, changes: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        codec(product).place(submit(product, **changes), NOW)


def test_stops_of_the_futures_go_to_the_algo_service() -> None:
    stop = submit(USDM, order_type=OrderType.STOP, price=None, trigger_price=600000, side=Side.SELL, reduce_only=True)
    params = {
        "algoType": "CONDITIONAL",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.25",
        "triggerPrice": "60000",
        "workingType": "CONTRACT_PRICE",
        "clientAlgoId": WIRE_ID,
        "reduceOnly": "true",
    }
    assert params_of(codec(USDM).place_conditional(stop, NOW)) == params
    limit = submit(USDM, order_type=OrderType.STOP_LIMIT, trigger_price=600000, side=Side.SELL)
    limit_params = {**params, "type": "STOP", "price": "61837.5", "timeInForce": "GTC"}
    del limit_params["reduceOnly"]
    assert params_of(codec(USDM).place_conditional(limit, NOW)) == limit_params
    with pytest.raises(RefusedError):
        codec(SPOT).place_conditional(submit(SPOT), NOW)


def test_a_change_of_quantity_counts_what_was_filled() -> None:
    command = ReplaceOrder(ts=NOW, client_order_id=ORDER_ID, quantity=200, price=610001, filled_qty=50)
    request = codec(USDM).replace(command, "BTCUSDT-PERP.BINANCE", Side.SELL)
    params = {"symbol": "BTCUSDT", "origClientOrderId": WIRE_ID, "side": "SELL", "quantity": "0.25", "price": "61000.1"}
    assert (params_of(request), request.intent) == (params, Intent.CHANGE)
    with pytest.raises(RefusedError):
        codec(SPOT).replace(command, "BTCUSDT.BINANCE", Side.SELL)


Call = Callable[[BinanceCodec], Request[Any]]
# Each request: method, path, parameters, intent, weight.
BY_ID, SYMBOL, ALGO = {"symbol": "BTCUSDT", "origClientOrderId": WIRE_ID}, {"symbol": "BTCUSDT"}, {"clientAlgoId": WIRE_ID}
BETWEEN = {**SYMBOL, "startTime": str(STAMP_MS), "endTime": str(STAMP_MS + 5), "limit": "1000"}
COIN, PERP = "BTCUSDT.BINANCE", "BTCUSDT-PERP.BINANCE"
C, Q, X = Intent.CANCEL, Intent.QUERY, Intent.OTHER
CALLS: list[tuple[Product, Call, str, str, dict[str, str], Intent, int]] = [
    (SPOT, lambda c: c.cancel(ORDER_ID, COIN), "DELETE", "/api/v3/order", BY_ID, C, 1),
    (SPOT, lambda c: c.cancel_venue_order(77, "BTCUSDT"), "DELETE", "/api/v3/order", {**SYMBOL, "orderId": "77"}, C, 1),
    (SPOT, lambda c: c.query_order(ORDER_ID, COIN), "GET", "/api/v3/order", BY_ID, Q, 4),
    (SPOT, lambda c: c.query_venue_order(77, "BTCUSDT"), "GET", "/api/v3/order", {**SYMBOL, "orderId": "77"}, Q, 4),
    (SPOT, lambda c: c.cancel_all("BTCUSDT"), "DELETE", "/api/v3/openOrders", SYMBOL, C, 1),
    (SPOT, lambda c: c.open_orders("BTCUSDT"), "GET", "/api/v3/openOrders", SYMBOL, Q, 6),
    (SPOT, lambda c: c.open_orders(), "GET", "/api/v3/openOrders", {}, Q, 80),
    (
        SPOT,
        lambda c: c.trades("BTCUSDT", from_id=5),
        "GET",
        "/api/v3/myTrades",
        {**SYMBOL, "fromId": "5", "limit": "1000"},
        Q,
        20,
    ),
    (SPOT, lambda c: c.spot_account(), "GET", "/api/v3/account", {"omitZeroBalances": "true"}, Q, 20),
    (SPOT, lambda c: c.key_permissions(), "GET", "/sapi/v1/account/apiRestrictions", {}, Q, 1),
    (SPOT, lambda c: c.server_time(), "GET", "/api/v3/time", {}, Q, 1),
    (SPOT, lambda c: c.exchange_info(), "GET", "/api/v3/exchangeInfo", {}, Q, 20),
    (SPOT, lambda c: c.depth("BTCUSDT"), "GET", "/api/v3/depth", {**SYMBOL, "limit": "1000"}, Q, 50),
    (SPOT, lambda c: c.depth("BTCUSDT", 501), "GET", "/api/v3/depth", {**SYMBOL, "limit": "5000"}, Q, 250),
    (USDM, lambda c: c.cancel(ORDER_ID, PERP), "DELETE", "/fapi/v1/order", BY_ID, C, 1),
    (USDM, lambda c: c.query_order(ORDER_ID, PERP), "GET", "/fapi/v1/order", BY_ID, Q, 1),
    (USDM, lambda c: c.cancel_conditional(ORDER_ID), "DELETE", "/fapi/v1/algoOrder", ALGO, C, 1),
    (USDM, lambda c: c.query_conditional(ORDER_ID, PERP), "GET", "/fapi/v1/algoOrder", ALGO, Q, 1),
    (USDM, lambda c: c.cancel_all("BTCUSDT"), "DELETE", "/fapi/v1/allOpenOrders", SYMBOL, C, 1),
    (USDM, lambda c: c.cancel_all_conditional("BTCUSDT"), "DELETE", "/fapi/v1/algoOpenOrders", SYMBOL, C, 1),
    (
        USDM,
        lambda c: c.dead_man("BTCUSDT", 6000),
        "POST",
        "/fapi/v1/countdownCancelAll",
        {**SYMBOL, "countdownTime": "6000"},
        C,
        10,
    ),
    (USDM, lambda c: c.open_orders(), "GET", "/fapi/v1/openOrders", {}, Q, 40),
    (USDM, lambda c: c.open_conditional("BTCUSDT"), "GET", "/fapi/v1/openAlgoOrders", SYMBOL, Q, 1),
    (USDM, lambda c: c.trades_between("BTCUSDT", STAMP_MS, STAMP_MS + 5), "GET", "/fapi/v1/userTrades", BETWEEN, Q, 5),
    (
        USDM,
        lambda c: c.income(IncomePage(STAMP_MS, STAMP_MS + 5, 2)),
        "GET",
        "/fapi/v1/income",
        {"startTime": str(STAMP_MS), "endTime": str(STAMP_MS + 5), "page": "2", "limit": "1000"},
        Q,
        30,
    ),
    (USDM, lambda c: c.query_venue_conditional(9, "BTCUSDT"), "GET", "/fapi/v1/algoOrder", {"algoId": "9"}, Q, 1),
    (USDM, lambda c: c.futures_account(), "GET", "/fapi/v3/account", {}, Q, 5),
    (USDM, lambda c: c.positions(), "GET", "/fapi/v3/positionRisk", {}, Q, 5),
    (USDM, lambda c: c.position_mode(), "GET", "/fapi/v1/positionSide/dual", {}, Q, 30),
    (USDM, lambda c: c.server_time(), "GET", "/fapi/v1/time", {}, Q, 1),
    (USDM, lambda c: c.exchange_info(), "GET", "/fapi/v1/exchangeInfo", {}, Q, 1),
    (USDM, lambda c: c.depth("BTCUSDT"), "GET", "/fapi/v1/depth", {**SYMBOL, "limit": "1000"}, Q, 20),
    (USDM, lambda c: c.key_permissions(), "GET", "/sapi/v1/account/apiRestrictions", {}, Q, 1),
    (USDM, lambda c: c.create_listen_key(), "POST", "/fapi/v1/listenKey", {}, X, 1),
    (USDM, lambda c: c.keep_listen_key(), "PUT", "/fapi/v1/listenKey", {}, X, 1),
    (USDM, lambda c: c.close_listen_key(), "DELETE", "/fapi/v1/listenKey", {}, X, 1),
]


@pytest.mark.parametrize(("product", "call", "method", "path", "params", "intent", "weight"), CALLS)
def test_every_other_request(
    product: Product, call: Call, method: str, path: str, params: dict[str, str], intent: Intent, weight: int
) -> None:
    request = call(codec(product))
    wire = request.build(STAMP)
    assert (wire.method, wire.target.partition("?")[0], params_of(request)) == (method, path, params)
    assert (request.intent, dict(request.costs)["weight"], dict(request.costs)["raw"]) == (intent, weight, 1)


@pytest.mark.parametrize(
    ("product", "count", "weights"), [(USDM, 39, [1] * 78), (USDM, 40, [40, 40]), (SPOT, 13, [6] * 13), (SPOT, 14, [80])]
)
def test_open_orders_are_asked_for_by_symbol_as_long_as_that_is_cheaper(product: Product, count: int, weights: list[int]) -> None:
    asked = codec(product).all_open([f"S{index}USDT" for index in range(count)])
    assert [dict(request.costs)["weight"] for request in asked] == weights


def test_every_endpoint_of_the_tables_is_used() -> None:
    used = {call(codec(product)).name for product, call, *_ in CALLS}
    used |= {
        f"binance.{product.name.lower()}.{name}" for product in Product for name in ("order.place", "order.replace", "algo.place")
    }
    assert {f"binance.{product.name.lower()}.{name}" for product, table in TABLES.items() for name in table} <= used


def test_a_request_is_signed_for_the_moment_it_leaves() -> None:
    request = codec(USDM).cancel(ORDER_ID, "BTCUSDT-PERP.BINANCE")
    first, second = request.build(STAMP), request.build(STAMP + 1_500_000)
    query = f"timestamp={STAMP_MS}&symbol=BTCUSDT&origClientOrderId={WIRE_ID}&recvWindow=5000"
    assert first.target == f"/fapi/v1/order?{query}&signature={signature(query)}"
    assert f"timestamp={STAMP_MS + 1}&" in second.target
    assert first.headers == (("X-MBX-APIKEY", KEY),)


def test_the_signature_is_that_of_the_documentation() -> None:
    text = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
    assert signature(text) == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def verdict_of(request: Request[Any], body: object, status: int = 200) -> Outcome:
    return request.judge(Answer(status, {}, encoded(body))).outcome


YES, UNKNOWN = Outcome.ACCEPTED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, YES),
        ({"clientOrderId": "td-7-4"}, UNKNOWN),
        ({"symbol": "ETHUSDT"}, UNKNOWN),
        ({"origClientOrderId": WIRE_ID, "clientOrderId": "cancel-1"}, YES),
        ({"origClientOrderId": "td-7-4"}, UNKNOWN),
    ],
)
def test_an_answer_about_another_order_proves_nothing(changes: dict[str, Any], outcome: Outcome) -> None:
    for product in Product:
        under = codec(product)
        instrument_id = submit(product).instrument_id
        requests = [
            under.place(submit(product), NOW),
            under.cancel(ORDER_ID, instrument_id),
            under.query_order(ORDER_ID, instrument_id),
        ]
        assert [verdict_of(request, order_body(**changes)) for request in requests] == [outcome] * 3


DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}


def test_answers_that_say_done() -> None:
    futures, spot = codec(USDM), codec(SPOT)
    assert verdict_of(futures.cancel_all("BTCUSDT"), DONE) is YES
    assert verdict_of(futures.cancel_all_conditional("BTCUSDT"), DONE) is YES
    assert verdict_of(futures.cancel_all("BTCUSDT"), {"code": 201, "msg": "?"}) is UNKNOWN
    assert verdict_of(spot.cancel_all("BTCUSDT"), [order_body(status="CANCELED")]) is YES
    assert verdict_of(spot.cancel_all("BTCUSDT"), [{"orderListId": 1}]) is UNKNOWN
    assert verdict_of(futures.dead_man("BTCUSDT", 60_000), {"symbol": "BTCUSDT", "countdownTime": "60000"}) is YES
    assert verdict_of(futures.dead_man("BTCUSDT", 60_000), {"symbol": "BTCUSDT", "countdownTime": "0"}) is UNKNOWN
    assert verdict_of(futures.keep_listen_key(), {}) is YES
    assert verdict_of(futures.keep_listen_key(), {"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8"}) is YES
    assert verdict_of(futures.create_listen_key(), {"listenKey": "a/../b?c=dddddddddd"}) is UNKNOWN
    assert (
        verdict_of(futures.cancel_conditional(ORDER_ID), {"algoId": 1, "clientAlgoId": WIRE_ID, "code": "200", "msg": "success"})
        is YES
    )
    assert (
        verdict_of(futures.cancel_conditional(ORDER_ID), {"algoId": 1, "clientAlgoId": WIRE_ID, "algoStatus": "CANCELED"}) is YES
    )
    assert (
        verdict_of(futures.cancel_conditional(ORDER_ID), {"algoId": 1, "clientAlgoId": WIRE_ID, "algoStatus": "NEW"}) is UNKNOWN
    )
    assert verdict_of(futures.query_venue_order(77, "BTCUSDT"), order_body()) is YES
    assert verdict_of(futures.query_venue_order(78, "BTCUSDT"), order_body()) is UNKNOWN
    assert verdict_of(spot.depth("BTCUSDT"), {"lastUpdateId": 5, "bids": [["1", "2"]], "asks": []}) is YES
    assert verdict_of(spot.depth("BTCUSDT"), {"bids": []}) is UNKNOWN


def test_a_question_about_an_order_that_the_venue_does_not_know() -> None:
    request = codec(SPOT).query_order(ORDER_ID, "BTCUSDT.BINANCE")
    verdict = request.judge(Answer(400, {}, encoded({"code": -2013, "msg": "Order does not exist."})))
    assert (verdict.outcome, verdict.code) == (Outcome.REJECTED_PROVEN, -2013)


def test_the_subscription_of_the_spot_user_stream() -> None:
    message = msgspec.json.decode(codec(SPOT).subscribe_user_stream("u1", STAMP))
    expected = signature(f"apiKey={KEY}&timestamp={STAMP_MS}")
    assert message == {
        "id": "u1",
        "method": "userDataStream.subscribe.signature",
        "params": {"apiKey": KEY, "timestamp": STAMP_MS, "signature": expected},
    }


# ccxt itself, where it is installed.


def ccxt_signer() -> Any:
    pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'tradingd[venues]'")
    from adapters.binance.ccxt_signer import CcxtSigner
    from tests.adapters.binance.plain_signer import SECRET

    return CcxtSigner(api_key=KEY, secret=SECRET, spot_origin="http://venue.test", futures_origin="http://venue.test")


def test_ccxt_signs_as_the_documentation_says() -> None:
    """Every endpoint, our parameters: the same bytes from ccxt's `sign` and from the signer written by the documentation."""
    signer, plain = ccxt_signer(), PlainSigner()
    for table in TABLES.values():
        for endpoint in table.values():
            params = {"symbol": "BTCUSDT", "newClientOrderId": WIRE_ID, "clientAlgoId": WIRE_ID, "note": "a+b/c:d"}
            if endpoint.security is Security.KEY:
                params = {}
            expected, found = (each.sign(endpoint, params, STAMP_MS, 5000) for each in (plain, signer))
            assert by_name(found) == by_name(expected), endpoint.name
    assert signer.signed_params({"timestamp": "5"}) == plain.signed_params({"timestamp": "5"})


def by_name(wire: Wire) -> tuple[str, str, str, dict[str, str], bytes]:
    return (wire.method, wire.origin, wire.target, dict(wire.headers), wire.body)


def test_our_weights_are_those_that_ccxt_knows() -> None:
    ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'tradingd[venues]'")
    api = ccxt.binance().api
    # ccxt counts spot in fifths; the futures' order it counts for their order limit.
    factors = {"public": 5, "private": 5}
    differ = {
        endpoint.name: (endpoint.weight, cost)
        for table in TABLES.values()
        for endpoint in table.values()
        if endpoint.section in api and endpoint.name not in ("depth", "depth.deep", "key.permissions")
        for known in [api[endpoint.section][endpoint.method.lower()].get(endpoint.path)]
        for cost in [round((known["cost"] if isinstance(known, dict) else known or 0) * factors.get(endpoint.section, 1))]
        if cost > endpoint.weight
    }
    assert differ == {"order.place": (1, 4)}


@pytest.mark.parametrize(("key", "secret"), [("", "x"), ("key\n", "x"), ("key", " x"), ("kéy", "x")])
def test_credentials_with_a_blank_are_refused(key: str, secret: str) -> None:
    pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'tradingd[venues]'")
    from adapters.binance.ccxt_signer import CcxtSigner
    from core.errors import ConfigError

    with pytest.raises(ConfigError):
        CcxtSigner(api_key=key, secret=secret, spot_origin="http://x", futures_origin="http://x")
