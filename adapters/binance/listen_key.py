"""The futures' listen key: made, kept alive, and made anew when it is lost. Pure; monotonic ns."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from core.units import NS_PER_MINUTE, NS_PER_SECOND


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    life_ns: int = 60 * NS_PER_MINUTE  # after it was made or kept alive
    keep_ns: int = 20 * NS_PER_MINUTE
    retry_ns: int = 5 * NS_PER_SECOND
    # Given up so long before its end: a stream must not end by surprise.
    margin_ns: int = 2 * NS_PER_MINUTE


class KeyStep(IntEnum):
    CREATE = 0
    KEEP = 1


class ListenKeyLife:
    def __init__(self, limits: KeyLimits) -> None:
        self._limits = limits
        self.key = ""
        self._alive_until = 0
        self._due = 0
        self._is_asked = False

    def due(self, now: int) -> KeyStep | None:
        """What to ask for now; counts as asked until `created`, `kept` or `failed`."""
        if self._is_asked or now < self._due:
            return None
        self._is_asked = True
        if self.key and now >= self._alive_until - self._limits.margin_ns:
            self.key = ""
        return KeyStep.KEEP if self.key else KeyStep.CREATE

    def next_at(self) -> int | None:
        return None if self._is_asked else self._due

    def created(self, key: str, asked: int) -> bool:
        """True: it is another key than before, so the stream must be opened with it."""
        is_new = key != self.key
        self.key = key
        self._live(asked)
        return is_new

    def kept(self, asked: int) -> None:
        self._live(asked)

    def failed(self, now: int, *, is_gone: bool = False) -> None:
        """`is_gone`: the venue says that there is no such key (code -1125)."""
        self._is_asked = False
        if is_gone:
            self.key = ""
        self._due = now if is_gone else now + self._limits.retry_ns

    def lost(self, now: int) -> None:
        """The stream said that its key has expired."""
        self.key = ""
        if not self._is_asked:
            self._due = now

    def _live(self, asked: int) -> None:
        self._is_asked = False
        self._alive_until = asked + self._limits.life_ns
        self._due = asked + self._limits.keep_ns
