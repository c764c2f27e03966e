"""What a first answer has shown is of before: an account that is opened again, or looked at, is known by the last one."""

from __future__ import annotations

import copy
from typing import Any

from adapters.oanda import wire
from adapters.oanda.session import OandaSession
from core.events import OrderFilled
from tests.adapters.oanda.test_fuzz import ACCOUNT, FILL, encoded, session


def answer(order: dict[str, str], last: str) -> wire.AccountAnswer:
    """The account with its one order so."""
    body: Any = copy.deepcopy(ACCOUNT)
    body["account"]["orders"] = [body["account"]["orders"][0] | order]
    return wire.body_of(wire.AccountAnswer, encoded(body | {"lastTransactionID": last}))


def filled(found: OandaSession, order: str, units: int, number: str) -> list[OrderFilled]:
    line = FILL | {"id": number, "batchID": number, "orderID": order, "units": str(units)}
    events = found.transaction_line(1, encoded({key: value for key, value in line.items() if not key.startswith("trade")}))
    return [event for event in events if isinstance(event, OrderFilled)]


def test_what_was_filled_between_two_openings_is_left_to_nobody() -> None:
    found = session()
    found.begin(answer({"id": "3", "units": "100"}, "3"), is_first=True)
    # Somebody takes 60 of it, and its rest goes by another number.
    found.begin(answer({"id": "5", "units": "40"}, "5"), is_first=True)
    (order,) = found.desk._orders.values()
    assert (order.venue_id, order.leaves) == ("5", 40)
    (fill,) = filled(found, "5", 40, "6")
    assert (fill.qty, fill.leaves_qty) == (40, 0)
    assert found.desk._orders == {}


def test_once_it_runs_an_answer_takes_nothing_back() -> None:
    found = session()
    found.begin(answer({"id": "3", "units": "100"}, "3"), is_first=True)
    (fill,) = filled(found, "3", 40, "4")
    assert fill.leaves_qty == 60
    # An answer that is older than that fill.
    found.desk.begin(answer({"id": "3", "units": "100"}, "3").account)
    (order,) = found.desk._orders.values()
    assert order.leaves == 60
