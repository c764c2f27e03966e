"""Real processes for the tests: a venue that outlives the daemon, a daemon with resting orders there, a guardian beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from core.errors import TransportError
from daemon.control.client import ask
from tests.daemon.session import COMMAND, CONFIG, Result, environment, sockets_of, tradingd_process

SECONDS_MAX = 200.0  # the machine may be busy: then each process takes half a minute to start
POLL_S = 0.02
NAME = "session"

Found = TypeVar("Found")


def until(find: Callable[[], Found | None], what: str) -> Found:
    """What `find` gives once it gives something."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        threading.Event().wait(POLL_S)
    raise AssertionError(f"not within {SECONDS_MAX:g} s: {what}")


class Place:
    """A folder with a configuration, and the processes that run there."""

    def __init__(self, folder: Path, *, more: str = "", position: int = 0, connected: bool = True) -> None:
        self.folder = folder
        self.hang_file = folder / "hang"
        self.ledger = folder / "venue.jsonl"
        self.config = folder / "session.toml"
        self.sockets = sockets_of(folder)
        text = CONFIG.replace('class = "symmetric_maker"', 'class = "tests.daemon.guardian.resting:Resting"')
        text = text.replace(
            '[strategies.params]\ninstrument_id = "ACME.SIM"\norder_qty = "10"\nposition_qty_max = "100"',
            f'[strategies.params]\nhang_file = "{self.hang_file}"\nposition = {position}',
        ).replace("seed = 3", 'seed = 3\nmode = "paper"')
        if connected:
            text += f'\n[[connections]]\nvenue = "SIM"\nadapter = "sim"\naddress = "unix:{self.sockets}/venue.sim"\n'
        self.config.write_text(f"{text}\n{patient(more)}\n")
        self._stack = ExitStack()
        self.environment = environment(folder)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"{arguments[0]}.log").open("ab"))
        process = subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self._stack.callback(end, process)
        return process

    def start_venue(self) -> subprocess.Popen[bytes]:
        self.venue = process = self.start("venue-sim", "sim", "--config", str(self.config), "--ledger", str(self.ledger))
        until((self.sockets / "venue.sim").exists, "the venue listens")
        return process

    def start_guardian(self) -> subprocess.Popen[bytes]:
        process = self.start("guardian", str(self.config))

        def is_watching() -> bool:
            status = self.guardian_status()
            return status is not None and status["pid"] == process.pid and all(venue["is_open"] for venue in status["venues"])

        until(is_watching, "the guardian watches and has its venues open")
        return process

    def start_daemon(self, orders: int = 20) -> subprocess.Popen[bytes]:
        process = self.start("paper", str(self.config))
        if orders:
            until(lambda: len(self.open_orders()) >= orders, f"{orders} orders rest")
        return process

    def guardian_status(self) -> dict[str, Any] | None:
        try:
            return ask(self.sockets / f"guardian-{NAME}.sock", "GET", "/status")[1]
        except TransportError:
            return None

    def status(self) -> dict[str, Any] | None:
        """Of the daemon."""
        for path in sorted(self.sockets.glob(f"{NAME}-*.sock"), reverse=True):
            try:
                return ask(path, "GET", "/status")[1]
            except TransportError:
                continue
        return None

    def tradingd(self, *arguments: str) -> Result:
        return tradingd_process(*arguments, cwd=self.folder, env=self.environment)

    def kill(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and report of `tradingd kill`."""
        done = self.tradingd("kill", "--json", *arguments)
        assert done.stdout, done
        found: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, found

    # The venue's own word, read from its ledger by code that shares nothing with ours.

    def lines(self) -> list[dict[str, Any]]:
        if not self.ledger.exists():
            return []
        # The last line may be half written.
        return [json.loads(line) for line in self.ledger.read_bytes().split(b"\n")[:-1]]

    def open_orders(self, lines: Sequence[dict[str, Any]] | None = None) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        submitted: dict[int, dict[str, Any]] = {}
        for line in self.lines() if lines is None else lines:
            order_id = line.get("client_order_id")
            match line["kind"]:
                case "submit":
                    submitted[order_id] = line
                case "accepted":
                    found[order_id] = submitted[order_id]
                case "canceled" | "expired" | "rejected":
                    found.pop(order_id, None)
                case "filled" if line["leaves_qty"] == 0:
                    found.pop(order_id, None)
        return found

    def accepted_since(self, mark: int) -> list[dict[str, Any]]:
        """Orders that were accepted behind line `mark` of the ledger and can add risk."""
        lines = self.lines()
        submitted = {line["client_order_id"]: line for line in lines if line["kind"] == "submit"}
        accepted = [line["client_order_id"] for line in lines[mark:] if line["kind"] == "accepted"]
        return [submitted[order_id] for order_id in accepted if not submitted[order_id].get("reduce_only")]

    def position(self) -> int:
        fills = [line for line in self.lines() if line["kind"] == "filled"]
        return sum(fill["qty"] if fill["side"] == "BUY" else -fill["qty"] for fill in fills)

    def latch(self) -> str:
        return (self.folder / "state" / NAME / "kill_latch").read_bytes().split(b"\n", 1)[0].decode()

    def alerts(self) -> list[dict[str, Any]]:
        path = self.folder / "alerts.jsonl"
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def kinds(self) -> list[str]:
        return [alert["kind"] for alert in self.alerts()]

    def close(self) -> None:
        self._stack.close()


def patient(more: str) -> str:
    """The times of the guardian that a test does not set: on a busy machine a daemon that is well may take long to say so."""
    if "[guardian]" not in more:
        more += "\n[guardian]"
    for key, value in (("heartbeat_timeout", "300s"), ("fence_after", "20s")):
        if f"{key} =" not in more:
            more = more.replace("[guardian]", f'[guardian]\n{key} = "{value}"')
    return more


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait(SECONDS_MAX)


@contextmanager
def place(folder: Path, **options: Any) -> Iterator[Place]:
    made = Place(folder, **options)
    try:
        yield made
    finally:
        made.close()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
