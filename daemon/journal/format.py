"""The journal's format, version 2: segments of frames, chained by SHA-256 and sealed by Ed25519 signatures.

    journal  = a folder: 000001.tdj, 000002.tdj, … (the segments, in order) and `lock` (daemon/journal/lock.py)
    segment  = preamble, frame HEADER, frames; all but the last segment end with a frame SEGMENT_END
    preamble = "TRADINGD", version u32                                                       12 bytes
    frame    = head, hash, payload                             (all integers little-endian)
    head     = mark "\\xf5TDF", length of the payload u32, kind u32,
               number u64     of the frame, from 1, through all segments,
               records u64    how many records the journal holds before this frame,
               synced u64     highest frame number that was known to be on the disk when this one was written       36 bytes
    hash     = SHA-256(hash of the frame before, head, payload)                                                      32 bytes

A frame's hash holds everything before it, through all segments: what is changed, left out, repeated or moved does not fit what
follows. The first frame of all continues GENESIS; the header of a later segment repeats the hash it continues (`before`), so that
a segment can be checked without those before it.

    HEADER       MessagePack map (SegmentHeader)
    RECORDS      MessagePack array of tagged arrays (core/events.py, core/commands.py), at most BATCH_RECORDS_MAX
    OPENED       MessagePack map (Opened): a writer has opened the journal again, and what it cut off
    CHECKPOINT   seal: token u64, signature 64 bytes (zeros where the journal is not signed)
    SEGMENT_END  seal; the next segment goes on
    END          seal; the writer closed. Only OPENED may follow

A seal signs its own head, the hash before it, and whose journal this is (`seal_message`): nothing before it, and nothing in it,
can change without the key. What comes after the last seal is chained but not signed.

Fields of records are only ever appended, so that an old journal stays readable; a change that breaks this raises VERSION.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from core.commands import AnyCommand
from core.events import AnyEvent
from core.instruments import Instrument

MAGIC = b"TRADINGD"
VERSION = 2
PREAMBLE = struct.Struct("<8sI")
MARK = b"\xf5TDF"
HEAD = struct.Struct("<4sIIQQQ")
HASH_BYTES = 32
FRAME_OVERHEAD_BYTES = HEAD.size + HASH_BYTES
FRAME_BYTES_MAX = 1 << 26
BATCH_RECORDS_MAX = 1_024
GENESIS = sha256(b"tradingd journal 2").digest()
SEAL = struct.Struct("<Q64s")
UNSIGNED = bytes(64)
HOLE = bytes(32)  # zeros that no frame holds, but for a seal without a signature: a sector that was never written
JOURNAL_FOLDER = "journal"  # its name inside a run folder
SEGMENT_SUFFIX = ".tdj"
SEGMENTS_MAX = 999_999

Record = AnyEvent | AnyCommand
# What msgspec raises on bytes that are no records: its own errors, and Python's for text that is no UTF-8 and for deep nesting.
DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class Kind(IntEnum):
    HEADER = 1
    RECORDS = 2
    OPENED = 3
    CHECKPOINT = 4
    SEGMENT_END = 5
    END = 6


SEALS = frozenset((Kind.CHECKPOINT, Kind.SEGMENT_END, Kind.END))


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay needs to know: enough to build the same Trader again."""

    run_id: str
    run_number: int
    mode: str
    config: dict[str, Any]  # the effective configuration
    instruments: list[Instrument]
    order_run_number: int = 1  # what the order ids of this run begin with
    tradingd: str = ""  # version of the program that wrote it


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    journal_id: str  # random: two journals of the same run id are still two
    segment: int
    token: int  # the writer's fencing token
    before: bytes  # hash that this segment continues
    is_synced: bool  # whether its writer ever waits for the disk
    public_key: str  # Ed25519, 64 hexadecimal digits; empty where the journal is not signed
    journal: JournalHeader


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A writer continued here. What its predecessor had not finished writing was cut off."""

    token: int
    tradingd: str
    cut_file: str = ""
    cut_offset: int = 0
    cut_bytes: int = 0
    cut_sha256: str = ""  # of the bytes that were cut off


class Frame(NamedTuple):
    """One frame as it lies in a segment's bytes; not yet checked against its hash."""

    offset: int
    kind: Kind
    number: int
    records: int
    synced: int
    head: bytes
    hash: bytes
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + FRAME_OVERHEAD_BYTES + len(self.payload)

    @property
    def whole(self) -> bytes:
        return self.head + self.hash + self.payload


_KINDS = {int(kind): kind for kind in Kind}


def frame_hash(before: bytes, head: bytes, payload: bytes) -> bytes:
    digest = sha256(before)
    digest.update(head)
    digest.update(payload)
    return digest.digest()


def parse_frame(data: bytes, offset: int) -> Frame | str:
    """The frame at `offset`, or the reason why there is none. Its hash is not checked here."""
    if offset + FRAME_OVERHEAD_BYTES > len(data):
        return "the file ends inside a frame's head"
    head = data[offset : offset + HEAD.size]
    mark, length, kind_number, number, records, synced = HEAD.unpack(head)
    kind = _KINDS.get(kind_number)
    if mark != MARK or kind is None:
        return "no frame begins here"
    if length > FRAME_BYTES_MAX:
        return f"a frame claims {length} bytes"
    start = offset + FRAME_OVERHEAD_BYTES
    payload = data[start : start + length]
    if len(payload) < length:
        return f"the file ends {length - len(payload)} bytes before the frame does"
    return Frame(offset, kind, number, records, synced, head, data[offset + HEAD.size : start], payload)


def find_frame(data: bytes, offset: int, number_min: int = 1) -> Frame | None:
    """The next thing at or after `offset` that looks like a whole frame of a number that can be."""
    while (offset := data.find(MARK, offset)) >= 0:
        frame = parse_frame(data, offset)
        if isinstance(frame, Frame) and number_min <= frame.number < number_min + (1 << 40):
            return frame
        offset += 1
    return None


def is_unfinished(data: bytes, offset: int, number: int, *, is_synced: bool) -> bool:
    """Whether a crash can explain that no good frame `number` is at `offset` of a journal's last segment.

    Frames after it may be whole: what was not yet synced reaches the disk in any order. But a later frame that was written when
    this one was known to be on the disk proves that it was changed since. A journal that is never synced may only lack its last
    frame: there, nothing could tell a lost frame from a removed one.
    """
    later = find_frame(data, max(offset, PREAMBLE.size) + 1, number)
    if later is None:
        return _is_torn(data, offset)
    while later is not None:
        if not is_synced or later.synced >= number:
            return False
        later = find_frame(data, later.end, number)
    return True


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether the rest of the file looks like a write that a crash stopped: too short, or zeros where a sector did not arrive."""
    if data[offset : offset + 1] == b"\0" or data.endswith(b"\0") or data.find(HOLE, offset) >= 0:
        return True
    if offset < PREAMBLE.size:
        preamble = PREAMBLE.pack(MAGIC, VERSION)
        if data[offset : PREAMBLE.size] != preamble[offset : len(data)]:
            return False
        offset = min(PREAMBLE.size, len(data))
    head = data[offset : offset + HEAD.size]
    if not MARK.startswith(head[: len(MARK)]):
        return False
    return len(data) < offset + FRAME_OVERHEAD_BYTES or len(data) < offset + FRAME_OVERHEAD_BYTES + HEAD.unpack(head)[1]


def count_of(payload: bytes) -> int | None:
    """How many records a RECORDS payload holds, by its MessagePack array's own head; None where it is no array."""
    first = payload[0] if payload else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first == 0xDC and len(payload) >= 3:
        return int.from_bytes(payload[1:3], "big")
    if first == 0xDD and len(payload) >= 5:
        return int.from_bytes(payload[1:5], "big")
    return None


def seal_message(*, journal_id: str, run_id: str, segment: int, token: int, before: bytes, head: bytes) -> bytes:
    """What the signature of a seal signs: every byte of the seal's frame but the signature, the chain, and whose it is."""
    names = msgspec.msgpack.encode(("tradingd journal seal", VERSION, journal_id, run_id, segment, token))
    return names + before + head


def segment_name(segment: int) -> str:
    return f"{segment:06d}{SEGMENT_SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number in a segment's file name; None for any other file."""
    stem, dot, suffix = name.partition(".")
    is_segment = dot + suffix == SEGMENT_SUFFIX and len(stem) == 6 and stem.isascii() and stem.isdigit()
    return int(stem) if is_segment else None
