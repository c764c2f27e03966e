"""`tradingd paper` from outside: a process, its verbs, what a restart finds, and what its journals replay to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.commands import SubmitOrder
from core.enums import Reason, TradingState
from core.events import ControlRequested, OrderCanceled, OrderRejected, StateRestored
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.replay import replay
from tests.daemon.session import COMMAND, CONFIG, Result, environment, tradingd, write_config

READY = "ready"
SECONDS_MAX = 60


@contextmanager
def paper(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that is ready; what is left of it at the end is killed."""
    daemon = subprocess.Popen(
        [*COMMAND, "paper", str(folder / "session.toml"), *options],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    try:
        lines = []
        for line in daemon.stderr:
            lines.append(line)
            if READY in line.split():
                break
        else:
            raise AssertionError("".join(lines))
        yield daemon
    finally:
        if daemon.poll() is None:
            daemon.kill()
        daemon.communicate(timeout=SECONDS_MAX)


def ask(folder: Path, *arguments: str) -> dict[str, Any]:
    result = tradingd(*arguments, "--json", cwd=folder)
    assert result.returncode == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def wait_for_fills(folder: Path, count: int) -> dict[str, Any]:
    """The status once so many fills have been seen; each question gives the daemon time to trade."""
    for _ in range(2_000):
        status = ask(folder, "status")
        if status["fills"] >= count:
            return status
    raise AssertionError("the maker has no fills")


def end(daemon: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    daemon.send_signal(number)
    return daemon.wait(SECONDS_MAX)


def run_folder(folder: Path, run: int) -> Path:
    return folder / "state" / "session" / "runs" / f"{run:06d}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path, CONFIG.replace("position_qty_max = 200", "position_qty_max = 200\nmarket_age_max = '1h'"))
    return tmp_path


def test_a_session_trades_is_killed_goes_on_and_replays(folder: Path) -> None:
    with paper(folder) as daemon:
        wait_for_fills(folder, 3)
        end(daemon, signal.SIGKILL)
    with paper(folder) as daemon:
        status = ask(folder, "status")
        assert status["recovered"]["previous_run"] == 1
        # What it closes now was opened in the life before: the venue knows of it.
        assert ask(folder, "flatten")["flat"]
        assert end(daemon) == ExitCode.OK
    for run in (1, 2):
        result = tradingd("replay", run_folder(folder, run), "--json", cwd=folder)
        assert (result.returncode, json.loads(result.stdout)["identical"]) == (0, True)
    first, second = (list(TailReader(run_folder(folder, run) / "journal")) for run in (1, 2))
    restored = second[0]
    assert isinstance(restored, StateRestored)
    # What was open at the simulated venue went with the process: each such order is ended by a record.
    open_then = {order.client_order_id for order in restored.state.orders if order.leaves_qty}
    ended = {record.client_order_id for record in second if isinstance(record, OrderCanceled)}
    assert open_then <= ended
    shown = tradingd("audit", "show", run_folder(folder, 2), "--json", cwd=folder)
    assert json.loads(shown.stdout.splitlines()[0])["kind"] == "restored"
    for order_id in open_then:
        life = tradingd("audit", "show", run_folder(folder, 2), "--order", str(order_id), cwd=folder)
        assert "CANCELED" in life.stdout, life
    ids = [record.client_order_id for record in first + second if isinstance(record, SubmitOrder)]
    assert len(ids) == len(set(ids))


def test_a_halt_outlives_the_daemon_and_only_a_resume_ends_it(folder: Path) -> None:
    with paper(folder) as daemon:
        assert ask(folder, "halt", "--reason", "odd fills")["trading_state"] == "HALTED"
        end(daemon, signal.SIGKILL)
    with paper(folder) as daemon:
        status = ask(folder, "status")
        assert (status["trading_state"], status["trading_state_reason"]) == ("HALTED", "odd fills")
        for verb in ("reduce", "flatten"):
            refused = tradingd(verb, cwd=folder)
            assert (refused.returncode, "HALTED" in refused.stderr) == (ExitCode.REFUSED, True)
        assert tradingd("resume", "--reason", " ", cwd=folder).returncode == ExitCode.REFUSED
        assert status["orders_sent"] == 0
        assert ask(folder, "resume", "--reason", "seen to")["trading_state"] == "ACTIVE"
        wait_for_fills(folder, 1)
        assert end(daemon, signal.SIGINT) == ExitCode.OK
    asked = [record for record in TailReader(run_folder(folder, 2) / "journal") if isinstance(record, ControlRequested)]
    assert [(record.action, record.uid, record.reason) for record in asked] == [
        ("resume", os.getuid(), "seen to"),
        ("stop", -1, "SIGINT"),
    ]
    assert replay(run_folder(folder, 2), None).is_identical


def test_flatten_closes_every_position_and_stop_ends_in_order(folder: Path) -> None:
    with paper(folder) as daemon:
        wait_for_fills(folder, 1)
        flat = ask(folder, "flatten", "--reason", "enough")
        assert (flat["trading_state"], flat["flat"]) == (TradingState.REDUCING.name, True)
        positions = ask(folder, "positions")["positions"]
        assert {position["quantity"] for position in positions} == {"0"}
        assert ask(folder, "orders") == {"orders": []}
        fills = ask(folder, "fills")
        assert len(fills["fills"]) == fills["count"]
        assert ask(folder, "stop", "--reason", "evening")["stopping"]
        assert daemon.wait(SECONDS_MAX) == ExitCode.OK
    assert tradingd("audit", "verify", run_folder(folder, 1), cwd=folder).returncode == ExitCode.OK
    assert replay(run_folder(folder, 1), None).is_identical


def test_a_stop_leaves_no_order_behind_and_flattens_where_asked(folder: Path) -> None:
    with paper(folder, "--set", "daemon.flatten_on_stop=true") as daemon:
        wait_for_fills(folder, 1)
        assert end(daemon) == ExitCode.OK
    with paper(folder) as daemon:
        assert ask(folder, "status")["trading_state"] == "ACTIVE"
    records = list(TailReader(run_folder(folder, 2) / "journal"))
    restored = records[0]
    assert isinstance(restored, StateRestored)
    assert [order for order in restored.state.orders if order.leaves_qty] == []
    assert {position.qty for position in restored.state.positions} == {0}


def test_a_second_daemon_for_the_account_is_refused(folder: Path) -> None:
    with paper(folder):
        second = tradingd("paper", folder / "session.toml", cwd=folder)
        assert (second.returncode, "another daemon trades this account" in second.stderr) == (ExitCode.STORAGE, True)


QUOTES = """[[data]]
format = "quotes"
instrument_id = "ACME.SIM"
file = "quotes.csv"

[venue]
fidelity = "l2"
"""


def test_a_recorded_session_is_played_as_a_live_feed(folder: Path) -> None:
    lines = ["ts_event,bid_price,bid_qty,ask_price,ask_qty"]
    lines += [f"2026-01-05T14:30:{second:02d}Z,100.{second % 5:02d},50,100.{second % 5 + 1:02d},50" for second in range(60)]
    (folder / "quotes.csv").write_text("\n".join(lines) + "\n")
    start, end_ = CONFIG.index("[[data]]"), CONFIG.index("[venue.latency]")
    write_config(folder, CONFIG[:start] + QUOTES + CONFIG[end_:])
    result: Result = tradingd("paper", folder / "session.toml", "--set", 'daemon.speed="60x"', "--json", cwd=folder)
    assert result.returncode == ExitCode.OK, result.stderr
    status = json.loads(result.stdout)
    assert status["orders_sent"] > 2
    assert status["open_orders"] == 0
    assert replay(run_folder(folder, 1), None).is_identical


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('run.pace="2x"', "run.pace: is for backtests"),
        ('daemon.speed="2x"', "the generated market goes by the clock"),
        ('daemon.sync="sometimes"', "daemon.sync"),
    ],
)
def test_what_a_paper_session_cannot_do_is_refused(folder: Path, override: str, message: str) -> None:
    result = tradingd("paper", folder / "session.toml", "--set", override, cwd=folder)
    assert (result.returncode, message in result.stderr) == (ExitCode.CONFIG, True)
    assert not (folder / "state").exists()


def test_run_takes_the_mode_of_the_configuration(folder: Path) -> None:
    result = tradingd("run", folder / "session.toml", "--set", 'data.0.duration="2s"', "--json", cwd=folder)
    assert (result.returncode, json.loads(result.stdout)["status"]) == (0, "complete")


FAILING = """
from core.enums import Side
from core.strategy import Subscription
from pydantic import BaseModel

class Failing:
    class Params(BaseModel):
        pass

    def __init__(self, params, instruments):
        self.quotes = 0

    def subscriptions(self):
        return [Subscription(instrument_id="ACME.SIM", quotes="size")]

    def on_quote(self, context, quote):
        self.quotes += 1
        if self.quotes < 3:
            context.submit("ACME.SIM", Side.BUY, 1, quote.bid_price - 50)
        if self.quotes >= 3:
            raise ValueError("a strategy's own mistake")
"""


def test_a_strategy_that_raises_ends_the_daemon_halted_and_the_replay_raises_too(folder: Path) -> None:
    (folder / "failing_live_strategy.py").write_text(FAILING)
    start = CONFIG.index("[strategies.params]")
    write_config(folder, CONFIG[:start].replace("symmetric_maker", "failing_live_strategy:Failing"))
    result = tradingd("paper", folder / "session.toml", cwd=folder)
    assert (result.returncode, "own mistake" in result.stderr) == (ExitCode.STRATEGY, True), result.stderr
    latch = json.loads((folder / "state" / "session" / "trading_state.json").read_text())
    assert latch["state"] == "HALTED"
    found = tradingd("replay", run_folder(folder, 1), "--json", cwd=folder)
    replayed = json.loads(found.stdout)
    assert (found.returncode, replayed["identical"], "own mistake" in replayed["error"]) == (0, True, True)
    # What was open was seen out; what still waited for the disk never left.
    ended = [r for r in TailReader(run_folder(folder, 1) / "journal") if isinstance(r, OrderCanceled | OrderRejected)]
    assert len(ended) == 2
    assert all(r.reason is Reason.NOT_SENT for r in ended if isinstance(r, OrderRejected))
