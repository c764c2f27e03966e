"""Sends structured log lines to the run folder as JSON and to the terminal as text."""

from __future__ import annotations

import json
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from core.errors import StorageError

BUFFER_BYTES = 1 << 16
BY_LINE = 1


class LogFile:
    """The end of structlog's chain: every line goes to the file, and to the console where there is one.

    A backtest whose log cannot be written is ended by StorageError. A daemon (`is_prompt`) goes on without it: to cancel what is
    open at a venue is worth more than to say so, and its journal is what proves what it did. `lines_lost` counts.
    """

    def __init__(self, path: Path, console: TextIO | None, *, is_prompt: bool = False) -> None:
        self._path = path
        self._console = console
        self._is_prompt = is_prompt
        self.lines_lost = 0
        # On a terminal the display has the place; only what somebody must see interrupts it.
        is_terminal = console is not None and console.isatty()
        self._console_levels = ("warning", "error", "critical") if is_terminal else ("info", "warning", "error", "critical")
        try:
            self._file = path.open("a", encoding="utf-8", buffering=BY_LINE if is_prompt else BUFFER_BYTES)
        except OSError as error:
            raise self._refused(error) from error

    def __call__(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        try:
            self._write(level, event)
        except OSError as error:
            if not self._is_prompt:
                raise self._refused(error) from error
            self.lines_lost += 1
        raise structlog.DropEvent

    def _write(self, level: str, event: MutableMapping[str, Any]) -> None:
        if self._console is not None and level in self._console_levels:
            shown = ("event", "timestamp", "level")
            fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in shown)
            try:
                self._console.write(f"{event['timestamp'][11:19]} {level:<8}{event['event']}  {fields}\n")
            finally:
                # Whoever watched may have gone away; the file is not theirs.
                self._file.write(json.dumps(event, default=str) + "\n")
        else:
            self._file.write(json.dumps(event, default=str) + "\n")

    def close(self) -> None:
        structlog.reset_defaults()
        try:
            self._file.close()
        except OSError as error:
            if not self._is_prompt:
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


def start_logging(path: Path, *, console: bool, is_prompt: bool = False) -> LogFile:
    """Begin logging to `path`, and to stderr too where `console`; the caller closes what is returned.

    `is_prompt`: each line is in the file at once, for a daemon that somebody watches and that may be killed.
    """
    log_file = LogFile(path, sys.stderr if console else None, is_prompt=is_prompt)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), log_file],
        cache_logger_on_first_use=False,
    )
    return log_file
