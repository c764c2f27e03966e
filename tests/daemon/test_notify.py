"""What systemd is told, and when: a socket of the test in systemd's place, and a real daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.events import Reconciled, Started, StateRestored, VenueCompared
from core.units import NS_PER_MS, NS_PER_SECOND
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from daemon.notify import Notifier, NotifyListener, Pulse, systemd_listeners, systemd_pulse
from daemon.trading.listener import Alert, Beat, Severity
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.session import COMMAND, CONFIG, environment, write_config
from tests.daemon.trading.harness import load
from tests.daemon.trading.test_paper import paper, wait_for_fills

SECONDS_MAX = 60.0
STOP_NS = 5 * NS_PER_SECOND


class Systemd:
    """The receiving end: what came in, message by message."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[list[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.settimeout(SECONDS_MAX)

    def receive(self) -> list[str]:
        self.messages.append(self._socket.recv(65_536).decode().split("\n"))
        return self.messages[-1]

    def receive_until(self, line: str) -> list[str]:
        while line not in self.receive():
            pass
        return self.messages[-1]

    def is_silent_for(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            self.receive()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(SECONDS_MAX)
        return False

    def drain(self) -> None:
        while not self.is_silent_for(0.01):
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(str(tmp_path / "notify") if request.param == "path" else f"@tradingd-test-{os.getpid()}")
    yield made
    made.close()


def beat(number: int, ts: int, *, state: str = "ACTIVE", reason: str = "") -> Beat:
    return Beat(
        run_id="paper-3",
        pid=1,
        number=number,
        ts=ts,
        lag_ns=250_000,
        events=10,
        orders_sent=7,
        open_orders=2,
        queue_depth=1,
        conflated=0,
        trading_state=state,
        trading_state_reason=reason,
        journal_id="",
        records=0,
        head="",
    )


ALIVE = "STATUS=paper-3 ACTIVE, 2 orders open, 7 sent, 1 events wait, lag 250 us"


def test_a_whole_life(systemd: Systemd) -> None:
    listener = NotifyListener(Notifier(systemd.address), STOP_NS)
    listener.phase("starting", "asking the venue")
    listener.phase("running", "paper-3 ACTIVE")
    second = NS_PER_SECOND
    listener.beat(beat(1, 10 * second))
    listener.beat(beat(2, 11 * second))
    listener.beat(beat(3, 12 * second, state="HALTED", reason="odd\nREADY=1\x1b[2J"))
    listener.alert(Alert(kind="trading_state", severity=Severity.CRITICAL, text="", ts=0))
    listener.beat(beat(4, 17 * second, state="HALTED", reason="odd"))
    listener.phase("stopping", "SIGTERM")
    listener.phase("ended", "")
    for _ in range(8):
        systemd.receive()
    halted = "2 orders open, 7 sent, 1 events wait, lag 250 us"
    assert systemd.messages == [
        ["STATUS=starting: asking the venue", "EXTEND_TIMEOUT_USEC=60000000"],
        ["READY=1", "STATUS=running: paper-3 ACTIVE"],
        ["WATCHDOG=1", ALIVE],
        ["WATCHDOG=1"],
        ["WATCHDOG=1", f"STATUS=paper-3 HALTED (odd\\nREADY=1\\x1b[2J), {halted}"],
        ["WATCHDOG=1", f"STATUS=paper-3 HALTED (odd), {halted}"],
        ["STOPPING=1", "STATUS=stopping: SIGTERM", "EXTEND_TIMEOUT_USEC=20000000"],
        ["STATUS=ended"],
    ]


def test_ready_is_said_again_until_it_has_arrived(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    listener = NotifyListener(Notifier(address), STOP_NS)
    listener.phase("running", "nobody is there yet")
    systemd = Systemd(address)
    listener.beat(beat(1, 10 * NS_PER_SECOND))
    listener.beat(beat(2, 11 * NS_PER_SECOND))
    assert [systemd.receive(), systemd.receive()] == [["READY=1", "WATCHDOG=1", ALIVE], ["WATCHDOG=1"]]
    systemd.close()


def test_a_full_socket_holds_nobody_up_and_loses_no_ready(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    notifier = Notifier(systemd.address)
    for _ in range(100_000):
        if not notifier.send(["STATUS=full"]):
            break
    listener = NotifyListener(notifier, STOP_NS)
    listener.phase("running", "")
    systemd.drain()
    listener.beat(beat(1, NS_PER_SECOND))
    assert systemd.receive()[0] == "READY=1"
    systemd.close()


def test_without_systemd_there_is_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    assert systemd_listeners(60 * NS_PER_SECOND, STOP_NS) == []


@pytest.mark.parametrize("address", ["relative", "@", "/", "vsock:2:1234"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with pytest.raises(ConfigError, match="neither a path nor an abstract name"):
        systemd_listeners(NS_PER_SECOND, STOP_NS)


def test_a_heartbeat_too_slow_for_the_watchdog_is_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with pytest.raises(ConfigError) as raised:
        systemd_listeners(700 * NS_PER_MS, STOP_NS)
    assert str(raised.value) == (
        "daemon.heartbeat_interval (0.7s) does not fit the unit's WatchdogSec (2s), which must have room for 3 heartbeats: "
        "set heartbeat_interval to at most 0.666666666s, or WatchdogSec= to at least 2.1s (systemctl edit UNIT)"
    )
    # Taken out of the environment, whatever came of it.
    assert [os.environ.get(name) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")] == [None, None, None]


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert len(systemd_listeners(NS_PER_SECOND, STOP_NS)) == 1


@pytest.mark.parametrize("systemd", ["path"], indirect=True)
def test_a_pulse_is_ready_once_beats_once_a_second_and_says_what_changes(systemd: Systemd) -> None:
    pulse = Pulse(Notifier(systemd.address))
    for tenth in range(71):
        pulse.beat("watching" if tenth < 40 else "killed", tenth / 10)
    pulse.stop()
    Pulse(None).beat("nobody asked", 1.0)
    expected = [["READY=1", "WATCHDOG=1", "STATUS=watching"], *([["WATCHDOG=1"]] * 4)]
    expected += [["WATCHDOG=1", "STATUS=killed"], ["WATCHDOG=1"], ["WATCHDOG=1"], ["STOPPING=1", "STATUS=stopping"]]
    for _ in expected:
        systemd.receive()
    assert systemd.messages == expected


def test_a_pulse_that_does_not_fit_the_watchdog_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("WATCHDOG_USEC", "2999999")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with pytest.raises(ConfigError, match=r"WatchdogSec \(2\.999999s\) is too short: set it to at least 3s"):
        systemd_pulse()


@pytest.mark.parametrize("systemd", ["path"], indirect=True)
def test_while_a_long_journal_is_read_more_time_is_asked_for(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path)
    with paper(tmp_path) as daemon:
        wait_for_fills(tmp_path, 1)
        daemon.kill()
    monkeypatch.setattr("daemon.trading.recovery.PROGRESS_RECORDS", 10)
    listener = NotifyListener(Notifier(systemd.address), STOP_NS)
    folder = StateFolder(tmp_path / "state/session")
    recovered = recover(folder, lambda: build_bare_trader(load(tmp_path)), lambda count: listener.phase("starting", f"{count}"))
    folder.release()
    steps = recovered.records_read // 10
    assert steps > 0
    for _ in range(steps):
        systemd.receive()
    assert systemd.messages == [[f"STATUS=starting: {10 * n}", "EXTEND_TIMEOUT_USEC=60000000"] for n in range(1, steps + 1)]


@pytest.mark.parametrize("systemd", ["path"], indirect=True)
def test_a_daemon_says_ready_after_reconciliation_is_silent_while_it_hangs_and_says_stopping(
    systemd: Systemd, tmp_path: Path
) -> None:
    market = CONFIG.partition("[[strategies]]")[0]
    config = write_config(tmp_path, f'{market}[[strategies]]\nid = "sleeper"\nclass = "tests.systemd.sleeper:Sleeper"\n')
    told = {**environment(tmp_path), "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "10000000"}
    daemon = subprocess.Popen([*COMMAND, "paper", str(config), "--json"], cwd=tmp_path, env=told, stdout=subprocess.DEVNULL)
    try:
        systemd.receive_until("READY=1")
        journal = tmp_path / "state/session/runs/000001/journal"
        kinds = [type(record) for record in TailReader(journal)]
        assert kinds[:4] == [StateRestored, VenueCompared, Started, Reconciled]
        before = [line.partition("=")[0] for message in systemd.messages[:-1] for line in message]
        assert set(before) == {"STATUS", "EXTEND_TIMEOUT_USEC"}
        for _ in range(3):
            systemd.receive_until("WATCHDOG=1")
        (tmp_path / "hang").touch()
        # What was on its way arrives; then nothing, for longer than four heartbeats take.
        while not systemd.is_silent_for(2.0):
            pass
        (tmp_path / "hanging").unlink()
        systemd.receive_until("WATCHDOG=1")
        daemon.send_signal(signal.SIGTERM)
        systemd.receive_until("STOPPING=1")
        systemd.receive_until("STATUS=ended")
        assert daemon.wait(SECONDS_MAX) == ExitCode.OK
    finally:
        daemon.kill()
        daemon.wait()
