"""Commands as the library's orders, and what the gateway has no word for. Pure.

Prices and quantities go out as Decimal made of the exact text of their integers: the library writes their text as it is.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from adapters.ib.contracts import Listed
from adapters.ib.library import Order
from adapters.ib.messages import OpenOrder
from adapters.ib.numbers import decimal_of
from core.commands import SubmitOrder
from core.enums import OrderType, Reason, Side, TimeInForce
from core.errors import VenueProtocolError
from core.instruments import Instrument
from core.units import NS_PER_SECOND

ORDER_TYPES = {OrderType.LIMIT: "LMT", OrderType.MARKET: "MKT", OrderType.STOP: "STP", OrderType.STOP_LIMIT: "STP LMT"}
ORDER_TYPES_BACK = {text: kind for kind, text in ORDER_TYPES.items()}
TIMES_IN_FORCE = {
    TimeInForce.DAY: "DAY",
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.GTD: "GTD",
    TimeInForce.OPG: "OPG",
}
ACTIONS = {Side.BUY: "BUY", Side.SELL: "SELL"}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL, "SSHORT": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}


def impossible(command: SubmitOrder, listed: Listed, ts: int) -> tuple[Reason, str] | None:
    """Why the gateway has no word for this order; None where it has."""
    if command.post_only:
        return Reason.POST_ONLY, "there is no post-only order"
    if command.time_in_force is TimeInForce.GTD and command.expire_ts < ts + NS_PER_SECOND:
        return Reason.BAD_FIELD, "a GTD order needs a time that is still to come"
    if command.order_type is OrderType.MARKET and not listed.has_market_orders:
        return Reason.BAD_FIELD, "the exchange takes no market orders for this contract"
    if command.display_qty and command.display_qty % 10**listed.instrument.qty_scale:
        return Reason.BAD_QTY, "what is displayed is a whole number"
    return None


def side_of(text: str) -> Side:
    side = SIDES.get(text)
    if side is None:
        raise VenueProtocolError(f"{text[:20]!r} is no side")
    return side


def order_of(command: SubmitOrder, instrument: Instrument, *, account: str, reference: str, outside_hours: bool) -> Any:
    order = Order(
        action=ACTIONS[command.side],
        totalQuantity=decimal_of(instrument.format_qty(command.quantity)),
        orderType=ORDER_TYPES[command.order_type],
        tif=TIMES_IN_FORCE[command.time_in_force],
        account=account,
        orderRef=reference,
        outsideRth=outside_hours,
        displaySize=command.display_qty // 10**instrument.qty_scale,
    )
    if command.price is not None:
        order.lmtPrice = decimal_of(instrument.format_price(command.price))
    if command.trigger_price is not None:
        order.auxPrice = decimal_of(instrument.format_price(command.trigger_price))
    if command.time_in_force is TimeInForce.GTD:
        # With a dash it is UTC, whatever the gateway's own zone is.
        order.goodTillDate = datetime.fromtimestamp(command.expire_ts // NS_PER_SECOND, UTC).strftime("%Y%m%d-%H:%M:%S")
    return order


def order_from(terms: OpenOrder) -> Any:
    """As the gateway shows an order, to be changed: what is not shown is as it is where nobody says anything."""
    order = Order(
        action=terms.action,
        totalQuantity=decimal_of(terms.total),
        orderType=terms.order_type,
        tif=terms.time_in_force,
        goodTillDate=terms.good_till,
        account=terms.account,
        orderRef=terms.order_ref,
        outsideRth=terms.is_outside_hours,
        displaySize=terms.display,
    )
    if terms.limit_price is not None and terms.order_type in ("LMT", "STP LMT"):
        order.lmtPrice = decimal_of(terms.limit_price)
    if terms.trigger_price is not None and terms.order_type in ("STP", "STP LMT"):
        order.auxPrice = decimal_of(terms.trigger_price)
    return order


def changed(order: Any, instrument: Instrument, total: int, price: int) -> Any:
    """The same order with another total quantity and limit price."""
    order = copy.copy(order)
    order.totalQuantity = decimal_of(instrument.format_qty(total))
    order.lmtPrice = decimal_of(instrument.format_price(price))
    return order


def market_order(instrument: Instrument, side: Side, qty: int, *, account: str, reference: str, outside_hours: bool) -> Any:
    """Of a switch: `qty` in units."""
    return Order(
        action=ACTIONS[side],
        totalQuantity=decimal_of(instrument.format_qty(qty)),
        orderType="MKT",
        tif="DAY",
        account=account,
        orderRef=reference,
        outsideRth=outside_hours,
    )
