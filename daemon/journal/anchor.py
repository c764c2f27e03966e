"""Anchors: the seals of journals, kept a second time where the journals are not, so that a cut tail or a whole new chain shows.

An anchor file holds one JSON object a line, for any number of journals; it is only ever appended to. Put it where whoever can
write the run folder cannot: another user's folder, another disk, another machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.errors import ConfigError, StorageError
from daemon.journal.format import DECODE_ERRORS, Frame, parse_frame

BEGINNING = b'{"journal_id":"'


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """One seal: `seal` is its whole frame and `before` the hash it continues, both hexadecimal."""

    journal_id: str
    run_id: str
    public_key: str
    segment: int
    frame: int
    records: int
    before: str
    seal: str

    def parsed_seal(self) -> Frame | str:
        """The seal's frame, or why there is none."""
        try:
            return parse_frame(bytes.fromhex(self.seal), 0)
        except ValueError as error:
            return str(error)


class AnchorFile:
    """Appends; every line is on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                # A line that a crash cut short stays by itself, and is read as what it is.
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise self._refused(error) from error

    def write(self, anchor: Anchor) -> None:
        """Raises StorageError."""
        line = msgspec.json.encode(anchor) + b"\n"
        try:
            # One write with O_APPEND: lines of several daemons never mix.
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise StorageError(f"{self._path}: the anchor was not written whole: the disk is full")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        os.close(self._descriptor)

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"{self._path}: the anchor cannot be written: {error.strerror or error}")


class Anchors(NamedTuple):
    """What an anchor file holds: its anchors in order, and the numbers of the lines that are none, or only begin as one."""

    anchors: list[Anchor]
    damaged: list[int]
    unfinished: list[int]


def read_anchors(path: Path) -> Anchors:
    """Raises ConfigError where the file cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path}: the anchor file cannot be read: {error.strerror or error}") from None
    found = Anchors([], [], [])
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.anchors.append(msgspec.json.decode(line, type=Anchor))
        except DECODE_ERRORS:
            # A power cut leaves the beginning of a line, and the next daemon goes on in a new one.
            is_beginning = line.startswith(BEGINNING[: len(line)]) and not line.endswith(b"}")
            (found.unfinished if is_beginning else found.damaged).append(number)
    return found
