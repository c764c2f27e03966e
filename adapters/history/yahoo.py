"""Yahoo Finance through yfinance: bars for a first look, and nothing that trades should rest on them.

What comes has gone through 32-bit floats and is rounded to `price_scale`; yfinance answers an empty table where it could not ask
at all, so an empty answer is an error here.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from datetime import datetime

import polars as pl

from adapters.history.calendar import day_of, days
from adapters.history.tables import Ask, Door, Kind, Row, Unit, decimal_text, frame_of
from core.errors import ConfigError, VenueProtocolError
from core.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND, POW10, divide_half_even, format_fixed

INTERVALS = {1: "1m", 2: "2m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 1_440: "1d"}
DAYS_PER_REQUEST = {"1m": 7}  # its own limit; other bars within a day: 59
COLUMNS = ("", "Open", "High", "Low", "Close", "Volume")  # the first is the time


class Yahoo:
    name = "yfinance"
    kinds: tuple[Kind, ...] = (Kind.BARS,)
    markets: tuple[str, ...] = ()
    needs_key = False
    requests_per_minute = 30

    def units(self, ask: Ask) -> list[Unit]:
        interval = _interval(ask.interval_ns)
        if interval == "1d":
            return [Unit("all", ask.start, ask.end)]
        return days(ask.start, ask.end, DAYS_PER_REQUEST.get(interval, 59))

    async def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        parameters = {"symbol": ask.symbol, "interval": _interval(ask.interval_ns)}
        parameters |= {"start": f"{day_of(unit.start):%Y-%m-%d}", "end": f"{day_of(unit.end + NS_PER_DAY - 1):%Y-%m-%d}"}
        yield frame_of(ask.kind, read_csv(await door.get("yfinance", parameters), ask.price_scale))


def _interval(interval_ns: int) -> str:
    found = INTERVALS.get(interval_ns // NS_PER_MINUTE) if interval_ns % NS_PER_MINUTE == 0 else None
    if found is None:
        raise ConfigError("yfinance has bars of 1m, 2m, 5m, 15m, 30m, 1h and 1d")
    return found


def read_csv(body: bytes, price_scale: int) -> list[Row]:
    """What pandas writes of the table, oldest first. Raises VenueProtocolError; rows without a price are left out."""
    lines = list(csv.reader(body.decode("utf-8").splitlines()))
    names = lines[0] if lines else []
    if not all(name in names for name in COLUMNS):
        raise VenueProtocolError(f"yfinance: its columns are {names}, and {COLUMNS} are needed")
    places = [names.index(name) for name in COLUMNS]
    rows: list[Row] = []
    for number, fields in enumerate(lines[1:], start=2):
        stamp, *prices, volume = (fields[place] for place in places)
        if "" in prices:
            continue
        # The first of its columns are floats that were 32 bits wide: their further digits mean nothing.
        texts = [rounded(decimal_text(price, f"row {number}"), price_scale) for price in prices]
        rows.append((_stamp(stamp), *texts, decimal_text(volume or "0", f"row {number}")))
    return rows


def rounded(text: str, scale: int) -> str:
    """Decimal text with `scale` decimals, half-even."""
    whole, _, fraction = text.partition(".")
    value, surplus = int(whole + fraction), len(fraction) - scale
    return format_fixed(divide_half_even(value, POW10[surplus]) if surplus > 0 else value * POW10[-surplus], scale)


def _stamp(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise VenueProtocolError(f"yfinance: {text!r} is no time") from None
    if moment.tzinfo is None:
        raise VenueProtocolError(f"yfinance: {text!r} has no zone")
    return int(moment.timestamp()) * NS_PER_SECOND
