"""One writer at a time: a lock on a file, and a fencing token in it that only grows.

The lock keeps a second daemon on this machine out. The token is for what a lock cannot see: a lock file that was deleted or
copied, a folder on a network disk. It stands in every segment's header and every seal, and a writer that finds another token in
the lock file than its own stops.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from core.errors import StorageError

LOCK_FILE = "lock"
TOKEN_TEXT_MAX = 24


class Lock(Protocol):
    """Held from the moment it is made. `token` is higher than that of every holder before."""

    token: int

    def raise_token(self, least: int) -> None:
        """Make the token `least` where it is lower: the journal has seen higher ones than the lock file."""

    def check(self) -> None:
        """Raise StorageError unless this is still the holder."""

    def release(self) -> None: ...


class WriterLock:
    """The lock file at `path`, created where there is none. Raises StorageError while another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StorageError(f"{path}: the lock cannot be opened: {error.strerror or error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.token = self._read() + 1
            self._write()
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise StorageError(f"{path.parent}: another process is writing this journal") from error
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"{path}: the lock cannot be kept: {error.strerror or error}") from error
        except StorageError:
            os.close(self._descriptor)
            raise

    def raise_token(self, least: int) -> None:
        if self.token < least:
            self.token = least
            try:
                self._write()
            except OSError as error:
                raise StorageError(f"{self._path}: the lock cannot be kept: {error.strerror or error}") from error

    def check(self) -> None:
        try:
            held, named = os.fstat(self._descriptor), os.stat(self._path)
            found = self._read()
        except OSError as error:
            raise StorageError(f"{self._path}: the lock is gone: {error.strerror or error}") from error
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) or found != self.token:
            raise StorageError(f"{self._path.parent}: another writer has taken this journal over; this one stops")

    def release(self) -> None:
        os.close(self._descriptor)

    def _read(self) -> int:
        text = os.pread(self._descriptor, TOKEN_TEXT_MAX, 0).strip()
        if text and not (text.isdigit() and len(text) < TOKEN_TEXT_MAX):
            raise StorageError(f"{self._path}: holds {text!r}, no token; put the highest token of the journal there")
        return int(text or 0)

    def _write(self) -> None:
        # Tokens only grow, so the new text is never shorter than the old one: no moment has half a token.
        os.pwrite(self._descriptor, str(self.token).encode("ascii"), 0)
        os.fsync(self._descriptor)
