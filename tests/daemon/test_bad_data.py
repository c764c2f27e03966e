"""Market data that is damaged: each fault ends the run with exit code 4 and names the file and the line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.daemon.session import run_of, tradingd, write_config

INSTRUMENT = """
[run]
name = "bad"

[account.cash]
USD = 1000000

[[instruments.inline]]
instrument_id = "AAPL.NASDAQ"
class = "equity"
base_currency = "AAPL"
quote_currency = "USD"
price_scale = 4
qty_scale = 0
tick = 0.01
lot = 1

[risk]
order_qty_max = 100
order_notional_max = 100000
position_qty_max = 500
price_collar = "1%"

[[strategies]]
id = "maker"
class = "symmetric_maker"

[strategies.params]
instrument_id = "AAPL.NASDAQ"
order_qty = 10
position_qty_max = 100
"""
LOBSTER = """
[[data]]
format = "lobster"
instrument_id = "AAPL.NASDAQ"
messages = "AAPL_2012-06-21_message.csv"

[venue]
fidelity = "l3"
"""
QUOTES = """
[[data]]
format = "quotes"
instrument_id = "AAPL.NASDAQ"
file = "quotes.csv"

[venue]
fidelity = "l2"
"""
# time, type, order id, size, price x 10000, direction
GOOD = [
    "34200.1,1,1,100,5800000,1",
    "34200.2,1,2,100,5800200,-1",
    "34200.3,1,3,100,5799900,1",
    "34200.4,1,4,100,5800300,-1",
]


def lobster(folder: Path, *lines: str, end: str = "\n") -> Path:
    (folder / "AAPL_2012-06-21_message.csv").write_text("\n".join([*GOOD, *lines]) + end, encoding="ascii")
    return write_config(folder, INSTRUMENT + LOBSTER)


def test_the_good_file_runs(tmp_path: Path) -> None:
    result = tradingd("backtest", lobster(tmp_path), "--json", cwd=tmp_path)
    assert (result.returncode, run_of(result)["status"]) == (0, "complete")


@pytest.mark.parametrize(
    ("lines", "end", "message"),
    [
        (["34200.0,1,5,100,5799800,1"], "\n", ":5: time goes backwards"),
        (["34200.5,1,5,10"], "", ":5: "),
        (["34200.5,1,5,-10,5799800,1"], "\n", ":5: "),
        (["34200.5,1,5,nan,5799800,1"], "\n", ":5: "),
        (["34200.5,1,5,10,5799850,1"], "\n", ":5: "),
        (["34200.5,9,5,10,5799800,1"], "\n", ":5: "),
    ],
    ids=["reordered", "truncated", "negative size", "nan", "off the tick", "unknown type"],
)
def test_a_damaged_lobster_file(tmp_path: Path, lines: list[str], end: str, message: str) -> None:
    result = tradingd("backtest", lobster(tmp_path, *lines, end=end), "--json", cwd=tmp_path)
    assert result.returncode == 4
    found = run_of(result)["error"]
    assert found["type"] == "DataError"
    assert found["message"].startswith(f"{tmp_path / 'AAPL_2012-06-21_message.csv'}{message}")


def test_damage_far_into_a_file_ends_a_run_that_had_begun(tmp_path: Path) -> None:
    # The reader takes two megabytes at a time: what came before is played, recorded, and marked as failed.
    lines = [
        f"342{index // 1000:02d}.{index % 1000:03d}0001,1,{index + 10},100,{5799900 - index % 7 * 100},1"
        for index in range(1000, 65_000)
    ]
    result = tradingd("backtest", lobster(tmp_path, *lines, "34299.9,1,7"), "--json", cwd=tmp_path)
    run = run_of(result)
    assert (result.returncode, run["status"], run["error"]["type"], run["ledger_check"]) == (4, "failed", "DataError", "ok")
    assert run["error"]["message"].startswith(f"{tmp_path / 'AAPL_2012-06-21_message.csv'}:64005: ")
    assert run["events"] > 0
    assert result.stderr == f"tradingd: {run['error']['message']}\n"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "AAPL_2012-06-21_message.csv").touch()
    result = tradingd("backtest", write_config(tmp_path, INSTRUMENT + LOBSTER), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == f"tradingd: {tmp_path / 'AAPL_2012-06-21_message.csv'}: there is not a single row of market data\n"


def test_a_crossed_book_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text(
        "ts_event,bid_price,ask_price,bid_qty,ask_qty\n"
        "2012-06-21T13:30:00Z,580.00,580.02,100,100\n"
        "2012-06-21T13:30:01Z,580.03,580.02,100,100\n",
        encoding="ascii",
    )
    result = tradingd("backtest", write_config(tmp_path, INSTRUMENT + QUOTES), cwd=tmp_path)
    assert result.returncode == 4
    assert result.stderr.splitlines()[-1].startswith(f"tradingd: {tmp_path / 'quotes.csv'}:3: ")
    assert "crossed" in result.stderr.splitlines()[-1]


TRADES = """
[[data]]
format = "trades"
instrument_id = "AAPL.NASDAQ"
file = "trades.{ending}"
"""


@pytest.mark.parametrize("is_parquet", [False, True], ids=["csv", "parquet"])
@pytest.mark.parametrize("is_merged", [False, True], ids=["alone", "merged"])
def test_a_row_the_venue_refuses_is_named_in_merged_tapes_too(tmp_path: Path, is_parquet: bool, is_merged: bool) -> None:
    (tmp_path / "quotes.csv").write_text(
        "ts_event,bid_price,ask_price,bid_qty,ask_qty\n"
        + "".join(f"2012-06-21T13:30:{second:02d}Z,580.00,580.02,100,100\n" for second in range(0, 60, 3)),
        encoding="ascii",
    )
    stamps = [f"2012-06-21T13:30:{second:02d}Z" for second in range(1, 41, 5)]
    trades = pl.DataFrame(
        {"ts_event": stamps, "price": ["580.01"] * 8, "qty": ["5"] * 6 + ["5000000000000000", "5"], "side": ["buy"] * 8}
    )
    if is_parquet:
        trades.write_parquet(tmp_path / "trades.parquet")
    else:
        trades.write_csv(tmp_path / "trades.csv")
    section = TRADES.format(ending="parquet" if is_parquet else "csv")
    text = INSTRUMENT + (QUOTES + section if is_merged else section + '\n[venue]\nfidelity = "l2"\n')
    result = tradingd("backtest", write_config(tmp_path, text), cwd=tmp_path)
    # The seventh trade: line 8 of the text, after its header.
    place = f"{tmp_path / 'trades.parquet'}: row 7" if is_parquet else f"{tmp_path / 'trades.csv'}:8"
    cause = "a quantity that is negative, above the maximum of 4503599627370496 units, or 0 for an order"
    assert result.returncode == 4
    assert result.stderr.splitlines()[-1] == f"tradingd: {place}: the row cannot be used: {cause}"


def test_check_finds_a_mismatch(tmp_path: Path) -> None:
    (tmp_path / "messages_2012-06-21_x.csv").write_text("\n".join(GOOD[:2]) + "\n", encoding="ascii")
    (tmp_path / "book.csv").write_text("9999999999,0,5800000,100\n5800200,100,5800000,90\n", encoding="ascii")
    result = tradingd("data", "check", "lobster", "messages_2012-06-21_x.csv", "book.csv", "--json", cwd=tmp_path)
    found = run_of(result)
    assert (result.returncode, found["compared"], found["mismatches"], found["ok"]) == (8, 1, 1, False)


def test_check_of_an_unknown_format_or_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    result = tradingd("data", "check", "lobter", "x.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr.partition(" Known")[0]) == (
        3,
        "tradingd: unknown format 'lobter'; did you mean lobster?",
    )
    result = tradingd("data", "check", "bars", "y.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (3, "tradingd: y.csv: there is no such file\n")
