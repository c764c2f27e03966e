"""Random operations of every kind on the C book and its plain-Python oracle: same reports, same L3, all invariants, each time."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from native.book import NativeBook
from native.book_types import REPORT_DTYPE, BookError, Report
from native.reference_book import ReferenceBook
from tests.native.book_world import Operation, World

SEEDS = [int(os.environ["BOOK_FUZZ_SEED"])] if "BOOK_FUZZ_SEED" in os.environ else list(range(40))
OPERATIONS = int(os.environ.get("BOOK_FUZZ_OPERATIONS", "400"))


def run(book: NativeBook | ReferenceBook, operation: Operation) -> Any:
    """The answer of one book: reports, or nothing."""
    name, arguments, keywords = operation
    if name in ("limit", "cancel_fast"):
        # The fast calls are stamped with the last ts: have one seen first that expires nothing.
        book.advance(-(2**63))
        return getattr(book, name)(*arguments[1:])
    if name != "batch":
        return getattr(book, name)(*arguments, **keywords)
    columns = np.ascontiguousarray(np.array(arguments[0], dtype=np.int64).T)
    names = ("ts", "op", "order_id", "side", "price", "qty")
    out: list[Report] = []
    start, cap = 0, 4
    while start < columns.shape[1]:
        reports = np.zeros(cap, REPORT_DTYPE)
        done, written = book.batch(0, **dict(zip(names, columns[:, start:], strict=True)), reports=reports)
        out += [Report(*row[:-1]) for row in reports[:written].tolist()]
        start += done
        cap = cap if done else cap * 2
    return out


def answer(book: NativeBook | ReferenceBook, operation: Operation) -> Any:
    try:
        return run(book, operation)
    except BookError as error:
        return type(error).__name__


def state(book: NativeBook | ReferenceBook, symbols: int) -> list[Any]:
    rows: list[Any] = [book.live_orders(), book.totals()]
    for symbol in range(symbols):
        rows.append(book.last_price(symbol))
        rows += [book.position(owner, symbol) for owner in (7, -9, 11, 2**60)]
        rows += [(book.orders(symbol, side), book.levels(symbol, side)) for side in range(4)]
        rows += [(book.orders_array(symbol, side).tolist(), book.levels_array(symbol, side, 3).tolist()) for side in range(4)]
        rows += [book.best(symbol, side) for side in range(2)]
        rows.append(book.auction_price(symbol, 1005))
        rows += [(book.queue_ahead(view.order_id), book.order(view.order_id)) for view in book.orders(symbol, 0)]
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_native_and_reference_agree(seed: int) -> None:
    world = World(seed)
    native, reference = NativeBook(**world.config), ReferenceBook(**world.config)
    for rules in world.symbols:
        assert native.symbol_add(**rules) == reference.symbol_add(**rules)
    for step in range(OPERATIONS):
        live = [view for symbol in range(len(world.symbols)) for side in range(4) for view in reference.orders(symbol, side)]
        operation = world.operation(live)
        # As small a buffer as possible, so that a bound that is too low would write past it.
        native._allocate(world.random.choice([1, 2, 3, 5, 30, 1000]))
        repeat = f"repeat with: BOOK_FUZZ_SEED={seed} python -m pytest tests/native/test_book_fuzz.py  (step {step}: {operation})"
        expected, got = answer(reference, operation), answer(native, operation)
        assert got == expected, repeat
        if isinstance(got, list):
            assert operation[0] == "batch" or len(got) <= native._cap, repeat
        native.check()
        reference.check()
        assert state(native, len(world.symbols)) == state(reference, len(world.symbols)), repeat
