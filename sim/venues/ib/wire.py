"""The gateway's side of the socket protocol: frames of zero-terminated fields. Pure.

A connection begins with "API", a zero, and a frame that says which versions the client speaks; everything else is frames of
u32 (big-endian) length and fields of text, the first one a message's number.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

LENGTH = struct.Struct(">I")
GREETING = b"API\0"
REQUEST_BYTES_MAX = 1 << 16
FIELDS_MAX = 1_000
VERSION_MIN, VERSION_MAX = 164, 178
UNSET = "1.7976931348623157E308"
_VERSIONS = re.compile(rb"v(\d{1,4})(?:\.\.(\d{1,4}))?(?: .*)?\Z")


class BrokenError(Exception):
    """The client says what is no message; a gateway ends the connection."""


class Inbound:
    """One client's bytes: first the versions that it speaks, then requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_greeted = False

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Whole payloads, the first one is the greeting's. Raises BrokenError."""
        self._buffer += data
        if not self._is_greeted:
            if not self._buffer.startswith(GREETING[: len(self._buffer)]):
                raise BrokenError("this is no client")
            if len(self._buffer) < len(GREETING):
                return
            self._is_greeted = True
            del self._buffer[: len(GREETING)]
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if not 0 < length <= REQUEST_BYTES_MAX:
                raise BrokenError(f"a request of {length} bytes")
            if len(self._buffer) < LENGTH.size + length:
                return
            payload = bytes(self._buffer[LENGTH.size : LENGTH.size + length])
            del self._buffer[: LENGTH.size + length]
            yield payload


def versions_of(payload: bytes) -> tuple[int, int]:
    """The lowest and the highest version that the client speaks. Raises BrokenError."""
    match = _VERSIONS.match(payload)
    if match is None:
        raise BrokenError("a greeting without versions")
    return int(match[1]), int(match[2] or match[1])


def fields_of(payload: bytes) -> list[str]:
    """Raises BrokenError."""
    if not payload.endswith(b"\0") or payload.count(0) > FIELDS_MAX:
        raise BrokenError("a request without an end")
    try:
        return payload[:-1].decode("ascii").split("\0")
    except UnicodeDecodeError:
        raise BrokenError("a request that is no ASCII") from None


def frame(*fields: object) -> bytes:
    payload = b"".join(f"{int(field) if isinstance(field, bool) else field}\0".encode() for field in fields)
    return LENGTH.pack(len(payload)) + payload


class Reader:
    """Takes a request's fields one by one."""

    def __init__(self, fields: list[str]) -> None:
        self._fields = fields
        self._at = 0

    def text(self) -> str:
        if self._at >= len(self._fields):
            raise BrokenError("a request with too few fields")
        self._at += 1
        return self._fields[self._at - 1]

    def texts(self, count: int) -> list[str]:
        return [self.text() for _ in range(count)]

    def number(self) -> int:
        """An empty one is 0."""
        text = self.text()
        if not text:
            return 0
        if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) is None:
            raise BrokenError(f"{text[:40]!r} is no whole number")
        return int(text)

    def flag(self) -> bool:
        return self.number() != 0

    @property
    def left(self) -> int:
        return len(self._fields) - self._at
