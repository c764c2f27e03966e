"""What a client asks for, read and refused in OANDA's words: order requests into orders of the exchange. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from core.enums import OrderType, Reason, Side, TimeInForce
from core.units import POW10
from sim.venues.exchange.model import Listing, NewOrder
from sim.venues.oanda import text
from sim.venues.oanda.account import Ticket
from sim.venues.oanda.pairs import Pair

CLIENT_ID_CHARACTERS_MAX = 128
KINDS = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP": OrderType.STOP,
    "MARKET_IF_TOUCHED": OrderType.STOP,
}
TIMES = {
    "GTC": TimeInForce.GTC,
    "GTD": TimeInForce.GTD,
    "GFD": TimeInForce.DAY,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
}
_TIMES_OF = {
    "MARKET": ("FOK", "IOC"),
    "LIMIT": ("GTC", "GTD", "GFD", "FOK", "IOC"),
    "STOP": ("GTC", "GTD", "GFD"),
    "MARKET_IF_TOUCHED": ("GTC", "GTD", "GFD"),
}
_POSITION_FILLS = ("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY")
# What the exchange says no to, in the words of a reject transaction; None: the order is made and canceled at once instead.
REJECTS = {
    Reason.BAD_QTY: "UNITS_INVALID",
    Reason.BAD_PRICE: "PRICE_INVALID",
    Reason.BAD_TICK: "PRICE_PRECISION_EXCEEDED",
    Reason.BAD_FIELD: "ORDER_FILL_POSITION_ACTION_INVALID",
    Reason.FULL: "PENDING_ORDERS_ALLOWED_EXCEEDED",
}


class BadRequest(Exception):
    """`reason` is a reject reason; `is_order` False: it was no order at all, and no transaction tells of it."""

    def __init__(self, reason: str, *, is_order: bool = True) -> None:
        self.reason, self.is_order = reason, is_order
        super().__init__(reason)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    listing: Listing
    new: NewOrder
    ticket: Ticket


def read_order(ts: int, body: Any, listings: Mapping[str, Listing]) -> Asked:
    """Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("Invalid value specified for 'order'", is_order=False)
    kind = body.get("type", "MARKET")
    if kind not in KINDS:
        raise BadRequest("Invalid value specified for 'type'", is_order=False)
    name = body.get("instrument")
    if not name:
        raise BadRequest("INSTRUMENT_MISSING")
    listing = listings.get(name) if isinstance(name, str) else None
    if listing is None:
        raise BadRequest("INSTRUMENT_UNKNOWN")
    pair = _pair(listing)
    units = _units(body.get("units"), listing)
    word = body.get("timeInForce", "FOK" if kind == "MARKET" else "GTC")
    if word not in _TIMES_OF[kind]:
        raise BadRequest("TIME_IN_FORCE_INVALID")
    expire_ts = _expiry(ts, word, body.get("gtdTime"))
    position_fill = body.get("positionFill", "DEFAULT")
    if position_fill not in _POSITION_FILLS:
        raise BadRequest("ORDER_FILL_POSITION_ACTION_INVALID")
    price = None if kind == "MARKET" else _price(body, "price", pair, "PRICE")
    bound = None if body.get("priceBound") is None else _price(body, "priceBound", pair, "PRICE_BOUND")
    if bound is not None and (kind not in ("STOP", "MARKET") or word not in ("GTC", "FOK", "IOC")):
        raise BadRequest("PRICE_BOUND_INVALID")
    extensions = _extensions(body.get("clientExtensions"))
    return Asked(
        listing=listing,
        new=_new_order(kind, units, price, bound, TIMES[word], expire_ts, position_fill, extensions.get("id", "")),
        ticket=Ticket(
            ids=[],
            kind=kind,
            reason="CLIENT_ORDER",
            time_in_force=word,
            position_fill=position_fill,
            gtd_time=text.time(expire_ts) if expire_ts else "",
            extensions=extensions,
        ),
    )


def _new_order(
    kind: str,
    units: int,
    price: int | None,
    bound: int | None,
    time_in_force: TimeInForce,
    expire_ts: int,
    position_fill: str,
    client_id: str,
) -> NewOrder:
    order_type, limit, trigger = KINDS[kind], price, None
    if order_type is OrderType.STOP:
        # Filled at once behind its trigger, within the bound where it has one.
        order_type, limit, trigger = (OrderType.STOP, None, price) if bound is None else (OrderType.STOP_LIMIT, bound, price)
        time_in_force = time_in_force if bound is None else TimeInForce.IOC
    elif kind == "MARKET" and bound is not None:
        order_type, limit = OrderType.LIMIT, bound
    elif kind == "LIMIT" and time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
        # A dealer keeps it until its own price is there; nobody else's order ever meets it.
        order_type, trigger = OrderType.STOP_LIMIT, price
    side = Side.BUY if units > 0 else Side.SELL
    return NewOrder(
        side=side,
        qty=abs(units),
        price=limit,
        order_type=order_type,
        time_in_force=time_in_force,
        trigger_price=trigger,
        trigger_by=None if trigger is None else ("mark" if side is Side.BUY else "index"),
        is_if_touched=kind in ("MARKET_IF_TOUCHED", "LIMIT") and trigger is not None,
        reduce_only=position_fill == "REDUCE_ONLY",
        expire_ts=expire_ts,
        client_id=client_id,
    )


def _units(value: Any, listing: Listing) -> int:
    if value is None:
        raise BadRequest("UNITS_MISSING")
    found = text.read_decimal(value)
    if found is None or not found[0]:
        raise BadRequest("UNITS_INVALID")
    units, decimals = found
    if decimals > listing.rules.qty_scale:
        raise BadRequest("UNITS_PRECISION_EXCEEDED")
    if abs(units) > listing.rules.qty_max:
        raise BadRequest("UNITS_LIMIT_EXCEEDED")
    return units


def _price(body: Mapping[str, Any], key: str, pair: Pair, word: str) -> int:
    if body.get(key) is None:
        raise BadRequest(f"{word}_MISSING")
    found = text.read_decimal(body[key])
    if found is None or found[0] <= 0:
        raise BadRequest(f"{word}_INVALID")
    value, decimals = found
    if decimals > pair.digits:
        raise BadRequest(f"{word}_PRECISION_EXCEEDED")
    return value * POW10[pair.digits - decimals]


def _expiry(ts: int, word: str, value: Any) -> int:
    if word != "GTD":
        return 0
    if value is None:
        raise BadRequest("TIME_IN_FORCE_GTD_TIMESTAMP_MISSING")
    found = text.read_time(value) if isinstance(value, str) else None
    if found is None:
        raise BadRequest("Invalid value specified for 'gtdTime'", is_order=False)
    if found <= ts:
        raise BadRequest("TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST")
    return found


def _extensions(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise BadRequest("Invalid value specified for 'clientExtensions'", is_order=False)
    if len(value.get("id", "")) > CLIENT_ID_CHARACTERS_MAX or not value.get("id", "x").isprintable():
        raise BadRequest("CLIENT_ORDER_ID_INVALID")
    return {key: each for key, each in value.items() if key in ("id", "tag", "comment") and each}


def _pair(listing: Listing) -> Pair:
    assert isinstance(listing.tag, Pair)
    return listing.tag
