"""The other side of a WebSocket in plain bytes, written from RFC 6455 by hand: no library, so that nothing is misread alike."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Awaitable, Callable

from tests.adapters.http.loopback import Conversation, Script

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = False, reserved: int = 0) -> bytes:
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    mask = b"\x11\x22\x33\x44"
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def closing(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason.encode())


def handshake_answer(request: bytes, *headers: str) -> bytes:
    (key,) = [
        line.partition(b":")[2].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    ]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n"


async def read_frame(conversation: Conversation) -> tuple[int, bytes]:
    """The next frame of the client, which must be masked: (opcode, payload)."""
    first, second = await conversation.reader.readexactly(2)
    assert second & 0x80, "a client's frame without a mask"
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await conversation.reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await conversation.reader.readexactly(8))
    mask = await conversation.reader.readexactly(4)
    payload = await conversation.reader.readexactly(length)
    whole = (mask * (length // 4 + 1))[:length]
    plain = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big") if length else b""
    assert first & 0x80
    return first & 0x0F, plain


def websocket(script: Callable[[Conversation], Awaitable[None]], *headers: str) -> Script:
    """A server that shakes hands and then runs `script`."""

    async def run(conversation: Conversation) -> None:
        request = await conversation.request()
        if request:
            await conversation.send(handshake_answer(request, *headers))
            await script(conversation)

    return run
