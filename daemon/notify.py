"""Tells systemd what the daemon does, by the protocol of sd_notify: ready, alive, stopping, and a line for people.

READY=1 leaves when the venue has been asked and trading begins, not before. WATCHDOG=1 leaves for a Beat only: a heartbeat that
went through inbox, journal and step. A loop that hangs feeds nothing, and systemd kills it.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence

from core.errors import ConfigError
from core.units import NS_PER_SECOND, NS_PER_US
from daemon.one_line import one_line
from daemon.trading.listener import Alert, Beat

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"

BEATS_MIN = 3  # heartbeats that must fit into WatchdogSec: one that comes late is no hang
# Each sign of progress before READY asks for so long; nothing between two of them takes longer.
START_STEP_US = 60_000_000
# What a stop takes beside daemon.stop_timeout: the last snapshot, the journal's seal.
CLOSE_US = 15_000_000
STATUS_EVERY_S = 5
STATUS_EVERY_NS = STATUS_EVERY_S * NS_PER_SECOND  # each change of the status line wakes whoever watches the unit
STATUS_CHARACTERS_MAX = 300
PULSE_S = 1


class Notifier:
    """Sends lines to `address`, a path or an abstract name ("@…"). Raises ConfigError for anything else."""

    def __init__(self, address: str) -> None:
        if address[:1] not in ("/", "@") or len(address) < 2:
            raise ConfigError(f"${SOCKET_VARIABLE} is {address!r}: neither a path nor an abstract name of a unix socket")
        self._address = "\0" + address[1:] if address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, lines: Sequence[str]) -> bool:
        """One datagram; False where systemd is not there, or has no room for it now."""
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


class NotifyListener:
    """A Listener that keeps systemd informed. `stop_ns_max`: daemon.stop_timeout."""

    def __init__(self, notifier: Notifier, stop_ns_max: int) -> None:
        self._notifier = notifier
        self._stop_us = stop_ns_max // NS_PER_US + CLOSE_US
        # READY=1 and STOPPING=1 have to arrive: where systemd had no room, they go with what is sent next.
        self._pending: list[str] = []
        self._status_ts = 0
        self._trading_state = ""

    def phase(self, phase: str, text: str) -> None:
        lines = [_status(f"{phase}: {text}" if text else phase)]
        match phase:
            case "starting":
                lines.append(f"EXTEND_TIMEOUT_USEC={START_STEP_US}")
            case "running":
                self._pending.append("READY=1")
            case "stopping":
                self._pending.append("STOPPING=1")
                lines.append(f"EXTEND_TIMEOUT_USEC={self._stop_us}")
            case _:
                pass
        self._send(lines)

    def beat(self, beat: Beat) -> None:
        lines = ["WATCHDOG=1"]
        if beat.trading_state != self._trading_state or beat.ts - self._status_ts >= STATUS_EVERY_NS:
            self._trading_state, self._status_ts = beat.trading_state, beat.ts
            lines.append(_status(_text_of(beat)))
        self._send(lines)

    def alert(self, alert: Alert) -> None:
        """Alerts are for people and reach them by other ways; systemd hears of the trading state with the next beat."""

    def _send(self, lines: list[str]) -> None:
        if self._notifier.send([*self._pending, *lines]):
            self._pending.clear()


class Pulse:
    """Keeps systemd informed of a process that has no Listener; without `notifier` it does nothing."""

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        self._is_ready = False
        self._beat_at = self._status_at = -math.inf
        self._status = ""

    def beat(self, text: str, now_s: float) -> None:
        """A turn of the loop is done; the first one says READY. `text` is for people, `now_s` of any clock that goes on."""
        if self._notifier is None or now_s - self._beat_at < PULSE_S:
            return
        lines = ["WATCHDOG=1"] if self._is_ready else ["READY=1", "WATCHDOG=1"]
        if text != self._status and now_s - self._status_at >= STATUS_EVERY_S:
            lines.append(_status(text))
        if self._notifier.send(lines):
            self._is_ready, self._beat_at = True, now_s
            if len(lines) > 1:
                self._status, self._status_at = text, now_s

    def stop(self) -> None:
        if self._notifier is not None:
            self._notifier.send(["STOPPING=1", _status("stopping")])


def systemd_listeners(heartbeat_ns: int, stop_ns_max: int) -> list[NotifyListener]:
    """One where systemd asked for it, none elsewhere. Raises ConfigError where the heartbeat does not fit WatchdogSec."""
    asked = _asked()
    if asked is None:
        return []
    notifier, watchdog_ns = asked
    if watchdog_ns is not None:
        _check_watchdog(watchdog_ns, heartbeat_ns)
    return [NotifyListener(notifier, stop_ns_max)]


def systemd_pulse() -> Pulse:
    """For a process whose loop beats at least each PULSE_S. Raises ConfigError where that does not fit the unit's WatchdogSec."""
    asked = _asked()
    if asked is None:
        return Pulse(None)
    notifier, watchdog_ns = asked
    if watchdog_ns is not None and watchdog_ns < PULSE_S * BEATS_MIN * NS_PER_SECOND:
        least = _seconds(PULSE_S * BEATS_MIN * NS_PER_SECOND)
        raise ConfigError(f"the unit's WatchdogSec ({_seconds(watchdog_ns)}) is too short: set it to at least {least}")
    return Pulse(notifier)


def _asked() -> tuple[Notifier, int | None] | None:
    """What systemd wants to hear: where, and WatchdogSec in ns where it set one for this process.

    The variables are taken out of the environment: no program that is started from here can speak for this one.
    """
    address = os.environ.pop(SOCKET_VARIABLE, "")
    watchdog_us, pid = os.environ.pop(WATCHDOG_VARIABLE, ""), os.environ.pop(WATCHDOG_PID_VARIABLE, "")
    if not address:
        return None
    if not watchdog_us or (pid and pid != str(os.getpid())):
        return Notifier(address), None
    if not (watchdog_us.isascii() and watchdog_us.isdigit() and 0 < int(watchdog_us) < 1 << 63):
        raise ConfigError(f"${WATCHDOG_VARIABLE} is {watchdog_us!r}, no number of microseconds")
    return Notifier(address), int(watchdog_us) * NS_PER_US


def _check_watchdog(watchdog_ns: int, heartbeat_ns: int) -> None:
    if heartbeat_ns * BEATS_MIN > watchdog_ns:
        raise ConfigError(
            f"daemon.heartbeat_interval ({_seconds(heartbeat_ns)}) does not fit the unit's WatchdogSec "
            f"({_seconds(watchdog_ns)}), which must have room for {BEATS_MIN} heartbeats: "
            f"set heartbeat_interval to at most {_seconds(watchdog_ns // BEATS_MIN)}, "
            f"or WatchdogSec= to at least {_seconds(heartbeat_ns * BEATS_MIN)} (systemctl edit UNIT)"
        )


def _seconds(ns: int) -> str:
    whole, fraction = divmod(ns, NS_PER_SECOND)
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "s"


def _text_of(beat: Beat) -> str:
    state = beat.trading_state
    if beat.trading_state_reason and state != "ACTIVE":
        state += f" ({beat.trading_state_reason})"
    return (
        f"{beat.run_id} {state}, {beat.open_orders} orders open, {beat.orders_sent} sent, "
        f"{beat.queue_depth} events wait, lag {beat.lag_ns // NS_PER_US} us"
    )


def _status(text: str) -> str:
    # One line: a reason that somebody typed must not become a line of the protocol.
    return f"STATUS={one_line(text, STATUS_CHARACTERS_MAX)}"
