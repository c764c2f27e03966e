"""What the guardian thinks of the daemon: takes what it hears and the time, gives triggers and alerts. No socket, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from core.enums import TradingState
from daemon.guardian.messages import Phased
from daemon.guardian.places import name_of_run
from daemon.trading.listener import Beat, Severity


class Phase(Enum):
    UNKNOWN = "unknown"  # nothing was heard of it since this guardian began
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"
    GONE = "gone"  # ended without saying so


@dataclass(frozen=True, slots=True)
class Trigger:
    """A reason to kill; `kind` is one of docs/GUARDIAN.md."""

    kind: str
    reason: str


class Watch:
    """Times are seconds on one clock that never goes back. `tell` gets each alert."""

    def __init__(self, heartbeat_timeout_s: float, stop_s_max: float, tell: Callable[[str, Severity, str], None]) -> None:
        self.phase = Phase.UNKNOWN
        self.run_id = ""
        self.beat: Beat | None = None  # the last one of this run
        self.beat_at: float | None = None
        self.beats = 0
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._stop_s_max = stop_s_max
        self._tell = tell
        self._since = 0.0  # of the phase, or of the last beat while it runs
        self._has_fired = False

    # What is heard.

    def found(self, phase: str, run_id: str, now: float) -> None:
        """A daemon that ran before this guardian did, as its card says: from now on it has to show that it works."""
        known = {each.value: each for each in Phase}
        self._enter(known.get(phase, Phase.UNKNOWN), now)
        self.run_id = run_id

    def hear_phase(self, message: Phased, now: float) -> None:
        try:
            phase = Phase(message.phase)
        except ValueError:
            # Of a later version: what it means is not known here, and beats tell the rest.
            return
        self._enter(phase, now)
        self._stop_s_max = message.stop_s_max
        if message.run_id:
            self._take_run(message.run_id)

    def hear_beat(self, beat: Beat, now: float) -> None:
        self._take_run(beat.run_id)
        self._compare(beat)
        self.beat, self.beat_at = beat, now
        self.beats += 1
        if self.phase in (Phase.UNKNOWN, Phase.STARTING, Phase.GONE):
            self.phase = Phase.RUNNING
        if self.phase is Phase.RUNNING:
            self._since = now
            self._has_fired = False

    def hear_end(self) -> Trigger | None:
        """The process has ended."""
        if self.phase in (Phase.ENDED, Phase.UNKNOWN, Phase.GONE):
            return None
        phase, self.phase = self.phase, Phase.GONE
        return self._fire("daemon_gone", f"the process of {self.run_id or 'the daemon'} ended while it was {phase.value}")

    def tick(self, now: float) -> Trigger | None:
        silence = now - self._since
        if self.phase is Phase.RUNNING and silence > self._heartbeat_timeout_s:
            return self._fire("heartbeat_lost", f"no proof of work from {self.run_id or 'the daemon'} for {silence:.1f} s")
        if self.phase is Phase.STOPPING and silence > self._stop_s_max + self._heartbeat_timeout_s:
            return self._fire("stop_overdue", f"{self.run_id or 'the daemon'} has been stopping for {silence:.1f} s")
        return None

    @property
    def is_well(self) -> bool:
        """It runs and has shown so in time."""
        return self.phase is Phase.RUNNING and not self._has_fired and self.beat is not None

    @property
    def is_halted(self) -> bool:
        return self.phase is Phase.RUNNING and self.beat is not None and self.beat.trading_state == TradingState.HALTED.name

    # What follows.

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self._since = now
        self._has_fired = False

    def _fire(self, kind: str, reason: str) -> Trigger | None:
        """Once for each time that it goes wrong."""
        if self._has_fired:
            return None
        self._has_fired = True
        return Trigger(kind, reason)

    def _take_run(self, run_id: str) -> None:
        if run_id == self.run_id:
            return
        before, self.run_id = self.run_id, run_id
        if before and _number_of(run_id) <= _number_of(before):
            text = f"run {run_id} after {before}: numbers only grow, so the account's folder is an older copy"
            self._tell("head_contradiction", Severity.CRITICAL, text)

    def _compare(self, beat: Beat) -> None:
        """A journal only grows, and a run has one."""
        last = self.beat
        if last is None:
            return
        text = ""
        if last.run_id == beat.run_id and last.journal_id != beat.journal_id:
            text = f"{beat.run_id} was in journal {last.journal_id} and is in {beat.journal_id}"
        elif last.run_id != beat.run_id and last.journal_id == beat.journal_id:
            text = f"{beat.run_id} writes the journal of {last.run_id}"
        elif last.run_id == beat.run_id and beat.records <= last.records:
            text = f"{beat.run_id} had {last.records} records at beat {last.number} and has {beat.records} at beat {beat.number}"
        if text:
            self._tell("head_contradiction", Severity.CRITICAL, f"the journal contradicts what was seen of it: {text}")


def _number_of(run_id: str) -> int:
    text = run_id.removeprefix(f"{name_of_run(run_id)}-")
    return int(text) if text.isdigit() else 0
