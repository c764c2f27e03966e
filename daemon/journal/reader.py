"""Reads a journal back, and says at which byte of which file it was cut or changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import DataError
from daemon.journal.format import (
    DECODE_ERRORS,
    GENESIS,
    JOURNAL_FOLDER,
    MAGIC,
    PREAMBLE,
    SEAL,
    SEALS,
    VERSION,
    Frame,
    JournalHeader,
    Kind,
    Record,
    SegmentHeader,
    frame_hash,
    is_unfinished,
    parse_frame,
    segment_name,
    segment_number,
)


class JournalDamage(DataError):
    """The journal ends in the middle of a frame, or a frame is not what was written."""

    def __init__(self, path: Path, message: str, *, offset: int, records: int) -> None:
        self.offset = offset
        self.records = records
        super().__init__(f"byte {offset}, after {records} good records: {message}", file=str(path))


def find_journal(path: Path) -> Path:
    """The journal's folder, for a run folder or the journal itself. Raises DataError where there is none."""
    for folder in (path, path / JOURNAL_FOLDER):
        if folder.is_dir() and any(segment_number(entry.name) is not None for entry in folder.iterdir()):
            return folder
    if path.is_file():
        raise DataError("a journal is a folder; name the run folder or the journal's own", file=str(path))
    raise DataError("there is no journal here", file=str(path))


def segments_of(folder: Path) -> list[int]:
    """The numbers of the segments that are there, in order."""
    return sorted(number for entry in folder.iterdir() if (number := segment_number(entry.name)) is not None)


class JournalReader:
    """Iterate for the records in order; `header` is read at once. A damaged journal yields all that comes before the damage.

    `must_end` False: what a writer that died left is taken as it is, an unfinished last frame included; `unfinished_bytes` then
    says how many bytes at the end are no record.
    """

    def __init__(self, path: Path, *, must_end: bool = True) -> None:
        self._folder = find_journal(path)
        self._must_end = must_end
        self._segments = segments_of(self._folder)
        self._records = 0
        self._number = 0
        self._hash = GENESIS
        self._kind_last = Kind.HEADER
        self._decoder = msgspec.msgpack.Decoder(list[Record])
        self._file = self._folder
        self._is_synced = False
        self.unfinished_bytes = 0
        self.is_ended = False
        # Where a writer continued with another configuration: records before it, and the header from there on.
        self.headers: list[tuple[int, JournalHeader]] = []
        self._data, self._offset, found = self._open_segment(0)
        self.header: JournalHeader = found

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._data = b""

    def __iter__(self) -> Iterator[Record]:
        for index in range(len(self._segments)):
            if index:
                if self._kind_last is not Kind.SEGMENT_END:
                    raise self._damage("the end of the segment is missing", self._offset)
                opened = self._open_later_segment(index)
                if not opened:
                    break
            is_last = index == len(self._segments) - 1
            for frame in self._frames(is_last):
                if frame.kind is Kind.RECORDS:
                    batch = self._decode(frame)
                    yield from batch
                    self._records += len(batch)
        self.is_ended = self._kind_last is Kind.END and not self.unfinished_bytes
        if self._must_end and not self.is_ended:
            raise self._damage("the end is missing: the journal was cut, or its writer died", self._offset)

    def _frames(self, is_last: bool) -> Iterator[Frame]:
        """The frames of the open segment behind its header, each checked."""
        data = self._data
        while self._offset < len(data):
            frame = parse_frame(data, self._offset)
            problem = frame if isinstance(frame, str) else self._problem_of(frame)
            if problem:
                if is_last and not self._must_end and self._is_unfinished(data):
                    self.unfinished_bytes = len(data) - self._offset
                    return
                raise self._damage(problem, self._offset)
            assert isinstance(frame, Frame)
            self._kind_last = frame.kind
            self._number, self._hash = frame.number, frame.hash
            yield frame
            self._offset = frame.end

    def _is_unfinished(self, data: bytes) -> bool:
        return is_unfinished(data, self._offset, self._number + 1, is_synced=self._is_synced)

    def _problem_of(self, frame: Frame) -> str:
        if frame.hash != frame_hash(self._hash, frame.head, frame.payload):
            return "the frame does not fit what comes before it: it was changed, moved, or one before it is missing"
        if (frame.number, frame.records) != (self._number + 1, self._records):
            return f"frame {frame.number} of record {frame.records} follows frame {self._number} of record {self._records}"
        if frame.kind is Kind.HEADER:
            return "a header stands in the middle of a segment"
        if self._kind_last is Kind.SEGMENT_END or (self._kind_last is Kind.END and frame.kind is not Kind.OPENED):
            return "something follows the end"
        if frame.kind in SEALS and len(frame.payload) != SEAL.size:
            return "the seal has the wrong size"
        return ""

    def _decode(self, frame: Frame) -> list[Record]:
        try:
            return self._decoder.decode(frame.payload)
        except DECODE_ERRORS as error:
            raise self._damage(f"the frame holds something that is no record: {error}", frame.offset) from error

    def _open_segment(self, index: int) -> tuple[bytes, int, JournalHeader]:
        number = self._segments[index]
        self._file = self._folder / segment_name(number)
        self._offset = 0
        if number != index + 1:
            raise self._damage(f"segment {index + 1} is missing", 0)
        try:
            data = self._file.read_bytes()
        except OSError as error:
            raise DataError(f"the journal cannot be read: {error.strerror or error}", file=str(self._file)) from error
        if len(data) < PREAMBLE.size or data[: len(MAGIC)] != MAGIC:
            raise self._damage("this is no journal of tradingd", 0)
        version = PREAMBLE.unpack_from(data)[1]
        if version != VERSION:
            raise self._damage(f"journal version {version} is not {VERSION}, the one this tradingd reads", len(MAGIC))
        frame = parse_frame(data, PREAMBLE.size)
        if isinstance(frame, str):
            raise self._damage(f"the header is missing: {frame}", PREAMBLE.size)
        expected = (Kind.HEADER, self._number + 1, self._records)
        if (frame.kind, frame.number, frame.records) != expected or frame.hash != frame_hash(
            self._hash, frame.head, frame.payload
        ):
            raise self._damage("the header is not the one that belongs here", PREAMBLE.size)
        try:
            content = msgspec.msgpack.decode(frame.payload, type=SegmentHeader)
        except DECODE_ERRORS as error:
            raise self._damage(f"the header cannot be read: {error}", PREAMBLE.size) from error
        self._kind_last = Kind.HEADER
        self._is_synced = content.is_synced
        self._number, self._hash = frame.number, frame.hash
        if not self.headers or self.headers[-1][1] != content.journal:
            self.headers.append((self._records, content.journal))
        return data, frame.end, content.journal

    def _open_later_segment(self, index: int) -> bool:
        """False where the last segment's own header was not finished: then the journal ends with the segment before it."""
        try:
            self._data, self._offset, _header = self._open_segment(index)
        except JournalDamage:
            path = self._folder / segment_name(self._segments[index])
            rest = path.read_bytes()
            if (
                self._must_end
                or index != len(self._segments) - 1
                or not is_unfinished(rest, 0, self._number + 1, is_synced=False)
            ):
                raise
            self.unfinished_bytes = len(rest)
            return False
        return True

    def _damage(self, message: str, offset: int) -> JournalDamage:
        return JournalDamage(self._file, message, offset=offset, records=self._records)
