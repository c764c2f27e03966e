"""Binance's public archive: zip files of CSV by month and day, each with its SHA-256 beside it. Pure but for `get`.

Months come whole once they are over; the days of the running one come one by one, about a day late. Since 2025 spot files have
microseconds, all others milliseconds: told apart by size.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator

from adapters.history.calendar import day_of, days, months, ns_of
from adapters.history.tables import Ask, Get, Kind, Row, Unit, decimal_text
from core.errors import ConfigError, RefusedError, VenueProtocolError
from core.units import NS_PER_MS, NS_PER_SECOND, NS_PER_US

ORIGIN = "https://data.binance.vision"
UNZIPPED_BYTES_MAX = 8 << 30
FOLDERS = {"spot": "spot", "usdm": "futures/um", "coinm": "futures/cm"}
FILES = {Kind.BARS: "klines", Kind.TRADES: "aggTrades", Kind.QUOTES: "bookTicker"}
INTERVALS = {
    1: "1s", 60: "1m", 180: "3m", 300: "5m", 900: "15m", 1_800: "30m", 3_600: "1h", 7_200: "2h", 14_400: "4h", 21_600: "6h",
    28_800: "8h", 43_200: "12h", 86_400: "1d",
}  # fmt: skip
FIELDS_MIN = {Kind.BARS: 6, Kind.TRADES: 7, Kind.QUOTES: 7}
MICROSECONDS_FROM = 10**14


class BinanceArchive:
    name = "binance"
    kinds: tuple[Kind, ...] = (Kind.BARS, Kind.TRADES, Kind.QUOTES)
    markets: tuple[str, ...] = ("spot", "usdm", "coinm")
    needs_key = False
    requests_per_minute = 0

    def __init__(self, origin: str = ORIGIN, now: Callable[[], int] = time.time_ns) -> None:
        self._origin = origin
        self._now = now

    def units(self, ask: Ask) -> list[Unit]:
        if ask.kind is Kind.BARS:
            self._interval(ask)
        elif ask.kind is Kind.QUOTES and ask.market in ("", "spot"):
            raise ConfigError("binance has no archive of spot quotes: use --market usdm or coinm, or --kind trades")
        running = day_of(self._now()).replace(day=1)
        whole = [unit for unit in months(ask.start, ask.end) if unit.end <= ns_of(running)]
        behind = max(ask.start, whole[-1].end if whole else ask.start)
        return whole + (days(behind, ask.end) if behind < ask.end else [])

    def _interval(self, ask: Ask) -> str:
        found = INTERVALS.get(ask.interval_ns // NS_PER_SECOND) if ask.interval_ns % NS_PER_SECOND == 0 else None
        if found is None:
            raise ConfigError(f"binance has bars of {', '.join(INTERVALS.values())}")
        return found

    async def fetch(self, get: Get, ask: Ask, unit: Unit) -> list[Row]:
        kind, span = FILES[ask.kind], "monthly" if len(unit.name) == len("2024-01") else "daily"
        middle = (f"{ask.symbol}/{self._interval(ask)}", self._interval(ask)) if ask.kind is Kind.BARS else (ask.symbol, kind)
        file = f"{ask.symbol}-{middle[1]}-{unit.name}.zip"
        url = f"{self._origin}/data/{FOLDERS[ask.market or 'spot']}/{span}/{kind}/{middle[0]}/{file}"
        try:
            body = await get(url, {})
        except RefusedError:
            return []  # not listed then, or not published yet
        told = (await get(f"{url}.CHECKSUM", {})).split()[:1]
        found = hashlib.sha256(body).hexdigest().encode()
        if told != [found]:
            raise VenueProtocolError(f"{file}: its SHA-256 is {found.decode()}, the archive says {told}")
        return list(read_archive(ask.kind, file, body))


def read_archive(kind: Kind, file: str, body: bytes) -> Iterator[Row]:
    """The rows of one zip. Raises VenueProtocolError for what is none of the archive's files."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            (member,) = archive.infolist()
            if member.file_size > UNZIPPED_BYTES_MAX:
                raise VenueProtocolError(f"{file}: unpacked it has {member.file_size} bytes, more than {UNZIPPED_BYTES_MAX}")
            with archive.open(member) as lines:
                for number, line in enumerate(lines, start=1):
                    fields = line.decode("ascii").strip().split(",")
                    if number == 1 and not fields[0].isdecimal():
                        continue  # futures files name their columns
                    if len(fields) < FIELDS_MIN[kind]:
                        raise VenueProtocolError(f"{file}:{number}: {len(fields)} fields")
                    yield _ROWS[kind](fields, f"{file}:{number}")
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise VenueProtocolError(f"{file}: {error}") from None


def _stamp(text: str, where: str) -> int:
    if not text.isdecimal() or len(text) > 16:
        raise VenueProtocolError(f"{where}: {text!r} is no time")
    value = int(text)
    return value * (NS_PER_US if value >= MICROSECONDS_FROM else NS_PER_MS)


def _bar(fields: list[str], where: str) -> Row:
    return (_stamp(fields[0], where), *(decimal_text(text, where) for text in fields[1:6]))


def _trade(fields: list[str], where: str) -> Row:
    if fields[6].lower() not in ("true", "false"):
        raise VenueProtocolError(f"{where}: {fields[6]!r} does not say who was the maker")
    side = "sell" if fields[6].lower() == "true" else "buy"  # the buyer was the maker: somebody sold
    return (_stamp(fields[5], where), decimal_text(fields[1], where), decimal_text(fields[2], where), side, fields[0])


def _quote(fields: list[str], where: str) -> Row:
    return (_stamp(fields[5], where), *(decimal_text(text, where) for text in fields[1:5]))


_ROWS: dict[Kind, Callable[[list[str], str], Row]] = {Kind.BARS: _bar, Kind.TRADES: _trade, Kind.QUOTES: _quote}
