"""The API beside a daemon that is killed, stopped, restarted: trading goes on, and a kill gets through without the daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.commands import SubmitOrder
from core.events import ClientOrderRequested, OrderFilled
from daemon.kill_latch import KillLatch
from daemon.replay import replay
from tests.daemon.api.live import TOKENS, config_text, free_port
from tests.daemon.session import COMMAND, ROOT, environment, write_config
from tests.daemon.trading.test_paper import ask, end, paper, run_folder

TRIES_MAX = 3_000
SECONDS_MAX = 60


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    found = free_port()
    write_config(tmp_path, config_text(found, idle=False))
    for name, token in TOKENS.items():
        monkeypatch.setenv(f"TRADINGD_SECRET_{name.upper()}_TOKEN", token)
    return found


def call(port: int, name: str, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {TOKENS[name]}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until(is_so: Callable[[], Any]) -> Any:
    """What it gives once that is something. Each try is a call to another process: that is what passes the time."""
    for _ in range(TRIES_MAX):
        try:
            found = is_so()
        except (urllib.error.URLError, OSError):
            found = None
        if found:
            return found
        subprocess.run([sys.executable, "-c", ""], check=True)
    raise AssertionError("it did not come to that")


def is_answered(port: int) -> bool:
    return call(port, "desk", "GET", "/status")[0] == 200


def log_lines(folder: Path, run: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_folder(folder, run) / "log.jsonl").read_text().splitlines()]


def api_pids(folder: Path, run: int) -> list[int]:
    return [line["pid"] for line in log_lines(folder, run) if line["event"] == "api started"]


def test_an_api_that_dies_is_started_again_and_trading_does_not_notice(tmp_path: Path, port: int) -> None:
    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        (first,) = api_pids(tmp_path, 1)
        os.kill(first, signal.SIGKILL)
        second = until(lambda: api_pids(tmp_path, 1)[1:])[0]
        until(lambda: is_answered(port))
        assert second != first
        assert ask(tmp_path, "status")["trading_state"] == "ACTIVE"
        assert [line["kind"] for line in log_lines(tmp_path, 1) if line["event"] == "alert"] == ["api_down"]
        assert end(daemon) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_the_api_goes_with_its_daemon_in_whatever_way_that_goes(tmp_path: Path, port: int) -> None:
    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        (pid,) = api_pids(tmp_path, 1)
        end(daemon, signal.SIGKILL)
    until(lambda: not _is_alive(pid))
    with paper(tmp_path):
        until(lambda: is_answered(port))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has asked for yet is none any more.
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_kill_gets_through_while_the_daemon_hangs_and_holds_over_a_restart(tmp_path: Path, port: int) -> None:
    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        daemon.send_signal(signal.SIGSTOP)
        status, answer = call(port, "guard", "POST", "/kill", {"reason": "it hangs"})
        # It is answered although the daemon that this API lives with is ended: nobody can say what it would do when it woke up.
        assert (status, answer["latched"], answer["guardian"], answer["daemon"]) == (200, True, None, None)
        latch = KillLatch(tmp_path / "state" / "session" / "kill_latch")
        assert latch.is_set
        assert latch.record().text.endswith("guard by the API: it hangs")
        latch.close()
        daemon.send_signal(signal.SIGCONT)
    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        assert call(port, "desk", "GET", "/status")[1]["trading_state"] == "HALTED"
        order = {"client_ref": "after", "instrument_id": "ACME.SIM", "side": "BUY", "quantity": "1", "price": "99.00"}
        status, answer = call(port, "alice", "POST", "/order", order)
        assert (status, answer["denial"]["limit"]) == (409, "trading_state")
        assert call(port, "desk", "POST", "/resume", {"reason": "seen to"})[1]["trading_state"] == "ACTIVE"
        assert end(daemon) == 0


def test_a_port_that_is_taken_keeps_nobody_from_trading(tmp_path: Path, port: int) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with paper(tmp_path) as daemon:
            until(lambda: any(line.get("kind") == "api_down" for line in log_lines(tmp_path, 1)))
            assert ask(tmp_path, "status")["phase"] == "running"
            assert end(daemon) == 0
    assert "cannot be listened on" in (run_folder(tmp_path, 1) / "api.log").read_text()


def test_by_hand_it_serves_whichever_run_is_up(tmp_path: Path, port: int) -> None:
    off = ("--set", "api.enabled=false")
    api = subprocess.Popen([*COMMAND, "api", "session.toml"], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL)
    try:
        code, answer = until(lambda: call(port, "watch", "GET", "/status"))
        assert (code, "nothing was sent" in answer["error"]) == (503, True)
        for run in (1, 2):
            with paper(tmp_path, *off) as daemon:
                run_id = until(lambda: call(port, "watch", "GET", "/status")[1].get("run_id"))
                assert run_id == f"session-{run}"
                assert end(daemon) == 0
    finally:
        api.terminate()
        assert api.wait(SECONDS_MAX) in (0, -signal.SIGTERM)


def test_an_api_without_its_secrets_or_clients_is_refused(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADINGD_SECRET_BOB_TOKEN")
    from tests.daemon.session import tradingd

    refused = tradingd("api", tmp_path / "session.toml", cwd=tmp_path)
    assert (refused.returncode, "there is no secret 'bob-token'" in refused.stderr) == (3, True)
    refused = tradingd("paper", tmp_path / "session.toml", "--set", "clients=[]", "--set", "risk.strategies={}", cwd=tmp_path)
    assert (refused.returncode, "no [[clients]] are configured" in refused.stderr) == (3, True)


def python_of_the_document() -> str:
    """The client program that docs/API.md shows."""
    text = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    return text.partition("```python\n")[2].partition("```")[0]


def test_two_programs_trade_at_once_replay_alike_and_a_restart_knows_their_names(tmp_path: Path, port: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(python_of_the_document())

    def run_both() -> dict[str, list[list[str]]]:
        running = {
            name: subprocess.Popen(
                [sys.executable, str(program)],
                env={**os.environ, "TRADINGD_API": f"http://127.0.0.1:{port}", "TRADINGD_TOKEN": TOKENS[name]},
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("alice", "bob")
        }
        found = {}
        for name, process in running.items():
            out, _ = process.communicate(timeout=SECONDS_MAX)
            assert process.returncode == 0
            found[name] = [line.split() for line in out.splitlines()]
        return found

    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        first = run_both()
        end(daemon, signal.SIGKILL)
    with paper(tmp_path) as daemon:
        until(lambda: is_answered(port))
        second = run_both()
        assert end(daemon) == 0
    for name in ("alice", "bob"):
        assert len(first[name]) == 20
        # The order's own number each time: none was made twice.
        assert [line[:2] for line in second[name]] == [line[:2] for line in first[name]]
    for run in (1, 2):
        assert replay(run_folder(tmp_path, run), None).is_identical
    from daemon.journal.tail import TailReader

    records = list(TailReader(run_folder(tmp_path, 1) / "journal"))
    assert sum(isinstance(record, ClientOrderRequested) for record in records) == 40
    again = list(TailReader(run_folder(tmp_path, 2) / "journal"))
    assert not [record for record in again if isinstance(record, ClientOrderRequested)]
    _check_budgets(records)


def _check_budgets(records: list[Any]) -> None:
    """From the journal alone: no client ever held more than its budget, whatever else happened."""
    whose = {record.client_order_id: record.strategy_id for record in records if isinstance(record, SubmitOrder)}
    assert {"alice", "bob", "maker"} <= set(whose.values())
    held: dict[str, int] = {}
    for record in records:
        if isinstance(record, OrderFilled):
            name = whose[record.client_order_id]
            held[name] = held.get(name, 0) + (record.qty if record.side == 0 else -record.qty)
            assert abs(held[name]) <= {"alice": 20, "bob": 30}.get(name, 200)
