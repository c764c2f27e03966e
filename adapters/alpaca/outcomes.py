"""What an answer of Alpaca proves: the outcome rule's table (docs/VENUES.md). Pure.

A refusal is proven by what Alpaca documents as one, with its code. An id that is in use says that an earlier send arrived. What
is not listed is UNKNOWN: that costs a question, and the other way round costs an order that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from adapters.alpaca.wire import ERROR, ErrorBody, read
from adapters.http.request import Answer, Outcome, Signals, T, Throttle, Verdict
from core.enums import Reason
from core.errors import VenueProtocolError
from core.units import NS_PER_SECOND

REQUESTS: Final = "requests"  # the meter of all
ORDERS: Final = "orders"  # and of those that place or change an order
UNAUTHORIZED: Final = 40110000
FORBIDDEN: Final = 40310000
NOT_FOUND: Final = 40410000
UNPROCESSABLE: Final = 42210000
INVALID: Final = 40010000
INVALID_MEMBER: Final = 40010001
TOO_MANY: Final = 42910000

_DUPLICATE_WORDS = ("must be unique",)
_RETRY_AFTER_S_MAX = 600
_TEXT_MAX = 300
# By status: codes that say no, and did nothing. 403 without a code is the firewall's.
_REFUSALS = {
    400: frozenset({INVALID, INVALID_MEMBER}),
    401: frozenset({UNAUTHORIZED, 40110001, 0}),
    403: frozenset({FORBIDDEN, 40310001, 40310100, 0}),
    404: frozenset({NOT_FOUND, 40410001}),
    422: frozenset({UNPROCESSABLE, INVALID, INVALID_MEMBER}),
}


def judge(read_value: Callable[[bytes], T], answer: Answer, *, success: tuple[int, ...] = (200,)) -> Verdict[T]:
    """The verdict on a whole answer. `read_value` makes a success's body into its value, or raises VenueProtocolError."""
    if answer.status in success:
        try:
            return Verdict(Outcome.ACCEPTED, value=read_value(answer.body))
        except VenueProtocolError as refused:
            return _judge_envelope(answer, refused)
    error = error_of(answer)
    text = text_of(answer, error)
    code = 0 if error is None else error.code
    if answer.status == 429:
        return Verdict(Outcome.REJECTED_PROVEN, f"throttled: {text}", code=code or TOO_MANY)
    if answer.status == 403 and error is None:
        return Verdict(Outcome.REJECTED_PROVEN, "stopped by the venue's firewall", code=FORBIDDEN)
    if answer.status == 401 and error is None:
        return Verdict(Outcome.REJECTED_PROVEN, "the venue does not take the key", code=UNAUTHORIZED)
    if error is None or code not in _REFUSALS.get(answer.status, frozenset()):
        return Verdict(Outcome.UNKNOWN, f"status {answer.status}: {text}", code=code)
    if is_duplicate(error):
        return Verdict(Outcome.UNKNOWN, f"the id is in use, so an earlier send may have arrived: {text}", code=code)
    return Verdict(Outcome.REJECTED_PROVEN, text, code=code)


def _judge_envelope(answer: Answer, refused: VenueProtocolError) -> Verdict[T]:
    """A success that is none. An error inside says what it says; where it is no documented one, nothing is proven."""
    error = error_of(answer)
    if error is not None and not is_duplicate(error) and error.code in (FORBIDDEN, NOT_FOUND, UNPROCESSABLE):
        return Verdict(Outcome.REJECTED_PROVEN, text_of(answer, error), code=error.code)
    return Verdict(Outcome.UNKNOWN, f"status {answer.status}: {refused}")


def is_duplicate(error: ErrorBody) -> bool:
    return any(words in error.message.lower() for words in _DUPLICATE_WORDS)


def error_of(answer: Answer) -> ErrorBody | None:
    try:
        return read(answer.body, ERROR)
    except VenueProtocolError:
        return None


def text_of(answer: Answer, error: ErrorBody | None) -> str:
    if error is not None:
        return f"{error.code} {error.message[:_TEXT_MAX]}" if error.code else error.message[:_TEXT_MAX]
    return answer.body[:_TEXT_MAX].decode("utf-8", "replace").strip()


def read_signals(answer: Answer) -> Signals:
    """Of any answer: how much of the minute's requests is used, and a throttle."""
    limit, remaining = _whole(answer, "x-ratelimit-limit"), _whole(answer, "x-ratelimit-remaining")
    used = ((REQUESTS, limit - remaining),) if limit is not None and remaining is not None and remaining <= limit else ()
    if answer.status != 429:
        return Signals(used)
    after = _whole(answer, "retry-after")
    return Signals(used, Throttle(retry_after_ns=None if after is None else min(after, _RETRY_AFTER_S_MAX) * NS_PER_SECOND))


def _whole(answer: Answer, name: str) -> int | None:
    text = answer.headers.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


_REASONS = (
    ("cannot open a", Reason.SELF_TRADE),  # a long buy while a short sell is open, or the reverse
    ("insufficient qty", Reason.REDUCE_ONLY),
    ("not allowed to short", Reason.REDUCE_ONLY),
    ("cannot be sold short", Reason.REDUCE_ONLY),
    ("wash trade", Reason.SELF_TRADE),
    ("opposite side", Reason.SELF_TRADE),
    ("increment", Reason.BAD_TICK),
    ("sub-penny", Reason.BAD_TICK),
    ("not tradable", Reason.CLOSED),
    ("not active", Reason.CLOSED),
    ("market is closed", Reason.CLOSED),
    ("market hours", Reason.CLOSED),
    ("trading hours", Reason.CLOSED),
    ("qty", Reason.BAD_QTY),
    ("limit price", Reason.BAD_PRICE),
    ("limit_price", Reason.BAD_PRICE),
    ("stop price", Reason.BAD_TRIGGER),
    ("stop_price", Reason.BAD_TRIGGER),
    ("order not found", Reason.UNKNOWN_ORDER),
    ("not cancelable", Reason.UNKNOWN_ORDER),
    ("order is not open", Reason.UNKNOWN_ORDER),
    ('is already in "', Reason.UNKNOWN_ORDER),
)


def reason_of(code: int, text: str) -> Reason:
    """Why it was refused, in our words; NONE where none fits and the text must do."""
    if code == TOO_MANY:
        return Reason.FULL
    if code == NOT_FOUND:
        return Reason.UNKNOWN_ORDER
    lowered = text.lower()
    return next((reason for words, reason in _REASONS if words in lowered), Reason.NONE)
