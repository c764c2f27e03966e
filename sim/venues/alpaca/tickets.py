"""Orders as Alpaca shows them: one ticket for each of its ids, whatever the matching behind it does with the order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from core.enums import OrderType, Side, TimeInForce
from core.errors import UnitError
from core.instruments import Instrument
from core.units import NS_PER_DAY, NS_PER_SECOND, format_fixed, parse_fixed
from sim.venues.exchange.model import Account, Listing, Order

FORBIDDEN, UNPROCESSABLE, INVALID_MEMBER, NOT_FOUND = 40310000, 42210000, 40010001, 40410000
OPEN_STATUSES = frozenset({"accepted", "pending_new", "new", "partially_filled", "pending_cancel", "pending_replace", "held"})
TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
}
TIMES = {
    "day": TimeInForce.GTC,  # the session's end is the engine's own matter
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "opg": TimeInForce.OPG,
    "cls": TimeInForce.OPG,
}


class ApiError(Exception):
    """A refusal as the venue words it."""

    def __init__(self, status: int, code: int, message: str, **extra: Any) -> None:
        self.status = status
        self.body = {"code": code, "message": message, **extra}
        super().__init__(message)


class Ticket(msgspec.Struct, kw_only=True, eq=False):
    """`order` is what works in the exchange for it now; None: it waits for its session, or has ended. Stamps in ns, 0: never."""

    id: str
    client_id: str
    account: Account
    listing: Listing
    side: Side
    kind: str
    time_in_force: str
    qty: int
    limit: int | None
    stop: int | None
    is_extended: bool
    intent: str
    origin: Literal["client", "manual", "forced"] = "client"
    created_ts: int
    updated_ts: int
    status: str = "pending_new"
    filled: int = 0
    value: int = 0
    filled_ts: int = 0
    canceled_ts: int = 0
    expired_ts: int = 0
    failed_ts: int = 0
    replaced_ts: int = 0
    replaced_by: str = ""
    replaces: str = ""
    status_before: str = ""  # a request that is pending
    order: Order | None = None
    is_lost: bool = False

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def leaves(self) -> int:
        return max(self.qty - self.filled, 0)


def body_of(ticket: Ticket) -> dict[str, Any]:
    """The JSON of an order: numbers are strings, as the venue writes them."""
    rules = ticket.listing.rules
    average = None
    if ticket.filled:
        average = plain(ticket.value * 10_000 // ticket.filled, rules.price_scale + 4)
    return {
        "id": ticket.id,
        "client_order_id": ticket.client_id,
        "created_at": stamp_text(ticket.created_ts),
        "updated_at": stamp_text(ticket.updated_ts),
        "submitted_at": stamp_text(ticket.created_ts),
        "filled_at": _optional_stamp(ticket.filled_ts),
        "expired_at": _optional_stamp(ticket.expired_ts),
        "canceled_at": _optional_stamp(ticket.canceled_ts),
        "failed_at": _optional_stamp(ticket.failed_ts),
        "replaced_at": _optional_stamp(ticket.replaced_ts),
        "replaced_by": ticket.replaced_by or None,
        "replaces": ticket.replaces or None,
        "asset_id": asset_id(ticket.listing.name),
        "symbol": ticket.listing.name,
        "asset_class": "us_equity",
        "notional": None,
        "qty": plain(ticket.qty, rules.qty_scale),
        "filled_qty": plain(ticket.filled, rules.qty_scale),
        "filled_avg_price": average,
        "order_class": "",
        "order_type": ticket.kind,
        "type": ticket.kind,
        "side": ticket.side.name.lower(),
        "position_intent": ticket.intent,
        "time_in_force": ticket.time_in_force,
        "limit_price": price_text(rules, ticket.limit),
        "stop_price": price_text(rules, ticket.stop),
        "status": ticket.status,
        "extended_hours": ticket.is_extended,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
    }


def price_of(listing: Listing, fields: Mapping[str, Any], name: str) -> int | None:
    """A price of a request in points. Raises ApiError."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        price = parse_fixed(str(value), listing.rules.price_scale)
    except UnitError:
        raise ApiError(422, UNPROCESSABLE, f"invalid {name} {value}") from None
    if price <= 0:
        raise ApiError(422, UNPROCESSABLE, f"{name} must be > 0")
    if price % listing.rules.tick:
        text = f"invalid {name} {value}. sub-penny increment does not fulfill minimum pricing criteria"
        raise ApiError(422, UNPROCESSABLE, text)
    return price


def qty_of(listing: Listing, fields: Mapping[str, Any]) -> int:
    """A request's quantity in units. Raises ApiError."""
    value = fields.get("qty")
    try:
        qty = parse_fixed(str(value), listing.rules.qty_scale)
    except UnitError:
        raise ApiError(403, FORBIDDEN, f"asset {listing.name} is not fractionable") from None
    if qty <= 0:
        raise ApiError(422, INVALID_MEMBER, "qty must be > 0")
    if qty > listing.rules.qty_max:
        raise ApiError(422, UNPROCESSABLE, f"qty must be <= {listing.rules.qty_max}")
    return qty


def plain(value: int, scale: int) -> str:
    """A decimal without zeros at its end."""
    text = format_fixed(value, scale)
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_text(rules: Instrument, price: int | None) -> str | None:
    return None if price is None else plain(price, rules.price_scale)


def asset_id(symbol: str) -> str:
    """A UUID made of the symbol's letters: always the same one."""
    digits = symbol.encode().hex().ljust(32, "0")[:32]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def stamp_text(ts: int) -> str:
    """RFC 3339 in UTC with all nine decimals that are not zero at the end, as Go writes it."""
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    days, second = divmod(seconds, NS_PER_DAY // NS_PER_SECOND)
    year, month, day = _date_of(days)
    text = f"{year:04d}-{month:02d}-{day:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def _date_of(days: int) -> tuple[int, int, int]:
    found = date.fromordinal(days + date(1970, 1, 1).toordinal())
    return found.year, found.month, found.day


def _optional_stamp(ts: int) -> str | None:
    return stamp_text(ts) if ts else None
