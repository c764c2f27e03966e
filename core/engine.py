"""What every execution engine is: simulated venue, paper broker and live adapters alike."""

from __future__ import annotations

from typing import Protocol

from core.approved import Approved
from core.commands import CancelTimer, SetTimer


class ExecutionEngine(Protocol):
    """Takes approved commands; every answer comes back as an event through the inbox, never as a return value."""

    def send(self, approved: Approved) -> None: ...


class Timers(Protocol):
    """Takes timer commands; answers with TimerFired at or after the time asked."""

    def schedule(self, command: SetTimer | CancelTimer) -> None: ...
