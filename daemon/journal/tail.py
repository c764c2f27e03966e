"""Reads the records of a journal from a known frame on, without those before it: what a restart needs behind a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.errors import DataError
from daemon.journal.format import (
    GENESIS,
    MAGIC,
    PREAMBLE,
    VERSION,
    Frame,
    Kind,
    Record,
    SegmentHeader,
    frame_hash,
    is_unfinished,
    parse_frame,
    segment_name,
)
from daemon.journal.reader import JournalDamage, segments_of


class Place(NamedTuple):
    """The end of a frame. `records` counts the journal's records up to there."""

    segment: int
    frame: int
    hash: bytes
    records: int


BEGINNING = Place(1, 0, GENESIS, 0)


class TailReader:
    """Iterate for the records behind `place`, in order. An end that a crash left unfinished ends the iteration.

    Raises JournalDamage where anything else is wrong, and where the journal has no such frame.
    """

    def __init__(self, folder: Path, place: Place = BEGINNING) -> None:
        self._folder = folder
        self._place = place
        self._last_segment = max(segments_of(folder), default=0)
        self._decoder = msgspec.msgpack.Decoder(list[Record])
        self._file = folder
        self.records = place.records
        self.unfinished_bytes = 0
        self._is_synced = False

    def __iter__(self) -> Iterator[Record]:
        place = self._place
        number, chain, is_found = place.frame, place.hash, place is BEGINNING
        kind_last = Kind.SEGMENT_END
        for segment in range(place.segment, self._last_segment + 1):
            if kind_last is not Kind.SEGMENT_END:
                raise self._damage("the end of the segment is missing", 0)
            for frame, before in self._frames(segment, number + 1):
                kind_last = frame.kind
                if not is_found:
                    if frame.number > place.frame or (frame.number == place.frame and frame.hash != place.hash):
                        raise self._damage(f"frame {place.frame} is not the one that was looked for", frame.offset)
                    is_found = frame.number == place.frame
                    continue
                if before != chain or frame.number != number + 1:
                    raise self._damage("the frame does not continue those before it", frame.offset)
                number, chain = frame.number, frame.hash
                if frame.kind is Kind.RECORDS:
                    yield from self._decode(frame)
        if not is_found:
            raise self._damage(f"frame {place.frame} is missing", 0)

    def _frames(self, segment: int, number: int) -> Iterator[tuple[Frame, bytes]]:
        """The good frames of one segment, each with the hash that it continues."""
        self._file = self._folder / segment_name(segment)
        try:
            data = self._file.read_bytes()
        except OSError as error:
            raise DataError(f"the journal cannot be read: {error.strerror or error}", file=str(self._file)) from error
        is_last = segment == self._last_segment
        if data[: PREAMBLE.size] != PREAMBLE.pack(MAGIC, VERSION):
            # The first sector may be what has not arrived.
            if not (is_last and is_unfinished(data, 0, number, is_synced=False)):
                raise self._damage("this is no journal of this version of tradingd", 0)
            self.unfinished_bytes = len(data)
            return
        offset, chain = PREAMBLE.size, b""
        while offset < len(data):
            frame = parse_frame(data, offset)
            problem = frame if isinstance(frame, str) else ""
            if isinstance(frame, Frame):
                if not chain:
                    chain = self._before(frame)
                if frame.hash != frame_hash(chain, frame.head, frame.payload):
                    problem = "the frame does not fit what comes before it"
            if problem:
                at = 0 if offset == PREAMBLE.size else offset
                if is_last and is_unfinished(data, at, number, is_synced=self._is_synced and at > 0):
                    self.unfinished_bytes = len(data) - at
                    return
                raise self._damage(problem, offset)
            assert isinstance(frame, Frame)
            yield frame, chain
            chain, offset, number = frame.hash, frame.end, frame.number + 1

    def _before(self, frame: Frame) -> bytes:
        """The hash that a segment's first frame, its header, says it continues."""
        try:
            header = msgspec.msgpack.decode(frame.payload, type=SegmentHeader)
        except msgspec.MsgspecError:
            return b"\0"  # fits nothing: the caller judges whether it is damage or unfinished
        self._is_synced = header.is_synced
        return header.before

    def _decode(self, frame: Frame) -> list[Record]:
        try:
            records = self._decoder.decode(frame.payload)
        except msgspec.MsgspecError as error:
            raise self._damage(f"the frame holds something that is no record: {error}", frame.offset) from error
        self.records = frame.records + len(records)
        return records

    def _damage(self, message: str, offset: int) -> JournalDamage:
        return JournalDamage(self._file, message, offset=offset, records=self.records)
