"""SIGKILL at each named point and at random instants, against a venue that outlives the daemon and fills orders meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.session import ROOT, environment

NOTHING: dict[str, list[Any]] = {
    "orders_duplicated": [],
    "orders_not_journaled": [],
    "fills_lost": [],
    "fills_twice": [],
    "fills_invented": [],
    "replays_different": [],
    "journals_damaged": [],
    "halts_lost": [],
    "failures": [],
}


def kill_again_and_again(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    command = ["-m", "tests.daemon.trading.kill_runner", str(folder), str(kills), str(seed)]
    repeat = f"to repeat: python {' '.join(command)}"
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=1_500, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\n{repeat}"
    found: dict[str, Any] = json.loads(done.stdout)
    assert {key: found[key] for key in NOTHING} == NOTHING, repeat
    assert (found["position_here"], found["cash_here"]) == (found["position"], found["cash"]), repeat
    assert found["orders"], repeat
    assert found["fills"], repeat
    return found


def test_nothing_is_lost_or_done_twice_when_the_daemon_is_killed(tmp_path: Path) -> None:
    found = kill_again_and_again(tmp_path, 44, 1)
    # The test tests something: it died where it was meant to.
    reached = set(found["died"])
    assert reached >= {"numbered", "begun", "restored", "reconciled", "stepped", "journaled", "sent", "latched", "snapshot"}


@pytest.mark.slow
@pytest.mark.timeout(1_600)
def test_nothing_is_lost_or_done_twice_in_a_thousand_deaths(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 1_000, int(os.environ.get("TRADINGD_TEST_SEED", "7")))
