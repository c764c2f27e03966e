"""Polygon (Massive): bars, prints and quotes of US equities, options, FX and crypto, by pages. Pure but for its door."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import polars as pl

from adapters.history.calendar import days, months
from adapters.history.tables import Ask, Door, Kind, Row, Unit, decimal_text, frame_of, read_json, whole
from core.errors import ConfigError, RefusedError, VenueProtocolError
from core.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND

ORIGIN = "https://api.polygon.io"
PAGE_ROWS = 50_000
PAGES_MAX = 10_000
SPANS = ((NS_PER_DAY, "day"), (60 * NS_PER_MINUTE, "hour"), (NS_PER_MINUTE, "minute"), (NS_PER_SECOND, "second"))


_NEXT = re.compile(r"https?://[^/?#]+(/[\w/.:%~-]*)\?(?:[^#]*&)?cursor=([\w.~%=-]+)(?:&[^#]*)?\Z", re.ASCII)


class Polygon:
    name = "polygon"
    kinds: tuple[Kind, ...] = (Kind.BARS, Kind.TRADES, Kind.QUOTES)
    markets: tuple[str, ...] = ()
    needs_key = True
    requests_per_minute = 5

    def __init__(self, origin: str = ORIGIN) -> None:
        self._origin = origin

    def units(self, ask: Ask) -> list[Unit]:
        if ask.kind is Kind.BARS:
            _span(ask.interval_ns)
            return months(ask.start, ask.end)
        return days(ask.start, ask.end)

    async def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        symbol = ask.symbol.replace("/", "%2F")
        if ask.kind is Kind.BARS:
            count, span = _span(ask.interval_ns)
            path = f"/v2/aggs/ticker/{symbol}/range/{count}/{span}/{unit.start // NS_PER_MS}/{unit.end // NS_PER_MS - 1}"
            # Split-adjusted prices are not those that anybody traded at.
            parameters = {"adjusted": "false", "sort": "asc", "limit": str(PAGE_ROWS)}
        else:
            path = f"/v3/{ask.kind.value}/{symbol}"
            parameters = {"timestamp.gte": str(unit.start), "timestamp.lt": str(unit.end), "order": "asc", "sort": "timestamp"}
            parameters["limit"] = str(PAGE_ROWS)
        url = f"{self._origin}{path}"
        for _ in range(PAGES_MAX):
            answer = read_json(await door.get(url, parameters))
            if not isinstance(answer, dict) or answer.get("status") not in ("OK", "DELAYED"):
                raise RefusedError(f"polygon says {_said(answer)}")
            yield frame_of(ask.kind, [_ROWS[ask.kind](item) for item in answer.get("results") or ()])
            following = answer.get("next_url")
            if not following:
                return
            found = _NEXT.match(str(following))
            if found is None:
                raise VenueProtocolError(f"polygon: {following!r} is no address of a next page")
            # Only the path: whoever could write another host into an answer would be given the key.
            url, parameters = f"{self._origin}{found[1]}", {"cursor": found[2]}
        raise VenueProtocolError(f"polygon: more than {PAGES_MAX} pages for {unit.name}")


def _span(interval_ns: int) -> tuple[int, str]:
    for length, name in SPANS:
        if interval_ns and interval_ns % length == 0:
            return interval_ns // length, name
    raise ConfigError("polygon has bars of whole seconds, minutes, hours and days")


def _said(answer: Any) -> str:
    return str(answer.get("error") or answer.get("message") or answer.get("status")) if isinstance(answer, dict) else repr(answer)


def _field(item: Any, name: str) -> Any:
    if not isinstance(item, dict) or name not in item:
        raise VenueProtocolError(f"polygon: a result without {name!r}")
    return item[name]


def _bar(item: Any) -> Row:
    stamp = whole(_field(item, "t"), "t") * NS_PER_MS
    return (stamp, *(decimal_text(_field(item, name), name) for name in ("o", "h", "l", "c", "v")))


def _trade(item: Any) -> Row:
    stamp = whole(item.get("participant_timestamp") or _field(item, "sip_timestamp"), "sip_timestamp")
    price, size = decimal_text(_field(item, "price"), "price"), decimal_text(_field(item, "size"), "size")
    return (stamp, price, size, "none", str(item.get("id") or item.get("sequence_number") or "0"))


def _quote(item: Any) -> Row:
    stamp = whole(_field(item, "sip_timestamp"), "sip_timestamp")
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    # A side that nobody quotes is left out of the answer.
    return (stamp, *(decimal_text(item.get(name, "0"), name) for name in names))


_ROWS = {Kind.BARS: _bar, Kind.TRADES: _trade, Kind.QUOTES: _quote}
