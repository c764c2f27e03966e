"""OANDA's texts as integers and back: decimal numbers, times of RFC 3339, transaction ids. Exact, or VenueProtocolError. Pure."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

from core.errors import UnitError, VenueProtocolError
from core.units import NS_PER_SECOND, POW10, divide_half_even, parse_fixed

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,17}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?", re.ASCII)


def time_of(text: str) -> int:
    """ns UTC of "2016-10-24T21:48:18.593753865Z"."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise VenueProtocolError(f"{text[:40]!r} is no time")
    year, month, day, hour, minute, second, fraction = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise VenueProtocolError(f"{text[:40]!r} is no time: {error}") from error
    if moment.year < 1970 or moment.year > 2200:
        raise VenueProtocolError(f"{text[:40]!r} is no time of ours")
    digits = fraction or ""
    return calendar.timegm(moment.utctimetuple()) * NS_PER_SECOND + int(digits.ljust(9, "0"))


def text_of_time(ts: int) -> str:
    """As OANDA writes it, all nine digits."""
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def number_of(text: str) -> int:
    """A transaction's, and so an order's, number."""
    if _NUMBER.fullmatch(text) is None:
        raise VenueProtocolError(f"{text[:40]!r} is no transaction id")
    return int(text)


def decimal_of(text: str, scale: int, what: str) -> int:
    """`text` at `scale`, exactly."""
    if _DECIMAL.fullmatch(text) is None:
        raise VenueProtocolError(f"{what} {text[:40]!r} is no number")
    try:
        return parse_fixed(text, scale)
    except UnitError as error:
        raise VenueProtocolError(f"{what}: {error}") from error


def positive_of(text: str, scale: int, what: str) -> int:
    value = decimal_of(text, scale, what)
    if value <= 0:
        raise VenueProtocolError(f"{what} {text[:40]!r} must be more than 0")
    return value


def rounded_of(text: str, scale: int, what: str) -> int:
    """`text` at `scale`, to the nearest where it is finer: for money in more digits than we count, and average prices."""
    if _DECIMAL.fullmatch(text) is None:
        raise VenueProtocolError(f"{what} {text[:40]!r} is no number")
    whole, _, fraction = text.partition(".")
    if len(fraction) <= scale:
        return decimal_of(text, scale, what)
    magnitude = divide_half_even(int(whole.removeprefix("-") + fraction), POW10[len(fraction) - scale])
    return -magnitude if text.startswith("-") else magnitude


def cut_of(text: str, scale: int, what: str) -> int:
    """`text` at `scale`, cut down where it is finer: for amounts on offer."""
    if _DECIMAL.fullmatch(text) is None or text.startswith("-"):
        raise VenueProtocolError(f"{what} {text[:40]!r} is no amount")
    whole, _, fraction = text.partition(".")
    return decimal_of(f"{whole}.{fraction[:scale]}" if fraction[:scale] else whole, scale, what)
