"""Fetched market data on the disk: parts of one Parquet file each, and one file of all of them that readers take.

    FOLDER/SOURCE/SYMBOL/KIND[-INTERVAL]/parts/2024-01.parquet    what was fetched as a whole
    FOLDER/SOURCE/SYMBOL/KIND[-INTERVAL]/scratch/                 of the fetch that runs, or was killed: never read again
    FOLDER/SOURCE/SYMBOL/KIND[-INTERVAL].parquet                  all parts in order, for `data.file`

ts_event is int64 ns UTC, numbers are Parquet decimals, exactly as they came. A part is there whole or not at all. Rows go through
memory by the hundred thousand, however many there are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from core.errors import ConfigError, DataError
from core.units import NS_PER_DAY
from sim.data.files import ROWS_PER_CHUNK

DECIMAL_DIGITS = 38
GAPS_SHOWN_MAX = 5
ROWS_IN_MEMORY_MAX = 4 * ROWS_PER_CHUNK  # of a part that is being written; a chunk that is larger is cut
STAMPS_IN_MEMORY_MAX = 16 * ROWS_PER_CHUNK
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
    """One symbol of one source and kind. Opened by one process at a time: ConfigError where another is writing it."""

    def __init__(self, folder: Path, source: str, symbol: str, name: str) -> None:
        home = folder / source / _safe(symbol)
        self.file = home / f"{name}{SUFFIX}"
        self.scratch = home / name / "scratch"
        self._parts = home / name / "parts"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Nobody else writes it meanwhile. What a killed process left of unfinished parts is removed."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(parents=True, exist_ok=True)
        with (self.scratch.parent / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{self.scratch.parent}: another `data fetch` is writing it") from None
            for left in (*self.scratch.glob("*.rows"), *self.scratch.glob("*.tmp")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield

    def has(self, part: str) -> bool:
        """Whether it is there, a day also as a part of its month."""
        month = part[: len("2024-01")]
        return any((self._parts / f"{name}{SUFFIX}").is_file() for name in (part, month))

    @contextmanager
    def part(self, name: str, columns: Sequence[str]) -> Iterator[Part]:
        """A part to be filled, which is there from `keep` on; one that is left without it never was."""
        part = Part(self._parts / f"{name}{SUFFIX}", self.scratch, columns)
        try:
            yield part
        finally:
            part.discard()

    def join(self, interval_ns: int) -> Summary:
        """All parts as one file. Raises DataError where they overlap with different rows."""
        paths = sorted(self._parts.glob(f"*{SUFFIX}"))
        # A day is fetched alone before its month is over: what the month has replaces it.
        months = {path.stem for path in paths if len(path.stem) == len("2024-01")}
        paths = [path for path in paths if path.stem in months or path.stem[:7] not in months]
        walk, repeats = _Walk(interval_ns), _Repeats()
        kept: list[_Piece] = []
        for path in paths:
            piece = _Piece(path)
            for stamps in piece.stamps():
                if not walk.add(stamps):
                    raise DataError("two parts overlap: delete them, and fetch again", file=str(self._parts))
                if interval_ns:
                    repeats.add(piece, stamps)
            if piece.rows:
                kept.append(piece)
        if not kept:
            return Summary(self.file, 0, 0, 0)
        scales = _scales(kept)
        whole = pl.concat([piece.rows_at(scales) for piece in kept])
        try:
            _write(whole, self.scratch / f"{self.file.name}.tmp", self.file)
        except pl.exceptions.PolarsError as error:
            message = (
                f"no one column of {DECIMAL_DIGITS} digits holds the numbers of all parts, or one of them is damaged: {error}"
            )
            raise DataError(message, file=str(self._parts)) from error
        return walk.summary(self.file)


class Part:
    """Chunks of rows on their way into one file. Text on the disk until the most decimals of each column are known."""

    def __init__(self, target: Path, scratch: Path, columns: Sequence[str]) -> None:
        self.rows = 0
        self._target = target
        self._folder = scratch / f"{target.stem}.rows"
        self._temporary = scratch / f"{target.name}.tmp"
        self._schema = pl.Schema({name: _kind_of(name) for name in columns})
        self._scales = dict.fromkeys((name for name in columns if name not in NOT_NUMBERS), 0)
        self._whole_digits = dict.fromkeys(self._scales, 0)
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._files: list[Path] = []
        self._last = -(1 << 63)

    def add(self, chunk: pl.DataFrame) -> None:
        """ts_event as int, numbers as decimal text without an exponent. Raises DataError where time goes backwards."""
        assert chunk.schema == self._schema, f"{chunk.schema} is not {self._schema}"
        if not chunk.height:
            return
        stamps = chunk["ts_event"]
        if not stamps.is_sorted() or int(stamps[0]) < self._last:
            raise DataError("the source's rows are not in the order of their time", file=str(self._target))
        self._last = int(stamps[-1])
        self._measure(chunk)
        for start in range(0, chunk.height, ROWS_IN_MEMORY_MAX):
            piece = chunk.slice(start, ROWS_IN_MEMORY_MAX)
            if self._waiting_rows + piece.height > ROWS_IN_MEMORY_MAX:
                self._spill()
            self._waiting.append(piece)
            self._waiting_rows += piece.height
        self.rows += chunk.height

    def keep(self) -> None:
        """The part is there from now on, whole, also over a power cut; it replaces one of the same name."""
        if self._files:
            self._spill()
            texts = pl.scan_parquet(self._files, glob=False)
        else:
            texts = pl.concat([pl.DataFrame(schema=self._schema), *self._waiting]).lazy()
        numbers = [pl.col(name).str.to_decimal(scale=scale) for name, scale in self._scales.items()]
        _write(texts.with_columns(numbers), self._temporary, self._target)

    def discard(self) -> None:
        """What lies about of it on the disk, kept or not."""
        self._waiting, self._files = [], []
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _measure(self, chunk: pl.DataFrame) -> None:
        for name in self._scales:
            parts = chunk[name].str.extract_groups(r"^-?([0-9]+)(?:\.([0-9]+))?$").struct
            whole, fraction = parts.field("1"), parts.field("2")
            if whole.null_count():
                row = int(np.argmax(whole.is_null().to_numpy()))
                raise DataError(f"column {name!r}: {chunk[name][row]!r} is no decimal number", file=str(self._target))
            self._whole_digits[name] = max(self._whole_digits[name], _longest(whole.str.strip_chars_start("0")))
            self._scales[name] = max(self._scales[name], _longest(fraction))
            if self._whole_digits[name] + self._scales[name] > DECIMAL_DIGITS:
                message = f"column {name!r}: its numbers need more than the {DECIMAL_DIGITS} digits that Parquet decimals have"
                raise DataError(message, file=str(self._target))

    def _spill(self) -> None:
        if self._waiting:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{len(self._files):06}{SUFFIX}"
            pl.concat(self._waiting).write_parquet(path, compression="lz4", row_group_size=ROWS_PER_CHUNK)
            self._files.append(path)
            self._waiting, self._waiting_rows = [], 0


def _longest(column: pl.Series) -> int:
    found = column.str.len_bytes().max()
    assert found is None or isinstance(found, int)
    return found or 0


class _Piece:
    """One part as the join sees it."""

    def __init__(self, path: Path) -> None:
        self._table = pl.scan_parquet(path, glob=False)
        self.schema = self._table.collect_schema()
        self.rows = int(self._table.select(pl.len()).collect().item())
        self.dropped: list[int] = []  # numbers of rows that a later one replaces

    def stamps(self) -> Iterator[np.ndarray]:
        yield from _stamps(self._table, self.rows)

    def rows_at(self, scales: dict[str, int]) -> pl.LazyFrame:
        table = self._table
        if self.dropped:
            table = table.with_row_index("row").filter(~pl.col("row").is_in(self.dropped)).drop("row")
        return table.with_columns(pl.col(name).cast(pl.Decimal(DECIMAL_DIGITS, scale)) for name, scale in scales.items())


class _Repeats:
    """Finds the rows whose stamp the next row has too, over the ends of chunks and of parts."""

    def __init__(self) -> None:
        self._before: tuple[_Piece, int, int] | None = None  # the piece, number and stamp of the row before

    def add(self, piece: _Piece, stamps: np.ndarray) -> None:
        if self._before is not None and self._before[2] == int(stamps[0]):
            self._before[0].dropped.append(self._before[1])
        first = self._before[1] + 1 if self._before is not None and self._before[0] is piece else 0
        piece.dropped += (np.flatnonzero(stamps[1:] == stamps[:-1]) + first).tolist()
        self._before = (piece, first + len(stamps) - 1, int(stamps[-1]))


class _Walk:
    """What a summary says, from stamps in order."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._rows = self._first = self._last = self._repeated = self._gaps = self._within = 0
        self._shown: list[tuple[int, int]] = []

    def add(self, stamps: np.ndarray) -> bool:
        """Takes the next ones, at least one; False where time goes backwards."""
        before = stamps[:-1] if not self._rows else np.concatenate(([self._last], stamps[:-1]))
        after = stamps[1:] if not self._rows else stamps
        steps = after - before
        if (steps < 0).any():
            return False
        if self._interval_ns:
            self._repeated += int((steps == 0).sum())
            self._count_gaps(before[steps > self._interval_ns], after[steps > self._interval_ns])
        if not self._rows:
            self._first = int(stamps[0])
        self._rows += len(stamps)
        self._last = int(stamps[-1])
        return True

    def _count_gaps(self, before: np.ndarray, after: np.ndarray) -> None:
        self._gaps += len(before)
        within = np.flatnonzero(before // NS_PER_DAY == (after - 1) // NS_PER_DAY)
        self._within += len(within)
        for index in within[: GAPS_SHOWN_MAX - len(self._shown)]:
            self._shown.append((int(before[index]), int(after[index])))

    def summary(self, file: Path) -> Summary:
        rows = self._rows - self._repeated
        return Summary(file, rows, self._first, self._last, self._repeated, self._gaps, self._within, tuple(self._shown))


def summary(file: Path, interval_ns: int) -> Summary:
    """Of a joined file. Raises DataError for one that is none."""
    walk = _Walk(interval_ns)
    try:
        table = pl.scan_parquet(file, glob=False)
        for stamps in _stamps(table, int(table.select(pl.len()).collect().item())):
            walk.add(stamps)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"not a whole Parquet file of stamps: {error}", file=str(file)) from error
    return walk.summary(file)


def data_sets(folder: Path) -> Iterable[Path]:
    """Every joined file below `folder`, by name."""
    return sorted(path for path in folder.glob(f"*/*/*{SUFFIX}") if path.is_file())


def _stamps(table: pl.LazyFrame, rows: int) -> Iterator[np.ndarray]:
    for start in range(0, rows, STAMPS_IN_MEMORY_MAX):
        yield table.select("ts_event").slice(start, STAMPS_IN_MEMORY_MAX).collect()["ts_event"].to_numpy()


def _kind_of(name: str) -> pl.DataType:
    return pl.Int64() if name == "ts_event" else pl.String()


def _scales(pieces: Sequence[_Piece]) -> dict[str, int]:
    scales: dict[str, int] = {}
    for piece in pieces:
        for name, kind in piece.schema.items():
            if isinstance(kind, pl.Decimal):
                scales[name] = max(scales.get(name, 0), kind.scale)
    return scales


def _write(table: pl.LazyFrame, temporary: Path, target: Path) -> None:
    """Whole or not at all, also over a power cut. Row groups are as large as readers take them."""
    table.sink_parquet(temporary, compression="zstd", row_group_size=ROWS_PER_CHUNK, maintain_order=True)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(target)


def _safe(symbol: str) -> str:
    """A symbol as a folder's name: X:BTCUSD, BRK.B and ../x among them."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in symbol).lstrip(".") or "_"
