"""Our orders against the venue's word: every difference becomes an event, and after those events there is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core.commands import ReplaceOrder
from core.enums import LiquiditySide, OrderStatus, Reason, Side
from core.events import (
    AnyEvent,
    CancelAllRequested,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderReplaced,
)
from core.trader import Trader
from core.venue_adapter import VenueOrder, VenueState
from daemon.trading.reconcile import ForeignPolicy, Kind, Look, held_since, look, position_differences
from tests.daemon.trading.harness import INSTRUMENT, START, open_session, quote

NOW = START + 1_000


def reconcile(trader: Trader, venue: VenueState, ts: int, policy: ForeignPolicy = ForeignPolicy.HALT) -> Look:
    return look(trader, msgspec.structs.replace(venue, not_found_ns=0), ts, policy)


def trader_with_order(folder: Path, *events: str) -> tuple[Trader, int]:
    """A Trader with one buy order of 1, and what happened to it."""
    session = open_session(folder)
    session.process([quote()])
    trader = session.trader
    (order,) = trader.orders.open_orders()
    order_id = order.client_order_id
    for name in events:
        match name:
            case "accepted":
                trader.step(OrderAccepted(START, START, order_id, 10_000, 1))
            case "unknown":
                trader.step(OrderOutcomeUnknown(START, START, order_id))
            case "cancel":
                trader.step(CancelAllRequested(START, START, "test"))
            case "replace":
                trader.orders.replace_requested(order, ReplaceOrder(START, order_id, 1, 9_999))
    session.journal.abandon()
    session._folder.release()
    return trader, order_id


def fill(order_id: int, execution_id: str = "x1") -> OrderFilled:
    return OrderFilled(
        START + 5, START + 5, order_id, INSTRUMENT, execution_id, Side.BUY, 10_000, 1, 0, LiquiditySide.MAKER, 0, "USD"
    )


def resting(order_id: int | None, price: int = 10_000) -> VenueOrder:
    return VenueOrder(order_id, INSTRUMENT, Side.BUY, price, 1)


@pytest.mark.parametrize("before", [(), ("accepted",), ("unknown",), ("accepted", "cancel"), ("accepted", "replace")])
@pytest.mark.parametrize("truth", ["gone", "filled", "resting"])
def test_whatever_we_knew_the_venue_decides(tmp_path: Path, before: tuple[str, ...], truth: str) -> None:
    trader, order_id = trader_with_order(tmp_path, *before)
    position = 1 if truth == "filled" else 0
    venue = VenueState(
        open_orders=(resting(order_id),) if truth == "resting" else (),
        executions=(fill(order_id),) if truth == "filled" else (),
        positions={INSTRUMENT: position},
    )
    facts = reconcile(trader, venue, NOW)
    assert facts.problems == ()
    for event in facts.events:
        trader.step(event)
    order = trader.orders.get(order_id)
    assert order is not None
    wanted = {"gone": OrderStatus.CANCELED, "filled": OrderStatus.FILLED, "resting": OrderStatus.ACCEPTED}
    assert order.status is wanted[truth]
    assert not order.replace_in_flight or truth != "resting"
    assert position_differences(trader, venue) == []
    assert reconcile(trader, venue, NOW).events == (), "done twice is done once"


def test_an_order_that_is_gone_is_recorded_as_such(tmp_path: Path) -> None:
    trader, order_id = trader_with_order(tmp_path, "accepted")
    events = reconcile(trader, VenueState((), (), {}), NOW).events
    assert events == (OrderCanceled(NOW, NOW, order_id, 1, Reason.UNKNOWN_ORDER),)


def test_a_cancel_that_the_venue_knows_no_order_for_does_not_put_off_that_it_is_gone(tmp_path: Path) -> None:
    trader, order_id = trader_with_order(tmp_path, "accepted")
    venue = VenueState((), (), {})
    first = reconcile(trader, venue, NOW)
    trader.step(CancelAllRequested(NOW + 1, NOW + 1, "test"))
    during = reconcile(trader, venue, NOW + 2).lasting(first)
    trader.step(CancelRejected(NOW + 3, NOW + 3, order_id, Reason.UNKNOWN_ORDER))
    behind = reconcile(trader, venue, NOW + 4).lasting(first)
    for found, ts in ((during, NOW + 2), (behind, NOW + 4)):
        assert found.events == (OrderCanceled(ts, ts, order_id, 1, Reason.UNKNOWN_ORDER),)


@pytest.mark.parametrize("before", [(), ("accepted", "unknown"), ("accepted", "replace")])
def test_a_word_of_the_venue_between_two_looks_begins_anew(tmp_path: Path, before: tuple[str, ...]) -> None:
    trader, order_id = trader_with_order(tmp_path, *before)
    venue = VenueState((), (), {})
    first = reconcile(trader, venue, NOW)
    is_replaced = "replace" in before
    said = OrderReplaced(NOW, NOW, order_id, 9_999, 1) if is_replaced else OrderAccepted(NOW, NOW, order_id, 10_000, 1)
    trader.step(said)
    assert reconcile(trader, venue, NOW + 2).lasting(first).events == ()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ((), OrderAccepted(NOW, NOW, 0, 10_000, 1)),
        (("accepted", "cancel"), CancelRejected(NOW, NOW, 0, Reason.NONE)),
        (("accepted", "replace"), OrderReplaced(NOW, NOW, 0, 10_000, 1)),
    ],
    ids=["acknowledged", "the cancel was lost", "the replace was answered"],
)
def test_an_order_that_rests_is_taken_over(tmp_path: Path, before: tuple[str, ...], expected: AnyEvent) -> None:
    trader, order_id = trader_with_order(tmp_path, *before)
    events = reconcile(trader, VenueState((resting(order_id),), (), {}), NOW).events
    assert events == (msgspec.structs.replace(expected, client_order_id=order_id),)


def test_what_is_not_ours_is_named_and_left_alone(tmp_path: Path) -> None:
    trader, order_id = trader_with_order(tmp_path, "accepted")
    venue = VenueState((resting(order_id), resting(None), resting(order_id + 1)), (fill(order_id + 2),), {})
    facts = reconcile(trader, venue, NOW)
    assert facts.events == ()
    assert len(facts.problems) == 3


@pytest.mark.parametrize("request_made", ["cancel", "replace"])
def test_more_than_we_know_of_counts_though_a_request_is_under_way(tmp_path: Path, request_made: str) -> None:
    """A power cut may take away that an order was made larger: what the venue shows of it is counted at once."""
    trader, order_id = trader_with_order(tmp_path, "accepted", request_made)
    order = trader.orders.orders[order_id]
    known = max(order.leaves_qty, order.replace_qty)
    for more, expected in ((0, ()), (3, (OrderReplaced(NOW, NOW, order_id, 10_000, known + 3),))):
        shown = msgspec.structs.replace(resting(order_id), leaves_qty=known + more)
        found = look(trader, VenueState((shown,), (), {}), NOW, ForeignPolicy.HALT)
        assert found.events == expected
    trader.step(found.events[0])
    assert (order.leaves_qty, order.is_open) == (known + 3, True)


def test_a_position_that_was_ours_when_the_venue_looked_is_no_difference(tmp_path: Path) -> None:
    """Of several venues the first has looked long before the last has answered, and fills came in meanwhile."""
    trader, order_id = trader_with_order(tmp_path, "accepted")
    trader.step(booked := fill(order_id))
    held = held_since(trader, [booked])
    assert held == {INSTRUMENT: {0, 1}}
    assert held_since(trader, []) == {}
    for position, differs in ((0, False), (1, False), (2, True), (-1, True)):
        venue = VenueState((), (booked,), {INSTRUMENT: position})
        found = look(trader, venue, NOW, ForeignPolicy.HALT, held=held)
        assert found.has(Kind.POSITION) is differs
        assert bool(position_differences(trader, venue, held)) is differs
    assert look(trader, VenueState((), (booked,), {INSTRUMENT: 0}), NOW, ForeignPolicy.HALT).has(Kind.POSITION)


def test_a_position_that_no_fill_explains_is_a_difference(tmp_path: Path) -> None:
    trader, _ = trader_with_order(tmp_path)
    assert position_differences(trader, VenueState((), (), {INSTRUMENT: 3})) == ["ACME.SIM: 0 here, 3 at the venue"]


def partial_fill(order_id: int, execution_id: str, qty: int, leaves_qty: int) -> OrderFilled:
    return msgspec.structs.replace(fill(order_id, execution_id), qty=qty, leaves_qty=leaves_qty)


@pytest.mark.parametrize("before", [(), ("accepted",), ("unknown",), ("accepted", "cancel"), ("accepted", "replace")])
@pytest.mark.parametrize("leaves", [0, 2], ids=["done", "rests"])
@pytest.mark.parametrize("fills", [(1,), (2, 3), (5,)])
def test_an_order_that_grew_at_the_venue_grows_here(
    tmp_path: Path, before: tuple[str, ...], leaves: int, fills: tuple[int, ...]
) -> None:
    # A power cut took the replace that we had sent, or somebody changed the order at the venue's own desk.
    trader, order_id = trader_with_order(tmp_path, *before)
    executions = tuple(partial_fill(order_id, f"x{n}", qty, sum(fills[n + 1 :]) + leaves) for n, qty in enumerate(fills))
    open_orders = (VenueOrder(order_id, INSTRUMENT, Side.BUY, 10_000, leaves),) if leaves else ()
    venue = VenueState(open_orders, executions, {INSTRUMENT: sum(fills)})
    facts = reconcile(trader, venue, NOW)
    assert facts.problems == ()
    for event in facts.events:
        trader.step(event)
    order = trader.orders.get(order_id)
    assert order is not None
    assert (order.filled_qty, order.leaves_qty, order.is_open) == (sum(fills), leaves, leaves > 0)
    assert position_differences(trader, venue) == []
    assert reconcile(trader, venue, NOW).events == (), "done twice is done once"


def test_an_execution_that_the_order_cannot_bring_about_is_named_and_not_booked(tmp_path: Path) -> None:
    trader, order_id = trader_with_order(tmp_path, "accepted")
    sold = msgspec.structs.replace(fill(order_id), side=Side.SELL)
    facts = reconcile(trader, VenueState((resting(order_id),), (sold,), {}), NOW)
    assert (facts.events, facts.problems) == (
        (),
        (f"execution x1, SELL 1 units of ACME.SIM, cannot be of order {order_id} (ACCEPTED)",),
    )
    trader.step(OrderCanceled(NOW, NOW, order_id, 1, Reason.REQUESTED))
    late = reconcile(trader, VenueState((), (partial_fill(order_id, "x2", 7, 0),), {}), NOW)
    assert late.problems == (f"execution x2, BUY 7 units of ACME.SIM, cannot be of order {order_id} (CANCELED)",)
