"""From a kill's trigger to the last cancel at the venue: `python -m tests.bench.kill_latency [--kills N] [--json]`.

A real guardian and a real daemon, five venues of 20 resting orders each, the trigger a request on the guardian's socket. Measured
with the daemon idle, with its loop saturated, and with the daemon under SIGSTOP; over venues with a bulk call and over venues
where each order is canceled by itself. Both ends read the machine's monotonic clock. Then the same from the start of the process
`tradingd kill`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import Side
from core.errors import RefusedError, TransportError
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_adapter import VenueOrder
from core.venue_switch import VenueSwitch
from daemon.control.client import ask
from daemon.guardian.precedence import take_precedence
from tests.bench.kill_venues import serve
from tests.daemon.session import COMMAND, CONFIG, ROOT

VENUES = 5
ORDERS = 20
KILLS = 200
CLI_KILLS = 30
SECONDS_MAX = 20.0
NAME = "bench"
MODES = ("idle", "saturated", "stopped")
AIM_MS = {"idle": 5.0, "saturated": 20.0, "stopped": 100.0}


class BenchSwitch:
    """A VenueSwitch that speaks kill_venues' lines; `bulk` False: an order at a time, of those that it saw resting last."""

    def __init__(self, number: int, path: Path, *, bulk: bool) -> None:
        self.venue = f"BENCH{number}"
        self._path = path
        self._bulk = bulk
        self._socket: socket.socket | None = None
        self._orders: tuple[int, ...] = tuple(range(1, ORDERS + 1))

    async def open(self) -> None:
        self._socket = _connect(self._path)

    async def cancel_all(self) -> None:
        assert self._socket is not None
        if self._bulk:
            self._socket.sendall(b"cancel_all\n")
            return
        for order in self._orders:
            self._socket.sendall(b"cancel %d\n" % order)

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        import anyio

        assert self._socket is not None
        self._socket.sendall(b"query\n")
        await anyio.wait_readable(self._socket)
        found = _line(self._socket).split()
        return tuple(VenueOrder(int(order), "ACME.SIM", Side.BUY, 1, 1) for order in found)

    async def positions(self) -> dict[str, int]:
        raise RefusedError("nothing is held here")

    async def flatten(self) -> None:
        raise RefusedError("nothing is held here")

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        return False

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError as error:
        raise TransportError(f"{path}: {error}") from error
    return connection


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            raise TransportError("the venue is gone")
        data += part
    return data


# The processes.


class Busy:
    """A strategy that takes longer for a quote than the market takes for the next one: the loop is never done."""

    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")
        busy_ms: int = 5

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self._busy_ns = params.busy_ms * 1_000_000

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id="ACME.SIM", quotes="size")]

    def on_quote(self, context: Any, quote: Any) -> None:
        end = time.monotonic_ns() + self._busy_ns
        while time.monotonic_ns() < end:
            pass


def configuration(folder: Path, *, busy: bool) -> Path:
    text = CONFIG.replace('name = "session"', f'name = "{NAME}"').replace("seed = 3", 'seed = 3\nmode = "paper"')
    if busy:
        text = text.partition("[[strategies]]")[0] + '[[strategies]]\nid = "busy"\nclass = "tests.bench.kill_latency:Busy"\n'
    path = folder / "bench.toml"
    # What is measured is the kill, not what it waits for afterwards: nothing ends the stopped daemon, nothing settles.
    guardian = 'heartbeat_timeout = "1h"\nfence_after = "1h"\nsettle = "0ns"\nguard_interval = "1h"\ncheck_interval = "1h"'
    path.write_text(f"{text}\n[guardian]\n{guardian}\n")
    return path


def run_guardian(config: Path, folder: Path, *, bulk: bool) -> int:
    from daemon.cli.guardian import guard
    from daemon.config.loader import load_config
    from daemon.guardian.daemon_hand import DaemonHand

    def switches(_hand: DaemonHand) -> Sequence[VenueSwitch]:
        return [BenchSwitch(number, path, bulk=bulk) for number, path in enumerate(venue_paths(folder))]

    return guard(load_config(config), switches)


def venue_paths(folder: Path) -> list[Path]:
    return [folder / f"venue{number}" for number in range(VENUES)]


class Bench:
    """One guardian, one daemon, five venues."""

    def __init__(self, folder: Path, mode: str, *, bulk: bool) -> None:
        self.folder = folder
        self.mode = mode
        self.config = configuration(folder, busy=mode == "saturated")
        sockets = folder / "sockets"
        sockets.mkdir(mode=0o700)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TRADINGD_RUNTIME_DIR": str(sockets),
            "TRADINGD_STATE_DIR": str(folder / "key"),
        }
        self.guardian_socket = sockets / f"guardian-{NAME}.sock"
        self.daemon_socket = sockets / f"{NAME}-1.sock"
        self._bulk = bulk
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        me = [sys.executable, "-m", "tests.bench.kill_latency"]
        self._start([*me, "--venues", str(self.folder)])
        until(lambda: all(path.exists() for path in venue_paths(self.folder)))
        self._venues = [_connect(path) for path in venue_paths(self.folder)]
        self._start([*me, "--guardian", str(self.folder), *(["--bulk"] if self._bulk else [])])
        until(lambda: answers(self.guardian_socket))
        self.daemon = self._start([*COMMAND, "paper", str(self.config)])
        until(lambda: answers(self.daemon_socket))

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def tell_venues(self, line: bytes) -> list[bytes]:
        for connection in self._venues:
            connection.sendall(line)
        return [_line(connection) for connection in self._venues]

    def kill(self, by_command: bool) -> tuple[int, int]:
        """One kill: ns from the trigger to the last cancel at a venue, and to the first."""
        self.tell_venues(b"reset %d\n" % ORDERS)
        if self.mode == "stopped":
            self.daemon.send_signal(signal.SIGSTOP)
        started = time.monotonic_ns()
        command = None
        if by_command:
            command = self._start([*COMMAND, "kill", "--run", f"{NAME}-1"])
        else:
            connection = _connect(self.guardian_socket)
            connection.sendall(b'POST /kill HTTP/1.1\r\nContent-Length: 18\r\n\r\n{"reason":"bench"}')
            while connection.recv(1 << 16):
                pass
            connection.close()
        times: list[list[int]] = []

        def has_arrived() -> bool:
            times[:] = [[int(word) for word in line.split()] for line in self.tell_venues(b"times\n")]
            return all(left == 0 for _first, _last, left in times)

        until(has_arrived)
        if self.mode == "stopped":
            self.daemon.send_signal(signal.SIGCONT)
        until(lambda: (ask(self.guardian_socket, "GET", "/kill")[1]["kill"] or {})["verified"])
        if command is not None:
            command.wait(SECONDS_MAX)
        ask(self.daemon_socket, "POST", "/resume", {"reason": "bench"})
        until(lambda: not ask(self.guardian_socket, "GET", "/status")[1]["latch"]["is_set"])
        until(lambda: ask(self.daemon_socket, "GET", "/status")[1]["trading_state"] == "ACTIVE")
        # The guardian looks at the latch at its next tick; until then a kill would join the one before.
        until(lambda: not ask(self.guardian_socket, "GET", "/status")[1]["latch"]["in_force"])
        return max(last for _first, last, _left in times) - started, min(first for first, _last, _left in times) - started

    def close(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def until(condition: Any) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited too long")
        threading.Event().wait(0.002)


def answers(path: Path) -> bool:
    try:
        return ask(path, "GET", "/status")[0] == 200
    except TransportError:
        return False


# The figures.


def quantiles(ns: list[int]) -> dict[str, float]:
    ordered = sorted(ns)

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1e6, 2)

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": round(ordered[-1] / 1e6, 2)}


def measure(mode: str, kills: int, *, bulk: bool, by_command: bool = False) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kill-") as name, closing(Bench(Path(name), mode, bulk=bulk)) as bench:
        bench.start()
        found = [bench.kill(by_command) for _ in range(kills)]
    how = "bulk" if bulk else "order by order"
    trigger = "tradingd kill" if by_command else "request"
    return {
        "daemon": mode,
        "cancels": how,
        "trigger": trigger,
        "kills": kills,
        **quantiles([last for last, _first in found]),
        "first_cancel_p50_ms": quantiles([first for _last, first in found])["p50_ms"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kill_latency", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--cli-kills", type=int, default=CLI_KILLS)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--venues", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--guardian", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--bulk", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # The two ends that measure too: what is asked is how long the guardian takes, not how long they wait for a processor.
    take_precedence()
    if options.venues is not None:
        serve(venue_paths(options.venues))
    if options.guardian is not None:
        return run_guardian(options.guardian / "bench.toml", options.guardian, bulk=options.bulk)
    report = []
    for mode in options.mode or MODES:
        rows = [(bulk, False, options.kills) for bulk in (True, False)] + [(True, True, options.cli_kills)]
        for bulk, by_command, kills in rows:
            if not kills:
                continue
            row = measure(mode, kills, bulk=bulk, by_command=by_command)
            report.append(row)
            if not options.json:
                aim = "" if by_command else f"  (aim {AIM_MS[mode]:g})"
                print(
                    f"{mode:<10}{row['cancels']:<15} {row['trigger']:<14}{kills:>5} kills  p50 {row['p50_ms']:>7.2f}  "
                    f"p99 {row['p99_ms']:>7.2f}  max {row['max_ms']:>7.2f} ms{aim}",
                    flush=True,
                )
    if options.json:
        json.dump(report, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
