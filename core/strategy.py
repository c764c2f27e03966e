"""What a strategy is: a plain class with synchronous callbacks, each of them optional, and a Context to act through.

    class Strategy:
        Params: a pydantic model of its parameters
        def __init__(self, params, instruments: list[Instrument]) -> None
        def subscriptions(self) -> list[Subscription]

        on_start(context)                 the run begins
        on_quote(context, quote)          best bid or offer, as subscribed
        on_book(context, book)            the best levels, as subscribed
        on_trade(context, trade)          a public print
        on_bar(context, bar)              a bar has ended
        on_order(context, order, event)   anything happened to one of its orders, denials included
        on_fill(context, order, fill)     one of its orders was filled (before on_order)
        on_position(context, position)    its position changed (after on_fill)
        on_cash(context, moved)           money that no fill explains, of an instrument it subscribes to or of the account
        on_timer(context, name)           a timer it set has run out
        on_status(context, status)        halt, auction, end of trading
        on_gap(context, gap)              the feed lost data
        on_halt(context, state, reason)   the trading state changed
        on_reconciled(context)            after a restart: orders and positions agree with the venue
        on_stop(context, reason)          the last call

        save() -> plain data              what it wants to have back after a restart (core/memory.py)
        load(saved)                       here it is, before on_start

A strategy has no clock, no randomness of its own making and no I/O: `context.now` is the time. The same object runs in backtest,
paper and live.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from core.enums import OrderType, Side, TimeInForce
from core.errors import StrategyError
from core.events import Book, Quote, Trade
from core.instruments import Instrument
from core.orders import Order
from core.portfolio import Position


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy is woken for on one instrument. Whatever is not asked for never reaches Python.

    quotes: "off", "price" (best price changed), "size" (price or size changed), "packet" (every packet).
    interval_ns: at most one quote (or book) wake-up in so many ns; 0: each one.
    book_levels: levels of on_book; 0: no book. trades: public prints. bars: interval in ns of bars; 0: none.
    """

    instrument_id: str
    quotes: str = "off"
    interval_ns: int = 0
    book_levels: int = 0
    trades: bool = False
    bars_ns: int = 0

    def __post_init__(self) -> None:
        if self.quotes not in ("off", "price", "size", "packet"):
            raise StrategyError(f'{self.instrument_id}: quotes must be "off", "price", "size" or "packet", not {self.quotes!r}')
        for name in ("interval_ns", "book_levels", "bars_ns"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise StrategyError(f"{self.instrument_id}: {name} must be a whole number of 0 or more, not {value!r}")


class Strategy(Protocol):
    """The part every strategy has; the callbacks are found by name."""

    def subscriptions(self) -> list[Subscription]: ...


class Context(Protocol):
    """A strategy's hands and eyes; core/trader.py makes one per strategy."""

    @property
    def now(self) -> int:
        """ns UTC of the event being handled."""

    @property
    def strategy_id(self) -> str: ...

    def submit(
        self,
        instrument_id: str,
        side: Side,
        quantity: int,
        price: int | None = None,
        *,
        order_type: OrderType = OrderType.LIMIT,
        trigger_price: int | None = None,
        time_in_force: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        display_qty: int = 0,
        expire_ts: int = 0,
    ) -> Order:
        """Send an order; it comes back SUBMITTED, or DENIED by the risk gate (then on_order follows with the reason)."""

    def cancel(self, order: Order) -> bool:
        """Ask for a cancel; False when the order is closed or a cancel is already on its way."""

    def replace(self, order: Order, quantity: int, price: int) -> bool:
        """Ask for a new remaining quantity and price; False when it is closed, a request is pending, or risk denied it."""

    def cancel_all(self, instrument_id: str | None = None) -> int:
        """Ask to cancel every open order of this strategy; returns how many requests were made."""

    def set_timer(self, name: str, at: int) -> None:
        """Call on_timer(name) at or after `at` (ns UTC). Setting a name again moves it."""

    def cancel_timer(self, name: str) -> bool: ...

    def instrument(self, instrument_id: str) -> Instrument: ...

    def quote(self, instrument_id: str) -> Quote | None: ...

    def book(self, instrument_id: str) -> Book | None: ...

    def last_trade(self, instrument_id: str) -> Trade | None: ...

    def position(self, instrument_id: str) -> Position:
        """This strategy's own position."""

    def open_orders(self, instrument_id: str | None = None) -> list[Order]:
        """This strategy's open orders, oldest first."""

    def equity(self, currency: str) -> int:
        """The account's equity in 10^-MONEY_SCALE: cash and positions at the middle of the market."""

    def log(self, message: str, **fields: Any) -> None:
        """A line for the run's log, stamped with now; costs nothing when nobody listens."""
