"""Account limits: losses, drawdown and storms of refusals, judged at every fill and on a bounded schedule of market events.

A part of Trader.step: no clock, the day turns with the events' stamps. What trips is a LimitTripped: it carries the limit, its
value and bound, and the numbers they were made of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from core.enums import CashKind, TradingState
from core.errors import ConfigError
from core.events import CashMoved, LimitTripped
from core.market_state import MarketState
from core.portfolio import Portfolio
from core.risk_conversion import Conversion
from core.risk_equity import Equity
from core.risk_exposure import ExposureBook
from core.risk_limits import PPM, AccountLimits, Denied, LossLimits, WindowLimit
from core.risk_rates import SlidingWindow
from core.risk_states import TradingStates
from core.units import NS_PER_DAY, clamp_int64

_HALTED, _REDUCING = TradingState.HALTED, TradingState.REDUCING
# 1970-01-01 was a Thursday: days to the Monday before it.
_EPOCH_WEEKDAY = 3
_NO_FLOOR = 1 << 200
Inputs = tuple[tuple[str, int], ...]


class LossWatch:
    """Loss and drawdown of one scope: the account ("") or one strategy. Equity in 10^-MONEY_SCALE of the account's currency.

    A day's loss counts from the last equity known before the day began, so that what the night brings belongs to the day.
    """

    __slots__ = (
        "_day_end_ns",
        "_floor",
        "day",
        "day_equity",
        "equity",
        "is_unwinding",
        "limits",
        "peak_equity",
        "strategy_id",
        "week",
        "week_equity",
    )

    def __init__(self, strategy_id: str, limits: LossLimits) -> None:
        self.strategy_id = strategy_id
        self.limits = limits
        self.equity: int | None = None
        self.day = 0
        self.day_equity = 0
        self.week = 0
        self.week_equity = 0
        self.peak_equity = 0
        # Until the day ends, between the floor and the peak, nothing has to be worked out anew.
        self._day_end_ns = -_NO_FLOOR
        self._floor = 0
        # Resumed to REDUCING on purpose while a limit was broken: it may be unwound, and is not halted again for that.
        self.is_unwinding = False

    def judge(self, now: int, equity: int) -> tuple[TradingState, Denied, Inputs] | None:
        """The strictest state that `equity` calls for, the limit that does, and what it was judged from; None: all is well."""
        if now < self._day_end_ns and self._floor <= equity <= self.peak_equity:
            # Nothing has turned, and no limit is near enough to be broken.
            self.equity = equity
            return None
        self._turn(now, equity)
        limits = self.limits
        found: list[tuple[str, int, int]] = []
        for limit, bound, start in (
            ("daily_loss_max", limits.daily_loss_max, self.day_equity),
            ("weekly_loss_max", limits.weekly_loss_max, self.week_equity),
        ):
            if bound is not None:
                found.append((limit, start - equity, bound))
        peak = self.peak_equity
        bound = limits.drawdown_ppm_max
        if bound is not None:
            fall = peak - equity
            drawdown = -(-fall * PPM // peak) if peak > 0 else PPM if fall else 0
            found.append(("drawdown_ppm_max", drawdown, bound))
        inputs = (
            ("equity", equity),
            ("day_equity", self.day_equity),
            ("week_equity", self.week_equity),
            ("peak_equity", peak),
        )
        for limit, value, bound in found:
            if not value <= bound:
                return _HALTED, Denied(limit, value, bound), inputs
        reduce_at_ppm = limits.reduce_at_ppm
        if reduce_at_ppm is not None:
            for limit, value, bound in found:
                if not value * PPM <= bound * reduce_at_ppm:
                    return _REDUCING, Denied(limit, value, bound), (*inputs, ("reduce_at_ppm", reduce_at_ppm))
        return None

    def shift(self, amount: int) -> None:
        """Money was brought in or taken out: neither profit nor loss, so all that equity is compared with moves along."""
        if self.equity is None:
            return  # what it will be compared with is first looked at with that money in it
        self.equity += amount
        self.day_equity += amount
        self.week_equity += amount
        self.peak_equity += amount
        self._day_end_ns = -_NO_FLOOR

    def _turn(self, now: int, equity: int) -> None:
        """Days and weeks that began since the last look, and a new peak."""
        limits = self.limits
        day = (now - limits.day_start_ns) // NS_PER_DAY
        week = (day + _EPOCH_WEEKDAY - limits.week_start_day) // 7
        before = self.equity
        if before is None:
            self.day, self.week = day, week
            self.day_equity = self.week_equity = self.peak_equity = equity
        else:
            if day != self.day:
                self.day, self.day_equity = day, before
            if week != self.week:
                self.week, self.week_equity = week, before
            self.peak_equity = max(self.peak_equity, equity)
        self.equity = equity
        self._day_end_ns = (day + 1) * NS_PER_DAY + limits.day_start_ns
        self._floor = max(self._floors(), default=-_NO_FLOOR)

    def _floors(self) -> Iterator[int]:
        """For each limit the lowest equity that it lets pass, REDUCING included."""
        limits = self.limits
        share = PPM if limits.reduce_at_ppm is None else limits.reduce_at_ppm
        if limits.daily_loss_max is not None:
            yield self.day_equity - limits.daily_loss_max * share // PPM
        if limits.weekly_loss_max is not None:
            yield self.week_equity - limits.weekly_loss_max * share // PPM
        if limits.drawdown_ppm_max is not None:
            yield self.peak_equity - (limits.drawdown_ppm_max * share // PPM) * max(self.peak_equity, 0) // PPM

    def record(self) -> tuple[int | str | None, ...]:
        """For the state digest."""
        return (self.strategy_id, self.equity, self.day_equity, self.week_equity, self.peak_equity, int(self.is_unwinding))


class AccountRisk:
    """Owned by the Trader. Each method that may trip returns what has tripped, to be put into effect in that order.

    Whether equity is known is told to the pre-trade checks by `exposure.equity`: while it is not, they deny.
    """

    __slots__ = (
        "_capital",
        "_conversion",
        "_equity",
        "_exposure",
        "_interval_ns",
        "_needs_equity",
        "_rejects",
        "_states",
        "needs_marks",
        "unshifted",
        "watches",
    )

    def __init__(
        self, limits: AccountLimits, portfolio: Portfolio, conversion: Conversion, exposure: ExposureBook, states: TradingStates
    ) -> None:
        self._states = states
        self._exposure = exposure
        self._interval_ns = limits.mark_interval_ns
        scopes: list[tuple[str, LossLimits, WindowLimit | None]] = [("", limits.loss, limits.rejects)]
        scopes += [(strategy_id, budget.loss, budget.rejects) for strategy_id, budget in limits.strategies.items()]
        self.watches = [LossWatch(strategy_id, loss) for strategy_id, loss, _ in scopes if loss.is_set]
        self._rejects = {
            strategy_id: SlidingWindow(window.events_max, window.window_ns)
            for strategy_id, _, window in scopes
            if window is not None
        }
        self._capital = {strategy_id: budget.capital_max or 0 for strategy_id, budget in limits.strategies.items()}
        self._equity = Equity(portfolio, conversion, [watch.strategy_id for watch in self.watches if watch.strategy_id])
        self._conversion = conversion
        # Transfers in currencies without a rate yet, 10^-MONEY_SCALE: while there is none, equity is unknown.
        self.unshifted: dict[str, int] = {}
        self._needs_equity = limits.needs_equity or exposure.has_margin
        self.needs_marks = self._needs_equity or limits.needs_currency or bool(limits.exposure_by_currency)
        if limits.needs_currency or exposure.has_margin:
            _refuse_unconvertible(conversion, portfolio)

    def started(self, strategy_ids: Collection[str], now: int) -> Sequence[LimitTripped]:
        """The first look. Raises ConfigError where a budget is for a strategy that does not exist: it would limit nobody."""
        for strategy_id in self._capital:
            if strategy_id not in strategy_ids:
                raise ConfigError(f"risk: there is a budget for strategy {strategy_id!r}, which does not exist")
        return self.evaluate(now)

    def restored(self) -> None:
        """Positions are there that no fill of this run made: none of them has a market yet."""
        self._equity.restored()

    def market(self, state: MarketState, now: int) -> Sequence[LimitTripped]:
        """Values one instrument at its market and judges; not again before the interval has passed."""
        state.mark_due_ns = now + self._interval_ns
        self._exposed(state, self._equity.mark(state))
        return self.evaluate(now)

    def filled(self, strategy_id: str, state: MarketState, now: int) -> Sequence[LimitTripped]:
        """A fill was booked: its instrument is valued anew, whatever the schedule says."""
        if not self.needs_marks:
            return ()
        self._exposed(state, self._equity.filled(strategy_id, state))
        return self.evaluate(now)

    def cash_moved(self, moved: CashMoved, shares: Sequence[tuple[str, str]], now: int) -> Sequence[LimitTripped]:
        """Money was moved that no fill explains; `shares`: the (strategy_id, instrument_id) that have got a part of it."""
        for strategy_id, key in shares:
            self._equity.watch(strategy_id, key)
        self._equity.moved(moved.instrument_id)
        if moved.kind is CashKind.TRANSFER:
            self.unshifted[moved.currency] = self.unshifted.get(moved.currency, 0) + moved.amount
        return self.evaluate(now)

    def _shift(self) -> None:
        """What a transfer is worth is not looked at as profit or loss of the account; strategies do not have it at all."""
        for currency, amount in list(self.unshifted.items()):
            worth = self._conversion.down(currency, amount) if amount else 0
            if worth is None:
                continue
            del self.unshifted[currency]
            for watch in self.watches:
                if not watch.strategy_id:
                    watch.shift(worth)

    def rejected(self, strategy_id: str, now: int) -> Sequence[LimitTripped]:
        """A venue refused an order or a replace."""
        tripped = []
        for scope in ("", strategy_id) if strategy_id else ("",):
            window = self._rejects.get(scope)
            if window is None:
                continue
            if not window.has_room(now) and self._states.own(scope) < _HALTED:
                denied = Denied("rejects_max", window.count(now) + 1, window.events_max)
                tripped.append(self.trip(now, scope, _HALTED, denied, (("window_ns", window.window_ns),)))
            window.add(now)
        return tripped

    def resumed(self, strategy_id: str, state: TradingState, now: int) -> Sequence[LimitTripped]:
        """Someone has looked: refusals are counted from none. A loss that is still beyond its limit trips again at once.

        To REDUCING it may always be resumed, so that what is left can be closed.
        """
        window = self._rejects.get(strategy_id)
        if window is not None:
            window.clear()
        for watch in self.watches:
            if watch.strategy_id == strategy_id:
                watch.is_unwinding = state is _REDUCING
        return self.evaluate(now)

    def evaluate(self, now: int) -> Sequence[LimitTripped]:
        if not self._needs_equity:
            return ()
        if self.unshifted:
            self._shift()
        account = self._equity.account()
        tripped: list[LimitTripped] = []
        is_known = account is not None
        for watch in self.watches:
            equity = account
            if watch.strategy_id:
                profit = self._equity.strategy(watch.strategy_id)
                equity = None if profit is None else self._capital[watch.strategy_id] + profit
            if equity is None:
                is_known = False
                continue
            verdict = watch.judge(now, equity)
            if verdict is None or verdict[0] is not _HALTED:
                watch.is_unwinding = False
            if verdict is None:
                continue
            state, denied, inputs = verdict
            if watch.is_unwinding:
                state = _REDUCING
            if state > self._states.own(watch.strategy_id):
                tripped.append(self.trip(now, watch.strategy_id, state, denied, inputs))
        self._exposure.equity = account if is_known else None
        return tripped

    @staticmethod
    def trip(now: int, strategy_id: str, state: TradingState, denied: Denied, inputs: Inputs) -> LimitTripped:
        value, bound = clamp_int64(denied.value), clamp_int64(denied.bound)
        shown = tuple((name, clamp_int64(number)) for name, number in inputs)
        return LimitTripped(now, now, strategy_id, state, denied.limit, value, bound, shown)

    def records(self) -> list[tuple[int | str | None, ...]]:
        """What the limits remember, for the state digest."""
        return [("loss", *watch.record()) for watch in self.watches]

    def _exposed(self, state: MarketState, found: tuple[int, int] | None) -> None:
        """Exposure is valued at the mark too: at the dearer side, which for an inverse contract is the lower price."""
        if found is None:
            return
        bid_price, ask_price = found
        watch = state.watch
        assert watch is not None
        is_inverse = state.instrument.is_inverse
        price = min(bid_price, ask_price) if is_inverse else max(bid_price, ask_price, key=abs)
        if price != watch.price:
            watch.price = price
            watch.touch()


def _refuse_unconvertible(conversion: Conversion, portfolio: Portfolio) -> None:
    currencies = {position.instrument.settlement_currency for position in portfolio.by_instrument.values()}
    for currency in sorted(currencies | set(portfolio.cash)):
        if not conversion.covers(currency):
            raise ConfigError(
                f"risk: the conversion rate of {currency} into {conversion.currency or 'the account currency'} is missing"
            )
