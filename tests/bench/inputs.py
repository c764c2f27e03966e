"""The benchmarks' input files, made once in bench-data/ and reused: workload W1, its order-by-order feed, the level-2 tape, bars.

The order-by-order feed is what our own matching engine reports for the workload (rows ts us, op 0 add | 1 delete | 2 execute, id,
side, price, quantity); the tape turns it into level updates and prints, one message a millisecond.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from native.book_types import Kind
from tests.bench import w1_flow
from tests.bench.bars import BARS, random_walk
from tests.bench.matching import Ways, run_batch

FOLDER = Path(__file__).resolve().parents[2] / "bench-data"
MESSAGES = 1_000_000
ROWS = 2_000_000
# The tape has about 1.29 rows a message; a few more messages than needed, cut to the rows asked for.
ROWS_PER_MESSAGE = 1.29

Table = npt.NDArray[np.int64]


def made(name: str, make: Callable[[Path], None]) -> Path:
    """bench-data/name, made by `make` unless it is there; never half-written."""
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        print(f"making {path.name}", file=sys.stderr)
        part = path.with_name(f"part-{path.name}")
        make(part)
        part.replace(path)
    return path


def workload_file(messages: int) -> Path:
    return made(f"w1-{messages}.bin", lambda path: w1_flow.write(path, w1_flow.make(messages).columns))


def messages_for(rows: int) -> int:
    return int(rows / ROWS_PER_MESSAGE)


def mbo_rows(columns: dict[str, Table]) -> Table:
    """(n, 6): ts us, op, id, side, price, quantity, in the order things happened."""
    book = Ways(columns).book()
    reports = run_batch(book, columns)[1]
    rows: list[tuple[int, int, int, int, int, int]] = []
    resting: tuple[int, ...] = ()  # the accepted order, until its trades are through
    names = ("ts", "kind", "order_id", "contra_id", "side", "price", "qty", "leaves_qty")
    for ts, kind, order_id, maker, side, price, qty, leaves in zip(*(reports[name].tolist() for name in names), strict=True):
        if kind == Kind.TRADE:
            rows.append((ts, 2, maker, 1 - side, price, qty))
            resting = (*resting[:5], leaves)
            continue
        if resting and resting[5]:
            rows.append(resting)  # type: ignore[arg-type]  # six of them by construction
        resting = ()
        if kind == Kind.ACCEPTED:
            resting = (ts, 0, order_id, side, price, qty)
        elif kind == Kind.CANCELED:
            rows.append((ts, 1, order_id, side, price, qty))
        else:
            raise AssertionError(f"workload W1 leads to no report of kind {kind}")
    if resting and resting[5]:
        rows.append(resting)  # type: ignore[arg-type]
    return np.array(rows, dtype=np.int64)


def tape_rows(mbo: Table) -> Table:
    """(n, 5): ts ns, kind 0 level update | 1 print, side, price, quantity."""
    levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
    rows: list[tuple[int, int, int, int, int]] = []
    for ts, op, _order_id, side, price, qty in mbo.tolist():
        level = levels[side]
        total = level.get(price, 0) + (qty if op == 0 else -qty)
        if total:
            level[price] = total
        else:
            level.pop(price, None)
        if op == 2:
            rows.append((ts * 1000, 1, 1 - side, price, qty))
        rows.append((ts * 1000, 0, side, price, total))
    return np.array(rows, dtype=np.int64)


def mbo_file(rows: int) -> Path:
    """In the layout of a workload file: magic, rows, 6, then six columns."""

    def make(path: Path) -> None:
        table = mbo_rows(w1_flow.read(workload_file(messages_for(rows))))
        w1_flow.write(path, dict(zip(w1_flow.COLUMNS, table.T, strict=True)))

    return made(f"mbo-{rows}.bin", make)


def tape_file(rows: int) -> Path:
    def make(path: Path) -> None:
        columns = w1_flow.read(mbo_file(rows))
        table = tape_rows(np.stack([columns[name] for name in w1_flow.COLUMNS], axis=1))[:rows]
        with path.open("wb") as file:
            np.save(file, table)

    return made(f"tape-{rows}.npy", make)


def bars_file() -> Path:
    """int64 (n, 7): ts_event ns, open, high, low, close, volume, interval ns."""

    def make(path: Path) -> None:
        bars = random_walk(BARS, 20)
        columns = (bars.ts_event, bars.open, bars.high, bars.low, bars.close, bars.volume)
        with path.open("wb") as file:
            np.save(file, np.stack([*columns, np.full(BARS, bars.interval_ns, dtype=np.int64)], axis=1))

    return made(f"bars-{BARS}.npy", make)
