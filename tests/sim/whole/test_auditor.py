"""Each thing that the auditor must see, in a ledger of one order and one fill."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.sim.whole.auditor import FOREVER, ON_WIRE_NS_MAX, Books, Kill, after_kill, audit, over_limit, own_id

KEY = "X.VENUE"
LEDGER: dict[str, Any] = {
    "orders": [
        {
            "account": "main",
            "instrument_id": KEY,
            "venue_order_id": "v1",
            "client_order_id": "whole-1-1",
            "side": "BUY",
            "qty": 5,
            "filled_qty": 2,
            "is_open": True,
            "ts": 100,
            "reduce_only": False,
            "origin": "client",
        }
    ],
    "fills": [
        {
            "account": "main",
            "instrument_id": KEY,
            "venue_order_id": "v1",
            "client_order_id": "whole-1-1",
            "trade_id": "t1",
            "side": "BUY",
            "qty": 2,
            "price": 7,
            "fee": 0,
            "fee_currency": "USD",
            "ts": 110,
            "is_busted": False,
        }
    ],
    "positions": {"main": {KEY: 2}},
    "balances": {},
}


def books() -> Books:
    return Books(
        sent={"1-1": 90},
        fills=[(KEY, "t1", "BUY", 2, 7)],
        booked=1,
        open_orders={"1-1": (KEY, "BUY", 3)},
        positions={KEY: 2},
    )


Change = Callable[[dict[str, Any], Books], None]


def _order_twice(ledger: dict[str, Any], _books: Books) -> None:
    ledger["orders"].append({**ledger["orders"][0], "venue_order_id": "v2", "is_open": False})


CHANGES: list[tuple[str, Change]] = [
    ("is on no journal, and at the venue: whole-1-1", lambda _ledger, ours: ours.sent.clear()),
    ("is at the venue more than once: whole-1-1 (2 times)", _order_twice),
    ("was sent more than once: 1-1", lambda _ledger, ours: ours.sent_twice.append("1-1")),
    ("fills: ('X.VENUE', 't1', 'BUY', 2, 7) is theirs and not ours", lambda _ledger, ours: ours.fills.clear()),
    (
        "fills: ('X.VENUE', 't1', 'BUY', 2, 7) is ours and not theirs",
        lambda _ledger, ours: ours.fills.append(ours.fills[0]),
    ),
    ("fills: 2 booked here, 1 there", lambda _ledger, ours: setattr(ours, "booked", 2)),
    (
        "open orders: 1-1: theirs ('X.VENUE', 'BUY', 3), ours None",
        lambda _ledger, ours: ours.open_orders.clear(),
    ),
    (
        "open orders: 1-1: theirs None, ours ('X.VENUE', 'BUY', 3)",
        lambda ledger, _ours: ledger["orders"][0].update(is_open=False),
    ),
    ("position: X.VENUE: theirs 2, by their fills 2, ours 3", lambda _ledger, ours: ours.positions.update({KEY: 3})),
    ("nobody knows what became of: an order", lambda _ledger, ours: ours.unknown.append("an order")),
    ("journal: damaged", lambda _ledger, ours: ours.damaged.append("damaged")),
]


def test_what_agrees_is_no_finding() -> None:
    assert audit({"VENUE": LEDGER}, books()) == []


@pytest.mark.parametrize(("sentence", "change"), CHANGES, ids=[sentence for sentence, _ in CHANGES])
def test_what_differs_is_found_and_nothing_else(sentence: str, change: Change) -> None:
    ledger, ours = deepcopy(LEDGER), books()
    change(ledger, ours)
    assert audit({"VENUE": ledger}, ours) == [sentence]


def test_a_busted_fill_is_none() -> None:
    ledger, ours = deepcopy(LEDGER), books()
    ledger["fills"][0]["is_busted"] = True
    ledger["positions"]["main"][KEY] = 0
    ours.fills.clear()
    ours.booked = 0
    ours.positions[KEY] = 0
    assert audit({"VENUE": ledger}, ours) == []


@pytest.mark.parametrize(("limit", "is_over"), [(5, False), (4, True)])
def test_what_is_held_and_what_may_come_to_it_is_held_to_the_limit(limit: int, is_over: bool) -> None:
    assert bool(over_limit(LEDGER, {KEY: limit})) is is_over


def test_each_account_is_held_to_the_limit_by_its_own_orders() -> None:
    ledger = deepcopy(LEDGER)
    ledger["positions"] = {**ledger["positions"], "other": {KEY: 5}}
    assert over_limit(ledger, {KEY: 5}) == []
    ledger["positions"]["other"][KEY] = 6
    assert len(over_limit(ledger, {KEY: 5})) == 1


@pytest.mark.parametrize(
    ("decided_ts", "taken_ns", "reduce_only", "is_found"),
    [
        (90, 100, False, False),  # before
        (90, 1_000 + ON_WIRE_NS_MAX, False, False),  # it was on its way for long
        (90, 1_001 + ON_WIRE_NS_MAX, False, True),
        (1_001, 1_002, False, True),
        (1_001, 1_002, True, False),
        (3_001, 1_000 + 3 * ON_WIRE_NS_MAX, False, False),  # after the resume
    ],
)
def test_what_a_kill_must_stop(decided_ts: int, taken_ns: int, reduce_only: bool, is_found: bool) -> None:
    ledger, ours = deepcopy(LEDGER), books()
    ledger["orders"][0].update(ts=taken_ns, reduce_only=reduce_only)
    ours.sent["1-1"] = decided_ts
    kill = Kill(since_ns=1_000, since_ts=1_000, until_ns=2 * ON_WIRE_NS_MAX, until_ts=3_000)
    assert bool(after_kill(ledger, ours, kill)) is is_found


def test_a_kill_that_nobody_resumed_is_in_effect_for_ever() -> None:
    ledger, ours = deepcopy(LEDGER), books()
    ledger["orders"][0]["ts"] = FOREVER - 1
    assert after_kill(ledger, ours, Kill(since_ns=1_000, since_ts=1_000))


@pytest.mark.parametrize(
    ("text", "found"),
    [("whole-3-14", "3-14"), ("a-b-3-14", "3-14"), ("whole-3-14-r2", "3-14"), ("x-3", ""), ("", ""), ("whole-3-x", "")],
)
def test_an_id_is_read_as_the_documents_say(text: str, found: str) -> None:
    assert own_id(text) == found
