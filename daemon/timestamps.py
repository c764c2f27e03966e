"""Moments as text and back, exact to the nanosecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.errors import ConfigError
from core.units import NS_PER_SECOND

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def iso(ts: int) -> str:
    """ns UTC as ISO 8601 with all nine decimals."""
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def parse_moment(text: str) -> int:
    """ISO 8601 with its offset, up to nine decimals, or whole ns: as ns UTC. Raises ConfigError."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    match = _MOMENT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1] + match[3])
    except ValueError:
        raise ConfigError(f"{text!r} is no moment; write for example 2026-01-05T14:30:00.25Z, or ns since 1970") from None
    return int(moment.timestamp()) * NS_PER_SECOND + int((match[2] or "").ljust(9, "0"))
