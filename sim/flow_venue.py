"""The embedded market: a SimulatedVenue whose other participants are the seeded order-flow generator."""

from __future__ import annotations

from collections.abc import Sequence

from core.events import AnyEvent
from core.units import NS_PER_SECOND
from native.flow import Flow
from native.venue import lib
from sim.outer_venue import OuterVenue
from sim.venue import SimulatedVenue

# One call of `advance` looks at most this far ahead: a strategy that sleeps must not keep the daemon from answering.
STEP_NS = 10 * NS_PER_SECOND


class FlowVenue(OuterVenue):
    """Generated until `ts_end` (ns UTC); what is in flight then may still run out."""

    def __init__(self, venue: SimulatedVenue, flow: Flow, instrument_id: str, *, ts_start: int, ts_end: int) -> None:
        super().__init__(venue)
        self._flow = flow  # the venue borrows it
        self.ts_start = ts_start
        self.ts_end = ts_end
        self.done = False
        code = lib.venue_flow_attach(venue.native.handle, venue.index_of(instrument_id), flow.handle)
        venue.native.checked(code, "venue_flow_attach")
        venue.finish()

    @property
    def now(self) -> int:
        return max(self.inner.now, self.ts_start)

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        venue = self.inner
        if self.done:
            return venue.advance(until_ts)
        events = venue.advance(min(until_ts, self.now + STEP_NS, self.ts_end))
        if not events and (venue.is_done or venue.now >= self.ts_end):
            self.done = True
        return events
