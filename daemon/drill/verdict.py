"""What a drill came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from daemon.drill.auditor import Breach


class Result(Enum):
    HELD = "held"
    BROKEN = "BROKEN"
    NOT_SHOWN = "not shown"  # it had no occasion: that proves nothing
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`venue` "": of the whole configuration. `fired`: how often the fault happened. `note`: why, or where else it is shown."""

    number: int
    venue: str
    result: Result
    breaches: tuple[Breach, ...] = ()
    note: str = ""
    fired: int = 0
    orders: int = 0
    fills: int = 0
    seconds: float = 0.0
    kept: str = ""  # the folder that was left behind

    def plain(self, text: str) -> dict[str, Any]:
        return {
            "fault": self.number,
            "text": text,
            "venue": self.venue or None,
            "result": self.result.name,
            "broken": [{"oracle": each.oracle.value, "text": each.text} for each in self.breaches],
            "note": self.note,
            "fired": self.fired,
            "orders": self.orders,
            "fills": self.fills,
            "seconds": round(self.seconds, 1),
            "kept": self.kept or None,
        }


@dataclass(slots=True)
class Notes:
    """What is found while a drill goes on."""

    breaches: list[Breach] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
