"""The run number: durable, one higher for every run of a runs folder, never given twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from core.errors import StorageError
from core.identifiers import RUN_NUMBER_MAX

COUNTER_FILE = ".run_number"


def next_run_number(folder: Path) -> int:
    """The next number, on disk before it is returned. Two daemons at once get two numbers. Raises StorageError."""
    path = folder / COUNTER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read(32).strip()
            if text and not text.isdigit():
                raise StorageError(f"{path}: holds {text!r}, no run number; put the highest number used there")
            number = int(text or 0) + 1
            if number > RUN_NUMBER_MAX:
                raise StorageError(f"{path}: run number {number} exceeds {RUN_NUMBER_MAX}; start a new runs folder")
            _replace(path, number)
    except OSError as error:
        raise StorageError(f"{path}: the run number cannot be kept: {error.strerror or error}") from error
    return number


def _replace(path: Path, number: int) -> None:
    """The file keeps its inode, so that the lock held on it keeps others out."""
    with open(path, "r+b") as file:
        # Numbers only grow, so the new text is never shorter than the old one: no moment has half a number.
        file.write(str(number).encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
