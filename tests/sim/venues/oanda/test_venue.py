"""The simulated OANDA by itself, in plain JSON: what its documentation says of accounts, orders, money and time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.enums import MarketStatus
from sim.venues.oanda.calendar import is_open, next_day_end, spread_at
from sim.venues.oanda.faults import KNOWN
from sim.venues.oanda.opening import ACCOUNTS, open_venue
from sim.venues.oanda.venue import OandaVenue
from sim.venues.protocol import HttpReply, HttpRequest, SimVenue

S = 10**9
MONDAY = 1_790_000_000 * S  # 10:13 in New York, in summer
ACCOUNT, TOKEN = "101-001-1000001-001", "token"
CASH = 10**8


class Desk:
    """One account over one connection; every request is a second behind the one before."""

    def __init__(self, ts: int = MONDAY, **more: Any) -> None:
        self.ts = ts
        self.venue = OandaVenue(ts, **{"seed": 1, **more})
        self.book = self.venue.add_account(ts, ACCOUNT, TOKEN, 100_000 * CASH)
        self.venue.connected(ts, 1)

    def ask(self, method: str, path: str, query: str = "", body: Any = None, token: str = TOKEN, step_ns: int = S) -> HttpReply:
        self.ts += step_ns
        request = HttpRequest(
            method=method,
            path=path if path.startswith("/v3") else f"/v3/accounts/{ACCOUNT}{path}",
            query=query,
            headers={"authorization": f"Bearer {token}"},
            body=b"" if body is None else json.dumps(body).encode(),
        )
        return self.venue.http(self.ts, 1, request)

    def get(self, path: str, query: str = "") -> Any:
        reply = self.ask("GET", path, query)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def order(self, **more: Any) -> tuple[int, Any]:
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000", **more}
        reply = self.ask("POST", "/orders", body={"order": order})
        return reply.status, json.loads(reply.body)

    def act(self, name: str, **arguments: Any) -> None:
        self.venue.act(self.ts, name, arguments)

    def kinds(self, first: int = 3) -> list[str]:
        return [f"{made['type']} {made.get('reason', '')}".strip() for made in self.book.transactions[first - 1 :]]


def test_it_is_a_simulated_venue() -> None:
    venue: SimVenue = open_venue(seed=1, ts=MONDAY)
    assert venue.wire == "http"
    assert set(venue.ledger()["balances"]) == set(ACCOUNTS)
    saturday = open_venue(seed=1, ts=MONDAY + 5 * 86_400 * S)
    assert saturday.engine.exchange.listings["EUR_USD"].status is MarketStatus.TRADING
    with pytest.raises(ValueError, match="cannot show fault 63"):
        open_venue(faults={63: 5}, ts=MONDAY)


def test_positions_are_netted_the_oldest_trades_first() -> None:
    desk = Desk()
    for units in ("1000", "500", "-1200"):
        assert desk.order(units=units)[0] == 201
    _, found = desk.order(units="-900")
    fill = found["orderFillTransaction"]
    assert [part["units"] for part in fill["tradesClosed"]] == ["-300"]
    assert fill["tradeOpened"]["units"] == "-600"
    (position,) = desk.get("/openPositions")["positions"]
    assert (position["long"]["units"], position["short"]["units"]) == ("0", "-600")
    desk.venue.engine.exchange.check()


def test_a_201_may_hold_an_order_and_its_end() -> None:
    desk = Desk()
    status, poor = desk.order(units="9000000")
    assert (status, poor["orderCancelTransaction"]["reason"]) == (201, "INSUFFICIENT_MARGIN")
    desk.act("halt", instrument="EUR_USD")
    status, closed = desk.order()
    assert (status, closed["orderCancelTransaction"]["reason"]) == (201, "MARKET_HALTED")
    number = closed["orderCreateTransaction"]["id"]
    assert desk.get(f"/orders/{number}")["order"]["state"] == "CANCELLED"
    assert closed["relatedTransactionIDs"] == [number, str(int(number) + 1)]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"units": None}, "UNITS_MISSING"),
        ({"units": "0"}, "UNITS_INVALID"),
        ({"units": 1000}, "UNITS_INVALID"),
        ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
        ({"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
        ({"instrument": "EUR_XXX"}, "INSTRUMENT_UNKNOWN"),
        ({"timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
        ({"type": "LIMIT"}, "PRICE_MISSING"),
        ({"type": "LIMIT", "price": "-1"}, "PRICE_INVALID"),
        ({"type": "LIMIT", "price": "1.000001"}, "PRICE_PRECISION_EXCEEDED"),
        ({"type": "LIMIT", "price": "1", "timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
        (
            {"type": "LIMIT", "price": "1", "timeInForce": "GTD", "gtdTime": "2020-01-01T00:00:00Z"},
            "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
        ),
        ({"positionFill": "MAYBE"}, "ORDER_FILL_POSITION_ACTION_INVALID"),
        ({"clientExtensions": {"id": "x" * 129}}, "CLIENT_ORDER_ID_INVALID"),
    ],
)
def test_refused_orders_are_transactions_too(order: dict[str, Any], reason: str) -> None:
    desk = Desk()
    status, found = desk.order(**order)
    assert (status, found["errorCode"], found["orderRejectTransaction"]["rejectReason"]) == (400, reason, reason)
    assert found["lastTransactionID"] == found["orderRejectTransaction"]["id"] == "3"


def test_a_clients_id_is_taken_only_while_its_order_waits() -> None:
    desk = Desk()
    waiting = {"type": "LIMIT", "price": "1.10000", "clientExtensions": {"id": "mine"}}
    assert desk.order(**waiting)[0] == 201
    status, found = desk.order(**waiting)
    assert (status, found["errorCode"]) == (400, "CLIENT_ORDER_ID_ALREADY_EXISTS")
    assert desk.ask("PUT", "/orders/@mine/cancel").status == 200
    assert desk.ask("PUT", "/orders/@mine/cancel").status == 404
    assert desk.order(**waiting)[0] == 201


def test_a_days_financing_is_the_published_one() -> None:
    """100,000 x 1.15826 x -3 % / 365 = -9.52 dollars."""
    desk = Desk()
    desk.act("mid", instrument="EUR_USD", price=115_826)
    desk.order(units="100000")
    before = desk.book.balance()
    desk.venue.advance(next_day_end(desk.ts))
    made = desk.book.transactions[-1]
    assert (made["type"], made["financing"]) == ("DAILY_FINANCING", "-9.5199")
    assert round((desk.book.balance() - before) / CASH, 2) == -9.52
    assert desk.venue.ledger()["cash"][-1]["cause"] == "financing"


def test_yen_are_booked_in_dollars() -> None:
    desk = Desk()
    desk.act("mid", instrument="USD_JPY", price=150_000)
    desk.order(instrument="USD_JPY", units="10000")
    desk.act("mid", instrument="USD_JPY", price=151_000)
    desk.order(instrument="USD_JPY", units="-10000")
    # A yen less the spread on 10,000 dollars, at 151 yen a dollar.
    made = desk.book.transactions[-1]
    assert (made["pl"], made["quotePL"]) == ("65.2318", "9850.0000")
    assert desk.book.balance() - 100_000 * CASH == 65_2318 * 10**4


def test_margin_of_50_to_1_and_its_end() -> None:
    desk = Desk()
    desk.act("mid", instrument="EUR_USD", price=115_826)
    assert desk.order(units="4000000")[0] == 201
    summary = desk.get("/summary")["account"]
    assert summary["marginUsed"] == "92660.8000"
    assert desk.order(units="1000000")[1]["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    # Half of the margin is left: everything is closed.
    desk.act("mid", instrument="EUR_USD", price=115_826 - 1_400)
    desk.venue.advance(desk.ts + S)
    assert desk.kinds()[-2:] == ["MARKET_ORDER MARGIN_CLOSEOUT", "ORDER_FILL MARKET_ORDER_MARGIN_CLOSEOUT"]
    assert desk.venue.ledger()["positions"][ACCOUNT] == {}


def test_orders_that_wait_use_no_margin_and_are_refused_when_they_would() -> None:
    desk = Desk()
    desk.act("mid", instrument="EUR_USD", price=115_826)
    status, found = desk.order(type="LIMIT", units="9000000", price="1.15000")
    assert (status, desk.get("/summary")["account"]["marginUsed"]) == (201, "0.0000")
    desk.act("mid", instrument="EUR_USD", price=114_900)
    assert desk.book.transactions[-1]["reason"] == "INSUFFICIENT_MARGIN"
    assert desk.get(f"/orders/{found['lastTransactionID']}")["order"]["state"] == "CANCELLED"


def test_the_weekend() -> None:
    friday = next_day_end(MONDAY + 4 * 86_400 * S) - 60 * S
    desk = Desk(friday)
    assert desk.get("/pricing", "instruments=EUR_USD")["prices"][0]["tradeable"] is True
    desk.ts += 120 * S
    assert desk.get("/pricing", "instruments=EUR_USD")["prices"][0]["tradeable"] is False
    assert desk.order()[1]["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    assert desk.order(type="LIMIT", price="1.20000")[1]["orderCreateTransaction"]["type"] == "LIMIT_ORDER"
    desk.ts += 2 * 86_400 * S
    # Sunday evening: what waited is dealt in.
    assert desk.get("/pendingOrders")["orders"] == []
    assert desk.kinds()[-1] == "ORDER_FILL LIMIT_ORDER"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-06T21:59:59", True),  # Friday in winter: New York is five hours behind
        ("2026-03-06T22:00:00", False),
        ("2026-03-08T20:59:59", False),  # the Sunday on which the clocks go forward
        ("2026-03-08T21:00:00", True),
        ("2026-10-30T21:00:00", False),  # Friday, still summer time
        ("2026-11-01T21:59:59", False),  # the Sunday on which they go back
        ("2026-11-01T22:00:00", True),
        ("2026-09-22T03:00:00", True),
        ("2026-09-26T12:00:00", False),
    ],
)
def test_hours(text: str, expected: bool) -> None:
    assert is_open(stamp(text)) is expected


def test_ends_of_days_by_the_calendar() -> None:
    ends, ts = [], stamp("2026-03-06T00:00:00")
    for _ in range(4):
        ts = next_day_end(ts)
        ends.append(ts)
    assert ends == [stamp(f"2026-03-{day}") for day in ("06T22:00:00", "07T22:00:00", "08T21:00:00", "09T21:00:00")]


def stamp(text: str) -> int:
    from datetime import UTC, datetime

    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def test_spreads_by_the_hour() -> None:
    assert spread_at(stamp("2026-09-22T14:00:00"), 14) == 14
    assert spread_at(stamp("2026-09-22T21:30:00"), 14) == 84
    assert spread_at(stamp("2026-09-22T02:00:00"), 14) == 21


def test_limits_of_requests_and_connections() -> None:
    desk = Desk()
    statuses = [desk.ask("GET", "/summary", step_ns=0).status for _ in range(125)]
    assert (statuses.count(200), statuses.count(429)) == (120, 5)
    desk.ts += S
    for number in (2, 3, 4):
        desk.venue.connected(desk.ts, number)
    assert [(out.connection, out.payload) for out in desk.venue.take() if out.payload is None] == [(4, None)]


def test_paths_and_tokens_that_are_none() -> None:
    desk = Desk()
    desk.venue.add_account(desk.ts, "101-001-1000002-001", "other", CASH)
    asked = [
        ("GET", "/v3/accounts/101-001-1000002-001", TOKEN),
        ("GET", "/v3/nothing", TOKEN),
        ("DELETE", "/orders", TOKEN),
        ("GET", "/v3/accounts", "nobody"),
        ("GET", "/orders/99", TOKEN),
        ("GET", "/transactions/99", TOKEN),
        ("PUT", "/orders/@nobody/cancel", TOKEN),
    ]
    assert [desk.ask(method, path, token=token).status for method, path, token in asked] == [403, 404, 405, 401, 404, 404, 404]


def test_both_streams_say_what_happens_and_beat() -> None:
    desk = Desk()
    desk.act("mid", instrument="EUR_USD", price=115_826)
    told = desk.ask("GET", "/transactions/stream")
    assert (told.is_stream, json.loads(told.body)["lastTransactionID"]) == (True, "2")
    desk.venue.take()
    desk.order()
    lines = [json.loads(line) for out in desk.venue.take() if isinstance(out.payload, bytes) for line in out.payload.splitlines()]
    assert [line["type"] for line in lines] == ["MARKET_ORDER", "ORDER_FILL"]
    desk.venue.advance(desk.ts + 6 * S)
    (beat,) = [json.loads(out.payload) for out in desk.venue.take() if isinstance(out.payload, bytes)]
    assert (beat["type"], beat["lastTransactionID"]) == ("HEARTBEAT", "4")


def test_the_same_seed_is_the_same_market() -> None:
    def prices(seed: int) -> list[Any]:
        desk = Desk(seed=seed)
        return [desk.get("/pricing", "instruments=EUR_USD,USD_JPY")["prices"] for _ in range(20)]

    assert prices(5) == prices(5)
    assert prices(5) != prices(6)


def test_deeds_that_nobody_knows() -> None:
    desk = Desk()
    for name, arguments in (
        ("nothing", {}),
        ("mid", {"instrument": "EUR_USD"}),
        ("mid", {"instrument": "EUR_XXX", "price": 1}),
        ("cut", {"account": "nobody"}),
        ("hit", {"account": ACCOUNT, "client_id": "nobody", "units": 1}),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            desk.act(name, **arguments)


def test_every_fault_has_words() -> None:
    assert all(len(text) > 10 for text in KNOWN.values())
