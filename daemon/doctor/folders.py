"""Looks at who may read and change what trading rests on: state, sockets, secrets, configuration."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from daemon.control.socket_path import socket_folder
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.secrets import FOLDER_VARIABLE

AREA = "permissions"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def look_at_folders(state: Path | None, config: Path | None) -> list[Finding]:
    """`state`: the account's folder, which need not be there yet."""
    return [*_state(state), *_sockets(), *_secrets(), *_config(config)]


def _state(state: Path | None) -> Iterator[Finding]:
    if state is None:
        return
    if not state.exists():
        parent = next(path for path in state.absolute().parents if path.exists())
        if os.access(parent, os.W_OK):
            yield ok(AREA, f"{state} will be made at the first start")
        else:
            yield problem(AREA, f"{state} is not there, and {parent} cannot be written", "make it, for the user that trades")
        return
    try:
        found = state.stat()
    except OSError as error:
        yield problem(AREA, f"{state}: {error.strerror}", "ask as the user that trades, or as root")
        return
    wrong = _entries_of_others(state, found.st_uid)
    if wrong:
        yield problem(AREA, f"{wrong[0]} belongs to another user than {state}", f"chown -R {found.st_uid} {state}")
    if found.st_mode & OTHERS_WRITE:
        yield problem(AREA, f"{state}: others may change it (mode {_mode(found)})", f"chmod go-w {state}")
    elif found.st_mode & stat.S_IRWXO:
        yield warning(AREA, f"{state}: everybody may read orders and positions (mode {_mode(found)})", f"chmod o-rwx {state}")
    elif not wrong:
        yield ok(AREA, f"{state} belongs to user {found.st_uid}, mode {_mode(found)}")


def _entries_of_others(state: Path, uid: int) -> list[Path]:
    """What a daemon that was once started as another user, as root mostly, has left: the next one cannot write it."""
    try:
        return [path for path in (*state.iterdir(), *(state / "runs").glob("*")) if path.lstat().st_uid != uid][:1]
    except OSError:
        return []


def _sockets() -> Iterator[Finding]:
    folder = socket_folder()
    try:
        found = folder.lstat()
    except OSError:
        yield ok(AREA, f"{folder} will be made for the control sockets")
        return
    if not stat.S_ISDIR(found.st_mode) and not folder.is_dir():
        yield problem(AREA, f"{folder} is no folder", "set TRADINGD_RUNTIME_DIR to one")
    elif stat.S_ISDIR(found.st_mode) and found.st_mode & OTHERS:
        yield problem(AREA, f"{folder}: others may reach the control sockets (mode {_mode(found)})", f"chmod 700 {folder}")
    else:
        yield ok(AREA, f"control sockets are in {folder}")


def _secrets() -> Iterator[Finding]:
    for folder in filter(None, os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep)):
        where = Path(folder)
        try:
            open_ones = [path for path in (where, *where.iterdir()) if path.stat().st_mode & OTHERS]
        except OSError as error:
            yield problem(AREA, f"${FOLDER_VARIABLE} ({where}): {error.strerror}", "make it, mode 0700, or unset the variable")
            continue
        if open_ones:
            yield problem(AREA, f"{open_ones[0]}: others may read or change it", f"chmod -R go= {where}")
        else:
            yield ok(AREA, f"secrets are in {where}")


def _config(config: Path | None) -> Iterator[Finding]:
    if config is None:
        return
    for path in (config, config.absolute().parent):
        found = path.stat()
        # A sticky folder, as /tmp, lets only owners replace files.
        if found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
            yield problem(AREA, f"{path}: others may change what is traded (mode {_mode(found)})", f"chmod go-w {path}")
            return
    yield ok(AREA, f"{config} can be changed by its owner only")


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"
