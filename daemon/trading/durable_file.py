"""Replaces a small file so that a crash at any moment leaves the old content or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import StorageError

TEMPORARY_SUFFIX = ".new"


def replace_file(path: Path, content: bytes) -> None:
    """`content` at `path`, on the disk when this returns. Raises StorageError."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
