"""Digests: one number that two runs share exactly when they made the same commands, or ended in the same state.

BLAKE2b-128 over the records' own encoding (MessagePack arrays), so that a digest is the same in another process and on another
machine.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

FLUSH_BYTES = 1 << 16


class StreamDigest:
    """Digest of a growing stream of records; buffered, so that adding one costs its encoding."""

    __slots__ = ("_buffer", "_encoder", "_hash", "count")

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self.count = 0

    def add(self, record: Any) -> None:
        buffer = self._buffer
        self._encoder.encode_into(record, buffer, -1)
        self.count += 1
        if len(buffer) > FLUSH_BYTES:
            self._hash.update(buffer)
            buffer.clear()

    def hexdigest(self) -> str:
        """Digest of everything added so far; more may follow."""
        copy = self._hash.copy()
        copy.update(self._buffer)
        return copy.hexdigest()


def digest_of(records: list[Any]) -> str:
    """Digest of a list of records or plain tuples, in the order given."""
    digest = StreamDigest()
    for record in records:
        digest.add(record)
    return digest.hexdigest()
