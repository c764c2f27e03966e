"""How recorded frames lie in their files: segments of records, each with its own checksum. Bytes in, frames out.

recording = a folder: 000001.tdf, 000002.tdf, … (segments, in order; each can be read alone)
segment   = preamble "TDFRAMES", version u32                                            12 bytes
            records
record    = length of the payload u32, ts i64 (ns UTC), connection u16, kind u8         15 bytes, little-endian
            CRC-32 of those and the payload u32
            payload

NAMED     payload: the connection's name; in each segment before anything else of that connection
OPENED    a connection begins; payload: its address
RECEIVED  bytes as they came off the wire; a message may begin in one record and end in the next
SENT      bytes as they were given to the wire, but a login without its secret
CLOSED    it has ended
LOST      payload u64: so many records were left out here, because the disk was too slow
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from core.errors import DataError

MAGIC = b"TDFRAMES"
VERSION = 1
PREAMBLE = struct.Struct("<8sI")
HEAD = struct.Struct("<IqHB")
CHECK = struct.Struct("<I")
COUNT = struct.Struct("<Q")
PAYLOAD_BYTES_MAX = 1 << 26
CONNECTIONS_MAX = 1 << 16
SUFFIX = ".tdf"
FOLDER = "frames"  # its name inside a run folder


class Kind(IntEnum):
    NAMED = 1
    OPENED = 2
    RECEIVED = 3
    SENT = 4
    CLOSED = 5
    LOST = 6


_KINDS = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    ts: int  # ns UTC
    connection: str
    kind: Kind
    payload: bytes


def preamble() -> bytes:
    return PREAMBLE.pack(MAGIC, VERSION)


def pack(ts: int, connection: int, kind: Kind, payload: bytes) -> bytes:
    """One record."""
    head = HEAD.pack(len(payload), ts, connection, kind)
    return b"".join((head, CHECK.pack(zlib.crc32(payload, zlib.crc32(head))), payload))


def unpack(data: bytes, file: str, *, is_last: bool) -> Iterator[Frame]:
    """The frames of one segment. `is_last`: its end may be unfinished, as a crash leaves it. Raises DataError."""
    if len(data) < PREAMBLE.size and is_last:
        return
    if data[: PREAMBLE.size] != preamble():
        raise DataError("this is no segment of recorded frames, or of another version", file=file)
    names: dict[int, str] = {}
    offset = PREAMBLE.size
    while offset < len(data):
        start = offset + HEAD.size + CHECK.size
        if start > len(data):
            break
        length, ts, connection, kind_number = HEAD.unpack_from(data, offset)
        end = start + length
        if length > PAYLOAD_BYTES_MAX or (end > len(data) and not is_last):
            raise DataError(f"byte {offset}: a record that claims {length} bytes", file=file)
        if end > len(data):
            break
        payload = data[start:end]
        (check,) = CHECK.unpack_from(data, offset + HEAD.size)
        kind = _KINDS.get(kind_number)
        if kind is None or check != zlib.crc32(payload, zlib.crc32(data[offset : offset + HEAD.size])):
            raise DataError(f"byte {offset}: a record that is not what was written", file=file)
        offset = end
        if kind is Kind.NAMED:
            names[connection] = payload.decode("utf-8", "replace")
            continue
        if connection not in names:
            raise DataError(f"byte {offset}: a record of a connection without a name", file=file)
        yield Frame(ts, names[connection], kind, payload)
    if offset < len(data) and not is_last:
        raise DataError("the segment is cut short, and another one follows", file=file)
