"""Every call by which a journal touches the disk, in one small layer: tests put a disk in its place that crashes at each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from daemon.journal.lock import Lock, WriterLock


class Files(Protocol):
    """Descriptors are opaque integers. Every method raises OSError, `lock` StorageError too."""

    def make_folder(self, folder: Path) -> None: ...

    def names(self, folder: Path) -> list[str]:
        """The files of a folder, in no order; none where there is no folder."""

    def read(self, path: Path) -> bytes: ...

    def create(self, path: Path) -> int:
        """A new file; it must not exist."""

    def open_to_append(self, path: Path) -> int: ...

    def write(self, descriptor: int, data: bytes) -> int:
        """How many bytes were taken."""

    def truncate(self, descriptor: int, size: int) -> None: ...

    def sync(self, descriptor: int) -> None:
        """Returns when the file's content and size are on the disk (fdatasync)."""

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names in the folder are on the disk."""

    def remove(self, path: Path) -> None: ...

    def close(self, descriptor: int) -> None: ...

    def lock(self, path: Path) -> Lock: ...


class DiskFiles:
    """The real ones."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder) if folder.is_dir() else []

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def open_to_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data)

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

    def remove(self, path: Path) -> None:
        path.unlink()

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def lock(self, path: Path) -> Lock:
        return WriterLock(path)


DISK = DiskFiles()
