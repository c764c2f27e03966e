"""One writer at a time: a lock on a file, and a fencing token in it that only grows.

The lock keeps a second daemon on this machine out. The token is for what a lock cannot see: a lock file that was deleted or
copied, a folder on a network disk. It stands in every segment's header and every seal, and a writer that finds another token in
the lock file than its own stops.

    lock = token, space, identity of the file itself (its inode): decimal, 20 digits each

A copy has the identity of the file that it was copied from, so whoever opens it knows that there is another one.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import StorageError
from daemon.journal.files import DISK, Files

LOCK_FILE = "lock"
DIGITS = 20
TEXT_BYTES_MAX = 64
UNKNOWN = 0  # the identity in a new file, until `settle`


class WriterLock:
    """The lock file at `path`, created where there is none. Raises StorageError while another process holds it.

    Held from the moment it is made; `token` is higher than that of every holder before. `is_strange`: the file is new, or a copy.
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
            own = files.identity(self._descriptor)
            token, identity = self._read()
            self.token = token + 1
            self._identity = identity if identity is not None else own if token else UNKNOWN
            self.is_strange = self._identity != own
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

    def settle(self) -> None:
        """What is strange about the file has been dealt with: from here on it is the one."""
        try:
            self._identity = self._files.identity(self._descriptor)
            self._write()
        except OSError as error:
            raise StorageError(f"{self._path}: the lock cannot be kept: {error.strerror or error}") from error
        self.is_strange = False

    def check(self) -> None:
        """Raise StorageError unless this is still the holder."""
        try:
            is_here = self._files.is_at(self._descriptor, self._path)
            found, _identity = self._read()
        except OSError as error:
            raise StorageError(f"{self._path}: the lock is gone: {error.strerror or error}") from error
        if not is_here or found != self.token:
            raise StorageError(f"{self._path.parent}: another writer has taken this journal over; this one stops")

    def release(self) -> None:
        self._files.close(self._descriptor)

    def _read(self) -> tuple[int, int | None]:
        """Token and identity; 0 and None where there is none yet."""
        text = self._files.read_at(self._descriptor, TEXT_BYTES_MAX, 0).strip(b"\0 \n")
        token, _, identity = text.partition(b" ")
        if text and not (token.isdigit() and len(token) <= DIGITS and (not identity or identity.isdigit())):
            raise StorageError(f"{self._path}: holds {text!r}, no token; put the highest token of the journal there")
        return int(token or 0), int(identity) if identity else None

    def _write(self) -> None:
        # Always of one length: where "10" comes in the place of "9", a power cut may leave "1".
        text = f"{self.token:0{DIGITS}d} {self._identity:0{DIGITS}d}"
        self._files.write_at(self._descriptor, text.encode("ascii"), 0)
        self._files.sync(self._descriptor)
