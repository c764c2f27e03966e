"""Sends structured log lines to the run folder as JSON and to the terminal, or to systemd's journal, as text.

The file's size is bounded: at LOG_BYTES_MAX it becomes log.jsonl.1, what was .1 becomes .2, and the oldest of LOG_FILES_MAX goes.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from core.errors import StorageError
from daemon.one_line import one_line

BUFFER_BYTES = 1 << 16
LOG_BYTES_MAX = 1 << 24
LOG_FILES_MAX = 8  # beside the one that is being written
LINE_CHARACTERS_MAX = 1 << 16
CONSOLE_CHARACTERS_MAX = 4_000  # a pipe that has room at all takes so much without waiting

# As systemd's journal takes them at the beginning of a line (sd-daemon(3)).
PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


class Console:
    """Text lines for people. It never waits and never raises: a terminal that stands still must not hold trading up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._descriptor = _descriptor_of(stream)
        # On a terminal the display has the place; only what somebody must see interrupts it.
        least = ("warning", "error", "critical") if stream.isatty() else ("info", "warning", "error", "critical")
        self._levels = frozenset(least)
        self._is_journal = self._descriptor is not None and _is_read_by_journal(self._descriptor)
        self._room = select.poll()
        if self._descriptor is not None:
            self._room.register(self._descriptor, select.POLLOUT)

    def write(self, level: str, event: MutableMapping[str, Any]) -> None:
        if self._stream is None or level not in self._levels:
            return
        fields = "".join(f" {key}={value}" for key, value in event.items() if key not in ("event", "timestamp", "level"))
        # The journal has its own clock and levels.
        begin = PRIORITIES[level] if self._is_journal else f"{event['timestamp'][11:19]} {level:<8}"
        line = begin + one_line(f"{event['event']} {fields}", CONSOLE_CHARACTERS_MAX) + "\n"
        try:
            if self._descriptor is None:
                self._stream.write(line)
            elif self._room.poll(0):
                # Not through the stream: what could not be written would wait in its buffer, and be tried again.
                os.write(self._descriptor, line.encode("utf-8", "replace"))
        except OSError:
            # Whoever read it is gone, and does not come back to this stream.
            self._stream = None


def _descriptor_of(stream: TextIO) -> int | None:
    """None for a stream that is no file of the system's."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _is_read_by_journal(descriptor: int) -> bool:
    """Whether systemd's journal reads it: the device and inode of what it reads are in $JOURNAL_STREAM."""
    found = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class LogFile:
    """The end of structlog's chain: every line goes to the file, and to the console where there is one.

    `is_prompt`: each line is in the file at once, and one that the disk refuses is counted instead of raised: whoever logs
    "cancel everything" must come to the next line. Else a refusal is a StorageError.
    """

    def __init__(self, path: Path, console: TextIO | None, *, is_prompt: bool = False) -> None:
        self._path = path
        self._console = Console(console) if console is not None else None
        self._is_prompt = is_prompt
        self._lost = 0
        self._open()

    def _open(self) -> None:
        try:
            self._file = self._path.open("ab", buffering=0 if self._is_prompt else BUFFER_BYTES)
        except OSError as error:
            raise self._refused(error) from error
        self._bytes = self._file.tell()

    def __call__(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        line = _json_of(event)
        try:
            self._write(line, event)
        except OSError as error:
            if not self._is_prompt:
                raise self._refused(error) from error
            self._lost += 1
        if self._console is not None:
            self._console.write(level, event)
        raise structlog.DropEvent

    def _write(self, line: bytes, event: MutableMapping[str, Any]) -> None:
        """Raises OSError; the line is lost then."""
        if self._bytes + len(line) > LOG_BYTES_MAX:
            self._rotate()
        if self._lost:
            said = {"event": "log lines were lost", "count": self._lost, "level": "error", "timestamp": event["timestamp"]}
            # A line break first: what the disk refused may have left half a line.
            line = b"\n" + _json_of(said) + line
        written = self._file.write(line)
        self._bytes += written
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._lost = 0

    def _rotate(self) -> None:
        full = self._file
        # Where an earlier try got no further than this, the files have moved already.
        if self._path.exists():
            for number in range(LOG_FILES_MAX - 1, -1, -1):
                older = rotated(self._path, number)
                if older.exists():
                    os.replace(older, rotated(self._path, number + 1))
        self._file = self._path.open("ab", buffering=0 if self._is_prompt else BUFFER_BYTES)
        self._bytes = 0
        full.close()

    def close(self) -> None:
        structlog.reset_defaults()
        try:
            self._file.close()
        except OSError as error:
            raise self._refused(error) from error

    def abandon(self) -> None:
        """Close although the disk may refuse what is still buffered."""
        structlog.reset_defaults()
        try:
            self._file.close()
        except OSError:
            # The lines that the full disk refused go with the folder they belong to.
            return

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(f"{self._path}: the log cannot be written: {error.strerror or error}")


def rotated(path: Path, number: int) -> Path:
    """The log's `number`-th older file; 1 is the newest of them, 0 the log itself."""
    return path.with_name(f"{path.name}.{number}") if number else path


def _json_of(event: MutableMapping[str, Any]) -> bytes:
    """One line of ASCII: what a terminal or another program would take for a command is escaped."""
    line = json.dumps(event, default=str)
    if len(line) > LINE_CHARACTERS_MAX:
        kept = {key: event[key] for key in ("timestamp", "level") if key in event}
        shown = str(event.get("event", ""))[:CONSOLE_CHARACTERS_MAX]
        line = json.dumps({**kept, "event": shown, "cut": True, "characters": len(line)})
    return line.encode("ascii") + b"\n"


def start_logging(path: Path, *, console: bool, is_prompt: bool = False) -> LogFile:
    """Begin logging to `path`, and to stderr too where `console`; the caller closes what is returned.

    `is_prompt`: as LogFile has it, for a daemon that somebody watches and that may be killed.
    """
    log_file = LogFile(path, sys.stderr if console else None, is_prompt=is_prompt)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), log_file],
        cache_logger_on_first_use=False,
    )
    return log_file
