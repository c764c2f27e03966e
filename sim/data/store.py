"""Fetched market data on the disk: parts of one Parquet file each, and one file of all of them that readers take.

    FOLDER/SOURCE/SYMBOL/KIND[-INTERVAL]/parts/2024-01.parquet    what was fetched as a whole
    FOLDER/SOURCE/SYMBOL/KIND[-INTERVAL].parquet                  all parts in order, for `data.file`

ts_event is int64 ns UTC, numbers are Parquet decimals, exactly as they came. A part is there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.errors import DataError
from core.units import NS_PER_DAY

DECIMAL_DIGITS = 38
GAPS_SHOWN_MAX = 5
NOT_NUMBERS = ("ts_event", "side", "trade_id")
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one data set. `first` and `last`: stamps of its first and last row, ns UTC; 0 where there is none.

    Bars: `gaps` counts the places where bars are missing, `gaps_within_days` those of them that lie within one day UTC: a source
    with closing times has one every night. `repeated`: bars that were there twice, of which the later counts.
    """

    file: Path
    rows: int
    first: int
    last: int
    repeated: int = 0
    gaps: int = 0
    gaps_within_days: int = 0
    gaps_shown: tuple[tuple[int, int], ...] = ()


class DataSet:
    """One symbol of one source and kind."""

    def __init__(self, folder: Path, source: str, symbol: str, name: str) -> None:
        home = folder / source / _safe(symbol)
        self.file = home / f"{name}{SUFFIX}"
        self._parts = home / name / "parts"

    def has(self, part: str) -> bool:
        return (self._parts / f"{part}{SUFFIX}").is_file()

    def write(self, part: str, columns: Sequence[str], rows: Sequence[tuple[int | str, ...]]) -> None:
        """`rows` as `columns` name them: ts_event as int, numbers as decimal text. Raises DataError where time goes backwards."""
        self._parts.mkdir(parents=True, exist_ok=True)
        target = self._parts / f"{part}{SUFFIX}"
        frame = pl.DataFrame(rows, schema={name: _kind_of(name) for name in columns}, orient="row")
        if not frame["ts_event"].is_sorted():
            raise DataError("the source's rows are not in the order of their time", file=str(target))
        for name in columns:
            if name not in NOT_NUMBERS:
                scale = frame[name].str.extract(r"\.(\d*)$").str.len_bytes().max()
                assert scale is None or isinstance(scale, int)
                frame = frame.with_columns(pl.col(name).str.to_decimal(scale=scale or 0))
        _replace(frame, target)

    def drop(self, part: str) -> None:
        (self._parts / f"{part}{SUFFIX}").unlink(missing_ok=True)

    def join(self, interval_ns: int) -> Summary:
        """All parts as one file. Raises DataError where they overlap with different rows."""
        paths = sorted(self._parts.glob(f"*{SUFFIX}"))
        # A day is fetched alone before its month is over: what the month has replaces it.
        months = {path.stem for path in paths if len(path.stem) == len("2024-01")}
        paths = [path for path in paths if path.stem in months or path.stem[:7] not in months]
        frames = [frame for path in paths if (frame := pl.read_parquet(path, memory_map=False)).height]
        if not frames:
            return Summary(self.file, 0, 0, 0)
        frame = pl.concat([_widened(each, _scales(frames)) for each in frames])
        if not frame["ts_event"].is_sorted():
            raise DataError("two parts overlap: delete them, and fetch again", file=str(self._parts))
        count = frame.height
        if "open" in frame.columns:
            frame = frame.unique("ts_event", keep="last", maintain_order=True)
        _replace(frame, self.file)
        return summary(self.file, frame, interval_ns, repeated=count - frame.height)


def summary(file: Path, frame: pl.DataFrame, interval_ns: int, *, repeated: int = 0) -> Summary:
    stamps = frame["ts_event"]
    first, last = int(stamps[0]), int(stamps[-1])
    if not interval_ns:
        return Summary(file, frame.height, first, last, repeated)
    pairs = pl.DataFrame({"before": stamps[:-1], "after": stamps[1:]}).filter(pl.col("after") - pl.col("before") > interval_ns)
    within = pairs.filter(pl.col("before") // NS_PER_DAY == (pl.col("after") - 1) // NS_PER_DAY)
    shown = tuple((int(before), int(after)) for before, after in within.head(GAPS_SHOWN_MAX).iter_rows())
    return Summary(file, frame.height, first, last, repeated, pairs.height, within.height, shown)


def data_sets(folder: Path) -> Iterable[Path]:
    """Every joined file below `folder`, by name."""
    return sorted(path for path in folder.glob(f"*/*/*{SUFFIX}") if path.is_file())


def _kind_of(name: str) -> pl.DataType:
    return pl.Int64() if name == "ts_event" else pl.String()


def _scales(frames: Sequence[pl.DataFrame]) -> dict[str, int]:
    scales: dict[str, int] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            if isinstance(kind, pl.Decimal):
                scales[name] = max(scales.get(name, 0), kind.scale)
    return scales


def _widened(frame: pl.DataFrame, scales: dict[str, int]) -> pl.DataFrame:
    return frame.with_columns(pl.col(name).cast(pl.Decimal(DECIMAL_DIGITS, scale)) for name, scale in scales.items())


def _replace(frame: pl.DataFrame, target: Path) -> None:
    """Whole or not at all, also over a power cut."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        frame.write_parquet(temporary, compression="zstd")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _safe(symbol: str) -> str:
    """A symbol as a folder's name: X:BTCUSD, BRK.B and ../x among them."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in symbol).lstrip(".") or "_"
