"""Looks at the disk below a folder: its kind, its room against what the journal takes, and how long a write takes to be safe."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.doctor.finding import Finding, ok, problem, warning

AREA = "disk"
FREE_BYTES_MIN = 200 << 20  # below: it may not last the day
FREE_BYTES_LOW = 2 << 30
DAYS_MIN, DAYS_LOW = 1, 7  # that the journal may go on growing as the newest run's did
GROWTH_SECONDS_MIN = 600  # of a run, before its growth says anything
SYNCS = 32
SYNC_BYTES = 4_096
SYNC_NS_LOW, SYNC_NS_MAX = 10_000_000, 100_000_000

# What is gone after a boot; what breaks the promises of locks and of fsync; what has a layer of another in between.
VOLATILE = ("tmpfs", "ramfs", "devtmpfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuseblk", "virtiofs", "ceph", "glusterfs", "vboxsf")
LAYERED = ("overlay", "aufs", "ecryptfs")


@dataclass(frozen=True, slots=True)
class Mount:
    place: str
    kind: str
    options: frozenset[str]


def mount_of(path: Path) -> Mount | None:
    """What the file system below `path` is, as the kernel lists it; None where it does not say."""
    try:
        return mount_in(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"), path.resolve())
    except OSError:
        return None


def mount_in(mountinfo: str, path: Path) -> Mount | None:
    found = None
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        place, options = fields.split(" ")[4:6]
        kind, _, more = rest.split(" ")
        place = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), place)
        # Of two at one place the later one is what is seen.
        if path.is_relative_to(place) and (found is None or len(place) >= len(found.place)):
            found = Mount(place, kind, frozenset((*options.split(","), *more.split(","))))
    return found


def look_at_disk(folder: Path, journal: Path | None) -> list[Finding]:
    """`folder` is where the account's state is, or will be; `journal` its newest run's, where there is one."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    findings = [_kind(place), _room(place, journal)]
    if os.access(place, os.W_OK):
        findings.append(_latency(place))
    return findings


def _kind(place: Path) -> Finding:
    mount = mount_of(place)
    if mount is None:
        return warning(AREA, f"{place}: what file system it is on cannot be found out", "look with findmnt")
    text = f"{place} is on {mount.kind} ({mount.place})"
    if "ro" in mount.options:
        return problem(AREA, f"{text}, read-only", "set daemon.state_folder to a place that can be written, or mount it rw")
    if mount.kind in VOLATILE:
        return problem(AREA, f"{text}: it is gone after a boot", "set daemon.state_folder to a real disk")
    if mount.kind.split(".")[0] in REMOTE:
        return problem(AREA, f"{text}: locks and fsync do not hold what they promise there", "use a disk of this machine")
    if mount.options & {"nobarrier", "barrier=0"}:
        return problem(AREA, f"{text}, mounted without barriers: a power cut undoes what was synced", "mount it with barriers")
    if mount.kind in LAYERED:
        return warning(AREA, f"{text}, a container's own layer: it goes with the container", "mount a volume there")
    return ok(AREA, text)


def _room(place: Path, journal: Path | None) -> Finding:
    found = os.statvfs(place)
    free, files = found.f_bavail * found.f_frsize, found.f_favail
    text = f"{free >> 20} MiB free"
    fix = "make room, or move the folders of old runs away (all but the newest)"
    if found.f_files and files < 1_000:
        return problem(AREA, f"{text}, but only {files} more files", fix)
    growth = _growth_per_day(journal) if journal is not None else 0
    if growth:
        days = free // growth
        text += f", {days} days of a journal that grows by {growth >> 20} MiB a day"
        if days < DAYS_LOW:
            return (problem if days < DAYS_MIN else warning)(AREA, text, fix)
    if free < FREE_BYTES_MIN:
        return problem(AREA, text, fix)
    return warning(AREA, text, fix) if free < FREE_BYTES_LOW else ok(AREA, text)


def _growth_per_day(journal: Path) -> int:
    """Bytes, as the newest run's journal has grown; 0 where that says nothing yet."""
    try:
        found = [path.stat() for path in journal.iterdir()]
    except OSError:
        return 0
    if not found:
        return 0
    # The lock file beside the segments is written once, when the run begins.
    seconds = int(max(entry.st_mtime for entry in found) - min(entry.st_mtime for entry in found))
    return sum(entry.st_size for entry in found) * 86_400 // seconds if seconds >= GROWTH_SECONDS_MIN else 0


def _latency(place: Path) -> Finding:
    """Writes what a batch of the journal may be, and waits for the disk each time; an order waits so long before it leaves."""
    try:
        taken = sorted(_synced(place))
    except OSError as error:
        return problem(AREA, f"{place}: a write fails: {error.strerror}", "put the disk right")
    middle, longest = taken[SYNCS // 2], taken[-1]
    text = f"a synced write takes {middle // 1_000} us, at most {longest // 1_000} us"
    if middle > SYNC_NS_MAX:
        return problem(AREA, text, 'use a faster disk; daemon.sync = "batch" does not wait less')
    if middle > SYNC_NS_LOW:
        return warning(AREA, text, "each new order waits so long: use an SSD of this machine")
    return ok(AREA, text)


def _synced(place: Path) -> Iterator[int]:
    descriptor, name = tempfile.mkstemp(prefix=".doctor-", dir=place)
    try:
        for _ in range(SYNCS):
            began = time.perf_counter_ns()
            os.write(descriptor, bytes(SYNC_BYTES))
            os.fdatasync(descriptor)
            yield time.perf_counter_ns() - began
    finally:
        os.close(descriptor)
        os.unlink(name)
