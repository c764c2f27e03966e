"""What the user stream and the queries tell, put together, is what the ledger says; and no client can break the venue."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sim.venues.protocol import HttpRequest
from tests.sim.venues.binance.signed import S, Spot, Usdm

STEPS = 150
MUTATIONS = 4000


def act_at_random(venue: Any, chance: random.Random, step: int) -> None:
    root = "/api/v3" if isinstance(venue, Spot) else "/fapi/v1"
    match chance.randrange(9):
        case 0 | 1 | 2:
            price = str(50_000 + 10 * chance.randrange(-20, 21))
            venue.order(chance.choice(("BUY", "SELL")), "0.010", price, newClientOrderId=f"o{step}")
        case 3:
            venue.order(chance.choice(("BUY", "SELL")), "0.020", None, newClientOrderId=f"o{step}")
        case 4:
            venue.http("DELETE", f"{root}/order", symbol="BTCUSDT", origClientOrderId=f"o{chance.randrange(step + 1)}")
        case 5:
            venue.http("DELETE", f"{root}/{'openOrders' if root == '/api/v3' else 'allOpenOrders'}", symbol="BTCUSDT")
        case 6 if isinstance(venue, Usdm):
            venue.algo("BUY", "0.010", str(50_000 + chance.randrange(1, 300)), clientAlgoId=f"o{step}")
        case 7 if isinstance(venue, Usdm):
            values = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.030", "price": str(49_900 - chance.randrange(50))}
            venue.http("PUT", "/fapi/v1/order", values, origClientOrderId=f"o{chance.randrange(step + 1)}")
        case _:
            venue.order("BUY", "0.010", "50050", newClientOrderId=f"o{step}", timeInForce=chance.choice(("IOC", "FOK")))


def told_by(events: list[Any]) -> tuple[dict[int, tuple[str, str]], dict[int, tuple[int, str, str]]]:
    """Each order's last status and filled quantity by id; each fill by its trade id."""
    orders: dict[int, tuple[str, str]] = {}
    fills: dict[int, tuple[int, str, str]] = {}
    for event in events:
        fields = event["o"] if event["e"] == "ORDER_TRADE_UPDATE" else event
        if event["e"] in ("executionReport", "ORDER_TRADE_UPDATE"):
            orders[fields["i"]] = (fields["X"], fields["z"])
            if fields["x"] == "TRADE":
                assert fields["t"] not in fills
                fills[fields["t"]] = (fields["i"], fields["L"], fields["l"])
    return orders, fills


@pytest.mark.parametrize("make", [Spot, Usdm])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stream_and_queries_tell_what_the_ledger_says(make: Any, seed: int) -> None:
    chance, venue = random.Random(seed), make(seed=seed, is_quiet=False)
    stream = venue.subscribe() if make is Spot else venue.user_socket()
    for step in range(STEPS):
        act_at_random(venue, chance, step)
        venue.wait(chance.randrange(S))
    venue.act("quiet")
    venue.wait(S)
    events = [frame.get("event", frame) for frame in venue.frames[stream]]
    orders, fills = told_by(events)
    ledger = venue.venue.ledger()
    texts = venue.venue.desk.texts["BTCUSDT"]
    on_book = [row for row in ledger["orders"] if not row["venue_order_id"].startswith("a")]
    assert {str(number): qty for number, (_, qty) in orders.items()} == {
        row["venue_order_id"]: texts.qty(row["filled_qty"]) for row in on_book
    }
    assert {str(number) for number, (status, _) in orders.items() if status in ("NEW", "PARTIALLY_FILLED")} == {
        row["venue_order_id"] for row in on_book if row["is_open"]
    }
    assert {str(key): (str(order), price, qty) for key, (order, price, qty) in fills.items()} == {
        row["trade_id"]: (row["venue_order_id"], texts.price(row["price"]), texts.qty(row["qty"])) for row in ledger["fills"]
    }
    root, name = ("/api/v3", "myTrades") if make is Spot else ("/fapi/v1", "userTrades")
    asked = venue.http("GET", f"{root}/{name}", symbol="BTCUSDT", limit=1000, startTime=1)[1]
    assert {row["id"] for row in asked} == set(fills)
    listed = venue.http("GET", f"{root}/openOrders")[1]
    assert {row["orderId"] for row in listed} == {int(row["venue_order_id"]) for row in on_book if row["is_open"]}
    venue.venue.desk.exchange.check()


def mutated(chance: random.Random, text: str) -> str:
    pieces = (
        "",
        "\x00",
        "é",
        "-1",
        "9" * 30,
        "NaN",
        "[]",
        "{}",
        "&",
        "=",
        "%",
        "%zz",
        "true",
        "null",
        "1e999",
        '"',
        "\\",
    )
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(pieces) + text[at + chance.randrange(4) :]
    return text


@pytest.mark.parametrize("make", [Spot, Usdm])
def test_no_request_and_no_frame_breaks_the_venue(make: Any) -> None:
    seed = 11
    chance, venue = random.Random(seed), make()
    paths = [(method, path) for method, path in venue.venue._routes]
    line = venue.subscribe() if make is Spot else venue.user_socket()
    market = venue.socket("/stream?streams=btcusdt@depth")
    good = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010", "price": "49000"}
    more = {
        "orderId": "5",
        "origClientOrderId": "a",
        "limit": "5",
        "fromId": "1",
        "countdownTime": "5",
        "algoType": "CONDITIONAL",
    }
    more |= {
        "triggerPrice": "51000",
        "leverage": "5",
        "batchOrders": "[{}]",
        "cancelReplaceMode": "ALLOW_FAILURE",
        "newQty": "0.001",
    }
    for index in range(MUTATIONS):
        method, path = chance.choice(paths)
        values = dict(chance.sample(sorted({**good, **more}.items()), chance.randrange(12)))
        if values and chance.random() < 0.8:
            name = chance.choice(sorted(values))
            values[name] = mutated(chance, values[name])
        venue.ts += 10**9
        status, _ = venue.http(method, path, values)
        assert 200 <= status < 600, (seed, index)
        payload = json.dumps({"method": chance.choice(("SUBSCRIBE", "depth", "order.place")), "params": values, "id": 1})
        venue.say(chance.choice((line, market)), mutated(chance, payload))
        raw = HttpRequest(
            method=method, path=path, query=mutated(chance, "a=1&b=2"), headers={"x-mbx-apikey": "us-key"}, body=b"\xff&="
        )
        venue.venue.http(venue.ts, venue.connect(), raw)
    venue.venue.desk.exchange.check()
