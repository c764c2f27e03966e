"""Writes a journal: records gather in a list and leave as one checked frame, so that each costs little."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.errors import StorageError
from daemon.journal.format import (
    BATCH_RECORDS_MAX,
    FRAME,
    FRAME_BYTES_MAX,
    MAGIC,
    PREAMBLE,
    VERSION,
    JournalEnd,
    JournalHeader,
    Record,
)

BUFFER_BYTES = 1 << 20


class JournalWriter:
    """One writer of one file. `append` is the list's own append: call `flush_if_full` between steps."""

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path = path
        self.records_written = 0
        self.bytes_written = 0
        self._batch: list[Record] = []
        self.append: Callable[[Record], None] = self._batch.append
        self._encoder = msgspec.msgpack.Encoder()
        self._crc = 0
        self._file = self._open(path)
        self._write(PREAMBLE.pack(MAGIC, VERSION))
        self._write_frame(self._encoder.encode(header))

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        try:
            return path.open("xb", buffering=BUFFER_BYTES)
        except OSError as error:
            raise StorageError(f"{path}: the journal cannot be created: {error.strerror or error}") from error

    def flush_if_full(self) -> None:
        if len(self._batch) >= BATCH_RECORDS_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered as frames, into the file's own buffer."""
        batch = self._batch
        if not batch:
            return
        for start in range(0, len(batch), BATCH_RECORDS_MAX):
            part = batch[start : start + BATCH_RECORDS_MAX]
            self._write_frame(self._encoder.encode(part))
            self.records_written += len(part)
        batch.clear()

    def push(self) -> None:
        """Hand everything to the operating system: it outlives this process then."""
        self.flush()
        try:
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Write what has gathered and the end."""
        self.flush()
        self._write_frame(self._encoder.encode(JournalEnd(records=self.records_written)))
        try:
            self._file.close()
        except OSError as error:
            raise self._refused(error) from error

    def abandon(self) -> None:
        """Close without writing what has gathered: the disk has refused already."""
        self._batch.clear()
        try:
            self._file.close()
        except OSError:
            # Closing flushes, and the disk is still full; the descriptor is released all the same.
            return

    def _write_frame(self, payload: bytes) -> None:
        if len(payload) > FRAME_BYTES_MAX:
            raise StorageError(f"{self.path}: a frame of {len(payload)} bytes exceeds {FRAME_BYTES_MAX}")
        self._crc = zlib.crc32(payload, self._crc)
        self._write(FRAME.pack(len(payload), self._crc))
        self._write(payload)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._refused(error) from error
        self.bytes_written += len(data)

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: the journal cannot be written: {error.strerror or error}")
