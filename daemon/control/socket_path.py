"""Where control sockets live: one folder that only this user can enter, one socket for each running daemon."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.errors import StorageError

SUFFIX = ".sock"
BEAT_SUFFIX = ".beat"
# sockaddr_un holds 108 bytes on Linux, one of them the end.
PATH_BYTES_MAX = 107


def socket_folder() -> Path:
    """$TRADINGD_RUNTIME_DIR, or tradingd below $XDG_RUNTIME_DIR, or a folder of this user in the temporary directory."""
    chosen = os.environ.get("TRADINGD_RUNTIME_DIR")
    if chosen:
        return Path(chosen)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "tradingd"
    # Slow to load, and seldom needed.
    import tempfile

    return Path(tempfile.gettempdir()) / f"tradingd-{os.getuid()}"


def prepare_folder() -> Path:
    """Make the folder, and refuse one that somebody else could have put there."""
    folder = socket_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StorageError(f"{folder}: the folder for the control socket cannot be made: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(f"{folder}: must be a folder of this user with mode 0700; set TRADINGD_RUNTIME_DIR to another place")
    return folder


def socket_of(run_id: str) -> Path:
    path = socket_folder() / f"{run_id}{SUFFIX}"
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise StorageError(f"{path}: is too long for a socket; set TRADINGD_RUNTIME_DIR to a shorter folder")
    return path


def sockets_present() -> list[Path]:
    """All sockets there are, the newest first; some may be left over from a daemon that was killed."""
    folder = socket_folder()
    if not folder.is_dir():
        return []
    # A guardian's socket has a second one beside it, for beats: it is no daemon's.
    paths = [path for path in folder.glob(f"*{SUFFIX}") if path.is_socket() and not path.with_suffix(BEAT_SUFFIX).exists()]
    found = [(path.stat().st_mtime_ns, path) for path in paths]
    return [path for _, path in sorted(found, reverse=True)]
