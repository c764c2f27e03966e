"""What an OANDA answer proves: the outcome rule's table, and what OANDA's reasons are called here (docs/VENUES-OANDA.md). Pure.

A refusal is proven by a reject transaction, or by an error body that OANDA documents for its status. Everything else is UNKNOWN:
that costs one question more, and the other way round costs an order that nobody knows of.
"""

from __future__ import annotations

from typing import TypeVar

from adapters.http.request import Answer, Outcome, Signals, Throttle, Verdict
from adapters.oanda.wire import DealAnswer, Transaction, body_of
from core.enums import Reason
from core.errors import VenueProtocolError
from core.units import NS_PER_SECOND

M = TypeVar("M")

DUPLICATE = "CLIENT_ORDER_ID_ALREADY_EXISTS"
NO_SUCH_ORDER = "ORDER_DOESNT_EXIST"
NO_SUCH_POSITION = "CLOSEOUT_POSITION_DOESNT_EXIST"
EXPIRED = "TIME_IN_FORCE_EXPIRED"
REPLACED = "CLIENT_REQUEST_REPLACED"
RETRY_AFTER_S_MAX = 3_600

REASONS = {
    "CLIENT_REQUEST": Reason.REQUESTED,
    DUPLICATE: Reason.DUPLICATE_ID,
    NO_SUCH_ORDER: Reason.UNKNOWN_ORDER,
    "PRICE_PRECISION_EXCEEDED": Reason.BAD_TICK,
    "PRICE_BOUND_PRECISION_EXCEEDED": Reason.BAD_TICK,
    "PRICE_MISSING": Reason.BAD_PRICE,
    "PRICE_INVALID": Reason.BAD_PRICE,
    "PRICE_BOUND_INVALID": Reason.BAD_PRICE,
    "UNITS_MISSING": Reason.BAD_QTY,
    "UNITS_INVALID": Reason.BAD_QTY,
    "UNITS_PRECISION_EXCEEDED": Reason.BAD_QTY,
    "UNITS_LIMIT_EXCEEDED": Reason.BAD_QTY,
    "UNITS_MINIMUM_NOT_MET": Reason.BAD_QTY,
    "TIME_IN_FORCE_MISSING": Reason.BAD_FIELD,
    "TIME_IN_FORCE_INVALID": Reason.BAD_FIELD,
    "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING": Reason.BAD_FIELD,
    "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST": Reason.BAD_FIELD,
    "CLIENT_ORDER_ID_INVALID": Reason.BAD_FIELD,
    "ORDER_FILL_POSITION_ACTION_INVALID": Reason.BAD_FIELD,
    "TRIGGER_CONDITION_INVALID": Reason.BAD_TRIGGER,
    "INSTRUMENT_MISSING": Reason.BAD_FIELD,
    "INSTRUMENT_UNKNOWN": Reason.BAD_FIELD,
    "INSTRUMENT_NOT_TRADEABLE": Reason.CLOSED,
    "MARKET_HALTED": Reason.CLOSED,
    "ACCOUNT_NOT_ACTIVE": Reason.CLOSED,
    "ACCOUNT_LOCKED": Reason.CLOSED,
    "ACCOUNT_ORDER_CREATION_LOCKED": Reason.CLOSED,
    "ACCOUNT_ORDER_FILL_LOCKED": Reason.CLOSED,
    "ACCOUNT_NEW_POSITIONS_LOCKED": Reason.CLOSED,
    "PENDING_ORDERS_ALLOWED_EXCEEDED": Reason.FULL,
    "OPEN_TRADES_ALLOWED_EXCEEDED": Reason.FULL,
    "INSUFFICIENT_LIQUIDITY": Reason.NO_LIQUIDITY,
    "BOUNDS_VIOLATION": Reason.NO_LIQUIDITY,
    "POSITION_CLOSEOUT_FAILED": Reason.REDUCE_ONLY,
    "REDUCE_ONLY": Reason.REDUCE_ONLY,
}
# Errors without a transaction that OANDA documents as refused before anything looked at the request.
_ERROR_CODES = frozenset(REASONS) - {DUPLICATE} | {NO_SUCH_POSITION, "INVALID_PAGESIZE", "INVALID_RANGE"}
_REFUSING_STATUSES = frozenset({400, 401, 403, 404, 405, 415})


def reason_of(text: str) -> Reason:
    """NONE where there is no word for it here; the event's own text says it then."""
    return REASONS.get(text, Reason.NONE)


def signals_of(answer: Answer) -> Signals:
    if answer.status != 429:
        return Signals()
    return Signals(throttle=Throttle(retry_after_ns=_retry_after_ns(answer.headers.get("retry-after", ""))))


def _retry_after_ns(text: str) -> int | None:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        return None
    return min(int(text), RETRY_AFTER_S_MAX) * NS_PER_SECOND


def judge_place(answer: Answer, client_text: str) -> Verdict[DealAnswer]:
    if answer.status != 201:
        return _refusal(answer)
    body = body_of(DealAnswer, answer.body)
    if body.create is None:
        return _rejected(body) if body.reject is not None else Verdict(Outcome.UNKNOWN, "status 201 without a created order")
    if _client_text_of(body.create) != client_text:
        return Verdict(Outcome.UNKNOWN, f"the answer is about order {body.create.id}, not about {client_text}")
    for other in (body.fill, body.cancel):
        if other is not None and other.order_id != body.create.id:
            return Verdict(Outcome.UNKNOWN, f"the answer speaks of orders {body.create.id} and {other.order_id}")
    return Verdict(Outcome.ACCEPTED, value=body)


def judge_replace(answer: Answer, venue_order_id: str) -> Verdict[DealAnswer]:
    if answer.status != 201:
        return _refusal(answer)
    body = body_of(DealAnswer, answer.body)
    if body.create is None or body.cancel is None:
        return _rejected(body) if body.reject is not None else Verdict(Outcome.UNKNOWN, "status 201 without a replacement")
    if body.cancel.order_id != venue_order_id or body.create.replaces_order_id != venue_order_id:
        return Verdict(Outcome.UNKNOWN, f"the answer is about order {body.cancel.order_id}, not about {venue_order_id}")
    return Verdict(Outcome.ACCEPTED, value=body)


def judge_cancel(answer: Answer, specifier: str) -> Verdict[DealAnswer]:
    """`specifier`: an order's number, or "@" and the client's id."""
    if answer.status != 200:
        return _refusal(answer)
    body = body_of(DealAnswer, answer.body)
    if body.cancel is None:
        return _rejected(body) if body.cancel_reject is not None else Verdict(Outcome.UNKNOWN, "status 200 without a cancel")
    if specifier not in (body.cancel.order_id, f"@{body.cancel.client_order_id}"):
        return Verdict(Outcome.UNKNOWN, f"the answer is about order {body.cancel.order_id}, not about {specifier}")
    return Verdict(Outcome.ACCEPTED, value=body)


def judge_close(answer: Answer) -> Verdict[DealAnswer]:
    """Of a position: 200 with what it did, which may be a cancel."""
    if answer.status != 200:
        return _refusal(answer)
    return Verdict(Outcome.ACCEPTED, value=body_of(DealAnswer, answer.body))


def judge_query(kind: type[M], answer: Answer) -> Verdict[M]:
    if answer.status == 200:
        return Verdict(Outcome.ACCEPTED, value=body_of(kind, answer.body))
    found = _refusal(answer)
    return Verdict(found.outcome, found.reason, code=found.code)


def _refusal(answer: Answer) -> Verdict[DealAnswer]:
    status = answer.status
    if status == 429:
        return Verdict(Outcome.REJECTED_PROVEN, "throttled", code=status)
    if status not in _REFUSING_STATUSES:
        return Verdict(Outcome.UNKNOWN, f"status {status}: {_beginning(answer)}", code=status)
    try:
        body = body_of(DealAnswer, answer.body)
    except VenueProtocolError:
        # Not OANDA's own words: a proxy or a firewall, behind which anything may have happened.
        return Verdict(Outcome.UNKNOWN, f"status {status}: {_beginning(answer)}", code=status)
    if body.reject is not None or body.cancel_reject is not None or body.long_reject is not None or body.short_reject is not None:
        return _rejected(body, status)
    if body.error_code == DUPLICATE:
        return _in_use(status)
    if not body.error_message and not body.error_code:
        return Verdict(Outcome.UNKNOWN, f"status {status} without an error", code=status)
    if body.error_code and body.error_code not in _ERROR_CODES and status in (400, 404):
        return Verdict(Outcome.UNKNOWN, f"status {status}: {body.error_code[:80]}, which is not documented", code=status)
    return Verdict(Outcome.REJECTED_PROVEN, body.error_code or body.error_message[:200], code=status)


def _rejected(body: DealAnswer, status: int = 0) -> Verdict[DealAnswer]:
    found = body.reject or body.cancel_reject or body.long_reject or body.short_reject
    assert found is not None
    text = found.reject_reason or body.error_code
    return _in_use(status) if text == DUPLICATE else Verdict(Outcome.REJECTED_PROVEN, text[:200] or "rejected", code=status)


def _in_use(status: int) -> Verdict[DealAnswer]:
    return Verdict(Outcome.UNKNOWN, f"{DUPLICATE}: an earlier send may have succeeded", code=status)


def _client_text_of(transaction: Transaction) -> str:
    return "" if transaction.client_extensions is None else transaction.client_extensions.id


def _beginning(answer: Answer) -> str:
    return answer.body[:120].decode("utf-8", "replace").replace("\n", " ").strip()
