"""Streams: markets and orders as they are by now, every fill, heartbeats; who does not read is cut off, never waited for."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.enums import MarketStatus
from core.events import GapDetected, StatusChanged
from daemon.control import server
from daemon.control.server import LineSource, open_listener, serve
from daemon.control.socket_path import prepare_folder, socket_of
from daemon.trading import stream
from tests.daemon.trading.client_session import INSTRUMENT, ClientSession
from tests.daemon.trading.harness import quote

SECONDS_MAX = 30.0


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[ClientSession]:
    made = ClientSession(tmp_path)
    yield made
    made.close()


def lines_of(source: LineSource, chunks: int = 1) -> list[dict[str, Any]]:
    """What there is by now, without the heartbeats."""

    async def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(chunks):
            with anyio.fail_after(SECONDS_MAX):
                chunk = await source.next_lines()
            assert chunk is not None
            found += [json.loads(line) for line in chunk.splitlines()]
        return [line for line in found if line["type"] != "heartbeat"]

    return anyio.run(read)


def test_the_market_is_there_at_once_and_then_the_latest_only(clients: ClientSession) -> None:
    source = clients.stream(topics="md", client_id="alice")
    (first,) = lines_of(source)
    assert (first["type"], first["bid"], first["mid"], first["status"]) == ("md", "100.00", "100.005", "TRADING")
    for price in range(10_000, 10_050):
        clients.session.process([quote(clients.tick(), price)])
    clients.session.process([StatusChanged(clients.tick(), clients.tick(), INSTRUMENT, MarketStatus.AUCTION)])
    (latest,) = lines_of(source)
    assert (latest["bid"], latest["status"]) == ("100.49", "AUCTION")
    clients.session.process([GapDetected(clients.tick(), clients.tick(), INSTRUMENT)])
    (gapped,) = lines_of(source)
    assert (gapped["bid"], gapped["mid"], gapped["is_gapped"]) == (None, None, True)


def test_every_fill_comes_in_order_and_to_its_own_client(clients: ClientSession) -> None:
    alice, bob, everybody = (clients.stream(topics="fills", client_id=name) for name in ("alice", "bob", ""))
    order = clients.order_of(clients.order())
    other = clients.order_of(clients.order(client_id="bob", client_ref="b1"))
    for number in range(4):
        clients.fill(order, 1, f"x{number}")
    clients.fill(other, 2, "y1")
    assert [(line["number"], line["execution_id"]) for line in lines_of(alice)] == [(n + 1, f"x{n}") for n in range(4)]
    assert [(line["number"], line["client_ref"], line["quantity"]) for line in lines_of(bob)] == [(5, "b1", "2")]
    assert [line["strategy_id"] for line in lines_of(everybody)] == ["alice"] * 4 + ["bob"]


def test_an_order_comes_as_it_is_by_now(clients: ClientSession) -> None:
    source = clients.stream(topics="orders", client_id="alice")
    order = clients.order_of(clients.order())
    clients.accept(order)
    clients.fill(order, 2, "x1")
    (line,) = lines_of(source)
    assert (line["type"], line["order_id"], line["status"], line["leaves_qty"]) == ("order", "1-1", "PARTIALLY_FILLED", "3")


def test_who_lets_too_many_fills_wait_is_cut_off_and_others_are_not(
    clients: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FILLS_WAITING_MAX", 3)
    slow, quick = (clients.stream(topics="fills") for _ in range(2))
    order = clients.order_of(clients.order())
    for number in range(5):
        clients.fill(order, 1, f"x{number}")
        assert len(lines_of(quick)) == 1
    assert anyio.run(slow.next_lines) is None


def test_nobody_listens_costs_nothing_and_a_closed_one_hears_nothing(clients: ClientSession) -> None:
    source = clients.stream(topics="md,fills")
    assert len(clients.requests.streams) == 1
    source.close()
    source.close()
    assert len(clients.requests.streams) == 0
    clients.session.process([quote(clients.tick())])


@pytest.mark.parametrize(
    "query",
    [{"topics": "all"}, {"topics": ""}, {"since": "1"}, {"client_id": "eve"}, {"interval_ms": "-1"}, {"interval_ms": "60001"}],
)
def test_a_stream_that_does_not_exist_is_refused(clients: ClientSession, query: dict[str, str]) -> None:
    assert clients.ask("GET", "/stream", **query)[0] in (400, 404)


# Over the socket.


def test_a_reader_who_stops_is_cut_off_and_the_server_answers_meanwhile(
    clients: ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(tmp_path / "s"))
    monkeypatch.setattr(server, "SEND_SECONDS_MAX", 0.5)
    monkeypatch.setattr(stream, "MARKET_INTERVAL_S_MIN", 0.0)
    prepare_folder()
    path = socket_of("slow")

    async def handle(request: Any) -> Any:
        return clients.requests.answer(request)

    async def run() -> int:
        listener = await open_listener(path)
        asked = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, handle)
            with socket.socket(socket.AF_UNIX) as slow, anyio.fail_after(SECONDS_MAX):
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                slow.connect(str(path))
                slow.sendall(b"GET /stream?topics=md HTTP/1.1\r\n\r\n")
                while not len(clients.requests.streams):
                    await anyio.lowlevel.checkpoint()
                while len(clients.requests.streams):
                    # The loop goes on: quotes are processed, others are answered.
                    clients.session.process([quote(clients.tick())])
                    async with await anyio.connect_unix(path) as quick:
                        await quick.send(b"GET /risk/alice HTTP/1.1\r\n\r\n")
                        assert (await quick.receive()).startswith(b"HTTP/1.1 200 OK")
                    asked += 1
            tasks.cancel_scope.cancel()
        return asked

    assert anyio.run(run) > 0


def test_a_stream_ends_when_its_reader_has_gone(clients: ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(tmp_path / "s"))
    prepare_folder()
    path = socket_of("gone")

    async def handle(request: Any) -> Any:
        return clients.requests.answer(request)

    async def run() -> None:
        listener = await open_listener(path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, handle)
            with anyio.fail_after(SECONDS_MAX):
                async with await anyio.connect_unix(path) as reader:
                    await reader.send(b"GET /stream?topics=fills&client_id=bob HTTP/1.1\r\n\r\n")
                    head = await reader.receive()
                    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson")
                while len(clients.requests.streams):
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    anyio.run(run)


def test_there_are_so_many_streams_and_no_more(clients: ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(tmp_path / "s"))
    monkeypatch.setattr(server, "STREAMS_MAX", 2)
    prepare_folder()
    path = socket_of("many")

    async def handle(request: Any) -> Any:
        return clients.requests.answer(request)

    async def run() -> list[bytes]:
        listener = await open_listener(path)
        heads = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, handle)
            with anyio.fail_after(SECONDS_MAX):
                readers = [await anyio.connect_unix(path) for _ in range(3)]
                for reader in readers:
                    await reader.send(b"GET /stream HTTP/1.1\r\n\r\n")
                    heads.append((await reader.receive())[:12])
                for reader in readers:
                    await reader.aclose()
            tasks.cancel_scope.cancel()
        return heads

    assert anyio.run(run) == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 503"]
    assert len(clients.requests.streams) <= 2
