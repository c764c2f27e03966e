"""Reads a journal back, and says at which byte it was cut or changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.errors import DataError
from daemon.journal.format import FRAME, FRAME_BYTES_MAX, MAGIC, PREAMBLE, VERSION, JournalEnd, JournalHeader, Record


class JournalDamage(DataError):
    """The journal ends in the middle of a frame, or a frame is not what was written."""

    def __init__(self, path: Path, message: str, *, offset: int, records: int) -> None:
        self.offset = offset
        self.records = records
        super().__init__(f"byte {offset}, after {records} good records: {message}", file=str(path))


def _is_map(payload: bytes) -> bool:
    """MessagePack's fixmap: records come as arrays."""
    return payload[:1] != b"" and payload[0] & 0xF0 == 0x80


class JournalReader:
    """Iterate for the records in order; `header` is read at once. A damaged journal yields all that comes before the damage.

    `must_end` False: a journal whose writer died between two frames is taken as it is, as recovery does.
    """

    def __init__(self, path: Path, *, must_end: bool = True) -> None:
        self._must_end = must_end
        self._path = path
        self._offset = 0
        self._records = 0
        self._crc = 0
        self._decoder = msgspec.msgpack.Decoder(list[Record])
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise DataError(f"the journal cannot be opened: {error.strerror or error}", file=str(path)) from error
        self.header = self._read_header()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Record]:
        while True:
            start = self._offset
            payload = self._read_frame()
            if payload is None:
                if self._must_end:
                    raise self._damage("the end is missing: the journal was cut, or its writer died", start)
                return
            if _is_map(payload):
                self._check_end(payload, start)
                return
            try:
                batch = self._decoder.decode(payload)
            except msgspec.MsgspecError as error:
                raise self._damage(f"the frame holds something that is no record: {error}", start) from error
            yield from batch
            self._records += len(batch)

    def _check_end(self, payload: bytes, start: int) -> None:
        end = msgspec.msgpack.decode(payload, type=JournalEnd)
        if end.records != self._records:
            raise self._damage(f"the end speaks of {end.records} records", start)
        if self._read(1):
            raise self._damage("something follows the end", self._offset - 1)

    def _read_header(self) -> JournalHeader:
        preamble = self._read(PREAMBLE.size)
        if len(preamble) < PREAMBLE.size or preamble[: len(MAGIC)] != MAGIC:
            raise self._damage("this is no journal of tradingd", 0)
        _magic, version = PREAMBLE.unpack(preamble)
        if version != VERSION:
            raise self._damage(f"journal version {version} is not {VERSION}, the one this tradingd reads", len(MAGIC))
        payload = self._read_frame()
        if payload is None:
            raise self._damage("the header is missing", PREAMBLE.size)
        try:
            return msgspec.msgpack.decode(payload, type=JournalHeader)
        except msgspec.MsgspecError as error:
            raise self._damage(f"the header cannot be read: {error}", PREAMBLE.size) from error

    def _read_frame(self) -> bytes | None:
        """The next payload; None at the end of the file."""
        start = self._offset
        head = self._read(FRAME.size)
        if not head:
            return None
        if len(head) < FRAME.size:
            raise self._damage("the file ends inside a frame's head", start)
        length, crc = FRAME.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise self._damage(f"a frame claims {length} bytes", start)
        payload = self._read(length)
        if len(payload) < length:
            raise self._damage(f"the file ends {length - len(payload)} bytes before the frame does", start)
        self._crc = zlib.crc32(payload, self._crc)
        if self._crc != crc:
            raise self._damage("the frame's checksum does not match: it was changed, moved, or one before it is missing", start)
        return payload

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._offset += len(data)
        return data

    def _damage(self, message: str, offset: int) -> JournalDamage:
        return JournalDamage(self._path, message, offset=offset, records=self._records)
