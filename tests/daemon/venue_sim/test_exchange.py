"""The venue's protocol by itself: who may come in, who is fenced off, what is refused, and what happens without anybody there."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sim import wire
from adapters.sim.wire import Frames, decode_answer, encode
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import CashKind, OrderType, Reason, Side
from core.errors import CapacityError
from core.events import CancelRejected, OrderAccepted, OrderCanceled, OrderEvent, OrderFilled, OrderRejected, Quote
from core.units import INT64_MAX
from core.venue_adapter import VenueOrder
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import MARKET_BYTES_MAX, SETTLE_NS_MAX, Exchange, Peer, Settings
from tests.adapters.sim.records import requests
from tests.daemon.venue_sim.random_market import INSTRUMENT, RandomMarket

START = 1_000_000_000
MS = 1_000_000


class Calm(random.Random):
    """Dice that fill nothing, reject nothing, and deliver at once."""

    def random(self) -> float:
        return 0.999

    def getrandbits(self, _bits: int) -> int:
        return 0


class Place:
    """A venue, and what each of its connections has heard."""

    def __init__(self, draw: random.Random | None = None, **changed: Any) -> None:
        self.ts = START
        self.lines: list[dict[str, Any]] = []
        self.market = RandomMarket(draw or Calm())
        tokens = {"trade": ("t",), "switch": ("s",), "watch": ("t", "s")}
        settings_ = {"account": "main", "tokens": tokens, "instrument_ids": frozenset((INSTRUMENT,)), **changed}
        self.exchange = Exchange(self.market, VenueAccount({INSTRUMENT: 0}), Settings(**settings_), self.lines.append)

    def connect(self, role: wire.Role | None = "trade", token: str = "", **more: Any) -> tuple[Peer, list[wire.Answer]]:
        peer = self.exchange.connect(self.ts)
        if role is None:
            return peer, []
        said = self.say(peer, wire.Login(wire.VERSION, "main", token or role[0].replace("w", "t"), role, **more))
        return peer, said

    def say(self, peer: Peer, *messages: wire.Request) -> list[wire.Answer]:
        for message in messages:
            self.exchange.receive(self.ts, peer, encode(message))
        return self.heard(peer)

    def send(self, peer: Peer, *commands: OrderCommand) -> list[Any]:
        answers = self.say(peer, *(wire.SendCommand(command) for command in commands))
        return self.orders([*answers, *self.wait(peer)])

    def wait(self, peer: Peer, ns: int = MS) -> list[wire.Answer]:
        self.ts += ns
        self.exchange.advance(self.ts)
        return self.heard(peer)

    def heard(self, peer: Peer) -> list[wire.Answer]:
        data, peer.out = bytes(peer.out), bytearray()
        return [decode_answer(payload) for payload in Frames(wire.ANSWER_BYTES_MAX).receive(data)]

    @staticmethod
    def orders(answers: list[wire.Answer]) -> list[OrderEvent]:
        return [event for answer in answers if isinstance(answer, wire.OrderEvents) for event in answer.events]

    @property
    def kinds(self) -> list[str]:
        return [line["kind"] for line in self.lines]


def buy(order_id: int, **changed: Any) -> SubmitOrder:
    fields = {"price": 9_000, "order_type": OrderType.LIMIT, "quantity": 5, "instrument_id": INSTRUMENT, **changed}
    return SubmitOrder(ts=START, client_order_id=order_id, strategy_id="s", side=Side.BUY, **fields)


def test_a_login_is_answered_with_the_account_and_the_market() -> None:
    place = Place()
    peer, answers = place.connect()
    logged_in, market = answers
    assert isinstance(logged_in, wire.LoggedIn)
    assert (logged_in.number, logged_in.state.positions, logged_in.state.not_found_ns) == (0, {INSTRUMENT: 0}, 0)
    assert isinstance(market, wire.MarketEvents)
    assert [type(event) for event in market.events] == [Quote]
    assert isinstance(place.send(peer, buy(7))[0], OrderAccepted)
    _, (again, *_) = place.connect()
    assert isinstance(again, wire.LoggedIn)
    assert again.state.open_orders == (VenueOrder(7, INSTRUMENT, Side.BUY, 9_000, 5),)


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        (wire.Login(wire.VERSION + 1, "main", "t", "trade"), "version"),
        (wire.Login(wire.VERSION, "other", "t", "trade"), "account"),
        (wire.Login(wire.VERSION, "main", "", "trade"), "token"),
        (wire.Login(wire.VERSION, "main", "s", "trade"), "token"),
        (wire.Login(wire.VERSION, "main", "t", "switch"), "token"),
    ],
)
def test_who_is_not_known_does_not_come_in(login: wire.Login, reason: str) -> None:
    place = Place()
    peer, _ = place.connect(None)
    (refused,) = place.say(peer, login)
    assert isinstance(refused, wire.LoginRefused)
    assert reason in refused.reason
    assert peer.is_closing
    assert "t'" not in str(place.lines).replace("'ts'", "")


def test_a_new_login_fences_the_trading_connection_off_and_nothing_else() -> None:
    place = Place()
    old, _ = place.connect()
    switch, _ = place.connect("switch")
    watch, _ = place.connect("watch")
    place.send(old, buy(1))
    new, _ = place.connect()
    assert (old.is_closing, new.is_closing, switch.is_closing, watch.is_closing) == (True, False, False, False)
    place.heard(old)
    assert place.send(old, buy(2)) == []
    assert [line["client_order_id"] for line in place.lines if line["kind"] == "submit"] == [1]
    # Its end is of no matter to who trades now.
    place.exchange.disconnect(place.ts, old)
    assert isinstance(place.send(new, buy(3))[0], OrderAccepted)
    assert [type(event) for event in place.orders(place.heard(watch))] == [OrderAccepted, OrderAccepted]


def test_a_login_waits_until_what_was_sent_before_it_is_answered() -> None:
    place = Place(random.Random(2))
    old, _ = place.connect()
    place.say(old, wire.SendCommand(buy(1)))
    new, answers = place.connect(last_event=0)
    assert answers == []
    answers = place.wait(new, SETTLE_NS_MAX // 100)
    assert isinstance(answers[0], wire.LoggedIn)
    assert place.orders(answers) == []
    (order,) = answers[0].state.open_orders
    assert order.client_order_id == 1


def test_a_reconnect_gets_the_executions_behind_the_last_event_seen() -> None:
    place = Place()
    peer, _ = place.connect()
    place.send(peer, buy(1, order_type=OrderType.MARKET, price=None), buy(2, order_type=OrderType.MARKET, price=None))
    for seen, expected in ((wire.FIRST_LOGIN, []), (0, [1, 2]), (1, [2]), (2, [])):
        _, (logged_in, *_) = place.connect(last_event=seen)
        assert isinstance(logged_in, wire.LoggedIn)
        assert [fill.client_order_id for fill in logged_in.state.executions] == expected, seen


def test_money_that_moves_is_told_kept_and_told_again() -> None:
    place = Place()
    peer, _ = place.connect()
    switch, _ = place.connect("switch")
    place.send(peer, buy(1))
    moved = place.exchange.move_cash(place.ts, CashKind.FUNDING, "USD", -7, INSTRUMENT)
    assert (moved.venue, moved.movement_id) == ("SIM", "M2")
    assert [answer for answer in place.heard(peer) if isinstance(answer, wire.CashEvents)] == [wire.CashEvents(2, (moved,))]
    assert place.heard(switch) == []
    assert place.lines[-1] == {
        "kind": "cash_moved",
        "ts": place.ts,
        "number": 2,
        "venue": "SIM",
        "movement_id": "M2",
        "cash_kind": "FUNDING",
        "currency": "USD",
        "amount": -7,
        "instrument_id": INSTRUMENT,
        "client_order_id": 0,
    }
    for since_ts, expected in ((place.ts, (moved,)), (place.ts + 1, ())):
        (reply,) = (each for each in place.say(peer, wire.Query(1, since_ts)) if isinstance(each, wire.StateReply))
        assert (reply.number, reply.state.cash_moves) == (2, expected)
    for seen, expected in ((wire.FIRST_LOGIN, ()), (1, (moved,)), (2, ())):
        _, (logged_in, *_) = place.connect(last_event=seen)
        assert isinstance(logged_in, wire.LoggedIn)
        assert logged_in.state.cash_moves == expected, seen


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (buy(1), Reason.DUPLICATE_ID),
        (buy(2, instrument_id="OTHER.SIM"), Reason.BAD_FIELD),
        (buy(2, price=None), Reason.BAD_PRICE),
        (buy(2, order_type=OrderType.STOP, price=None), Reason.BAD_TRIGGER),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_harms_no_other(order: SubmitOrder, reason: Reason) -> None:
    place = Place()
    peer, _ = place.connect()
    place.send(peer, buy(1))
    (refused,) = place.send(peer, order)
    assert isinstance(refused, OrderRejected)
    assert refused.reason is reason
    assert list(place.exchange.account.open) == [1]


def test_an_id_stays_used_when_its_order_has_ended() -> None:
    place = Place()
    peer, _ = place.connect()
    place.send(peer, buy(1), CancelOrder(START, 1))
    (refused,) = place.send(peer, buy(1))
    assert isinstance(refused, OrderRejected)
    assert refused.reason is Reason.DUPLICATE_ID


@pytest.mark.parametrize("role", ["switch", "watch"])
def test_only_who_trades_sends_orders(role: wire.Role) -> None:
    place = Place()
    peer, _ = place.connect(role)
    (goodbye,) = place.say(peer, wire.SendCommand(buy(1)))
    assert isinstance(goodbye, wire.Logout)
    assert peer.is_closing
    assert "submit" not in place.kinds


def test_the_switch_cancels_everything_and_flattens() -> None:
    place = Place()
    trader, _ = place.connect()
    switch, _ = place.connect("switch")
    place.send(trader, buy(1), buy(2), buy(3, order_type=OrderType.MARKET, price=None))
    assert place.say(switch, wire.CancelEverything(9)) == [wire.Done(9)]
    canceled = place.orders(place.wait(trader))
    assert [(type(event), event.client_order_id) for event in canceled] == [(OrderCanceled, 1), (OrderCanceled, 2)]
    assert place.say(switch, wire.Flatten(10)) == [wire.Done(10)]
    (fill,) = place.orders(place.wait(trader))
    assert isinstance(fill, OrderFilled)
    assert (fill.client_order_id, fill.side, fill.qty) == (wire.VENUE_ORDER_ID_MIN + 1, Side.SELL, 5)
    (reply,) = place.say(switch, wire.Query(11, INT64_MAX))
    assert isinstance(reply, wire.StateReply)
    assert (reply.state.positions, reply.state.open_orders, reply.state.executions) == ({INSTRUMENT: 0}, (), ())


def test_the_dead_man_switch_cancels_when_nobody_comes_again_and_outlives_its_connection() -> None:
    place = Place()
    trader, _ = place.connect()
    switch, _ = place.connect("switch")
    place.send(trader, buy(1))
    place.say(switch, wire.DeadMan(1, 100))
    place.wait(trader, 60 * MS)
    place.say(switch, wire.DeadMan(2, 100))
    place.exchange.disconnect(place.ts, switch)
    assert place.orders(place.wait(trader, 60 * MS)) == []
    place.wait(trader, 60 * MS)
    assert [type(event) for event in place.orders(place.wait(trader))] == [OrderCanceled]
    assert place.kinds[-2:] == ["cancel_everything", "canceled"]
    again, _ = place.connect("switch")
    place.send(trader, buy(2))
    place.say(again, wire.DeadMan(3, 100), wire.DeadMan(4, 0))
    place.wait(trader, 10_000 * MS)
    assert list(place.exchange.account.open) == [2]


@pytest.mark.parametrize("is_on", [False, True])
def test_orders_end_with_the_connection_only_where_that_is_asked_for(is_on: bool) -> None:
    place = Place(cancel_on_disconnect=is_on)
    trader, _ = place.connect()
    place.send(trader, buy(1))
    place.exchange.disconnect(place.ts, trader)
    place.ts += MS
    place.exchange.advance(place.ts)
    assert (list(place.exchange.account.open) == []) is is_on


def test_silence_ends_a_trading_connection_and_never_a_switch() -> None:
    place = Place()
    trader, _ = place.connect()
    switch, _ = place.connect("switch")
    heard = []
    for _ in range(4):
        heard += place.wait(trader, wire.HEARTBEAT_NS)
    assert not trader.is_closing
    place.wait(trader, 2 * wire.HEARTBEAT_NS)
    assert (trader.is_closing, switch.is_closing) == (True, False)
    assert place.heard(switch) == []


def test_a_slow_reader_misses_market_data_and_sees_that_it_did_and_no_order_event() -> None:
    place = Place()
    trader, _ = place.connect()
    trader.bytes_waiting = MARKET_BYTES_MAX
    place.send(trader, buy(1))
    heard = place.wait(trader)
    trader.bytes_waiting = 0
    heard += place.wait(trader)
    sequences = [answer.sequence for answer in heard if isinstance(answer, wire.MarketEvents)]
    assert sequences
    assert sequences[0] > 2
    assert list(place.exchange.account.open) == [1]


def test_a_venue_that_is_too_busy_says_so() -> None:
    place = Place()
    trader, _ = place.connect()
    place.send(trader, buy(1))

    def full(_command: OrderCommand) -> None:
        raise CapacityError("too much is under way")

    place.market.take = full  # type: ignore[method-assign]
    answers = place.send(trader, buy(2), CancelOrder(START, 1), ReplaceOrder(START, 1, 3, 9_000), CancelAll(START, None))
    assert [(type(each).__name__, each.client_order_id) for each in answers] == [
        ("OrderRejected", 2),
        ("CancelRejected", 1),
        ("ReplaceRejected", 1),
        ("CancelRejected", 1),
    ]
    assert isinstance(answers[1], CancelRejected)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.one_of(requests.map(encode), st.binary(max_size=60))), max_size=25),
    st.integers(0, 99),
)
def test_whatever_comes_in_the_venue_stands(steps: list[tuple[int, bytes]], seed: int) -> None:
    """Messages in any order, from anybody, and bytes that are none: no exception, and books that fit together."""
    place = Place(random.Random(seed), tokens={"trade": ("", "secret"), "switch": ("",), "watch": ("",)})
    peers = [place.connect(None)[0] for _ in range(4)]
    for number, data in steps:
        place.exchange.receive(place.ts, peers[number], data)
        place.ts += MS
        place.exchange.advance(place.ts)
        if peers[number].is_closing:
            place.exchange.disconnect(place.ts, peers[number])
            peers[number] = place.connect(None)[0]
    numbers = [line["number"] for line in place.lines if "number" in line]
    assert numbers == list(range(1, place.exchange.number + 1))
    filled = sum(line["qty"] if line["side"] == "BUY" else -line["qty"] for line in place.lines if line["kind"] == "filled")
    assert filled == place.exchange.account.positions.get(INSTRUMENT, 0)
