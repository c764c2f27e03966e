"""Looks at the clock: whether something keeps it right, how wrong it may be, and what keeps time in this machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.units import NS_PER_US
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.trading.clock import wall_offset_ns

AREA = "clock"
UNSYNCHRONISED = 0x40  # STA_UNSYNC of <linux/timex.h>
MICROSECONDS_MAX = 100_000  # venues refuse requests that are a second or so off; a tenth of that is worth a word
CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
# Read without leaving the process; every other one costs a system call or more for each stamp.
FAST_SOURCES = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
STEP_US_MAX = 2_000_000  # slewing moves it too, by little
SUSPENDED_S_MAX = 1.0
BOOT_STAMP = "UserspaceTimestamp"
SYSTEMCTL_S_MAX = 5.0
FIX = "run a time service (chrony, systemd-timesyncd): timedatectl set-ntp true"


class _Timex(ctypes.Structure):
    """struct timex of Linux on 64 bits; only asked with, never set."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("pps", ctypes.c_long * 2),
        ("shift", ctypes.c_int),
        ("counts", ctypes.c_long * 5),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel knows of its own clock. `error_us_max`: the most that it can be wrong."""

    is_synchronised: bool
    error_us_max: int


def kernel_clock() -> KernelClock:
    """Raises OSError where the kernel may not be asked."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return KernelClock(not timex.status & UNSYNCHRONISED, timex.maxerror)


def look_at_clock(*, has_venues: bool) -> list[Finding]:
    """`has_venues`: orders go to venues with clocks of their own, so a wrong one is more than a blemish."""
    return [_synchronised(has_venues), *_stepped(), _source()]


def _synchronised(has_venues: bool) -> Finding:
    try:
        clock = kernel_clock()
    except OSError as error:
        return warning(AREA, f"the kernel does not say whether it is synchronised: {error.strerror}", "ask outside the sandbox")
    error_ms = f"{clock.error_us_max // 1_000}.{clock.error_us_max % 1_000:03d} ms"
    if not clock.is_synchronised:
        say = problem if has_venues else warning
        return say(AREA, "nothing synchronises it: venues refuse requests with a wrong time, and stamps are worth little", FIX)
    if clock.error_us_max > MICROSECONDS_MAX:
        return warning(AREA, f"synchronised, but it may be {error_ms} off", "use a time server nearby, with chrony")
    return ok(AREA, f"synchronised, at most {error_ms} off")


def _stepped() -> list[Finding]:
    """Whether the clock was set since the boot, as far as anybody noted at the boot what it said then: systemd does."""
    noted_us = _wall_at_boot_us()
    if noted_us is None or time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC) > SUSPENDED_S_MAX:
        # Nobody noted it, or the machine has slept, which the clock that it was noted by does not count.
        return []
    moved_us = wall_offset_ns() // NS_PER_US - noted_us
    if abs(moved_us) <= STEP_US_MAX:
        return [ok(AREA, "not set since the boot")]
    how = "forward" if moved_us > 0 else "back"
    text = f"set {how} by {abs(moved_us) // 1_000_000} s since the boot: stamps from before and after do not compare"
    return [warning(AREA, text, "keep it right from the boot on: enable systemd-time-wait-sync or chrony-wait")]


def _wall_at_boot_us() -> int | None:
    """What the clock said when the boot's own clock said 0; None where systemd is not there to tell."""
    command = ["systemctl", "show", "--timestamp=us+utc", f"--property={BOOT_STAMP}", f"--property={BOOT_STAMP}Monotonic"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_S_MAX, check=True)
        found = dict(line.split("=", 1) for line in done.stdout.splitlines())
        wall = datetime.strptime(found[BOOT_STAMP], "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC)
        monotonic_us = int(found[f"{BOOT_STAMP}Monotonic"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None
    return int(wall.timestamp()) * 1_000_000 + wall.microsecond - monotonic_us


def _source() -> Finding:
    try:
        source = CLOCK_SOURCE.read_text(encoding="ascii").strip()
    except OSError:
        return warning(AREA, "the kernel does not say what keeps time", "ask outside the sandbox")
    if source in FAST_SOURCES:
        return ok(AREA, f"kept by {source}")
    return warning(
        AREA, f"kept by {source}, which is slow to read", "see why the kernel gave tsc up: dmesg | grep -i clocksource"
    )
