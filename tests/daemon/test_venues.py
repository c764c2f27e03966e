"""`tradingd venues`: every adapter that a configuration may name, and what one connects to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from daemon.cli.venues import KINDS
from daemon.config.models_connections import VenueKind
from daemon.trading.venue_opening import PACKAGES
from tests.daemon.session import tradingd
from tests.daemon.venue_sim.processes import config_with_venue


def test_every_adapter_that_a_configuration_may_name_is_listed() -> None:
    assert set(get_args(VenueKind)) == set(PACKAGES) == set(KINDS)
    result = tradingd("venues", "--json", cwd=Path())
    assert [row["adapter"] for row in json.loads(result.stdout)] == list(KINDS)
    lines = tradingd("venues", cwd=Path()).stdout.splitlines()
    assert lines[0] == "sim            tradingd's own simulated venue, in a process of its own"


def test_what_a_configuration_connects_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config_with_venue(tmp_path, more='token = "sim-token"\nexecution = "simulated"\n')
    monkeypatch.delenv("TRADINGD_SECRET_SIM_TOKEN", raising=False)
    arguments = ("venues", str(path), "--set", "run.mode=paper")
    (row,) = json.loads(tradingd(*arguments, "--json", cwd=tmp_path).stdout)
    assert row | {"address": ""} == {
        "venue": "SIM",
        "adapter": "sim",
        "environment": "simulator",
        "execution": "simulated",
        "address": "",
        "account": "main",
        "instruments": ["ACME.SIM"],
        "missing_secrets": ["sim-token"],
    }
    monkeypatch.setenv("TRADINGD_SECRET_SIM_TOKEN", "x")
    shown = tradingd(*arguments, cwd=tmp_path).stdout.splitlines()
    assert shown[0].endswith("orders meet the simulated venue here")
    assert shown[1:] == ["  ACME.SIM"]
    assert tradingd("venues", str(path), "--set", "connections.0.settings.x=1", cwd=tmp_path).returncode == 3
