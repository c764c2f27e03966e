"""What a running daemon tells those who watch over it: proof of work, alerts, and the phase it is in."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Made when a Heartbeat has gone the whole way: inbox, journal, step. No timer can make one for a loop that stands still."""

    run_id: str
    pid: int
    number: int  # of the Heartbeat, from 1
    ts: int  # ns UTC
    lag_ns: int  # from the Heartbeat's stamp to its step
    events: int
    orders_sent: int
    open_orders: int
    queue_depth: int
    conflated: int
    trading_state: str
    trading_state_reason: str
    journal_id: str
    records: int  # of the journal, this Heartbeat included
    head: str  # the hash of the journal's chain at `records`, hexadecimal
    records_durable: int = 0  # those of them that a power cut leaves


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should hear of. `kind` is one of docs/GUARDIAN.md."""

    kind: str
    severity: Severity
    text: str
    ts: int  # ns UTC


class Tell(Protocol):
    """The daemon's own way to make an Alert."""

    def __call__(self, kind: str, severity: Severity, text: str) -> None: ...


class Listener(Protocol):
    """Called in the loop: returns at once and does not raise, whatever happens to whoever listens."""

    def phase(self, phase: str, text: str) -> None:
        """starting, running, stopping or ended; `text` is for people."""

    def beat(self, beat: Beat) -> None: ...

    def alert(self, alert: Alert) -> None: ...
