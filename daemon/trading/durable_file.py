"""Replaces a small file so that a crash at any moment leaves the old content or the new one, whole."""

from __future__ import annotations

from pathlib import Path

from core.errors import StorageError
from daemon.journal.files import DISK, Files

TEMPORARY_SUFFIX = ".new"


def replace_file(path: Path, content: bytes, files: Files = DISK) -> None:
    """`content` at `path`, on the disk when this returns. Raises StorageError."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        descriptor = files.open_empty(temporary)
        try:
            taken = 0
            while taken < len(content):
                taken += files.write(descriptor, content[taken:])
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(temporary, path)
        files.sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
