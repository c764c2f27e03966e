"""Reads bars, trades and quotes from CSV and Parquet, in bounded memory and exactly.

docs/DATA.md lists the columns. Text is converted digit by digit; a float column is taken only where each value is the
float nearest to a decimal at the instrument's scale; anything else is refused with its row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from core.errors import DataError
from native.market_data import BBO, BUY, FLAG_LAST, MD_ROW, NO_SIDE, SELL, TRADE
from sim.data.columns import ColumnFault, to_fixed, to_ns
from sim.data.files import ROWS_PER_CHUNK, Progress, read_blocks, split_lines

BAR = np.dtype(
    [
        ("ts_event", "<i8"),  # the end of the interval: a bar is known only then
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),
        ("interval_ns", "<i8"),
    ]
)
_KINDS = {
    **dict.fromkeys(("open", "high", "low", "close", "price", "bid_price", "ask_price"), "price"),
    **dict.fromkeys(("volume", "qty", "bid_qty", "ask_qty"), "qty"),
}
PRICES = ("open", "high", "low", "close")
_SIDES = {"buy": BUY, "b": BUY, "bid": BUY, "sell": SELL, "s": SELL, "a": SELL, "ask": SELL, "none": NO_SIDE, "n": NO_SIDE}


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table and the units of its instrument.

    `columns` maps our names to the file's where they differ. `zone` is the tz database's name of the zone that stamps without
    an offset are meant in; without it such stamps are refused. `raw_integers`: integer columns of a Parquet file hold points
    and units already, not whole numbers. `qty_cut`: digits of a quantity beyond its scale are cut off instead of refused, for
    volumes that went through floats.
    """

    path: Path
    price_scale: int
    qty_scale: int = 0
    tick: int = 1
    instrument: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    raw_integers: bool = False
    qty_cut: bool = False


def read_bars(
    source: TableSource,
    interval_ns: int,
    stamp: Literal["open", "close"] = "open",
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """Chunks of BAR. `stamp` says which end of the interval the file's times mark. No volume column: volume is 0.

    Raises DataError for stamps that repeat or go backwards, a high below or a low above another price, or a negative volume.
    A missing bar is no error: see `find_gaps`.
    """
    assert interval_ns > 0
    last = 0
    for part in _parts(source, ("ts_event", *PRICES), ("volume",), progress):
        bars = np.zeros(len(part), BAR)
        bars["ts_event"] = part.times("ts_event") + (interval_ns if stamp == "open" else 0)
        for name in PRICES:
            bars[name] = part.prices(name)
        bars["volume"] = part.quantities("volume") if part.has("volume") else 0
        bars["interval_ns"] = interval_ns
        before = np.concatenate(([last], bars["ts_event"][:-1]))
        part.refuse(bars["ts_event"] == before, "ts_event", "repeats the stamp of the row before")
        part.refuse(bars["ts_event"] < before, "ts_event", "time goes backwards")
        part.refuse(bars["high"] < np.maximum(bars["open"], bars["close"]), "high", "lies below the open or the close")
        part.refuse(bars["low"] > np.minimum(bars["open"], bars["close"]), "low", "lies above the open or the close")
        part.refuse(bars["volume"] < 0, "volume", "is negative")
        last = int(bars["ts_event"][-1])
        yield bars


def read_trades(source: TableSource, progress: Progress | None = None) -> Iterator[np.ndarray]:
    """Chunks of MD_ROW, one TRADE row each; the side is the aggressor's. ts_init is ts_event where the column is absent."""
    order = _StampOrder()
    for part in _parts(source, ("ts_event", "price", "qty"), ("ts_init", "side", "trade_id"), progress):
        rows = np.zeros(len(part), MD_ROW)
        order.fill(rows, part)
        rows["price"] = part.prices("price")
        rows["qty"] = part.quantities("qty")
        part.refuse(rows["qty"] <= 0, "qty", "must be positive")
        rows["order_id"] = part.identifiers("trade_id") if part.has("trade_id") else 0
        rows["instrument"] = source.instrument
        rows["kind"] = TRADE
        rows["side"] = part.sides("side") if part.has("side") else NO_SIDE
        rows["flags"] = FLAG_LAST
        yield rows


def read_quotes(source: TableSource, qty_default: int | None = None, progress: Progress | None = None) -> Iterator[np.ndarray]:
    """Chunks of MD_ROW: for each quote a BBO row of the bid and one of the ask, which ends the packet.

    `qty_default`, in units, stands for the sizes of a file without size columns; without it such a file is refused. Crossed
    quotes are refused; locked ones (bid equal to ask), which composite feeds send, pass.
    """
    order = _StampOrder()
    needed: tuple[str, ...] = ("ts_event", "bid_price", "ask_price")
    sizes = ("bid_qty", "ask_qty")
    for part in _parts(source, needed if qty_default is not None else (*needed, *sizes), ("ts_init", *sizes), progress):
        rows = np.zeros((len(part), 2), MD_ROW)
        order.fill(rows[:, 0], part)
        rows["ts_event"][:, 1], rows["ts_init"][:, 1] = rows["ts_event"][:, 0], rows["ts_init"][:, 0]
        for index, side in ((0, "bid"), (1, "ask")):
            rows["price"][:, index] = part.prices(f"{side}_price")
            rows["qty"][:, index] = part.quantities(f"{side}_qty") if part.has(f"{side}_qty") else qty_default
            part.refuse(rows["qty"][:, index] < 0, f"{side}_qty", "is negative")
            rows["side"][:, index] = (BUY, SELL)[index]
        part.refuse(rows["price"][:, 0] > rows["price"][:, 1], "bid_price", "lies above the ask: the quote is crossed")
        rows["instrument"] = source.instrument
        rows["kind"] = BBO
        rows["flags"][:, 1] = FLAG_LAST
        yield rows.reshape(-1)


def guess_table_scales(path: Path, template: TableSource) -> TableSource:
    """`template` for `path`, with the fewest decimals that hold every text and float of the price and quantity columns.

    For checks only: a backtest is told its scales.
    """
    scales = {"price": 0, "qty": 0}
    known = {template.columns.get(name, name): kind for name, kind in _KINDS.items()}
    for frame, _ in _parquet_frames(path) if is_parquet(path) else _csv_frames(path):
        for name in frame.columns:
            kind = known.get(name)
            if kind is None or frame[name].dtype.is_integer():
                continue
            decimals = frame[name].cast(pl.String).str.extract(r"\.([0-9]*?)0*$").str.len_bytes().max()
            if isinstance(decimals, int):
                scales[kind] = max(scales[kind], decimals)
    return replace(template, path=path, price_scale=min(scales["price"], 12), qty_scale=min(scales["qty"], 12))


@dataclass(frozen=True, slots=True)
class BarGap:
    """`missing` bars between the bar that ends at `after` and the one that ends at `before`, ns UTC."""

    after: int
    before: int
    missing: int


def find_gaps(bars: np.ndarray) -> list[BarGap]:
    """Where whole bars are missing, sessions and weekends included: the caller knows the market's hours."""
    missing = np.diff(bars["ts_event"]) // bars["interval_ns"][1:] - 1
    return [
        BarGap(int(bars["ts_event"][index]), int(bars["ts_event"][index + 1]), int(missing[index]))
        for index in np.flatnonzero(missing > 0)
    ]


class _StampOrder:
    """Both stamps of trades and quotes, checked to be in order over the whole file."""

    def __init__(self) -> None:
        self._last_event = 0
        self._last_init = 0

    def fill(self, rows: np.ndarray, part: _Part) -> None:
        ts_event = part.times("ts_event")
        ts_init = part.times("ts_init") if part.has("ts_init") else ts_event
        part.refuse(ts_event < np.concatenate(([self._last_event], ts_event[:-1])), "ts_event", "time goes backwards")
        part.refuse(ts_init < np.concatenate(([self._last_init], ts_init[:-1])), "ts_init", "time goes backwards")
        rows["ts_event"], rows["ts_init"] = ts_event, ts_init
        self._last_event, self._last_init = int(ts_event[-1]), int(ts_init[-1])


class _Part:
    """Some consecutive rows of a table, and how to turn their columns into numbers."""

    def __init__(self, source: TableSource, frame: pl.DataFrame, first_row: int, is_csv: bool) -> None:
        self._source = source
        self._frame = frame
        self._first_row = first_row  # 0-based, of the whole table
        self._is_csv = is_csv

    def __len__(self) -> int:
        return self._frame.height

    def has(self, name: str) -> bool:
        return self._theirs(name) in self._frame.columns

    def times(self, name: str) -> np.ndarray:
        return self._convert(name, lambda column: to_ns(column, self._source.zone))

    def prices(self, name: str) -> np.ndarray:
        values = self._fixed(name, self._source.price_scale, cut=False)
        self.refuse(values <= 0, name, "must be positive")
        self.refuse(values % self._source.tick != 0, name, f"is off the tick of {self._source.tick}")
        return values

    def quantities(self, name: str) -> np.ndarray:
        return self._fixed(name, self._source.qty_scale, cut=self._source.qty_cut)

    def identifiers(self, name: str) -> np.ndarray:
        return self._fixed(name, 0, cut=False)

    def sides(self, name: str) -> np.ndarray:
        column = self._column(name).cast(pl.String).str.to_lowercase()
        sides = column.replace_strict(_SIDES, default=None, return_dtype=pl.UInt8)
        self.refuse(sides.is_null().to_numpy(), name, "is none of buy, sell, none")
        return sides.to_numpy()

    def refuse(self, broken: np.ndarray, name: str, what: str) -> None:
        """DataError for the first row where `broken`."""
        if broken.any():
            raise self._error(int(np.argmax(broken)), name, what)

    def _fixed(self, name: str, scale: int, cut: bool) -> np.ndarray:
        return self._convert(name, lambda column: to_fixed(column, scale, cut, self._source.raw_integers))

    def _convert(self, name: str, convert: Callable[[pl.Series], np.ndarray]) -> np.ndarray:
        try:
            return convert(self._column(name))
        except ColumnFault as fault:
            raise self._error(fault.row, name, str(fault), with_value=False) from fault

    def _column(self, name: str) -> pl.Series:
        return self._frame[self._theirs(name)]

    def _theirs(self, name: str) -> str:
        return self._source.columns.get(name, name)

    def _error(self, row: int, name: str, what: str, with_value: bool = True) -> DataError:
        theirs = self._theirs(name)
        value = f" {self._frame[theirs][row]!r}" if with_value and theirs in self._frame.columns else ""
        at = self._first_row + row
        # A CSV file's line 1 is its header; a Parquet file has rows, counted from 1.
        if self._is_csv:
            return DataError(f"column {theirs!r}:{value} {what}", file=str(self._source.path), line=at + 2)
        return DataError(f"row {at + 1}, column {theirs!r}:{value} {what}", file=str(self._source.path))


def _parts(source: TableSource, needed: tuple[str, ...], optional: tuple[str, ...], progress: Progress | None) -> Iterator[_Part]:
    """The table in parts of at most ROWS_PER_CHUNK rows, its columns checked."""
    is_csv = not is_parquet(source.path)
    unknown = set(source.columns) - {*needed, *optional}
    if unknown:
        raise DataError(
            f"the column map names {sorted(unknown)}, known are {sorted({*needed, *optional})}", file=str(source.path)
        )
    row = 0
    for frame, bytes_read in _csv_frames(source.path) if is_csv else _parquet_frames(source.path):
        missing = [source.columns.get(name, name) for name in needed if source.columns.get(name, name) not in frame.columns]
        if missing:
            raise DataError(f"no column {', '.join(map(repr, missing))}; the file has {frame.columns}", file=str(source.path))
        for start in range(0, frame.height, ROWS_PER_CHUNK):
            part = frame.slice(start, ROWS_PER_CHUNK)
            yield _Part(source, part, row, is_csv)
            row += part.height
        if progress is not None:
            progress(row, bytes_read)


def frames_of(path: Path) -> Iterator[pl.DataFrame]:
    """Every row of a table in parts: CSV with a header line, its columns text, or Parquet. Raises DataError."""
    for frame, _ in _parquet_frames(path) if is_parquet(path) else _csv_frames(path):
        yield frame


def is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def _parquet_frames(path: Path) -> Iterator[tuple[pl.DataFrame, int]]:
    try:
        table = pl.scan_parquet(path, glob=False)
        rows = table.select(pl.len()).collect().item()
        size = path.stat().st_size
        for start in range(0, rows, ROWS_PER_CHUNK):
            part = table.slice(start, ROWS_PER_CHUNK).collect()
            yield part, size * (start + part.height) // rows
    except pl.exceptions.PolarsError as error:
        raise DataError(f"not a whole Parquet file: {error}", file=str(path)) from error


def _csv_frames(path: Path) -> Iterator[tuple[pl.DataFrame, int]]:
    header: list[str] = []
    for block in read_blocks(path):
        data = block.data
        line = block.first_line
        if not header:
            first, _, data = data.partition(b"\n")
            header = _csv_header(first.decode("utf-8-sig", "backslashreplace").rstrip("\r"), path)
            line += 1
        if data:
            yield _csv_frame(data, header, path, line), block.bytes_read
    if not header:
        raise DataError("the file is empty: it needs a header line", file=str(path))


def _csv_header(text: str, path: Path) -> list[str]:
    header = [name.strip().strip('"') for name in text.split(",")]
    if len(set(header)) != len(header):
        raise DataError(f"a column name repeats in the header: {header}", file=str(path), line=1)
    return header


def _csv_frame(data: bytes, header: list[str], path: Path, first_line: int) -> pl.DataFrame:
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    # Every line must have every column: a short one is a file cut in the middle, which polars would fill with nulls.
    commas = len(header) - 1
    if b'"' not in data:
        for offset, text in enumerate(split_lines(data) if data.count(b",") != commas * lines else ()):
            if text.count(b",") != commas:
                shown = text[:120].decode("utf-8", "backslashreplace")
                message = f"expected {commas + 1} columns, found {text.count(b',') + 1}: {shown!r}"
                raise DataError(message, file=str(path), line=first_line + offset)
    try:
        frame = pl.read_csv(data, has_header=False, new_columns=header, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"not a CSV table: {error}", file=str(path), line=first_line) from error
    if frame.height != lines:
        raise DataError(
            f"{lines} lines hold {frame.height} rows: a quoted line break or a blank line", file=str(path), line=first_line
        )
    return frame
