"""SIGKILL at random instants at a venue in a process of its own: its market goes on, and fills what rests there meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from daemon.config.loader import LoadedConfig, load_config
from daemon.control.server import Handler
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from tests.daemon.session import environment
from tests.daemon.trading.kill_runner import HAS_UVLOOP, POINT_S_MAX, end_after
from tests.daemon.venue_sim.processes import config_with_venue, end, ledger_lines, require_well, venue

LIFE_S_MAX = 0.6


def live(loaded: LoadedConfig, seed: int, terminate_s: float | None) -> int:
    """One life of the daemon, to its end, on either kind of loop; SIGTERM ends it so long after it was ready."""

    def handler_of(made: Daemon) -> Handler:
        if terminate_s is not None:
            asyncio.get_running_loop().call_later(terminate_s, os.kill, os.getpid(), signal.SIGTERM)
        return Control(made).answer

    run = partial(Daemon(loaded, quiet=True).run, handler_of)
    return anyio.run(run, backend_options={"use_uvloop": HAS_UVLOOP and seed % 2 == 1})


def fork_life(loaded: LoadedConfig, seed: int, seconds: float, terminate_s: float | None = None) -> int:
    """Its exit status; SIGKILL ends it after so long at the latest."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = live(loaded, seed, terminate_s)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            raise
        finally:
            os._exit(code)
    return end_after(child, seconds, signal.SIGKILL)[0]


def kill_again_and_again(folder: Path, monkeypatch: pytest.MonkeyPatch, kills: int, seed: int) -> None:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", environment(folder)["TRADINGD_RUNTIME_DIR"])
    monkeypatch.chdir(folder)
    loaded = load_config(config_with_venue(folder), ['run.mode="paper"'])
    draw = random.Random(seed)
    repeat = f"to repeat: seed {seed}, {kills} kills"
    with venue(folder) as place:
        for number in range(kills):
            status = fork_life(loaded, number, draw.uniform(0.02, LIFE_S_MAX))
            assert os.WIFSIGNALED(status), f"life {number} ended by itself: {os.waitstatus_to_exitcode(status)}; {repeat}"
        status = fork_life(loaded, kills, POINT_S_MAX, LIFE_S_MAX)
        assert os.waitstatus_to_exitcode(status) == 0, repeat
        end(place)
    lines = ledger_lines(folder)
    assert {"submit", "filled", "canceled"} <= {line["kind"] for line in lines}, repeat
    require_well(folder)


def test_nothing_is_lost_or_done_twice_at_a_venue_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_again_and_again(tmp_path, monkeypatch, 8, 1)


@pytest.mark.slow
@pytest.mark.timeout(1_600)
def test_nothing_is_lost_in_hundreds_of_deaths_at_a_venue_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_again_and_again(tmp_path, monkeypatch, 300, int(os.environ.get("TRADINGD_TEST_SEED", "5")))
