"""One process of this machine, told from every later one that gets the same number, and ended for certain where it must be."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

START_FIELD = 22  # of /proc/PID/stat: the moment it began, in ticks since the boot
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Names this boot of the machine; empty where the system does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """When the process began, in ticks since the boot; None where there is none, or only what is left of one (a zombie)."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in field 2 may hold anything, spaces and brackets too: fields are counted from its end.
    fields = data[data.rfind(b")") + 2 :].split()
    if len(fields) <= START_FIELD - 3 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[START_FIELD - 3])


class WatchedProcess:
    """A process held by its pidfd: whatever is done to it is done to this one, whoever has its number later."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.descriptor = descriptor

    @property
    def has_ended(self) -> bool:
        return bool(select.select([self.descriptor], [], [], 0)[0])

    def kill(self) -> None:
        """SIGKILL. Raises PermissionError where it is another user's; a process that is gone stays gone."""
        try:
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        os.close(self.descriptor)


def watch_process(pid: int, started: int | None = None) -> WatchedProcess | None:
    """The process `pid`, and only the one that began at `started` where that is given; None where it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return None
    # Asked after it is held: now the number cannot go to another one any more.
    found = start_ticks(pid)
    process = WatchedProcess(pid, descriptor)
    if found is None or (started is not None and found != started) or process.has_ended:
        process.close()
        return None
    return process
