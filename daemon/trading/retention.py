"""What becomes of the folders of old runs: moved to an archive or deleted by policy, never one that something still needs.

Kept whatever the policy says: the run that trades, the one before it (a restart after a power cut may fall back to it), a run
whose journal is damaged, and one whose last seal is not in the anchor file that is configured.

Each step can be stopped at any byte and is done again by the next start: a run leaves `runs` by one rename, and an archived one
appears in the archive by one rename, after every byte of it is there.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import structlog

from core.errors import ConfigError, StorageError
from core.units import NS_PER_DAY
from daemon.config.build import expand_path
from daemon.config.loader import LoadedConfig
from daemon.config.places import account_folder
from daemon.journal.anchor import Anchors
from daemon.journal.files import DISK, DiskFiles, Files, make_durable_folder
from daemon.journal.format import JOURNAL_FOLDER
from daemon.journal.opening import known_anchors
from daemon.journal.reader import segments_of
from daemon.journal.reopen import Resume, find_end
from daemon.trading.listener import Severity, Tell
from daemon.trading.snapshot import snapshots_of
from daemon.trading.state_folder import RUNS_FOLDER

REMOVING = ".removing-"
INCOMING = ".incoming-"
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A run is kept while one of the two that are set says so; 0: that one is not set. Neither set: everything is kept."""

    runs: int
    age_ns: int
    archive: Path | None  # None: deleted

    @property
    def keeps_everything(self) -> bool:
        return not self.runs and not self.age_ns


@dataclass(frozen=True, slots=True)
class Retired:
    """What was done, or why it was not."""

    run_number: int
    what: str


async def retire_old_runs(
    loaded: LoadedConfig, current: int, previous: int, *, is_stopping: Callable[[], bool], alert: Tell
) -> None:
    """Beside the trading, in a thread. A disk that refuses is told of, and the next start goes on."""
    log: Any = structlog.get_logger("retention")
    try:
        retired = await anyio.to_thread.run_sync(
            retain_runs, loaded, current, previous, time.time_ns(), is_stopping, abandon_on_cancel=True
        )
    except (StorageError, ConfigError) as error:
        if not is_stopping():
            alert("retention", Severity.WARNING, str(error))
        return
    for run in retired:
        log.info("old run", run=run.run_number, what=run.what)


class _UntilStopped(DiskFiles):
    """An end of the daemon does not wait for a large run to be copied: what was begun is finished by the next start.

    Every piece that is copied and every file that goes is asked about; a rename is done at once.
    """

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping

    def write(self, descriptor: int, data: bytes) -> int:
        self._check()
        return super().write(descriptor, data)

    def remove(self, path: Path) -> None:
        self._check()
        super().remove(path)

    def _check(self) -> None:
        if self._is_stopping():
            raise StorageError("old runs: the daemon is stopping; the next start goes on with them")


def retain_runs(loaded: LoadedConfig, current: int, previous: int, now: int, is_stopping: Callable[[], bool]) -> list[Retired]:
    """As the configuration wants it. Raises ConfigError where the anchors cannot be read, StorageError where it was stopped."""
    settings = loaded.config.daemon
    archive = settings.archive
    policy = Retention(
        runs=settings.retention_runs,
        age_ns=settings.retention_days * NS_PER_DAY,
        archive=None if archive is None else expand_path(loaded, archive, "daemon.archive") / loaded.config.run.name,
    )
    runs = account_folder(loaded) / RUNS_FOLDER
    return list(
        retain(
            runs,
            policy,
            current=current,
            previous=previous,
            now=now,
            anchors=known_anchors(loaded),
            files=_UntilStopped(is_stopping),
        )
    )


def retain(
    runs: Path, policy: Retention, *, current: int, previous: int, now: int, anchors: Anchors | None, files: Files = DISK
) -> Iterator[Retired]:
    """Do it, run by run, the oldest first. `current` trades, `previous` is what it began with; `now` is ns UTC.

    `anchors`: what the configured anchor file holds; None where none is configured. Raises StorageError where a disk refuses.
    """
    try:
        _finish(runs, policy, files)
        numbers = sorted(int(entry.name) for entry in runs.iterdir() if entry.name.isdigit())
        for number in numbers:
            if number in (current, previous):
                continue
            yield from _drop_snapshots(runs, number, files)
        if policy.keeps_everything:
            return
        newest = set(numbers[-policy.runs :]) if policy.runs else set()
        for number in numbers:
            folder = runs / f"{number:06d}"
            is_young = policy.age_ns and now - _last_written_ns(folder) < policy.age_ns
            if number >= previous or number == current or number in newest or is_young:
                continue
            reason = _why_kept(folder, anchors, files)
            yield Retired(number, reason or _retire(runs, folder, number, policy.archive, files))
    except OSError as error:
        raise StorageError(f"{runs}: old runs cannot be retired: {error.strerror or error}") from error


def _finish(runs: Path, policy: Retention, files: Files) -> None:
    """What a start before this one had not finished."""
    for entry in sorted(runs.iterdir()):
        if entry.name.startswith(REMOVING):
            _remove_tree(entry, files)
    if policy.archive is not None and policy.archive.is_dir():
        for entry in sorted(policy.archive.iterdir()):
            if entry.name.startswith(INCOMING):
                _remove_tree(entry, files)


def _drop_snapshots(runs: Path, number: int, files: Files) -> Iterator[Retired]:
    """A later run has begun with its own state: nothing reads these any more."""
    dropped = snapshots_of(runs / f"{number:06d}")
    for path in dropped:
        files.remove(path)
    if dropped:
        yield Retired(number, f"{len(dropped)} snapshots dropped")


def _last_written_ns(folder: Path) -> int:
    """By the journal: what is cleared away beside it does not make the run younger."""
    segments = list((folder / JOURNAL_FOLDER).glob("*.tdj"))
    return max(path.stat().st_mtime_ns for path in segments or [folder])


def _why_kept(folder: Path, anchors: Anchors | None, files: Files) -> str:
    """Why somebody may still need it; empty where nobody does."""
    journal = folder / JOURNAL_FOLDER
    if not journal.is_dir() or not segments_of(journal):
        return ""  # it never began
    try:
        end = find_end(journal, files).resume
    except StorageError as error:
        return f"kept: its journal is damaged: {error}"
    if end is None or anchors is None or not end.records_sealed or _is_anchored(end, anchors):
        return ""
    return f"kept: the seal of its {end.records_sealed} records is not in the anchor file"


def _is_anchored(end: Resume, anchors: Anchors) -> bool:
    journal_id = end.header.journal_id
    return any(anchor.journal_id == journal_id and anchor.records >= end.records_sealed for anchor in anchors.anchors)


def _retire(runs: Path, folder: Path, number: int, archive: Path | None, files: Files) -> str:
    if archive is None:
        _delete(runs, folder, number, files)
        return "deleted"
    make_durable_folder(archive, 1, files)
    target = archive / folder.name
    if target.exists():
        if _journal_id(target, files) != _journal_id(folder, files):
            return f"kept: {target} is another run"
        # Copied whole by a start that died before it removed this one.
        _delete(runs, folder, number, files)
        return f"moved to {target}"
    try:
        files.rename(folder, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        incoming = archive / f"{INCOMING}{folder.name}"
        _copy_tree(folder, incoming, files)
        files.rename(incoming, target)
        files.sync_folder(archive)
        _delete(runs, folder, number, files)
    files.sync_folder(archive)
    files.sync_folder(runs)
    return f"moved to {target}"


def _journal_id(folder: Path, files: Files) -> str:
    journal = folder / JOURNAL_FOLDER
    end = find_end(journal, files).resume if journal.is_dir() and segments_of(journal) else None
    return "" if end is None else end.header.journal_id


def _delete(runs: Path, folder: Path, number: int, files: Files) -> None:
    """From here on it is no run any more, whatever of it is still there."""
    removing = runs / f"{REMOVING}{number:06d}"
    files.rename(folder, removing)
    files.sync_folder(runs)
    _remove_tree(removing, files)


def _remove_tree(folder: Path, files: Files) -> None:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _remove_tree(entry, files)
        else:
            files.remove(entry)
    files.remove_folder(folder)


def _copy_tree(source: Path, target: Path, files: Files) -> None:
    """Every file of it on the disk when this returns."""
    files.make_folder(target)
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _copy_tree(entry, target / entry.name, files)
        else:
            _copy_file(entry, target / entry.name, files)
    files.sync_folder(target)


def _copy_file(source: Path, target: Path, files: Files) -> None:
    descriptor = files.create(target)
    try:
        with source.open("rb") as reader:
            while data := reader.read(COPY_BYTES):
                while data:
                    data = data[files.write(descriptor, data) :]
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    stat = source.stat()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
