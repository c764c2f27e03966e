"""The order store against the fault catalogue (shared VENUES.md, numbers in the names) and against a slow recount of exposure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.commands import ReplaceOrder
from core.enums import OrderStatus, Reason, Side
from core.errors import StateError
from core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    ReplaceRejected,
)
from core.market_state import MarketState
from core.order_store import OrderStore
from core.orders import TERMINAL, Order
from tests.core.records import EQUITY, accepted, canceled, filled, order_id, replaced, restated, store_of, submit

METHODS: dict[type, Callable[[OrderStore, Any], Any]] = {
    OrderAccepted: OrderStore.accepted,
    OrderRejected: OrderStore.rejected,
    OrderFilled: OrderStore.filled,
    OrderCanceled: OrderStore.canceled,
    OrderExpired: OrderStore.expired,
    OrderTriggered: OrderStore.triggered,
    OrderReplaced: OrderStore.replaced,
    OrderRestated: OrderStore.restated,
    CancelRejected: OrderStore.cancel_rejected,
    ReplaceRejected: OrderStore.replace_rejected,
    OrderOutcomeUnknown: OrderStore.lost,
}


def apply(store: OrderStore, *events: OrderEvent) -> None:
    for event in events:
        METHODS[type(event)](store, event)


def rejected(counter: int = 1, ts: int = 3) -> OrderRejected:
    return OrderRejected(ts, ts, order_id(counter), Reason.SIMULATED_REJECT)


def expired(counter: int = 1, ts: int = 3) -> OrderExpired:
    return OrderExpired(ts, ts, order_id(counter), 10)


def cancel_rejected(counter: int = 1, ts: int = 3) -> CancelRejected:
    return CancelRejected(ts, ts, order_id(counter), Reason.UNKNOWN_ORDER)


def replace_rejected(counter: int = 1, ts: int = 3) -> ReplaceRejected:
    return ReplaceRejected(ts, ts, order_id(counter), Reason.BAD_QTY)


def lost(counter: int = 1, ts: int = 3) -> OrderOutcomeUnknown:
    return OrderOutcomeUnknown(ts, ts, order_id(counter))


def submitted(quantity: int = 10, side: Side = Side.BUY) -> tuple[OrderStore, Order, MarketState]:
    store, states = store_of()
    order = store.create(submit(quantity=quantity, side=side))
    store.submitted(order)
    return store, order, states[EQUITY.instrument_id]


def everything(store: OrderStore, states: dict[str, MarketState]) -> Any:
    """All that the store may write, as plain values."""
    return (
        [tuple(getattr(order, name) for name in Order.__slots__) for order in store.orders.values()],
        list(store._open),
        list(store._closed),
        list(store._seen_executions),
        [(s.open_buy_qty, s.open_sell_qty, s.open_orders) for s in states.values()],
    )


def shape(order: Order, state: MarketState) -> dict[str, Any]:
    return {
        "status": order.status.name,
        "filled": order.filled_qty,
        "leaves": order.leaves_qty,
        "quantity": order.quantity,
        "price": order.price,
        "exposure": (state.open_buy_qty, state.open_sell_qty, state.open_orders),
    }


# The catalogue.


def test_22_the_same_fill_twice_is_booked_once() -> None:
    store, order, _ = submitted()
    first = store.filled(filled(qty=4, execution_id="e1"))
    second = store.filled(filled(qty=4, execution_id="e1", ts=9))
    assert (first is order, second, order.filled_qty) == (True, None, 4)


def test_22_two_orders_of_ours_that_meet_share_one_trade_id() -> None:
    store, states = store_of()
    for counter, side in ((1, Side.BUY), (2, Side.SELL)):
        store.submitted(store.create(submit(counter, side=side)))
    apply(store, filled(1, 10, execution_id="t1"), filled(2, 10, execution_id="t1", side=Side.SELL))
    assert [order.status.name for order in store.orders.values()] == ["FILLED", "FILLED"]
    assert everything(store, states)[-1] == [(0, 0, 0)]


def test_24_a_fill_before_the_acknowledgement() -> None:
    store, order, state = submitted()
    apply(store, filled(qty=4, leaves_qty=6), accepted(ts=3))
    assert shape(order, state) == {
        "status": "PARTIALLY_FILLED",
        "filled": 4,
        "leaves": 6,
        "quantity": 10,
        "price": 10_000,
        "exposure": (6, 0, 1),
    }


@pytest.mark.parametrize("end", [canceled, expired])
def test_25_a_fill_after_the_end_is_real_and_booked(end: Callable[[], OrderEvent]) -> None:
    store, order, state = submitted()
    apply(store, accepted(), end(), filled(qty=4, ts=2))
    assert (order.filled_qty, order.leaves_qty, state.open_buy_qty, state.open_orders) == (4, 0, 0, 0)
    assert order.status.name == ("CANCELED" if end is canceled else "EXPIRED")
    apply(store, filled(qty=6, execution_id="e2", ts=2))
    assert (order.status.name, order.filled_qty, state.open_orders) == ("FILLED", 10, 0)


def test_26_a_partial_fill_against_a_cancel() -> None:
    store, order, state = submitted()
    apply(store, accepted())
    store.cancel_requested(order, 2)
    apply(store, filled(qty=4, leaves_qty=6))
    assert (order.status.name, state.open_buy_qty) == ("PENDING_CANCEL", 6)
    apply(store, canceled(qty=6))
    assert (order.status.name, order.filled_qty, state.open_buy_qty, state.open_orders) == ("CANCELED", 4, 0, 0)


@pytest.mark.parametrize("fill_first", [True, False])
def test_27_a_cancel_rejected_because_it_was_filled(fill_first: bool) -> None:
    store, order, state = submitted()
    apply(store, accepted())
    store.cancel_requested(order, 2)
    events: list[OrderEvent] = [filled(qty=10), cancel_rejected()]
    apply(store, *(events if fill_first else reversed(events)))
    assert (order.status.name, state.open_buy_qty, state.open_orders) == ("FILLED", 0, 0)


def test_28_events_of_an_unknown_order_name_it() -> None:
    store, states = store_of()
    before = everything(store, states)
    for event in (
        accepted(7),
        rejected(7),
        filled(7),
        canceled(7),
        expired(7),
        replaced(7),
        restated(7),
        cancel_rejected(7),
        lost(7),
    ):
        with pytest.raises(StateError, match=str(order_id(7))):
            apply(store, event)
    assert everything(store, states) == before


def test_31_an_overfill_is_refused_and_changes_nothing() -> None:
    store, order, _ = submitted()
    apply(store, accepted(), filled(qty=8, leaves_qty=2))
    before = everything(store, {})
    with pytest.raises(StateError, match="exceed"):
        apply(store, filled(qty=3, execution_id="e2"))
    assert everything(store, {}) == before
    # Whoever asks first need not meet the error; what was booked already exceeds nothing.
    assert store.exceeds(filled(qty=3, execution_id="e2"))
    assert not store.exceeds(filled(qty=2, execution_id="e2"))
    assert not store.exceeds(filled(qty=8, leaves_qty=2))
    assert order.filled_qty == 8


def test_34_an_end_is_not_reopened() -> None:
    for end in (rejected(), canceled(), expired(), filled(qty=10)):
        store, order, state = submitted()
        apply(store, end)
        status = order.status
        for late in (accepted(ts=9), replaced(ts=9), restated(ts=9, leaves_qty=3), OrderTriggered(9, 9, order_id(1)), lost(ts=9)):
            before = everything(store, {})
            try:
                apply(store, late)
            except StateError:
                assert everything(store, {}) == before
            assert (order.status, order.leaves_qty, state.open_buy_qty, state.open_orders) == (status, 0, 0, 0)


@pytest.mark.parametrize("end", [rejected, canceled, expired])
def test_34_the_same_end_twice_counts_once(end: Callable[[], OrderEvent]) -> None:
    store, order, state = submitted()
    apply(store, end(), end())
    assert (order.status in TERMINAL, state.open_buy_qty, state.open_orders, len(store._closed)) == (True, 0, 0, 1)


def test_34_two_different_ends_contradict_each_other() -> None:
    ends = {"REJECTED": rejected(), "CANCELED": canceled(), "EXPIRED": expired(), "FILLED": filled(qty=10)}
    for first, second in permutations(ends, 2):
        store, order, _ = submitted()
        apply(store, ends[first])
        if second == "FILLED" and first != "REJECTED":
            apply(store, ends[second])  # fault 25
            assert order.status.name == "FILLED"
            continue
        if (first, second) == ("CANCELED", "REJECTED"):
            continue  # the same end: the test below
        if {first, second} == {"CANCELED", "EXPIRED"}:
            apply(store, ends[second])  # one end under two names
            assert order.status.name == first
            continue
        with pytest.raises(StateError):
            apply(store, ends[second])
        assert order.status.name == first


def test_an_order_found_gone_may_be_refused_after_that() -> None:
    """Who asks the venue for everything and who asks for this order may both find it gone, and say so in their own words."""
    store, order, state = submitted()
    apply(store, lost(), canceled(), rejected())
    assert (order.status.name, state.open_buy_qty, state.open_orders, len(store._closed)) == ("CANCELED", 0, 0, 1)
    store, order, _ = submitted()
    apply(store, accepted(), canceled())
    with pytest.raises(StateError):
        apply(store, rejected())


def life(*events: OrderEvent, replace_to: int = 0, cancel: bool = False) -> tuple[tuple[OrderEvent, ...], int, bool]:
    return events, replace_to, cancel


LIVES = {
    "two fills": life(accepted(), filled(qty=4, leaves_qty=6), filled(qty=6, execution_id="e2", ts=3)),
    "partial fill, cancel": life(accepted(), filled(qty=4, leaves_qty=6), canceled(qty=6), cancel=True),
    "partial fill, expiry": life(accepted(), filled(qty=4, leaves_qty=6), expired()),
    "cancel rejected, filled": life(accepted(), filled(qty=10), cancel_rejected(), cancel=True),
    "trigger, fill": life(accepted(), OrderTriggered(2, 2, order_id(1)), filled(qty=4, leaves_qty=6, ts=3)),
    "fill, smaller": life(accepted(), filled(qty=4, leaves_qty=6), replaced(price=9_990, ts=3), replace_to=5),
    "fill, smaller, fill": life(
        accepted(),
        filled(qty=4, leaves_qty=6),
        replaced(leaves_qty=5, ts=3),
        filled(qty=2, leaves_qty=3, execution_id="e2", ts=4),
        replace_to=5,
    ),
    "larger, fill": life(accepted(), replaced(leaves_qty=20, ts=3), filled(qty=10, leaves_qty=10, ts=4), replace_to=20),
    "larger, filled whole": life(accepted(), replaced(leaves_qty=20, ts=3), filled(qty=20, ts=4), replace_to=20),
    "replace rejected, cancel": life(accepted(), replace_rejected(ts=2), canceled(), replace_to=20, cancel=True),
    "smaller, cancel rejected": life(accepted(), replaced(leaves_qty=5, ts=2), cancel_rejected(), replace_to=5, cancel=True),
    "shrunk by the venue, fill": life(accepted(), restated(leaves_qty=5, ts=2), filled(qty=2, leaves_qty=3, ts=3)),
    "fill, shrunk by the venue": life(accepted(), filled(qty=2, leaves_qty=8, ts=2), restated(leaves_qty=5, ts=3)),
}


@pytest.mark.parametrize("name", LIVES)
def test_35_every_order_of_arrival_ends_alike(name: str) -> None:
    events, replace_to, cancel = LIVES[name]
    ends: dict[str, list[str]] = {}
    for arrival in permutations(events):
        store, order, state = submitted()
        if replace_to:
            store.replace_requested(order, ReplaceOrder(1, order_id(1), replace_to, 9_990))
        if cancel:
            store.cancel_requested(order, 1)
        apply(store, *arrival)
        ends.setdefault(repr(shape(order, state)), []).append(" ".join(type(event).__name__ for event in arrival))
    assert len(ends) == 1, ends


def test_a_fill_that_contradicts_its_order_is_refused() -> None:
    for changes in ({"side": Side.SELL}, {"instrument_id": "MSFT.XNAS"}, {"qty": 0}, {"qty": -1}, {"price": 0}, {"price": -5}):
        store, _, _ = submitted()
        before = everything(store, {})
        with pytest.raises(StateError):
            apply(store, filled(**changes))
        assert everything(store, {}) == before, changes


# UNKNOWN and pending requests keep the worst case reserved.


def test_unknown_keeps_its_exposure_until_a_fact_ends_it() -> None:
    store, order, state = submitted()
    apply(store, lost())
    store.cancel_requested(order, 4)
    apply(store, cancel_rejected(), lost())
    assert (order.status.name, state.open_buy_qty, state.open_orders) == ("UNKNOWN", 10, 1)
    apply(store, filled(qty=4, leaves_qty=6))
    assert (order.status.name, state.open_buy_qty) == ("PARTIALLY_FILLED", 6)
    apply(store, canceled())
    assert (order.status.name, state.open_buy_qty, state.open_orders) == ("CANCELED", 0, 0)


def test_a_request_lost_after_the_end_changes_nothing() -> None:
    store, order, state = submitted()
    apply(store, accepted())
    store.cancel_requested(order, 2)
    apply(store, filled(qty=10), lost())
    assert (order.status.name, state.open_buy_qty, state.open_orders) == ("FILLED", 0, 0)


def test_a_pending_replace_reserves_the_larger_quantity() -> None:
    store, order, state = submitted()
    apply(store, accepted())
    steps = []
    store.replace_requested(order, ReplaceOrder(2, order_id(1), 20, 10_000))
    steps.append((order.status.name, state.open_buy_qty))
    apply(store, filled(qty=3, leaves_qty=7, ts=2))
    steps.append((order.status.name, state.open_buy_qty))
    apply(store, restated(leaves_qty=5, ts=3))
    steps.append((order.status.name, state.open_buy_qty))
    store.cancel_requested(order, 4)
    apply(store, cancel_rejected(ts=5))
    steps.append((order.status.name, state.open_buy_qty))
    apply(store, replace_rejected(ts=6))
    steps.append((order.status.name, state.open_buy_qty))
    assert steps == [
        ("PENDING_REPLACE", 20),
        ("PENDING_REPLACE", 17),
        ("PENDING_REPLACE", 17),
        ("PENDING_REPLACE", 17),
        ("PARTIALLY_FILLED", 5),
    ]


def test_a_late_acknowledgement_does_not_undo_the_price_of_a_replace() -> None:
    store, order, _ = submitted()
    store.replace_requested(order, ReplaceOrder(1, order_id(1), 5, 9_990))
    apply(store, replaced(price=9_990, leaves_qty=5), accepted(ts=1, price=10_000))
    assert (order.price, order.status.name) == (9_990, "ACCEPTED")


@pytest.mark.parametrize("leaves_qty", [-1, 11])
def test_a_venue_cannot_shrink_an_order_below_nothing_or_upwards(leaves_qty: int) -> None:
    store, _, state = submitted()
    before = everything(store, {})
    with pytest.raises(StateError):
        apply(store, restated(leaves_qty=leaves_qty))
    assert everything(store, {}) == before
    assert state.open_buy_qty == 10


# Bounded memory.


def test_closed_orders_are_forgotten_oldest_first_and_a_late_fill_says_so() -> None:
    store, _ = store_of(closed_kept_max=3)
    for counter in range(1, 8):
        store.submitted(store.create(submit(counter)))
        apply(store, canceled(counter))
    assert list(store.orders) == [order_id(5), order_id(6), order_id(7)]
    with pytest.raises(StateError, match="closed too long ago"):
        apply(store, filled(1))
    assert store.filled(filled(5)) is store.get(order_id(5))


def test_open_orders_are_never_forgotten() -> None:
    store, _ = store_of(closed_kept_max=2)
    kept = store.create(submit(1))
    store.submitted(kept)
    for counter in range(2, 50):
        store.denied(store.create(submit(counter)))
    assert store.get(order_id(1)) is kept
    assert len(store.orders) == 3


def test_execution_ids_are_bounded_and_outlive_their_order() -> None:
    store, _ = store_of(closed_kept_max=0, executions_kept_max=2)
    store.submitted(store.create(submit(1)))
    apply(store, filled(1, 5, 5, "e1"), filled(1, 5, 0, "e2"))
    assert store.get(order_id(1)) is None
    assert store.filled(filled(1, 5, 5, "e1")) is None  # a duplicate, though its order is forgotten
    store.submitted(store.create(submit(2)))
    apply(store, filled(2, 5, 5, "e3"))
    assert len(store._seen_executions) == 2


def test_an_order_id_is_never_used_twice() -> None:
    store, _, _ = submitted()
    with pytest.raises(AssertionError):
        store.create(submit(1))


KINDS = [
    "accepted",
    "rejected",
    "filled",
    "filled",  # the commonest
    "canceled",
    "expired",
    "triggered",
    "replaced",
    "restated",
    "cancel_rejected",
    "replace_rejected",
    "lost",
]


class Exposure(RuleBasedStateMachine):
    """Random requests and random, often impossible, facts: exposure is recounted slowly, and what raises changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.states = store_of(EQUITY, closed_kept_max=4)
        self.counter = 0
        self.ts = 0

    def attempt(self, call: Callable[[], object]) -> None:
        before = everything(self.store, self.states)
        try:
            call()
        except StateError:
            assert everything(self.store, self.states) == before, "a call that raised left something changed"

    @rule(quantity=st.integers(1, 20), side=st.sampled_from(Side), deny=st.booleans())
    def create(self, quantity: int, side: Side, deny: bool) -> None:
        self.counter += 1
        order = self.store.create(submit(self.counter, quantity, side=side))
        (self.store.denied if deny else self.store.submitted)(order)

    @rule(back=st.integers(0, 4))
    def request_cancel(self, back: int) -> None:
        order = self.store.get(order_id(max(self.counter - back, 1)))
        if order is not None:
            self.attempt(lambda: self.store.cancel_requested(order, self.ts))

    @rule(back=st.integers(0, 4), quantity=st.integers(1, 30))
    def request_replace(self, back: int, quantity: int) -> None:
        order = self.store.get(order_id(max(self.counter - back, 1)))
        if order is not None:
            command = ReplaceOrder(self.ts, order.client_order_id, quantity, 10_000)
            self.attempt(lambda: self.store.replace_requested(order, command))

    @rule(
        back=st.integers(0, 4),
        kind=st.sampled_from(KINDS),
        qty=st.integers(-1, 20),
        leaves_qty=st.integers(-1, 20),
        late=st.integers(0, 5),
        side=st.sampled_from(Side),
        execution=st.integers(0, 30),
    )
    def fact(self, back: int, kind: str, qty: int, leaves_qty: int, late: int, side: Side, execution: int) -> None:
        self.ts += 1
        ts, counter = max(self.ts - late, 0), max(self.counter - back, 1)
        event: OrderEvent = {
            "accepted": accepted(counter, ts),
            "rejected": rejected(counter, ts),
            "filled": filled(counter, qty, leaves_qty, f"e{execution}", ts, side=side),
            "canceled": canceled(counter, qty, ts),
            "expired": expired(counter, ts),
            "triggered": OrderTriggered(ts, ts, order_id(counter)),
            "replaced": replaced(counter, leaves_qty=leaves_qty, ts=ts),
            "restated": restated(counter, leaves_qty, ts),
            "cancel_rejected": cancel_rejected(counter, ts),
            "replace_rejected": replace_rejected(counter, ts),
            "lost": lost(counter, ts),
        }[kind]
        self.attempt(lambda: apply(self.store, event))

    @invariant()
    def exposure_is_the_sum_over_open_orders(self) -> None:
        orders = self.store.orders.values()
        open_orders = [order for order in orders if order.status not in TERMINAL]
        state = self.states[EQUITY.instrument_id]
        assert state.open_buy_qty == sum(order.reserved_qty for order in open_orders if order.side is Side.BUY)
        assert state.open_sell_qty == sum(order.reserved_qty for order in open_orders if order.side is Side.SELL)
        assert state.open_orders == len(open_orders)
        assert self.store.open_orders() == open_orders

    @invariant()
    def each_order_is_consistent(self) -> None:
        for order in self.store.orders.values():
            assert 0 <= order.filled_qty <= order.quantity, order
            assert order.leaves_qty >= 0, order
            if order.status in TERMINAL:
                assert (order.reserved_qty, order.leaves_qty) == (0, 0), order
                assert (order.status is OrderStatus.FILLED) <= (order.filled_qty == order.quantity), order
            else:
                assert order.reserved_qty >= max(order.leaves_qty, order.replace_qty), order

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.store._closed) <= self.store.closed_kept_max


TestExposure = Exposure.TestCase
TestExposure.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_doubt_is_as_old_as_it_is_however_often_a_cancel_is_tried() -> None:
    store, _ = store_of(EQUITY)
    order = store.create(submit(1))
    store.submitted(order)
    store.lost(OrderOutcomeUnknown(5, 5, order.client_order_id, "timeout"))
    for ts in (6, 8):
        store.cancel_requested(order, ts)
        store.cancel_rejected(CancelRejected(ts + 1, ts + 1, order.client_order_id, Reason.NOT_SENT))
        store.lost(OrderOutcomeUnknown(ts + 1, ts + 1, order.client_order_id, "timeout"))
    assert (order.status, order.ts_updated) == (OrderStatus.UNKNOWN, 5)
    store.accepted(accepted(1, ts=20))
    assert order.ts_updated == 20
