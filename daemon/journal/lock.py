"""One writer at a time: a lock on a file, and a fencing token in it that only grows.

The lock keeps a second daemon on this machine out. The token is for what a lock cannot see: a lock file that was deleted or
copied, a folder on a network disk. It stands in every segment's header and every seal, and a writer that finds another token in
the lock file than its own stops.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import StorageError
from daemon.journal.files import DISK, Files

LOCK_FILE = "lock"
TOKEN_DIGITS = 20
TOKEN_TEXT_MAX = 24


class WriterLock:
    """The lock file at `path`, created where there is none. Raises StorageError while another process holds it.

    Held from the moment it is made; `token` is higher than that of every holder before.
    """

    def __init__(self, path: Path, files: Files = DISK) -> None:
        self._path = path
        self._files = files
        try:
            self._descriptor = files.open_in_place(path)
        except OSError as error:
            raise StorageError(f"{path}: the lock cannot be opened: {error.strerror or error}") from error
        try:
            files.lock(self._descriptor)
            self.token = self._read() + 1
            self._write()
        except BlockingIOError as error:
            files.close(self._descriptor)
            raise StorageError(f"{path.parent}: another process is writing this journal") from error
        except OSError as error:
            files.close(self._descriptor)
            raise StorageError(f"{path}: the lock cannot be kept: {error.strerror or error}") from error
        except StorageError:
            files.close(self._descriptor)
            raise

    def raise_token(self, least: int) -> None:
        """Make the token `least` where it is lower: the journal has seen higher ones than the lock file."""
        if self.token < least:
            self.token = least
            try:
                self._write()
            except OSError as error:
                raise StorageError(f"{self._path}: the lock cannot be kept: {error.strerror or error}") from error

    def check(self) -> None:
        """Raise StorageError unless this is still the holder."""
        try:
            is_here = self._files.is_at(self._descriptor, self._path)
            found = self._read()
        except OSError as error:
            raise StorageError(f"{self._path}: the lock is gone: {error.strerror or error}") from error
        if not is_here or found != self.token:
            raise StorageError(f"{self._path.parent}: another writer has taken this journal over; this one stops")

    def release(self) -> None:
        self._files.close(self._descriptor)

    def _read(self) -> int:
        text = self._files.read_at(self._descriptor, TOKEN_TEXT_MAX, 0).strip(b"\0 \n")
        if text and not (text.isdigit() and len(text) < TOKEN_TEXT_MAX):
            raise StorageError(f"{self._path}: holds {text!r}, no token; put the highest token of the journal there")
        return int(text or 0)

    def _write(self) -> None:
        # Always of one length: where "10" comes in the place of "9", a power cut may leave "1".
        self._files.write_at(self._descriptor, f"{self.token:0{TOKEN_DIGITS}d}".encode("ascii"), 0)
        self._files.sync(self._descriptor)
