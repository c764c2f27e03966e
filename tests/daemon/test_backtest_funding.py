"""A backtest whose positions pay funding: payments are in results, tables, journal and replay; the configuration is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.events import CashMoved
from core.units import format_fixed
from daemon.exit_codes import ExitCode
from daemon.journal.reader import JournalReader
from tests.daemon.session import CONFIG, run_of, tradingd, write_config

PERPETUAL = CONFIG.replace('class = "equity"', 'class = "perpetual"')
EACH_TEN_SECONDS = '\n[[venue.funding]]\ninstrument_id = "ACME.SIM"\nrate = "0.5%"\ninterval = "10s"\n'
MOMENTS = [f"2026-01-05T14:30:{second:02}Z" for second in (10, 20, 30, 40, 50)]


def with_funding(table: str) -> str:
    return PERPETUAL.replace("\n[venue.latency]", f"{table}\n[venue.latency]")


def test_positions_pay_and_everything_adds_up(tmp_path: Path) -> None:
    free = run_of(tradingd("backtest", write_config(tmp_path, PERPETUAL), "--json", cwd=tmp_path))
    result = tradingd("backtest", write_config(tmp_path, with_funding(EACH_TEN_SECONDS)), "--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    run = run_of(result)
    paid = pl.read_parquet(Path(run["folder"]) / "cash.parquet")
    carry = paid["amount"].sum()
    assert (run["ledger_check"], run["status"]) == ("ok", "complete")
    assert 0 < paid.height <= 6
    assert (run["carry"], free["carry"]) == (format_fixed(carry, 8), "0.00000000")
    # A strategy that does not look at it trades as without; its equity is what it was, and what it paid.
    assert run["commands_digest"] == free["commands_digest"]
    assert run["state_digest"] != free["state_digest"]
    assert _money(run["equity_end"]) == _money(free["equity_end"]) + carry
    assert _money(run["net_pnl"]) == _money(free["net_pnl"]) + carry
    with JournalReader(Path(run["folder"]) / "journal") as reader:
        moved = [record for record in reader if isinstance(record, CashMoved)]
    assert [each.amount for each in moved] == paid["amount"].to_list()
    assert all(each.ts_event % (10 * 10**9) == 0 for each in moved)
    again = tradingd("replay", run["folder"], cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, ""), again
    report = tradingd("report", run["folder"], cwd=tmp_path)
    assert "funding and such" in report.stdout


def _money(text: str) -> int:
    return int(text.replace(".", ""))


def test_a_table_of_the_same_rates_pays_the_same(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text(
        "ts,rate\n" + "".join(f"{moment},0.005\n" for moment in [*MOMENTS, "2026-01-05T14:31:00Z"])
    )
    table = '\n[[venue.funding]]\ninstrument_id = "ACME.SIM"\nfile = "rates.csv"\n'
    runs: list[dict[str, Any]] = []
    for text in (with_funding(EACH_TEN_SECONDS), with_funding(table)):
        runs.append(run_of(tradingd("backtest", write_config(tmp_path, text), "--json", cwd=tmp_path)))
    assert runs[0]["state_digest"] == runs[1]["state_digest"]
    assert runs[0]["carry"] == runs[1]["carry"] != "0.00000000"
    # What is read is a part of the input.
    assert runs[0]["input_digest"] != runs[1]["input_digest"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (CONFIG.replace("\n[venue.latency]", f"{EACH_TEN_SECONDS}\n[venue.latency]"), "paid for in full when it is bought"),
        (with_funding(EACH_TEN_SECONDS.replace("ACME.SIM", "ACNE.SIM")), "ACNE.SIM is not configured"),
        (with_funding(EACH_TEN_SECONDS * 2), "has funding already"),
        (with_funding(EACH_TEN_SECONDS.replace('interval = "10s"', "")), "either `rate` and `interval`, or `file`"),
        (with_funding(EACH_TEN_SECONDS + 'file = "rates.csv"\n'), "either `rate` and `interval`, or `file`"),
        (with_funding('\n[[venue.funding]]\ninstrument_id = "ACME.SIM"\nfile = "nowhere.csv"\n'), "nowhere.csv"),
    ],
)
def test_what_cannot_be_paid_is_refused_before_anything_starts(tmp_path: Path, text: str, sentence: str) -> None:
    result = tradingd("backtest", write_config(tmp_path, text), cwd=tmp_path)
    assert result.returncode == ExitCode.CONFIG
    assert sentence in result.stderr
    assert not list(tmp_path.glob("runs/*/run.json"))
