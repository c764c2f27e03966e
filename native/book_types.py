"""The words and records that both books speak: constants of book_api.h, reports, views, errors.

A test holds the constants and record layouts against the C header.

    BookError (ValueError)
    ├── BookArgumentError    a value the book cannot take: out of range, unknown, or not possible in this state
    ├── BookSymbolError      no such symbol, or no room for one more
    ├── ReportsFullError     the answer could not fit the report buffer; nothing happened
    └── BookCorruptError     check() found a broken invariant: a bug of ours
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np

from core.enums import MarketStatus as Status
from core.enums import OrderType, Reason, Side, TimeInForce
from core.enums import SelfTradePrevention as SelfTrade

__all__ = ["OrderType", "Reason", "SelfTrade", "Side", "Status", "TimeInForce"]

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

# No sum of live quantities and no position passes this: qty_max is held below QTY_SUM_MAX // (orders_max + 2).
QTY_SUM_MAX = 2**62
POSITION_MAX = 2**62


class Flag(IntFlag):
    NONE = 0
    POST_ONLY = 1
    POST_ONLY_SLIDE = 2
    REDUCE_ONLY = 4


class Kind(IntEnum):
    ACCEPTED = 0
    TRADE = 1
    CANCELED = 2
    REJECTED = 3
    REPLACED = 4
    CANCEL_REJECTED = 5
    REPLACE_REJECTED = 6
    TRIGGERED = 7
    EXPIRED = 8
    RESTATED = 9


class BookError(ValueError):
    """Root of what a book raises; a venue's refusal is a report, never an exception."""


class BookArgumentError(BookError):
    """A value the book cannot take."""


class BookSymbolError(BookError):
    """No such symbol, or no room for one more."""


class ReportsFullError(BookError):
    """The worst case of this message does not fit the report buffer; it had no effect."""


class BookCorruptError(BookError):
    """An invariant of the book is broken."""


class Report(NamedTuple):
    """One book_report; fields as in book_api.h."""

    ts: int
    order_id: int
    contra_id: int
    price: int
    qty: int
    leaves_qty: int
    contra_leaves_qty: int
    symbol: int
    kind: int
    reason: int
    side: int


class Level(NamedTuple):
    """One price: displayed quantity and number of orders."""

    price: int
    qty: int
    orders: int


class OrderView(NamedTuple):
    """One live order; qty is displayed, leaves_qty displayed and hidden."""

    order_id: int
    owner: int
    price: int
    qty: int
    leaves_qty: int
    symbol: int
    side: int
    order_type: int
    time_in_force: int
    flags: int


class Totals(NamedTuple):
    """Sums since the book was made; volume and notional wrap at 64 bits."""

    trades: int
    volume: int
    notional: int
    accepted: int
    canceled: int
    rejected: int


class Clearing(NamedTuple):
    """The price at which an auction would uncross; imbalance is demand minus supply there."""

    price: int
    volume: int
    imbalance: int


REPORT_DTYPE = np.dtype(
    [
        ("ts", "<i8"),
        ("order_id", "<i8"),
        ("contra_id", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("leaves_qty", "<i8"),
        ("contra_leaves_qty", "<i8"),
        ("symbol", "<i4"),
        ("kind", "u1"),
        ("reason", "u1"),
        ("side", "u1"),
        ("reserved", "u1"),
    ]
)
LEVEL_DTYPE = np.dtype([("price", "<i8"), ("qty", "<i8"), ("orders", "<i8")])
ORDER_VIEW_DTYPE = np.dtype(
    [
        ("order_id", "<i8"),
        ("owner", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("leaves_qty", "<i8"),
        ("symbol", "<i4"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("flags", "u1"),
    ]
)


def require_range(name: str, value: int, low: int = INT64_MIN, high: int = INT64_MAX) -> int:
    """`value` if it is an integer in [low, high], else BookArgumentError that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise BookArgumentError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise BookArgumentError(f"{name} = {value} is outside {low}..{high}")
    return int(value)
