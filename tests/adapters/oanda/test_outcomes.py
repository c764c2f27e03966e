"""The outcome table: what each answer to an order, a change and a cancel proves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.http.request import Answer, Outcome
from adapters.oanda.outcomes import judge_cancel, judge_place, judge_query, judge_replace, reason_of, signals_of
from adapters.oanda.wire import AccountsAnswer
from core.enums import Reason
from core.errors import VenueProtocolError
from core.units import NS_PER_SECOND

CREATE = {"id": "7", "time": "x", "type": "LIMIT_ORDER", "clientExtensions": {"id": "t-3-1"}}
FILL = {"id": "8", "time": "x", "type": "ORDER_FILL", "orderID": "7"}
CANCEL = {"id": "9", "time": "x", "type": "ORDER_CANCEL", "orderID": "7", "clientOrderID": "t-3-1", "reason": "MARKET_HALTED"}
REPLACING = {"id": "10", "time": "x", "type": "LIMIT_ORDER", "replacesOrderID": "7"}
REJECT = {"id": "7", "time": "x", "type": "LIMIT_ORDER_REJECT", "rejectReason": "PRICE_INVALID"}
NO_ORDER = {"id": "7", "time": "x", "type": "ORDER_CANCEL_REJECT", "rejectReason": "ORDER_DOESNT_EXIST"}
HTML = b"<html>504</html>"
ACCEPTED, REJECTED, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED_PROVEN, Outcome.UNKNOWN


def answer(status: int, body: Any) -> Answer:
    return Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


PLACED: list[tuple[int, Any, Outcome]] = [
    (201, {"orderCreateTransaction": CREATE, "lastTransactionID": "7"}, ACCEPTED),
    (201, {"orderCreateTransaction": CREATE, "orderFillTransaction": FILL}, ACCEPTED),
    (201, {"orderCreateTransaction": CREATE, "orderCancelTransaction": CANCEL}, ACCEPTED),
    # About somebody else's order, without one, or with an error inside.
    (201, {"orderCreateTransaction": {**CREATE, "clientExtensions": {"id": "t-3-2"}}}, UNKNOWN),
    (201, {"orderCreateTransaction": {"id": "7", "time": "x", "type": "LIMIT_ORDER"}}, UNKNOWN),
    (201, {"orderCreateTransaction": CREATE, "orderFillTransaction": {**FILL, "orderID": "6"}}, UNKNOWN),
    (201, {"errorMessage": "no", "errorCode": "INTERNAL_SERVER_ERROR"}, UNKNOWN),
    (201, {"orderRejectTransaction": REJECT}, REJECTED),
    (200, {"orderCreateTransaction": CREATE}, UNKNOWN),
    (202, {"orderCreateTransaction": CREATE}, UNKNOWN),
    (400, {"orderRejectTransaction": REJECT, "errorCode": "PRICE_INVALID", "errorMessage": "no"}, REJECTED),
    (400, {"orderRejectTransaction": {**REJECT, "rejectReason": "NEVER_SEEN"}, "errorMessage": "no"}, REJECTED),
    (400, {"orderRejectTransaction": {**REJECT, "rejectReason": "CLIENT_ORDER_ID_ALREADY_EXISTS"}}, UNKNOWN),
    (400, {"errorCode": "CLIENT_ORDER_ID_ALREADY_EXISTS", "errorMessage": "in use"}, UNKNOWN),
    (400, {"errorCode": "NEVER_SEEN", "errorMessage": "no"}, UNKNOWN),
    (400, {"errorMessage": "Invalid value specified for 'units'"}, REJECTED),
    (400, {}, UNKNOWN),
    (400, HTML, UNKNOWN),
    (401, {"errorMessage": "Insufficient authorization to perform request."}, REJECTED),
    (403, {"errorMessage": "Insufficient authorization to perform request."}, REJECTED),
    (403, HTML, UNKNOWN),
    (404, {"orderRejectTransaction": REJECT, "errorMessage": "no"}, REJECTED),
    (404, {"errorMessage": "The Account specified does not exist"}, REJECTED),
    (405, {"errorMessage": "Method not allowed"}, REJECTED),
    (408, {"errorMessage": "timeout"}, UNKNOWN),
    (429, {"errorMessage": "Rate limit exceeded"}, REJECTED),
    (429, HTML, REJECTED),
    (500, {"errorMessage": "no"}, UNKNOWN),
    (502, HTML, UNKNOWN),
    (503, {"errorMessage": "maintenance"}, UNKNOWN),
    (504, HTML, UNKNOWN),
    (302, b"", UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "expected"), PLACED)
def test_what_an_answer_to_an_order_proves(status: int, body: Any, expected: Outcome) -> None:
    assert judge_place(answer(status, body), "t-3-1").outcome is expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"orderCreateTransaction":{"id":"x"}}', b'{"a":1,"a":2}'])
def test_a_success_that_cannot_be_read_proves_nothing(body: bytes) -> None:
    with pytest.raises(VenueProtocolError):
        judge_place(answer(201, body), "t-3-1")


def test_what_an_answer_to_a_change_proves() -> None:
    replaced = {"orderCancelTransaction": {**CANCEL, "reason": "CLIENT_REQUEST_REPLACED"}, "orderCreateTransaction": REPLACING}
    assert judge_replace(answer(201, replaced), "7").outcome is ACCEPTED
    assert judge_replace(answer(201, replaced), "6").outcome is UNKNOWN
    assert judge_replace(answer(201, {"orderCreateTransaction": REPLACING}), "7").outcome is UNKNOWN
    assert judge_replace(answer(400, {"orderRejectTransaction": REJECT, "errorMessage": "no"}), "7").outcome is REJECTED
    gone = judge_replace(answer(404, {"orderCancelRejectTransaction": NO_ORDER, "errorMessage": "no"}), "7")
    assert (gone.outcome, gone.reason) == (REJECTED, "ORDER_DOESNT_EXIST")


def test_what_an_answer_to_a_cancel_proves() -> None:
    canceled = {"orderCancelTransaction": CANCEL}
    assert judge_cancel(answer(200, canceled), "7").outcome is ACCEPTED
    assert judge_cancel(answer(200, canceled), "@t-3-1").outcome is ACCEPTED
    assert judge_cancel(answer(200, canceled), "@t-3-2").outcome is UNKNOWN
    assert judge_cancel(answer(200, {}), "7").outcome is UNKNOWN
    gone = judge_cancel(answer(404, {"orderCancelRejectTransaction": NO_ORDER, "errorMessage": "no"}), "7")
    assert (gone.outcome, gone.reason) == (REJECTED, "ORDER_DOESNT_EXIST")
    assert judge_cancel(answer(503, HTML), "7").outcome is UNKNOWN


def test_what_an_answer_to_a_question_proves() -> None:
    found = judge_query(AccountsAnswer, answer(200, {"accounts": [{"id": "a", "tags": []}]}))
    assert found.value is not None
    refused = judge_query(AccountsAnswer, answer(401, {"errorMessage": "no"}))
    assert (refused.outcome, refused.code) == (REJECTED, 401)
    assert judge_query(AccountsAnswer, answer(503, HTML)).outcome is UNKNOWN


def test_slower() -> None:
    assert signals_of(Answer(200, {}, b"")).throttle is None
    for header, expected in (("2", 2 * NS_PER_SECOND), ("", None), ("soon", None), ("999999", 3_600 * NS_PER_SECOND)):
        throttle = signals_of(Answer(429, {"retry-after": header}, b"")).throttle
        assert throttle is not None
        assert (throttle.retry_after_ns, throttle.is_ban) == (expected, False)


def test_reasons() -> None:
    names = ("MARKET_HALTED", "UNITS_LIMIT_EXCEEDED", "PRICE_PRECISION_EXCEEDED", "INSUFFICIENT_MARGIN")
    assert [reason_of(name) for name in names] == [Reason.CLOSED, Reason.BAD_QTY, Reason.BAD_TICK, Reason.NONE]
