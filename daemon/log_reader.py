"""Reads a run's log: its older files first, then what is written while somebody looks on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import DataError
from daemon.logging_setup import LINE_CHARACTERS_MAX, LOG_FILES_MAX, rotated
from daemon.timestamps import iso

LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Selection:
    """What to show: from a level up, and from a moment on (ns UTC)."""

    level: str = "debug"
    since_ts: int = 0

    def takes(self, event: dict[str, Any]) -> bool:
        level = event.get("level")
        # A level that nobody knows is shown rather than hidden.
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(self.level):
            return False
        # Both in ISO 8601, UTC: the order of their letters is that of time, as far as the log's microseconds go.
        stamp = event.get("timestamp")
        return not isinstance(stamp, str) or stamp.rstrip("Z") >= iso(self.since_ts).rstrip("Z")[: len(stamp.rstrip("Z"))]


class LogReader:
    """The log at `path`. `unreadable` counts lines that are none: half of one, as a crash or a full disk leaves it.

    Raises DataError where there is no log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        self._file = self._open()
        self._rest = b""

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise DataError(f"the log cannot be read: {error.strerror or error}", file=str(self.path)) from error

    def older(self) -> Iterator[dict[str, Any]]:
        """Every line of the files that were full, from the oldest on."""
        for number in range(LOG_FILES_MAX, 0, -1):
            path = rotated(self.path, number)
            try:
                with path.open("rb") as file:
                    if os.path.sameopenfile(file.fileno(), self._file.fileno()):
                        # It was rotated since it was opened, and comes as what is new.
                        continue
                    for line in file:
                        yield from self._parsed(line)
            except FileNotFoundError:
                continue

    def new(self) -> Iterator[dict[str, Any]]:
        """The lines that have come since the last call; the first call begins at the log's beginning."""
        yield from self._lines()
        if self._was_rotated():
            # What came between the last look and the change is at the end of the old file.
            yield from self._lines()
            self._file.close()
            self._file = self._open()
            yield from self._lines()

    def _lines(self) -> Iterator[dict[str, Any]]:
        while data := self._file.readline(LINE_CHARACTERS_MAX + 1):
            self._rest += data
            if self._rest.endswith(b"\n") or len(self._rest) > LINE_CHARACTERS_MAX:
                line, self._rest = self._rest, b""
                yield from self._parsed(line)

    def _was_rotated(self) -> bool:
        held = os.fstat(self._file.fileno())
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        return (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino)

    def finish(self) -> None:
        """No more will come: half a line at the end is counted."""
        self.unreadable += bool(self._rest)
        self._rest = b""

    def close(self) -> None:
        self._file.close()

    def _parsed(self, line: bytes) -> Iterator[dict[str, Any]]:
        if not line.strip():
            return
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            yield event
        else:
            self.unreadable += 1
