"""What a row of the transaction log means: money that no fill explains, or a contract that was delivered. Pure.

A trade's row says again what the fill says, and is passed over. Of a settlement only the funding is money of its own: what was
gained is in the prices of fills, whether it has reached the balance or not. A delivery closes a position as a fill does, at the
price that it was delivered at; what an option brings comes as money, and what its price is too coarse to say besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Raw, UnsetType

from adapters.deribit.exact import exact, rounded_money
from adapters.deribit.instruments import VENUE, VenueInstrument
from adapters.deribit.wire import LogRow
from core.enums import CashKind, InstrumentClass, LiquiditySide, Side
from core.errors import VenueProtocolError
from core.events import CashMoved, OrderFilled
from core.instruments import MONEY_SCALE
from core.order_store import FOREIGN_ORDER_ID
from core.units import NS_PER_MS, divide_half_even

_TRANSFERS = ("deposit", "withdrawal", "transfer")
_SIDES = {"close buy": Side.BUY, "close sell": Side.SELL}


class Meaning(NamedTuple):
    """`text`: what a person should hear; empty: nothing."""

    moves: tuple[CashMoved, ...] = ()
    fills: tuple[OrderFilled, ...] = ()
    text: str = ""


NOTHING = Meaning()


def meaning_of(ts: int, row: LogRow, instruments: Mapping[str, VenueInstrument]) -> Meaning:
    """Raises VenueProtocolError for a row whose numbers cannot be read."""
    name = row.instrument_name or ""
    venue = instruments.get(name)
    if venue is None:
        # Of the account, or of an instrument whose fills nobody books here: then all of it is money without a fill.
        return _unexplained(ts, row, name)
    if row.type == "trade" or row.trade_id is not None:
        return NOTHING
    match row.type:
        case "settlement":
            interest = row.interest_pl if _is_null(row.total_interest_pl) else row.total_interest_pl
            return Meaning(_moved(ts, row, CashKind.FUNDING, _money(interest), venue))
        case "delivery":
            return _delivered(ts, row, venue)
        case "correction":
            return Meaning(_moved(ts, row, CashKind.CORRECTION, _money(row.change), venue))
    if not _money(row.change):
        return NOTHING
    return Meaning(text=f"row {row.id} of {name} is a {row.type!r} of {_text(row.change)} {row.currency}: it is not booked")


def _unexplained(ts: int, row: LogRow, name: str) -> Meaning:
    amount = _money(row.change)
    if row.type in _TRANSFERS:
        return Meaning(_moved(ts, row, CashKind.TRANSFER, amount))
    if row.type == "correction":
        return Meaning(_moved(ts, row, CashKind.CORRECTION, amount))
    if name:
        kind = CashKind.SETTLEMENT if row.type in ("settlement", "delivery") else CashKind.OTHER
        return Meaning(_moved(ts, row, kind, amount))
    known = row.type in ("swap", "trade") or not amount
    text = "" if known else f"row {row.id} is a {row.type!r} of {_text(row.change)} {row.currency}: booked as it is"
    return Meaning(_moved(ts, row, CashKind.OTHER, amount), text=text)


def _delivered(ts: int, row: LogRow, venue: VenueInstrument) -> Meaning:
    instrument = venue.instrument
    side = _SIDES.get(row.side or "")
    qty = exact(row.amount, instrument.qty_scale) if isinstance(row.amount, Raw) else 0
    if side is None or qty <= 0:
        raise VenueProtocolError(f"row {row.id}: a delivery of {_text(row.amount)} {venue.name}, {row.side!r}")
    commission, rest = _money(row.commission), 0
    if instrument.instrument_class is InstrumentClass.OPTION:
        # What it brings is in `change`; `price` is that of what it is an option on.
        sign = 1 if side is Side.SELL else -1
        value = sign * (_money(row.change) + commission)
        price = divide_half_even(value, instrument.notional(1, qty))
        rest = sign * (value - instrument.notional(price, qty))
    elif isinstance(row.price, Raw):
        price = rounded_money(row.price, instrument.price_scale)
    else:
        raise VenueProtocolError(f"row {row.id}: a delivery without a price")
    if price < 0 or (price == 0 and instrument.instrument_class is not InstrumentClass.OPTION):
        raise VenueProtocolError(f"row {row.id}: a delivery at {price} points")
    fill = OrderFilled(
        row.timestamp * NS_PER_MS,
        ts,
        FOREIGN_ORDER_ID,
        instrument.instrument_id,
        f"delivery-{row.currency}-{row.id}",
        side,
        price,
        qty,
        0,
        LiquiditySide.TAKER,
        commission,
        row.currency,
    )
    return Meaning(_moved(ts, row, CashKind.SETTLEMENT, rest, venue), (fill,), f"{venue.name} was delivered: {qty} units")


def _moved(ts: int, row: LogRow, kind: CashKind, amount: int, venue: VenueInstrument | None = None) -> tuple[CashMoved, ...]:
    if not amount:
        return ()
    key = "" if venue is None else venue.instrument.instrument_id
    # The id is unique; whether among all currencies nobody says [?].
    name = f"{row.currency}-{row.id}"
    return (CashMoved(row.timestamp * NS_PER_MS, ts, VENUE, name, kind, row.currency, amount, key),)


def _is_null(number: Raw | UnsetType) -> bool:
    return not isinstance(number, Raw) or bytes(number) == b"null"


def _money(number: Raw | UnsetType) -> int:
    """10^-MONEY_SCALE; null is nothing."""
    return rounded_money(number, MONEY_SCALE) if isinstance(number, Raw) and not _is_null(number) else 0


def _text(number: Raw | UnsetType) -> str:
    return bytes(number)[:40].decode("ascii", "replace") if isinstance(number, Raw) else "nothing"
