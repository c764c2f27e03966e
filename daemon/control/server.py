"""Serves the control socket: accepts, feeds the parser, asks the daemon, replies, closes. The only file here with sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from core.errors import StorageError
from daemon.control.wire import STREAM_HEAD, BadRequestError, Request, RequestParser, reply_bytes

CONNECTIONS_MAX = 16  # served at once
WAITING_MAX = 64  # that may wait for their turn; more are closed at once
SECONDS_MAX = 5.0  # for one request, from connect to close
RECEIVE_SECONDS_MAX = 2.0  # of these until the request is whole: who connects and says nothing holds up those who wait
STREAMS_MAX = 16
SEND_SECONDS_MAX = 5.0  # for one piece of a stream: who does not read for so long is cut off
RECEIVE_BYTES = 16_384
_PEER = struct.Struct("3i")  # pid, uid, gid


class LineSource(Protocol):
    """The lines of one stream."""

    async def next_lines(self) -> bytes | None:
        """What there is by now, one or more whole lines; None: the stream has ended."""

    def close(self) -> None:
        """Nobody listens any more."""


# (status, content) of the reply, or lines without end.
Reply = tuple[int, dict[str, Any]]
Handler = Callable[[Request], Awaitable[Reply | LineSource]]


class Listener:
    """An open control socket; its file is removed when it closes."""

    def __init__(self, path: Path, listener: SocketListener) -> None:
        self.path = path
        self.listener = listener


async def open_listener(path: Path) -> Listener:
    """Listen on `path`, readable and writable by this user only. Raises StorageError where that cannot be."""
    # The mode is set before anybody can connect: umask, not a chmod afterwards.
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        return Listener(path, await anyio.create_unix_listener(path))
    except OSError as error:
        raise StorageError(f"{path}: the control socket cannot be opened: {error.strerror or error}") from error
    finally:
        os.umask(mask)


async def serve(opened: Listener, handler: Handler) -> None:
    """Answer until cancelled."""
    slots = anyio.CapacityLimiter(CONNECTIONS_MAX)
    streams = anyio.CapacityLimiter(STREAMS_MAX)

    async def one(stream: SocketStream) -> None:
        async with stream:
            if slots.statistics().tasks_waiting >= WAITING_MAX:
                return
            source: LineSource | None = None
            try:
                async with slots:
                    with anyio.move_on_after(SECONDS_MAX):
                        answer = await _answer(stream, handler)
                        if isinstance(answer, bytes):
                            await stream.send(answer)
                        else:
                            source = answer
                if source is not None:
                    await _send_lines(stream, source, streams)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                # Whoever asked has gone; there is nobody left to tell.
                return

    try:
        async with opened.listener:
            await opened.listener.serve(one)
    finally:
        opened.path.unlink(missing_ok=True)


async def _answer(stream: SocketStream, handler: Handler) -> bytes | LineSource:
    uid = _uid_of(stream)
    if uid is not None and uid not in (os.getuid(), 0):
        return reply_bytes(403, {"error": "only the user who runs the daemon, or root, may ask"})
    parser = RequestParser()
    try:
        request = None
        with anyio.move_on_after(RECEIVE_SECONDS_MAX):
            while request is None:
                try:
                    request = parser.receive(await stream.receive(RECEIVE_BYTES))
                except anyio.EndOfStream:
                    raise BadRequestError(400, "the request ended too early") from None
        if request is None:
            raise BadRequestError(408, f"the request was not whole within {RECEIVE_SECONDS_MAX:g} s")
        answer = await handler(request if uid is None else msgspec.structs.replace(request, uid=uid))
    except BadRequestError as error:
        return reply_bytes(error.status, {"error": str(error)})
    return reply_bytes(*answer) if isinstance(answer, tuple) else answer


async def _send_lines(stream: SocketStream, source: LineSource, streams: anyio.CapacityLimiter) -> None:
    """Until it ends, nobody listens any more, or whoever listens does not read."""
    try:
        try:
            streams.acquire_nowait()
        except anyio.WouldBlock:
            await stream.send(reply_bytes(503, {"error": f"there are {STREAMS_MAX} streams already"}))
            return
        try:
            await _send_until_end(stream, source)
        finally:
            streams.release()
    finally:
        source.close()


async def _send_until_end(stream: SocketStream, source: LineSource) -> None:
    async def watch_for_end() -> None:
        """Nothing is expected; the end of it says that the other side has gone."""
        try:
            while True:
                await stream.receive(RECEIVE_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            tasks.cancel_scope.cancel()

    async def send() -> None:
        lines: bytes | None = STREAM_HEAD
        try:
            while lines is not None:
                with anyio.move_on_after(SEND_SECONDS_MAX) as bound:
                    await stream.send(lines)
                if bound.cancelled_caught:
                    break
                lines = await source.next_lines()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_for_end)
        tasks.start_soon(send)


def _uid_of(stream: SocketStream) -> int | None:
    """The user at the other end; None where the system does not say."""
    raw = stream.extra(SocketAttribute.raw_socket)
    if not hasattr(socket, "SO_PEERCRED"):
        return None  # the folder's and the socket's modes are what protects here
    _pid, uid, _gid = _PEER.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
