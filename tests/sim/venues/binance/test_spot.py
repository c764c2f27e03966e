"""The simulated Binance spot: orders' lives, balances to the last digit, the user stream by the WebSocket API."""

from __future__ import annotations

from typing import Any

from tests.sim.venues.binance.signed import S, Spot


def rest(venue: Spot, side: str = "BUY", qty: str = "0.01000", price: str = "49000.00", **more: Any) -> Any:
    status, body = venue.order(side, qty, price, newClientOrderId=more.pop("name", "a"), **more)
    assert status == 200, body
    return body


def balances(venue: Spot) -> dict[str, tuple[str, str]]:
    _, account = venue.http("GET", "/api/v3/account", omitZeroBalances="true")
    return {row["asset"]: (row["free"], row["locked"]) for row in account["balances"]}


def test_a_limit_order_rests_locks_and_is_canceled() -> None:
    venue = Spot()
    body = rest(venue)
    assert (body["status"], body["executedQty"], body["fills"]) == ("NEW", "0.00000000", [])
    assert balances(venue)["USDT"] == ("99510.00000000", "490.00000000")
    assert venue.order("BUY", "0.01", "49000", newClientOrderId="a")[1] == {"code": -2010, "msg": "Duplicate order sent."}
    _, asked = venue.http("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a")
    assert (asked["orderId"], asked["price"], asked["isWorking"]) == (body["orderId"], "49000.00000000", True)
    _, canceled = venue.http("DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a")
    assert (canceled["origClientOrderId"], canceled["status"]) == ("a", "CANCELED")
    assert canceled["clientOrderId"] != "a"
    assert venue.http("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=body["orderId"])[1]["code"] == -2011
    assert balances(venue)["USDT"] == ("100000.00000000", "0.00000000")
    # An id is free again once its order has ended.
    rest(venue)
    venue.wait(4 * 86_400 * S)
    assert venue.http("GET", "/api/v3/order", symbol="BTCUSDT", orderId=body["orderId"])[1]["code"] == -2013
    assert venue.http("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a")[1]["status"] == "NEW"


def test_a_trade_moves_money_and_takes_its_fee_from_what_comes_in() -> None:
    venue = Spot()
    rest(venue, "SELL", "0.10000", "50000.01", key="them")
    status, body = venue.order("BUY", "0.04000", None, newOrderRespType="FULL")
    assert status == 200
    [fill] = body["fills"]
    assert (fill["price"], fill["qty"], fill["commission"], fill["commissionAsset"]) == (
        "50000.01000000",
        "0.04000000",
        "0.00004000",
        "BTC",
    )
    assert (body["status"], body["cummulativeQuoteQty"]) == ("FILLED", "2000.00040000")
    assert balances(venue) == {
        "BNB": ("10.00000000", "0.00000000"),
        "BTC": ("2.03996000", "0.00000000"),
        "ETH": ("20.00000000", "0.00000000"),
        "USDT": ("97999.99960000", "0.00000000"),
    }
    [trade] = venue.http("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=body["orderId"])[1]
    assert (trade["id"], trade["isBuyer"], trade["isMaker"]) == (fill["tradeId"], True, False)
    [theirs] = venue.http("GET", "/api/v3/myTrades", symbol="BTCUSDT", key="them")[1]
    assert (theirs["id"], theirs["commission"], theirs["commissionAsset"]) == (fill["tradeId"], "2.00000040", "USDT")
    ledger = venue.venue.ledger()
    assert ledger["positions"] == {"us": {"BTCUSDT.BINANCE": 4000}, "them": {"BTCUSDT.BINANCE": -4000}}
    assert [(row["venue_order_id"], row["trade_id"]) for row in ledger["fills"]] == [
        (str(body["orderId"]), str(fill["tradeId"])),
        (str(theirs["orderId"]), str(fill["tradeId"])),
    ]


def test_kinds_of_orders() -> None:
    venue = Spot()
    assert venue.order("BUY", "0.01", "60000", timeInForce="", type="LIMIT_MAKER")[1]["msg"] == (
        "Order would immediately match and take."
    )
    assert rest(venue, price="60000", timeInForce="IOC", name="i")["status"] == "FILLED"
    assert rest(venue, price="40000", timeInForce="FOK", name="f")["status"] == "EXPIRED"
    _, quote = venue.order("BUY", "", None, quoteOrderQty="100")
    assert (quote["status"], quote["origQty"]) == ("FILLED", "0.00199000")
    stop = {"type": "STOP_LOSS_LIMIT", "stopPrice": "51000", "newClientOrderId": "s", "newOrderRespType": "RESULT"}
    assert venue.order("BUY", "0.01", "51500", **stop)[1]["status"] == "NEW"
    assert venue.order("SELL", "0.01", "49500", **(stop | {"newClientOrderId": "t"}))[1]["msg"] == (
        "Stop price would trigger immediately."
    )
    assert venue.http("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="s")[1]["isWorking"] is False
    venue.act("print", symbol="BTCUSDT", side="BUY", price=51_000_00, qty=1)
    assert venue.http("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="s")[1]["status"] == "FILLED"


def test_cancel_replace_may_half_succeed() -> None:
    venue = Spot()
    first = rest(venue)
    new = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "48000"}
    path = "/api/v3/order/cancelReplace"
    status, body = venue.http("POST", path, new, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=first["orderId"])
    assert (status, body["cancelResult"], body["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
    status, body = venue.http("POST", path, new, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=first["orderId"])
    assert (status, body["code"], body["data"]["newOrderResult"]) == (400, -2022, "NOT_ATTEMPTED")
    status, body = venue.http("POST", path, new, cancelReplaceMode="ALLOW_FAILURE", cancelOrderId=first["orderId"])
    assert (status, body["code"], body["data"]["cancelResult"], body["data"]["newOrderResult"]) == (
        409,
        -2021,
        "FAILURE",
        "SUCCESS",
    )
    venue.venue.faults.arm(17)
    last = body["data"]["newOrderResponse"]["orderId"]
    status, body = venue.http("POST", path, new, cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=last)
    assert (status, body["data"]["cancelResult"], body["data"]["newOrderResult"]) == (409, "SUCCESS", "FAILURE")


def test_less_quantity_keeps_its_place_and_everything_leaves_at_once() -> None:
    venue = Spot()
    body = rest(venue)
    status, amended = venue.http(
        "PUT", "/api/v3/order/amend/keepPriority", symbol="BTCUSDT", orderId=body["orderId"], newQty="0.004"
    )
    assert (status, amended["amendedOrder"]["origQty"]) == (200, "0.00400000")
    rest(venue, name="b", price="48000")
    _, gone = venue.http("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert [row["origClientOrderId"] for row in gone] == ["a", "b"]
    assert venue.http("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")[1]["code"] == -2011
    assert len(venue.http("GET", "/api/v3/allOrders", symbol="BTCUSDT")[1]) == 2


def test_the_user_stream_tells_each_thing_once() -> None:
    venue = Spot()
    stream, theirs = venue.subscribe(), venue.subscribe("them")
    rest(venue)
    venue.act("hit", account="us", client_order_id="a", qty=400)
    venue.http("DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a")
    venue.wait(S)
    events = [frame["event"] for frame in venue.heard(stream)]
    assert all(frame["e"] in ("executionReport", "outboundAccountPosition") for frame in events)
    reports = [event for event in events if event["e"] == "executionReport"]
    assert [(e["x"], e["X"], e["z"], e["l"], e["c"] == "a", e["C"]) for e in reports] == [
        ("NEW", "NEW", "0.00000000", "0.00000000", True, ""),
        ("TRADE", "PARTIALLY_FILLED", "0.00400000", "0.00400000", True, ""),
        ("CANCELED", "CANCELED", "0.00400000", "0.00000000", False, "a"),
    ]
    assert events[-1]["B"] == [
        {"a": "BTC", "f": "2.00399600", "l": "0.00000000"},
        {"a": "USDT", "f": "99804.00000000", "l": "0.00000000"},
    ]
    assert venue.heard(theirs) == []


def test_the_websocket_api_answers_and_refuses() -> None:
    venue = Spot()
    line = venue.socket("/ws-api/v3")
    for message, status in (
        ({"id": 1, "method": "ping"}, 200),
        ({"id": 2, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 5}}, 200),
        ({"id": 3, "method": "no.such"}, 400),
        (
            {
                "id": 4,
                "method": "userDataStream.subscribe.signature",
                "params": {"apiKey": "us-key", "timestamp": 1, "signature": "x"},
            },
            400,
        ),
        ({"id": 5, "method": "account.status", "params": {"apiKey": "who"}}, 401),
        ("{", 400),
        ("[1]", 400),
        ({"id": {}, "method": 1}, 400),
    ):
        venue.say(line, message)
        [answer] = venue.heard(line)
        assert answer["status"] == status, answer
    stream = venue.subscribe()
    venue.say(stream, {"id": 6, "method": "session.subscriptions"})
    venue.say(stream, {"id": 7, "method": "userDataStream.unsubscribe"})
    assert [frame["result"] for frame in venue.heard(stream)] == [[{"subscriptionId": 0}], {}]
    rest(venue)
    venue.wait(S)
    assert venue.heard(stream) == []


def test_the_owner_acts_in_the_browser() -> None:
    venue = Spot()
    stream = venue.subscribe()
    rest(venue)
    venue.act("manual_cancel", account="us", client_order_id="a")
    venue.act("manual_order", account="us", symbol="BTCUSDT", side="SELL", qty=1000)
    venue.act("deposit", account="us", currency="USDT", amount=-(10**8))
    venue.wait(S)
    what = [(e["x"], e["c"][:4]) for e in (f["event"] for f in venue.heard(stream)) if e["e"] == "executionReport"]
    assert what == [("NEW", "a"), ("CANCELED", "web_"), ("NEW", "web_"), ("TRADE", "web_")]
    assert [row["origin"] for row in venue.venue.ledger()["orders"]] == ["client", "manual"]


def test_a_restart_forgets_orders_and_cuts_streams() -> None:
    venue = Spot()
    stream = venue.subscribe()
    rest(venue)
    rest(venue, name="b", price="48000")
    venue.wait(S)
    venue.heard(stream)
    venue.act("restart", orders_lost=1)
    assert venue.heard(stream) == [None]
    assert [row["clientOrderId"] for row in venue.http("GET", "/api/v3/openOrders")[1]] == ["a"]
    assert venue.http("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="b")[1]["code"] == -2013
    assert [row["is_open"] for row in venue.venue.ledger()["orders"]] == [True, False]
    venue.act("hit", account="us", client_order_id="a", qty=1000)
    venue.act("restart", fills_lost=1)
    assert venue.http("GET", "/api/v3/myTrades", symbol="BTCUSDT")[1] == []
    assert [row["is_busted"] for row in venue.venue.ledger()["fills"]] == [True]
    assert balances(venue)["BTC"] == ("2.00000000", "0.00000000")


def test_a_break_takes_no_orders_but_lets_them_go() -> None:
    venue = Spot()
    rest(venue)
    venue.act("halt", symbol="BTCUSDT")
    assert venue.order("BUY", "0.01", "49000")[1]["msg"] == "Market is closed."
    info = venue.http("GET", "/api/v3/exchangeInfo", symbol="BTCUSDT", signed=False)[1]
    assert info["symbols"][0]["status"] == "BREAK"
    assert venue.http("DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a")[0] == 200
    venue.act("open", symbol="BTCUSDT")
    rest(venue)
    venue.act("rules", symbol="BTCUSDT", tick=100, lot=10)
    assert venue.order("BUY", "0.01", "49000.01")[1]["msg"] == "Filter failure: PRICE_FILTER"
