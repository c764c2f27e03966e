"""`tradingd logs`: print a run's log, and go on with it while it is written."""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from pathlib import Path
from typing import Any

from core.errors import ConfigError, RefusedError, UnitError
from core.units import parse_duration_ns
from daemon.config.loader import load_config
from daemon.config.places import account_folder
from daemon.control.client import ask, find_daemon
from daemon.exit_codes import ExitCode
from daemon.log_reader import LogReader, Selection
from daemon.one_line import one_line
from daemon.run_file import LOG_FILE
from daemon.timestamps import parse_moment
from daemon.trading.state_folder import RUNS_FOLDER

FOLLOW_MS = 200
EVENT_WIDTH = 28


def logs(options: argparse.Namespace) -> int:
    selection = Selection(options.level, _since(options.since))
    place = _Place(options)
    reader = LogReader(place.newest())
    try:
        for event in reader.older():
            _show(event, selection, as_json=options.json)
        while True:
            for event in reader.new():
                _show(event, selection, as_json=options.json)
            sys.stdout.flush()
            if not options.follow or _reader_is_gone():
                break
            newest = place.newest()
            if newest != reader.path and newest.exists():
                reader = _next(reader, newest)
    except KeyboardInterrupt:
        # How one stops looking.
        return ExitCode.OK
    finally:
        reader.finish()
        if reader.unreadable:
            print(f"tradingd: {reader.unreadable} lines of {reader.path} cannot be read", file=sys.stderr)
        reader.close()
    return ExitCode.OK


def _reader_is_gone() -> bool:
    """Waits a while; True at once where whoever reads our output has closed it, as `| head` does."""
    hangs_up = select.poll()
    hangs_up.register(sys.stdout.fileno(), 0)
    return bool(hangs_up.poll(FOLLOW_MS))


def _next(reader: LogReader, path: Path) -> LogReader:
    """The daemon was started again: its next run has a log of its own."""
    made = LogReader(path)
    made.unreadable = reader.unreadable
    reader.finish()
    reader.close()
    return made


class _Place:
    """Where the log is that was asked for: of a configuration's newest run, of a run folder, or of a running daemon."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._runs: Path | None = None
        self._log: Path | None = None
        source = Path(options.source) if options.source is not None else None
        if source is None:
            self._log = _log_of_daemon(options.run)
        elif source.is_dir():
            self._log = source / LOG_FILE
        else:
            self._runs = account_folder(load_config(source)) / RUNS_FOLDER
            if options.run is not None:
                self._log = self._runs / f"{_run_number(options.run):06d}" / LOG_FILE

    def newest(self) -> Path:
        """Raises ConfigError where nothing has run yet."""
        if self._log is not None:
            return self._log
        assert self._runs is not None
        numbers = [int(entry.name) for entry in self._runs.iterdir() if entry.name.isdigit()] if self._runs.is_dir() else []
        for number in sorted(numbers, reverse=True):
            path = self._runs / f"{number:06d}" / LOG_FILE
            if path.exists():
                return path
        raise ConfigError(f"{self._runs}: nothing has run there yet")


def _log_of_daemon(run_id: str | None) -> Path:
    code, content = ask(find_daemon(run_id), "GET", "/status")
    if code != 200 or "folder" not in content:
        raise RefusedError("the daemon does not say where its log is; name its configuration or its run folder")
    return Path(content["folder"]) / LOG_FILE


def _run_number(run_id: str) -> int:
    number = run_id.rpartition("-")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise ConfigError(f"{run_id!r} names no run; write its run_id, or its number")
    return int(number)


def _since(text: str | None) -> int:
    """A moment, or how long ago, as ns UTC."""
    if text is None:
        return 0
    try:
        return max(time.time_ns() - parse_duration_ns(text), 0)
    except UnitError:
        return parse_moment(text)


def _show(event: dict[str, Any], selection: Selection, *, as_json: bool) -> None:
    if not selection.takes(event):
        return
    if as_json:
        print(json.dumps(event))
        return
    stamp, level, what = (str(event.get(key, "-")) for key in ("timestamp", "level", "event"))
    fields = " ".join(f"{key}={_value(value)}" for key, value in event.items() if key not in ("timestamp", "level", "event"))
    print(one_line(f"{stamp[:23].replace('T', ' ')}  {level:<8}  {what:<{EVENT_WIDTH}}  {fields}".rstrip()))


def _value(value: Any) -> str:
    """Text with a space in it in quotes, so that fields can be told apart."""
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and (not text or " " in text) else text
