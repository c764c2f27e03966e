"""What a Binance answer proves: the outcome rule's table for spot and USDⓈ-M (docs/VENUES.md). Pure.

The rule of the whole file: a refusal is proven by what Binance documents as one. What it does not document, or documents as
unknown, is UNKNOWN: that costs one question more, and the other way round costs an order that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.binance.endpoints import ORDERS_1D, ORDERS_1M, ORDERS_10S, RAW, WEIGHT, Product
from adapters.binance.rest_bodies import ErrorBody, read_error
from adapters.http.request import Answer, Outcome, Signals, T, Throttle, Verdict
from core.enums import Reason
from core.errors import VenueProtocolError
from core.units import NS_PER_SECOND

TOO_MANY_REQUESTS = -1003
TOO_MANY_ORDERS = -1015
BAD_TIMESTAMP = -1021
UNKNOWN_CANCEL = -2011  # there is no such open order to cancel
NO_SUCH_ORDER = -2013
NEW_ORDER_REJECTED = -2010
MOVED_TO_ALGO_SERVICE = -4120
BAD_LISTEN_KEY = -1125

# The venue's words for a key that it does not take.
BAD_KEY_CODES = frozenset({-1002, -1022, -2008, -2014, -2015, -2017})

# "Execution status unknown", or an internal error before or after the engine.
UNKNOWN_CODES = frozenset({-1000, -1001, -1004, -1006, -1007, -1008, -1010, -2012, -4083})
DUPLICATE_CODES = frozenset({-4111, -4115, -4116})
REFUSED_CODES = frozenset(
    {-1002, -1003, -1011, -1013, -1014, -1015, -1016, -1020, -1021, -1022, -1023, -1099}
    | set(range(-1199, -1099))  # "request issues": malformed before anything looked at it
    | {-2008, -2010, -2011, -2013, -2014, -2015, -2016}
    | set(range(-2028, -2016))
    | set(range(-4200, -3999))  # "filters and other issues"
    | {-4400, -4401, -4402, -4403}
    | set(range(-5042, -5020))
) - (UNKNOWN_CODES | DUPLICATE_CODES)
# Only futures document one 503 that is certainly a failure.
SERVICE_UNAVAILABLE = "Service Unavailable."
RETRY_AFTER_S_MAX = 10 * 86_400

_ORDER_COUNTS = {
    "x-mbx-order-count-10s": ORDERS_10S,
    "x-mbx-order-count-1m": ORDERS_1M,
    "x-mbx-order-count-1d": ORDERS_1D,
    "x-mbx-used-weight-1m": WEIGHT,
    "x-mbx-used-raw-requests-5m": RAW,
}


def judge(product: Product, read: Callable[[bytes], T], answer: Answer) -> Verdict[T]:
    """The verdict on a whole answer. `read` turns the body of a success into its value or raises VenueProtocolError."""
    if answer.status == 200:
        return _judge_success(product, read, answer)
    if answer.status == 403:
        return Verdict(Outcome.REJECTED_PROVEN, "stopped by the venue's firewall")
    error = _error_in(answer)
    if answer.status in (418, 429):
        what = "banned" if answer.status == 418 else "throttled"
        return Verdict(Outcome.REJECTED_PROVEN, f"{what}: {_text(error)}", code=error.code if error is not None else 0)
    if answer.status >= 500:
        text = error.msg if error is not None else answer.body.decode("utf-8", "replace").strip()
        if product is Product.USDM and answer.status == 503 and text == SERVICE_UNAVAILABLE:
            return Verdict(Outcome.REJECTED_PROVEN, text, code=error.code if error is not None else 0)
        return Verdict(Outcome.UNKNOWN, f"status {answer.status}: {text[:200]}", code=error.code if error is not None else 0)
    if error is None or answer.status in (408, 409) or not 400 <= answer.status < 500:
        # 408: the backend did not answer in time. 409: a part of it was done.
        code = error.code if error is not None else 0
        return Verdict(Outcome.UNKNOWN, f"status {answer.status}: {_text(error)}", code=code)
    return _judge_error(error)


def _judge_success(product: Product, read: Callable[[bytes], T], answer: Answer) -> Verdict[T]:
    try:
        return Verdict(Outcome.ACCEPTED, value=read(answer.body))
    except VenueProtocolError as refused:
        # An error in the envelope of a success counts as the error that it is, where it is a documented one.
        error = _error_in(answer)
        if error is None or error.code >= 0:
            return Verdict(Outcome.UNKNOWN, f"status 200: {refused}")
        return _judge_error(error)


def _judge_error(error: ErrorBody) -> Verdict[T]:
    if is_duplicate(error):
        return Verdict(
            Outcome.UNKNOWN, f"the id is in use, so an earlier send may have succeeded: {_text(error)}", code=error.code
        )
    outcome = Outcome.REJECTED_PROVEN if error.code in REFUSED_CODES else Outcome.UNKNOWN
    return Verdict(outcome, _text(error), code=error.code)


def is_duplicate(error: ErrorBody) -> bool:
    return error.code in DUPLICATE_CODES or (error.code == NEW_ORDER_REJECTED and "duplicate" in error.msg.lower())


def _error_in(answer: Answer) -> ErrorBody | None:
    try:
        return read_error(answer.body)
    except VenueProtocolError:
        return None


def _text(error: ErrorBody | None) -> str:
    return f"{error.code} {error.msg[:200]}" if error is not None else "no error that can be read"


def read_signals(answer: Answer) -> Signals:
    """What any answer says of budgets: the counters in its headers, and a throttle."""
    used = tuple(
        (meter, int(text))
        for name, meter in _ORDER_COUNTS.items()
        if (text := answer.headers.get(name, "")).isascii() and text.isdecimal() and len(text) <= 9
    )
    if answer.status not in (418, 429):
        return Signals(used)
    error = _error_in(answer)
    after = answer.headers.get("retry-after", "")
    is_told = after.isascii() and after.isdecimal() and len(after) <= 9
    return Signals(
        used,
        Throttle(
            is_ban=answer.status == 418,
            orders_only=answer.status == 429 and error is not None and error.code == TOO_MANY_ORDERS,
            retry_after_ns=min(int(after), RETRY_AFTER_S_MAX) * NS_PER_SECOND if is_told else None,
        ),
    )


_REASONS_BY_CODE = {
    TOO_MANY_REQUESTS: Reason.FULL,
    TOO_MANY_ORDERS: Reason.FULL,
    -1016: Reason.CLOSED,
    -1111: Reason.BAD_TICK,
    -1121: Reason.BAD_FIELD,
    UNKNOWN_CANCEL: Reason.UNKNOWN_ORDER,
    NO_SUCH_ORDER: Reason.UNKNOWN_ORDER,
    -2020: Reason.NO_LIQUIDITY,
    -2021: Reason.BAD_TRIGGER,
    -2022: Reason.REDUCE_ONLY,
    -2025: Reason.FULL,
    -2026: Reason.REDUCE_ONLY,
    -4001: Reason.BAD_PRICE,
    -4002: Reason.BAD_PRICE,
    -4003: Reason.BAD_QTY,
    -4004: Reason.BAD_QTY,
    -4005: Reason.BAD_QTY,
    -4013: Reason.BAD_PRICE,
    -4014: Reason.BAD_TICK,
    -4016: Reason.BAD_PRICE,
    -4023: Reason.BAD_QTY,
    -4024: Reason.BAD_PRICE,
    -4045: Reason.FULL,
    -4118: Reason.REDUCE_ONLY,
    -4131: Reason.BAD_PRICE,
    -4140: Reason.CLOSED,
    -4141: Reason.CLOSED,
    -4142: Reason.BAD_TRIGGER,
    -4164: Reason.BAD_QTY,
    -5021: Reason.FOK,
    -5022: Reason.POST_ONLY,
}
# The engine's own words, for the codes that say no more than "rejected".
_REASONS_BY_TEXT = (
    ("immediately match and take", Reason.POST_ONLY),
    ("would trigger immediately", Reason.BAD_TRIGGER),
    ("Unknown order", Reason.UNKNOWN_ORDER),
    ("Market is closed", Reason.CLOSED),
    ("PRICE_FILTER", Reason.BAD_TICK),
    ("PERCENT_PRICE", Reason.BAD_PRICE),
    ("LOT_SIZE", Reason.BAD_QTY),
    ("NOTIONAL", Reason.BAD_QTY),
    ("MAX_NUM", Reason.FULL),
    ("liquidity", Reason.NO_LIQUIDITY),
)


def reason_of(code: int, text: str) -> Reason:
    """Why an order was refused, in our words; NONE where none fits and the text must do."""
    if code in (NEW_ORDER_REJECTED, UNKNOWN_CANCEL, -1013):
        for words, reason in _REASONS_BY_TEXT:
            if words in text:
                return reason
    return _REASONS_BY_CODE.get(code, Reason.NONE)
