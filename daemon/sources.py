"""Opens what the configuration's data sections name: rows for the simulated venue, and how far they have been read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from core.errors import ConfigError, StorageError, UnitError
from core.instruments import Instrument
from core.units import parse_duration_ns
from daemon.config.build import resolve_path
from daemon.config.loader import LoadedConfig
from daemon.config.models import BinanceData, LobsterData, QuotesData, Table, TradesData
from sim.tape_merge import Locate, Place, merged_origin

Rows = npt.NDArray[Any]
HEADER_LINES = 1  # of a table in text
Progress = Callable[[int, int], None]


class Source:
    """One data section, opened: `open()` gives its chunks of rows, `files` are what it reads, `bytes_read` how far it is.

    `locate` finds the place of a row, counted from 0, by reading from the start: only an error message asks for it.
    """

    def __init__(
        self,
        files: list[Path],
        open_rows: Callable[[Progress], Iterator[Rows]],
        locate: Locate,
    ) -> None:
        self.files = files
        self.locate = locate
        self.bytes_total = sum(path.stat().st_size for path in files)
        self.bytes_read = 0
        self._open_rows = open_rows

    def open(self) -> Iterator[Rows]:
        def told(_rows: int, bytes_read: int) -> None:
            self.bytes_read = bytes_read

        return self._open_rows(told)


def open_source(
    loaded: LoadedConfig,
    data: LobsterData | BinanceData | TradesData | QuotesData,
    where: str,
    instrument: Instrument,
    index: int,
) -> Source:
    """`index` is the instrument's number in the simulated venue. Raises ConfigError where a file is absent."""
    match data:
        case LobsterData():
            return _lobster(loaded, data, where, instrument, index)
        case BinanceData():
            return _binance(loaded, data, where, instrument, index)
        case TradesData() | QuotesData():
            return _table(loaded, data, where, instrument, index)
        case _:
            assert_never(data)


def locate_in(sources: Sequence[Source]) -> Locate:
    """Finds the place of a row of all these sources merged (sim.tape.merge_tapes), by merging them once more up to it."""

    def locate(row: int) -> Place | None:
        origin = merged_origin([source.open() for source in sources], row)
        return None if origin is None else sources[origin[0]].locate(origin[1])

    return sources[0].locate if len(sources) == 1 else locate


def _lobster(loaded: LoadedConfig, data: LobsterData, where: str, instrument: Instrument, index: int) -> Source:
    from native.market_data import FLAG_SNAPSHOT
    from sim.data.lobster import LobsterSource, read_lobster

    messages = resolve_path(loaded, data.messages, f"{where}.messages")
    book = None if data.book is None else resolve_path(loaded, data.book, f"{where}.book")
    source = LobsterSource(
        messages=messages,
        book=book,
        price_scale=instrument.price_scale,
        qty_scale=instrument.qty_scale,
        tick=instrument.tick,
        instrument=index,
        session_date=data.session_date,
        feed_latency_ns=parse_duration_ns(data.feed_latency),
    )

    def locate(row: int) -> Place | None:
        # One message is one row; rows that seed the book from the order-book file are none.
        line = 0
        for rows in read_lobster(source):
            messages_here = np.cumsum((rows["flags"] & FLAG_SNAPSHOT) == 0)
            if row < len(rows):
                return Place(str(messages), line + max(int(messages_here[row]), 1))
            row -= len(rows)
            line += int(messages_here[-1])
        return None

    return Source([messages], lambda progress: read_lobster(source, progress), locate)


def _binance(loaded: LoadedConfig, data: BinanceData, where: str, instrument: Instrument, index: int) -> Source:
    from adapters.binance.book_sync import BinanceBookSession
    from sim.data.clock import correct_tape
    from sim.data.frames_to_rows import frames_to_rows
    from sim.data.recording import read_all_frames

    files = [resolve_path(loaded, name, f"{where}.files[{position}]") for position, name in enumerate(data.files)]

    def session() -> BinanceBookSession:
        return BinanceBookSession(
            instrument,
            data.symbol,
            index=index,
            start_from_diffs=data.start_from_diffs,
            use_book_ticker=data.use_book_ticker,
        )

    def tape(progress: Progress) -> Iterator[Rows]:
        return frames_to_rows(files, session(), progress)

    def locate(row: int) -> Place | None:
        decoder = session()
        for path, frame in read_all_frames(files):
            row -= len(decoder.receive(frame.ts, frame.payload))
            if row < 0:
                return Place(str(path), frame.line)
        return None

    return Source(files, lambda progress: correct_tape(partial(tape, progress), parse_duration_ns(data.base_latency)), locate)


def _table(loaded: LoadedConfig, data: TradesData | QuotesData, where: str, instrument: Instrument, index: int) -> Source:
    from sim.data.tables import is_parquet, read_quotes, read_trades

    path = resolve_path(loaded, data.file, f"{where}.file")
    source = table_source(data, path, instrument, index)

    def place(row: int) -> Place:
        return Place(str(path), None, row + 1) if is_parquet(path) else Place(str(path), row + HEADER_LINES + 1)

    if isinstance(data, TradesData):
        return Source([path], lambda progress: read_trades(source, progress), place)
    qty_default = None
    if data.qty_default is not None:
        try:
            qty_default = instrument.parse_qty(data.qty_default)
        except UnitError as error:
            raise ConfigError(f"{loaded.file}: {where}.qty_default: {error}") from None
    # A quote is two rows: its bid and its ask.
    return Source([path], lambda progress: read_quotes(source, qty_default, progress), lambda row: place(row // 2))


def table_source(data: Table, path: Path, instrument: Instrument, index: int) -> Any:
    """The readers' TableSource of a table section."""
    from sim.data.tables import TableSource

    return TableSource(
        path=path,
        price_scale=instrument.price_scale,
        qty_scale=instrument.qty_scale,
        tick=instrument.tick,
        instrument=index,
        columns=data.columns,
        zone=data.zone,
        raw_integers=data.raw_integers,
        qty_cut=data.qty_cut,
    )


def input_digest(files: list[Path]) -> str:
    """BLAKE2b-128 over the content of every file, in order; equal inputs have equal digests wherever they lie."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).digest())
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
