"""Two reckless strategies on a hostile venue: no limit over the account or a strategy is ever passed by what is on the wire.

The venue is that of tests/core/test_exposure.py, over two instruments: its own ledger, late and lost answers, fills before
acknowledgements. After every action the worst that could still happen is added up from that ledger alone.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.approved import Approved
from core.commands import ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, OrderStatus, Side, TradingState
from core.events import OrderDenied, OrderFilled, Quote, TradingResumed
from core.risk import RateLimit
from core.risk_limits import (
    AccountLimits,
    ExecutionLimit,
    ExposureLimit,
    LossLimits,
    MessageLimit,
    SelfTrade,
    StrategyBudget,
    WindowLimit,
)
from core.strategy import Subscription
from core.trader import Trader
from tests.core.account import MONEY, PERP, STOCK, WIDE
from tests.core.records import EQUITY, PERPETUAL
from tests.core.test_exposure import Venue, VenueOrder, restamped

KEYS = (STOCK, PERP)
LOT = {STOCK: 1, PERP: 1_000}  # worth 100 of money each, at prices that do not move
PRICE = {STOCK: 10_000, PERP: 1_000}
GROSS_MAX, NET_MAX, CAPITAL_MAX = 14, 10, 9  # lots
POSITION_MAX, OPEN_MAX, MESSAGES_MAX, RESERVE, WINDOW_NS = 7, 6, 18, 8, 30
ORDERS_MAX = 7
LOT_MONEY = 100 * MONEY
BUDGET = StrategyBudget(
    capital_max=CAPITAL_MAX * LOT_MONEY,
    position_qty_max={STOCK: POSITION_MAX * LOT[STOCK], PERP: POSITION_MAX * LOT[PERP]},
    open_orders_max=OPEN_MAX,
    orders=WindowLimit(events_max=ORDERS_MAX, window_ns=WINDOW_NS),
)
LIMITS = AccountLimits(
    currency="USD",
    conversion={"USDT": 10**12},
    exposure=ExposureLimit(gross_max=GROSS_MAX * LOT_MONEY, net_max=NET_MAX * LOT_MONEY),
    leverage_ppm_max=1_000_000,
    messages=MessageLimit(messages_max=MESSAGES_MAX, cancel_reserve=RESERVE, window_ns=WINDOW_NS),
    self_trade=SelfTrade.OTHER_STRATEGIES,
    executions=ExecutionLimit(executions_max=3, window_ns=WINDOW_NS, is_halting=True),
    rejects=WindowLimit(events_max=4, window_ns=WINDOW_NS),
    loss=LossLimits(daily_loss_max=500 * MONEY),
    strategies={"a": BUDGET, "b": BUDGET},
    mark_interval_ns=5,
)


class Reckless:
    """Submits, replaces and cancels at random on both instruments, far beyond what the limits allow."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.denied_by: set[str] = set()
        self.states: set[str] = set()

    def on_order(self, _context: Any, _order: Any, event: Any) -> None:
        if type(event) is OrderDenied:
            self.denied_by.add(event.limit)

    def on_halt(self, _context: Any, _state: Any, reason: str) -> None:
        self.states.add(reason.partition(":")[0])

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=key, quotes="packet") for key in KEYS]

    def on_quote(self, context: Any, _quote: Quote) -> None:
        random = self.random
        for _ in range(random.randint(1, 4)):
            key = random.choice(KEYS)
            orders = context.open_orders(key)
            action = random.random()
            price = PRICE[key] + random.randint(-3, 3)
            if not orders or action < 0.6:
                context.submit(key, random.choice(list(Side)), LOT[key] * random.randint(1, 6), price)
            elif action < 0.85:
                context.replace(random.choice(orders), LOT[key] * random.randint(1, 6), price)
            else:
                context.cancel(random.choice(orders))


class World(Venue):
    """The hostile venue with a ledger by strategy and instrument, in lots' units."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.held = {(who, key): 0 for who in "ab" for key in KEYS}
        self.messages: deque[tuple[int, str, str]] = deque()

    def receive(self, commands: Any) -> None:
        super().receive(commands)
        for sent in commands:
            assert type(sent) is Approved
            command = sent.command
            if isinstance(command, SubmitOrder | ReplaceOrder):
                self.messages.append((command.ts, "order", self.orders[command.client_order_id].command.strategy_id))
            else:
                self.messages.append((command.ts, "cancel", ""))

    def fill(self, order: VenueOrder) -> None:
        qty = self.random.randint(1, order.leaves)
        order.filled += qty
        self.executions += 1
        command = order.command
        self.held[command.strategy_id, command.instrument_id] += qty if command.side is Side.BUY else -qty
        price = PRICE[command.instrument_id]
        fields = (
            command.instrument_id,
            f"x{self.executions}",
            command.side,
            price,
            qty,
            order.leaves,
            LiquiditySide.MAKER,
            0,
            "USD",
        )
        self.tell(order, OrderFilled, *fields)
        order.is_dead = order.leaves == 0

    def worst(self, who: str, key: str) -> tuple[int, int]:
        """(bought, sold) if all that buys (sells) fills; who "": the account."""
        held = sum(qty for (strategy, of), qty in self.held.items() if of == key and who in ("", strategy))
        sums = [held, -held]
        for order in self.orders.values():
            if order.command.instrument_id == key and who in ("", order.command.strategy_id):
                sums[order.command.side] += order.worst()
        return sums[0], sums[1]

    def check(self) -> None:
        def lots(who: str, side: int | None) -> int:
            """In units of 1/1000 lot."""
            return sum((max(w) if side is None else w[side]) * 1_000 // LOT[key] for key in KEYS for w in [self.worst(who, key)])

        assert lots("", None) <= GROSS_MAX * 1_000
        assert max(lots("", 0), lots("", 1)) <= NET_MAX * 1_000
        for who in "ab":
            assert lots(who, None) <= CAPITAL_MAX * 1_000, who
            for key in KEYS:
                assert max(self.worst(who, key)) <= POSITION_MAX * LOT[key], (who, key)
        self.check_rates()

    def check_rates(self) -> None:
        messages = self.messages
        while messages and self.now - messages[0][0] >= WINDOW_NS:
            messages.popleft()
        assert sum(kind == "order" for _, kind, _ in messages) <= MESSAGES_MAX - RESERVE
        for who in "ab":
            assert sum(owner == who for _, _, owner in messages) <= ORDERS_MAX


def run(seed: int, actions: int) -> tuple[Trader, World]:
    random = Random(seed)
    world = World(random)
    trader = Trader(
        instruments=[EQUITY, PERPETUAL],
        cash={"USD": 25 * LOT_MONEY},
        limits=dict.fromkeys(KEYS, WIDE),
        rate=RateLimit(orders_max=10**6),
        run_number=1,
        account=LIMITS,
    )
    for who in "ab":
        trader.add_strategy(who, Reckless(random))
    for key in KEYS:
        world.receive(trader.step(Quote(1, 1, key, PRICE[key], 100, PRICE[key], 100)))
    for _ in range(actions):
        world.now += 1
        live = [order for order in world.orders.values() if order.has_arrived and order.leaves]
        inbound = [order for order in world.orders.values() if order.inbound]
        outbound = [order for order in world.orders.values() if order.outbound]
        choice = random.random()
        if choice < 0.3:
            key = random.choice(KEYS)
            world.receive(trader.step(Quote(world.now, world.now, key, PRICE[key], 100, PRICE[key], 100)))
        elif choice < 0.32 and trader.risk.states.is_restricted:
            for scope in ("", "a", "b"):
                world.receive(trader.step(TradingResumed(world.now, world.now, "go on", strategy_id=scope)))
        elif choice < 0.55 and inbound:
            world.process(random.choice(inbound))
        elif choice < 0.7 and live:
            world.misbehave(random.choice(live))
        elif outbound:
            order = random.choice(outbound)
            world.receive(trader.step(restamped(order.outbound.popleft(), world.now)))
        world.check()
        check_open_orders(trader)
        check_halted(trader)
    return trader, world


def check_open_orders(trader: Trader) -> None:
    """Counted as we know of them: the venue may have ended one whose answer is on its way."""
    for who in "ab":
        orders = trader.orders.open_orders(None, who)
        assert len(orders) <= OPEN_MAX
        others = [order for order in trader.orders.open_orders() if order.strategy_id != who]
        for mine in orders:
            for other in others:
                if mine.instrument_id == other.instrument_id and mine.side is Side.BUY and other.side is Side.SELL:
                    assert mine.price is not None
                    assert other.price is not None
                    assert mine.price < other.price


def check_halted(trader: Trader) -> None:
    for who in "ab":
        if trader.risk.states.of(who) is TradingState.HALTED:
            statuses = {order.status for order in trader.orders.open_orders(None, who)}
            late = {OrderStatus.UNKNOWN, OrderStatus.PENDING_CANCEL}
            assert statuses <= late | {OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_REPLACE}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_limit_is_passed_on_the_wire(seed: int) -> None:
    run(seed, actions=300)


def test_the_simulation_meets_every_limit() -> None:
    """Guards the test above against growing tame."""
    denied_by: set[str] = set()
    states: set[str] = set()
    for seed in range(8):
        trader, _ = run(seed, actions=400)
        for context in trader.contexts:
            denied_by |= context.strategy.denied_by
            states |= context.strategy.states
        assert trader.portfolio.fills_booked > 0
    assert denied_by >= {
        "gross_exposure_max",
        "net_exposure_max",
        "messages_max",
        "strategy_capital_max",
        "strategy_position_qty_max",
        "strategy_open_orders_max",
        "strategy_orders_max",
        "self_trade",
        "executions_max",
        "trading_state",
    }
    assert states == {"executions_max", "rejects_max", "go on"}


def test_the_same_seed_gives_the_same_commands_trips_and_state() -> None:
    for seed in range(3):
        digests = {(trader.commands_digest.hexdigest(), trader.state_digest()) for trader, _ in (run(seed, 200), run(seed, 200))}
        assert len(digests) == 1, seed
