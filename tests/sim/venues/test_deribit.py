"""The simulated Deribit by itself, spoken to in plain JSON: orders, credits, heartbeats, cancel-on-disconnect, books."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from typing import Any

import pytest

from core.enums import Side
from sim.venues.deribit.faults import KNOWN
from sim.venues.deribit.markets import default_markets, number
from sim.venues.deribit.venue import DeribitVenue, Limits
from sim.venues.faults import Faults

MS, S = 10**6, 10**9
T0 = 1_790_000_000 * S
PERPETUAL = "BTC-PERPETUAL"
CASH = {"BTC": 10 * 10**8, "USDC": 10**6 * 10**8}


class Client:
    """One connection; `call` gives the result, or the error's code. Notifications gather in `told`."""

    def __init__(self, venue: DeribitVenue, *, login: bool = True, armed: bool = False, client_id: str = "id") -> None:
        self.venue = venue
        self.number = len(venue.connections) + 1
        venue.connected(venue.now, self.number)
        self.told: list[tuple[str, Any]] = []
        self.answers: dict[int | None, Any] = {}
        self.is_open = True
        self._id = 0
        if login:
            self.call("public/auth", grant_type="client_credentials", client_id=client_id, client_secret="secret")
        if armed:
            assert self.call("private/enable_cancel_on_disconnect") == "ok"

    def send(self, payload: bytes) -> None:
        self.venue.receive(self.venue.now, self.number, payload)
        self.listen()

    def listen(self) -> None:
        for frame in self.venue.take():
            for client in CLIENTS:
                if client.number == frame.connection:
                    client.hear(frame.payload)

    def hear(self, payload: str | bytes | None) -> None:
        if payload is None:
            self.is_open = False
            return
        message = json.loads(payload)
        if "method" in message:
            params = message["params"]
            self.told.append((params.get("channel", params.get("type")), params.get("data")))
        else:
            self.answers[message["id"]] = message

    def call(self, method: str, **params: Any) -> Any:
        self._id += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode())
        answer = self.answers.get(self._id)
        if answer is None:
            return None
        return answer["result"] if "result" in answer else answer["error"]["code"]

    def buy(self, amount: float, price: float | None, **more: Any) -> Any:
        return self._order("private/buy", amount, price, more)

    def sell(self, amount: float, price: float | None, **more: Any) -> Any:
        return self._order("private/sell", amount, price, more)

    def _order(self, method: str, amount: float, price: float | None, more: dict[str, Any]) -> Any:
        values = {"instrument_name": PERPETUAL, "amount": amount, "type": "market" if price is None else "limit", **more}
        if price is not None:
            values["price"] = price
        return self.call(method, **values)


CLIENTS: list[Client] = []


@pytest.fixture
def venue() -> DeribitVenue:
    CLIENTS.clear()
    found = DeribitVenue(T0)
    found.add_account("us", "id", "secret", CASH)
    found.add_account("them", "other", "secret", CASH)
    return found


def client(venue: DeribitVenue, **more: Any) -> Client:
    made = Client.__new__(Client)
    CLIENTS.append(made)
    made.__init__(venue, **more)
    return made


def wait(venue: DeribitVenue, duration_ns: int) -> None:
    """Time as a shell lets it pass: at each deadline of the venue."""
    until = venue.now + duration_ns
    while venue.next_ts() <= until:
        venue.advance(max(venue.next_ts(), venue.now))
        CLIENTS[0].listen()
    venue.advance(until)
    CLIENTS[0].listen()


# Protocol.


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc":"2.0","method":"public/test","params":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"public/test","params":[]}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"public/test","params":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"public/test","params":{"x":NaN}}', -32700),
        (b"[" * 100_000, -32700),
    ],
)
def test_requests_that_are_none_are_refused_without_an_id(venue: DeribitVenue, payload: bytes, code: int) -> None:
    us = client(venue, login=False)
    us.send(payload)
    assert us.answers[None]["error"]["code"] == code


def test_methods_want_a_login_and_right_parameters(venue: DeribitVenue) -> None:
    us = client(venue, login=False)
    assert us.call("private/get_positions", currency="any") == 13009
    assert us.call("public/nothing") == -32601
    assert us.call("public/subscribe", channels=[f"book.{PERPETUAL}.raw"]) == 13778
    assert us.call("public/auth", grant_type="client_credentials", client_id="id", client_secret="no") == 13004
    stamp = T0 // MS
    for offset, expected in ((0, True), (120_000, False)):
        signature = hmac.new(b"secret", f"{stamp + offset}\nn\n".encode(), hashlib.sha256).hexdigest()
        found = us.call(
            "public/auth", grant_type="client_signature", client_id="id", timestamp=stamp + offset, nonce="n", signature=signature
        )
        assert isinstance(found, dict) is expected
    for wrong in ({"amount": 15}, {"amount": "10"}, {"amount": 10.5}, {"type": "whim"}, {"price": None}, {"label": "x" * 65}):
        assert us.call("private/buy", **{"instrument_name": PERPETUAL, "amount": 10, "price": 1.0, **wrong}) == -32602
    assert us.buy(10, 49_999.3) == 10043
    assert us.buy(10, 49_999.5, instrument_name="BTC-NOTHING") == 13020
    assert us.buy(10, 49_999.5, valid_until=T0 // MS - 1) == 13888
    assert us.buy(10, None, time_in_force="fill_or_kill") == 11047
    assert us.buy(10**9, 49_999.5) == 10009
    assert venue.books.orders == []


# Orders.


def test_an_order_lives_is_edited_and_ends(venue: DeribitVenue) -> None:
    us, them = client(venue), client(venue, client_id="other")
    us.call("private/subscribe", channels=["user.changes.any.any.raw", "user.orders.any.BTC.raw", "user.trades.any.any.raw"])
    order = us.buy(30, 50_000.0, label="a")["order"]
    assert (order["order_state"], order["amount"], order["label"]) == ("open", 30.0, "a")
    edited = us.call("private/edit", order_id=order["order_id"], amount=50, price=50_000.5)["order"]
    assert (edited["amount"], edited["price"], edited["replaced"]) == (50.0, 50_000.5, True)
    fill = them.sell(20, 50_000.0)["trades"][0]
    assert (fill["price"], fill["amount"], fill["liquidity"], fill["fee"]) == (50_000.5, 20.0, "T", 2.0e-7)
    changes = [data for channel, data in us.told if channel == "user.changes.any.any.raw"][-1]
    assert (changes["orders"][0]["filled_amount"], changes["trades"][0]["liquidity"], changes["positions"][0]["size"]) == (
        20.0,
        "M",
        20.0,
    )
    canceled = us.call("private/cancel", order_id=order["order_id"])
    assert (canceled["order_state"], canceled["filled_amount"], canceled["cancel_reason"]) == ("cancelled", 20.0, "user_request")
    assert us.call("private/cancel", order_id=order["order_id"]) == 11044
    assert us.call("private/edit", order_id=order["order_id"], amount=60, price=50_000.0) == 11044
    assert them.call("private/cancel", order_id=order["order_id"]) == 10004
    states = us.call("private/get_order_state_by_label", currency="BTC", label="a")
    assert [state["order_id"] for state in states] == [order["order_id"]]
    wait(venue, 31 * 60 * S)
    us = client(venue)
    assert us.call("private/get_order_state_by_label", currency="BTC", label="a") == []


def test_post_only_slides_or_is_refused(venue: DeribitVenue) -> None:
    us = client(venue)
    venue.crowd(venue.now, PERPETUAL, Side.SELL, 5_000_050, 100)
    assert us.buy(10, 50_001.0, post_only=True, reject_post_only=True) == 11054
    assert us.buy(10, 50_001.0, post_only=True)["order"]["price"] == 50_000.0
    order = us.buy(10, 49_990.0, post_only=True, reject_post_only=True)["order"]
    ended = us.call("private/edit", order_id=order["order_id"], amount=10, price=50_001.0, post_only=True, reject_post_only=True)
    assert (ended["order"]["order_state"], ended["order"]["cancel_reason"]) == ("cancelled", "edit_post_only_reject")


def test_nobody_trades_with_himself(venue: DeribitVenue) -> None:
    us = client(venue)
    us.buy(10, 50_000.0)
    assert us.sell(10, 49_999.0) == 10003


def test_labels_are_not_unique_and_cancel_by_label_takes_all(venue: DeribitVenue) -> None:
    us = client(venue)
    for price in (49_990.0, 49_980.0):
        us.buy(10, price, label="same")
    assert us.call("private/edit_by_label", label="same", instrument_name=PERPETUAL, amount=20, price=49_000.0) == 13032
    assert us.call("private/cancel_by_label", label="same", currency="BTC") == 2
    assert us.call("private/get_open_orders") == []


def test_stops_wait_and_go_on_as_a_second_order(venue: DeribitVenue) -> None:
    us = client(venue)
    venue.crowd(venue.now, PERPETUAL, Side.SELL, 5_000_050, 100)
    stop = us.buy(10, None, type="stop_market", trigger_price=50_010.0, trigger="mark_price", label="s")["order"]
    assert (stop["order_state"], stop["price"], stop["order_id"][:4]) == ("untriggered", "market_price", "SLTB")
    venue.set_mark(venue.now, PERPETUAL, 5_001_000)
    found = us.call("private/get_order_state_by_label", currency="BTC", label="s")
    assert [(each["order_state"], each.get("trigger_order_id")) for each in found] == [
        ("triggered", None),
        ("filled", stop["order_id"]),
    ]


# Credits.


def test_the_engines_credits_run_out_and_the_session_ends(venue: DeribitVenue) -> None:
    us = client(venue, armed=True)
    results = [us.buy(10, 49_990.0 - step) for step in range(21)]
    assert [isinstance(result, dict) for result in results] == [True] * 20 + [False]
    assert (results[-1], us.is_open) == (10028, False)
    # Cancel-on-disconnect was armed: that was a mass cancel.
    assert {order.cancel_reason for order in venue.books.orders} == {"cancel_on_disconnect"}


def test_credits_come_back(venue: DeribitVenue) -> None:
    us = client(venue)
    for step in range(20):
        us.buy(10, 49_990.0 - step)
    wait(venue, S)
    results = [us.buy(10, 49_900.0 - step) for step in range(5)]
    assert all(isinstance(result, dict) for result in results)
    assert us.buy(10, 49_000.0) == 10028


def test_questions_cost_credits_too() -> None:
    CLIENTS.clear()
    venue = DeribitVenue(T0, limits=Limits(pool=5_000))
    venue.add_account("us", "id", "secret", CASH)
    us = client(venue)
    assert [us.call("private/get_positions", currency="any") for _ in range(11)] == [[]] * 10 + [10028]


# Connections.


def test_cancel_on_disconnect_takes_this_connections_orders_only(venue: DeribitVenue) -> None:
    armed, plain = client(venue, armed=True), client(venue)
    armed.buy(10, 49_990.0, label="armed")
    plain.buy(10, 49_980.0, label="plain")
    venue.disconnected(venue.now, armed.number)
    assert [(order.label, order.state) for order in venue.books.orders] == [("armed", "cancelled"), ("plain", "open")]


def test_logout_cancels_nothing(venue: DeribitVenue) -> None:
    us = client(venue, armed=True)
    us.buy(10, 49_990.0)
    us.call("private/logout")
    assert (us.is_open, [order.state for order in venue.books.orders]) == (False, ["open"])


def test_a_missed_heartbeat_ends_the_connection(venue: DeribitVenue) -> None:
    us = client(venue, armed=True)
    us.buy(10, 49_990.0)
    assert us.call("public/set_heartbeat", interval=9) == -32602
    assert us.call("public/set_heartbeat", interval=10) == "ok"
    wait(venue, 11 * S)
    assert [what for what, _ in us.told] == ["heartbeat", "test_request"]
    us.call("public/test")
    wait(venue, 15 * S)
    assert us.is_open
    wait(venue, 10 * S)
    assert (us.is_open, venue.books.orders[0].cancel_reason) == (False, "cancel_on_disconnect")


def test_ten_minutes_of_silence_end_a_connection(venue: DeribitVenue) -> None:
    us = client(venue)
    wait(venue, 599 * S)
    assert us.is_open
    wait(venue, 2 * S)
    assert not us.is_open


# Books.


@pytest.mark.parametrize("seed", range(4))
def test_a_subscriber_can_keep_the_book(venue: DeribitVenue, seed: int) -> None:
    us = client(venue)
    draw = random.Random(seed)
    us.call("private/subscribe", channels=[f"book.{PERPETUAL}.raw", f"quote.{PERPETUAL}", f"trades.{PERPETUAL}.raw"])
    for _ in range(300):
        side, ticks = draw.choice((Side.BUY, Side.SELL)), draw.randrange(1, 20)
        price = 5_000_000 + (-ticks if side is Side.BUY else ticks) * 50
        venue.crowd(venue.now, PERPETUAL, side, None if draw.random() < 0.3 else price, draw.randrange(1, 30) * 10)
        us.listen()
    book: tuple[dict[float, float], dict[float, float]] = ({}, {})
    last = None
    for channel, data in us.told:
        if not channel.startswith("book."):
            continue
        assert data.get("prev_change_id") == last or data["type"] == "snapshot"
        last = data["change_id"]
        for side_index, name in enumerate(("bids", "asks")):
            for action, price, amount in data[name]:
                assert (action == "delete") == (amount == 0)
                assert (action == "new") == (price not in book[side_index])
                book[side_index][price] = amount
                if action == "delete":
                    del book[side_index][price]
    bids, asks = venue.engine.levels(venue.markets[PERPETUAL])
    assert book == (
        {price / 100: float(qty) for price, qty in bids.items()},
        {price / 100: float(qty) for price, qty in asks.items()},
    )
    prints = sum(data[0]["amount"] for channel, data in us.told if channel.startswith("trades."))
    assert prints == sum(fill.amount for fill in venue.books.fills if not fill.is_maker)


# Books of account.


def test_positions_and_cash_are_what_the_fills_say(venue: DeribitVenue) -> None:
    """Inverse: bought 1,000 dollars at 50,000, sold at 51,000: 1000/50000 - 1000/51000 BTC, less two fees."""
    us = client(venue)
    venue.crowd(venue.now, PERPETUAL, Side.SELL, 5_000_000, 1_000)
    us.buy(1_000, 50_000.0)
    venue.crowd(venue.now, PERPETUAL, Side.BUY, 5_100_000, 1_000)
    us.sell(1_000, 51_000.0)
    account = venue.accounts["id"]
    fees = account.fees["BTC"]
    assert fees == 1_000 + 980  # 0.05 % of 0.02 BTC, and of 0.01960784 BTC
    assert account.cash["BTC"] == CASH["BTC"] + 2_000_000 - 1_960_784 - fees
    assert account.holding(PERPETUAL).size == 0


def test_everybodys_positions_add_up_to_nothing(venue: DeribitVenue) -> None:
    us, them = client(venue), client(venue, client_id="other")
    draw = random.Random(3)
    for _ in range(100):
        who = draw.choice((us, them))
        price = 50_000.0 + draw.randrange(-4, 5) * 0.5
        if (who.buy if draw.random() < 0.5 else who.sell)(draw.randrange(1, 9) * 10, price) == 10003:
            who.call("private/cancel_all")
        wait(venue, S)
    sizes = [account.holding(PERPETUAL).size for account in venue.accounts.values()]
    assert sum(sizes) == 0
    assert any(sizes)
    by_fills = [
        sum(f.amount if f.order.side is Side.BUY else -f.amount for f in venue.books.fills_of(a)) for a in venue.accounts.values()
    ]
    assert sizes == by_fills


def test_funding_moves_cash_from_longs_to_shorts(venue: DeribitVenue) -> None:
    us, them = client(venue), client(venue, client_id="other")
    us.buy(1_000, 50_000.0)
    them.sell(1_000, 50_000.0)
    before = [dict(account.cash) for account in venue.accounts.values()]
    venue.fund(venue.now, PERPETUAL, 100_000)  # 0.01 % of 0.02 BTC

    def moved() -> list[int]:
        return [account.cash["BTC"] - cash["BTC"] for account, cash in zip(venue.accounts.values(), before, strict=True)]

    assert moved() == [0, 0]
    venue.settle_session(venue.now)
    assert moved() == [-200, 200]
    assert [row["amount"] for row in venue.ledger()["cash"]] == [-200, 200]


def test_an_options_fee_is_a_share_of_the_coin_and_capped(venue: DeribitVenue) -> None:
    market = default_markets()["BTC-25DEC26-100000-C"]
    assert market.fee(345, 10, False) == 30_000  # 0.0003 BTC for one
    assert market.fee(10, 10, False) == 12_500  # an eighth of 0.001 BTC


def test_day_orders_end_at_eight_and_a_settlement_ends_all(venue: DeribitVenue) -> None:
    us = client(venue)
    us.buy(10, 49_990.0, time_in_force="good_til_day")
    us.buy(10, 49_980.0)
    wait(venue, 24 * 3_600 * S)
    assert [order.state for order in venue.books.orders] == ["cancelled", "open"]
    venue.settle(venue.now, PERPETUAL)
    assert venue.books.orders[1].cancel_reason == "settlement"


def test_trades_are_paged_oldest_first(venue: DeribitVenue) -> None:
    us = client(venue)
    venue.crowd(venue.now, PERPETUAL, Side.SELL, 5_000_000, 1_000)
    for _ in range(5):
        us.buy(10, 50_000.0)
    start = T0 // MS
    page = us.call(
        "private/get_user_trades_by_currency_and_time",
        currency="BTC",
        start_timestamp=start,
        end_timestamp=start + 1_000,
        count=3,
        sorting="asc",
    )
    assert ([trade["trade_id"] for trade in page["trades"]], page["has_more"]) == (["BTC-1", "BTC-2", "BTC-3"], True)


# Numbers and faults.


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (5_000_050, 2, b"50000.5"),
        (10, 0, b"10.0"),
        (1_000, 2, b"10.0"),
        (21, 8, b"2.1e-7"),
        (-5, 4, b"-0.0005"),
        (3, 7, b"3.0e-7"),
    ],
)
def test_numbers_look_as_the_venue_writes_them(value: int, scale: int, text: bytes) -> None:
    assert bytes(number(value, scale)) == text
    assert float(text) == value / 10**scale


def test_faults_come_from_the_seed_alone() -> None:
    def run(seed: int) -> list[bool]:
        faults = Faults(KNOWN, seed, {22: 300_000})
        return [faults.fires(22) for _ in range(200)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 30 < sum(run(1)) < 90


def test_an_armed_fault_happens_once() -> None:
    faults = Faults(KNOWN)
    faults.arm(13)
    assert [faults.fires(13), faults.fires(13), faults.fired] == [True, False, {13: 1}]
    faults.arm(13, 3)
    faults.disarm(13)
    assert not faults.fires(13)
