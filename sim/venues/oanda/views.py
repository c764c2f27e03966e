"""What can be asked about an account, as OANDA's JSON: the account, its orders, trades and positions, prices. Pure."""

from __future__ import annotations

from typing import Any

from core.enums import MarketStatus
from core.units import POW10
from sim.venues.exchange.model import Listing, Order
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook, Ticket, Trade, terms_of
from sim.venues.oanda.dealer import LIQUIDITY, Quoted
from sim.venues.oanda.engine import Engine
from sim.venues.oanda.pairs import HOME, ORDER_UNITS_MAX, Pair


def order_view(book: AccountBook, order: Order, asked_for: str = "") -> dict[str, Any]:
    """`asked_for`: a number that it had before shows the order that bore it."""
    ticket, pair = _ticket(order), _pair(order.listing)
    number = asked_for or ticket.id
    is_now = number == ticket.id
    qty = order.leaves_qty if order.is_open else order.qty
    state = "PENDING" if order.is_open else ticket.end_state or "CANCELLED"
    if not is_now:
        state = "FILLED" if number in ticket.filled_as else "CANCELLED"
    found = {
        "id": number,
        "createTime": text.time(book.times[int(number) - 1]),
        "type": ticket.kind,
        "state": state,
        **terms_of(pair, order, ticket, qty),
    }
    if state == "FILLED" and is_now:
        found["fillingTransactionID"] = ticket.end_transaction
    elif state == "CANCELLED" and is_now:
        found["cancellingTransactionID"] = ticket.end_transaction
    if is_now and len(ticket.ids) > 1:
        found["replacesOrderID"] = ticket.ids[1]
    return found


def written_order(book: AccountBook, number: str) -> dict[str, Any] | None:
    """An order that the exchange never saw, out of the transactions that made and canceled it."""
    if not number.isdecimal() or not 0 < int(number) <= len(book.transactions):
        return None
    made = book.transactions[int(number) - 1]
    if not made["type"].endswith("_ORDER"):
        return None
    shown = {key: value for key, value in made.items() if key not in ("accountID", "userID", "batchID", "requestID", "reason")}
    return shown | {"type": made["type"].removesuffix("_ORDER"), "createTime": made["time"], "state": "CANCELLED"}


def trade_view(engine: Engine, trade: Trade) -> dict[str, Any]:
    listing, quoted = engine.exchange.listings[trade.instrument], engine.dealer.quotes[trade.instrument]
    price = (quoted.bid if trade.units > 0 else quoted.ask) or quoted.mid
    return {
        "id": trade.id,
        "instrument": trade.instrument,
        "price": text.number(trade.price, trade.digits),
        "openTime": text.time(trade.opened_ts),
        "state": "OPEN",
        "initialUnits": str(trade.initial),
        "currentUnits": str(trade.units),
        "realizedPL": "0.0000",
        "unrealizedPL": text.money(listing.rules.notional(price - trade.price, trade.units)),
        "financing": "0.0000",
    }


def position_view(book: AccountBook, listing: Listing) -> dict[str, Any]:
    pair = _pair(listing)
    sides: dict[str, dict[str, Any]] = {}
    for key, sign in (("long", 1), ("short", -1)):
        trades = [trade for trade in book.trades if trade.instrument == pair.name and trade.units * sign > 0]
        units = sum(trade.units for trade in trades)
        side: dict[str, Any] = {"units": str(units), "pl": "0.0000", "resettablePL": "0.0000", "unrealizedPL": "0.0000"}
        if trades:
            value = sum(trade.units * trade.price for trade in trades)
            side["averagePrice"] = text.number(value // units, pair.digits)
            side["tradeIDs"] = [trade.id for trade in trades]
        sides[key] = side
    return {"instrument": pair.name, "pl": "0.0000", "resettablePL": "0.0000", "unrealizedPL": "0.0000", **sides}


def positions_view(engine: Engine, book: AccountBook, *, only_open: bool) -> list[dict[str, Any]]:
    found = []
    for name, listing in engine.exchange.listings.items():
        if name in book.account.positions and (book.account.qty(listing) or not only_open):
            found.append(position_view(book, listing))
    return found


def summary_view(engine: Engine, book: AccountBook, pending: list[Order]) -> dict[str, Any]:
    balance, unrealized, used = book.balance(), engine.unrealized(book), engine.margin_used(book)
    value = balance + unrealized
    open_positions = positions_view(engine, book, only_open=True)
    percent = used * POW10[5] // (2 * value) if value > 0 else POW10[5]
    return {
        "id": book.name,
        "alias": book.alias,
        "currency": HOME,
        "balance": text.money(balance),
        "createdByUserID": 4_711,
        "createdTime": text.time(book.times[0]),
        "pl": text.money(book.realized),
        "resettablePL": text.money(book.realized),
        "financing": text.money(book.financing),
        "commission": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "guaranteedStopLossOrderMode": "DISABLED",
        "marginRate": "0.02",
        "openTradeCount": len(book.trades),
        "openPositionCount": len(open_positions),
        "pendingOrderCount": len(pending),
        "hedgingEnabled": book.hedging,
        "unrealizedPL": text.money(unrealized),
        "NAV": text.money(value),
        "marginUsed": text.money(used),
        "marginAvailable": text.money(max(value - used, 0)),
        "positionValue": "0.0000",
        "marginCloseoutUnrealizedPL": text.money(unrealized),
        "marginCloseoutNAV": text.money(value),
        "marginCloseoutMarginUsed": text.money(used),
        "marginCloseoutPercent": text.number(percent, 5),
        "marginCloseoutPositionValue": "0.0000",
        "withdrawalLimit": text.money(max(value - used, 0)),
        "marginCallMarginUsed": text.money(used),
        "marginCallPercent": text.number(2 * percent, 5),
        "lastTransactionID": book.last_id,
    }


def account_view(engine: Engine, book: AccountBook, pending: list[Order]) -> dict[str, Any]:
    return summary_view(engine, book, pending) | {
        "orders": [order_view(book, order) for order in pending],
        "trades": [trade_view(engine, trade) for trade in book.trades],
        "positions": positions_view(engine, book, only_open=False),
    }


def instrument_view(listing: Listing) -> dict[str, Any]:
    pair = _pair(listing)
    return {
        "name": pair.name,
        "type": "CURRENCY",
        "displayName": pair.name.replace("_", "/"),
        "pipLocation": 1 - pair.digits,
        "displayPrecision": len(str(listing.rules.tick)) and pair.digits - (len(str(listing.rules.tick)) - 1),
        "tradeUnitsPrecision": listing.rules.qty_scale,
        "minimumTradeSize": str(listing.rules.qty_min),
        "maximumTrailingStopDistance": "1.00000",
        "minimumTrailingStopDistance": "0.00050",
        "maximumPositionSize": "0",
        "maximumOrderUnits": str(ORDER_UNITS_MAX),
        "marginRate": pair.margin_rate,
        "guaranteedStopLossOrderMode": "DISABLED",
        "tags": [{"type": "ASSET_CLASS", "name": "CURRENCY"}],
    }


def price_view(ts: int, listing: Listing, quoted: Quoted) -> dict[str, Any]:
    """As the stream has it."""
    pair = _pair(listing)
    is_open = listing.status is MarketStatus.TRADING and bool(quoted.size)
    bid, ask = text.number(quoted.bid, pair.digits), text.number(quoted.ask, pair.digits)
    size = quoted.size or LIQUIDITY
    return {
        "type": "PRICE",
        "time": text.time(ts),
        "bids": [{"price": bid, "liquidity": size}],
        "asks": [{"price": ask, "liquidity": size}],
        "closeoutBid": bid,
        "closeoutAsk": ask,
        "status": "tradeable" if is_open else "non-tradeable",
        "tradeable": is_open,
        "instrument": pair.name,
    }


def _ticket(order: Order) -> Ticket:
    assert isinstance(order.tag, Ticket)
    return order.tag


def _pair(listing: Listing) -> Pair:
    assert isinstance(listing.tag, Pair)
    return listing.tag
