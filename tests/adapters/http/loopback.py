"""A server on loopback that misbehaves as it is told, and counts the bytes of each request that really reached it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

WAIT_S = 30.0  # for what must happen; the machine may be loaded


class Conversation:
    """One accepted connection."""

    def __init__(self, server: Loopback, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next whole request: head and as much body as it says. b"" where the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as gone:
            self.server.received += len(gone.partial)
            return b""
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self.reader.readexactly(length)
        self.server.received += len(head) + length
        self.server.requests.append(head + body)
        return head + body

    async def read_only(self, count: int) -> bytes:
        """`count` bytes of the request and no more."""
        data = b""
        while len(data) < count:
            part = await self.reader.read(count - len(data))
            if not part:
                break
            data += part
        self.server.received += len(data)
        return data

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """RST instead of FIN: what is in the buffers is lost."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Conversation], Awaitable[None]]


class Loopback:
    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.received = 0  # bytes of requests
        self.requests: list[bytes] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Loopback]:
    """A server that runs `script` for each connection and closes it then."""
    loopback = Loopback()
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loopback.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Conversation(loopback, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)
            writer.close()

    # Small buffers: what a slow reader does not take stays with the client.
    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=1 << 22)
    loopback.port = server.sockets[0].getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def http_answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def always(answer: bytes) -> Script:
    """The same answer to each request of a connection."""

    async def script(conversation: Conversation) -> None:
        while await conversation.request():
            await conversation.send(answer)

    return script
