"""What must hold for every maker against a hostile venue: limits, no self-crossing, silence when told to stop."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.approved import Approved
from core.commands import ReplaceOrder, SubmitOrder
from core.enums import MarketStatus, OrderStatus, Side, TradingState
from core.events import AnyEvent, GapDetected, Quote, StatusChanged, Stopping, TradingResumed, TradingStateSet
from strategies.adaptive_spread_maker import AdaptiveSpreadMaker
from strategies.inventory_skew_maker import InventorySkewMaker
from strategies.symmetric_maker import SymmetricMaker
from tests.strategies.hostile_venue import HostileVenue
from tests.strategies.scripted import INSTRUMENT, INSTRUMENT_ID, MS, Script

POSITION_MAX = 35
COMMON = {"instrument_id": INSTRUMENT_ID, "order_qty": "0.010", "position_qty_max": "0.035"}


def joining() -> Any:
    return SymmetricMaker(SymmetricMaker.Params.model_validate(COMMON), [INSTRUMENT])


def ladder() -> Any:
    values = {**COMMON, "half_spread": "0.1", "levels": 3}
    return SymmetricMaker(SymmetricMaker.Params.model_validate(values), [INSTRUMENT])


def skewing() -> Any:
    values = {**COMMON, "gamma_per_currency": 50.0, "fill_rate_per_s": 1.0, "fill_decay_per_price": 5.0, "samples_min": 1}
    return InventorySkewMaker(InventorySkewMaker.Params.model_validate(values), [INSTRUMENT])


def adapting() -> Any:
    values = {**COMMON, "half_spread_min": "0.1", "samples_min": 1, "levels": 2}
    return AdaptiveSpreadMaker(AdaptiveSpreadMaker.Params.model_validate(values), [INSTRUMENT])


class Ordeal:
    """One run of a maker against the venue; `step` checks everything after each event."""

    def __init__(self, maker: Any, levels: int, seed: int) -> None:
        self.random = Random(seed)
        self.script = Script(maker, position_qty_max=POSITION_MAX, orders_max=40)
        self.venue = HostileVenue(self.random)
        self.levels = levels
        self.now = 0
        self.mid = 10_000
        self.must_be_silent = False
        self.submits = 0

    def step(self, event: AnyEvent) -> None:
        trader = self.script.trader
        commands = trader.step(event)
        for approved in commands:
            assert isinstance(approved, Approved)
            self.check_command(approved.command)
            self.venue.send(approved)
        highest, lowest = self.script.worst_position()
        assert -POSITION_MAX <= lowest <= highest <= POSITION_MAX
        for side in Side:
            assert sum(order.side is side for order in self.script.open_orders()) <= self.levels

    def check_command(self, command: Any) -> None:
        if not isinstance(command, SubmitOrder | ReplaceOrder):
            return
        self.submits += 1
        assert not self.must_be_silent, f"{command!r} after a stop, a halt or a gap"
        assert not self.script.has_unknown(), f"{command!r} while the outcome of another request is unknown"
        assert type(command.price) is int
        assert type(command.quantity) is int
        assert not isinstance(command, SubmitOrder) or command.post_only

    def quote(self) -> Quote:
        self.mid += self.random.choice((-3, -1, 0, 0, 1, 3))
        wide = self.random.choice((1, 1, 2, 9))
        sides = self.random.choice(((5, 5),) * 8 + ((0, 5), (5, 0), (0, 0)))
        return Quote(self.now, self.now, INSTRUMENT_ID, self.mid, sides[0], self.mid + wide, sides[1])

    def withdrawn(self) -> bool:
        return all(order.status in (OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN) for order in self.script.open_orders())

    def interrupt(self, event: AnyEvent) -> None:
        self.must_be_silent = True
        self.step(event)
        assert self.withdrawn()

    def turn(self) -> None:
        """One thing happens."""
        self.now += self.random.choice((0, 1, 7, 400)) * MS
        chance = self.random.random()
        if chance < 0.03:
            self.interrupt(GapDetected(self.now, self.now, INSTRUMENT_ID))
            self.must_be_silent = False  # from the next quote on; the risk gate sees to that
        elif chance < 0.05:
            self.interrupt(TradingStateSet(self.now, self.now, TradingState.HALTED, "test"))
            self.drain(5)
            self.must_be_silent = False
            self.step(TradingResumed(self.now, self.now, "test"))
        elif chance < 0.07:
            self.interrupt(StatusChanged(self.now, self.now, INSTRUMENT_ID, MarketStatus.AUCTION))
            self.drain(5)
            self.must_be_silent = False
            self.step(StatusChanged(self.now, self.now, INSTRUMENT_ID, MarketStatus.TRADING))
        elif chance < 0.45:
            self.step(self.quote())
        elif chance < 0.75 and self.venue.inbox:
            self.deliver(self.venue.answer(self.now, kindly=False))
        elif chance < 0.8 and self.venue.lost:
            self.deliver(self.venue.resolve(self.now))
        elif self.venue.live:
            self.deliver(self.venue.fill(self.now))

    def deliver(self, events: list[AnyEvent]) -> None:
        for event in events:
            self.step(event)
        bids, asks = self.venue.prices(Side.BUY), self.venue.prices(Side.SELL)
        assert not bids or not asks or max(bids) < min(asks), f"own quotes crossed at the venue: {bids} {asks}"

    def drain(self, turns: int) -> None:
        """Quotes and answers while nothing new may be sent."""
        for _ in range(turns):
            self.now += MS
            self.step(self.quote())
            if self.venue.inbox:
                self.deliver(self.venue.answer(self.now, kindly=True))

    def finish(self) -> None:
        self.interrupt(Stopping(self.now, self.now, "test"))
        while self.venue.inbox or self.venue.lost:
            self.now += MS
            self.deliver(self.venue.answer(self.now, kindly=True) if self.venue.inbox else self.venue.resolve(self.now))
        self.step(self.quote())
        assert [order for order in self.script.open_orders() if order.client_order_id in self.venue.live] == []
        assert self.venue.live == {}


@pytest.mark.parametrize(("maker", "levels"), [(joining, 1), (ladder, 3), (skewing, 1), (adapting, 2)])
@settings(max_examples=60, deadline=None, print_blob=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_maker_keeps_its_word_against_a_hostile_venue(maker: Callable[[], Any], levels: int, seed: int) -> None:
    ordeal = Ordeal(maker(), levels, seed)
    for _ in range(200):
        ordeal.turn()
    ordeal.finish()


def test_the_ordeal_is_one() -> None:
    """The run above would prove little if hardly anything happened in it."""
    ordeal = Ordeal(joining(), 1, seed=1)
    for _ in range(2_000):
        ordeal.turn()
    statuses = {order.status for order in ordeal.script.trader.orders.orders.values()}
    assert {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REJECTED} <= statuses
    assert ordeal.submits > 300
    assert ordeal.script.trader.portfolio.fills_booked > 100
