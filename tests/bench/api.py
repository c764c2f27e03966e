"""How long a client's order takes over the socket and over HTTP, and what clients and nonsense cost the daemon's loop.

    python -m tests.bench.api [--orders N] [--websockets N] [--seconds S] [--json]

One daemon with the embedded market and a maker, `sync = "before_send"`; whoever asks is a process of its own. For the loop,
the figures are of each event: from its stamp to its step, idle and under load.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from daemon.control.client import ask
from daemon.control.socket_path import socket_of
from tests.daemon.api.live import TOKENS, LiveApi, live_api

ORDER = {"instrument_id": "ACME.SIM", "side": "BUY", "quantity": "1", "price": "98.50"}
WARM_UP = 50
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--websockets", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = Report(is_quiet=options.json)
    with tempfile.TemporaryDirectory() as folder, live_api(Path(folder), idle=False) as live:
        path, port, seconds = socket_of(live.daemon.run_id), live.port, options.seconds
        report.add("POST /order, control socket", _orders(over_socket, options.orders, path))
        report.add("POST /order, HTTP, connection kept", _orders(over_http, options.orders, port))
        report.add("loop, idle", *_lag(live, seconds, None))
        report.add("loop, 1 WebSocket", *_lag(live, seconds, websockets, port, 1))
        report.add(f"loop, {options.websockets} WebSockets", *_lag(live, seconds, websockets, port, options.websockets))
        report.add("loop, nonsense over HTTP", *_lag(live, seconds, nonsense, port))
        report.add("loop, idle again", *_lag(live, seconds, None))
    if options.json:
        print(json.dumps(report.lines))


class Report:
    """Times in us."""

    def __init__(self, *, is_quiet: bool) -> None:
        self.lines: dict[str, dict[str, float]] = {}
        self._is_quiet = is_quiet

    def add(self, title: str, taken_ns: list[int], events_per_s: float = 0.0, core_percent: float = 0.0) -> None:
        cuts = statistics.quantiles(taken_ns, n=100)
        line = {"p50_us": cuts[49] / 1e3, "p99_us": cuts[98] / 1e3, "max_us": max(taken_ns) / 1e3}
        if events_per_s:
            line |= {"events_per_s": events_per_s, "core_percent": core_percent}
        self.lines[title] = line
        if not self._is_quiet:
            print(f"{title:<36}", "  ".join(f"{name} {value:8.1f}" for name, value in line.items()), flush=True)


# In processes of their own.


def over_socket(count: int, path: Path, found: Any) -> None:
    found.put(_timed(count, "s", lambda body: ask(path, "POST", "/order", {"client_id": "bob", **body})[0]))


def over_http(count: int, port: int, found: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKENS['bob']}", "Content-Type": "application/json"}

    def send(body: dict[str, Any]) -> int:
        connection.request("POST", "/order", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    found.put(_timed(count, "h", send))


def _timed(count: int, name: str, send: Callable[[dict[str, Any]], int]) -> list[int]:
    taken = []
    for number in range(count + WARM_UP):
        began = time.perf_counter_ns()
        status = send({**ORDER, "client_ref": f"{name}-{number}"})
        if number >= WARM_UP:
            taken.append(time.perf_counter_ns() - began)
        assert status in (200, 409), status
    return taken


def websockets(over: Event, ready: Event, port: int, count: int) -> None:
    received = 0

    async def listen() -> None:
        nonlocal received
        headers = {"Authorization": f"Bearer {TOKENS['alice']}"}
        async with connect(f"ws://127.0.0.1:{port}/ws/md", additional_headers=headers, compression=None) as websocket:
            while not over.is_set():
                await websocket.recv()
                received += 1
                ready.set()

    async def all_of_them() -> None:
        await asyncio.gather(*(listen() for _ in range(count)))

    asyncio.run(all_of_them())
    print(f"    {received} messages came through {count} WebSockets", file=sys.stderr, flush=True)


def nonsense(over: Event, ready: Event, port: int) -> None:
    numbers, asked = random.Random(1), 0
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while not over.is_set():
        body = (
            numbers.randbytes(numbers.randrange(1, 2_000)) if asked % 2 else json.dumps({**ORDER, "client_ref": "a b"}).encode()
        )
        token = TOKENS["alice"] if asked % 3 else "nobody"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", numbers.choice(["/order", "/cancel/1-999999", "/replace/1-1", "/x"]), body, headers)
        connection.getresponse().read()
        asked += 1
        ready.set()
    print(f"    {asked} requests without sense were answered", file=sys.stderr, flush=True)


# What is measured.


def _orders(target: Callable[..., None], count: int, where: Any) -> list[int]:
    found = SPAWN.Queue()
    process = SPAWN.Process(target=target, args=(count, where, found))
    process.start()
    taken_ns: list[int] = found.get()
    process.join()
    return taken_ns


def _lag(live: LiveApi, seconds: float, target: Callable[..., None] | None, *arguments: Any) -> tuple[list[int], float, float]:
    """Of each event; events in a second; the share of a core that the daemon's thread takes, in percent."""
    over, ready = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=target, args=(over, ready, *arguments)) if target is not None else None
    if process is not None:
        process.start()
        ready.wait()
    session, lags = live.session, list[int]()
    before = session._take

    def take(event: Any, out: Any) -> None:
        before(event, out)
        lags.append(session.lag_ns)

    def begin() -> int:
        session._take = take  # type: ignore[method-assign] # measured in its place
        return time.thread_time_ns()

    def end() -> int:
        del session._take
        return time.thread_time_ns()

    cpu_before, began = live.inside(begin), time.perf_counter()
    SPAWN.Event().wait(seconds)
    cpu_ns, elapsed_s = live.inside(end) - cpu_before, time.perf_counter() - began
    over.set()
    if process is not None:
        process.join()
    return lags, len(lags) / elapsed_s, cpu_ns / elapsed_s / 1e7


if __name__ == "__main__":
    main()
