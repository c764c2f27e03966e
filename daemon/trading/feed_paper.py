"""Paper trading on live feeds: adapters that only watch, and the simulated venue here that their market is played to."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from core.events import AnyEvent
from core.venue_adapter import Adapter, EventSink, OnReconnect, VenueState
from daemon.trading.clock import Clock
from daemon.trading.simulated_adapter import POLL_S, SimulatedAdapter
from sim.live_feed import LiveFeedVenue


class FeedPaperAdapter:
    """`watching`: by venue. Orders meet the simulated venue only; as its ledger, they end with this process."""

    def __init__(self, watching: Mapping[str, Adapter], venue: LiveFeedVenue, clock: Clock, positions: dict[str, int]) -> None:
        self._watching = dict(watching)
        self._simulated = SimulatedAdapter(venue, clock, positions)
        self._market = _Market(venue, clock)
        self.adopt = self._simulated.adopt
        self.send = self._simulated.send
        self.query = self._simulated.query

    async def open(self) -> None:
        """Raises what the first feed raises that cannot be opened; the others are closed again."""
        opened: list[Adapter] = []
        try:
            for adapter in self._watching.values():
                await adapter.open()
                opened.append(adapter)
        except BaseException:
            with anyio.CancelScope(shield=True):
                for adapter in opened:
                    await adapter.close()
            raise

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Until cancelled. Raises what the first one raises that fails; the others end with it."""
        failures: list[Exception] = []

        async def one(adapter: Adapter | SimulatedAdapter, to: EventSink) -> None:
            try:
                await adapter.run(to, _nothing)
            except Exception as error:
                failures.append(error)
                raise

        try:
            async with anyio.create_task_group() as tasks:
                for adapter in self._watching.values():
                    tasks.start_soon(one, adapter, self._market)
                await one(self._simulated, sink)
        except BaseExceptionGroup:
            if not failures:
                raise
        if failures:
            raise failures[0]

    async def close(self) -> None:
        for adapter in self._watching.values():
            await adapter.close()


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
