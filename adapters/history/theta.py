"""Theta Data: US equities and options from the Theta Terminal on this machine (version 2). Pure but for its door.

Options are named as OCC does: ROOT + yymmdd + C or P + strike in thousandths of a dollar on eight digits (AAPL240119C00190000).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from adapters.history.calendar import days
from adapters.history.tables import Ask, Door, Kind, Row, StatusError, Unit, decimal_text, frame_of, read_json, whole
from core.errors import ConfigError, RefusedError, VenueProtocolError
from core.units import NS_PER_MS, NS_PER_SECOND

ORIGIN = "http://127.0.0.1:25510"
PAGES_MAX = 10_000
NO_DATA_STATUS = 472  # for a day without data
ZONE = ZoneInfo("America/New_York")
PATHS = {Kind.BARS: "ohlc", Kind.TRADES: "trade", Kind.QUOTES: "quote"}
FIELDS = {
    Kind.BARS: ("open", "high", "low", "close", "volume"),
    Kind.TRADES: ("price", "size"),
    Kind.QUOTES: ("bid", "bid_size", "ask", "ask_size"),
}
_OPTION = re.compile(r"([A-Z.]{1,6})(\d{6})([CP])(\d{8})\Z", re.ASCII)


class Theta:
    name = "theta"
    kinds: tuple[Kind, ...] = (Kind.BARS, Kind.TRADES, Kind.QUOTES)
    markets: tuple[str, ...] = ()
    needs_key = False
    requests_per_minute = 0

    def __init__(self, origin: str = ORIGIN) -> None:
        self._origin = origin

    def units(self, ask: Ask) -> list[Unit]:
        if ask.kind is Kind.BARS and (ask.interval_ns % NS_PER_MS or ask.interval_ns < NS_PER_MS):
            raise ConfigError("theta has bars of whole milliseconds")
        return days(ask.start, ask.end)

    async def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        day = unit.name.replace("-", "")
        option = _OPTION.match(ask.symbol)
        parameters = {"start_date": day, "end_date": day}
        if option is None:
            parameters["root"] = ask.symbol
        else:
            parameters |= {"root": option[1], "exp": f"20{option[2]}", "right": option[3], "strike": str(int(option[4]))}
        if ask.kind is not Kind.TRADES:
            parameters["ivl"] = str(ask.interval_ns // NS_PER_MS) if ask.kind is Kind.BARS else "0"
        url = f"{self._origin}/v2/hist/{'stock' if option is None else 'option'}/{PATHS[ask.kind]}"
        for _ in range(PAGES_MAX):
            try:
                answer = read_json(await door.get(url, parameters))
            except StatusError as error:
                if error.status == NO_DATA_STATUS:
                    return
                raise
            found, following = read_page(ask.kind, answer)
            yield frame_of(ask.kind, found)
            if not following:
                return
            # The next page is a whole address, of the terminal itself.
            if not following.startswith(f"{self._origin}/"):
                raise VenueProtocolError(f"theta: the next page is elsewhere: {following!r}")
            url, parameters = following, {}
        raise VenueProtocolError(f"theta: more than {PAGES_MAX} pages for {unit.name}")


def read_page(kind: Kind, answer: Any) -> tuple[list[Row], str]:
    """Its rows, and the address of the next page or ""."""
    header = answer.get("header") if isinstance(answer, dict) else None
    if not isinstance(header, dict) or not isinstance(header.get("format"), list):
        raise VenueProtocolError("theta: an answer without its header")
    if header.get("error_type") not in (None, "null"):
        if header["error_type"] == "NO_DATA":
            return [], ""
        raise RefusedError(f"theta says {header['error_type']}: {header.get('error_msg')}")
    names = header["format"]
    wanted = ("ms_of_day", "date", *FIELDS[kind])
    if not all(name in names for name in wanted):
        raise VenueProtocolError(f"theta: the answer has {names}, and {wanted} are needed")
    places = [names.index(name) for name in wanted]
    sequence = names.index("sequence") if "sequence" in names else None
    rows: list[Row] = []
    for item in answer.get("response") or ():
        if not isinstance(item, list) or len(item) != len(names):
            raise VenueProtocolError("theta: a row of another length than its header")
        since, date, *values = (item[place] for place in places)
        row: Row = (_time(str(date), whole(since, "ms_of_day")), *(decimal_text(value, "value") for value in values))
        if kind is Kind.BARS and row[1] == "0" and row[5] == "0":
            continue  # its word for an interval without a trade
        rows.append((*row, "none", str(item[sequence]) if sequence is not None else "0") if kind is Kind.TRADES else row)
    following = header.get("next_page")
    return rows, "" if following in (None, "null") else str(following)


def _time(date: str, ms_of_day: int) -> int:
    """Milliseconds of the day count from midnight in New York, by the clock on the wall."""
    try:
        day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=ZONE)
    except ValueError:
        raise VenueProtocolError(f"theta: {date!r} is no date") from None
    moment = day + timedelta(seconds=ms_of_day // 1_000)
    return int(moment.timestamp()) * NS_PER_SECOND + ms_of_day % 1_000 * NS_PER_MS
