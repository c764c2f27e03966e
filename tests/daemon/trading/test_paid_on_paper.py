"""Funding by the clock: what the simulated venue pays comes by the stream, and again to whoever asks."""

from __future__ import annotations

import anyio

from core.events import AnyEvent, CashMoved, Quote
from core.venue_adapter import VenueState
from daemon.trading.simulated_adapter import SimulatedAdapter
from sim.funding import ConstantFunding, FundedVenue
from tests.core.records import PERPETUAL
from tests.daemon.trading.harness import HandClock
from tests.sim.test_funding import Happened

KEY = PERPETUAL.instrument_id
S = 10**9


class Inbox:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.offer(event)


def test_it_comes_by_the_stream_and_by_a_question() -> None:
    inbox, answers = Inbox(), list[VenueState]()

    async def story() -> None:
        market = Happened([Quote(S, S, KEY, 1_000_000, 1, 1_000_000, 1)], 10 * S)
        schedule = ConstantFunding(instrument=PERPETUAL, interval_ns=4 * S, rate_each=100_000)
        venue = FundedVenue(market, [schedule], {KEY: 3}, 0)
        adapter = SimulatedAdapter(venue, HandClock(10 * S), {KEY: 3})
        await adapter.run(inbox, lambda _state: None)
        answers.extend([await adapter.query(since) for since in (0, 4 * S + 1, 9 * S)])

    anyio.run(story)
    paid = [event for event in inbox.events if isinstance(event, CashMoved)]
    assert [(each.ts_event, each.amount) for each in paid] == [(4 * S, -3 * 10**6), (8 * S, -3 * 10**6)]
    assert [answer.cash_moves for answer in answers] == [tuple(paid), tuple(paid[1:]), ()]
