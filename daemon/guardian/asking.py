"""One request over a control socket without blocking anybody; what daemon/control/client.py does for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec

from core.errors import TransportError

REPLY_BYTES_MAX = 1 << 22
READ_BYTES = 1 << 16


async def ask(
    path: Path, method: str, target: str, body: dict[str, Any] | None = None, *, timeout_s: float
) -> tuple[int, dict[str, Any]]:
    """(status, content) of the reply. Raises TransportError where nobody answers in time."""
    payload = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(payload)}\r\n\r\n"
    received = bytearray()
    with anyio.move_on_after(timeout_s):
        try:
            async with await anyio.connect_unix(str(path)) as stream:
                await stream.send(head.encode("ascii") + payload)
                while len(received) <= REPLY_BYTES_MAX:
                    try:
                        received += await stream.receive(READ_BYTES)
                    except anyio.EndOfStream:
                        return _parsed(path, bytes(received))
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise TransportError(f"{path}: nobody answers: {error}") from error
        raise TransportError(f"{path}: answers with more than {REPLY_BYTES_MAX} bytes")
    raise TransportError(f"{path}: no answer for {timeout_s:g} s")


def _parsed(path: Path, reply: bytes) -> tuple[int, dict[str, Any]]:
    head, _, content = reply.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    try:
        return int(parts[1]), msgspec.json.decode(content, type=dict[str, Any])
    except (ValueError, IndexError) as error:
        raise TransportError(f"{path}: answers with something that is no reply: {error}") from error
