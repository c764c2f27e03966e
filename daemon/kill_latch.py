"""The kill latch of one account: a small file that whoever may stop trading sets, and every sender looks at before it sends.

It is mapped into the memory of whoever watches it: setting it is seen by the daemon at its next order without a call, also where
the daemon was stopped or hangs at that moment. The first byte says it, the rest is for people: `head -1 kill_latch`.

    0\n                                                          not set
    1 2026-01-05T14:30:00Z uid 1000: the reason, in one line\n   set

Whatever is not a clear "0" counts as set.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import StorageError
from daemon.journal.files import DISK, Files
from daemon.timestamps import iso

LATCH_FILE = "kill_latch"
BLOCK_BYTES = 512  # one sector: written whole or not at all
TEXT_CHARACTERS_MAX = 400
CLEAR = ord("0")
FILE_MODE = 0o660  # whoever is of its group may stop trading


@dataclass(frozen=True, slots=True)
class KillRecord:
    is_set: bool
    text: str  # when, who and why, in one line


class KillLatch:
    """The latch at `path`, made clear where there is none. Raises StorageError where it cannot be had."""

    def __init__(self, path: Path, files: Files = DISK) -> None:
        self.path = path
        self._files = files
        try:
            self._descriptor = files.open_in_place(path, FILE_MODE)
            size = files.size(self._descriptor)
            if size == 0:
                files.write_at(self._descriptor, _block("0"), 0)
                files.sync(self._descriptor)
            elif size < BLOCK_BYTES:
                # Cut short: it may have said anything, so it says "set".
                files.write_at(self._descriptor, _block("1 the latch was damaged"), 0)
                files.sync(self._descriptor)
            self._map = mmap.mmap(self._descriptor, BLOCK_BYTES)
        except OSError as error:
            raise StorageError(f"{path}: the kill latch cannot be had: {error.strerror or error}") from error

    @property
    def is_set(self) -> bool:
        return self._map[0] != CLEAR

    def record(self) -> KillRecord:
        line = self._map[:].split(b"\n", 1)[0].decode("utf-8", "replace")
        return KillRecord(self.is_set, line[2:])

    def set(self, reason: str, uid: int, ts: int) -> None:
        """In effect for every process at once, then on the disk. StorageError where the disk refuses: in effect then too."""
        one_line = " ".join(reason.split())[:TEXT_CHARACTERS_MAX]
        # The byte first: from here on nothing leaves, whatever becomes of the rest.
        self._map[0] = ord("1")
        self._write(f"1 {iso(ts)} uid {uid}: {one_line}")

    def clear(self) -> None:
        """Only a resume does this. Raises StorageError where the disk refuses; then it is as it was.

        What a disk that refused that as well has after a power cut is the one or the other: HALTED is latched beside it.
        """
        before = self._map[:]
        try:
            self._write("0")
        except StorageError:
            self._map[:] = before
            # The map alone may leave the disk with what has been written, as long as nobody writes it back.
            with suppress(OSError):
                self._files.write_at(self._descriptor, before, 0)
                self._files.sync(self._descriptor)
            raise

    def close(self) -> None:
        self._map.close()
        self._files.close(self._descriptor)

    def _write(self, line: str) -> None:
        try:
            # One call for the whole block; the page is the same one that the map shows.
            self._files.write_at(self._descriptor, _block(line), 0)
            self._files.sync(self._descriptor)
        except OSError as error:
            raise StorageError(f"{self.path}: the kill latch cannot be written: {error.strerror or error}") from error


def _block(line: str) -> bytes:
    content = line.encode("utf-8")[: BLOCK_BYTES - 1] + b"\n"
    return content.ljust(BLOCK_BYTES, b"\n")
