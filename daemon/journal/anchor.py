"""Anchors: the seals of journals, kept a second time where the journals are not, so that a cut tail or a whole new chain shows.

An anchor file holds one JSON object a line, for any number of journals; it is only ever appended to. Between seals the guardian
adds heads: the hash of a journal's chain at a moment, which proves what was before it as long as the file can be trusted. Put it
where whoever can write the run folder cannot: another user's folder, another disk, another machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from core.errors import ConfigError, StorageError
from daemon.journal.format import DECODE_ERRORS, Frame, parse_frame

BEGINNING = b'{"journal_id":"'
HEAD_BEGINNING = b'{"head":"'


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


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The hash of a journal's chain, hexadecimal, when it had so many records; `head` first, so that a line shows what it is."""

    head: str
    journal_id: str
    run_id: str
    records: int
    records_durable: int  # of these, on the disk at that moment: a power cut may take the others
    ts: int  # ns UTC


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

    def write(self, anchor: Anchor | Head) -> None:
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


class AnchorSink(Protocol):
    """Where a journal's seals are kept a second time."""

    def write(self, anchor: Anchor) -> None:
        """Raises StorageError where it must be kept and cannot be; that ends the journal."""


class ToldAnchors:
    """A file where there is one, and somebody who is told of each anchor besides."""

    def __init__(self, file: AnchorSink | None, tell: Callable[[Anchor], None]) -> None:
        self._file = file
        self._tell = tell

    def write(self, anchor: Anchor) -> None:
        if self._file is not None:
            self._file.write(anchor)
        self._tell(anchor)


class Anchors(NamedTuple):
    """What an anchor file holds: its anchors and heads, and the numbers of the lines that are neither, or only begin as one."""

    anchors: list[Anchor]
    damaged: list[int]
    unfinished: list[int]
    heads: list[Head]


def read_anchors(path: Path) -> Anchors:
    """Raises ConfigError where the file cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path}: the anchor file cannot be read: {error.strerror or error}") from None
    found = Anchors([], [], [], [])
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            if line.startswith(HEAD_BEGINNING):
                found.heads.append(msgspec.json.decode(line, type=Head))
            else:
                found.anchors.append(msgspec.json.decode(line, type=Anchor))
        except DECODE_ERRORS:
            # A power cut leaves the beginning of a line, and the next daemon goes on in a new one.
            is_beginning = _begins_as_a_line(line) and not line.endswith(b"}")
            (found.unfinished if is_beginning else found.damaged).append(number)
    return found


def _begins_as_a_line(line: bytes) -> bool:
    return any(line.startswith(beginning[: len(line)]) for beginning in (BEGINNING, HEAD_BEGINNING))
