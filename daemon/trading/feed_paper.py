"""Paper trading on live feeds: adapters that only watch, and the simulated venue here that their market is played to."""

from __future__ import annotations

from functools import partial

import anyio

from core.events import AnyEvent
from core.venue_adapter import Adapter, EventSink, OnReconnect, VenueState
from daemon.trading.clock import Clock
from daemon.trading.simulated_adapter import POLL_S, SimulatedAdapter
from daemon.trading.together import together
from sim.driver import Venue
from sim.live_feed import LiveFeedVenue


class FeedPaperAdapter:
    """`watching` brings the market. Orders meet the simulated venue only; as its ledger, they end with this process."""

    def __init__(
        self, watching: Adapter, venue: LiveFeedVenue, clock: Clock, positions: dict[str, int], paying: Venue | None = None
    ) -> None:
        """`paying`: the venue with what positions pay, where they pay anything."""
        self._watching = watching
        self._simulated = SimulatedAdapter(paying or venue, clock, positions)
        self._market = _Market(venue, clock)
        self.open = watching.open
        self.close = watching.close
        self.adopt = self._simulated.adopt
        self.send = self._simulated.send
        self.query = self._simulated.query

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Until cancelled. Raises what the first of the two raises that fails; the other ends with it."""
        await together(partial(self._watching.run, self._market, _nothing), partial(self._simulated.run, sink, on_reconnect))


class _Market:
    """An EventSink in front of the simulated venue."""

    def __init__(self, venue: LiveFeedVenue, clock: Clock) -> None:
        self._venue = venue
        self._clock = clock

    def offer(self, event: AnyEvent) -> bool:
        if self._venue.is_full:
            return False
        self._venue.take_market(event, self._clock.now())
        return True

    async def put(self, event: AnyEvent) -> None:
        while not self.offer(event):
            await anyio.sleep(POLL_S)


def _nothing(_state: VenueState) -> None:
    """Whoever only watches has no orders that a venue could tell of."""
