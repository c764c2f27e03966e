"""Paper trading on a live feed: the market of a venue in another process, orders in this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import ConfigError
from daemon.config.loader import load_config
from daemon.wiring import is_execution_simulated
from tests.daemon.session import tradingd
from tests.daemon.venue_sim.processes import ask, config_with_venue, daemon, end, venue, wait_for_fills


def test_orders_meet_the_market_of_the_feed_and_never_reach_its_venue(tmp_path: Path) -> None:
    config_with_venue(tmp_path, more='execution = "simulated"\n')
    with venue(tmp_path), daemon(tmp_path, "--set", "venue.fidelity=l2") as child:
        before = wait_for_fills(tmp_path, 3)
        assert end(child) == 0
        after = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
        assert not [line for line in after if "command" in json.dumps(line)], "the venue heard of an order"
        # The account goes on where it was; its orders have ended with the process that they lived in.
        with daemon(tmp_path, "--set", "venue.fidelity=l2") as second:
            status = wait_for_fills(tmp_path, before["fills"] + 1)
            assert status["phase"] == "running"
            assert ask(tmp_path, "reconcile")["differences"] == []
            assert end(second) == 0
    run = sorted((tmp_path / "state" / "session" / "runs").iterdir())[0]
    assert tradingd("replay", str(run), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("mode", "keys", "expected"),
    [
        ("paper", 'environment = "simulator"', False),
        ("paper", 'environment = "test"', False),
        ("paper", 'environment = "live"', True),
        ("paper", 'environment = "simulator"\nexecution = "simulated"', True),
        ("live", 'environment = "live"', False),
        ("paper", 'environment = "live"\nexecution = "venue"', "run.mode"),
        ("live", 'environment = "live"\nexecution = "simulated"', "run.mode"),
    ],
)
def test_where_orders_go(tmp_path: Path, mode: str, keys: str, expected: bool | str) -> None:
    path = config_with_venue(tmp_path, more=keys)
    loaded = load_config(path, [f"run.mode={mode}"])
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            is_execution_simulated(loaded)
    else:
        assert is_execution_simulated(loaded) is expected


def test_a_mix_is_refused(tmp_path: Path) -> None:
    more = 'execution = "simulated"\n[[connections]]\nvenue = "OTHER"\nadapter = "sim"\naddress = "unix:/tmp/other"\n'
    loaded = load_config(config_with_venue(tmp_path, more=more), ["run.mode=paper"])
    with pytest.raises(ConfigError, match="the same for all"):
        is_execution_simulated(loaded)
