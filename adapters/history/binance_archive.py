"""Binance's public archive: zip files of CSV by month and day, each with its SHA-256 beside it. Pure but for its door.

Bars come by months once these are over, and by days in the running one, about a day late; trades and quotes, of which a month may
be a hundred million, come by days. A file is on the disk while it is read, and goes through memory by blocks of lines. Since 2025
spot files have microseconds, all others milliseconds: told apart by size.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

import polars as pl

from adapters.history.calendar import day_of, days, months, ns_of
from adapters.history.tables import Ask, Door, Kind, Row, StatusError, Unit, decimal_text, frame_of
from core.errors import ConfigError, VenueProtocolError
from core.units import NS_PER_MS, NS_PER_SECOND, NS_PER_US

ORIGIN = "https://data.binance.vision"
UNZIPPED_BYTES_MAX = 64 << 30
BLOCK_BYTES = 1 << 23  # of lines that are in memory at once
LINE_BYTES_MAX = 1 << 12
NOT_THERE = 404
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
        if ask.kind is not Kind.BARS:
            return days(ask.start, ask.end)
        running = day_of(self._now()).replace(day=1)
        whole = [unit for unit in months(ask.start, ask.end) if unit.end <= ns_of(running)]
        behind = max(ask.start, whole[-1].end if whole else ask.start)
        return whole + (days(behind, ask.end) if behind < ask.end else [])

    def _interval(self, ask: Ask) -> str:
        found = INTERVALS.get(ask.interval_ns // NS_PER_SECOND) if ask.interval_ns % NS_PER_SECOND == 0 else None
        if found is None:
            raise ConfigError(f"binance has bars of {', '.join(INTERVALS.values())}")
        return found

    async def fetch(self, door: Door, ask: Ask, unit: Unit) -> AsyncIterator[pl.DataFrame]:
        kind, span = FILES[ask.kind], "monthly" if len(unit.name) == len("2024-01") else "daily"
        middle = (f"{ask.symbol}/{self._interval(ask)}", self._interval(ask)) if ask.kind is Kind.BARS else (ask.symbol, kind)
        file = f"{ask.symbol}-{middle[1]}-{unit.name}.zip"
        url = f"{self._origin}/data/{FOLDERS[ask.market or 'spot']}/{span}/{kind}/{middle[0]}/{file}"
        try:
            async with door.download(url) as path:
                await _check_hash(door, url, file, path)
                for chunk in read_archive(ask.kind, file, path):
                    yield chunk
        except StatusError as error:
            if error.status != NOT_THERE:  # not listed then, or not published yet
                raise


async def _check_hash(door: Door, url: str, file: str, path: Path) -> None:
    try:
        told = (await door.get(f"{url}.CHECKSUM", {})).split()[:1]
    except StatusError as error:
        raise VenueProtocolError(f"{file}: it is there, and its SHA-256 is not: {error}") from None
    with path.open("rb") as body:
        found = hashlib.file_digest(body, "sha256").hexdigest().encode()
    if told != [found]:
        raise VenueProtocolError(f"{file}: its SHA-256 is {found.decode()}, the archive says {told}")


def read_archive(kind: Kind, file: str, body: Path | IO[bytes]) -> Iterator[pl.DataFrame]:
    """The rows of one zip, by blocks of lines. Raises VenueProtocolError for what is none of the archive's files."""
    try:
        with zipfile.ZipFile(body) as archive:
            (member,) = archive.infolist()
            if member.file_size > UNZIPPED_BYTES_MAX:
                raise VenueProtocolError(f"{file}: unpacked it has {member.file_size} bytes, more than {UNZIPPED_BYTES_MAX}")
            with archive.open(member) as lines:
                for number, block in _blocks(lines, file):
                    yield _read_block(kind, block, number, file)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise VenueProtocolError(f"{file}: {error}") from None


def _blocks(lines: IO[bytes], file: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about BLOCK_BYTES of them, with the number of the first. A line of column names is left out."""
    number, rest = 1, b""
    while data := lines.read(BLOCK_BYTES):
        whole, line_feed, rest = (rest + data).rpartition(b"\n")
        if len(rest) > LINE_BYTES_MAX + BLOCK_BYTES:
            raise VenueProtocolError(f"{file}:{number}: a line of more than {LINE_BYTES_MAX} bytes")
        yield from _numbered(number, whole + line_feed)
        number += whole.count(b"\n") + len(line_feed)
    yield from _numbered(number, rest)


def _numbered(number: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    if number == 1 and block and not block[:1].isdigit():
        number, block = 2, block.partition(b"\n")[2]  # futures files name their columns
    if block:
        yield number, block.replace(b"\r\n", b"\n") if b"\r" in block else block


def _read_block(kind: Kind, block: bytes, number: int, file: str) -> pl.DataFrame:
    """Column by column; line by line where anything is not as plain as the archive writes it, which also finds the fault."""
    found = _read_columns(kind, block)
    if found is not None:
        return found
    rows: list[Row] = []
    for at, line in enumerate(block.decode("ascii").removesuffix("\n").split("\n"), start=number):
        fields = line.strip().split(",")
        if len(fields) < FIELDS_MIN[kind]:
            raise VenueProtocolError(f"{file}:{at}: {len(fields)} fields")
        rows.append(_ROWS[kind](fields, f"{file}:{at}"))
    return frame_of(kind, rows)


def _read_columns(kind: Kind, block: bytes) -> pl.DataFrame | None:
    """None for a block that is not all of one shape, in plain digits."""
    commas = block.partition(b"\n")[0].count(b",")
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if commas + 1 < FIELDS_MIN[kind] or block.count(b",") != commas * lines or block.translate(None, _PLAIN_BYTES):
        return None
    names = [str(index) for index in range(commas + 1)]
    try:
        table = pl.read_csv(block, has_header=False, new_columns=names, infer_schema=False).with_columns(pl.all().fill_null(""))
    except pl.exceptions.PolarsError:
        return None
    if table.height != lines or table.width != commas + 1:
        return None
    columns, are_plain = _COLUMNS[kind]
    stamp = pl.col("5" if kind is not Kind.BARS else "0")
    if table.select(is_plain=pl.all_horizontal(stamp.str.contains(_STAMP), *are_plain).all())["is_plain"][0] is not True:
        return None
    value = stamp.cast(pl.Int64)
    ns = value * pl.when(value >= MICROSECONDS_FROM).then(NS_PER_US).otherwise(NS_PER_MS)
    return table.select(ns.alias("ts_event"), *columns)


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

_PLAIN_BYTES = b"0123456789.,\n-abcdefghijklmnopqrstuvwxyzTF"
_STAMP = r"^[0-9]{1,16}$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?$"
_IS_MAKER = pl.col("6").str.to_lowercase()


def _decimals(names: dict[str, int]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    columns = [pl.col(str(place)).alias(name) for name, place in names.items()]
    return columns, [pl.col(str(place)).str.contains(_DECIMAL) for place in names.values()]


def _trade_columns() -> tuple[list[pl.Expr], list[pl.Expr]]:
    columns, are_plain = _decimals({"price": 1, "qty": 2})
    side = pl.when(_IS_MAKER == "true").then(pl.lit("sell")).otherwise(pl.lit("buy")).alias("side")
    return [*columns, side, pl.col("0").alias("trade_id")], [*are_plain, _IS_MAKER.is_in(["true", "false"])]


# Of each kind: its columns but the stamp, and what must be true of every row for them to be right.
_COLUMNS: dict[Kind, tuple[list[pl.Expr], list[pl.Expr]]] = {
    Kind.BARS: _decimals({"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}),
    Kind.TRADES: _trade_columns(),
    Kind.QUOTES: _decimals({"bid_price": 1, "bid_qty": 2, "ask_price": 3, "ask_qty": 4}),
}
