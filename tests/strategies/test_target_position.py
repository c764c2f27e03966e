"""TargetPosition against the hostile venue: one order at a time, and never past the targets it was given."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.approved import Approved
from core.commands import SubmitOrder
from core.context import StrategyContext
from core.enums import TradingState
from core.events import AnyEvent, Bar, TradingStateSet
from core.strategy import Subscription
from strategies.target_position import TargetPosition
from tests.strategies.hostile_venue import HostileVenue
from tests.strategies.scripted import INSTRUMENT, INSTRUMENT_ID, MS, Script

QTY = 10
BAR_NS = 1_000 * MS


class Wanderer:
    """Wants a random one of short, flat and long at each bar."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.position = TargetPosition(INSTRUMENT)
        self.bars = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT_ID, bars_ns=BAR_NS)]

    def on_bar(self, context: StrategyContext, bar: Bar) -> None:
        self.position.seek(context, self.random.choice((-QTY, 0, QTY)))

    def on_halt(self, context: StrategyContext, state: TradingState, reason: str) -> None:
        self.position.on_halt(context, state)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_never_past_a_target_and_one_order_at_a_time(seed: int) -> None:
    random = Random(seed)
    script, venue = Script(Wanderer(random)), HostileVenue(random)
    now, is_halted = 0, False

    def step(event: AnyEvent) -> None:
        was_open = len(script.open_orders())
        for approved in script.trader.step(event):
            assert isinstance(approved, Approved)
            assert not isinstance(approved.command, SubmitOrder) or not (was_open or is_halted)
            venue.send(approved)
        highest, lowest = script.worst_position()
        assert -QTY <= lowest <= highest <= QTY
        assert len(script.open_orders()) <= 1

    def deliver(events: list[Any]) -> None:
        for event in events:
            step(event)

    for _ in range(200):
        now += random.choice((0, 1, 1_000)) * MS
        chance = random.random()
        if chance < 0.4:
            step(Bar(now, now, INSTRUMENT_ID, 10_000, 10_000, 10_000, 10_000, 1, BAR_NS))
        elif chance < 0.45:
            is_halted = not is_halted
            step(TradingStateSet(now, now, TradingState.HALTED if is_halted else TradingState.ACTIVE, "test"))
        elif chance < 0.7 and venue.inbox:
            deliver(venue.answer(now, kindly=False))
        elif chance < 0.8 and venue.lost:
            deliver(venue.resolve(now))
        elif venue.live:
            deliver(venue.fill(now))
