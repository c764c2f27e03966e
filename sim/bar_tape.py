"""A BarVenue in the form that the backtest's driver takes."""

from __future__ import annotations

from collections.abc import Sequence

from core.approved import Approved
from core.commands import CancelTimer, SetTimer
from core.events import AnyEvent
from sim.bar_venue import BarVenue


class BarTape:
    """`ts_start` is the beginning of the first bar."""

    has_quiet_market: bool = False

    def __init__(self, venue: BarVenue, ts_start: int) -> None:
        self.inner = venue
        self.ts_start = ts_start

    @property
    def now(self) -> int:
        return max(self.inner.now, self.ts_start)

    @property
    def done(self) -> bool:
        return self.inner.is_done

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        return self.inner.advance(until_ts)

    def best(self, _instrument_id: str) -> tuple[int, int] | None:
        """Bars have no quotes: the last close, which the Trader knows, is the mark."""
        return None

    def send(self, approved: Approved) -> None:
        self.inner.send(approved)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        self.inner.schedule(command)

    def totals(self) -> dict[str, int]:
        return {"rows": self.inner.rows}
