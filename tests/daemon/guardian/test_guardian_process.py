"""The guardian as a process: alerts that outlive the daemon, heads that hold its journal, and what it must not die of."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.control.client import ask
from daemon.exit_codes import ExitCode
from tests.daemon.guardian.processes import SECONDS_MAX, place, until
from tests.daemon.journal_records import frames_in

pytestmark = pytest.mark.timeout(400)
SECRET_PATH = "/hooks/verysecret"


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its URL, and what was posted to it."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == SECRET_PATH
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{SECRET_PATH}", got
    finally:
        server.shutdown()
        server.server_close()


def test_alerts_outlive_the_daemon_and_hold_no_secret(tmp_path: Path) -> None:
    more = '[alerts]\nlog = "alerts.jsonl"\nwebhook = "hook"\nwebhook_from = "info"'
    with webhook() as (url, got), place(tmp_path, more=more) as here:
        here.environment.update(TRADINGD_SECRET_HOOK=url, NO_PROXY="127.0.0.1")
        here.start_venue()
        here.start_guardian()
        daemon = here.start_daemon()
        daemon.kill()
        daemon.wait()
        until(lambda: "kill_verified" in [alert["kind"] for alert in got], "the webhook hears of it")
        assert [alert["kind"] for alert in got] == ["kill", "kill_verified"]
        assert (got[0]["severity"], got[0]["source"], got[0]["account"]) == ("critical", "guardian", "session")
        assert "ended while it was running" in got[0]["text"]
        assert here.alerts() == got
        everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert b"verysecret" not in everything


def test_the_heads_hold_the_journal_of_a_daemon_that_was_killed(tmp_path: Path) -> None:
    with place(tmp_path, more='[guardian]\nhead_interval = "10ms"') as here:
        here.start_venue()
        here.start_guardian()
        daemon = here.start_daemon()
        until(lambda: (here.guardian_status() or {})["heads"]["kept"] >= 3, "some heads are kept")
        daemon.kill()
        daemon.wait()
        run = here.folder / "state" / "session" / "runs" / "000001"
        heads = here.folder / "guardian-state" / "session" / "heads.jsonl"
        done = here.tradingd("audit", "verify", str(run), "--anchor", str(heads), "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["findings"], report["heads"] >= 3) == (ExitCode.UNFINISHED, [], True)
        # Now somebody cuts what they would rather not have done.
        segment = run / "journal" / "000001.tdj"
        # Behind the first record, which the disk has had for long.
        os.truncate(segment, frames_in(segment.read_bytes())[1].end)
        done = here.tradingd("audit", "verify", str(run), "--anchor", str(heads), "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["findings"][-1]["damage"]) == (ExitCode.MISMATCH, "cut")


def test_an_orderly_run_agrees_with_its_heads_and_seals(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        here.start_venue()
        here.start_guardian()
        daemon = here.start_daemon()
        daemon.terminate()
        assert daemon.wait(SECONDS_MAX) == 0
        until(lambda: (here.guardian_status() or {})["daemon"]["phase"] == "ended", "the guardian knows")
        heads = here.folder / "guardian-state" / "session" / "heads.jsonl"
        done = here.tradingd("audit", "verify", "state/session/runs/000001", "--anchor", str(heads), "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["verdict"], report["findings"]) == (0, "whole", [])
        # The seal at the end, which the daemon makes as the last thing that it does.
        assert (report["anchors"], report["heads"] >= 1) == (report["seals"], True)


def test_noise_a_full_disk_and_a_dead_venue_do_not_end_it(tmp_path: Path) -> None:
    more = '[alerts]\nlog = "/dev/full"\nlog_from = "info"\n[guardian]\nvenue_timeout = "500ms"\ncheck_interval = "200ms"'
    with place(tmp_path, more=more) as here:
        venue = here.start_venue()
        guardian = here.start_guardian()
        here.start_daemon()
        # Its own folder refuses from now on.
        heads = here.folder / "guardian-state" / "session" / "heads.jsonl"
        until(heads.exists, "a head is kept")
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for number in range(500):
            sender.sendto(os.urandom(number), str(here.sockets / "guardian-session.beat"))
        sender.close()
        venue.send_signal(signal.SIGSTOP)
        until(lambda: (here.guardian_status() or {})["venues"][0]["last_failure"], "the venue is missed")
        venue.send_signal(signal.SIGCONT)
        until(lambda: (here.guardian_status() or {})["venues"][0]["is_open"], "the venue is back")
        guardian.send_signal(signal.SIGHUP)
        status = here.guardian_status()
        assert status is not None
        assert (status["malformed_datagrams"] > 400, guardian.poll()) == (True, None)
        assert "No space left" in next(line for line in status["alerts"] if line["to"] == "log")["last_failure"]
        code, content = here.kill()
        assert (code, content["by"]) == (ExitCode.OK, "guardian")
        assert here.open_orders() == {}


def test_its_socket_answers_what_it_should_and_refuses_the_rest(tmp_path: Path) -> None:
    with place(tmp_path, connected=False) as here:
        here.start_guardian()
        path = here.sockets / "guardian-session.sock"
        assert ask(path, "GET", "/kill") == (200, {"account": "session", "kill": None})
        assert ask(path, "POST", "/resume")[0] == 404
        assert ask(path, "POST", "/status")[0] == 405
        assert (path.stat().st_mode & 0o777, here.latch()) == (0o600, "0")
        # Nothing in the body keeps a kill from being done.
        status, content = ask(path, "POST", "/kill", {"reason": ["no", "text"], "flatten": "perhaps", "more": {}})
        assert (status, content["kill"]["reason"], content["kill"]["flatten"]) == (200, "operator", False)
        until(lambda: ask(path, "GET", "/kill")[1]["kill"]["verified"], "nothing runs, nothing is open")
        # It can be waited for.
        until(lambda: ask(path, "POST", "/kill", {"wait_s": 3.5})[1]["kill"]["verified"], "at once or a little later")


def test_a_halted_daemon_that_leaves_nothing_open_is_left_alone(tmp_path: Path) -> None:
    with place(tmp_path, more='[alerts]\nlog = "alerts.jsonl"') as here:
        here.start_venue()
        here.start_guardian()
        here.start_daemon()
        assert here.tradingd("halt", "--reason", "odd").returncode == 0
        until(lambda: here.open_orders() == {}, "the daemon has canceled")
        until(lambda: ((here.guardian_status() or {})["daemon"]["trading_state"]) == "HALTED", "the guardian knows")
        assert (here.latch(), "kill" in here.kinds()) == ("0", False)
