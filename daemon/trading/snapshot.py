"""A snapshot: what the first records of a run's journal come to, so that a restart need not read them again.

It names the frame of the journal that it reaches to, by the hash of the whole chain up to there. One that does not fit the
journal beside it, or is not whole, is not used: the one before it is, or the journal from its beginning.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import msgspec

from core.errors import StorageError
from core.trader_state import TraderState
from daemon.journal.files import DISK, Files
from daemon.journal.tail import Place
from daemon.trading.durable_file import replace_file

MAGIC = b"TDSNAP01"
DIGEST_BYTES = 32
SNAPSHOTS_KEPT = 2
_NAME = re.compile(r"snapshot-(\d{12})\.tds\Z")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`place` is the end of the journal's part that it stands for."""

    place: Place
    ts: int  # of the last event
    state: TraderState


def write_snapshot(folder: Path, snapshot: Snapshot, files: Files = DISK) -> Path:
    """Durable when this returns; older ones but the last are removed. Raises StorageError."""
    path = folder / f"snapshot-{snapshot.place.records:012d}.tds"
    payload = msgspec.msgpack.encode(snapshot)
    replace_file(path, MAGIC + sha256(payload).digest() + payload, files)
    try:
        for old in snapshots_of(folder)[SNAPSHOTS_KEPT:]:
            files.remove(old)
    except OSError as error:
        raise StorageError(f"{folder}: an old snapshot cannot be removed: {error.strerror or error}") from error
    return path


def read_snapshot(path: Path) -> Snapshot | None:
    """None where it is not whole."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    payload = data[len(MAGIC) + DIGEST_BYTES :]
    if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : len(MAGIC) + DIGEST_BYTES] != sha256(payload).digest():
        return None
    try:
        return msgspec.msgpack.decode(payload, type=Snapshot)
    except msgspec.MsgspecError:
        # Whole, but of another version of tradingd.
        return None


def snapshots_of(folder: Path) -> list[Path]:
    """Newest first."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)) is not None]
    return [path for _, path in sorted(found, reverse=True)]
