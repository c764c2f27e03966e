"""Serves the control socket: accepts, feeds the parser, asks the daemon, replies, closes. The only file here with sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from core.errors import StorageError
from daemon.control.wire import BadRequestError, Request, RequestParser, reply_bytes

CONNECTIONS_MAX = 16
SECONDS_MAX = 5.0  # for one request, from connect to close
_PEER = struct.Struct("3i")  # pid, uid, gid

# (status, content) of the reply.
Handler = Callable[[Request], Awaitable[tuple[int, dict[str, Any]]]]


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

    async def one(stream: SocketStream) -> None:
        async with stream, slots:
            with anyio.move_on_after(SECONDS_MAX):
                try:
                    await stream.send(await _reply(stream, handler))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    # Whoever asked has gone; there is nobody left to tell.
                    return

    try:
        async with opened.listener:
            await opened.listener.serve(one)
    finally:
        opened.path.unlink(missing_ok=True)


async def _reply(stream: SocketStream, handler: Handler) -> bytes:
    uid = _uid_of(stream)
    if uid is not None and uid not in (os.getuid(), 0):
        return reply_bytes(403, {"error": "only the user who runs the daemon, or root, may ask"})
    parser = RequestParser()
    try:
        request = None
        while request is None:
            try:
                request = parser.receive(await stream.receive())
            except anyio.EndOfStream:
                raise BadRequestError(400, "the request ended too early") from None
        status, content = await handler(request if uid is None else msgspec.structs.replace(request, uid=uid))
    except BadRequestError as error:
        return reply_bytes(error.status, {"error": str(error)})
    return reply_bytes(status, content)


def _uid_of(stream: SocketStream) -> int | None:
    """The user at the other end; None where the system does not say."""
    raw = stream.extra(SocketAttribute.raw_socket)
    if not hasattr(socket, "SO_PEERCRED"):
        return None  # the folder's and the socket's modes are what protects here
    _pid, uid, _gid = _PEER.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
