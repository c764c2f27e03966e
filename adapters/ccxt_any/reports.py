"""ccxt's unified dictionaries as typed reports in our units: texts to integers, exactly, or VenueProtocolError. Pure.

ccxt is made to keep numbers as the texts that the exchange sent (exchange.py), so no float comes near a price.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from core.enums import LiquiditySide, Side
from core.errors import UnitError, VenueProtocolError
from core.instruments import MONEY_SCALE, Instrument
from core.units import INT64_MAX, NS_PER_MS, POW10, format_fixed, parse_fixed

ID_LENGTH_MAX = 128
LEVELS_MAX = 5_000
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
OPEN = "open"
ENDED = frozenset({"closed", "canceled", "expired", "rejected"})
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,2})?\Z", re.ASCII)
Json = Mapping[str, Any]


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is ccxt's: open, closed, canceled, expired or rejected. price None: the order has none, or it was not told."""

    venue_id: str
    client_text: str
    instrument_id: str
    side: Side
    price: int | None
    qty: int
    filled: int
    status: str
    ts: int  # ns UTC, 0 where it was not told
    reduce_only: bool = False

    @property
    def leaves(self) -> int:
        return self.qty - self.filled


class TradeReport(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str
    venue_order_id: str
    instrument_id: str
    side: Side
    price: int
    qty: int
    ts: int
    liquidity_side: LiquiditySide
    commission: int
    commission_currency: str


class Print(msgspec.Struct, frozen=True, kw_only=True):
    """A public trade. `name` tells it from others: its id, or what it says."""

    name: str
    ts: int
    price: int
    qty: int
    side: Side | None


def exact(text: str) -> Fraction:
    """A decimal number of any scale. Raises UnitError for what is none, or is longer than any of a market."""
    if _NUMBER.match(text) is None:
        raise UnitError(f"{text[:40]!r} is no decimal number of a market")
    return Fraction(text)


class Units:
    """One instrument in the exchange's words. ccxt counts contracts of `contract_size`; 1 for spot."""

    def __init__(self, instrument: Instrument, symbol: str, contract_size: Fraction) -> None:
        self.instrument = instrument
        self.symbol = symbol
        # Contracts per whole unit of the instrument's quantity.
        self._per_unit = Fraction(instrument.multiplier) / contract_size

    def contracts(self, qty: int) -> Fraction:
        return Fraction(qty, POW10[self.instrument.qty_scale]) * self._per_unit

    def amount_text(self, qty: int) -> str:
        """Raises UnitError for what is no number of contracts that can be written."""
        amount = self.contracts(qty)
        scale = 0
        while (amount * POW10[scale]).denominator != 1:
            scale += 1
            if scale > MONEY_SCALE + 4:
                raise UnitError(f"{self.symbol}: {self.instrument.format_qty(qty)} is no number of contracts")
        return format_fixed(int(amount * POW10[scale]), scale)

    def price_text(self, price: int) -> str:
        return self.instrument.format_price(price)

    def qty_of(self, text: str, field: str) -> int:
        try:
            contracts = exact(text)
        except UnitError as error:
            raise VenueProtocolError(f"{self.symbol}: {field}: {error}") from error
        units = contracts / self._per_unit * POW10[self.instrument.qty_scale]
        if units.denominator != 1 or abs(units) > INT64_MAX:
            raise VenueProtocolError(
                f"{self.symbol}: {field} {text[:40]!r} is no whole number of units of {self.instrument.instrument_id}"
            )
        return int(units)

    def price_of(self, text: str, field: str) -> int:
        try:
            return self.instrument.parse_price(text)
        except UnitError as error:
            raise VenueProtocolError(f"{self.symbol}: {field}: {error}") from error


def order_report(row: Json, units: Units) -> OrderReport:
    status = row.get("status")
    if status not in (OPEN, *ENDED):
        raise VenueProtocolError(f"{units.symbol}: an order with status {str(status)[:40]!r}")
    side = _SIDES.get(str(row.get("side")))
    if side is None:
        raise VenueProtocolError(f"{units.symbol}: an order of side {str(row.get('side'))[:40]!r}")
    qty = units.qty_of(_text(row, "amount"), "amount")
    filled = units.qty_of(_text(row, "filled"), "filled")
    if not 0 <= filled <= qty:
        raise VenueProtocolError(f"{units.symbol}: an order of {qty} units of which {filled} are filled")
    price = row.get("price")
    # Of a market order, and of one that has ended, ccxt may say the average of its executions: no price of the market.
    is_limit = status == OPEN and row.get("type") != "market"
    is_priced = is_limit and price is not None and str(price).strip("0.") != ""
    return OrderReport(
        venue_id=_id(row, "id"),
        client_text=_optional_id(row, "clientOrderId"),
        instrument_id=units.instrument.instrument_id,
        side=side,
        price=units.price_of(str(price), "price") if is_priced else None,
        qty=qty,
        filled=filled,
        status=str(status),
        ts=_stamp(row),
        reduce_only=row.get("reduceOnly") is True,
    )


def trade_report(row: Json, units: Units) -> TradeReport:
    side = _SIDES.get(str(row.get("side")))
    price, qty = units.price_of(_text(row, "price"), "price"), units.qty_of(_text(row, "amount"), "amount")
    ts = _stamp(row)
    if side is None or qty <= 0 or not ts:
        raise VenueProtocolError(f"{units.symbol}: an execution without its side, quantity or stamp: {str(row)[:200]}")
    commission, currency = _fee(row, units)
    return TradeReport(
        trade_id=_id(row, "id"),
        venue_order_id=_id(row, "order"),
        instrument_id=units.instrument.instrument_id,
        side=side,
        price=price,
        qty=qty,
        ts=ts,
        # Where it is not told the dearer one: a fee is told by itself.
        liquidity_side=LiquiditySide.MAKER if row.get("takerOrMaker") == "maker" else LiquiditySide.TAKER,
        commission=commission,
        commission_currency=currency,
    )


def public_print(row: Json, units: Units) -> Print:
    price, qty, ts = units.price_of(_text(row, "price"), "price"), units.qty_of(_text(row, "amount"), "amount"), _stamp(row)
    if qty <= 0 or not ts:
        raise VenueProtocolError(f"{units.symbol}: a print without its quantity or stamp: {str(row)[:200]}")
    name = _optional_id(row, "id") or f"{ts}/{price}/{qty}/{row.get('side')}"
    return Print(name=name, ts=ts, price=price, qty=qty, side=_SIDES.get(str(row.get("side"))))


def book_sides(row: Json, units: Units) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
    """The stamp (0 where none), bids and asks, best first. ccxt sorts by text; here it is by number."""
    if not isinstance(row, Mapping):
        raise VenueProtocolError(f"{units.symbol}: no order book: {str(row)[:80]}")
    sides = []
    for name in ("bids", "asks"):
        levels: dict[int, int] = {}
        rows = row.get(name)
        if not isinstance(rows, Sequence) or len(rows) > LEVELS_MAX:
            raise VenueProtocolError(f"{units.symbol}: an order book whose {name} are no list of levels")
        for level in rows:
            if not isinstance(level, list | tuple) or len(level) < 2:
                raise VenueProtocolError(f"{units.symbol}: a level of {name} that is none: {str(level)[:80]}")
            price, qty = units.price_of(str(level[0]), name), units.qty_of(str(level[1]), name)
            if price <= 0 or qty < 0 or price in levels:
                raise VenueProtocolError(f"{units.symbol}: an order book with {qty} at {price}")
            if qty:
                levels[price] = qty
        sides.append(sorted(levels.items(), reverse=name == "bids"))
    bids, asks = sides
    if not bids and not asks:
        # What ccxt makes of an answer that is no order book.
        raise VenueProtocolError(f"{units.symbol}: an order book without a level")
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise VenueProtocolError(f"{units.symbol}: an order book that is crossed: {bids[0][0]} bid, {asks[0][0]} asked")
    return _stamp(row), bids, asks


def position_qty(row: Json, units: Units) -> int:
    """Units held, negative where short. In hedge mode an instrument has two rows, which add up."""
    qty = units.qty_of(_text(row, "contracts"), "contracts")
    side = row.get("side")
    if qty and side not in ("long", "short"):
        raise VenueProtocolError(f"{units.symbol}: a position of side {str(side)[:40]!r}")
    return -abs(qty) if side == "short" else abs(qty)


def balance_qty(row: Json, units: Units) -> int:
    """What is held of the base currency in units, what is less than one of them left out."""
    total = row.get("total")
    text = total.get(units.instrument.base_currency) if isinstance(total, Mapping) else None
    if text is None:
        return 0
    whole, _, fraction = str(text).partition(".")
    try:
        return parse_fixed(
            f"{whole}.{fraction[: units.instrument.qty_scale]}" if fraction.isdecimal() else str(text), units.instrument.qty_scale
        )
    except UnitError as error:
        raise VenueProtocolError(f"{units.instrument.base_currency}: balance: {error}") from error


def balance_total(row: Json, currency: str) -> int | None:
    """What is held of it, free and used, in 10^-MONEY_SCALE, digits beyond cut; None where that is not said."""
    total = row.get("total")
    if not isinstance(total, Mapping):
        return None
    if currency not in total:
        return 0  # the exchange leaves zeros out
    if total[currency] is None:
        return None
    try:
        return math.floor(exact(str(total[currency])) * POW10[MONEY_SCALE])
    except UnitError as error:
        raise VenueProtocolError(f"{currency}: balance: {error}") from error


def _fee(row: Json, units: Units) -> tuple[int, str]:
    """In 10^-MONEY_SCALE, rounded up; of several the sum of those in the first one's currency."""
    single, several = row.get("fee"), row.get("fees")
    fees = [fee for fee in ([single] if single else several or []) if isinstance(fee, Mapping) and fee.get("cost") is not None]
    if not fees:
        return 0, units.instrument.settlement_currency
    currency = str(fees[0].get("currency") or units.instrument.settlement_currency)
    total = 0
    for fee in fees:
        if str(fee.get("currency") or currency) == currency:
            total += _money(str(fee["cost"]), units.symbol)
    return total, currency


def _money(text: str, symbol: str) -> int:
    """Never less than it is: cash that is short by dust is no matter, and more than there is would be one."""
    try:
        amount = math.ceil(exact(text) * POW10[MONEY_SCALE])
        if abs(amount) > INT64_MAX:
            raise UnitError(f"{text[:40]!r} does not fit in 64 bits")
        return amount
    except UnitError as error:
        raise VenueProtocolError(f"{symbol}: fee: {error}") from error


def _text(row: Json, field: str) -> str:
    value = row.get(field)
    if type(value) is not str and type(value) is not int:
        raise VenueProtocolError(f"{field} is missing or no number: {str(value)[:40]!r}")
    return str(value)


def _id(row: Json, field: str) -> str:
    found = _optional_id(row, field)
    if not found:
        raise VenueProtocolError(f"{field} is missing")
    return found


def _optional_id(row: Json, field: str) -> str:
    value = row.get(field)
    if value is None:
        return ""
    if type(value) is not str or len(value) > ID_LENGTH_MAX or not value.isprintable():
        raise VenueProtocolError(f"{field} is no id: {str(value)[:40]!r}")
    return value


def _stamp(row: Json) -> int:
    stamp = row.get("timestamp")
    if stamp is None:
        return 0
    if type(stamp) is not int or not 10**11 < stamp < 10**14:
        raise VenueProtocolError(f"timestamp {str(stamp)[:40]!r} is not in milliseconds since 1970")
    return stamp * NS_PER_MS
