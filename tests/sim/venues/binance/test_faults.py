"""Each fault of the simulated Binance, as a client sees it; and that the ledger stays the truth meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sim.venues.binance.faults import KNOWN
from tests.sim.venues.binance.signed import S, Spot, Usdm

Check = Callable[[Any], None]


def arm(venue: Any, number: int, times: int = 1) -> None:
    venue.venue.faults.arm(number, times)


def live(venue: Any) -> list[str]:
    """Client ids that really rest."""
    return [row["client_order_id"] for row in venue.venue.ledger()["orders"] if row["is_open"]]


def place(venue: Any, number: int) -> tuple[int, Any]:
    arm(venue, number)
    status, body = venue.order("BUY", "0.010", "49000", newClientOrderId="a")
    assert venue.venue.faults.fired == {number: 1}
    return status, body


def resting(venue: Any, name: str = "a") -> None:
    assert venue.order("BUY", "0.010", "49000", newClientOrderId=name)[0] == 200


def cancel(venue: Any, number: int) -> tuple[int, Any]:
    resting(venue)
    arm(venue, number)
    path = "/api/v3/order" if isinstance(venue, Spot) else "/fapi/v1/order"
    found: tuple[int, Any] = venue.http("DELETE", path, symbol="BTCUSDT", origClientOrderId="a")
    assert venue.venue.faults.fired == {number: 1}
    return found


def fills(venue: Any, number: int) -> list[Any]:
    """The user stream's order events where a resting order is filled while the fault is armed."""
    stream = venue.subscribe() if isinstance(venue, Spot) else venue.user_socket()
    resting(venue)
    venue.wait(S)
    venue.heard(stream)
    arm(venue, number)
    qty = venue.venue.desk.exchange.open_orders(venue.venue.desk.exchange.accounts["us"])[0].qty
    venue.act("hit", account="us", client_order_id="a", qty=qty)
    venue.wait(60 * S)
    assert venue.venue.faults.fired == {number: 1}
    events = [frame.get("event", frame) for frame in venue.heard(stream) if frame is not None and frame != "frozen"]
    wanted = ("executionReport", "ORDER_TRADE_UPDATE")
    return [event if event["e"] == "executionReport" else event["o"] for event in events if event["e"] in wanted]


VENUES = [Spot, Usdm]


@pytest.mark.parametrize("make", VENUES)
@pytest.mark.parametrize(
    ("number", "statuses", "is_live"),
    [
        (1, {200}, {False}),
        (2, {200}, {True}),
        (3, {200}, {True}),
        (4, {502}, {True}),
        (5, {500}, {False}),
        (6, {503}, {True, False}),
        (7, {504}, {True}),
        (8, {504, 408}, {True, False}),
        (9, {200}, {True}),
        (10, {200}, {True}),
        (11, {400}, {True}),
        (14, {400}, {True, False}),
        (15, {200}, {False}),
        (24, {200}, {True}),
        (37, {429}, {False}),
        (39, {403}, {False}),
        (40, {200}, {True}),
        (57, {400, 200}, {True, False}),
        (62, {400}, {False}),
    ],
)
def test_faults_of_placing(make: Any, number: int, statuses: set[int], is_live: set[bool]) -> None:
    for seed in range(6):
        venue = make(seed=seed)
        status, _ = place(venue, number)
        assert status in statuses
        assert bool(live(venue)) in is_live
        assert (venue.reply.bytes_max is not None) is (number in (1, 2, 3))
        assert bool(venue.reply.delay_ns) is (number in (10, 24, 40))


def test_what_the_answers_say() -> None:
    assert place(Spot(), 11)[1]["code"] == -2010
    assert place(Usdm(), 11)[1]["code"] == -4116
    assert place(Spot(), 7)[1]["code"] == -1007
    assert place(Spot(), 14)[1]["code"] == -9999
    assert place(Spot(), 15)[1]["code"] == -2010
    assert {place(Usdm(seed=seed), 6)[1]["msg"] for seed in range(12)} == {
        "Unknown error, please check your request or try again later.",
        "Internal error; unable to process your request. Please try again.",
        "Service Unavailable.",
    }
    retries = set()
    for seed in range(8):
        venue = Spot(seed=seed)
        place(venue, 37)
        retries.add("Retry-After" in dict(venue.reply.headers))
    assert retries == {True, False}


def test_a_batch_of_which_half_is_refused() -> None:
    venue = Usdm()
    row = '{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.01","price":"49000"}'
    arm(venue, 16)
    answers = venue.http("POST", "/fapi/v1/batchOrders", batchOrders=f"[{row},{row},{row}]")[1]
    assert ["code" in answer for answer in answers] == [False, True, False]
    assert len(live(venue)) == 2


def test_the_conditional_endpoint_has_moved() -> None:
    venue = Usdm()
    arm(venue, 18)
    status, body = venue.algo("BUY", "0.010", "50500", clientAlgoId="s")
    assert (status, body["code"], live(venue)) == (404, -5000, [])


@pytest.mark.parametrize("make", VENUES)
def test_orders_that_are_not_found(make: Any) -> None:
    venue = make()
    path = "/api/v3/order" if make is Spot else "/fapi/v1/order"
    resting(venue)
    arm(venue, 20)
    assert venue.http("GET", path, symbol="BTCUSDT", origClientOrderId="a")[1]["code"] == -2013
    assert venue.http("GET", path, symbol="BTCUSDT", origClientOrderId="a")[1]["status"] == "NEW"
    venue.http("DELETE", path, symbol="BTCUSDT", origClientOrderId="a")
    arm(venue, 21)
    assert venue.http("GET", path, symbol="BTCUSDT", origClientOrderId="a")[1]["code"] == -2013
    assert venue.http("GET", path, symbol="BTCUSDT", origClientOrderId="a")[1]["status"] == "CANCELED"


@pytest.mark.parametrize("make", VENUES)
def test_faults_of_canceling(make: Any) -> None:
    for number, expected in (
        (26, (200, None, [], 1)),
        (25, (200, None, [], 1)),
        (27, (400, -2011, [], 1)),
        (31, (400, -2011, [], 2)),
        (29, (200, None, ["a"], 0)),
        (38, (418, -1003, ["a"], 0)),
    ):
        venue = make()
        status, body = cancel(venue, number)
        count = len(venue.venue.ledger()["fills"])
        assert (status, body.get("code"), live(venue), count) == expected, number
        if number == 29:
            assert body["status"] == "CANCELED"
        if number == 38:
            path = "/api/v3/time" if make is Spot else "/fapi/v1/time"
            assert venue.http("GET", path, signed=False)[0] == 418


@pytest.mark.parametrize("make", VENUES)
def test_a_fill_that_is_told_behind_the_cancel(make: Any) -> None:
    for number, expected in ((26, ["TRADE", "CANCELED"]), (25, ["CANCELED", "TRADE"])):
        venue = make()
        stream = venue.subscribe() if make is Spot else venue.user_socket()
        cancel(venue, number)
        venue.wait(S)
        events = [frame.get("event", frame) for frame in venue.heard(stream)]
        what = [
            event["x"] if "x" in event else event["o"]["x"]
            for event in events
            if event["e"] in ("executionReport", "ORDER_TRADE_UPDATE")
        ]
        assert what == ["NEW", *expected]


@pytest.mark.parametrize("make", VENUES)
def test_faults_of_the_user_stream(make: Any) -> None:
    twice = fills(make(), 22)
    assert [event["x"] for event in twice] == ["TRADE", "TRADE"]
    assert twice[0] == twice[1]
    renamed = fills(make(), 23)
    assert [event["t"] - renamed[0]["t"] for event in renamed] == [0, 5_000_000]
    assert [event["X"] for event in fills(make(), 34)] == ["FILLED", "NEW"]
    assert [event["X"] for event in fills(make(), 59)] == ["FILLED"]
    assert [event["X"] for event in fills(make(), 35)] == ["FILLED"]


@pytest.mark.parametrize("make", VENUES)
def test_faults_of_connections(make: Any) -> None:
    for number, last in ((41, "frozen"), (43, None)):
        venue = make()
        stream = venue.socket("/ws/btcusdt@trade")
        arm(venue, number)
        for _ in range(2):
            venue.act("trade", symbol="BTCUSDT", side="SELL", qty=1)
        venue.wait(S)
        told = venue.heard(stream)
        assert told[-1] == last
        assert ("serverShutdown" in str(told)) is (number == 43)
    venue = make()
    stream = venue.socket("/ws/btcusdt@trade")
    arm(venue, 42)
    venue.act("trade", symbol="BTCUSDT", side="SELL", qty=1)
    venue.wait(S)
    assert venue.heard(stream) == []


def test_an_opening_that_is_refused() -> None:
    venue = Spot()
    arm(venue, 44)
    with pytest.raises(AssertionError, match="503"):
        venue.socket("/ws/btcusdt@trade")
    venue.socket("/ws/btcusdt@trade")


def test_listen_keys_and_subscriptions_that_end() -> None:
    venue = Usdm()
    stream = venue.user_socket()
    arm(venue, 61)
    assert venue.http("PUT", "/fapi/v1/listenKey", signed=False)[1]["code"] == -1125
    assert [frame["e"] for frame in venue.heard(stream)] == ["listenKeyExpired"]
    spot = Spot()
    line = spot.subscribe()
    arm(spot, 61)
    resting(spot)
    spot.wait(S)
    assert [frame["event"]["e"] for frame in spot.heard(line)] == ["eventStreamTerminated"]


@pytest.mark.parametrize("make", VENUES)
@pytest.mark.parametrize("number", [49, 50, 51, 54, 55, 56])
def test_faults_of_market_data(make: Any, number: int) -> None:
    """Something is wrong with one frame of many, and the venue's book is as it was."""
    kinds = set()
    for seed in range(8):
        honest, venue = make(seed=seed, is_quiet=False), make(seed=seed, is_quiet=False)
        streams = [each.socket("/ws/btcusdt@depth@100ms/btcusdt@bookTicker") for each in (honest, venue)]
        for each in (honest, venue):
            each.wait(2 * S)
        arm(venue, number)
        for each in (honest, venue):
            each.wait(3 * S)
        assert venue.venue.faults.fired == {number: 1}
        frames = [each.raw[stream] for each, stream in zip((honest, venue), streams, strict=True)]
        assert frames[0] != frames[1]
        kinds.add(len(frames[1]) - len(frames[0]))
        path = "/api/v3/depth" if make is Spot else "/fapi/v1/depth"
        books = [each.http("GET", path, symbol="BTCUSDT", limit=100, signed=False)[1] for each in (honest, venue)]
        assert books[0] == books[1]
    assert kinds == ({-1, 0, 1} if number == 51 else {0})


@pytest.mark.parametrize("make", VENUES)
def test_a_snapshot_that_is_older_than_the_stream(make: Any) -> None:
    venue = make(is_quiet=False)
    path = "/api/v3/depth" if make is Spot else "/fapi/v1/depth"
    first = venue.http("GET", path, symbol="BTCUSDT", limit=100, signed=False)[1]
    venue.wait(5 * S)
    arm(venue, 53)
    assert venue.http("GET", path, symbol="BTCUSDT", limit=100, signed=False)[1] == first
    assert venue.http("GET", path, symbol="BTCUSDT", limit=100, signed=False)[1]["lastUpdateId"] > first["lastUpdateId"]


@pytest.mark.parametrize("make", VENUES)
def test_a_commission_in_a_third_currency(make: Any) -> None:
    venue = make()
    arm(venue, 32)
    venue.order("BUY", "0.010", None)
    assert {row["fee_currency"] for row in venue.venue.ledger()["fills"]} == {"BNB"}


def test_cancel_replace_of_which_half_is_done_is_in_the_tests_of_spot() -> None:
    assert 17 in KNOWN


@pytest.mark.parametrize("make", VENUES)
def test_everything_at_random_leaves_a_ledger_that_adds_up(make: Any) -> None:
    venue = make(is_quiet=False)
    for number in KNOWN:
        if number not in (38, 62, 57):
            venue.venue.faults.set_rate(number, 30_000)
    stream = venue.subscribe() if make is Spot else venue.user_socket()
    venue.socket("/ws/btcusdt@depth@100ms/btcusdt@trade")
    root = "/api/v3" if make is Spot else "/fapi/v1"
    for step in range(250):
        side = "BUY" if step % 2 else "SELL"
        price = None if step % 5 == 0 else str(50_000 + (100 - step % 200) * 3)
        venue.order(side, "0.010", price, newClientOrderId=f"o{step}")
        if step % 3 == 0:
            venue.http("DELETE", f"{root}/order", symbol="BTCUSDT", origClientOrderId=f"o{step - 1}")
        venue.wait(S // 5)
    assert len(venue.venue.faults.fired) > 15
    venue.venue.desk.exchange.check()
    ledger = venue.venue.ledger()
    for row in ledger["orders"]:
        booked = sum(fill["qty"] for fill in ledger["fills"] if fill["venue_order_id"] == row["venue_order_id"])
        assert booked == row["filled_qty"] <= row["qty"]
    traded: dict[str, int] = {}
    for fill in ledger["fills"]:
        if fill["account"] == "us":
            traded[fill["instrument_id"]] = traded.get(fill["instrument_id"], 0) + fill["qty"] * (
                1 if fill["side"] == "BUY" else -1
            )
    assert {key: qty for key, qty in traded.items() if qty} == ledger["positions"]["us"]
    assert stream
