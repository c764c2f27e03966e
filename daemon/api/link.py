"""Speaks to the daemon over its control socket: a connection for each request, and the one stream that feeds every WebSocket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import SocketStream

from core.errors import TransportError, UnknownOutcomeError
from daemon.control.socket_path import sockets_present

ASKED_AT_ONCE_MAX = 8  # half of what the daemon serves at once: the command line finds room too
ANSWER_SECONDS_MAX = 5.0
CONNECT_SECONDS_MAX = 1.0
REPLY_BYTES_MAX = 1 << 22
LINE_BYTES_MAX = 1 << 16
STREAM_SILENCE_S_MAX = 5.0  # the daemon sends a line every second
CHUNK_BYTES = 65_536

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
Reply = tuple[int, dict[str, Any]]


class Unreachable(TransportError):
    """Nothing was sent: the daemon is not there, or takes no connection."""


class Unanswered(UnknownOutcomeError):
    """It was sent, and no answer came: nobody can say whether it was done."""


class Link:
    """To one daemon, or to whichever run of an account is up."""

    def __init__(self, name: str, socket: str) -> None:
        self._name = name
        self._socket = socket
        self._slots = anyio.CapacityLimiter(ASKED_AT_ONCE_MAX)
        self._found: Path | None = None

    async def ask(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, seconds_max: float = ANSWER_SECONDS_MAX
    ) -> Reply:
        """(status, content). Raises Unreachable or Unanswered."""
        sent = False
        with anyio.move_on_after(seconds_max):
            async with self._slots, self._connected() as stream:
                try:
                    sent = True
                    await stream.send(_request(method, target, body))
                    return _reply(await _read_to_end(stream))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError) as error:
                    raise Unanswered("the daemon broke the connection off") from error
        if sent:
            raise Unanswered(f"the daemon did not answer within {seconds_max:g} s")
        raise Unreachable("the daemon takes no connection now")

    async def lines(self, target: str) -> AsyncIterator[dict[str, Any]]:
        """The lines of a stream until it ends. Raises Unreachable, or Unanswered where it falls silent or breaks."""
        async with self._connected() as stream:
            try:
                await stream.send(_request("GET", target, None))
                buffer = bytearray()
                is_open = False
                while True:
                    with anyio.fail_after(STREAM_SILENCE_S_MAX):
                        buffer += await stream.receive(CHUNK_BYTES)
                    if not is_open:
                        end = buffer.find(b"\r\n\r\n")
                        if end < 0:
                            continue
                        match = _STATUS.match(buffer)
                        if match is None or match[1] != b"200":
                            raise Unreachable("the daemon opens no stream now")
                        is_open = True
                        del buffer[: end + 4]
                    *whole, rest = bytes(buffer).split(b"\n")
                    buffer = bytearray(rest)
                    if len(buffer) > LINE_BYTES_MAX:
                        raise Unanswered("the stream sends a line without end")
                    for line in whole:
                        yield msgspec.json.decode(line, type=dict[str, Any])
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError) as error:
                raise Unanswered("the stream has ended") from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SocketStream]:
        stream = None
        with anyio.move_on_after(CONNECT_SECONDS_MAX):
            stream = await self._connect()
        if stream is None:
            raise Unreachable("the daemon is not running")
        async with stream:
            yield stream

    async def _connect(self) -> SocketStream | None:
        for path in self._candidates():
            try:
                stream = await anyio.connect_unix(path)
            except OSError:
                continue
            self._found = path
            return stream
        self._found = None
        return None

    def _candidates(self) -> list[Path]:
        if self._socket:
            return [Path(self._socket)]
        if self._found is not None and self._found.exists():
            return [self._found]
        run = re.compile(re.escape(self._name) + r"-\d+\.sock")
        return [path for path in sockets_present() if run.fullmatch(path.name)]


def _request(method: str, target: str, body: dict[str, Any] | None) -> bytes:
    content = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode("ascii") + content


async def _read_to_end(stream: SocketStream) -> bytes:
    """Raises ValueError for an answer that is longer than any."""
    data = bytearray()
    try:
        while len(data) <= REPLY_BYTES_MAX:
            data += await stream.receive(CHUNK_BYTES)
    except anyio.EndOfStream:
        return bytes(data)
    raise ValueError("the answer is too long")


def _reply(data: bytes) -> Reply:
    """Raises ValueError for what is no whole answer."""
    match = _STATUS.match(data)
    _, blank, body = data.partition(b"\r\n\r\n")
    if match is None or not blank:
        raise ValueError("this is no answer")
    return int(match[1]), msgspec.json.decode(body, type=dict[str, Any])
