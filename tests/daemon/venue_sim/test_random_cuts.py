"""Trader, session and venue in virtual time over a wire that breaks at any byte: nothing is lost, done twice or left in doubt.

Everything comes from one seed: TRADINGD_TEST_SEED=N repeats one.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.sim.session import TradeSession
from core.approved import Approved
from core.enums import CashKind, OrderStatus, Side, TradingState
from core.errors import TransportError
from core.events import AnyEvent, CashMoved, OrderFilled, Quote, Started, StateRestored, TradingStateSet
from core.restore import capture
from core.strategy import Subscription
from core.trader import Trader
from core.venue_adapter import VenueState
from daemon.trading.reconcile import ForeignPolicy, look
from daemon.trading.wiring import build_bare_trader
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import Exchange, Peer, Settings
from tests.daemon.trading.harness import load
from tests.daemon.venue_sim.random_market import INSTRUMENT, RandomMarket

STEPS = 400
MONEY_PER_POINT = 10**6  # prices are cents, money 10^-8
STEP_NS_MAX = 4_000_000
SETTINGS = Settings(
    account="main", tokens={"trade": ("",), "switch": ("",), "watch": ("",)}, instrument_ids=frozenset((INSTRUMENT,))
)
SUBSCRIPTION = Subscription(instrument_id=INSTRUMENT, quotes="size")


class Restless:
    """Orders, replaces and cancels as the dice say."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def subscriptions(self) -> list[Subscription]:
        return [SUBSCRIPTION]

    def on_quote(self, context: Any, quote: Quote) -> None:
        draw = self._draw
        for order in context.open_orders(INSTRUMENT):
            if order.is_pending:
                continue
            dice = draw.random()
            if dice < 0.2:
                context.cancel(order)
            elif dice < 0.4:
                context.replace(order, draw.randint(1, 5), quote.bid_price - draw.randint(0, 5))
        if draw.random() < 0.7:
            context.submit(INSTRUMENT, draw.choice((Side.BUY, Side.SELL)), draw.randint(1, 5), quote.bid_price)


class World:
    """The two ends, and a wire whose bytes are on their way until they are delivered, a few at a time, or lost."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.money_draw = random.Random(f"money {seed}")
        self.ts = 1_000_000_000
        self.market = RandomMarket(self.draw)
        self.lines: list[dict[str, Any]] = []
        self.exchange = Exchange(self.market, VenueAccount({INSTRUMENT: 0}), SETTINGS, self.lines.append)
        self.session = TradeSession(account="main", token="", instrument_ids=[INSTRUMENT], subscriptions=[SUBSCRIPTION])
        self.trader = self.make_trader(folder)
        self.cash_start = self.trader.portfolio.cash["USD"]
        self.peer: Peer | None = None
        self.to_venue = bytearray()
        self.to_us = bytearray()
        self.is_sending = False
        self.has_begun = False  # what was moved before the first login is in the cash that the account began with
        self.stale: tuple[Peer, bytes] | None = None
        self.booked: list[tuple[int, str]] = []
        self.moved: list[str] = []  # movements of money, as they were booked
        self.cuts = self.unknown = 0

    def make_trader(self, folder: Path) -> Trader:
        loaded = load(folder)
        trader = build_bare_trader(loaded)
        trader.add_strategy("restless", Restless(self.draw))
        restored = StateRestored(self.ts, self.ts, 0, capture(build_bare_trader(loaded)))
        for event in (restored, Started(self.ts, self.ts, "session-1")):
            trader.step(event)
        return trader

    # Our end.

    def step_trader(self, event: AnyEvent) -> None:
        event = msgspec.structs.replace(event, ts_init=self.ts)
        before, moved_before = self.trader.portfolio.fills_booked, self.trader.cash.booked
        made = self.trader.step(event)
        if isinstance(event, CashMoved) and self.trader.cash.booked != moved_before:
            self.moved.append(event.movement_id)
        if isinstance(event, OrderFilled) and self.trader.portfolio.fills_booked != before:
            self.booked.append((event.client_order_id, event.execution_id))
        for command in made:
            assert isinstance(command, Approved)
            if self.is_sending:
                self.to_venue += self.session.send(self.ts, command.command)
            else:
                for answer in self.session.refuse(self.ts, command.command):
                    self.step_trader(answer)

    def connect(self) -> None:
        self.peer = self.exchange.connect(self.ts)
        self.to_venue.clear()
        self.to_us.clear()
        self.to_venue += self.session.connected(self.ts)

    def cut(self) -> None:
        """Both ends hear of it, what was on its way is lost, and the venue's end may hear of it later."""
        assert self.peer is not None
        self.cuts += 1
        if self.draw.random() < 0.7:
            self.exchange.disconnect(self.ts, self.peer)
        else:
            # Half open: what it still has to read comes while the next connection is there already.
            self.stale = (self.peer, bytes(self.to_venue))
        self.peer = None
        self.is_sending = False
        for event in self.session.lost(self.ts):
            self.step_trader(event)
        self.unknown += sum(order.status is OrderStatus.UNKNOWN for order in self.trader.orders.open_orders())

    def deliver_stale(self) -> None:
        if self.stale is not None and self.peer is not None and self.peer.role == "trade":
            peer, data = self.stale
            self.stale = None
            lines = len(self.lines)
            self.exchange.receive(self.ts, peer, data)
            # At most its login was still on the way, and takes the account over; whatever it had to say is not heard.
            assert {line["kind"] for line in self.lines[lines:]} <= {"login", "disconnected"}
            self.exchange.disconnect(self.ts, peer)

    def reconcile(self, venue: VenueState) -> None:
        found = look(self.trader, venue, self.ts, ForeignPolicy.HALT)
        assert found.problems == ()
        for event in found.events:
            self.step_trader(event)

    # The wire.

    def turn(self) -> None:
        self.ts += self.draw.randrange(1, STEP_NS_MAX)
        if self.has_begun and self.money_draw.random() < 0.05:
            self.exchange.move_cash(self.ts, CashKind.FUNDING, "USD", self.money_draw.randint(-1_000, 1_000), INSTRUMENT)
        if self.peer is None:
            if self.draw.random() < 0.5:
                self.connect()
            self.exchange.advance(self.ts)
            return
        if self.draw.random() < 0.05:
            self.cut()
            return
        self.exchange.advance(self.ts)
        self.pass_on(self.draw.randrange(4_000))

    def pass_on(self, bytes_max: int) -> None:
        """So many bytes each way; a cut may come in the middle of a message."""
        peer = self.peer
        assert peer is not None
        data, self.to_venue = bytes(self.to_venue[:bytes_max]), self.to_venue[bytes_max:]
        self.exchange.receive(self.ts, peer, data)
        self.to_us += peer.out
        peer.out.clear()
        data, self.to_us = bytes(self.to_us[:bytes_max]), self.to_us[bytes_max:]
        events = self.session.receive(self.ts, data)
        state = self.session.take_login_state()
        if state is not None:
            self.reconcile(state)
            self.is_sending = self.has_begun = True
        for event in events:
            self.step_trader(event)
        self.deliver_stale()

    def settle(self) -> None:
        """Connected, everything delivered, and every order canceled."""
        if self.peer is None:
            self.connect()
        for number in range(2_000):
            self.ts += STEP_NS_MAX
            self.exchange.advance(self.ts)
            try:
                self.pass_on(1 << 20)
            except TransportError:
                self.cut()
                self.connect()
            if self.is_sending and number % 50 == 10:
                self.step_trader(TradingStateSet(self.ts, self.ts, TradingState.HALTED, "the end"))
            if number > 100 and not self.trader.orders.open_orders():
                return
        raise AssertionError(self.trader.orders.open_orders())


def run(folder: Path, seed: int) -> World:
    world = World(folder, seed)
    world.connect()
    for _ in range(STEPS):
        try:
            world.turn()
        except TransportError:
            # The venue has closed the connection: a login of ours that came while the one before was still there.
            world.cut()
    world.settle()
    return world


def check(world: World) -> None:
    filled = [(line["client_order_id"], line["execution_id"]) for line in world.lines if line["kind"] == "filled"]
    assert sorted(world.booked) == sorted(filled)
    assert len(set(filled)) == len(filled)
    moved = [line for line in world.lines if line["kind"] == "cash_moved"]
    assert sorted(world.moved) == sorted(line["movement_id"] for line in moved)
    paid = sum(
        line["price"] * line["qty"] * MONEY_PER_POINT * (-1) ** line["side"].startswith("B")
        for line in world.lines
        if line["kind"] == "filled"
    )
    assert world.trader.portfolio.cash["USD"] == world.cash_start + paid + sum(line["amount"] for line in moved)
    submitted = [line["client_order_id"] for line in world.lines if line["kind"] == "submit"]
    assert len(set(submitted)) == len(submitted)
    assert (
        world.trader.portfolio.by_instrument[INSTRUMENT].qty
        == world.market.position
        == world.exchange.account.positions[INSTRUMENT]
    )
    state = world.trader.states[INSTRUMENT]
    assert (state.open_buy_qty, state.open_sell_qty, state.open_orders) == (0, 0, 0)
    numbers = [line["number"] for line in world.lines if "number" in line]
    assert numbers == list(range(1, len(numbers) + 1))


SEEDS = [int(os.environ["TRADINGD_TEST_SEED"])] if "TRADINGD_TEST_SEED" in os.environ else list(range(20))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wire_that_breaks_anywhere_loses_and_repeats_nothing(tmp_path: Path, seed: int) -> None:
    try:
        world = run(tmp_path, seed)
        check(world)
    except Exception:
        print(f"to repeat: TRADINGD_TEST_SEED={seed} python -m pytest tests/daemon/venue_sim/test_random_cuts.py")
        raise
    assert world.cuts > 0
    assert world.booked
    assert world.moved
    assert world.unknown > 0
