"""The kill latch as whoever kills holds it: by plain reads and writes of the file that the daemon has mapped.

Not mapped here: a file that somebody cuts short would end a process that has it mapped with a signal.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio.to_thread

from core.errors import StorageError
from daemon.kill_latch import BLOCK_BYTES, CLEAR, LATCH_FILE, TEXT_CHARACTERS_MAX
from daemon.timestamps import iso

MODE = 0o660
UNSET = b"0".ljust(BLOCK_BYTES, b"\n")


class LatchHand:
    """The latch in `folder`, which is made where it is not there yet. Raises StorageError where it cannot be had."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LATCH_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open()
        except OSError as error:
            raise StorageError(f"{self.path}: the kill latch cannot be had: {error.strerror or error}") from error

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        if os.fstat(descriptor).st_size == 0:
            # Never written: nobody has set it.
            os.pwrite(descriptor, UNSET, 0)
            os.fsync(descriptor)
        return descriptor

    @property
    def identity(self) -> tuple[int, int]:
        """Device and number of the file: two processes that name the same have the same latch."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    @property
    def is_set(self) -> bool:
        """Whatever is not a clear "0" counts as set; a file that cannot be read any more too."""
        try:
            return os.pread(self._descriptor, 1, 0) != bytes((CLEAR,))
        except OSError:
            return True

    def text(self) -> str:
        """When, who and why; empty where it is not set, or where only the flag is up so far."""
        try:
            line = os.pread(self._descriptor, BLOCK_BYTES, 0).split(b"\n", 1)[0].decode("utf-8", "replace")
        except OSError as error:
            return f"the latch cannot be read: {error.strerror or error}"
        return line[2:]

    def raise_flag(self, reason: str, uid: int, ts: int) -> None:
        """In effect for every process at once, with who and why. Raises StorageError; the rest of a kill goes on then."""
        one_line = " ".join(reason.split())[:TEXT_CHARACTERS_MAX]
        content = f"1 {iso(ts)} uid {uid}: {one_line}".encode()[: BLOCK_BYTES - 1].ljust(BLOCK_BYTES, b"\n")
        try:
            # Into memory that the daemon has mapped: nothing here waits for the disk.
            os.pwrite(self._descriptor, content, 0)
        except OSError as error:
            raise self._refused(error) from error

    async def make_durable(self) -> None:
        """Returns when the disk has it. Raises StorageError."""

        def sync() -> None:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise self._refused(error) from error

        # In a thread: a disk that hangs must not keep a cancel waiting.
        await anyio.to_thread.run_sync(sync, abandon_on_cancel=True)

    def reopen_if_replaced(self) -> bool:
        """Whether another file stands in its place, or none; that one is held from here on. Raises StorageError."""
        try:
            named = os.stat(self.path)
            if (named.st_dev, named.st_ino) == self.identity:
                return False
        except FileNotFoundError:
            # Made anew below.
            named = None
        try:
            was_set = self.is_set
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor = fresh
            if was_set:
                # Taking the file away is no resume.
                os.pwrite(fresh, b"1", 0)
        except OSError as error:
            raise self._refused(error) from error
        return True

    def close(self) -> None:
        os.close(self._descriptor)

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: the kill latch cannot be written: {error.strerror or error}")
