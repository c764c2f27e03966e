"""`tradingd kill` on the command line: whom it means, what it needs, and what it says when there is nobody."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from daemon.exit_codes import ExitCode
from daemon.guardian.card import Card, write_card
from daemon.guardian.places import card_in_control_folder
from tests.daemon.session import CONFIG, ROOT, Result, environment, sockets_of, tradingd, write_config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    environment(tmp_path)
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(sockets_of(tmp_path)))
    write_config(tmp_path)
    yield tmp_path
    for path in sockets_of(tmp_path).glob("*"):
        path.unlink()


def kill(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done: Result = tradingd("kill", "--json", *arguments, cwd=folder)
    return done.returncode, json.loads(done.stdout)


def leave_card(folder: Path, name: str, phase: str, **changed: Any) -> None:
    fields: dict[str, Any] = {
        "name": name,
        "pid": 1 << 22,
        "started": 1,
        "boot": "x",
        "state_folder": str(folder / "state" / name),
        "config": str(folder / "session.toml"),
        "phase": phase,
        "run_id": f"{name}-4",
    }
    write_card(card_in_control_folder(name), Card(**{**fields, **changed}))


def latch(folder: Path, name: str) -> str:
    return (folder / "state" / name / "kill_latch").read_bytes().split(b"\n", 1)[0].decode()


def test_with_a_configuration_it_needs_nobody(folder: Path) -> None:
    code, content = kill(folder, "session.toml", "--reason", "to be sure")
    assert (code, content["account"], content["kill"]["daemon"], content["kill"]["verified"]) == (0, "session", "gone", True)
    assert latch(folder, "session").endswith("command: to be sure")


def test_a_configuration_that_cannot_run_any_more_still_stops_what_ran(folder: Path) -> None:
    write_config(folder, CONFIG.replace("seed = 3", "seeed = 3"))
    code, content = kill(folder, "session.toml")
    # Which venues there are cannot be known from it: the latch is set, and nothing is called verified.
    assert (code, content["kill"]["verified"]) == (ExitCode.UNVERIFIED, False)
    assert "unknown key run.seeed" in content["kill"]["problems"][0]
    assert latch(folder, "session").startswith("1 ")


@pytest.mark.parametrize(
    "text", ["not toml [", "[run]\n", "[run]\nname = 5\n", '[run]\nname = "x"\n[daemon]\nstate_folder = 1\n']
)
def test_a_configuration_that_names_no_account_is_said(folder: Path, text: str) -> None:
    write_config(folder, text)
    code, content = kill(folder, "session.toml")
    assert (code, content["error"]["type"]) == (ExitCode.CONFIG, "ConfigError")


def test_nobody_known_is_said(folder: Path) -> None:
    assert kill(folder)[0] == ExitCode.NOT_RUNNING
    assert kill(folder, "--run", "session-3")[0] == ExitCode.NOT_RUNNING


def test_a_daemon_that_died_is_found_by_its_card_and_one_that_ended_in_order_is_not(folder: Path) -> None:
    leave_card(folder, "ended", "ended")
    assert kill(folder)[0] == ExitCode.NOT_RUNNING
    leave_card(folder, "session", "running")
    code, content = kill(folder)
    assert (code, content["account"]) == (0, "session")
    assert latch(folder, "session").startswith("1 ")
    # Named, the other one is killed too.
    assert kill(folder, "--run", "ended-4")[1]["account"] == "ended"


@pytest.mark.parametrize(("run", "account"), [("my-2", "my-2"), ("my-2-7", "my-2"), ("one-7", "one"), ("one", "one")])
def test_an_account_is_named_by_its_runs_and_by_itself(folder: Path, run: str, account: str) -> None:
    leave_card(folder, "my-2", "running")
    leave_card(folder, "one", "running")
    assert kill(folder, "--run", run)[1]["account"] == account


def test_of_several_it_says_which_there_are(folder: Path) -> None:
    leave_card(folder, "one", "running")
    leave_card(folder, "two", "starting")
    code, content = kill(folder)
    assert (code, content["error"]["message"]) == (
        ExitCode.NOT_RUNNING,
        "several accounts are known here; say which with --run: one, two",
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"name": "session", "state_folder": 1}', b"\xff"])
def test_a_card_of_no_use_is_passed_over(folder: Path, content: bytes) -> None:
    card_in_control_folder("session").write_bytes(content)
    assert kill(folder)[0] == ExitCode.NOT_RUNNING
    assert kill(folder, "session.toml")[0] == 0


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 500 x\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\nnothing", b"HTTP/1.1 200 OK\r\n\r\n{}"]
)
def test_a_guardian_that_makes_no_sense_is_as_good_as_none(folder: Path, answer: bytes) -> None:
    import threading

    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        listener.bind(str(sockets_of(folder) / "guardian-session.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(1 << 16)
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        code, content = kill(folder, "session.toml")
        thread.join()
    assert (code, content["by"].startswith("this command")) == (0, True)


def test_a_guardian_that_is_stopped_is_not_waited_for(folder: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        listener.bind(str(sockets_of(folder) / "guardian-session.sock"))
        # It listens, and nobody ever accepts: what a process under SIGSTOP looks like.
        listener.listen()
        code, content = kill(folder, "session.toml")
    assert (code, content["by"].startswith("this command")) == (0, True)


def test_a_wrong_duration_is_said_and_nothing_is_done(folder: Path) -> None:
    assert kill(folder, "session.toml", "--wait", "soon")[0] == ExitCode.CONFIG
    assert not (folder / "state").exists()


def test_what_is_printed_can_be_read(folder: Path) -> None:
    done = tradingd("kill", "session.toml", "--reason", "odd", cwd=folder)
    lines = done.stdout.splitlines()
    assert lines[0] == "session  KILLED, verified (by this command: no guardian answered): odd"
    assert lines[1].startswith("  daemon gone; flag ")
    assert lines[2].startswith("  embedded: cancels sent after ")
    assert lines[-1] == "  trade again: remove the cause, then tradingd resume --reason …"


def test_nothing_heavy_is_loaded_before_the_guardian_is_asked() -> None:
    code = (
        "import sys; from daemon.cli.main import main; import daemon.cli.errors, daemon.cli.kill\n"
        "heavy = {'anyio', 'asyncio', 'msgspec', 'pydantic', 'structlog', 'numpy', 'http.client', 'tempfile', 'tomllib'}\n"
        "print(sorted(sys.modules.keys() & heavy))"
    )
    # Without what an editable installation loads at the start of every Python.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
