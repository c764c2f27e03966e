"""What came of one world."""

from __future__ import annotations

from dataclasses import dataclass, field

STEPS = 12  # deeds of a world, where nobody says otherwise


class Violated(Exception):
    """Something is as it must not be; the verdict says what."""


@dataclass
class Verdict:
    """`violations` is empty where all is well. `events` counts what happened in the simulation, `ns` its time."""

    seed: int
    steps: int
    violations: list[str] = field(default_factory=list)
    events: int = 0
    ns: int = 0
    venues: tuple[str, ...] = ()
    orders: int = 0
    fills: int = 0
    lives: int = 0
    fired: dict[str, int] = field(default_factory=dict)
    digest: str = ""  # of everything that went over the wire, and when
