"""Numbers and times as OANDA writes them, and as clients may write them to it. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.units import NS_PER_SECOND, format_fixed

_DECIMAL = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,12}))?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")
MONEY_DIGITS = 4
MONEY_STEP = 10**4  # 10^-8


def number(value: int, digits: int) -> str:
    return format_fixed(value, digits)


def rounded(value: int) -> int:
    """10^-8 of a currency to the nearest that can be written."""
    whole = (abs(value) + MONEY_STEP // 2) // MONEY_STEP * MONEY_STEP
    return -whole if value < 0 else whole


def money(value: int) -> str:
    """10^-8 of a currency, in four decimals, to the nearest."""
    return format_fixed(rounded(value) // MONEY_STEP, MONEY_DIGITS)


def time(ts: int) -> str:
    seconds, rest = divmod(ts, NS_PER_SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"


def http_date(ts: int) -> str:
    return datetime.fromtimestamp(ts // NS_PER_SECOND, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def read_time(text: str) -> int | None:
    """RFC 3339 in UTC, or seconds since 1970 with decimals; None for anything else."""
    seconds = _DECIMAL.fullmatch(text)
    if seconds is not None and not seconds[1]:
        return int(seconds[2]) * NS_PER_SECOND + int((seconds[3] or "")[:9].ljust(9, "0"))
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1] + "+00:00")
    except ValueError:
        return None
    return int(moment.timestamp()) * NS_PER_SECOND + int((found[2] or "").ljust(9, "0"))


def read_decimal(text: object) -> tuple[int, int] | None:
    """(digits as one whole number, how many are decimals): "-1.20" is (-12, 1). None for what is no number in a string."""
    found = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    decimals = (found[3] or "").rstrip("0")
    value = int(found[2] + decimals)
    return (-value if found[1] else value), len(decimals)
