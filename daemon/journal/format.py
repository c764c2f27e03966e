"""The journal's format: an append-only file of checked frames that hold every event and every command, in order.

    file   = magic, version, frame of the header, frames of records, frame of the end
    frame  = length u32, crc u32, payload            (little-endian)
    header = MessagePack map (JournalHeader)
    records= MessagePack array of tagged arrays (core/events.py, core/commands.py), up to BATCH_RECORDS_MAX in a frame
    end    = MessagePack map (JournalEnd); a journal without it was cut, or its writer died

The crc is CRC-32 of the payload, started from the crc of the frame before: a frame that is changed, left out, repeated or moved
does not fit what follows it. Fields of records are only ever appended, so that an old journal stays readable; a change that
breaks this raises VERSION.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from core.commands import AnyCommand
from core.events import AnyEvent
from core.instruments import Instrument

MAGIC = b"TRADINGD"
VERSION = 1
PREAMBLE = struct.Struct("<8sI")
FRAME = struct.Struct("<II")
FRAME_BYTES_MAX = 1 << 26
BATCH_RECORDS_MAX = 1_024

Record = AnyEvent | AnyCommand


class JournalHeader(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    run_number: int
    mode: str
    config: dict[str, Any]  # the effective configuration
    instruments: list[Instrument]


class JournalEnd(msgspec.Struct, frozen=True, kw_only=True):
    records: int
