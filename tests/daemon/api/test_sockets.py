"""A WebSocket that does not read is cut off, and the others and the feed do not notice."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
from prometheus_client import generate_latest
from websockets.sync.client import connect

from daemon.api import server, sockets
from daemon.api.app import make_app, make_parts
from daemon.api.feed import Feed
from daemon.api.gate import Gate
from daemon.api.metrics import ApiMetrics
from daemon.api.settings import ApiClient
from daemon.api.sockets import Sockets
from daemon.api.tokens import Tokens
from tests.daemon.api.live import SECONDS_MAX, free_port
from tests.daemon.api.test_server import is_cut, settings_of

TOKEN = "t" * 32
LINE = {"type": "md", "instrument_id": "A.X", "bids": [["1", "x" * 5_000]], "asks": []}


class Endless(Feed):
    """A market that changes all the time."""

    async def run(self) -> None:
        self.is_connected = True
        number = 0
        while True:
            number += 1
            self._hand_on({**LINE, "number": number})
            if number % 50 == 0:
                self._hand_on({"type": "fill", "strategy_id": "alice", "number": number})
            await anyio.sleep(0.001)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, ApiMetrics]]:
    monkeypatch.setattr(sockets, "SEND_SECONDS_MAX", 0.3)
    monkeypatch.setattr(server, "CLOSE_SECONDS_MAX", 0.1)
    port = free_port()
    client = ApiClient(client_id="alice", token="a", scopes=frozenset({"read"}), instruments=["A.X"], levels=5, interval_s=0.0)
    settings = settings_of(port, clients=[client], websockets_max=3, requests_max=10_000)
    metrics = ApiMetrics()
    parts = make_parts(settings, metrics)
    feed = Endless(parts.link, 0.0)
    parts = replace(parts, feed=feed, sockets=Sockets(feed, parts.link, metrics, settings.websockets_max))
    made = server.make_server(Gate(make_app(parts), settings, Tokens([client], lambda _name: TOKEN), metrics), settings)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        while not made.started:
            assert thread.is_alive()
        yield port, metrics
    finally:
        made.should_exit = True
        thread.join(SECONDS_MAX)
        assert not thread.is_alive()


def open_socket(port: int, path: str) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    address = f"ws://127.0.0.1:{port}{path}"
    return connect(address, additional_headers=headers, compression=None, open_timeout=SECONDS_MAX, close_timeout=0.5)


def cut_off(metrics: ApiMetrics) -> bool:
    return b"tradingd_api_cut_off_total 1.0" in generate_latest(metrics.registry)


def test_who_does_not_read_is_cut_off_and_the_others_go_on(api: tuple[int, ApiMetrics]) -> None:
    port, metrics = api
    with socket.socket() as slow, open_socket(port, "/ws/md") as quick, open_socket(port, "/ws/fills/alice") as fills:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(
            f"GET /ws/md HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert slow.recv(12) == b"HTTP/1.1 101"
        numbers: list[int] = []
        while not cut_off(metrics):
            numbers.append(json.loads(quick.recv(timeout=SECONDS_MAX))["number"])
        assert numbers == sorted(set(numbers)), "the latest each time"
        seen = [json.loads(fills.recv(timeout=SECONDS_MAX))["number"] for _ in range(3)]
        assert seen == [seen[0], seen[0] + 50, seen[0] + 100], "each of them"
        slow.settimeout(SECONDS_MAX)
        assert is_cut(slow)


def test_there_are_so_many_websockets_and_no_more(api: tuple[int, ApiMetrics]) -> None:
    from websockets.exceptions import InvalidStatus

    port, _ = api
    with open_socket(port, "/ws/md"), open_socket(port, "/ws/md"), open_socket(port, "/ws/fills/alice"):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(port, "/ws/md").__enter__()
        assert caught.value.response.status_code == 429
