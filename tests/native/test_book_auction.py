"""The clearing price against a brute force over every tick, and what an uncross must leave behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("native._native", reason="the C extension is not built")

from native.book import NativeBook
from native.book_types import Clearing, Kind
from native.reference_book import ReferenceBook

LOW, HIGH = -20, 60
BOOKS = [NativeBook, ReferenceBook]
orders = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 15), st.integers(1, 20), st.integers(0, 6)), min_size=1, max_size=14
)


def brute_force(rows: list[tuple[int, int, int, int]], tick: int, reference: int) -> Clearing | None:
    found = []
    for price in range(LOW * tick, HIGH * tick + 1, tick):
        demand = sum(qty for side, at, qty, _ in rows if side == 0 and at * tick >= price)
        supply = sum(qty for side, at, qty, _ in rows if side == 1 and at * tick <= price)
        if min(demand, supply):
            found.append(Clearing(price, min(demand, supply), demand - supply))
    return min(found, key=lambda c: (-c.volume, abs(c.imbalance), abs(c.price - reference), c.price), default=None)


@pytest.mark.parametrize("kind", BOOKS)
@settings(max_examples=300, deadline=None)
@given(rows=orders, tick=st.sampled_from([1, 3]), reference=st.integers(-10, 70))
def test_clearing_price_is_the_best_of_all_ticks(kind: Any, rows: list[Any], tick: int, reference: int) -> None:
    book = kind(orders_max=50, levels_max=50)
    book.symbol_add(tick=tick, lot=1, qty_min=1, qty_max=100, price_min=LOW * tick, price_max=HIGH * tick)
    book.auction_begin(0)
    for order_id, (side, price, qty, display) in enumerate(rows, 1):
        book.submit(0, order_id=order_id, side=side, qty=qty, price=price * tick, display_qty=display)
    expected = brute_force(rows, tick, reference)
    assert book.auction_price(0, reference) == expected
    trades = [report for report in book.uncross(1, 0, reference) if report.kind == Kind.TRADE]
    assert {trade.price for trade in trades} == ({expected.price} if expected else set())
    assert sum(trade.qty for trade in trades) == (expected.volume if expected else 0)
    book.check()
    bid, ask = book.best(0, 0), book.best(0, 1)
    assert bid is None or ask is None or bid.price < ask.price
