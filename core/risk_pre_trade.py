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
from core.risk_exposure import ExposureBook
from core.risk_limits import AccountLimits, Denied, ExecutionLimit, SelfTrade
from core.risk_rates import SlidingWindow
from core.risk_self_trade import SelfTradeCheck
from core.risk_watch import Budget, InstrumentWatch, Share

_BUY = Side.BUY


class PreTrade:
    """`admit` judges everything before it counts anything."""

    __slots__ = ("_executions", "_messages", "_needs_equity", "_reserve", "exposure")

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
            missing = sorted(key for key, margin in margins_ppm.items() if not margin)
            if missing:
                raise ConfigError(f"risk: the initial margin of {missing[0]} is missing; other instruments have one")
        for strategy_id, budget in limits.strategies.items():
            unknown = sorted(set(budget.position_qty_max) - set(states))
            if unknown:
                raise ConfigError(f"risk: position_qty_max of strategy {strategy_id!r} names an unknown instrument: {unknown[0]}")
        self.exposure = ExposureBook(states, limits, margins_ppm, conversion, portfolio.position_of)
        for key, state in states.items():
            watch = state.watch = self.exposure.instruments[key]
            if limits.self_trade is not SelfTrade.ALLOWED:
                watch.self_trade = SelfTradeCheck(orders, key, limits.self_trade)
        self._needs_equity = limits.needs_equity
        self._executions: ExecutionLimit | None = limits.executions
        messages = limits.messages
        self._messages = None if messages is None else SlidingWindow(messages.messages_max, messages.window_ns)
        self._reserve = 0 if messages is None else messages.cancel_reserve

    def admit(
        self,
        watch: InstrumentWatch,
        strategy_id: str,
        side: Side,
        added: int,
        price: int,
        reach: int,
        rests_at: int | None,
        now: int,
        is_closing: bool,
        moved: Order | None,
    ) -> Denied | None:
        """May `added` units more be bought or sold? Counts the order where it may: it leaves then.

        Prices in points: `price` is the market's, `reach` the worst the order may trade at, `rests_at` where it may come to rest.
        `is_closing`: trading is REDUCING and the order can only shrink a position: net exposure and unknown equity do not matter.
        `moved`: the order that a replace changes, None for a new one.
        """
        share = watch.shares.get(strategy_id) or watch.share_of(strategy_id)
        self_trade = watch.self_trade
        if self_trade is not None:
            denied = self_trade.check(strategy_id, side, reach, moved)
            if denied is not None:
                return denied
        messages = self._messages
        if messages is not None and not messages.has_room(now, self._reserve):
            return Denied("messages_max", messages.count(now) + 1, messages.events_max - self._reserve)
        executions = share.executions
        if executions is not None and not executions[side].has_room(now):
            return Denied("executions_max", executions[side].count(now) + 1, executions[side].events_max)
        budget = share.budget
        if budget is not None:
            denied = self._check_budget(budget, share, side, added, price, now, moved is None)
            if denied is not None:
                return denied
        exposure = self.exposure
        if self._needs_equity and exposure.equity is None and not is_closing:
            return Denied("equity_missing", 0, 1)
        if exposure.is_needed:
            denied = exposure.check(watch, side, added, price, is_closing)
            if denied is not None:
                return denied
        if messages is not None:
            messages.add(now)
        if self_trade is not None and rests_at is not None:
            self_trade.approved(side, rests_at)
        if budget is not None and budget.window is not None:
            budget.window.add(now)
        return None

    def canceled(self, now: int) -> None:
        """A cancel leaves: counted, never denied."""
        if self._messages is not None:
            self._messages.add(now)

    def filled(self, watch: InstrumentWatch, strategy_id: str, side: Side, now: int) -> Denied | None:
        """Counts an execution; says so where it is one too many and the strategy must stop."""
        watch.touch()
        limit = self._executions
        if limit is None:
            return None
        share = watch.share_of(strategy_id)
        windows = share.executions
        if windows is None:
            windows = share.executions = (
                SlidingWindow(limit.executions_max, limit.window_ns),
                SlidingWindow(limit.executions_max, limit.window_ns),
            )
        window = windows[side]
        is_over = not window.has_room(now)
        window.add(now)
        return Denied("executions_max", limit.executions_max + 1, limit.executions_max) if is_over and limit.is_halting else None

    def resumed(self, strategy_id: str) -> None:
        """The strategy ("": every strategy) was authorised anew: its executions are counted from none."""
        for watch in self.exposure.instruments.values():
            for name, share in watch.shares.items():
                if not strategy_id or name == strategy_id:
                    share.executions = None

    def _check_budget(
        self, budget: Budget, share: Share, side: Side, added: int, price: int, now: int, is_new: bool
    ) -> Denied | None:
        if is_new and budget.open_orders_max is not None:
            count = 1
            for each in budget.shares:
                count += each.open_orders
            if not count <= budget.open_orders_max:
                return Denied("strategy_open_orders_max", count, budget.open_orders_max)
        window = budget.window
        if window is not None and not window.has_room(now):
            return Denied("strategy_orders_max", window.count(now) + 1, window.events_max)
        held = share.position.qty
        long = held + share.open_buy_qty
        short = share.open_sell_qty - held
        after = (long if side is _BUY else short) + added
        if added and not after <= share.position_max:
            return Denied("strategy_position_qty_max", after, share.position_max)
        capital_max = budget.capital_max
        if capital_max is not None and after > long and after > short:
            capital = self.exposure.capital_of(budget, share, after, price)
            if capital is None:
                return Denied("strategy_capital_missing", 0, 1)
            if not capital <= capital_max:
                return Denied("strategy_capital_max", capital, capital_max)
        return None
