"""What `audit verify` can find, and the report it makes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Damage(Enum):
    """What happened, as far as the bytes can tell."""

    EDITED = "edited"  # bytes of a frame, a header or a preamble were changed
    REMOVED = "removed"  # frames or a whole segment are missing, and what followed is still there
    INSERTED = "inserted"  # frames that do not belong here, or a copy of one that does
    REORDERED = "reordered"  # a frame of this journal stands in the wrong place
    CUT = "cut"  # the end is missing, and something proves that there was more
    REWRITTEN = "rewritten"  # the chain is consistent, but a seal in it is not signed by the journal's key
    WRONG_KEY = "wrong key"  # signed, but not by a key that is known here; or not signed where it should be
    ANCHOR = "anchor"  # the anchor knows another journal, or is itself damaged


class Verdict(Enum):
    WHOLE = "whole"
    UNFINISHED = "unfinished"  # nothing is damaged, but there is no signed end: still being written, killed, or cut
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place. `record` counts from 1; None where a place has no offset, frame or record."""

    damage: Damage
    file: str
    message: str
    offset: int | None = None
    frame: int | None = None
    record: int | None = None


@dataclass(slots=True, kw_only=True)
class Report:
    """What was read, what it proves and what is wrong with it."""

    journal_id: str = ""
    run_id: str = ""
    public_key: str = ""  # that the journal names; empty: unsigned
    key_is_known: bool = False  # and is the one that was expected from outside
    segments: int = 0
    frames: int = 0  # good ones
    records: int = 0  # in good frames
    records_sealed: int = 0  # up to the last good seal
    seals: int = 0
    anchors: int = 0  # that were found in the journal as they were written
    heads: int = 0  # that the guardian saw and that are in the chain
    is_ended: bool = False
    unfinished_bytes: int = 0
    repairs: list[str] = field(default_factory=list)  # what writers say they cut off after a crash
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return Verdict.DAMAGED
        return Verdict.WHOLE if self.is_ended else Verdict.UNFINISHED

    def as_json(self) -> dict[str, Any]:
        plain = asdict(self)
        plain["findings"] = [{**asdict(finding), "damage": finding.damage.value} for finding in self.findings]
        return {"verdict": self.verdict.value, **plain}
