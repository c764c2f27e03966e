"""What client programs ask over the control socket: orders once each, views of their own, limits, and nothing from nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.commands import CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Side, TradingState
from core.events import (
    ClientCancelRequested,
    ClientOrderRequested,
    ClientReplaceRequested,
    Quote,
    StateRestored,
    TradingStateSet,
)
from core.restore import capture
from daemon.audit.order_life import OrderLife
from daemon.audit.record_text import describe
from daemon.control.wire import Request
from daemon.journal.tail import TailReader
from daemon.trading.fold import Fold
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.trading.client_session import INSTRUMENT, ORDER, TEXT, ClientSession
from tests.daemon.trading.harness import load, quote, remembered


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[ClientSession]:
    made = ClientSession(tmp_path)
    yield made
    made.close()


def sent(clients: ClientSession) -> list[Any]:
    return remembered(clients.session).sent


def test_an_order_is_on_the_disk_and_has_left_when_it_is_answered(clients: ClientSession) -> None:
    status, answer = clients.order()
    (command,) = sent(clients)
    assert isinstance(command, SubmitOrder)
    assert (command.strategy_id, command.quantity, command.price) == ("alice", 5, 10_000)
    assert remembered(clients.session).durable_at_send == [True]
    assert (status, answer["order_id"], answer["status"], answer["is_repeated"]) == (200, "1-1", "SUBMITTED", False)
    assert (answer["order"]["client_ref"], answer["order"]["price"], answer["order"]["quantity"]) == ("a1", "100.00", "5")


def test_the_same_name_gives_the_same_order_and_records_nothing(clients: ClientSession) -> None:
    first = clients.order()
    clients.accept(clients.order_of(first))
    records, digest = clients.session.journal.records_written, clients.trader.state_digest()
    status, answer = clients.order()
    assert (status, answer["order_id"], answer["status"], answer["is_repeated"]) == (200, "1-1", "ACCEPTED", True)
    status, answer = clients.order(quantity="6")
    assert (status, answer) == (409, {"error": "client_ref a1 is the name of another order, 1-1", "order_id": "1-1"})
    assert (clients.session.journal.records_written, clients.trader.state_digest()) == (records, digest)
    assert len(sent(clients)) == 1


def test_a_denial_names_limit_value_and_bound_in_units_and_is_repeated_alike(clients: ClientSession) -> None:
    denial = {"limit": "strategy_position_qty_max", "value": "25", "bound": "20"}
    status, answer = clients.order(quantity="25")
    assert (status, answer["denial"], answer["status"], answer["order_id"]) == (409, denial, "DENIED", "1-1")
    status, again = clients.order(quantity="25")
    assert (status, again) == (409, {**answer, "is_repeated": True})
    status, answer = clients.order(client_ref="a2", price="103.00")
    assert (status, answer["denial"]) == (409, {"limit": "price_collar_ppm", "value": "103.00", "bound": "102.01"})
    status, answer = clients.order(client_ref="a3", quantity="18", price="100.00")
    assert answer["denial"] == {"limit": "strategy_capital_max", "value": "1800.18000000", "bound": "1500.00000000"}
    assert sent(clients) == []


def test_a_client_sees_and_touches_its_own_orders_only(clients: ClientSession) -> None:
    order = clients.order_of(clients.order())
    clients.accept(order)
    nobody = {"error": "there is no order '1-1' of this client that is remembered"}
    assert clients.ask("POST", "/cancel/1-1", {"client_id": "bob"}) == (404, nobody)
    assert clients.ask("POST", "/replace/1-1", {"client_id": "bob", "quantity": "1", "price": "99.00"}) == (404, nobody)
    assert clients.ask("GET", "/orders", client_id="bob") == (200, {"orders": []})
    assert [each["order_id"] for each in clients.ask("GET", "/orders", client_id="alice")[1]["orders"]] == ["1-1"]
    status, answer = clients.ask("POST", "/replace/1-1", {"client_id": "alice", "quantity": "4", "price": "99.50"})
    assert (status, answer["order"]["status"]) == (200, "PENDING_REPLACE")
    status, answer = clients.ask("POST", "/replace/1-1", {"client_id": "alice", "quantity": "4", "price": "99.50"})
    assert status == 409
    status, answer = clients.ask("POST", "/cancel/1-1", {})
    assert (status, answer["order"]["status"]) == (200, "PENDING_CANCEL")
    assert [type(command) for command in sent(clients)] == [SubmitOrder, ReplaceOrder, CancelOrder]


def test_what_has_ended_is_neither_canceled_nor_replaced(clients: ClientSession) -> None:
    order = clients.order_of(clients.order())
    clients.fill(order, 5, "x1")
    for path, body in (("/cancel/1-1", {}), ("/replace/1-1", {"quantity": "1", "price": "99.00"})):
        status, answer = clients.ask("POST", path, {"client_id": "alice", **body})
        assert (status, answer["error"], answer["order"]["filled_qty"]) == (409, "order 1-1 has ended: FILLED", "5")


def test_a_replace_that_is_denied_says_so(clients: ClientSession) -> None:
    clients.accept(clients.order_of(clients.order()))
    status, answer = clients.ask("POST", "/replace/1-1", {"client_id": "alice", "quantity": "21", "price": "100.00"})
    assert (status, answer["denial"]) == (409, {"limit": "strategy_position_qty_max", "value": "21", "bound": "20"})
    assert answer["order"]["status"] == "ACCEPTED"


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": "eve"}, 404, "there is no client 'eve'"),
        ({"instrument_id": "OTHER.SIM"}, 403, "'OTHER.SIM' is not one of the instruments of client alice"),
        ({"quantity": "1.5"}, 400, "quantity: '1.5' has more than 0 decimals"),
        ({"price": "100.001"}, 400, "price: '100.001' has more than 2 decimals"),
        ({"price": "99999999999999999999"}, 400, "price: '99999999999999999999' at scale 2 does not fit in 64 bits"),
        ({"side": "HOLD"}, 400, "the body: Invalid enum value 'HOLD' - at `$.side`"),
        ({"quantity": 5}, 400, "the body: Expected `str`, got `int` - at `$.quantity`"),
        ({"client_ref": None}, 400, "the body: Object missing required field `client_ref`"),
        ({"colour": "red"}, 400, "the body: Object contains unknown field `colour`"),
        ({"time_in_force": "GTD", "expire_time": "tomorrow"}, 400, "expire_time: 'tomorrow' is no moment"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(
    clients: ClientSession, changes: dict[str, Any], status: int, error: str
) -> None:
    records = clients.session.journal.records_written
    found, answer = clients.order(**changes)
    assert (found, answer["error"][: len(error)]) == (status, error)
    assert (clients.session.journal.records_written, sent(clients)) == (records, [])


def test_a_client_that_asks_too_often_is_told_and_may_still_cancel(clients: ClientSession) -> None:
    replies = [clients.order(client_id="bob", client_ref=f"b{number}", quantity="1") for number in range(5)]
    assert [status for status, _ in replies] == [200, 200, 200, 429, 429]
    assert clients.ask("POST", "/cancel/1-1", {"client_id": "bob"})[0] == 200
    assert clients.order(client_id="alice")[0] == 200, "others are not held up"
    clients.tick(1_000_000_000)
    assert clients.order(client_id="bob", client_ref="b4", quantity="1")[0] == 200


def test_no_order_is_taken_while_the_daemon_stops_and_none_leaves_a_halt(clients: ClientSession) -> None:
    clients.phase = "stopping"
    assert clients.order() == (409, {"error": "the daemon is stopping: no order is taken"})
    clients.phase = "running"
    clients.session.control("halt", 0, "x", lambda now: [TradingStateSet(now, now, TradingState.HALTED, "x")])
    status, answer = clients.order()
    assert (status, answer["denial"]) == (409, {"limit": "trading_state", "value": "HALTED", "bound": "ACTIVE"})


def test_a_kill_is_in_effect_at_the_next_order(clients: ClientSession) -> None:
    clients.session.kill.set("enough", 0, 1)
    status, answer = clients.order()
    assert (status, answer["denial"]["limit"]) == (409, "trading_state")
    assert not [command for command in sent(clients) if isinstance(command, SubmitOrder)]


def test_risk_shows_limits_and_what_is_used(clients: ClientSession) -> None:
    first = clients.order_of(clients.order())
    clients.fill(first, 2, "x1")
    clients.order(client_ref="a2", side="SELL", quantity="1", price="100.50")
    status, answer = clients.ask("GET", "/risk/alice")
    (instrument,) = answer["instruments"]
    assert status == 200
    assert (answer["trading_state"], answer["budget"]["open_orders"], answer["budget"]["open_orders_max"]) == ("ACTIVE", 2, 4)
    assert (answer["budget"]["capital"], answer["budget"]["capital_max"]) == ({"USD": "500.05000000"}, "1500.00000000")
    assert answer["losses"][0]["daily_loss_max"] == "100.00000000"
    shown = {key: instrument[key] for key in ("position", "open_buy_qty", "open_sell_qty", "open_orders", "position_qty_max")}
    assert shown == {"position": "2", "open_buy_qty": "3", "open_sell_qty": "1", "open_orders": 2, "position_qty_max": "20"}
    assert instrument["limits"]["order_qty_max"] == "50"
    assert clients.ask("GET", "/risk/bob")[1]["budget"] is None


def test_looking_changes_nothing(clients: ClientSession) -> None:
    clients.fill(clients.order_of(clients.order()), 2, "x1")
    digest, records = clients.trader.state_digest(), clients.session.journal.records_written
    for path in ("/risk/alice", "/risk/bob", "/fills/alice", f"/book/{INSTRUMENT}"):
        assert clients.ask("GET", path)[0] == 200
    for client_id in ("alice", "bob"):
        for path in ("/orders", "/positions", f"/book/{INSTRUMENT}"):
            assert clients.ask("GET", path, client_id=client_id)[0] == 200
    assert (clients.trader.state_digest(), clients.session.journal.records_written) == (digest, records)


def test_fills_are_kept_for_each_client_and_numbered_over_all(clients: ClientSession) -> None:
    alice = clients.order_of(clients.order())
    bob = clients.order_of(clients.order(client_id="bob", client_ref="b1"))
    for order, execution_id in ((alice, "x1"), (bob, "x2"), (alice, "x3")):
        clients.fill(order, 1, execution_id)
    clients.fill(alice, 1, "x3")  # reported twice, booked once
    for client_id, expected in (("alice", [(1, "x1", "a1"), (3, "x3", "a1")]), ("bob", [(2, "x2", "b1")])):
        status, answer = clients.ask("GET", f"/fills/{client_id}")
        assert status == 200
        assert [(fill["number"], fill["execution_id"], fill["client_ref"]) for fill in answer["fills"]] == expected


def test_the_book_has_as_many_levels_as_the_client_may_see(clients: ClientSession) -> None:
    status, answer = clients.ask("GET", f"/book/{INSTRUMENT}", client_id="alice")
    assert status == 200
    expected = {"bid": "100.00", "bid_qty": "50", "ask": "100.01", "ask_qty": "50", "mid": "100.005", "spread": "0.01"}
    assert {key: answer[key] for key in expected} == expected
    assert clients.ask("GET", "/book/NONE.SIM")[0] == 404
    assert clients.ask("GET", "/book/NONE.SIM", client_id="alice")[0] == 403


# Nonsense.

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(
    st.sampled_from([*ORDER, "order_type", "trigger_price", "display_qty", "expire_time", "x"]) | texts, values
)
paths = st.sampled_from(["/order", "/cancel/1-1", "/replace/1-1", "/cancel/", "/stream", "/fills/alice", "/risk/", "/book/"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["GET", "POST"]), paths | st.builds("/{}/{}".format, texts, texts), bodies, st.dictionaries(texts, texts))
def test_nonsense_is_refused_and_changes_nothing(
    clients: ClientSession, method: str, path: str, body: dict[str, Any], query: dict[str, str]
) -> None:
    digest, records = clients.trader.state_digest(), clients.session.journal.records_written
    answer = clients.requests.answer(Request(method, path, body, 0, query))
    assert answer is None or not isinstance(answer, tuple) or 400 <= answer[0] < 500 or method == "GET"
    assert (clients.trader.state_digest(), clients.session.journal.records_written) == (digest, records)


# Recovery.

steps = st.tuples(
    st.sampled_from(["order", "again", "cancel", "replace", "accept", "fill", "quote"]),
    st.sampled_from(["alice", "bob"]),
    st.integers(0, 30),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=25))
def test_a_journal_with_clients_folds_to_what_the_trader_holds(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("fold")
    clients = ClientSession(folder)
    for number, (what, client_id, pick) in enumerate(script):
        clients.tick(400_000_000)
        orders = clients.trader.orders.open_orders(None, client_id)
        order = orders[pick % len(orders)] if orders else None
        if what == "order":
            clients.order(client_id=client_id, client_ref=f"n{number}", quantity=str(pick))
        elif what == "again":
            clients.order(client_id=client_id, client_ref=f"n{pick}", quantity=str(pick))
        elif what == "quote":
            clients.session.process([quote(clients.tick(), 10_000 + pick % 3)])
        elif order is None:
            continue
        elif what == "cancel":
            clients.ask("POST", f"/cancel/1-{order.client_order_id & 0xFFFFFFFF}", {"client_id": client_id})
        elif what == "replace":
            body = {"client_id": client_id, "quantity": str(pick), "price": "100.00"}
            clients.ask("POST", f"/replace/1-{order.client_order_id & 0xFFFFFFFF}", body)
        elif what == "accept" and not order.accepted:
            clients.accept(order)
        elif what == "fill" and order.accepted and order.leaves_qty and not order.replace_in_flight:
            clients.fill(order, 1 + pick % order.leaves_qty, f"x{number}")
    clients.session.journal.flush()
    expected = capture(clients.trader)
    fold = Fold(partial(build_bare_trader, load(folder, TEXT)))
    kinds = set()
    for record in TailReader(clients.session.journal.path):
        kinds.add(type(record))
        fold.apply(record)
    clients.close()
    assert fold.state() == expected
    assert kinds & {ClientOrderRequested, ClientCancelRequested, ClientReplaceRequested} or not expected.client_refs


def test_an_orders_life_begins_with_what_its_client_asked_for(clients: ClientSession) -> None:
    clients.order(client_ref="other")
    clients.accept(clients.order_of(clients.order()))
    clients.ask("POST", "/cancel/1-2", {"client_id": "alice"})
    clients.order(client_ref="much", quantity="25")
    clients.session.journal.flush()
    instruments = {INSTRUMENT: clients.trader.instruments[INSTRUMENT]}
    told = {}
    for counter in (2, 3):
        life = OrderLife(1 << 32 | counter, instruments)
        moments = list(life.moments(iter(TailReader(clients.session.journal.path))))
        told[counter] = [(moment.status, describe(moment.record, life.instrument)) for moment in moments]
    assert told[2] == [
        ("", "client alice asks for its order a1: BUY 5 LIMIT at 100.00 GTC"),
        ("SUBMITTED", "submit BUY 5 LIMIT at 100.00 GTC"),
        ("ACCEPTED", "accepted: 5 at 100.00"),
        ("ACCEPTED", "client alice asks to cancel"),
        ("PENDING_CANCEL", "ask to cancel"),
    ]
    assert [text.partition(";")[0] for _, text in told[3]] == [
        "client alice asks for its order much: BUY 25 LIMIT at 100.00 GTC",
        "denied by our risk gate: strategy_position_qty_max, value 35, bound 20",
    ]


class Died(BaseException):
    """The process, at that point."""


@pytest.mark.parametrize("place", ["stepped", "journaled", "sent"])
def test_wherever_the_daemon_dies_the_same_name_makes_no_second_order(tmp_path: Path, place: str) -> None:
    clients = ClientSession(tmp_path)

    def die(name: str) -> None:
        if name == place:
            raise Died

    clients.session._point = die
    with pytest.raises(Died):
        clients.order()
    at_the_venue = sent(clients)
    clients.close()
    folder = StateFolder(tmp_path / "state" / "session")
    state = recover(folder, partial(build_bare_trader, load(tmp_path, TEXT))).state
    folder.release()
    known = [record.client_ref for record in state.client_refs]
    # What has left is known by its name. What is known and has not left is an open order to be asked the venue about.
    assert len(at_the_venue) <= len(known) <= 1
    assert [order.client_order_id for order in state.orders] == [record.client_order_id for record in state.client_refs]
    trader = build_bare_trader(load(tmp_path, TEXT))
    trader.step(StateRestored(10**18, 10**18, 1, state))
    event = ClientOrderRequested(10**18, 10**18, "alice", "a1", INSTRUMENT, Side.BUY, OrderType.LIMIT, 5, 10_000)
    trader.step(Quote(10**18, 10**18, INSTRUMENT, 10_000, 5, 10_001, 5))
    assert len(trader.step(event)) == 1 - len(known)
