"""The control socket's protocol: whole requests only, however they are cut; every limit holds; nobody else may ask."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StorageError, TransportError
from daemon.control.client import ask, find_daemon
from daemon.control.server import open_listener, serve
from daemon.control.socket_path import prepare_folder, socket_of
from daemon.control.wire import BODY_BYTES_MAX, HEAD_BYTES_MAX, BadRequestError, Request, RequestParser, reply_bytes

HALT = b'POST /halt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18\r\n\r\n{"reason":"lunch"}'


@given(st.lists(st.integers(0, len(HALT)), max_size=8))
def test_a_request_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    parser = RequestParser()
    places = [0, *sorted(cuts), len(HALT)]
    found = [parser.receive(HALT[start:end]) for start, end in itertools.pairwise(places)]
    assert [each for each in found if each is not None][-1] == Request("POST", "/halt", {"reason": "lunch"})


def test_a_request_without_a_body() -> None:
    assert RequestParser().receive(b"GET /status HTTP/1.1\r\n\r\n") == Request("GET", "/status", {})


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"DELETE /status HTTP/1.1\r\n\r\n", 400, "this is no GET or POST of HTTP/1.1"),
        (b"GET /sta tus HTTP/1.1\r\n\r\n", 400, "this is no GET or POST of HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "this is no GET or POST of HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400, "a header line has no colon"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "Content-Length must be one number"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "Content-Length must be one number"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "a body must come with its Content-Length"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413, f"a body may have {BODY_BYTES_MAX} bytes"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_BYTES_MAX, 413, f"the head of a request may have {HEAD_BYTES_MAX} bytes"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: int, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        RequestParser().receive(data)
    assert (caught.value.status, str(caught.value)) == (status, message)


@pytest.mark.parametrize("body", [b"[1]", b"nope", b'{"a":', b"[" * 50_000, b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    head = f"POST /halt HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii")
    with pytest.raises(BadRequestError, match="the body is no JSON object"):
        RequestParser().receive(head + body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused_or_waited_for(data: bytes) -> None:
    try:
        RequestParser().receive(data)
    except BadRequestError as error:
        assert error.status in (400, 413)  # noqa: PT017 - most inputs are waited for


def test_a_reply_is_whole_http() -> None:
    assert reply_bytes(200, {"a": 1}) == (
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{"a":1}'
    )


async def echo(request: Request) -> tuple[int, dict[str, Any]]:
    return 200, {"method": request.method, "path": request.path, "body": request.body}


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sockets"
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(folder))
    return folder


def with_server(path: Path, act: Any) -> Any:
    """What `act()`, run in a thread, gives while a server answers on `path`."""

    async def run() -> Any:
        listener = await open_listener(path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, echo)
            found = await anyio.to_thread.run_sync(act)
            tasks.cancel_scope.cancel()
        return found

    return anyio.run(run)


def test_ask_and_answer(sockets: Path) -> None:
    prepare_folder()
    path = socket_of("demo-1")

    def act() -> Any:
        mode = path.stat().st_mode & 0o777
        return (
            mode,
            ask(path, "GET", "/status"),
            ask(path, "POST", "/halt", {"reason": "x"}),
            find_daemon(None),
            find_daemon("demo-1"),
        )

    mode, status, halt, only, named = with_server(path, act)
    assert mode == 0o600
    assert status == (200, {"method": "GET", "path": "/status", "body": {}})
    assert halt == (200, {"method": "POST", "path": "/halt", "body": {"reason": "x"}})
    assert (only, named) == (path, path)
    assert not path.exists()


def test_a_client_that_sends_half_a_request_is_told(sockets: Path) -> None:
    prepare_folder()
    path = socket_of("demo-1")

    def act() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /sta")
            client.shutdown(socket.SHUT_WR)
            return client.recv(4096)

    assert b'{"error":"the request ended too early"}' in with_server(path, act)


def test_who_connects_and_says_nothing_is_told_and_holds_nobody_up(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon.control import server

    monkeypatch.setattr(server, "RECEIVE_SECONDS_MAX", 0.2)
    prepare_folder()
    path = socket_of("demo-1")

    def act() -> Any:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(server.CONNECTIONS_MAX)]
        for client in silent:
            client.connect(str(path))
            client.sendall(b"GET /sta")
        answer = ask(path, "GET", "/status")[0]
        told = {client.recv(4096)[:12] for client in silent}
        for client in silent:
            client.close()
        return answer, told

    assert with_server(path, act) == (200, {b"HTTP/1.1 408"})


def test_httpx_can_ask_too(sockets: Path) -> None:
    httpx = pytest.importorskip("httpx")
    prepare_folder()
    path = socket_of("demo-1")

    def act() -> Any:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
            return client.post("/halt", json={"reason": "x"}).json()

    assert with_server(path, act)["body"] == {"reason": "x"}


def test_the_socket_of_a_daemon_that_was_killed_is_cleared(sockets: Path) -> None:
    prepare_folder()
    path = socket_of("dead-1")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(TransportError, match="no daemon is running; looked in"):
        find_daemon(None)
    assert not path.exists()


def test_a_folder_that_others_could_enter_is_refused(sockets: Path) -> None:
    sockets.mkdir(mode=0o755)
    with pytest.raises(StorageError, match="must be a folder of this user with mode 0700"):
        prepare_folder()
    sockets.chmod(0o700)
    assert prepare_folder() == sockets
    link = sockets.with_name("link")
    link.symlink_to(sockets)
    os.environ["TRADINGD_RUNTIME_DIR"] = str(link)
    with pytest.raises(StorageError, match="must be a folder of this user"):
        prepare_folder()


def test_a_path_too_long_for_a_socket_is_refused(sockets: Path) -> None:
    with pytest.raises(StorageError, match="too long for a socket; set TRADINGD_RUNTIME_DIR"):
        socket_of("x" * 120)
