"""The messages of orders as the gateway writes them, by server version. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from core.enums import OrderType, Side, TimeInForce
from core.instruments import MONEY_SCALE
from core.units import NS_PER_SECOND, format_fixed
from sim.venues.exchange.model import Fill, Order, State
from sim.venues.ib.listed import contract_of
from sim.venues.ib.wire import UNSET, frame

ZONE = ZoneInfo("US/Eastern")
TYPES = {OrderType.LIMIT: "LMT", OrderType.MARKET: "MKT", OrderType.STOP: "STP", OrderType.STOP_LIMIT: "STP LMT"}
TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.DAY: "DAY",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.GTD: "GTD",
    TimeInForce.OPG: "OPG",
}


class Ticket(msgspec.Struct, kw_only=True):
    """What the gateway knows of an order besides; its Order's `tag`. order_id and client_id 0: sent by hand."""

    order_id: int
    client_id: int
    perm_id: int
    account: str
    reference: str
    exchange: str
    good_till: str = ""
    is_outside_hours: bool = False
    is_ending: bool = False  # a cancel was taken and is on its way
    is_inactive: bool = False
    only_reduces: bool = False  # when it came in: all of it could do no more than close the position


def ticket_of(order: Order) -> Ticket:
    assert isinstance(order.tag, Ticket)
    return order.tag


def status_of(order: Order) -> str:
    if order.state is State.FILLED:
        return "Filled"
    if order.state in (State.CANCELED, State.EXPIRED):
        return "Cancelled"
    if order.state is State.REJECTED or ticket_of(order).is_inactive:
        return "Inactive"
    if ticket_of(order).is_ending:
        return "PendingCancel"
    return "PreSubmitted" if order.state is State.UNTRIGGERED or order.is_waiting else "Submitted"


def stamp(ts: int) -> str:
    """In whole seconds and the zone of the gateway, as executions are stamped."""
    return datetime.fromtimestamp(ts // NS_PER_SECOND, UTC).astimezone(ZONE).strftime("%Y%m%d %H:%M:%S US/Eastern")


def price_text(order: Order, price: int | None) -> str:
    return "0.0" if price is None else _double(order.listing.rules.format_price(price))


def qty_text(order: Order, qty: int) -> str:
    text = order.listing.rules.format_qty(qty)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _double(text: str) -> str:
    """As a double prints: no zeros at the end but one."""
    return text.rstrip("0") + "0" if text.rstrip("0").endswith(".") else (text.rstrip("0") if "." in text else f"{text}.0")


def average(order: Order) -> str:
    if not order.filled_qty:
        return "0.0"
    return _double(format_fixed(order.value * 10**4 // order.filled_qty, order.listing.rules.price_scale + 4))


def error(version: int, number: int, code: int, text: str) -> bytes:
    return frame(4, 2, number, code, text, *([""] if version >= 166 else []))


def order_status(order: Order, status: str = "", last_price: int | None = None) -> bytes:
    ticket = ticket_of(order)
    left = max(order.qty - order.filled_qty, 0)
    return frame(
        3,
        ticket.order_id,
        status or status_of(order),
        qty_text(order, order.filled_qty),
        qty_text(order, left),
        average(order),
        ticket.perm_id,
        0,
        price_text(order, last_price),
        ticket.client_id,
        "trigger" if order.state is State.UNTRIGGERED else "",
        "0.0",
    )


def open_order(order: Order, version: int, status: str = "") -> bytes:
    ticket, known = ticket_of(order), contract_of(order.listing)
    fields: list[object] = [5, ticket.order_id, *known.fields(ticket.exchange)]
    fields += [
        "BUY" if order.side is Side.BUY else "SELL",
        qty_text(order, order.qty),
        TYPES[order.order_type],
        price_text(order, order.price),
        price_text(order, order.trigger_price),
        TIMES[order.time_in_force],
        "",  # ocaGroup
        ticket.account,
        "",  # openClose
        0,  # origin
        ticket.reference,
        ticket.client_id,
        ticket.perm_id,
        ticket.is_outside_hours,
        False,  # hidden
        "0",  # discretionaryAmt
        "",  # goodAfterTime
        "",  # shares allocation
        "",  # faGroup
        "",  # faMethod
        "",  # faPercentage
        *([""] if version < 177 else []),  # faProfile
        "",  # modelCode
        ticket.good_till,
        "",  # rule80A
        "",  # percentOffset
        "",  # settlingFirm
        0,  # shortSaleSlot
        "",  # designatedLocation
        -1,  # exemptCode
        0,  # auctionStrategy
        "",  # startingPrice
        "",  # stockRefPrice
        "",  # delta
        "",  # stockRangeLower
        "",  # stockRangeUpper
        order.display_qty // 10**order.listing.rules.qty_scale,
        False,  # blockOrder
        False,  # sweepToFill
        False,  # allOrNone
        "",  # minQty
        *_rest(order, status),
    ]
    for since, count in ((159, 1), (160, 1), (162, 1), (170, 5)):
        if version >= since:
            fields += ["0"] if since == 162 else [""] * count
    return frame(*fields)


def _rest(order: Order, status: str) -> list[object]:
    """From ocaType on: what only other kinds of orders say, and the order's state."""
    return [
        3,  # ocaType
        False,  # eTradeOnly
        False,  # firmQuoteOnly
        "",  # nbboPriceCap
        0,  # parentId
        0,  # triggerMethod
        "",  # volatility
        0,  # volatilityType
        "None",  # deltaNeutralOrderType
        "",  # deltaNeutralAuxPrice
        0,  # deltaNeutralConId
        "",
        "",
        "",
        "?",
        False,
        0,
        "",
        False,  # continuousUpdate
        0,  # referencePriceType
        "",  # trailStopPrice
        "",  # trailingPercent
        "",  # basisPoints
        "",  # basisPointsType
        "",  # comboLegsDescrip
        0,
        0,
        0,  # legs, their prices, routing parameters
        "",
        "",
        "",  # scale
        "",  # hedgeType
        False,  # optOutSmartRouting
        "",  # clearingAccount
        "IB",  # clearingIntent
        False,  # notHeld
        False,  # deltaNeutralContract
        "",  # algoStrategy
        False,  # solicited
        False,  # whatIf
        status or status_of(order),
        *[UNSET] * 9,  # margins before, changed, after
        "",
        "",
        "",
        "",
        "",  # commissions, their currency, warning
        False,
        False,  # randomize
        0,  # conditions
        "None",  # adjustedOrderType
        price_text(order, order.trigger_price),
        UNSET,
        UNSET,
        UNSET,
        UNSET,
        UNSET,
        0,
        "",
        "",
        "",  # soft dollars
        "0",  # cashQty
        True,
        False,
        False,
        False,
    ]


def execution_id(fill: Fill) -> str:
    """The parts a correction keeps, and its version."""
    return f"0000e1a7.65a{fill.corrects or fill.number:05x}.01.{2 if fill.corrects else 1:02d}"


def execution(fill: Fill, version: int, request: int = -1, *, execution: str = "") -> bytes:
    order = fill.order
    ticket, known, then = ticket_of(order), contract_of(order.listing), fill.order_then
    return frame(
        11,
        request,
        ticket.order_id,
        *known.fields(ticket.exchange),
        execution or execution_id(fill),
        stamp(fill.ts),
        ticket.account,
        ticket.exchange,
        "BOT" if order.side is Side.BUY else "SLD",
        qty_text(order, fill.qty),
        price_text(order, fill.price),
        ticket.perm_id,
        ticket.client_id,
        0,
        qty_text(order, then.filled_qty),
        average(then),
        ticket.reference,
        "",
        "",
        "",
        1 if fill.is_maker else 2,
        *([False] if version >= 178 else []),
    )


def commission(fill: Fill, *, execution: str = "", currency: str = "", amount: int | None = None) -> bytes:
    paid = fill.fee if amount is None else amount
    profit = _double(format_fixed(fill.profit, MONEY_SCALE)) if fill.profit else UNSET
    return frame(
        59,
        1,
        execution or execution_id(fill),
        _double(format_fixed(paid, MONEY_SCALE)),
        currency or fill.fee_currency,
        profit,
        UNSET,
        "",
    )
