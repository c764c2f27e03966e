"""What account limits know of one instrument, one currency, one strategy: sums and shares of the worst case.

core/order_store.py reports reservations to the watch of an instrument, the Trader fills and marks; core/risk_exposure.py adds up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.enums import Side
from core.market_state import MarketState
from core.portfolio import Position
from core.risk_limits import PPM, ExposureLimit, StrategyBudget
from core.risk_rates import SlidingWindow
from core.risk_self_trade import SelfTradeCheck

if TYPE_CHECKING:
    from core.risk_exposure import ExposureBook

# What no exposure reaches: an absent limit compares like any other.
NO_LIMIT = 1 << 200


class Budget:
    """One strategy's limits, what it has sent, and its shares of each instrument."""

    __slots__ = ("capital_max", "open_orders_max", "position_qty_max", "shares", "window")

    def __init__(self, budget: StrategyBudget) -> None:
        self.capital_max = budget.capital_max
        self.open_orders_max = budget.open_orders_max
        self.position_qty_max = budget.position_qty_max
        self.window = None if budget.orders is None else SlidingWindow(budget.orders.events_max, budget.orders.window_ns)
        self.shares: list[Share] = []


class Share:
    """One strategy's part of an instrument's position and open orders, with the budget and the executions it is judged by."""

    __slots__ = ("budget", "executions", "open_buy_qty", "open_orders", "open_sell_qty", "position", "position_max", "watch")

    def __init__(self, watch: InstrumentWatch, position: Position, budget: Budget | None) -> None:
        self.watch = watch
        self.position = position
        self.open_buy_qty = 0
        self.open_sell_qty = 0
        self.open_orders = 0
        self.budget = budget
        bound = None if budget is None else budget.position_qty_max.get(watch.state.instrument.instrument_id)
        self.position_max = NO_LIMIT if bound is None else bound
        self.executions: tuple[SlidingWindow, SlidingWindow] | None = None  # by Side; from the first fill on

    def worst_qty(self) -> int:
        held = self.position.qty
        return max(held + self.open_buy_qty, self.open_sell_qty - held)

    def capital(self) -> int | None:
        """What the worst case binds, in settlement currency; None while the market is unknown."""
        watch = self.watch
        value = watch.value(self.worst_qty())
        return None if value is None else watch.margin_of(value)


class CurrencyExposure:
    """Sums over the instruments that settle in one currency, in 10^-MONEY_SCALE of it."""

    __slots__ = ("currency", "gross", "gross_max", "long", "margin", "net_max", "short")

    def __init__(self, currency: str, limit: ExposureLimit) -> None:
        self.currency = currency
        self.gross = 0
        self.long = 0  # net long if all that buys fills and nothing that sells does; below 0: net short
        self.short = 0  # net short if all that sells fills and nothing that buys does; below 0: net long
        self.margin = 0
        self.gross_max = NO_LIMIT if limit.gross_max is None else limit.gross_max
        self.net_max = NO_LIMIT if limit.net_max is None else limit.net_max


class InstrumentWatch:
    """One instrument's part of the sums, and each strategy's share of it."""

    __slots__ = (
        "_book",
        "factor",
        "gross",
        "is_current",
        "long",
        "margin",
        "margin_ppm",
        "of",
        "price",
        "self_trade",
        "shares",
        "short",
        "state",
    )

    def __init__(self, book: ExposureBook, state: MarketState, of: CurrencyExposure, margin_ppm: int) -> None:
        self._book = book
        self.state = state
        self.of = of
        self.margin_ppm = margin_ppm  # PPM, all of it, where none is configured
        self.factor = state.instrument.notional_factor
        self.self_trade: SelfTradeCheck | None = None
        self.shares: dict[str, Share] = {}
        self.price: int | None = None  # valued at
        # As last added to the sums.
        self.gross = self.long = self.short = self.margin = 0
        self.is_current = True

    def share_of(self, strategy_id: str) -> Share:
        share = self.shares.get(strategy_id)
        if share is None:
            share = self._book.make_share(strategy_id, self)
            self.shares[strategy_id] = share
        return share

    def reserve(self, strategy_id: str, side: Side, change: int, opened: int = 0) -> None:
        """The strategy's open orders may now fill `change` units more; one was opened (1) or has ended (-1)."""
        share = self.shares.get(strategy_id) or self.share_of(strategy_id)
        share.open_orders += opened
        if side is Side.BUY:
            share.open_buy_qty += change
        else:
            share.open_sell_qty += change
        if self.is_current:
            self.touch()

    def touch(self) -> None:
        """The sums no longer say what is: position, reservations or price have changed."""
        if self.is_current:
            self.is_current = False
            self._book.stale.append(self)

    def value(self, qty: int) -> int | None:
        """Worth of `qty`, signed like it, at the last mark; None while there is no mark and the quantity is not 0."""
        price = self.price
        return (None if qty else 0) if price is None else self.value_at(price, qty)

    def value_at(self, price: int, qty: int) -> int:
        """As `value`. A negative price turns the sign of a notional; exposure counts its size, in the quantity's direction."""
        notional = price * qty * self.factor or self.state.instrument.notional(price, qty)
        return notional if (notional > 0) is (qty > 0) else -notional

    def margin_of(self, value: int) -> int:
        return value if self.margin_ppm == PPM else -(-value * self.margin_ppm // PPM)
