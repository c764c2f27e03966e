"""What each source of a market is to the loop around a SimulatedVenue: orders go in, timers are set, the best prices are seen."""

from __future__ import annotations

from core.approved import Approved
from core.commands import CancelTimer, OrderCommand, SetTimer
from sim.venue import SimulatedVenue


class OuterVenue:
    """The subclass brings the market and says how far it goes (`advance`, `now`, `done`)."""

    has_quiet_market: bool = True

    def __init__(self, venue: SimulatedVenue) -> None:
        self.inner = venue

    def best(self, instrument_id: str) -> tuple[int, int] | None:
        bids, asks = self.inner.depth(instrument_id, 1)
        return (bids[0][0], asks[0][0]) if bids and asks else None

    def send(self, approved: Approved) -> None:
        self.inner.send(approved)

    def take(self, command: OrderCommand) -> None:
        self.inner.take(command)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        if isinstance(command, SetTimer) and command.at < self.inner.now:
            # Asked for while an event from before the wake-up was handled, and due since: it fires now.
            command = SetTimer(command.ts, command.timer_id, self.inner.now)
        self.inner.schedule(command)

    def totals(self) -> dict[str, int]:
        return self.inner.totals()
