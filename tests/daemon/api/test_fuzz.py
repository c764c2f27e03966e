"""Bytes without sense at every door: HTTP, WebSockets, the control socket. No 5xx, no effect on the Trader, and it goes on."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.events import Book, Heartbeat, Quote, Trade, VenueCompared
from daemon.control.socket_path import socket_of
from daemon.journal.tail import TailReader
from tests.daemon.api.live import TOKENS, LiveApi, live_api

EXAMPLES_MAX = 150
SECONDS_MAX = 30.0
ORDER = b'{"client_id":"alice","client_ref":"x","instrument_id":"ACME.SIM","side":"BUY","quantity":"1","price":"99.00"}'
# What the market and the daemon's own clock bring by themselves.
BY_ITSELF = (Quote, Book, Trade, Heartbeat, VenueCompared)

bounded = settings(
    max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    folder = tmp_path_factory.mktemp("fuzz")
    with live_api(folder) as made:
        digest, records = made.digest(), made.inside(lambda: made.session.journal.records_written)
        yield made
        assert made.digest() == digest
        made.inside(made.session.journal.flush)
        journal = made.session.journal.path
        came = list(TailReader(journal))[records:]
        # The journal says it too: nothing but the market and heartbeats came in between.
        assert {type(record) for record in came} <= set(BY_ITSELF), {type(record) for record in came}
        assert made.session.failure is None


@pytest.fixture(autouse=True)
def _it_still_answers(live: LiveApi) -> Iterator[None]:
    yield
    with live.client("watch") as client:
        assert client.get("/status").json()["phase"] == "running"


def status_of(answer: bytes) -> int | None:
    match = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return None if match is None else int(match[1])


def tell(connection: socket.socket, data: bytes) -> bytes:
    """What comes back until the other side ends it, or has said all there is to an unfinished request."""
    connection.settimeout(SECONDS_MAX)
    answer = b""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while more := connection.recv(65_536):
            answer += more
    return answer


def mutated(base: bytes) -> st.SearchStrategy[bytes]:
    """`base` with some of its bytes changed, left out, or others put in."""
    edits = st.lists(st.tuples(st.integers(0, len(base)), st.integers(0, 5), st.binary(max_size=8)), min_size=1, max_size=6)

    def apply(found: list[tuple[int, int, bytes]]) -> bytes:
        data = base
        for place, left_out, put_in in found:
            data = data[:place] + put_in + data[place + left_out :]
        return data

    return edits.map(apply)


# The control socket.


def control(live: LiveApi) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(socket_of(live.daemon.run_id)))
    return connection


WHOLE = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + str(len(ORDER)).encode() + b"\r\n\r\n" + ORDER


@bounded
@given(st.binary(max_size=400) | mutated(WHOLE))
def test_the_control_socket_takes_any_bytes(live: LiveApi, data: bytes) -> None:
    if re.match(rb"(GET|POST) /(stream|stop|halt|reduce|resume|flatten|order)", data):
        return
    with control(live) as connection:
        assert status_of(tell(connection, data)) in (None, 200, 400, 403, 404, 405, 409, 413)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["client_id", "client_ref", "instrument_id", "side", "quantity", "price", "reason", "strategy_id", "to"])


@bounded
@given(
    st.sampled_from(["/order", "/cancel/1-1", "/replace/1-1", "/cancel/%00", "/resume", "/fills/alice", "/book/%F0%9F%92%A9"]),
    st.dictionaries(fields | st.text(max_size=8), json_values, max_size=8),
)
def test_the_control_socket_takes_any_json(live: LiveApi, path: str, body: dict[str, Any]) -> None:
    if path == "/resume":
        body = {**body, "strategy_id": ["nobody"]}
    content = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(content)}\r\n\r\n".encode("ascii")
    with control(live) as connection:
        assert status_of(tell(connection, head + content)) in (400, 403, 404, 405, 409)


def test_more_connections_than_can_be_served_do_not_hold_the_loop_up(live: LiveApi) -> None:
    silent = [control(live) for _ in range(120)]
    lag_before = live.inside(lambda: live.session.lag_ns)
    digest = live.digest()
    for connection in silent:
        connection.close()
    with control(live) as connection:
        assert status_of(tell(connection, b"GET /status HTTP/1.1\r\n\r\n")) == 200
    assert live.digest() == digest
    assert lag_before >= 0


# HTTP.


def request(method: str, path: str, body: bytes, token: str, port: int) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


@bounded
@given(st.data())
def test_http_takes_any_bytes(live: LiveApi, data: st.DataObject) -> None:
    base = request("POST", "/order", b'{"client_ref":"fuzz"}', TOKENS["watch"], live.port)
    sent = data.draw(st.binary(max_size=300) | mutated(base))
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        assert (status_of(tell(connection, sent)) or 400) < 500


@bounded
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    st.binary(max_size=60) | json_values.map(msgspec.json.encode),
)
def test_any_path_and_body_of_a_trader_is_answered_in_order(live: LiveApi, method: str, path: str, body: bytes) -> None:
    sent = request(method, f"/{path.lstrip('/')}", body, TOKENS["alice"], live.port)
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        answer = tell(connection, sent)
    assert (status_of(answer) or 400) < 500, answer
    assert b"Traceback" not in answer


# WebSockets.


def upgraded(live: LiveApi, path: str, name: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", live.port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nAuthorization: Bearer {TOKENS[name]}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert connection.recv(4_096).startswith(b"HTTP/1.1 101")
    return connection


def frame(first: int, payload: bytes, *, is_masked: bool) -> bytes:
    length = len(payload)
    head = struct.pack("!BB", first, (128 if is_masked else 0) | (length if length < 126 else 126))
    head += struct.pack("!H", length) if length >= 126 else b""
    return head + (b"\0\0\0\0" if is_masked else b"") + payload


frames = st.builds(frame, st.integers(0, 255), st.binary(max_size=300), is_masked=st.booleans())


@bounded
@given(
    st.sampled_from(["/ws/fills/alice", "/ws/md"]),
    st.lists(frames | st.binary(max_size=40), min_size=1, max_size=4).map(b"".join),
)
def test_a_websocket_takes_any_frames(live: LiveApi, path: str, data: bytes) -> None:
    with upgraded(live, path, "alice") as connection:
        connection.settimeout(SECONDS_MAX)
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
