"""Recordings of every format played as a live feed: killed in the middle, gone on with, and replayed to identical commands."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from daemon.exit_codes import ExitCode
from daemon.replay import replay
from tests.daemon.session import COMMAND, CONFIG, ROOT, environment, write_config
from tests.daemon.test_recorded_sessions import NEEDED, SIZES
from tests.daemon.trading.test_paper import READY, ask, end, run_folder
from tests.data_path import ROOT as DATA
from tests.data_path import market_data

SECONDS_MAX = 240
EVENTS_MIN = 60

TRADES = """[[data]]
format = "trades"
instrument_id = "ACME.SIM"
file = "trades.csv"

[venue]
fidelity = "l2"
"""


def recorded(session: str, folder: Path) -> list[str]:
    """The configuration of one of the shipped sessions, as `tradingd paper` takes it."""
    qty, position, _ = SIZES[session]
    params: dict[str, Any] = {"order_qty": qty, "position_qty_max": position, "requote_interval_ms": 100}
    settings = ["strategies.0.class=symmetric_maker", *(f"strategies.0.params.{key}={value}" for key, value in params.items())]
    return [str(ROOT / "config" / f"backtest-{session}.toml"), *(part for setting in settings for part in ("--set", setting))]


def trades(folder: Path) -> list[str]:
    lines = ["ts_event,price,qty,aggressor_side"]
    lines += [
        f"2026-01-05T14:{second // 60:02d}:{second % 60:02d}Z,100.{second % 7:02d},5,{('buy', 'sell')[second % 2]}"
        for second in range(1_200)
    ]
    (folder / "trades.csv").write_text("\n".join(lines) + "\n")
    start, end_ = CONFIG.index("[[data]]"), CONFIG.index("[venue.latency]")
    strategy = CONFIG.index("[[strategies]]")
    text = CONFIG[:start] + TRADES + CONFIG[end_:strategy]
    maker = '[[strategies]]\nid = "taker"\nclass = "tests.daemon.trading.trade_follower:TradeFollower"\n'
    return [str(write_config(folder, text + maker))]


def start(folder: Path, arguments: list[str], speed: str, *options: str) -> subprocess.Popen[str]:
    settings = ['run.mode="paper"', 'run.name="session"', 'run.pace="full"', f'daemon.speed="{speed}"']
    overrides = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [*COMMAND, "paper", *arguments, *overrides, *options],
        cwd=folder,
        env=environment(folder, TRADINGD_DATA=str(DATA)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_in_the_middle(folder: Path, daemon: subprocess.Popen[str]) -> None:
    assert daemon.stderr is not None
    lines = []
    for line in daemon.stderr:
        lines.append(line)
        if READY in line.split():
            break
    else:
        raise AssertionError("".join(lines))
    while ask(folder, "status")["events"] < EVENTS_MIN:
        assert daemon.poll() is None
    end(daemon, signal.SIGKILL)


@pytest.mark.timeout(2 * SECONDS_MAX)
@pytest.mark.parametrize("session", [*NEEDED, "trades"])
def test_a_recording_killed_in_the_middle_and_played_again_replays(tmp_path: Path, session: str) -> None:
    if session == "trades":
        arguments = trades(tmp_path)
    else:
        market_data(NEEDED[session])
        arguments = recorded(session, tmp_path)
    daemon = start(tmp_path, arguments, "20x")
    try:
        kill_in_the_middle(tmp_path, daemon)
    finally:
        if daemon.poll() is None:
            daemon.kill()
        daemon.communicate(timeout=SECONDS_MAX)
    first = replay(run_folder(tmp_path, 1), None)
    assert (first.is_identical, first.difference, first.events > 10) == (True, None, True)
    assert first.ending

    again = start(tmp_path, arguments, "9999x", "--json")
    out, err = again.communicate(timeout=SECONDS_MAX)
    assert again.returncode == ExitCode.OK, err
    status = json.loads(out)
    assert (status["recovered"]["previous_run"], status["orders_sent"] > 0) == (1, True)
    second = replay(run_folder(tmp_path, 2), None)
    assert (second.is_identical, second.difference, second.ending) == (True, None, "")
