"""Every call by which a daemon changes its disk, in one small layer: tests put one in its place that fails at any of them.

Journal, lock, run number, trading state, kill latch and snapshots go through it. tests/daemon/trading/test_power_cut.py and
test_faults.py hold what they promise against it; tests/daemon/test_disk_layer.py, that nothing goes past it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o640


class Files(Protocol):
    """Descriptors are those of the operating system. Every method raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """One folder whose parent is there; fine where it is there already."""

    def names(self, folder: Path) -> list[str]:
        """The files of a folder, in no order; none where there is no folder."""

    def read(self, path: Path) -> bytes: ...

    def create(self, path: Path) -> int:
        """A new file to append to; it must not exist."""

    def open_to_append(self, path: Path) -> int: ...

    def open_in_place(self, path: Path, mode: int = FILE_MODE) -> int:
        """To read and write anywhere; made empty where there is none."""

    def open_empty(self, path: Path) -> int:
        """To write from its beginning, whatever it held before."""

    def write(self, descriptor: int, data: bytes) -> int:
        """How many bytes were taken."""

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        """How many bytes were taken."""

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes: ...

    def size(self, descriptor: int) -> int: ...

    def identity(self, descriptor: int) -> int:
        """A number above 0 that the file keeps as long as it is there, and that a copy of it does not have."""

    def truncate(self, descriptor: int, size: int) -> None: ...

    def sync(self, descriptor: int) -> None:
        """Returns when the file's content and size are on the disk (fdatasync)."""

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names in the folder are on the disk."""

    def rename(self, source: Path, target: Path) -> None:
        """In place of what `target` names: at no moment is there neither."""

    def remove(self, path: Path) -> None: ...

    def remove_folder(self, folder: Path) -> None:
        """An empty one."""

    def close(self, descriptor: int) -> None: ...

    def lock(self, descriptor: int) -> None:
        """For this process alone, until it closes it. Raises BlockingIOError where another one has it."""

    def is_at(self, descriptor: int, path: Path) -> bool:
        """Whether `path` still names the open file."""


class DiskFiles:
    """The real ones."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder) if folder.is_dir() else []

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)

    def open_to_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def open_in_place(self, path: Path, mode: int = FILE_MODE) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)

    def open_empty(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

    def read_at(self, descriptor: int, size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def identity(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_ino

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def remove_folder(self, folder: Path) -> None:
        folder.rmdir()

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def lock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_at(self, descriptor: int, path: Path) -> bool:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))


DISK = DiskFiles()


def make_durable_folder(folder: Path, own: int, files: Files = DISK) -> None:
    """`folder`, and what is missing above it, on the disk when this returns. Raises OSError.

    The last `own` parts of the path are this program's: their names are made durable also where they are there already, because
    whoever made them may have died before that.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        files.make_folder(part)
    for part in (folder, *folder.parents)[: max(own, len(missing))]:
        try:
            files.sync_folder(part.parent)
        except PermissionError:
            # Not ours to read, so it was made by somebody else, before us (systemd's state folders are).
            if part in missing:
                raise
