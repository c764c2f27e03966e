"""What an answer of any exchange proves, from its raw status and text first and from ccxt's reading of it second. Pure.

ccxt's error classes alone prove nothing: one of them stands for "refused" and for "nobody knows" (docs/VENUES-CCXT.md). A refusal
is proven where the status is one that refuses, or a success with an error in it, and ccxt knows the exchange's own code for it as
a refusal. Everything else is UNKNOWN, which costs a question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adapters.http.request import Answer, Outcome, Signals, Throttle
from core.enums import Reason
from core.units import NS_PER_SECOND

RETRY_AFTER_S_MAX = 86_400
TOO_MANY = (418, 429)
# Too late, or a part of it done.
NOT_PROVEN_STATUS = frozenset({408, 409, 425, 499})

# ccxt's classes for what an exchange refuses before it does anything. Their subclasses count, but for those below.
REFUSALS = frozenset(
    {
        "ArgumentsRequired",
        "AuthenticationError",
        "BadRequest",
        "InsufficientFunds",
        "InvalidNonce",
        "InvalidOrder",
        "NotSupported",
        "OperationRejected",
    }
)
# The id is in use, so an earlier send may have succeeded; what is waiting; what was no answer at all.
NO_REFUSALS = frozenset({"CancelPending", "ChecksumError", "DuplicateOrderId", "ManualInteractionNeeded", "OrderNotCached"})
# Exchanges say it under general codes as well, which ccxt knows as an order that is invalid.
_DUPLICATE = re.compile(r"duplicat|already (?:exist|used|in use|been used)|repeated|not unique", re.IGNORECASE)
# Words of doubt in the text of what looks like a refusal.
_DOUBT = re.compile(
    r"time[d]?[ -]?out|status unknown|unknown (?:error|status)|internal|try again|unavailable|overload", re.IGNORECASE
)

_REASONS = (
    ("OrderNotFound", Reason.UNKNOWN_ORDER),
    ("OrderImmediatelyFillable", Reason.POST_ONLY),
    ("OrderNotFillable", Reason.NO_LIQUIDITY),
    ("MarketClosed", Reason.CLOSED),
    ("OnMaintenance", Reason.CLOSED),
    ("RateLimitExceeded", Reason.FULL),
    ("DDoSProtection", Reason.FULL),
    ("BadSymbol", Reason.BAD_FIELD),
    ("ArgumentsRequired", Reason.BAD_FIELD),
    ("NotSupported", Reason.BAD_FIELD),
    ("InvalidOrder", Reason.BAD_FIELD),
    ("BadRequest", Reason.BAD_FIELD),
)


def outcome_of(status: int, body: bytes, names: Sequence[str]) -> Outcome:
    """Of an answer in which ccxt has found an error; `names` are the names of its class and of that class's ancestors."""
    if status in TOO_MANY:
        # A limit is looked at before the request is.
        return Outcome.REJECTED_PROVEN
    if not (200 <= status < 300 or 400 <= status < 500) or status in NOT_PROVEN_STATUS:
        return Outcome.UNKNOWN
    text = body.decode("utf-8", "replace")
    if not REFUSALS.intersection(names) or NO_REFUSALS.intersection(names) or _DUPLICATE.search(text) or _DOUBT.search(text):
        return Outcome.UNKNOWN
    return Outcome.REJECTED_PROVEN


def reason_of(names: Sequence[str]) -> Reason:
    """Why an order was refused, in our words; NONE where none fits and the text must do."""
    return next((reason for name, reason in _REASONS if name in names), Reason.NONE)


def read_signals(answer: Answer) -> Signals:
    """A throttle, with how long to wait where the exchange says it in seconds."""
    if answer.status not in TOO_MANY:
        return Signals()
    after = answer.headers.get("retry-after", "")
    is_told = after.isascii() and after.isdecimal() and len(after) <= 9
    return Signals(
        throttle=Throttle(
            is_ban=answer.status == 418,
            retry_after_ns=min(int(after), RETRY_AFTER_S_MAX) * NS_PER_SECOND if is_told else None,
        )
    )
