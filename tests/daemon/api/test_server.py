"""The server's bounds: slow requests, too many connections, WebSockets that do not read or send too much are cut off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from daemon.api import server
from daemon.api.server import make_server
from daemon.api.settings import ApiSettings
from tests.daemon.api.live import SECONDS_MAX, free_port


def settings_of(port: int, **changes: Any) -> ApiSettings:
    fields: dict[str, Any] = {
        "name": "x",
        "socket": "/nowhere",
        "guardian_socket": "/nowhere",
        "kill_latch": "/nowhere/latch",
        "host": "127.0.0.1",
        "port": port,
        "host_names": [],
        "origins": [],
        "connections_max": 20,
        "websockets_max": 4,
        "requests_max": 100,
        "body_bytes_max": 4_096,
        "clients": [],
    }
    return ApiSettings(**{**fields, **changes})


@contextmanager
def serving(app: Callable[..., Any], **changes: Any) -> Iterator[int]:
    """The port of a server in a thread; its bounds are those of the moment."""
    port = free_port()
    made = make_server(app, settings_of(port, **changes))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        while not made.started:
            assert thread.is_alive()
        yield port
    finally:
        made.should_exit = True
        thread.join(SECONDS_MAX)
        assert not thread.is_alive()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        while (await receive()).get("more_body"):
            continue
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
    else:
        await receive()
        await send({"type": "websocket.accept"})
        with anyio.move_on_after(1.0):
            while True:
                await send({"type": "websocket.send", "text": "x" * 65_536})


def raw(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)
    made.settimeout(SECONDS_MAX)
    return made


def answer(connection: socket.socket) -> bytes:
    """All of it: its body is "ok"."""
    data = b""
    while not data.endswith(b"ok"):
        more = connection.recv(65_536)
        assert more, data
        data += more
    return data


def is_cut(connection: socket.socket) -> bool:
    """Waits until the other side ends it, in whatever way."""
    try:
        while connection.recv(65_536):
            continue
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"],
)
def test_a_request_that_does_not_come_to_its_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.5)
    with serving(app) as port, raw(port) as slow:
        slow.sendall(beginning)
        assert is_cut(slow)
        with raw(port) as quick:
            quick.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer(quick).startswith(b"HTTP/1.1 200 OK")


def test_a_connection_that_is_kept_has_a_new_deadline_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.5)
    with serving(app) as port, raw(port) as kept:
        for _ in range(3):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(kept).startswith(b"HTTP/1.1 200 OK")
        kept.sendall(b"GET / HTTP/1.1\r\nHos")
        assert is_cut(kept)


def test_one_connection_too_many_is_closed_and_the_others_go_on() -> None:
    with serving(app, connections_max=3) as port:
        kept = [raw(port) for _ in range(3)]
        for connection in kept:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(connection).startswith(b"HTTP/1.1 200 OK")
        with raw(port) as extra:
            assert is_cut(extra)
        kept[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(kept[0]).startswith(b"HTTP/1.1 200 OK")
        for connection in kept:
            connection.close()


def test_a_head_that_is_too_long_is_refused() -> None:
    with serving(app) as port, raw(port) as long:
        long.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (server.HEAD_BYTES_MAX + 65_536))
        assert long.recv(65_536).startswith(b"HTTP/1.1 400")


def test_a_websocket_that_does_not_read_ends_and_its_connection_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLOSE_SECONDS_MAX", 0.1)
    with serving(app) as port, raw(port) as slow:
        slow.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 101")
        # Nothing is read meanwhile; then what was in the buffers is, and the end of it.
        with raw(port) as quick:
            quick.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer(quick).startswith(b"HTTP/1.1 200 OK")
        assert is_cut(slow)


def test_a_websocket_that_sends_more_than_a_listener_has_to_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RECEIVED_BYTES_MAX", 2_000)
    with serving(app) as port, connect(f"ws://127.0.0.1:{port}/", compression=None) as websocket:

        def flood() -> None:
            for number in range(100_000):
                websocket.ping(f"{number:0100d}")

        with pytest.raises((ConnectionClosed, OSError)):
            flood()
