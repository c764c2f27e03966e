"""Reads LOBSTER message files (NASDAQ, order by order) into MD_ROW chunks, exactly and in file order.

Format: no header; time (seconds after midnight in New York), type, order id, size, price x 10000, direction; some files carry
a seventh column, the market participant. Source: lobsterdata.com, "Data structure". Direction is the resting order's side:
1 buy, -1 sell. Each message leaves the visible book consistent (the order-book file has one row for each), so each row ends
its packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from core.errors import DataError, UnitError
from core.units import INT64_MAX, NS_PER_DAY, NS_PER_SECOND, POW10, rescale
from native.market_data import (
    ADD,
    BUY,
    CROSS,
    DELETE,
    EXECUTE,
    FLAG_LAST,
    FLAG_SNAPSHOT,
    HIDDEN,
    MD_ROW,
    NO_SIDE,
    REDUCE,
    SELL,
    STATUS,
)
from sim.data.files import ROWS_PER_CHUNK, Block, Progress, numbered_lines, read_blocks, split_lines

LOBSTER_PRICE_SCALE = 4
NEW_YORK = ZoneInfo("America/New_York")
# An empty level of an order-book file: price +-9999999999, size 0.
EMPTY_LEVEL_PRICE = 9_999_999_999
# Of an order-book file: no price x 10000 and no size comes near it, and at six more decimals it still fits in 64 bits.
_BOOK_VALUE_MAX = 10**12

TYPE_ADD, TYPE_REDUCE, TYPE_DELETE, TYPE_EXECUTE, TYPE_HIDDEN, TYPE_CROSS, TYPE_HALT = range(1, 8)
_KIND_OF_TYPE = np.array([0, ADD, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS, STATUS], dtype=np.uint8)
# Type 7 puts the halt's meaning into the price: -1 halted, 0 quoting resumed, 1 trading resumed; as MD_STATUS_*.
_STATUS_OF_HALT = {-1: 1, 0: 2, 1: 0}

_MESSAGE = re.compile(r"(\d{1,5})(?:\.(\d{1,18}))?,([1-7]),(-?\d{1,18}),(-?\d{1,18}),(-?\d{1,18}),(-?1)(?:,[^,]*)?\Z", re.ASCII)
_DATE_IN_NAME = re.compile(r"_(\d{4}-\d{2}-\d{2})_")


@dataclass(frozen=True, slots=True)
class LobsterSource:
    """What to read and in whose units. `tick` and `price_scale` are the instrument's; sizes are whole shares.

    Visible orders must lie on the tick; hidden executions and crosses may print between ticks. `book`, the order-book file
    that belongs to the messages, seeds the levels that were there before the first message.
    """

    messages: Path
    book: Path | None = None
    price_scale: int = LOBSTER_PRICE_SCALE
    qty_scale: int = 0
    tick: int = 1
    instrument: int = 0
    session_date: date | None = None  # taken from the file's name where None
    feed_latency_ns: int = 0  # LOBSTER has no receive time: ts_init = ts_event + this


def read_lobster(source: LobsterSource, progress: Progress | None = None) -> Iterator[np.ndarray]:
    """Chunks of MD_ROW, at most ROWS_PER_CHUNK rows each. Raises DataError with file and line."""
    reader = _MessageReader(source)
    seeder = Seeder(source) if source.book is not None else None
    rows_done = 0
    for block in read_blocks(source.messages):
        rows = reader.rows(block)
        if seeder is not None:
            rows = seeder.apply(rows)
        rows_done += len(rows)
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            yield rows[start : start + ROWS_PER_CHUNK]
        if progress is not None:
            progress(rows_done, block.bytes_read)


def session_midnight_ns(source: LobsterSource) -> int:
    """Midnight in New York of the session's day, ns UTC; daylight saving as the tz database has it."""
    day = source.session_date
    if day is None:
        match = _DATE_IN_NAME.search(source.messages.name)
        if match is None:
            raise DataError("no date like _2012-06-21_ in the file's name: state the session's date", file=str(source.messages))
        try:
            day = date.fromisoformat(match[1])
        except ValueError as error:
            raise DataError(f"{match[1]} in the file's name is not a date", file=str(source.messages)) from error
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp()) * NS_PER_SECOND


class _MessageReader:
    def __init__(self, source: LobsterSource) -> None:
        self._source = source
        self._file = str(source.messages)
        self._midnight_ns = session_midnight_ns(source)
        self._last_ns = 0
        # Points of 10^-4 to points of the instrument: multiply, or divide where it leaves no rest.
        self._price_up = POW10[max(source.price_scale - LOBSTER_PRICE_SCALE, 0)]
        self._price_down = POW10[max(LOBSTER_PRICE_SCALE - source.price_scale, 0)]

    def rows(self, block: Block) -> np.ndarray:
        columns = _parse_columns(block.data)
        if columns is None:
            columns = np.array([self._parse_line(line, text) for line, text in numbered_lines(block)], dtype=np.int64).T
            if columns.size == 0:
                return np.empty(0, MD_ROW)
        self._check(columns, block)
        self._last_ns = int(columns[0, -1])
        return self._to_rows(columns, block)

    def _parse_line(self, line: int, text: str) -> tuple[int, ...]:
        match = _MESSAGE.match(text)
        if match is not None:
            seconds, fraction, *rest = match.groups()
            ns = int(seconds) * NS_PER_SECOND + int((fraction or "")[:9].ljust(9, "0"))
            if ns <= NS_PER_DAY + 3600 * NS_PER_SECOND:
                return (ns, *map(int, rest))
        raise DataError(_complaint(text), file=self._file, line=line)

    def _check(self, columns: np.ndarray, block: Block) -> None:
        """Every rule about values, vectorised; the first row that breaks one is named."""
        ns, kind, order_id, size, price, _ = columns
        before = np.concatenate(([self._last_ns], ns[:-1]))
        named = kind <= TYPE_EXECUTE
        halt = kind == TYPE_HALT
        points = np.where(price > INT64_MAX // self._price_up, 0, price) * self._price_up
        for broken, message in (
            (ns < before, "time goes backwards"),
            (~halt & (size <= 0), "size must be positive"),
            (~halt & (price <= 0), "price must be positive"),
            (size > INT64_MAX // POW10[self._source.qty_scale], "size does not fit in 64 bits"),
            (price > INT64_MAX // self._price_up, "price does not fit in 64 bits"),
            (named & (order_id <= 0), "order id must be positive"),
            (halt & ((price < -1) | (price > 1)), "a halt's price must be -1, 0 or 1"),
            (~halt & (price % self._price_down != 0), f"price has more than {self._source.price_scale} decimals"),
            (named & (points // self._price_down % self._source.tick != 0), f"price is off the tick of {self._source.tick}"),
        ):
            if broken.any():
                row = int(np.argmax(broken))
                text = split_lines(block.data)[row].decode("utf-8", "backslashreplace")
                raise DataError(f"{message}: {text!r}", file=self._file, line=block.first_line + row)

    def _to_rows(self, columns: np.ndarray, block: Block) -> np.ndarray:
        ns, kind, order_id, size, price, direction = columns
        halt = kind == TYPE_HALT
        rows = np.zeros(len(ns), MD_ROW)
        rows["ts_event"] = ns + self._midnight_ns
        rows["ts_init"] = rows["ts_event"] + self._source.feed_latency_ns
        rows["price"] = np.where(halt, 0, price * self._price_up // self._price_down)
        for value, status in _STATUS_OF_HALT.items():
            rows["price"][halt & (price == value)] = status
        rows["qty"] = np.where(halt, 0, size * POW10[self._source.qty_scale])
        rows["order_id"] = np.where(order_id < 0, 0, order_id)
        rows["instrument"] = self._source.instrument
        rows["kind"] = _KIND_OF_TYPE[kind]
        # An auction print and a halt have no side; LOBSTER fills the column with -1.
        rows["side"] = np.where(kind >= TYPE_CROSS, NO_SIDE, np.where(direction == 1, BUY, SELL))
        rows["flags"] = FLAG_LAST
        return rows


def _parse_columns(data: bytes) -> np.ndarray | None:
    """The six columns as int64[6, n], time in ns after midnight; None where anything at all is unusual.

    Unusual blocks go line by line through _MESSAGE, which either accepts them or names the line: the fast path may only be
    stricter than that grammar, never laxer.
    """
    names = ["time", "type", "order_id", "size", "price", "direction"]
    columns = data[: data.find(b"\n") + 1 or len(data)].count(b",") + 1
    if columns == 7:
        names.append("participant")
    elif columns != 6:
        return None
    schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.Int64)
    schema["time"] = pl.String
    schema["participant"] = pl.String
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            new_columns=names,
            schema={name: schema[name] for name in names},
            quote_char=None,
            truncate_ragged_lines=False,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError:
        return None
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if frame.height != lines or any(frame[name].null_count() for name in names[:6]):
        return None
    time = frame["time"]
    if not time.str.contains(r"^[0-9]{1,5}(\.[0-9]{1,18})?$").all() or not frame["type"].is_between(1, 7).all():
        return None
    if not frame["direction"].is_in([-1, 1]).all() or data.count(b"+") or data.count(b" "):
        return None
    parts = time.str.split_exact(".", 1).struct
    seconds = parts.field("field_0").cast(pl.Int64).to_numpy()
    # Digits beyond the ninth are below one nanosecond: cut, as the line grammar does, so that order is kept.
    fraction = parts.field("field_1").fill_null("").str.slice(0, 9).str.pad_end(9, "0").cast(pl.Int64).to_numpy()
    ns = seconds * NS_PER_SECOND + fraction
    limit = 10**18
    wide = [frame[name].to_numpy() for name in names[1:6]]
    if ns.max() > NS_PER_DAY or any(column.max() >= limit or column.min() <= -limit for column in wide):
        return None
    return np.vstack([ns, *wide])


def _complaint(text: str) -> str:
    fields = text.split(",")
    if len(fields) not in (6, 7):
        return f"expected 6 or 7 columns, found {len(fields)}: {text[:120]!r}"
    if fields[1] not in {"1", "2", "3", "4", "5", "6", "7"}:
        return f"unknown message type {fields[1]!r}: {text[:120]!r}"
    if fields[5] not in {"1", "-1"}:
        return f"direction must be 1 or -1: {text[:120]!r}"
    return f"not a LOBSTER message (time, type, order id, size, price, direction): {text[:120]!r}"


def parse_book_row(text: str, file: str, line: int, may_cross: bool = False) -> tuple[dict[int, int], dict[int, int]]:
    """(bids, asks) of one order-book row as price x 10000 -> size; empty levels are left out. Raises DataError."""
    try:
        values = [int(field) for field in text.split(",")]
    except ValueError as error:
        raise DataError(f"not an order-book row: {text[:120]!r}", file=file, line=line) from error
    if len(values) % 4:
        raise DataError(f"an order-book row needs 4 columns for each level, found {len(values)}", file=file, line=line)
    sides: list[dict[int, int]] = []
    for start in (2, 0):
        levels = {
            price: size
            for price, size in zip(values[start::4], values[start + 1 :: 4], strict=True)
            if abs(price) != EMPTY_LEVEL_PRICE
        }
        if any(not (0 < price < _BOOK_VALUE_MAX and 0 < size < _BOOK_VALUE_MAX) for price, size in levels.items()):
            raise DataError(f"prices and sizes must be positive and below {_BOOK_VALUE_MAX}", file=file, line=line)
        sides.append(levels)
    bids, asks = sides
    if not may_cross and bids and asks and max(bids) >= min(asks):
        raise DataError(f"crossed book: bid {max(bids)}, ask {min(asks)}", file=file, line=line)
    return bids, asks


class Seeder:
    """Puts the levels that precede the file into the tape, as orders whose ids are negative because nobody knows them.

    Row 1 of the order-book file already holds message 1, so that message is taken out of it again. Later messages that
    name an order the file never added act on the seeded order at their price, as far as it reaches; where nothing was seeded
    at that price they pass unchanged, and the venue counts them as unknown.
    """

    def __init__(self, source: LobsterSource) -> None:
        assert source.book is not None
        self._source = source
        self._known: set[int] = set()
        self._seeded: dict[tuple[int, int], list[int]] = {}  # (side, price) -> [order id, quantity left]
        self._is_first = True
        with_first_line = next(read_blocks(source.book), None)
        if with_first_line is None:
            raise DataError("the order-book file is empty", file=str(source.book))
        text = with_first_line.data.split(b"\n", 1)[0].decode("utf-8", "backslashreplace").rstrip("\r")
        self._levels = parse_book_row(text, str(source.book), 1)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """`rows` with unknown ids renamed, led by the seed when they are the tape's first."""
        if not len(rows):
            return rows
        seed = self._seed(rows[0]) if self._is_first else np.empty(0, MD_ROW)
        self._is_first = False
        rows = rows.copy()
        known = self._known
        kinds, ids = rows["kind"].tolist(), rows["order_id"].tolist()
        for index, (kind, order_id) in enumerate(zip(kinds, ids, strict=True)):
            if kind == ADD:
                known.add(order_id)
            elif kind <= EXECUTE and order_id not in known:
                self._rename(rows, index)
            elif kind == DELETE:
                known.discard(order_id)
        return np.concatenate((seed, rows))

    def _rename(self, rows: np.ndarray, index: int) -> None:
        row = rows[index]
        key = (int(row["side"]), int(row["price"]))
        seeded = self._seeded.get(key)
        if seeded is None or seeded[1] < row["qty"]:
            return
        row["order_id"] = seeded[0]
        seeded[1] -= int(row["qty"])
        if row["kind"] == DELETE and seeded[1]:
            # One of several unknown orders left: the level shrinks, the stand-in for the others stays.
            row["kind"] = REDUCE
        if seeded[1] == 0:
            if row["kind"] == REDUCE:
                row["kind"] = DELETE
            del self._seeded[key]

    def _seed(self, first: np.void) -> np.ndarray:
        self._take_out(first)
        seed: list[tuple[int, ...]] = []
        stamps = (int(first["ts_event"]), int(first["ts_init"]))
        for side, levels in zip((BUY, SELL), self._levels, strict=True):
            for price, size in sorted(levels.items(), reverse=side == BUY):
                order_id = -1 - len(seed)
                try:
                    points = rescale(price, LOBSTER_PRICE_SCALE, self._source.price_scale)
                except UnitError as error:
                    raise DataError(str(error), file=str(self._source.book), line=1) from error
                qty = size * POW10[self._source.qty_scale]
                if max(points, qty) > INT64_MAX:
                    raise DataError(f"level {price} of {size} does not fit in 64 bits", file=str(self._source.book), line=1)
                self._seeded[side, points] = [order_id, qty]
                seed.append((*stamps, points, qty, order_id, self._source.instrument, ADD, side, FLAG_SNAPSHOT))
        rows = np.array(seed, dtype=MD_ROW)
        if len(rows):
            rows["flags"][-1] |= FLAG_LAST
        return rows

    def _take_out(self, first: np.void) -> None:
        """Undo message 1 on the levels of row 1."""
        if first["kind"] > EXECUTE:
            return
        levels = self._levels[int(first["side"])]
        price = rescale(int(first["price"]), self._source.price_scale, LOBSTER_PRICE_SCALE)
        size = int(first["qty"]) // POW10[self._source.qty_scale]
        before = levels.get(price, 0) + (-size if first["kind"] == ADD else size)
        if before < 0:
            raise DataError(
                "row 1 does not hold message 1: the two files do not belong together", file=str(self._source.book), line=1
            )
        levels.pop(price, None)
        if before:
            levels[price] = before
