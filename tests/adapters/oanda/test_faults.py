"""What goes wrong at the venue and on the way, one fault at a time: no order twice, no fill lost, and what is unknown is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.oanda.io import DOUBT_INTERVAL_S
from core.enums import MarketStatus, OrderStatus, Reason, Side
from core.errors import ConfigError, RefusedError, TransportError
from core.events import ForeignOrderFound, GapDetected, OrderCanceled, OrderFilled, OrderRejected, Quote, StatusChanged
from core.orders import Order
from core.venue_adapter import VenueState
from core.venue_opening import Role
from tests.adapters.oanda.world import ACCOUNT, EURO, MID, MS, POUND, TOKEN, S, World

ASK, BID = MID + 7, MID - 7
# What is done although the answer is lost, late or wrong: a transaction tells it. And what is not done.
DONE = (2, 3, 4, 8, 9, 10, 11)
NOT_DONE = (1, 5, 14, 15, 39, 62)


def begun(**more: object) -> World:
    world = World(**more)  # type: ignore[arg-type]
    world.begin()
    return world


def ended(world: World) -> None:
    problems = world.audit()
    world.end()
    assert problems == []


@pytest.mark.parametrize("fault", DONE)
def test_an_order_whose_answer_is_lost_is_found_by_its_transaction(fault: int) -> None:
    world = begun()
    world.arm(fault)
    order = world.submit(1_000, BID - 100)
    assert world.until(lambda: order.status is OrderStatus.ACCEPTED)
    assert order.venue_leaves_qty == 1_000
    world.arm(fault)
    taken = world.submit(1_000)
    assert world.until(lambda: taken.status is OrderStatus.FILLED)
    world.run_for(90 * S)
    assert (order.status, taken.filled_qty, len(world.venue.ledger()["orders"])) == (OrderStatus.ACCEPTED, 1_000, 2)
    ended(world)


@pytest.mark.parametrize("fault", DONE)
def test_the_same_where_the_stream_is_silent_too(fault: int) -> None:
    """Only the question can say it then."""
    world = begun()
    world.arm(fault)
    world.arm(42, times=10)
    order = world.submit(1_000)
    assert world.until(lambda: order.status is OrderStatus.FILLED, 30)
    ended(world)


@pytest.mark.parametrize("fault", NOT_DONE)
def test_an_order_that_never_was_is_unknown_until_the_transactions_prove_it(fault: int) -> None:
    world = begun()
    world.arm(fault)
    order = world.submit(1_000, BID - 100)
    assert world.until(lambda: order.status is OrderStatus.UNKNOWN)
    since = world.now()
    # A strategy that asks for a cancel again and again does not hold the proof up.
    world.cancel(order)
    assert world.until(lambda: order.status is not OrderStatus.UNKNOWN)
    assert world.now() >= since + 15 * S
    canceled = world.events_of(order)[-1]
    assert isinstance(canceled, OrderCanceled)
    assert (canceled.qty, canceled.reason) == (1_000, Reason.UNKNOWN_ORDER)
    assert world.query().open_orders == ()
    assert world.venue.ledger()["orders"] == []
    world.end()


@pytest.mark.parametrize("act", ["cancel", "replace"])
def test_a_change_that_was_never_done_leaves_the_order_as_it_was(act: str) -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.arm(5)
    if act == "cancel":
        world.cancel(order)
    else:
        world.replace(order, 700, BID - 90)
    assert world.until(lambda: order.status is OrderStatus.UNKNOWN)
    assert world.until(lambda: order.status is OrderStatus.ACCEPTED)
    assert (order.leaves_qty, order.price, order.replace_in_flight) == (1_000, BID - 100, False)
    world.cancel(order)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    ended(world)


def test_too_many_requests_are_a_refusal() -> None:
    world = begun()
    world.arm(37)
    order = world.settle(world.submit(1_000, BID - 100))
    rejected = world.events_of(order)[-1]
    assert isinstance(rejected, OrderRejected)
    assert (rejected.text, world.venue.ledger()["orders"]) == ("throttled", [])
    # Afterwards everything goes on.
    order = world.settle(world.submit(1_000, BID - 100))
    assert order.status is OrderStatus.ACCEPTED
    ended(world)


@pytest.mark.parametrize("fault", [2, 3, 4, 8, 9, 10])
@pytest.mark.parametrize("act", ["cancel", "replace"])
def test_changes_whose_answer_is_lost(fault: int, act: str) -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.arm(fault)
    if act == "cancel":
        world.cancel(order)
        assert world.until(lambda: order.status is OrderStatus.CANCELED)
    else:
        world.replace(order, 700, BID - 90)
        assert world.until(lambda: (order.leaves_qty, order.price, order.status) == (700, BID - 90, OrderStatus.ACCEPTED))
        world.run_for(90 * S)
        world.cancel(order)
        assert world.until(lambda: order.status is OrderStatus.CANCELED)
    world.run_for(90 * S)
    ended(world)


@pytest.mark.parametrize("fault", [22, 24, 35, 40, 41, 42, 43])
def test_the_stream_repeats_reorders_leaves_out_falls_silent_and_is_cut(fault: int) -> None:
    world = begun()
    for side in (Side.BUY, Side.SELL, Side.BUY):
        world.arm(fault)
        order = world.submit(1_000, side=side)
        assert world.until(lambda order=order: order.status is OrderStatus.FILLED, 60)  # type: ignore[misc]
        world.act("manual_order", account=ACCOUNT, instrument="EUR_USD", units=100)
        world.run_for(20 * S)
    assert sum(isinstance(event, OrderFilled) for event in world.events) == 6
    assert world.query().positions[EURO] == 1_300
    ended(world)


def test_fills_while_the_stream_is_away_are_told_before_the_comparison() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    told: list[int] = []
    world.on_reconnected = lambda state: told.append(sum(isinstance(event, OrderFilled) for event in world.events))
    world.act("cut", account=ACCOUNT)
    world.quote(MID - 200)
    assert world.until(lambda: bool(world.reconnects))
    assert told == [1]
    assert order.status is OrderStatus.FILLED
    (fill,) = world.reconnects[0].executions
    assert (fill.client_order_id, fill.qty) == (order.client_order_id, 1_000)
    ended(world)


def test_while_the_stream_is_away_orders_wait_for_nothing_and_cancels_go() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.act("cut", account=ACCOUNT)
    world.run_for(100 * MS)
    refused, changed = world.submit(1_000, BID - 100), world.settle(world.submit(500, BID - 100))
    world.cancel(order)
    world.run_for(300 * MS)
    assert (refused.status, changed.status) == (OrderStatus.REJECTED, OrderStatus.REJECTED)
    assert order.status is OrderStatus.CANCELED
    assert world.until(lambda: bool(world.reconnects))
    assert world.settle(world.submit(1_000, BID - 100)).status is OrderStatus.ACCEPTED
    ended(world)


def test_cancels_of_the_comparison_leave_with_it() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))

    def cancel(state: VenueState) -> None:
        assert [found.client_order_id for found in state.open_orders] == [order.client_order_id]
        world.cancel(order)

    world.on_reconnected = cancel
    world.act("cut", account=ACCOUNT)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    ended(world)


def test_a_cancel_of_what_is_filled_is_refused() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.arm(42, times=5)
    world.quote(MID - 200)
    world.cancel(order)
    assert world.until(lambda: order.status is OrderStatus.FILLED)
    world.run_for(S)
    assert world.names_of(order).count("OrderFilled") == 1
    ended(world)


def test_a_cancel_that_was_never_done_is_seen_by_the_next_look() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.arm(29)
    world.cancel(order)
    world.settle(order)
    assert order.status is OrderStatus.CANCELED
    # The venue says something else: this is what halts the daemon.
    assert [found.client_order_id for found in world.query().open_orders] == [order.client_order_id]
    world.end()


def test_an_account_that_forgot_its_orders() -> None:
    world = begun()
    order = world.settle(world.submit(1_000, BID - 100))
    world.act("lose", account=ACCOUNT)
    assert world.query().open_orders == ()
    world.cancel(order)
    world.settle(order)
    assert world.names_of(order)[-1] == "CancelRejected"
    world.end()


# Market data.


def quotes(world: World) -> list[Quote]:
    return [event for event in world.events if isinstance(event, Quote)]


@pytest.mark.parametrize("fault", [54, 55])
def test_a_price_that_is_none_costs_the_stream(fault: int) -> None:
    world = begun(names=(EURO,))
    before = len(quotes(world))
    world.arm(fault)
    world.quote(MID + 1)
    world.run_for(10 * S)
    gaps = [event for event in world.events if isinstance(event, GapDetected)]
    assert [gap.instrument_id for gap in gaps] == [EURO]
    assert len(quotes(world)) > before
    assert all(0 < quote.bid_price < quote.ask_price for quote in quotes(world))
    ended(world)


def test_an_old_price_behind_a_newer_one_is_dropped() -> None:
    world = begun(names=(EURO,))
    world.arm(51)
    world.quote(MID + 50)
    world.run_for(S)
    assert quotes(world)[-1].bid_price == BID + 50
    ended(world)


def test_a_crossed_price_and_large_numbers_are_told_as_they_are() -> None:
    world = begun(names=(EURO,))
    world.arm(50)
    world.quote(MID + 5)
    world.run_for(S)
    crossed = quotes(world)[-1]
    assert (crossed.bid_price, crossed.ask_price) == (ASK + 5, BID + 5)
    world.arm(56)
    world.quote(MID + 6)
    world.run_for(S)
    assert quotes(world)[-1].ask_qty == (1 << 53) + 1
    ended(world)


def test_a_halt_is_told_and_so_is_its_end() -> None:
    world = begun()
    world.act("halt", instrument="EUR_USD")
    world.run_for(S)
    world.act("resume", instrument="EUR_USD")
    world.run_for(S)
    said = [event.status for event in world.events if isinstance(event, StatusChanged)]
    assert said == [MarketStatus.HALTED, MarketStatus.TRADING]
    ended(world)


def test_prices_that_stop_are_a_gap() -> None:
    world = begun()
    for connection in world.venue.streams.connections_of(world.book, prices=True):
        world.venue.streams._streams[connection].is_silent = True
    assert world.until(lambda: any(isinstance(event, GapDetected) for event in world.events), 30)
    world.run_for(3 * S)
    assert isinstance(quotes(world)[-1], Quote)
    ended(world)


# The account.


@pytest.mark.parametrize(
    ("prepare", "error", "text"),
    [
        (lambda world: setattr(world.book, "hedging", True), ConfigError, "hedgingEnabled"),
        (lambda world: world.arm(61), RefusedError, "Insufficient authorization"),
        (lambda world: world.arm(62, times=9), TransportError, "503"),
        (lambda world: world.arm(57), ConfigError, "displayPrecision is 4"),
        (lambda world: setattr(world.book, "token", TOKEN + "x"), RefusedError, "Insufficient authorization"),
    ],
)
def test_what_cannot_be_opened(prepare: Callable[[World], None], error: type[Exception], text: str) -> None:
    world = World()
    prepare(world)
    with pytest.raises(error, match=text):
        world.begin()
    world.end()


def test_an_account_of_another_token_and_a_clock_that_is_wrong() -> None:
    world = World()
    with pytest.raises(RefusedError, match="does not open 101-001-1000009-001"):
        world.begin(account="101-001-1000009-001")
    with pytest.raises(ConfigError, match="100 s apart"):
        world.begin(now=lambda: world.now() + 100 * S)
    world.end()


def test_rules_that_change_are_told_and_their_orders_refused() -> None:
    world = begun()
    world.act("coarsen")
    order = world.settle(world.submit(1_000, BID - 101))
    rejected = world.events_of(order)[-1]
    assert isinstance(rejected, OrderRejected)
    assert (rejected.reason, rejected.text) == (Reason.BAD_TICK, "PRICE_PRECISION_EXCEEDED")
    world.run_for(2 * S)
    assert any("displayPrecision is 4" in trouble for trouble in world.troubles)
    world.end()


# Restarts, room, watching.


def test_a_new_process_takes_the_orders_of_the_one_before_over() -> None:
    world = begun()
    order, other = world.settle(world.submit(1_000, BID - 100)), world.settle(world.submit(900, BID - 110))
    world.stop()
    world.quote(MID - 95)
    world.begin(first_order_id=(4 << 32) + 1)
    state = world.query()
    assert {found.client_order_id for found in state.open_orders} == {order.client_order_id, other.client_order_id}
    world.quote(MID - 116)
    assert world.until(lambda: order.status is OrderStatus.FILLED)
    world.cancel(other)
    assert world.until(lambda: other.status is OrderStatus.CANCELED)
    assert isinstance(world.events_of(other)[-1], OrderCanceled)
    ended(world)


def test_an_order_of_somebody_else_is_adopted() -> None:
    world = begun()
    world.act("manual_limit", account=ACCOUNT, instrument="EUR_USD", units=500, price=BID - 40)
    (found,) = world.query().open_orders
    assert world.adapter is not None
    world.counter = 900
    order = adopted(world, found.venue_order_id)
    world.adapter.adopt(order.client_order_id, found)
    (again,) = world.query().open_orders
    assert again.client_order_id == order.client_order_id
    world.cancel(order)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    world.end()


def adopted(world: World, name: str) -> Order:
    event = ForeignOrderFound(world.now(), world.now(), (3 << 32) + 901, EURO, Side.BUY, BID - 40, 500, name)
    return world.store.adopt(event)


def test_events_wait_in_order_where_there_is_no_room() -> None:
    world = begun()
    world.room = 0
    order = world.submit(1_000)
    world.run_for(5 * S)
    assert world.events_of(order) == []
    world.room = 10**9
    assert world.until(lambda: order.status is OrderStatus.FILLED)
    assert world.names_of(order) == ["OrderAccepted", "OrderFilled"]
    ended(world)


def test_watching_sends_nothing_and_hears_everything() -> None:
    world = World(role=Role.WATCH, subscriptions=[])
    world.begin()
    world.quote(MID + 3)
    world.run_for(S)
    assert {quote.instrument_id for quote in quotes(world)} == {EURO, POUND}
    order = world.submit(1_000)
    world.run_for(S)
    assert order.status is OrderStatus.REJECTED
    assert world.venue.ledger()["orders"] == []
    world.end()


def test_no_more_than_two_new_connections_a_second() -> None:
    world = begun()
    opened: list[int] = []
    connected = world.venue.connected
    world.venue.connected = lambda ts, number: (opened.append(ts), connected(ts, number))[1]  # type: ignore[method-assign,assignment,func-returns-value]
    orders = [world.submit(100, BID - 100 - place) for place in range(30)]
    assert world.until(lambda: all(order.accepted for order in orders))
    world.act("cut", account=ACCOUNT)
    world.cancel_all()
    assert world.until(lambda: not world.store.open_orders())
    assert all(later - earlier > S for earlier, later in zip(opened, opened[2:], strict=False))
    assert DOUBT_INTERVAL_S > 0
    ended(world)


def test_no_secret_is_in_any_frame_or_trouble() -> None:
    world = begun()
    world.arm(61)
    world.settle(world.submit(1_000))
    world.run_for(5 * S)
    assert len(world.frames) > 10
    assert not [frame for frame in world.frames if TOKEN.encode() in frame[2]]
    assert not [trouble for trouble in world.troubles if TOKEN in trouble]
    world.end()
