"""Binance's decimal texts and stamps as our integers: exactly, or a VenueProtocolError that names the field."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from core.errors import UnitError, VenueProtocolError
from core.instruments import MONEY_SCALE, Instrument
from core.units import INT64_MAX, NS_PER_MS, NS_PER_US, parse_fixed

# Wire integers are ids and stamps: never beyond int64.
Count = Annotated[int, Meta(ge=0, le=INT64_MAX)]
Number = Annotated[int, Meta(ge=-1, le=INT64_MAX)]  # -1 is Binance's "none"
Text = Annotated[str, Meta(max_length=64)]
LongText = Annotated[str, Meta(max_length=2000)]


def price_of(instrument: Instrument, text: str, field: str) -> int:
    """Points. 0 stands for "no price" at Binance and passes."""
    return _exact(instrument, text, field, instrument.price_scale)


def qty_of(instrument: Instrument, text: str, field: str) -> int:
    """Units, not negative."""
    return _exact(instrument, text, field, instrument.qty_scale)


def signed_qty_of(instrument: Instrument, text: str, field: str) -> int:
    """Units; a short position is negative."""
    return -qty_of(instrument, text[1:], field) if text.startswith("-") else qty_of(instrument, text, field)


def _exact(instrument: Instrument, text: str, field: str, scale: int) -> int:
    try:
        value = parse_fixed(text, scale)
    except UnitError as error:
        # A venue that made its tick finer sends what our instrument cannot hold: its rules must be loaded again.
        raise VenueProtocolError(f"{instrument.instrument_id}: {field}: {error}") from error
    if value < 0:
        raise VenueProtocolError(f"{instrument.instrument_id}: {field} {text[:40]!r} is negative")
    return value


def money_of(text: str, field: str) -> int:
    """10^-MONEY_SCALE of a currency. Digits beyond are cut: no fill may be lost for its fee's dust."""
    whole, dot, fraction = text.partition(".")
    plain = whole + dot + fraction[:MONEY_SCALE] if fraction.isdecimal() else text
    try:
        return parse_fixed(plain, MONEY_SCALE)
    except UnitError as error:
        raise VenueProtocolError(f"{field}: {error}") from error


def total_of(free: str, locked: str) -> int:
    """What an account holds, as `money_of`, however much that is: of cheap coins there is more than 64 bits count."""
    total = 0
    for text in (free, locked):
        whole, _, fraction = text.partition(".")
        if not (text.isascii() and whole.isdecimal() and (not fraction or fraction.isdecimal())):
            raise VenueProtocolError(f"{text[:40]!r} is no balance")
        total += int(whole + fraction[:MONEY_SCALE].ljust(MONEY_SCALE, "0"))
    return total


def stamp_of(stamp: int) -> int:
    """ns UTC from ms, or from µs where the connection asked for them; the ranges do not overlap between 2001 and 2286."""
    if 10**12 <= stamp < 10**13:
        return stamp * NS_PER_MS
    if 10**15 <= stamp < 10**16:
        return stamp * NS_PER_US
    raise VenueProtocolError(f"{stamp} is neither milliseconds nor microseconds since 1970")
