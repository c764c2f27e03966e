"""The simulator by itself, in plain JSON and MessagePack and in time of its own: sessions, limits, halts, money, ledger."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from core.units import NS_PER_SECOND
from sim.venues.alpaca import hours
from sim.venues.alpaca.settings import DEFAULT, AccountSettings, AlpacaSimSettings
from sim.venues.alpaca.tickets import stamp_text
from sim.venues.alpaca.venue import AlpacaVenue
from sim.venues.protocol import HttpReply, HttpRequest

NEW_YORK = ZoneInfo("America/New_York")
MAIN = DEFAULT.accounts[0]
CALENDAR = msgspec.structs.replace(DEFAULT, is_always_open=False, crowd_step_ns=60 * NS_PER_SECOND)
STREAM, DATA = 1, 2


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=NEW_YORK).timestamp()) * NS_PER_SECOND


class Client:
    """Whoever speaks to the venue, at moments of its own choosing."""

    def __init__(self, ts: int, settings: AlpacaSimSettings = CALENDAR, account: AccountSettings = MAIN) -> None:
        self.venue = AlpacaVenue(settings, seed=5, ts=ts)
        self.ts = ts
        self.account = account
        self.updates: list[dict[str, Any]] = []
        self.data: list[dict[str, Any]] = []
        for connection in (STREAM, DATA):
            self.venue.connected(ts, connection)
        self.venue.http(ts, STREAM, HttpRequest(method="GET", path="/stream", headers={"upgrade": "websocket"}))
        self.venue.http(ts, DATA, HttpRequest(method="GET", path="/v2/iex", headers={"upgrade": "websocket"}))
        login = {"action": "authenticate", "data": {"key_id": account.key, "secret_key": account.secret}}
        self.venue.receive(ts, STREAM, json.dumps(login))
        self.venue.receive(ts, STREAM, json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        pack = msgspec.msgpack.encode
        self.venue.receive(ts, DATA, pack({"action": "auth", "key": account.key, "secret": account.secret}))
        self.venue.receive(
            ts, DATA, pack({"action": "subscribe", "quotes": ["*"], "statuses": ["*"], "lulds": ["*"], "bars": ["*"]})
        )

    def pass_to(self, ts: int) -> None:
        while (due := self.venue.next_ts()) <= ts:
            self.venue.advance(due)
            self.hear()
        self.ts = ts
        self.venue.advance(ts)
        self.hear()

    def hear(self) -> None:
        for outgoing in self.venue.take():
            if outgoing.connection == STREAM and outgoing.payload is not None:
                message = json.loads(outgoing.payload)
                if message["stream"] == "trade_updates":
                    self.updates.append(message["data"])
            elif outgoing.connection == DATA and outgoing.payload is not None:
                assert isinstance(outgoing.payload, bytes)
                self.data += msgspec.msgpack.decode(outgoing.payload)

    def reply(self, method: str, path: str, body: Any = None, query: str = "") -> HttpReply:
        headers = {"apca-api-key-id": self.account.key, "apca-api-secret-key": self.account.secret}
        content = b"" if body is None else json.dumps(body).encode()
        request = HttpRequest(method=method, path=path, query=query, headers=headers, body=content)
        found = self.venue.http(self.ts, 9, request)
        self.hear()
        return found

    def ask(self, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
        reply = self.reply(method, path, body, query)
        return reply.status, json.loads(reply.body) if reply.body else None

    def order(self, **fields: Any) -> tuple[int, Any]:
        plain = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "qty": "1", "limit_price": "200"}
        return self.ask("POST", "/v2/orders", {name: value for name, value in (plain | fields).items() if value is not None})

    def status(self, order: dict[str, Any]) -> str:
        return str(self.ask("GET", f"/v2/orders/{order['id']}")[1]["status"])

    @property
    def events(self) -> list[str]:
        return [update["event"] for update in self.updates]


# Days and sessions.


@pytest.mark.parametrize(
    ("year", "holidays"),
    [
        (2025, ["01-01", "01-20", "02-17", "04-18", "05-26", "06-19", "07-04", "09-01", "11-27", "12-25"]),
        (2026, ["01-01", "01-19", "02-16", "04-03", "05-25", "06-19", "07-03", "09-07", "11-26", "12-25"]),
        (2027, ["01-01", "01-18", "02-15", "03-26", "05-31", "06-18", "07-05", "09-06", "11-25", "12-24"]),
    ],
)
def test_the_exchanges_published_holidays(year: int, holidays: list[str]) -> None:
    days = [date(year, 1, 1).fromordinal(date(year, 1, 1).toordinal() + number) for number in range(365)]
    closed = [day for day in days if day.weekday() < 5 and hours.trading_day(day, is_always_open=False) is None]
    assert [day.strftime("%m-%d") for day in closed] == holidays


@pytest.mark.parametrize(
    "day", [date(2025, 7, 3), date(2025, 11, 28), date(2025, 12, 24), date(2026, 11, 27), date(2026, 12, 24)]
)
def test_the_exchanges_published_half_days(day: date) -> None:
    found = hours.trading_day(day, is_always_open=False)
    assert found is not None
    assert found.closes == hours.HALF_CLOSE


def test_an_order_waits_for_the_opening_auction_and_a_day_order_expires() -> None:
    client = Client(ns(2026, 11, 20, 8))
    _, early = client.order(client_order_id="waits", limit_price="300")
    assert (early["status"], client.events) == ("accepted", ["accepted"])
    client.pass_to(ns(2026, 11, 20, 9, 29))
    assert client.status(early) == "accepted"
    client.pass_to(ns(2026, 11, 20, 9, 30) + NS_PER_SECOND)
    assert client.status(early) == "filled"
    _, rests = client.order(client_order_id="rests", limit_price="100")
    _, later = client.order(client_order_id="later", limit_price="100", time_in_force="gtc")
    client.pass_to(ns(2026, 11, 20, 16, 1))
    assert (client.status(rests), client.status(later)) == ("expired", "new")
    _, next_day = client.order(client_order_id="next", limit_price="100")
    client.pass_to(ns(2026, 11, 23, 9, 31))  # a weekend in between
    assert (client.status(next_day), client.status(later)) == ("new", "new")


def test_extended_hours_take_limit_orders_for_the_day_alone() -> None:
    client = Client(ns(2026, 11, 20, 17))
    assert client.order(extended_hours=True, type="market", limit_price=None)[0] == 422
    _, order = client.order(extended_hours=True, limit_price="300")
    client.pass_to(client.ts + 61 * NS_PER_SECOND)
    assert client.status(order) == "filled"
    _, rests = client.order(extended_hours=True, limit_price="100")
    client.pass_to(ns(2026, 11, 20, 20, 1))
    assert client.status(rests) == "expired"


def test_ioc_needs_the_market_open_and_opening_orders_trade_at_the_open_only() -> None:
    client = Client(ns(2026, 11, 20, 8))
    assert client.order(time_in_force="ioc")[0] == 422
    _, opening = client.order(time_in_force="opg", type="market", limit_price=None)
    _, far = client.order(time_in_force="opg", limit_price="1")
    client.pass_to(ns(2026, 11, 20, 9, 31))
    assert client.status(far) in ("canceled", "expired")
    assert client.status(opening) in ("filled", "canceled", "expired", "rejected")


def test_clock_and_calendar() -> None:
    client = Client(ns(2026, 11, 27, 12, 59))
    clock = client.ask("GET", "/v2/clock")[1]
    assert clock == {
        "timestamp": "2026-11-27T12:59:00.000000000-05:00",
        "is_open": True,
        "next_open": "2026-11-30T09:30:00.000000000-05:00",
        "next_close": "2026-11-27T13:00:00.000000000-05:00",
    }
    days = client.ask("GET", "/v2/calendar", query="start=2026-11-26&end=2026-11-30")[1]
    assert [(day["date"], day["open"], day["close"]) for day in days] == [
        ("2026-11-27", "09:30", "13:00"),
        ("2026-11-30", "09:30", "16:00"),
    ]


# Halts.


def test_limit_up_limit_down() -> None:
    client = Client(ns(2026, 11, 20, 11))
    client.venue.act(client.ts, "luld", {"symbol": "AAPL"})
    client.hear()
    assert next(message for message in client.data if message["T"] == "l")["i"] == "B"
    client.pass_to(client.ts + 16 * NS_PER_SECOND)
    assert [message["sc"] for message in client.data if message["T"] == "s"] == ["P"]
    _, order = client.order(limit_price="300")
    client.pass_to(client.ts + NS_PER_SECOND)
    assert client.status(order) == "accepted"
    client.pass_to(client.ts + 301 * NS_PER_SECOND)
    assert [message["sc"] for message in client.data if message["T"] == "s"] == ["P", "T"]
    assert client.status(order) == "filled"


# Money.


def test_buying_power_shorts_and_flags() -> None:
    small = AccountSettings(
        name="main", key=MAIN.key, secret=MAIN.secret, cash=1_000, multiplier=2, may_short=False, is_flagged=True
    )
    client = Client(ns(2026, 11, 20, 11), msgspec.structs.replace(CALENDAR, accounts=(small,)), small)
    account = client.ask("GET", "/v2/account")[1]
    assert (account["buying_power"], account["pattern_day_trader"], account["shorting_enabled"]) == ("2000", True, False)
    status, error = client.order(qty="11")
    assert (status, error["code"], error["message"]) == (403, 40310000, "insufficient buying power")
    assert client.order(qty="8")[0] == 200
    assert client.order(qty="3")[0] == 403  # what is on order counts
    status, error = client.order(side="sell", limit_price="300", symbol="SPY")
    assert (status, error["message"]) == (403, "account is not allowed to short")


def test_no_more_is_sold_than_is_held_and_both_sides_are_not_opened() -> None:
    client = Client(ns(2026, 11, 20, 11))
    client.order(qty="5", type="market", limit_price=None)
    client.pass_to(client.ts + NS_PER_SECOND)
    status, error = client.order(side="sell", qty="6", limit_price="300")
    assert (status, error.get("available")) == (403, "5")
    assert client.order(symbol="SPY")[0] == 200
    status, error = client.order(symbol="SPY", side="sell", limit_price="900")
    assert (status, "short sell while a long buy order is open" in error["message"]) == (403, True)


def test_the_fees_of_a_days_sales_are_taken_together_in_the_night() -> None:
    client = Client(ns(2026, 11, 20, 11))
    client.order(qty="30", type="market", limit_price=None)
    client.pass_to(client.ts + NS_PER_SECOND)
    for _ in range(3):
        client.order(side="sell", qty="10", type="market", limit_price=None)
        client.pass_to(client.ts + NS_PER_SECOND)
    ledger = client.venue.ledger()
    sold = sum(row["qty"] * row["price"] for row in ledger["fills"] if row["side"] == "SELL")
    moved = sum(row["qty"] * row["price"] * 10**4 * (-1 if row["side"] == "BUY" else 1) for row in ledger["fills"])
    assert ledger["balances"]["main"]["USD"] == 10**14 + moved
    client.pass_to(ns(2026, 11, 21, 0, 16))
    assert client.ask("GET", "/v2/account/activities", query="category=non_trade_activity")[1] == []
    client.pass_to(ns(2026, 11, 21, 0, 18))
    found = client.ask("GET", "/v2/account/activities", query="category=non_trade_activity&direction=asc")[1]
    sec_cents = -(-sold * 2_060 // 10**10)  # 20.60 of a million, points of 10^-4
    assert [(each["activity_type"], each["activity_sub_type"], each["date"], each["net_amount"]) for each in found] == [
        ("FEE", "REG", "2026-11-20", f"-0.{sec_cents:02d}"),
        ("FEE", "TAF", "2026-11-20", "-0.01"),
    ]
    assert {each["id"][:19] for each in found} == {"20261120000000000::"}
    ledger = client.venue.ledger()
    assert ledger["balances"]["main"]["USD"] == 10**14 + moved - (sec_cents + 1) * 10**6
    assert [(row["amount"], row["cause"]) for row in ledger["cash"]] == [(-sec_cents * 10**6, "FEE"), (-(10**6), "FEE")]
    assert all(row["fee"] == 0 for row in ledger["fills"])


def test_money_that_moves_is_in_the_history_by_when_it_was_made() -> None:
    client = Client(ns(2026, 11, 20, 11))
    client.order(qty="10", type="market", limit_price=None)
    client.pass_to(client.ts + NS_PER_SECOND)
    first = client.ts
    for name, arguments in (
        ("deposit", {"account": "main", "dollars": 500}),
        ("dividend", {"symbol": "AAPL", "cash": 2_600}),
        ("journal", {"account": "main", "to": "second", "dollars": 7}),
        ("interest", {"account": "main", "cents": -123}),
        ("undo", {"account": "main"}),
    ):
        client.pass_to(client.ts + NS_PER_SECOND)
        client.venue.act(client.ts, name, arguments)
    listed = client.ask("GET", "/v2/account/activities", query="category=non_trade_activity&direction=asc")[1]
    shown = [(each["activity_type"], each["net_amount"], each["status"]) for each in listed]
    assert shown == [
        ("CSD", "500", "executed"),
        ("DIV", "2.6", "executed"),
        ("JNLC", "-7", "executed"),
        ("INT", "-1.23", "canceled"),
    ]
    dividend = listed[1]
    assert (dividend["symbol"], dividend["qty"], dividend["per_share_amount"]) == ("AAPL", "10", "0.26")
    after = f"after={stamp_text(first + 2 * NS_PER_SECOND)}"
    later = client.ask("GET", "/v2/account/activities", query=f"category=non_trade_activity&direction=asc&{after}")[1]
    assert [each["activity_type"] for each in later] == ["JNLC", "INT"]
    both = client.ask("GET", "/v2/account/activities", query="direction=asc")[1]
    assert sorted({each["activity_type"] for each in both}) == ["CSD", "DIV", "FILL", "INT", "JNLC"]
    assert client.ask("GET", "/v2/account/activities", query="category=trade_activity&activity_types=FILL")[0] == 422


# Limits and keys.


def test_two_hundred_requests_a_minute() -> None:
    client = Client(ns(2026, 11, 20, 11))
    for number in range(200):
        reply = client.reply("GET", "/v2/clock")
        assert dict(reply.headers)["X-RateLimit-Remaining"] == str(199 - number)
    assert client.ask("GET", "/v2/clock")[0] == 429
    client.pass_to(client.ts + 61 * NS_PER_SECOND)
    assert client.ask("GET", "/v2/clock")[0] == 200


def test_a_second_data_connection_is_one_too_many() -> None:
    client = Client(ns(2026, 11, 20, 11))
    client.venue.connected(client.ts, 3)
    client.venue.http(client.ts, 3, HttpRequest(method="GET", path="/v2/sip", headers={"upgrade": "websocket"}))
    client.venue.receive(client.ts, 3, msgspec.msgpack.encode({"action": "auth", "key": MAIN.key, "secret": MAIN.secret}))
    told = [msgspec.msgpack.decode(out.payload)[0] for out in client.venue.take() if out.connection == 3]
    assert told[-1] == {"T": "error", "code": 406, "msg": "connection limit exceeded"}


def test_orders_are_listed_by_status_and_time() -> None:
    client = Client(ns(2026, 11, 20, 11))
    placed = []
    for number in range(3):
        client.pass_to(client.ts + NS_PER_SECOND)
        placed.append(client.order(limit_price=str(100 + number))[1])
    client.ask("DELETE", f"/v2/orders/{placed[0]['id']}")
    client.pass_to(client.ts + NS_PER_SECOND)

    def listed(query: str) -> list[int]:
        ids = [order["id"] for order in placed]
        return [ids.index(order["id"]) for order in client.ask("GET", "/v2/orders", query=query)[1]]

    assert listed("") == [2, 1]
    assert listed("status=open&direction=asc") == [1, 2]
    assert listed("status=all&direction=asc&limit=2") == [0, 1]
    assert listed("status=closed") == [0]
    assert listed(f"status=all&direction=asc&after={placed[0]['submitted_at']}") == [1, 2]


def test_activities_go_on_behind_a_token() -> None:
    client = Client(ns(2026, 11, 20, 11))
    for _ in range(3):
        client.order(qty="1", type="market", limit_price=None)
        client.pass_to(client.ts + NS_PER_SECOND)
    whole = client.ask("GET", "/v2/account/activities/FILL", query="direction=asc")[1]
    assert [row["cum_qty"] for row in whole] == ["1", "1", "1"]
    rest = client.ask("GET", "/v2/account/activities/FILL", query=f"direction=asc&page_token={whole[0]['id']}")[1]
    assert [row["id"] for row in rest] == [row["id"] for row in whole[1:]]
    assert client.ask("GET", "/v2/account/activities/FILL", query="direction=asc&page_size=2")[1] == whole[:2]


def test_the_same_seed_and_the_same_requests_are_the_same_bytes() -> None:
    def run() -> list[Any]:
        client = Client(ns(2026, 11, 20, 11))
        client.order(qty="3", type="market", limit_price=None)
        client.pass_to(client.ts + 90 * NS_PER_SECOND)
        return [client.updates, client.data, client.venue.ledger()]

    assert run() == run()


def test_minute_bars_hold_the_prints() -> None:
    client = Client(ns(2026, 11, 20, 11), msgspec.structs.replace(CALENDAR, crowd_step_ns=NS_PER_SECOND))
    client.pass_to(client.ts + 125 * NS_PER_SECOND)
    bars = [message for message in client.data if message["T"] == "b" and message["S"] == "AAPL"]
    assert len(bars) == 2
    assert all(bar["l"] <= min(bar["o"], bar["c"]) <= max(bar["o"], bar["c"]) <= bar["h"] and bar["v"] > 0 for bar in bars)


@pytest.mark.parametrize("name", ["nothing", "hit", "split", "luld"])
def test_deeds_that_cannot_be(name: str) -> None:
    client = Client(ns(2026, 11, 20, 11))
    with pytest.raises(ValueError):
        client.venue.act(client.ts, name, {})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", None),
        ("GET", "/v2", None),
        ("POST", "/v2/orders", []),
        ("POST", "/v2/orders", {}),
        ("PATCH", "/v2/orders/none", {}),
        ("DELETE", "/v2/orders/none", None),
        ("GET", "/v2/positions/NONE", None),
        ("DELETE", "/v2/positions/AAPL", None),
        ("GET", "/v2/stocks/none", None),
        ("GET", "/v2/account/none", None),
    ],
)
def test_requests_that_cannot_be_are_refused_in_json(method: str, path: str, body: Any) -> None:
    client = Client(ns(2026, 11, 20, 11))
    status, error = client.ask(method, path, body)
    assert 400 <= status < 500
    assert set(error) >= {"code", "message"}
