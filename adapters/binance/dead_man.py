"""The futures' dead-man switch: each symbol's countdown at the venue is set anew well before it runs out. Pure; monotonic ns.

If this process stops, the venue cancels the symbol's orders by itself. The price is that a refresh that comes late cancels them
too; so it is refreshed at a third of the countdown, a refresh that fails is repeated at once, and when one may have come too
late, that is said: orders must then be asked about.
"""

from __future__ import annotations

import msgspec

from core.units import NS_PER_MS, NS_PER_SECOND

REFRESHES_PER_COUNTDOWN = 3


class _Symbol(msgspec.Struct):
    due: int = 0
    in_flight: bool = False
    sent: int = 0
    # When the countdown runs out at the earliest, as far as is proven; 0: not armed.
    runs_out: int = 0


class DeadMan:
    """`countdown_ns` is how long the venue waits."""

    def __init__(self, symbols: tuple[str, ...], countdown_ns: int, *, retry_ns: int = NS_PER_SECOND // 2) -> None:
        assert countdown_ns >= 3 * NS_PER_SECOND, "a countdown shorter than a slow answer would cancel by itself"
        self.countdown_ms = countdown_ns // NS_PER_MS
        self._countdown = countdown_ns
        self._retry = retry_ns
        self._symbols = {symbol: _Symbol() for symbol in symbols}

    def due(self, now: int) -> list[str]:
        """Symbols to refresh now, in a stable order; each counts as under way until `armed` or `failed`."""
        due = [symbol for symbol, state in self._symbols.items() if not state.in_flight and state.due <= now]
        for symbol in due:
            state = self._symbols[symbol]
            state.in_flight, state.sent = True, now
        return due

    def next_at(self) -> int | None:
        return min((state.due for state in self._symbols.values() if not state.in_flight), default=None)

    def armed(self, symbol: str, now: int) -> bool:
        """The venue has taken it. False: the countdown before may have run out first, so its orders may be gone."""
        state = self._symbols[symbol]
        was_in_time = state.runs_out == 0 or now < state.runs_out
        state.in_flight = False
        # The venue began to count some time after it was sent: at the earliest then.
        state.runs_out = state.sent + self._countdown
        state.due = state.sent + self._countdown // REFRESHES_PER_COUNTDOWN
        return was_in_time

    def failed(self, symbol: str, now: int, *, was_sent: bool) -> None:
        """It was refused, not sent, or nobody knows. Until one is taken, the earlier countdown counts as running."""
        state = self._symbols[symbol]
        state.in_flight = False
        state.due = now + self._retry
        if was_sent and state.runs_out == 0:
            state.runs_out = state.sent + self._countdown

    def run_out(self, now: int) -> list[str]:
        """Symbols whose countdown may have run out: the venue may have canceled their orders."""
        return [symbol for symbol, state in self._symbols.items() if state.runs_out and state.runs_out <= now]
