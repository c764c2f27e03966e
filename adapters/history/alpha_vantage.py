"""Alpha Vantage: bars of equities by month, and daily ones. Pure but for its door. Its times are those of New York."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from adapters.history.calendar import EPOCH, months
from adapters.history.tables import Ask, Door, Kind, Row, Unit, decimal_text, frame_of, read_json
from core.errors import ConfigError, RefusedError, VenueProtocolError
from core.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND

ORIGIN = "https://www.alphavantage.co"
INTERVALS = {1: "1min", 5: "5min", 15: "15min", 30: "30min", 60: "60min"}
NAMES = ("1. open", "2. high", "3. low", "4. close", "5. volume")
ZONE = "US/Eastern"


class AlphaVantage:
    name = "alphavantage"
    kinds: tuple[Kind, ...] = (Kind.BARS,)
    markets: tuple[str, ...] = ()
    needs_key = True
    requests_per_minute = 5

    def __init__(self, origin: str = ORIGIN) -> None:
        self._origin = origin

    def units(self, ask: Ask) -> list[Unit]:
        if ask.interval_ns == NS_PER_DAY:
            return [Unit("all", ask.start, ask.end)]
        _interval(ask.interval_ns)
        return months(ask.start, ask.end)

    async def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        parameters = {"symbol": ask.symbol, "outputsize": "full"}
        if ask.interval_ns == NS_PER_DAY:
            parameters["function"] = "TIME_SERIES_DAILY"
        else:
            interval = _interval(ask.interval_ns)
            # Split-adjusted prices are not those that anybody traded at.
            parameters |= {"function": "TIME_SERIES_INTRADAY", "interval": interval, "month": unit.name, "adjusted": "false"}
        rows = read_series(read_json(await door.get(f"{self._origin}/query", parameters)))
        yield frame_of(ask.kind, [row for row in rows if unit.start <= int(row[0]) < unit.end])


def _interval(interval_ns: int) -> str:
    found = INTERVALS.get(interval_ns // NS_PER_MINUTE) if interval_ns % NS_PER_MINUTE == 0 else None
    if found is None:
        raise ConfigError("alphavantage has bars of 1m, 5m, 15m, 30m, 1h and 1d")
    return found


def read_series(answer: Any) -> list[Row]:
    """Oldest first. Raises RefusedError for the words that it says instead of data, with status 200."""
    if not isinstance(answer, dict):
        raise VenueProtocolError("alphavantage: the answer is no object")
    for name in ("Error Message", "Note", "Information"):
        if name in answer:
            raise RefusedError(f"alphavantage says {answer[name]}")
    found = [value for name, value in answer.items() if name.startswith("Time Series")]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise VenueProtocolError(f"alphavantage: no time series in {sorted(answer)}")
    meta = answer.get("Meta Data")
    told = [value for name, value in meta.items() if name.endswith("Time Zone")] if isinstance(meta, dict) else []
    if told != [ZONE]:
        raise VenueProtocolError(f"alphavantage: the time zone is {told}, not {ZONE}")
    rows: list[Row] = []
    for stamp, item in found[0].items():
        if not isinstance(item, dict):
            raise VenueProtocolError(f"alphavantage: {stamp}: no bar")
        rows.append((_time(stamp), *(decimal_text(item.get(name), f"{stamp}: {name}") for name in NAMES)))
    return sorted(rows)


def _time(text: str) -> int:
    """A day alone is its midnight UTC: the stamp of a daily bar, whatever the exchange's hours."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise VenueProtocolError(f"alphavantage: {text!r} is no time") from None
    zone = ZoneInfo(ZONE) if len(text) > len("2024-01-31") else EPOCH.tzinfo
    return int(moment.replace(tzinfo=zone).timestamp()) * NS_PER_SECOND
