"""Pre-trade checks over the whole account and of each strategy's budget: what core/risk.py asks once an order is sound in itself.

Self-trade, message rate, repeated executions, the strategy's open orders, order rate, position and capital, then the account's
exposure. What is not configured is not looked at.
"""

from __future__ import annotations

from core.enums import Side
from core.errors import ConfigError
from core.market_state import MarketState
from core.order_store import OrderStore
from core.orders import Order
from core.portfolio import Portfolio
from core.risk_conversion import Conversion
from core.risk_exposure import ExposureBook, InstrumentExposure, Share
from core.risk_limits import AccountLimits, Denied, ExecutionLimit, SelfTrade, StrategyBudget
from core.risk_rates import SlidingWindow
from core.risk_self_trade import SelfTradeCheck

_BUY = Side.BUY


class _Budget:
    """One strategy's limits and what it has sent."""

    __slots__ = ("capital_max", "open_orders_max", "position_qty_max", "window")

    def __init__(self, budget: StrategyBudget) -> None:
        self.capital_max = budget.capital_max
        self.open_orders_max = budget.open_orders_max
        self.position_qty_max = budget.position_qty_max
        self.window = None if budget.orders is None else SlidingWindow(budget.orders.events_max, budget.orders.window_ns)


class InstrumentChecks:
    """What the checks need of one instrument, found once."""

    __slots__ = ("executions", "exposure", "self_trade")

    def __init__(self, exposure: InstrumentExposure, self_trade: SelfTradeCheck | None) -> None:
        self.exposure = exposure
        self.self_trade = self_trade
        self.executions: dict[str, tuple[SlidingWindow, SlidingWindow]] = {}  # by strategy, then Side


class PreTrade:
    """`check` judges without a trace; `approved` counts what leaves."""

    __slots__ = ("_budgets", "_executions", "_instruments", "_messages", "_needs_equity", "_reserve", "exposure")

    def __init__(
        self,
        states: dict[str, MarketState],
        limits: AccountLimits,
        margins_ppm: dict[str, int],
        conversion: Conversion,
        orders: OrderStore,
        portfolio: Portfolio,
    ) -> None:
        if any(margins_ppm.values()):
            missing = sorted(key for key in states if not margins_ppm.get(key))
            if missing:
                raise ConfigError(f"risk: the initial margin of {missing[0]} is missing; other instruments have one")
        self.exposure = ExposureBook(states, limits, margins_ppm, conversion, portfolio.position_of)
        prevention = limits.self_trade
        self._instruments = {
            key: InstrumentChecks(
                self.exposure.instruments[key],
                None if prevention is SelfTrade.ALLOWED else SelfTradeCheck(orders, key, prevention),
            )
            for key in states
        }
        for key, state in states.items():
            state.watch = self.exposure.instruments[key]
        for strategy_id, budget in limits.strategies.items():
            unknown = sorted(set(budget.position_qty_max) - set(states))
            if unknown:
                raise ConfigError(f"risk: position_qty_max of strategy {strategy_id!r} names an unknown instrument: {unknown[0]}")
        self._budgets = {strategy_id: _Budget(budget) for strategy_id, budget in limits.strategies.items()}
        self._needs_equity = limits.needs_equity
        self._executions: ExecutionLimit | None = limits.executions
        messages = limits.messages
        self._messages = None if messages is None else SlidingWindow(messages.messages_max, messages.window_ns)
        self._reserve = 0 if messages is None else messages.cancel_reserve

    def check(
        self,
        strategy_id: str,
        key: str,
        side: Side,
        added: int,
        price: int,
        reach: int,
        now: int,
        is_closing: bool,
        moved: Order | None,
    ) -> Denied | None:
        """May `added` units more be bought or sold? Prices in points: the market's, and the worst it may trade at.

        `is_closing`: trading is REDUCING and the order can only shrink a position: net exposure and unknown equity do not matter.
        `moved`: the order that a replace changes, None for a new one.
        """
        found = self._instruments[key]
        exposure = found.exposure
        if found.self_trade is not None:
            denied = found.self_trade.check(strategy_id, side, reach, moved)
            if denied is not None:
                return denied
        messages = self._messages
        if messages is not None and not messages.has_room(now, self._reserve):
            return Denied("messages_max", messages.count(now) + 1, messages.events_max - self._reserve)
        if self._executions is not None:
            windows = found.executions.get(strategy_id)
            if windows is not None and not windows[side].has_room(now):
                return Denied("executions_max", windows[side].count(now) + 1, windows[side].events_max)
        budget = self._budgets.get(strategy_id)
        if budget is not None:
            share = exposure.shares.get(strategy_id) or exposure.share_of(strategy_id)
            denied = self._check_budget(strategy_id, budget, share, side, added, price, now, moved is None)
            if denied is not None:
                return denied
        if self._needs_equity and self.exposure.equity is None and not is_closing:
            return Denied("equity_missing", 0, 1)
        return self.exposure.check(exposure, side, added, price, is_closing)

    def approved(self, strategy_id: str, key: str, side: Side, price: int | None, now: int) -> None:
        """A new or moved order leaves, to rest at `price` at best; None where it never rests."""
        if self._messages is not None:
            self._messages.add(now)
        if price is not None:
            self_trade = self._instruments[key].self_trade
            if self_trade is not None:
                self_trade.approved(side, price)
        budget = self._budgets.get(strategy_id)
        if budget is not None and budget.window is not None:
            budget.window.add(now)

    def canceled(self, now: int) -> None:
        """A cancel leaves: counted, never denied."""
        if self._messages is not None:
            self._messages.add(now)

    def filled(self, strategy_id: str, key: str, side: Side, now: int) -> Denied | None:
        """Counts an execution; says so where it is one too many and the strategy must stop."""
        self._instruments[key].exposure.touch()
        limit = self._executions
        if limit is None:
            return None
        executions = self._instruments[key].executions
        windows = executions.get(strategy_id)
        if windows is None:
            windows = executions[strategy_id] = (
                SlidingWindow(limit.executions_max, limit.window_ns),
                SlidingWindow(limit.executions_max, limit.window_ns),
            )
        window = windows[side]
        is_over = not window.has_room(now)
        window.add(now)
        return Denied("executions_max", limit.executions_max + 1, limit.executions_max) if is_over and limit.is_halting else None

    def resumed(self, strategy_id: str) -> None:
        """The strategy ("": every strategy) was authorised anew: its executions are counted from none."""
        for found in self._instruments.values():
            for name, windows in found.executions.items():
                if not strategy_id or name == strategy_id:
                    for window in windows:
                        window.clear()

    def _check_budget(
        self, strategy_id: str, budget: _Budget, share: Share, side: Side, added: int, price: int, now: int, is_new: bool
    ) -> Denied | None:
        if is_new and budget.open_orders_max is not None:
            count = 1 + sum(each.open_orders for each in self.exposure.shares_of[strategy_id])
            if not count <= budget.open_orders_max:
                return Denied("strategy_open_orders_max", count, budget.open_orders_max)
        window = budget.window
        if window is not None and not window.has_room(now):
            return Denied("strategy_orders_max", window.count(now) + 1, window.events_max)
        held = share.position.qty
        worst = held + share.open_buy_qty if side is _BUY else share.open_sell_qty - held
        worst += added
        position_qty_max = budget.position_qty_max
        if position_qty_max:
            bound = position_qty_max.get(share.watch.state.instrument.instrument_id)
            if bound is not None and not worst <= bound:
                return Denied("strategy_position_qty_max", worst, bound)
        capital_max = budget.capital_max
        if capital_max is not None and worst > share.worst_qty():
            capital = self.exposure.capital_of(strategy_id, share, worst, price)
            if capital is None:
                return Denied("strategy_capital_missing", 0, 1)
            if not capital <= capital_max:
                return Denied("strategy_capital_max", capital, capital_max)
        return None
