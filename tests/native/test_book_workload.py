"""Workload W1 and its relatives: the published result, the script's own reference where it is present, and every way to match."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from native.book import NativeBook, reports_fnv
from native.book_types import REPORT_DTYPE, Kind
from native.loader import extension
from native.reference_book import ReferenceBook
from tests.bench import matching, plain_book, w1_flow
from tests.data_path import ROOT

SCRIPT = ROOT.parent / "bench" / "workload.py"
VARIANTS = [
    {"n": 30_000, "seed": 20240601, "base": 2048, "mq": 100, "walk": 100},
    {"n": 20_000, "seed": 7, "base": 2048, "mq": 2000, "walk": 3},
    {"n": 12_000, "seed": 99, "base": 100_000, "mq": 20, "walk": 1},
    {"n": 2_500, "seed": 1, "base": 2048, "mq": 100, "walk": 100},
]


def flow_of(variant: dict[str, int]) -> w1_flow.Flow:
    return w1_flow.make(variant["n"], variant["seed"], variant["base"], variant["mq"], variant["walk"])


def run_book(columns: dict[str, np.ndarray]) -> tuple[NativeBook, np.ndarray]:
    book = NativeBook(orders_max=8192, levels_max=4096)
    book.symbol_add(**matching.rules_of(columns))
    reports = np.zeros(4 * len(columns["ts"]), REPORT_DTYPE)
    done, written = book.batch(0, **columns, reports=reports)
    assert done == len(columns["ts"])
    return book, reports[:written]


def book_result(book: NativeBook, reports: np.ndarray) -> dict[str, Any]:
    """The part of a workload's result that a book can answer for."""
    totals = book.totals()
    bid, ask = book.best(0, 0), book.best(0, 1)
    return {
        "trades": totals.trades,
        "volume": totals.volume,
        "notional": totals.notional,
        "fnv": f"{reports_fnv(reports):016x}",
        "live": book.live_orders(),
        "live_qty": sum(level.qty for side in (0, 1) for level in book.levels(0, side)),
        "best_bid": bid.price if bid else None,
        "best_ask": ask.price if ask else None,
        "levels": [len(book.levels(0, side)) for side in (0, 1)],
        "cancels": totals.canceled,
        "orders": totals.accepted,
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"seed{v['seed']}")
def test_generator_and_book_equal_the_script(variant: dict[str, int], tmp_path: Path) -> None:
    if not SCRIPT.exists():
        pytest.skip("the workload script is absent")
    out = tmp_path / "flow"
    options = [f"--{name}={value}" for name, value in variant.items()]
    subprocess.run([sys.executable, SCRIPT, "--no-csv", f"--out={out}", *options], check=True, capture_output=True)
    expected = json.loads(out.with_suffix(".ref.json").read_text(encoding="utf-8"))
    flow = flow_of(variant)
    assert flow.result == expected
    columns = w1_flow.read(out.with_suffix(".bin"))
    for name in w1_flow.COLUMNS:
        assert np.array_equal(columns[name], flow.columns[name]), name
    w1_flow.write(tmp_path / "again.bin", flow.columns)
    assert (tmp_path / "again.bin").read_bytes() == out.with_suffix(".bin").read_bytes()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"seed{v['seed']}")
def test_book_ends_where_the_flow_says(variant: dict[str, int]) -> None:
    flow = flow_of(variant)
    book, reports = run_book(flow.columns)
    book.check()
    found = book_result(book, reports)
    assert found == {name: flow.result[name] for name in found}
    trades = plain_book.match([flow.columns[name].tolist() for name in w1_flow.COLUMNS[1:]])
    assert f"{plain_book.fnv_of(trades):016x}" == flow.result["fnv"]


def test_single_calls_and_reference_give_the_same_reports() -> None:
    flow = flow_of(VARIANTS[3])
    _, expected = run_book(flow.columns)
    native, reference = (kind(orders_max=8192, levels_max=4096) for kind in (NativeBook, ReferenceBook))
    single, slow = [], []
    for book in (native, reference):
        book.symbol_add(**matching.rules_of(flow.columns))
    for ts, op, order_id, side, price, qty in zip(*(flow.columns[name].tolist() for name in w1_flow.COLUMNS), strict=True):
        if op:
            single += native.cancel_fast(order_id)
            slow += reference.cancel(ts, order_id)
        else:
            single += native.limit(order_id, side, price, qty)
            slow += reference.submit(ts, order_id=order_id, side=side, price=price, qty=qty)
    rows = [tuple(row)[:-1] for row in expected.tolist()]
    assert [tuple(report) for report in slow] == rows
    assert [tuple(report)[1:] for report in single] == [row[1:] for row in rows]


def test_w1_is_exactly_the_published_result() -> None:
    golden = json.loads((Path(__file__).parent / "book_golden" / "w1.json").read_text(encoding="utf-8"))
    flow = w1_flow.make()
    assert flow.result == golden
    book, reports = run_book(flow.columns)
    found = book_result(book, reports)
    assert found == {name: golden[name] for name in found}


def test_quiet_batch_reports_only_the_trades() -> None:
    flow = flow_of(VARIANTS[3])
    _, everything = run_book(flow.columns)
    book = NativeBook(orders_max=8192, levels_max=4096)
    book.symbol_add(**matching.rules_of(flow.columns))
    book.batch_quiet(True)
    reports = np.zeros(4 * len(flow.columns["ts"]), REPORT_DTYPE)
    _, written = book.batch(0, **flow.columns, reports=reports)
    assert np.array_equal(reports[:written], everything[everything["kind"] == Kind.TRADE])


def test_benchmark_runs_on_any_workload_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.bin"
    w1_flow.write(path, flow_of(VARIANTS[3]).columns)
    options = ["--rounds", "1", "--reference-messages", "500"]
    assert matching.main([str(path), "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agree"] is True
    assert {row["name"] for row in found["rows"]} >= {
        "batch, trades reported",
        "one call per message",
        "plain Python",
        "ReferenceBook",
    }
    assert matching.main([str(path), *options]) == 0
    assert "all ways agree" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-8])
    assert matching.main([str(path)]) == 2
    assert "small.bin" in capsys.readouterr().err
    assert matching.main([str(tmp_path / "absent.bin")]) == 2


def test_extension_is_the_one_just_built() -> None:
    assert extension().lib.book_noop5(1, 2, 4, 8, 16) == 31
