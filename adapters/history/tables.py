"""What a source of recorded market data is asked for, and what it gives: chunks of rows of stamps and decimal text. Pure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import msgspec
import polars as pl

from core.errors import RefusedError, VenueProtocolError


class Kind(Enum):
    BARS = "bars"
    TRADES = "trades"
    QUOTES = "quotes"


# Of each kind, in order: ts_event is int ns UTC (of a bar: its beginning), the rest decimal text; trade_id may be any text.
COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.BARS: ("ts_event", "open", "high", "low", "close", "volume"),
    Kind.TRADES: ("ts_event", "price", "qty", "side", "trade_id"),
    Kind.QUOTES: ("ts_event", "bid_price", "bid_qty", "ask_price", "ask_qty"),
}
NOT_NUMBERS = ("ts_event", "side", "trade_id")

Row = tuple[int | str, ...]


class StatusError(RefusedError):
    """The source answered with a status that is no 200."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def frame_of(kind: Kind, rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as a chunk: some consecutive rows of a unit, ts_event as int64 and the rest as text."""
    schema = {name: pl.Int64() if name == "ts_event" else pl.String() for name in COLUMNS[kind]}
    return pl.DataFrame(rows, schema=schema, orient="row")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """[start, end) in ns UTC. `interval_ns` of bars, else 0. `market`: one of the source's markets, "" for its first.

    `price_scale`: decimals that prices are rounded to, of a source that only has floats.
    """

    kind: Kind
    symbol: str
    start: int
    end: int
    interval_ns: int = 0
    market: str = ""
    price_scale: int = 2


class Unit(msgspec.Struct, frozen=True):
    """What is fetched, kept and fetched again as a whole: [start, end) in ns UTC under a name that sorts as time does."""

    name: str
    start: int
    end: int


# (url, query parameters) -> the body of a 200, of one page. Raises RefusedError, TransportError, VenueProtocolError.
Get = Callable[[str, dict[str, str]], Awaitable[bytes]]
# url -> the body of a 200 of any size, as a file that is gone after use. Raises as Get does.
Download = Callable[[str], AbstractAsyncContextManager[Path]]


@dataclass(frozen=True, slots=True)
class Door:
    """The ways out that a source is given."""

    get: Get
    download: Download


class Source(Protocol):
    """`markets`: what `Ask.market` may be; empty: there is only one. `needs_key`: a secret must be named."""

    name: str
    kinds: tuple[Kind, ...]
    markets: tuple[str, ...]
    needs_key: bool
    requests_per_minute: int  # of the most modest plan; 0: no limit is known

    def units(self, ask: Ask) -> list[Unit]:
        """Oldest first, over the whole of [start, end). Raises ConfigError for what the source does not have."""

    def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        """The unit's rows, oldest first, in chunks (`frame_of`) that fit in memory; none where the source has none."""


def decimal_text(value: Any, what: str) -> str:
    """A JSON number's own digits without an exponent. Raises VenueProtocolError for what is no finite number."""
    if not isinstance(value, str):
        raise VenueProtocolError(f"{what}: {value!r} is no number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise VenueProtocolError(f"{what}: {value!r} is no number") from None
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise VenueProtocolError(f"{what}: {value!r} is no number that can be stored")
    return format(number, "f")


def whole(value: Any, what: str) -> int:
    """A whole number, as JSON gives it to `read_json`."""
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) <= 19:
        return int(value)
    raise VenueProtocolError(f"{what}: {value!r} is no whole number")


def read_json(body: bytes) -> Any:
    """JSON with every number as its own text. Raises VenueProtocolError."""
    try:
        return json.loads(body, parse_float=str, parse_int=str, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise VenueProtocolError(f"the answer is no JSON: {error}") from None


def _no_number(text: str) -> str:
    raise ValueError(f"{text} is no number")
