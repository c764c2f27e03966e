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
from tests.daemon.trading.test_paper import ask, end, run_folder
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


def start(folder: Path, arguments: list[str], speed: str) -> subprocess.Popen[str]:
    settings = ['run.mode="paper"', 'run.name="session"', 'run.pace="full"', f'daemon.speed="{speed}"']
    options = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [*COMMAND, "paper", *arguments, *options, "--json"],
        cwd=folder,
        env=environment(folder, TRADINGD_DATA=str(DATA)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_events(folder: Path, daemon: subprocess.Popen[str]) -> None:
    for _ in range(100_000):
        if daemon.poll() is not None:
            return
        try:
            if ask(folder, "status")["events"] >= EVENTS_MIN:
                return
        except AssertionError:
            continue  # not there yet


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
        wait_for_events(tmp_path, daemon)
        end(daemon, signal.SIGKILL)
    finally:
        out, err = daemon.communicate(timeout=SECONDS_MAX)
    first = replay(run_folder(tmp_path, 1), None)
    assert (first.is_identical, first.difference, first.events > 10) == (True, None, True), (out, err)
    assert first.ending

    again = start(tmp_path, arguments, "9999x")
    out, err = again.communicate(timeout=SECONDS_MAX)
    assert again.returncode == ExitCode.OK, err
    status = json.loads(out)
    assert (status["recovered"]["previous_run"], status["orders_sent"] > 0) == (1, True)
    second = replay(run_folder(tmp_path, 2), None)
    assert (second.is_identical, second.difference, second.ending) == (True, None, "")
