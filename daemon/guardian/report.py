"""What a kill did and when: one report that fills while it goes on, for the command line, the status and the log."""

from __future__ import annotations

import time
from typing import Any

import anyio
import msgspec

NS_PER_US = 1_000


class VenueReport(msgspec.Struct, kw_only=True):
    """Times are us since the trigger; None: not yet."""

    venue: str
    cancels_sent_us: int | None = None  # when the last cancel of the first round was on the wire
    cancel_rounds: int = 0
    open_orders: int | None = None  # as the venue said last, reduce-only ones included
    can_add_risk: int | None = None  # of these, what is not reduce-only
    empty_us: int | None = None  # since when it is known to be empty
    positions: dict[str, int] = {}  # asked for with a flatten only
    flat_us: int | None = None
    failures: int = 0
    last_failure: str = ""

    def is_verified(self, *, flatten: bool) -> bool:
        return self.empty_us is not None and (self.flat_us is not None or not flatten)


class KillRun:
    """One kill, from its trigger to its acknowledgement; whoever asks again while it goes on joins it."""

    def __init__(self, trigger: str, reason: str, uid: int, venues: tuple[str, ...], *, flatten: bool, started_ns: int) -> None:
        """`started_ns`: of the trigger, on the monotonic clock. `trigger` is one of docs/GUARDIAN.md."""
        self.trigger = trigger
        self.reason = reason
        self.uid = uid
        self.ts = time.time_ns()
        self.flatten = flatten
        self.started_ns = started_ns
        self.stages: dict[str, int] = {}  # us since the trigger
        self.daemon = "asked"  # halted, killed, gone; asked and refused are no end
        self.problems: list[str] = []
        self.venues = {venue: VenueReport(venue=venue) for venue in venues}
        self.fenced = anyio.Event()  # nothing of the daemon's can leave any more
        self.acknowledged = anyio.Event()

    def elapsed_us(self) -> int:
        return (time.monotonic_ns() - self.started_ns) // NS_PER_US

    def mark(self, stage: str) -> None:
        """The first time counts."""
        self.stages.setdefault(stage, self.elapsed_us())

    def fence(self, how: str) -> None:
        self.daemon = how
        self.mark("fenced")
        self.fenced.set()

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    @property
    def is_verified(self) -> bool:
        return self.acknowledged.is_set()

    def as_json(self) -> dict[str, Any]:
        return {
            "trigger": self.trigger,
            "reason": self.reason,
            "uid": self.uid,
            "ts": self.ts,
            "flatten": self.flatten,
            "verified": self.is_verified,
            "daemon": self.daemon,
            "stages_us": dict(self.stages),
            "venues": [
                {**msgspec.to_builtins(report), "verified": report.is_verified(flatten=self.flatten)}
                for report in self.venues.values()
            ],
            "problems": list(self.problems),
        }
