"""Alpaca's numbers and stamps as exact integers: from their text, or from the shortest text of a MessagePack float. Pure.

REST writes numbers as JSON strings, sometimes as JSON numbers, so structs keep a number's own bytes (msgspec.Raw) until its scale
is known. The market data stream sends doubles; the shortest text that reads back as the same double is what the venue wrote, as
long as it has no more than 15 digits, and no price here has.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Final

from msgspec import Raw
from msgspec.msgpack import Ext

from core.errors import UnitError, VenueProtocolError
from core.units import INT64_MAX, NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND, parse_fixed

NULL: Final = Raw(b"null")
NUMBER_BYTES_MAX = 64
DIGITS_OF_A_DOUBLE = 15
READ_DOUBLES_MAX = 1 << 16
EXT_TIMESTAMP = -1  # MessagePack's own extension type
NS_IN_SECOND_MAX = NS_PER_SECOND - 1

_STAMP = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:Z|([+-])(\d{2}):(\d{2}))\Z", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})\Z", re.ASCII)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECONDS_32 = struct.Struct(">I")
_PACKED_64 = struct.Struct(">Q")
_SECONDS_96 = struct.Struct(">Iq")


def is_null(number: Raw) -> bool:
    return bytes(number) == b"null"


def number_of(number: Raw, scale: int, field: str) -> int:
    """A JSON number, or a string that holds one, at `scale`. Raises VenueProtocolError for anything else and for null."""
    raw = bytes(number)
    if len(raw) > NUMBER_BYTES_MAX:
        raise VenueProtocolError(f"{field}: a number of {len(raw)} bytes")
    text = raw[1:-1] if raw[:1] == b'"' else raw
    try:
        return parse_fixed(text.decode("ascii"), scale)
    except (UnitError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{field}: {error}") from error


def optional_number(number: Raw, scale: int, field: str) -> int | None:
    return None if is_null(number) else number_of(number, scale, field)


def number_of_double(value: float, scale: int, field: str) -> int:
    """What the venue wrote before it became a double. Raises VenueProtocolError where that cannot be said, or is too fine."""
    if type(value) is int:
        return _in_64_bits(value * 10**scale, field)
    if not math.isfinite(value):
        raise VenueProtocolError(f"{field}: {value!r} is no number")
    text = repr(value)
    if len(text.lstrip("-0.").replace(".", "")) > DIGITS_OF_A_DOUBLE + 1 and "e" not in text:
        raise VenueProtocolError(f"{field}: {text} has more digits than a double keeps")
    try:
        return parse_fixed(text, scale)
    except UnitError as error:
        raise VenueProtocolError(f"{field}: {error}") from error


class ScaledDoubles(dict[float, int]):
    """Doubles and what they are at one scale: prices and sizes repeat. Looking up one that is missing reads it, or raises."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self._scale = scale

    def __missing__(self, value: float) -> int:
        found = number_of_double(value, self._scale, "number")
        if len(self) >= READ_DOUBLES_MAX:
            self.clear()
        self[value] = found
        return found


def _in_64_bits(value: int, field: str) -> int:
    if not -INT64_MAX <= value <= INT64_MAX:
        raise VenueProtocolError(f"{field}: does not fit in 64 bits")
    return value


# Stamps.


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date of the Gregorian calendar. Raises VenueProtocolError for one that does not exist."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1970 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month - 1] + (is_leap and month == 2)):
        raise VenueProtocolError(f"there is no date {year:04d}-{month:02d}-{day:02d}")
    before = year - 1
    leaps = before // 4 - before // 100 + before // 400 - (1969 // 4 - 1969 // 100 + 1969 // 400)
    return (year - 1970) * 365 + leaps + sum(_MONTH_DAYS[: month - 1]) + (is_leap and month > 2) + day - 1


def date_days(text: str) -> int:
    """ "2026-11-20" as days since 1970. Raises VenueProtocolError."""
    match = _DATE.match(text)
    if match is None:
        raise VenueProtocolError(f"{text[:40]!r} is no date")
    return days_of(int(match[1]), int(match[2]), int(match[3]))


def stamp_of(text: str, field: str) -> int:
    """ns UTC of an RFC 3339 stamp with up to nine decimals, which no datetime of Python keeps. Raises VenueProtocolError."""
    match = _STAMP.match(text)
    if match is None:
        raise VenueProtocolError(f"{field}: {text[:40]!r} is no stamp")
    year, month, day, hour, minute, second = (int(match[number]) for number in range(1, 7))
    if hour > 23 or minute > 59 or second > 60:
        raise VenueProtocolError(f"{field}: {text[:40]!r} is no time of day")
    stamp = days_of(year, month, day) * NS_PER_DAY + (hour * 60 + minute) * NS_PER_MINUTE + second * NS_PER_SECOND
    stamp += int((match[7] or "0").ljust(9, "0"))
    if match[8]:
        offset = (int(match[9]) * 60 + int(match[10])) * NS_PER_MINUTE
        stamp += -offset if match[8] == "+" else offset
    if not 0 <= stamp <= INT64_MAX:
        raise VenueProtocolError(f"{field}: {text[:40]!r} is out of range")
    return stamp


def stamp_text(ts: int) -> str:
    """ns UTC as the venue reads it in a query."""
    days, rest = divmod(ts, NS_PER_DAY)
    second, fraction = divmod(rest, NS_PER_SECOND)
    year, month, day = date_of_days(days)
    hour, second = divmod(second, 3_600)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{second // 60:02d}:{second % 60:02d}.{fraction:09d}Z"


def date_of_days(days: int) -> tuple[int, int, int]:
    """Year, month and day of so many days since 1970-01-01."""
    # Civil-from-days (Hinnant): eras of 400 years that begin in March, so that the leap day is the last of its year.
    shifted = days + 719_468
    era, of_era = divmod(shifted, 146_097)
    of_year_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_year_era + of_year_era // 4 - of_year_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return of_year_era + era * 400 + (month <= 2), month, day


def stamp_of_ext(ext: Ext, field: str) -> int:
    """ns UTC of MessagePack's timestamp in its three lengths. Raises VenueProtocolError."""
    data = bytes(ext.data)
    if ext.code != EXT_TIMESTAMP:
        raise VenueProtocolError(f"{field}: extension {ext.code} is no stamp")
    if len(data) == 4:
        seconds, fraction = _SECONDS_32.unpack(data)[0], 0
    elif len(data) == 8:
        packed = _PACKED_64.unpack(data)[0]
        seconds, fraction = packed & ((1 << 34) - 1), packed >> 34
    elif len(data) == 12:
        fraction, seconds = _SECONDS_96.unpack(data)
    else:
        raise VenueProtocolError(f"{field}: a stamp of {len(data)} bytes")
    stamp = seconds * NS_PER_SECOND + fraction
    if fraction > NS_IN_SECOND_MAX or not 0 <= stamp <= INT64_MAX:
        raise VenueProtocolError(f"{field}: a stamp out of range")
    return int(stamp)
