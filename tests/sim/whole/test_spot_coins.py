"""A daemon at the simulated Binance spot, with fees in coins: what leaves the account unsaid halts it, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from core.enums import TradingState
from daemon.trading import reconcile
from daemon.trading.spot_balances import Shortfall
from sim.virtual.agenda import NS_PER_S
from tests.sim.whole.process import Process
from tests.sim.whole.world import World, open_world

KEY, COIN, SYMBOL = "BTCUSDT.BINANCE", "BTC", "BTCUSDT"
LOOKS_NS = 14 * NS_PER_S  # reconcile_interval, and a second look
LONG_NS = 200 * NS_PER_S
SEED = 5  # an account without coins
POLICIES = pytest.mark.parametrize("policy", ["ignore", "adopt"])


class Story:
    """A world in which nothing goes wrong but what a test does."""

    def __init__(self, world: World, policy: str) -> None:
        self.world = world
        self.kit: Any = world.venues[0]
        daemon = world._loaded.config.daemon.model_copy(update={"foreign_orders": policy})
        world._loaded = replace(world._loaded, config=world._loaded.config.model_copy(update={"daemon": daemon}))
        world.network.conditions.calm()
        self.kit.calm()
        self.kit.start(world._venue_loop)
        world._root.mkdir()
        world._start()
        assert world.process is not None
        self.process: Process = world.process
        self.process.disk.die_at_call = None
        self.wait(lambda: self.process.is_trading)

    @property
    def exchange(self) -> Any:
        return self.kit.simulator.desk.exchange

    @property
    def coins(self) -> int:
        return int(self.exchange.accounts["us"].balances.get(COIN, 0))

    @property
    def trader(self) -> Any:
        return self.process.daemon.session.trader

    @property
    def held(self) -> int:
        return int(self.trader.portfolio.by_instrument[KEY].qty)

    def wait(self, condition: Any, ns: int = LONG_NS) -> None:
        assert self.world.agenda.run_until(condition, self.world.agenda.ns + ns)

    def passes(self, ns: int) -> None:
        self.world.agenda.run_to(self.world.agenda.ns + ns)

    def act(self, name: str, **arguments: Any) -> None:
        self.kit._served.act(name, arguments)

    def move_unsaid(self, amount: int) -> None:
        """Coins come or go, and no stream tells of it."""
        self.exchange.adjust(self.world.agenda.ns, self.exchange.accounts["us"], COIN, amount)

    def trade_by_hand(self, side: str, qty: int) -> None:
        self.act("manual_order", symbol=SYMBOL, side=side, qty=qty)

    def is_halted(self) -> bool:
        return self.process.trading_state is TradingState.HALTED

    def halts(self) -> list[str]:
        return [alert.text for alert in self.process.watcher.alerts if "HALTED" in alert.text]


@contextmanager
def story(policy: str = "halt", seed: int = SEED) -> Iterator[Story]:
    with open_world(seed, venues=("binance-spot",)) as world:
        try:
            yield Story(world, policy)
        finally:
            world._count()


def take_some(told: Story) -> None:
    """Half of what the daemon holds is taken away behind its back."""
    told.wait(lambda: told.held > 0)
    told.move_unsaid(told.held * 1_000 // 2 - told.coins)


def test_a_coin_that_is_taken_away_halts_within_two_looks() -> None:
    with story() as told:
        take_some(told)
        told.wait(told.is_halted, LOOKS_NS)
        (text,) = told.halts()
        assert "the venue's books are not ours: BTC at BINANCE: at least 0.00" in text
        # A restart is HALTED, and a resume does not make it true: the next comparison halts again.
        told.passes(LOOKS_NS)
        assert any(text.startswith("BTC at BINANCE") for text in told.process.daemon.reconciling.last.differences)


def test_without_the_comparison_nobody_would_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "shortfalls", lambda *_arguments: iter(()))
    with story() as told:
        take_some(told)
        told.passes(3 * LOOKS_NS)
        assert told.halts() == []


def test_ordinary_trading_with_fees_in_coins_never_halts() -> None:
    with story() as told:
        told.passes(3 * LONG_NS)
        assert told.halts() == []
        assert told.trader.portfolio.cash[COIN] < 0, "fees were paid in coins"
        assert told.trader.portfolio.venue_money["BINANCE", COIN] == told.trader.portfolio.cash[COIN]


@POLICIES
def test_what_a_person_trades_sends_and_finds_does_not_halt(policy: str) -> None:
    with story(policy) as told:
        told.wait(lambda: told.held > 100)
        for side in ("BUY", "SELL", "BUY", "BUY", "SELL", "SELL"):
            # Each purchase leaves its fee's worth of coins less behind than was sold before.
            told.trade_by_hand(side, 30)
            told.passes(4 * NS_PER_S)
        told.passes(LONG_NS)
        assert told.halts() == []
        told.act("deposit", currency=COIN, amount=50_000)
        told.passes(LOOKS_NS)
        told.act("deposit", currency=COIN, amount=-50_000)
        told.passes(LOOKS_NS)
        told.move_unsaid(7)
        told.passes(LONG_NS)
        assert told.halts() == []
        take_some(told)
        told.wait(told.is_halted, LOOKS_NS)


def test_fees_of_somebody_elses_purchase_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them a purchase and a sale by hand, each set aside, would look like a loss of coins."""
    monkeypatch.setattr("core.portfolio.Portfolio.set_aside", lambda *_arguments: None)
    with story("ignore") as told:
        told.wait(lambda: told.held > 100)
        told.trade_by_hand("BUY", 30)
        told.wait(told.is_halted)
        assert "BTC at BINANCE" in told.halts()[0]


def test_both_numbers_are_said() -> None:
    short = Shortfall("BINANCE", "BTC", 100_000_001, 5)
    assert short.text == "BTC at BINANCE: at least 1.00000001 by what is held here, 0.00000005 in the account"
