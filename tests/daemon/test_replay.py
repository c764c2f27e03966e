"""`tradingd replay`: every run gives its own commands again, byte for byte; what differs is named with both sides."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.commands import ReplaceOrder, SubmitOrder
from core.events import OrderDenied
from daemon.journal.format import JOURNAL_FOLDER, Kind, Record
from daemon.journal.reader import JournalReader
from daemon.journal.writer import JournalWriter
from daemon.replay import replay
from tests.daemon.journal_records import frames_in, put_segments, segments_in
from tests.daemon.session import COMMAND, CONFIG, ROOT, Result, environment, run_of, tradingd, write_config
from tests.daemon.test_account_limits import tripping_run
from tests.daemon.test_recorded_sessions import NEEDED
from tests.data_path import ROOT as DATA
from tests.data_path import market_data


def replayed(folder: Path, cwd: Path) -> tuple[int, dict[str, Any]]:
    result = tradingd("replay", folder, "--json", cwd=cwd)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def ran(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.returncode == code, result
    return run_of(result)


def check_identical(run: dict[str, Any], cwd: Path) -> dict[str, Any]:
    code, found = replayed(Path(run["folder"]), cwd)
    assert (code, found["identical"], found["difference"], found["ending"], found["damage"]) == (0, True, None, "", "")
    assert (found["commands"], found["commands_digest"]) == (run["commands"], run["commands_digest"])
    assert (found["state_digest"], found["state_digest_recorded"]) == (run["state_digest"], run["state_digest"])
    return found


def test_the_session_of_the_tests_replays(tmp_path: Path) -> None:
    run = ran(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    found = check_identical(run, tmp_path)
    # Started, the events counted, Stopping: what an end without open orders adds.
    assert found["events"] >= run["events"]
    text = tradingd("replay", run["folder"], cwd=tmp_path)
    assert text.returncode == 0
    assert text.stdout.startswith(f"{run['folder']}: identical: {found['events']:,} events, {found['commands']:,} commands, ")
    assert f"state digest {run['state_digest']} as in the run" in text.stdout


def test_the_shipped_demo_replays(tmp_path: Path) -> None:
    check_identical(ran(tradingd("backtest", ROOT / "config" / "demo.toml", "--pace", "full", "--json", cwd=tmp_path)), tmp_path)


@pytest.mark.parametrize("name", ["bars", *NEEDED])
def test_the_shipped_sessions_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    market_data({**NEEDED, "bars": "bars/btc-perp-20211231-20220201_1m.csv.gz"}[name])
    monkeypatch.setenv("TRADINGD_DATA", str(DATA))
    run = ran(tradingd("backtest", ROOT / "config" / f"backtest-{name}.toml", "--json", "--out", "run", cwd=tmp_path))
    # Replaying needs no market data.
    monkeypatch.setenv("TRADINGD_DATA", str(tmp_path / "nowhere"))
    check_identical(run, tmp_path)


def test_denials_replay(tmp_path: Path) -> None:
    settings = ("--set", "risk.position_qty_max=20", "--set", "risk.orders_max=1", "--set", "risk.orders_window=20s")
    run = ran(tradingd("backtest", write_config(tmp_path), "--json", *settings, cwd=tmp_path))
    found = check_identical(run, tmp_path)
    assert found["denials"] > 0
    # The journal's own configuration, with what the command line had overridden.
    with JournalReader(Path(run["folder"])) as reader:
        assert sum(isinstance(record, OrderDenied) for record in reader) == found["denials"]


def test_a_limit_that_trips_replays(tmp_path: Path) -> None:
    code, run = tripping_run(tmp_path)
    assert code == 7
    found = check_identical(run, tmp_path)
    assert found["trips"] == len(run["trips"]) == 1
    shown = tradingd("audit", "show", run["folder"], "--kind", "limit_tripped", cwd=tmp_path)
    assert "daily_loss_max tripped, value " in shown.stdout
    assert shown.stdout.endswith(": the account is HALTED\n")


FAILING = '''
from pydantic import BaseModel

from core.enums import Side
from core.strategy import Subscription


class Params(BaseModel):
    orders: int = 3


class Failing:
    """Buys a few times and then raises, with one order decided on in the same callback."""

    Params = Params

    def __init__(self, params, instruments):
        self.left = params.orders

    def subscriptions(self):
        return [Subscription(instrument_id="ACME.SIM", quotes="price")]

    def on_quote(self, context, quote):
        if quote.ask_qty:
            context.submit("ACME.SIM", Side.BUY, 1, quote.ask_price)
            context.set_timer("later", context.now + 1_000_000_000)
            self.left -= 1
            if self.left < 0:
                raise LookupError("by design")
'''


def failing(folder: Path) -> Path:
    (folder / "failing_strategy.py").write_text(FAILING, encoding="utf-8")
    return write_config(folder, CONFIG.partition('class = "symmetric_maker"')[0] + 'class = "failing_strategy:Failing"\n')


def test_a_run_that_failed_replays_to_its_failure(tmp_path: Path) -> None:
    result = tradingd("backtest", failing(tmp_path), "--json", "--out", "run", cwd=tmp_path)
    assert result.returncode == 5
    code, found = replayed(tmp_path / "run", tmp_path)
    assert (code, found["identical"], found["difference"]) == (0, True, None)
    assert "LookupError" in found["error"]
    # Three orders and their timers, two of which replaced one; the fourth order of the callback that raised never left.
    assert (found["commands"], found["denials"]) == (3 + 3 + 2, 0)


def test_another_strategy_is_a_difference_with_both_sides(tmp_path: Path) -> None:
    run = ran(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    folder = Path(run["folder"])
    with JournalReader(folder) as reader:
        header, records = reader.header, list(reader)
    index, command = next((i, record) for i, record in enumerate(records) if isinstance(record, SubmitOrder))
    other = msgspec.structs.replace(command, price=(command.price or 0) - 1)

    def rewritten(name: str, changed: list[Record]) -> dict[str, Any]:
        writer = JournalWriter(tmp_path / name / JOURNAL_FOLDER, header)
        for record in changed:
            writer.append(record)
        writer.close()
        code, found = replayed(tmp_path / name, tmp_path)
        assert (code, found["identical"]) == (8, False)
        difference: dict[str, Any] = found["difference"]
        return difference

    edited = rewritten("edited", [*records[:index], other, *records[index + 1 :]])
    assert (edited["record"], edited["recorded"], edited["replayed"]) == (index + 1, repr(other), repr(command))
    assert edited["event"].startswith(f"{index}: Quote(")
    missing = rewritten("missing", [*records[:index], *records[index + 1 :]])
    assert (missing["record"], missing["replayed"]) == (index + 1, repr(command))
    added = rewritten("added", [*records[: index + 1], command, *records[index + 1 :]])
    assert (added["record"], added["recorded"]) == (index + 2, repr(command))
    last = max(i for i, record in enumerate(records) if isinstance(record, SubmitOrder | ReplaceOrder))
    cut_short = rewritten("cut_short", records[:last])
    assert (cut_short["recorded"], cut_short["replayed"]) == (None, repr(records[last]))


def test_a_halted_run_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(tmp_path, monkeypatch, signal.SIGINT)
    assert run is not None
    assert run["status"] == "interrupted"
    check_identical(run, tmp_path)


def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> dict[str, Any] | None:
    """A run in a process of its own that a signal ends once its journal has grown; its run.json, if it left one."""
    config = write_config(tmp_path, CONFIG.replace('duration = "60s"', 'duration = "10h"'))
    process = subprocess.Popen(
        [*COMMAND, "backtest", str(config), "--json", "--out", str(tmp_path / "run")],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    segment = tmp_path / ".run.incomplete" / JOURNAL_FOLDER / "000001.tdj"
    while process.poll() is None and not (segment.exists() and segment.stat().st_size > 200_000):
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return json.loads(out) if out else None


def test_a_killed_run_replays_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stopped(tmp_path, monkeypatch, signal.SIGKILL) is None
    left = tmp_path / ".run.incomplete"
    code, found = replayed(left, tmp_path)
    assert (code, found["identical"], found["difference"], found["damage"]) == (0, True, None, "")
    assert found["commands"] > 100
    assert found["commands_digest_recorded"] is None
    assert "its writer died" in found["ending"] or "unfinished frame" in found["ending"]
    assert tradingd("audit", "verify", left, cwd=tmp_path).returncode == 11
    check_every_kind_of_torn_tail(left, tmp_path)


def check_every_kind_of_torn_tail(left: Path, tmp_path: Path) -> None:
    segments = segments_in(left / JOURNAL_FOLDER)
    data = segments[max(segments)]
    chance = random.Random(1)
    for _ in range(10):
        size = chance.randrange(data.index(b"started"), len(data))
        put_segments(tmp_path / "torn", {**segments, max(segments): data[:size]})
        result = replay(tmp_path / "torn", None)
        assert (result.difference, result.damage) == (None, ""), size
        assert result.is_identical
        assert result.ending


def test_damage_in_the_middle_is_replayed_up_to_there(tmp_path: Path) -> None:
    # Of a minute all records are in one frame, and what is behind it is the last: one that ends in a zero could be a torn one.
    run = ran(tradingd("backtest", write_config(tmp_path, CONFIG.replace('"60s"', '"300s"')), "--json", cwd=tmp_path))
    journal = Path(run["folder"]) / JOURNAL_FOLDER
    data = segments_in(journal)[1]
    frames = frames_in(data)
    assert [frame.kind for frame in frames[1:4]] == [Kind.RECORDS] * 3
    offset = frames[2].offset + 100
    put_segments(journal, {1: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]})
    code, found = replayed(Path(run["folder"]), tmp_path)
    assert (code, found["identical"], found["difference"]) == (8, False, None)
    assert f"byte {frames[2].offset}, after {frames[2].records} good records" in found["damage"]
    assert found["events"] > 0


def test_no_journal_is_said(tmp_path: Path) -> None:
    run = ran(tradingd("backtest", write_config(tmp_path), "--json", "--set", "run.journal=false", cwd=tmp_path))
    result = tradingd("replay", run["folder"], cwd=tmp_path)
    assert (result.returncode, result.stderr) == (4, f"tradingd: {run['folder']}: there is no journal here\n")
