"""Facts as sentences for people: each kind at once, and while it goes on at most once in a while, with a count. Pure."""

from __future__ import annotations

from adapters.deribit.settings import Fact, FactKind
from core.units import NS_PER_SECOND

AGAIN_NS = 30 * NS_PER_SECOND
TEXT_CHARACTERS_MAX = 300


class Telling:
    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._told: dict[FactKind, int] = {}  # when it was last said, ns UTC
        self._left_out: dict[FactKind, int] = {}

    def tell(self, ts: int, fact: Fact) -> str:
        """What to say of `fact` now; "": nothing, it is counted."""
        kind = fact.kind
        if ts - self._told.get(kind, -AGAIN_NS) < AGAIN_NS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return ""
        self._told[kind] = ts
        more = self._left_out.pop(kind, 0)
        counted = f" (and {more} more of this kind before)" if more else ""
        text = " ".join(fact.text.split())[:TEXT_CHARACTERS_MAX]
        return f"{self._venue}: {kind.value}: {text}{counted}"
