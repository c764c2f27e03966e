"""The transition table, whole: compared with a file one can read, and walked."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.enums import OrderStatus
from core.errors import StateError
from core.orders import PENDING_OR_WORKING, TERMINAL, TRANSITIONS, WORKING, Order, Trigger
from tests.core.records import store_of, submit

GOLDEN = Path(__file__).parent / "golden" / "transitions.txt"
SHORT = {WORKING: "(working)", PENDING_OR_WORKING: "(pending|working)"}


def new_order(status: OrderStatus) -> Order:
    order = store_of()[0].create(submit())
    order.status = status
    return order


def snapshot(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in Order.__slots__}


def table_text() -> str:
    """States down, triggers across in blocks of four; a dot is an illegal transition."""
    lines = ["What each trigger makes of an order in each state; '.' raises StateError.", ""]
    triggers = list(Trigger)
    for start in range(0, len(triggers), 4):
        block = triggers[start : start + 4]
        lines.append("".join(f"{title:<18}" for title in ("", *(trigger.name for trigger in block))).rstrip())
        for status in OrderStatus:
            row = [TRANSITIONS[status].get(trigger) for trigger in block]
            cells = ["." if cell is None else SHORT[cell] if cell < 0 else OrderStatus(cell).name for cell in row]
            lines.append("".join(f"{cell:<18}" for cell in (status.name, *cells)).rstrip())
        lines.append("")
    lines.append("(working): as the facts say, without the pending request: PARTIALLY_FILLED, TRIGGERED, ACCEPTED or SUBMITTED.")
    lines.append("(pending|working): PENDING_REPLACE while a replace is unanswered, else as (working).")
    return "\n".join(lines) + "\n"


def test_the_table_is_the_one_in_the_golden_file() -> None:
    assert table_text() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("trigger", Trigger)
def test_every_cell_does_what_the_table_says(status: OrderStatus, trigger: Trigger) -> None:
    order = new_order(status)
    before = snapshot(order)
    target = TRANSITIONS[status].get(trigger)
    if target is None:
        with pytest.raises(StateError, match=rf"{order.client_order_id}.*{trigger.name}.*{status.name}"):
            order.move(trigger)
        assert snapshot(order) == before
        return
    order.move(trigger)
    assert type(order.status) is OrderStatus
    assert order.status == (order.working_status if target < 0 else target)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, OrderStatus.SUBMITTED),
        ({"accepted": True}, OrderStatus.ACCEPTED),
        ({"accepted": True, "triggered": True}, OrderStatus.TRIGGERED),
        ({"triggered": True, "filled_qty": 1}, OrderStatus.PARTIALLY_FILLED),
    ],
)
def test_working_status_follows_the_facts(facts: dict[str, object], expected: OrderStatus) -> None:
    order = new_order(OrderStatus.PENDING_CANCEL)
    for name, value in facts.items():
        setattr(order, name, value)
    order.move(Trigger.CANCEL_REJECT)
    assert order.status is expected


def test_a_rejected_cancel_leads_back_to_the_unanswered_replace() -> None:
    order = new_order(OrderStatus.PENDING_REPLACE)
    order.replace_qty = 5
    order.move(Trigger.REQUEST_CANCEL)
    order.move(Trigger.CANCEL_REJECT)
    assert order.status is OrderStatus.PENDING_REPLACE


def test_a_second_refusal_of_an_unacknowledged_order_changes_nothing() -> None:
    order = new_order(OrderStatus.SUBMITTED)
    order.move(Trigger.REQUEST_CANCEL)
    for _ in range(2):
        order.move(Trigger.CANCEL_REJECT)
        assert order.status is OrderStatus.SUBMITTED


@pytest.mark.parametrize(("trigger", "expected"), [("ACCEPT", "ACCEPTED"), ("TRIGGER", "TRIGGERED"), ("REPLACE", "ACCEPTED")])
def test_a_fact_ends_unknown_with_the_state_it_proves(trigger: str, expected: str) -> None:
    order = new_order(OrderStatus.UNKNOWN)
    order.move(Trigger[trigger])
    assert order.status.name == expected


def test_every_state_is_reached_and_every_open_state_can_end() -> None:
    reached = {OrderStatus.INITIALIZED}
    frontier = [OrderStatus.INITIALIZED]
    working = {OrderStatus.SUBMITTED, OrderStatus.ACCEPTED, OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED}
    while frontier:
        status = frontier.pop()
        for target in TRANSITIONS[status].values():
            found = working if target < 0 else {OrderStatus(target)}
            frontier += sorted(found - reached)
            reached |= found
    assert reached == set(OrderStatus)
    for status in set(OrderStatus) - TERMINAL - {OrderStatus.INITIALIZED}:
        ends = {TRANSITIONS[status].get(t) for t in (Trigger.FILL_ALL, Trigger.CANCEL, Trigger.EXPIRE, Trigger.REJECT)}
        assert {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED} <= ends, status


def test_an_end_is_never_left_but_for_the_fill_that_completes_it() -> None:
    left = {(s, t): x for s in TERMINAL for t, x in TRANSITIONS[s].items() if x != s}
    assert left == {(s, Trigger.FILL_ALL): OrderStatus.FILLED for s in (OrderStatus.CANCELED, OrderStatus.EXPIRED)}


@pytest.mark.parametrize("status", OrderStatus)
def test_views_agree_with_the_state(status: OrderStatus) -> None:
    order = new_order(status)
    assert order.is_open is (status not in TERMINAL)
    assert order.is_pending is (status.name in ("SUBMITTED", "PENDING_REPLACE", "PENDING_CANCEL", "UNKNOWN"))
    assert status.name in repr(order)


if __name__ == "__main__":  # python -m tests.core.test_orders: writes the golden file anew; read its diff first
    GOLDEN.write_text(table_text(), encoding="utf-8")
