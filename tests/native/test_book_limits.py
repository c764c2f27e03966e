"""The book at its edges: full tables, full report buffers, extreme integers, values that are refused in Python, layouts."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from native import book_types, loader
from native.book import NativeBook, reports_fnv
from native.book_types import (
    INT64_MAX,
    INT64_MIN,
    LEVEL_DTYPE,
    ORDER_VIEW_DTYPE,
    REPORT_DTYPE,
    BookArgumentError,
    BookError,
    BookSymbolError,
    Clearing,
    Flag,
    Kind,
    OrderType,
    Reason,
    ReportsFullError,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
    Totals,
)
from native.reference_book import ReferenceBook

BOOKS = [NativeBook, ReferenceBook]
WIDE = {"tick": 1, "lot": 1, "qty_min": 1, "qty_max": INT64_MAX, "price_min": INT64_MIN, "price_max": INT64_MAX}


def make(kind: Any = NativeBook, symbol: dict[str, int] | None = None, **config: int) -> Any:
    book = kind(**({"orders_max": 100, "levels_max": 100, "owners_max": 4} | config))
    book.symbol_add(**(symbol or WIDE))
    return book


def snapshot(book: Any) -> tuple[Any, ...]:
    return tuple(book.orders(0, side) for side in range(4)), tuple(book.levels(0, side) for side in range(4)), book.totals()


ENUMS = [
    ("BOOK_SIDE_", Side),
    ("BOOK_TYPE_", OrderType),
    ("BOOK_TIF_", TimeInForce),
    ("BOOK_FLAG_", Flag),
    ("BOOK_STP_", SelfTrade),
    ("BOOK_REPORT_", Kind),
    ("BOOK_REASON_", Reason),
    ("MD_STATUS_", Status),
]


# Values that no matching engine has a word for.
OURS_ALONE = {("BOOK_FLAG_", "NONE"), ("BOOK_REASON_", "NOT_SENT"), ("BOOK_REASON_", "KILLED"), ("BOOK_REASON_", "LATE")}


@pytest.mark.parametrize(("prefix", "enum"), ENUMS)
def test_constants_are_those_of_the_header(prefix: str, enum: Any) -> None:
    lib = loader.extension().lib
    in_header = {name.removeprefix(prefix): getattr(lib, name) for name in dir(lib) if name.startswith(prefix)}
    assert in_header == {name: int(value) for name, value in enum.__members__.items() if (prefix, name) not in OURS_ALONE}


@pytest.mark.parametrize(
    ("name", "dtype"), [("book_report", REPORT_DTYPE), ("book_level", LEVEL_DTYPE), ("book_order_view", ORDER_VIEW_DTYPE)]
)
def test_record_layouts_are_those_of_the_header(name: str, dtype: np.dtype[Any]) -> None:
    ffi = loader.extension().ffi
    fields = {field: (kind.offset, ffi.sizeof(kind.type)) for field, kind in ffi.typeof(name).fields}
    assert fields == {field: (dtype.fields[field][1], dtype.fields[field][0].itemsize) for field in dtype.names}
    assert ffi.sizeof(name) == dtype.itemsize


@pytest.mark.parametrize("kind", BOOKS)
def test_full_pool_refuses_and_keeps_everything(kind: Any) -> None:
    book = make(kind, orders_max=5)
    for order_id in range(1, 6):
        book.submit(0, order_id=order_id, side=0, qty=1, price=order_id)
    before = book.orders(0, 0)
    refused = book.submit(0, order_id=6, side=0, qty=1, price=3)
    assert [(r.kind, r.reason) for r in refused] == [(Kind.REJECTED, Reason.FULL)]
    assert book.orders(0, 0) == before
    book.check()
    # What never rests needs no slot, and a freed slot is usable again.
    taken = book.submit(0, order_id=7, side=1, qty=1, price=1, time_in_force=TimeInForce.IOC)
    assert [r.kind for r in taken] == [Kind.ACCEPTED, Kind.TRADE]
    assert [r.kind for r in book.submit(0, order_id=8, side=0, qty=1, price=3)] == [Kind.ACCEPTED]
    book.check()


@pytest.mark.parametrize("kind", BOOKS)
def test_stop_without_room_for_its_level_is_cancelled(kind: Any) -> None:
    book = make(kind, levels_max=3)
    book.submit(0, order_id=1, side=1, qty=5, price=100)
    for order_id in (2, 3):
        book.submit(0, order_id=order_id, side=0, qty=1, price=50, order_type=OrderType.STOP_LIMIT, trigger_price=100)
    book.submit(0, order_id=4, side=0, qty=1, price=20)
    reports = book.submit(0, order_id=5, side=0, qty=1, price=100, time_in_force=TimeInForce.IOC)
    assert [(r.order_id, r.kind, r.reason) for r in reports] == [
        (5, Kind.ACCEPTED, Reason.NONE),
        (5, Kind.TRADE, Reason.NONE),
        (2, Kind.TRIGGERED, Reason.NONE),
        (2, Kind.CANCELED, Reason.FULL),
        (3, Kind.TRIGGERED, Reason.NONE),
    ]
    assert [(view.order_id, view.price) for view in book.orders(0, 0)] == [(3, 50), (4, 20)]
    book.check()


def test_reports_full_has_no_effect() -> None:
    """Every cap below what a message needs leaves the book as it was; the first cap that is accepted gives the whole answer."""
    ffi, lib = loader.extension().ffi, loader.extension().lib
    order = ffi.new("book_order *")
    order.order_id, order.side, order.qty, order.price = 99, 1, 30, 1
    caps_refused = 0
    for cap in range(40):
        book = make()
        for order_id in range(1, 9):
            book.submit(0, order_id=order_id, side=0, qty=3, price=10 + order_id % 3)
        book.submit(0, order_id=20, side=1, qty=1, price=5, order_type=OrderType.STOP_LIMIT, trigger_price=9)
        before = snapshot(book)
        reports = ffi.new("book_report[]", max(1, cap))
        count = lib.book_submit(book.raw, 1, order, reports, cap)
        book.check()
        if count == lib.BOOK_ERR_REPORTS_FULL:
            caps_refused += 1
            assert snapshot(book) == before
        else:
            assert count == 9  # accepted, eight trades; the rest is in the book
            assert book.order(99).leaves_qty == 6
    assert 9 <= caps_refused <= 20


def test_reports_full_for_sweeps() -> None:
    book = make(reports_max=3)
    for order_id in range(1, 6):
        book.submit(0, order_id=order_id, side=0, qty=1, price=7, time_in_force=TimeInForce.GTD, expire_ts=10)
    before = snapshot(book)
    for call in (book.mass_cancel, book.advance):
        with pytest.raises(ReportsFullError, match="nothing happened"):
            call(10)
        assert snapshot(book) == before
    assert len(make(reports_max=3).mass_cancel(0)) == 0


def test_batch_stops_where_the_reports_are_full_and_goes_on() -> None:
    rows = 500
    draw = np.random.default_rng(7)
    columns = {
        "ts": np.arange(rows),
        "op": (draw.random(rows) < 0.3).astype(np.int64),
        "order_id": np.arange(1, rows + 1),
        "side": draw.integers(0, 2, rows),
        "price": draw.integers(95, 106, rows),
        "qty": draw.integers(1, 50, rows),
    }
    cancels = columns["op"] == 1
    columns["order_id"][cancels] = draw.integers(1, rows, int(cancels.sum()))
    whole = np.zeros(4 * rows, REPORT_DTYPE)
    done, written = make(orders_max=rows).batch(0, **columns, reports=whole)
    assert done == rows
    pieces, start, book = [], 0, make(orders_max=rows)
    while start < rows:
        part = np.zeros(60, REPORT_DTYPE)
        done, count = book.batch(0, **{name: column[start:] for name, column in columns.items()}, reports=part)
        assert done > 0
        pieces.append(part[:count])
        start += done
        book.check()
    assert np.array_equal(np.concatenate(pieces), whole[:written])
    silent = make(orders_max=rows)
    assert silent.batch(0, **columns) == (rows, 0)
    assert silent.totals() == book.totals()
    assert reports_fnv(whole[:written]) == reports_fnv(whole[written // 2 : written], reports_fnv(whole[: written // 2]))


@pytest.mark.parametrize("kind", BOOKS)
def test_extreme_integers(kind: Any) -> None:
    """The ends of int64 as prices, ids, owners and times; sums stay inside int64 because qty_max is held down."""
    book = make(kind)
    big = 2**62 // 102
    for order_id, price in ((1, INT64_MAX), (2, INT64_MIN), (INT64_MAX, 0)):
        side = 1 if price > 0 else 0
        assert book.submit(INT64_MAX, order_id=order_id, side=side, qty=big, price=price)[0].kind == Kind.ACCEPTED
    assert book.submit(0, order_id=5, side=0, qty=big + 1, price=0)[0].reason == Reason.BAD_QTY
    assert book.submit(0, order_id=5, side=0, qty=INT64_MAX, price=0)[0].reason == Reason.BAD_QTY
    slid = book.submit(0, order_id=6, side=0, qty=1, price=INT64_MAX, flags=Flag.POST_ONLY_SLIDE)
    assert slid[0].price == INT64_MAX - 1
    book.submit(INT64_MIN, order_id=7, side=1, qty=3, price=INT64_MIN, owner=INT64_MIN)
    traded = book.submit(0, order_id=8, side=0, qty=big, order_type=OrderType.MARKET, owner=INT64_MAX)
    assert [(r.kind, r.price) for r in traded] == [(Kind.ACCEPTED, 0), (Kind.TRADE, INT64_MAX)]
    assert book.position(INT64_MAX, 0) == big
    stop = {"order_type": OrderType.STOP, "trigger_price": INT64_MIN}
    assert book.submit(0, order_id=9, side=1, qty=1, **stop)[0].kind == Kind.ACCEPTED
    assert book.advance(INT64_MAX) == []
    book.auction_begin(0)
    book.submit(0, order_id=10, side=0, qty=1, order_type=OrderType.MARKET, time_in_force=TimeInForce.OPG)
    book.submit(0, order_id=11, side=1, qty=1, order_type=OrderType.MARKET, time_in_force=TimeInForce.OPG)
    for reference in (INT64_MIN, -1, 0, INT64_MAX):
        # Between the bids at or below 0 and the buyer without limit everything is balanced.
        assert book.auction_price(0, reference) == Clearing(max(1, min(reference, INT64_MAX)), 1, 0)
    book.uncross(0, 0, INT64_MIN)
    book.check()


@pytest.mark.parametrize("kind", BOOKS)
def test_positions_stop_at_their_limit(kind: Any) -> None:
    book = make(kind)
    book.position_set(7, 0, 2**62)
    book.submit(0, order_id=1, side=1, qty=10, price=5)
    book.submit(0, order_id=2, side=0, qty=10, price=5, owner=7)
    assert book.position(7, 0) == 2**62
    for position in (2**62 + 1, INT64_MIN):
        with pytest.raises(BookArgumentError, match="position"):
            book.position_set(7, 0, position)
    for owner in (8, 9, 10):
        book.position_set(owner, 0, -1)
    with pytest.raises(BookArgumentError):
        book.position_set(11, 0, 1)
    assert book.position(11, 0) == 0


BAD_CONFIG = [
    {"orders_max": 0},
    {"orders_max": 2**40},
    {"levels_max": -1},
    {"symbols_max": 0},
    {"owners_max": -1},
    {"stp_mode": 9},
    {"orders_max": 1.5},
    {"levels_max": True},
]


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize("config", BAD_CONFIG, ids=str)
def test_bad_configuration_names_the_field(kind: Any, config: dict[str, Any]) -> None:
    with pytest.raises(BookArgumentError, match=next(iter(config))):
        make(kind, **config)


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize(
    "rule", [{"tick": 0}, {"lot": -1}, {"qty_max": 0}, {"qty_min": -1}, {"price_max": INT64_MIN}, {"tick": 2**63}]
)
def test_bad_symbol_names_the_field(kind: Any, rule: dict[str, int]) -> None:
    with pytest.raises(BookArgumentError, match=next(iter(rule))):
        make(kind, symbol=WIDE | {"price_min": 0} | rule)
    with pytest.raises(BookSymbolError):
        make(kind).symbol_add(**WIDE)


BAD_ORDERS = [
    {"order_id": 2**63},
    {"price": -(2**63) - 1},
    {"qty": 2**64},
    {"qty": 1.5},
    {"side": 256},
    {"side": -1},
    {"flags": 1000},
    {"symbol": 2**31},
    {"expire_ts": "now"},
]


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize("bad", BAD_ORDERS, ids=str)
def test_integers_out_of_range_name_the_field(kind: Any, bad: dict[str, Any]) -> None:
    book = make(kind)
    with pytest.raises(BookArgumentError, match=next(iter(bad))):
        book.submit(0, **({"order_id": 1, "side": 0, "qty": 1, "price": 1} | bad))
    assert book.live_orders() == 0


@pytest.mark.parametrize("kind", BOOKS)
def test_other_bad_arguments(kind: Any) -> None:
    book = make(kind)
    calls = [
        lambda: book.cancel(0, 2**63),
        lambda: book.cancel(2**63, 1),
        lambda: book.replace(0, 1, 2**70, 1),
        lambda: book.mass_cancel(0, side=2),
        lambda: book.mass_cancel(0, owner=2**63),
        lambda: book.advance(2**63),
        lambda: book.execute_resting(0, 1, -(2**64)),
        lambda: book.orders(0, 4),
        lambda: book.levels(0, -1),
        lambda: book.best(0, 2),
        lambda: book.level_qty(0, 2, 1),
        lambda: book.position_set(0, 0, 1),
        lambda: book.status_set(0, 2),
        lambda: book.status_set(0, 17),
        lambda: book.auction_price(0, 2**63),
        lambda: book.uncross(0, 0, 1),
    ]
    for call in calls:
        with pytest.raises(BookArgumentError):
            call()
    symbols = [
        lambda: book.submit(0, order_id=1, side=0, qty=1, price=1, symbol=1),
        lambda: book.mass_cancel(0, symbol=5),
        lambda: book.end_of_day(0, -2),
        lambda: book.auction_begin(-1),
        lambda: book.orders(3, 0),
        lambda: book.best(1, 0),
        lambda: book.level_qty(-1, 0, 5),
        lambda: book.last_price(1),
    ]
    for call in symbols:
        with pytest.raises(BookSymbolError):
            call()
    assert book.totals() == Totals(0, 0, 0, 0, 0, 0)


def test_null_and_misuse_in_c_are_codes() -> None:
    ffi, lib = loader.extension().ffi, loader.extension().lib
    null, book = ffi.NULL, make()
    order, report = ffi.new("book_order *"), ffi.new("book_report *")
    assert lib.book_new(null) == null
    lib.book_free(null)
    assert lib.book_submit(null, 0, order, report, 1) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_submit(book.raw, 0, null, report, 1) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_submit(book.raw, 0, order, null, 1) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_submit(book.raw, 0, order, report, 0) == lib.BOOK_ERR_REPORTS_FULL
    assert lib.book_submit(book.raw, 0, order, report, -1) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_check(null) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_best(null, 0, 0, null) == 0
    assert lib.book_queue_ahead(null, 1) == -1
    assert lib.book_batch(book.raw, 0, 1, null, null, null, null, null, null, null, 0, null) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_reports_attach(book.raw, null, 5) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_reports_attach(book.raw, null, 0) == lib.BOOK_OK
    assert lib.book_limit(book.raw, 1, 0, 1, 1) == lib.BOOK_ERR_REPORTS_FULL
    assert lib.book_limit(null, 1, 0, 1, 1) == lib.BOOK_ERR_ARGUMENT
    assert lib.book_cancel_fast(null, 1) == lib.BOOK_ERR_ARGUMENT
    empty = NativeBook(orders_max=1, levels_max=1)
    assert lib.book_limit(empty.raw, 1, 0, 1, 1) == lib.BOOK_ERR_SYMBOL
    book.check()


def test_check_finds_a_broken_book() -> None:
    """book_check must not be a stub: one wrong byte anywhere in an order is found."""
    book = make()
    book.submit(0, order_id=1, side=0, qty=5, price=10)
    book.submit(0, order_id=2, side=0, qty=5, price=10)
    # struct book starts with the order pool's address; slot 1 is the first order: id, qty, hidden.
    ffi = loader.extension().ffi
    orders = ffi.cast("int64_t **", book.raw)[0]
    for word, value in ((8, 77), (9, 6), (10, 1), (12, 0)):
        good = orders[word]
        orders[word] = value
        with pytest.raises(BookError):
            book.check()
        orders[word] = good
    book.check()


def test_missing_extension_falls_back_with_one_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "native._native", None)
    loader.extension.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="native"):
            books = [loader.make_book(orders_max=5, levels_max=5) for _ in range(3)]
    finally:
        loader.extension.cache_clear()
    assert {type(book) for book in books} == {ReferenceBook}
    assert len(caplog.records) == 1
    assert "ReferenceBook" in caplog.text
    monkeypatch.undo()
    assert isinstance(loader.make_book(orders_max=5, levels_max=5), NativeBook)


def test_reference_book_imports_without_the_extension() -> None:
    code = (
        "import sys; sys.modules['native._native'] = None; import native.reference_book; assert 'native.book' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(book_types.__file__).parents[1])
