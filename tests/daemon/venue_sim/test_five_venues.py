"""One daemon at five venues over TCP: orders at each, one venue that goes away and comes back, everything canceled at once."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from tests.daemon.session import ROOT, tradingd
from tests.daemon.venue_sim.processes import ask, daemon, end, process, run_folder, wait_until

VENUES = ("ONE", "TWO", "THREE", "FOUR", "FIVE")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = (ROOT / "tests" / "daemon" / "venue_sim" / "five_venues.toml").read_text()
    for name, port in zip(VENUES, free_ports(len(VENUES)), strict=True):
        text = text.replace(f"PORT_{name}", str(port))
    (tmp_path / "session.toml").write_text(text)
    return tmp_path


def markets(status: dict[str, Any]) -> set[str]:
    """The venues whose market is known."""
    return {key.rpartition(".")[2] for key, market in status["instruments"].items() if market["bid"]}


def orders(folder: Path) -> set[str]:
    """The venues where orders are open."""
    return {order["instrument_id"].rpartition(".")[2] for order in ask(folder, "orders")["orders"]}


def test_one_daemon_trades_at_five_venues(folder: Path) -> None:
    arguments = ("venue-sim", "sim", "--config", "session.toml")
    with ExitStack() as stack:
        places = {
            name: stack.enter_context(
                process(folder, *arguments, "--venue", name, "--ledger", f"{name}.jsonl", ready="listening")
            )
            for name in VENUES
        }
        trading = stack.enter_context(daemon(folder))
        wait_until(folder, lambda status: status["fills"] >= 5 and orders(folder) == set(VENUES), "orders everywhere")
        end(places["THREE"], signal.SIGKILL)
        wait_until(folder, lambda status: markets(status) == set(VENUES) - {"THREE"}, "one market is unknown")
        # It cannot be asked, and the answer says who does not answer; nobody else is disturbed.
        missed = tradingd("reconcile", "--json", cwd=folder)
        assert (missed.returncode, json.loads(missed.stdout)["error"].partition(":")[0]) == (ExitCode.MISMATCH, "THREE")
        assert ask(folder, "status")["trading_state"] == "ACTIVE"
        again = process(folder, *arguments, "--venue", "THREE", "--ledger", "THREE.jsonl", ready="listening")
        stack.enter_context(again)
        wait_until(folder, lambda status: markets(status) == orders(folder) == set(VENUES), "orders everywhere again")
        # Five answers are five moments: a fill between two of them is a difference that is gone with the next look.
        assert any(tradingd("reconcile", cwd=folder).returncode == ExitCode.OK for _ in range(20))
        ask(folder, "halt", "--reason", "enough")
        wait_until(folder, lambda status: status["open_orders"] == 0, "nothing is open anywhere")
        assert end(trading) == ExitCode.OK
    assert replay(run_folder(folder, 1), None).is_identical


def test_which_venue_it_is_has_to_be_said(folder: Path) -> None:
    result = tradingd("venue-sim", "sim", "--config", folder / "session.toml", cwd=folder)
    assert (result.returncode, "say which one: --venue NAME" in result.stderr) == (ExitCode.CONFIG, True)
    assert tradingd("config", "check", folder / "session.toml", cwd=folder).returncode == ExitCode.OK
    assert len(load_config(folder / "session.toml").config.connections) == len(VENUES)
