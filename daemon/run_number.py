"""The run number: durable, one higher for every run of a runs folder, never given twice."""

from __future__ import annotations

import fcntl
from pathlib import Path

from core.errors import StorageError
from core.identifiers import RUN_NUMBER_MAX
from daemon.journal.files import DISK, Files, make_durable_folder

COUNTER_FILE = ".run_number"
DIGITS = 20
TEXT_BYTES_MAX = 32


def next_run_number(folder: Path, files: Files = DISK, number_known: int = 0) -> int:
    """The next number, on disk before it is returned. Two daemons at once get two numbers. Raises StorageError.

    `number_known`: the highest one that has left other traces; the next is above it also where the counter's file was lost.
    """
    path = folder / COUNTER_FILE
    try:
        make_durable_folder(folder, 1, files)
        descriptor = files.open_in_place(path)
        try:
            # Waits for its turn: whoever has the lock holds it for one write. The file keeps its inode, so the lock holds.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number = max(_read(path, files.read_at(descriptor, TEXT_BYTES_MAX, 0)), number_known) + 1
            if number > RUN_NUMBER_MAX:
                raise StorageError(f"{path}: run number {number} exceeds {RUN_NUMBER_MAX}; start a new runs folder")
            # Always of one length: where "10" comes in the place of "9", a power cut may leave "1".
            files.write_at(descriptor, f"{number:0{DIGITS}d}".encode("ascii"), 0)
            files.sync(descriptor)
            files.sync_folder(folder)
        finally:
            files.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path}: the run number cannot be kept: {error.strerror or error}") from error
    return number


def _read(path: Path, found: bytes) -> int:
    # Zeros are a file whose first content a power cut lost: no number was given.
    text = found.strip(b"\0 \n")
    if text and not text.isdigit():
        raise StorageError(f"{path}: holds {text!r}, no run number; put the highest number used there")
    return int(text or 0)
