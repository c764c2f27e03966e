"""Matching benchmark: python -m tests.bench.matching [WORKLOAD.bin] [--json]

The same messages through the C book in batches and by one call each, an empty call of five integers, a plain-Python
loop of dictionaries and heaps, and ReferenceBook. Every way must give the same trades; times are CPU time of the one thread
(what else runs on the machine shows less than in wall time), medians of interleaved rounds. Without a file, workload W1
is generated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from native.book import NativeBook, reports_fnv
from native.book_types import REPORT_DTYPE, Kind, Reason
from native.loader import extension
from native.reference_book import ReferenceBook
from tests.bench import plain_book, w1_flow

REPORTS_CHUNK = 65_536
REFERENCE_MESSAGES = 20_000
ROUNDS = 5
Columns = dict[str, np.ndarray]


class Result(NamedTuple):
    """What a way of matching ended with."""

    trades: int
    volume: int
    notional: int
    fnv: str


class Measured(NamedTuple):
    """One round: nanoseconds in all, and the result (None where there is none)."""

    cpu_ns: int
    result: Result | None


def rules_of(columns: Columns) -> dict[str, int]:
    new = columns["op"] == 0
    prices, quantities = columns["price"][new], columns["qty"][new]
    qty_max = int(quantities.max())
    return {
        "tick": 1,
        "lot": 1,
        "qty_min": 1,
        "qty_max": qty_max,
        "price_min": int(prices.min()),
        "price_max": int(prices.max()),
    }


def sized_config(columns: Columns) -> dict[str, int]:
    """Tables just large enough: doubled until nothing is refused for want of room."""
    orders_max, levels_max = 4096, 1024
    while True:
        book = NativeBook(orders_max=orders_max, levels_max=levels_max)
        book.symbol_add(**rules_of(columns))
        if run_batch(book, columns)[2] == 0:
            return {"orders_max": orders_max, "levels_max": levels_max}
        orders_max, levels_max = orders_max * 2, levels_max * 2


def run_batch(book: NativeBook, columns: Columns) -> tuple[int, int, int]:
    """Nanoseconds inside the batch calls, the trades' FNV, and orders refused for want of room.

    All reports are written; they are read between the calls, off the clock.
    """
    buffer = np.zeros(REPORTS_CHUNK, REPORT_DTYPE)
    buffer["ts"] = 1  # its pages exist before the clock starts
    start, cpu_ns, refused, state, rows = 0, 0, 0, w1_flow.FNV_START, len(columns["ts"])
    while start < rows:
        part = {name: column[start:] for name, column in columns.items()}
        before = time.thread_time_ns()
        done, written = book.batch(0, **part, reports=buffer)
        cpu_ns += time.thread_time_ns() - before
        if done == 0:
            raise SystemExit(f"matching: message {start} needs more than {REPORTS_CHUNK} reports")
        reports = buffer[:written]
        state = reports_fnv(reports, state)
        refused += int(np.count_nonzero(reports["reason"] == Reason.FULL))
        start += done
    return cpu_ns, state, refused


class Ways:
    """Each method runs the whole workload once on a fresh book."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.config = sized_config(columns)
        self.rows = [columns[name].tolist() for name in ("op", "order_id", "side", "price", "qty")]

    def book(self) -> NativeBook:
        book = NativeBook(**self.config)
        book.symbol_add(**rules_of(self.columns))
        return book

    def batch(self, quiet: bool = False) -> Measured:
        book = self.book()
        book.batch_quiet(quiet)
        cpu_ns, state, _ = run_batch(book, self.columns)
        return Measured(cpu_ns, Result(*book.totals()[:3], f"{state:016x}"))

    def batch_silent(self) -> Measured:
        book = self.book()
        before = time.thread_time_ns()
        book.batch(0, **self.columns)
        return Measured(time.thread_time_ns() - before, None)

    def calls(self) -> Measured:
        book, lib = self.book(), extension().lib
        limit, cancel, raw = lib.book_limit, lib.book_cancel_fast, book.raw
        before = time.thread_time_ns()
        for op, order_id, side, price, qty in zip(*self.rows, strict=True):
            if op:
                cancel(raw, order_id)
            else:
                limit(raw, order_id, side, price, qty)
        cpu_ns = time.thread_time_ns() - before
        return Measured(cpu_ns, Result(*book.totals()[:3], self.calls_fnv))

    @cached_property
    def calls_fnv(self) -> str:
        """Again with every answer read: single calls give the same trades as the batch."""
        book, lib, ffi = self.book(), extension().lib, extension().ffi
        buffer = ffi.new("book_report[]", REPORTS_CHUNK)
        lib.book_reports_attach(book.raw, buffer, REPORTS_CHUNK)
        state = w1_flow.FNV_START
        for op, order_id, side, price, qty in zip(*self.rows, strict=True):
            count = lib.book_cancel_fast(book.raw, order_id) if op else lib.book_limit(book.raw, order_id, side, price, qty)
            if count > 1:
                state = lib.book_reports_fnv(buffer, count, state)
        return f"{state:016x}"

    def empty_call(self) -> Measured:
        noop = extension().lib.book_noop5
        before = time.thread_time_ns()
        for op, order_id, side, price, qty in zip(*self.rows, strict=True):
            if op:
                noop(op, order_id, side, price, qty)
            else:
                noop(op, order_id, side, price, qty)
        return Measured(time.thread_time_ns() - before, None)

    def plain_python(self) -> Measured:
        before = time.thread_time_ns()
        try:
            trades = plain_book.match(self.rows)
        except KeyError as error:
            raise SystemExit(f"matching: the file cancels order {error}, which is not live") from error
        cpu_ns = time.thread_time_ns() - before
        volume, notional = sum(row[3] for row in trades), sum(row[2] * row[3] for row in trades)
        return Measured(cpu_ns, Result(len(trades), volume, notional, f"{plain_book.fnv_of(trades):016x}"))

    def reference(self, messages: int) -> Measured:
        book = ReferenceBook(**self.config)
        book.symbol_add(**rules_of(self.columns))
        trades = []
        before = time.thread_time_ns()
        for op, order_id, side, price, qty in zip(*(column[:messages] for column in self.rows), strict=True):
            if op:
                book.cancel(0, order_id)
            else:
                reports = book.submit(0, order_id=order_id, side=side, price=price, qty=qty)
                trades += [(r.contra_id, r.order_id, r.price, r.qty) for r in reports if r.kind == Kind.TRADE]
        cpu_ns = time.thread_time_ns() - before
        return Measured(cpu_ns, Result(*book.totals()[:3], f"{plain_book.fnv_of(trades):016x}"))


def measure(columns: Columns, rounds: int, reference_messages: int) -> dict[str, Any]:
    """Medians of `rounds` interleaved rounds, the ratios that matter, and whether all results agree."""
    ways, messages = Ways(columns), len(columns["ts"])
    reference_messages = min(messages, reference_messages)
    plan: list[tuple[str, int, Callable[[], Measured]]] = [
        ("batch, trades reported", messages, lambda: ways.batch(quiet=True)),
        ("batch, everything reported", messages, ways.batch),
        ("batch, nothing reported", messages, ways.batch_silent),
        ("one call per message", messages, ways.calls),
        ("empty call of five integers", messages, ways.empty_call),
        ("plain Python", messages, ways.plain_python),
    ]
    runs: dict[str, list[Measured]] = {name: [] for name, _, _ in plan}
    for _ in range(rounds):
        for name, _, run in plan:
            runs[name].append(run())
    plan.append(("ReferenceBook", reference_messages, lambda: ways.reference(reference_messages)))
    runs["ReferenceBook"] = [ways.reference(reference_messages)]
    rows = []
    for name, count, _ in plan:
        median_ns = statistics.median(run.cpu_ns for run in runs[name]) / count
        results = {run.result for run in runs[name]}
        if len(results) != 1:
            raise SystemExit(f"matching: {name} gave different results in different rounds")
        result = results.pop()
        row = {"name": name, "messages": count, "ns_per_message": round(median_ns, 2)}
        rows.append(row | (result._asdict() if result else {}))
    by_name = {row["name"]: row for row in rows}
    plain_ns = by_name["plain Python"]["ns_per_message"]
    for row in rows:
        row["times_plain_python"] = round(plain_ns / row["ns_per_message"], 2)
    call_ratio = by_name["one call per message"]["ns_per_message"] / by_name["empty call of five integers"]["ns_per_message"]
    full = [row for row in rows if row["messages"] == messages and "fnv" in row]
    agree = all(row[key] == full[0][key] for row in full for key in Result._fields)
    return {"messages": messages, "rounds": rounds, "rows": rows, "call_over_empty_call": round(call_ratio, 3), "agree": agree}


def print_table(found: dict[str, Any]) -> None:
    print(f"{found['messages']:,} messages, CPU time, medians of {found['rounds']} interleaved rounds")
    print(f"{'way':<30}{'ns/message':>11}{'x plain':>9}{'trades':>10}{'volume':>12}{'notional':>18}  fnv")
    for row in found["rows"]:
        name = row["name"] if row["messages"] == found["messages"] else f"{row['name']}, first {row['messages']:,}"
        line = f"{name:<30}{row['ns_per_message']:>11.1f}{row['times_plain_python']:>9.1f}"
        if "fnv" in row:
            line += f"{row['trades']:>10,}{row['volume']:>12,}{row['notional']:>18,}  {row['fnv']}"
        print(line)
    print(f"one call per message / empty call: {found['call_over_empty_call']:.2f}")
    print("all ways agree" if found["agree"] else "RESULTS DIFFER")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.matching", description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="?", type=Path, help="a file in the format of tests/bench/w1_flow.py; W1 without it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--reference-messages", type=int, default=REFERENCE_MESSAGES, help="how many ReferenceBook is given")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1 or chosen.reference_messages < 1:
        parser.error("--rounds and --reference-messages must be at least 1")
    if extension() is None:
        return 3
    try:
        columns = w1_flow.read(chosen.workload) if chosen.workload else w1_flow.make().columns
        if not np.any(columns["op"] == 0):
            raise w1_flow.WorkloadError(f"{chosen.workload}: holds no new order")
    except (OSError, w1_flow.WorkloadError) as error:
        print(f"matching: {error}", file=sys.stderr)
        return 2
    found = measure(columns, chosen.rounds, chosen.reference_messages)
    print(json.dumps(found, indent=1)) if chosen.json else print_table(found)
    return 0 if found["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
