"""Where the guardian and what it guards meet: sockets in the control folder, the latch and the card in the account's folder."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from core.errors import StorageError
from daemon.control.socket_path import BEAT_SUFFIX, PATH_BYTES_MAX, SUFFIX, socket_folder
from daemon.guardian.process import start_ticks

PREFIX = "guardian-"
LINK_SUFFIX = ".link"
CARD_SUFFIX = ".card"
CARD_FILE = "daemon.card"
KILL_FILE = "KILL"


def guardian_socket(name: str) -> Path:
    """Answers GET /status and POST /kill."""
    return _place(f"{PREFIX}{name}{SUFFIX}")


def beat_socket(name: str) -> Path:
    """Where the daemon sends its beats."""
    return _place(f"{PREFIX}{name}{BEAT_SUFFIX}")


def link_socket(name: str, pid: int) -> Path:
    """Where the daemon with this number hears the guardian's answers."""
    return _place(f"{PREFIX}{name}.{pid}{LINK_SUFFIX}")


def links_left_over(name: str) -> list[Path]:
    """Those of daemons that are gone."""
    found = socket_folder().glob(f"{PREFIX}{glob.escape(name)}.*{LINK_SUFFIX}")
    return [path for path in found if start_ticks(_pid_of(path)) is None]


def _pid_of(link: Path) -> int:
    number = link.name.removesuffix(LINK_SUFFIX).rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def card_in_control_folder(name: str) -> Path:
    return socket_folder() / f"{name}{CARD_SUFFIX}"


def cards_present() -> list[str]:
    """Names of the accounts whose daemon has left its card here, running or not."""
    return sorted(path.name.removesuffix(CARD_SUFFIX) for path in socket_folder().glob(f"*{CARD_SUFFIX}"))


def guardians_present() -> list[str]:
    """Names of the accounts that have a guardian's socket; some may be left over from one that was killed."""
    return sorted(
        path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
        for path in socket_folder().glob(f"{PREFIX}*{SUFFIX}")
        if path.is_socket()
    )


def name_of_run(run_id: str) -> str:
    """`run.name` of a run_id such as "paper-17"."""
    name, _, number = run_id.rpartition("-")
    return name if name and number.isdigit() else run_id


def _place(file_name: str) -> Path:
    path = socket_folder() / file_name
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise StorageError(f"{path}: is too long for a socket; set TRADINGD_RUNTIME_DIR to a shorter folder")
    return path
