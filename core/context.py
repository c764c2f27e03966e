"""StrategyContext: one strategy's hands and eyes on the Trader. Every order goes through the risk gate here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.approved import Approved
from core.commands import CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.enums import OrderStatus, OrderType, Side, TimeInForce
from core.errors import StrategyError
from core.events import Book, Quote, Trade
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.instruments import Instrument
from core.orders import TERMINAL, Order
from core.portfolio import Position
from core.strategy import Subscription
from core.units import INT64_MAX

if TYPE_CHECKING:
    from core.trader import Trader

OutCommand = Approved | SetTimer | CancelTimer


class StrategyContext:
    __slots__ = (
        "_order_base",
        "_trader",
        "listener",
        "on_bar",
        "on_book",
        "on_cash",
        "on_fill",
        "on_gap",
        "on_halt",
        "on_order",
        "on_position",
        "on_quote",
        "on_reconciled",
        "on_start",
        "on_status",
        "on_stop",
        "on_timer",
        "on_trade",
        "strategy",
        "strategy_id",
        "subscriptions",
        "timers",
    )

    def __init__(self, trader: Trader, strategy_id: str, strategy: Any) -> None:
        self._trader = trader
        self._order_base = trader.run_number << COUNTER_BITS
        self.strategy_id = strategy_id
        self.strategy = strategy
        self.subscriptions: list[Subscription] = list(strategy.subscriptions())
        self.timers: dict[str, int] = {}
        self.listener: Callable[[int, str, str, dict[str, Any]], None] | None = None
        for name in self.__slots__:
            if name.startswith("on_"):
                setattr(self, name, getattr(strategy, name, None))

    if TYPE_CHECKING:
        on_start: Callable[..., None] | None
        on_quote: Callable[..., None] | None
        on_book: Callable[..., None] | None
        on_trade: Callable[..., None] | None
        on_bar: Callable[..., None] | None
        on_order: Callable[..., None] | None
        on_cash: Callable[..., None] | None
        on_fill: Callable[..., None] | None
        on_position: Callable[..., None] | None
        on_timer: Callable[..., None] | None
        on_status: Callable[..., None] | None
        on_gap: Callable[..., None] | None
        on_halt: Callable[..., None] | None
        on_reconciled: Callable[..., None] | None
        on_stop: Callable[..., None] | None

    @property
    def now(self) -> int:
        return self._trader.now

    # Orders.

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
        trader = self._trader
        counter = trader.order_counter = trader.order_counter + 1
        assert counter <= COUNTER_MAX
        command = SubmitOrder(
            trader.now,
            self._order_base | counter,
            self.strategy_id,
            instrument_id,
            side,
            order_type,
            quantity,
            price,
            trigger_price,
            time_in_force,
            post_only,
            reduce_only,
            display_qty,
            expire_ts,
        )
        order = trader.orders.create(command)
        verdict = trader.risk.submit(command)
        if type(verdict) is Approved:
            trader.orders.submitted(order)
            trader.out.append(verdict)
        else:
            trader.orders.denied(order)
            trader.deny(order, verdict.limit, verdict.value, verdict.bound)
        return order

    def cancel(self, order: Order) -> bool:
        status = order.status
        if status in TERMINAL or status is OrderStatus.PENDING_CANCEL:
            return False
        trader = self._trader
        trader.orders.cancel_requested(order, trader.now)
        trader.out.append(trader.risk.cancel(CancelOrder(trader.now, order.client_order_id)))
        return True

    def replace(self, order: Order, quantity: int, price: int) -> bool:
        if order.status in TERMINAL or (order.is_pending and order.status is not OrderStatus.SUBMITTED):
            return False
        if order.replace_in_flight:
            # Two unanswered replaces could not be told apart by their answers, whatever the order's status says by now.
            return False
        trader = self._trader
        command = ReplaceOrder(trader.now, order.client_order_id, quantity, price, order.filled_qty)
        verdict = trader.risk.replace(command, order)
        if type(verdict) is Approved:
            trader.orders.replace_requested(order, command)
            trader.out.append(verdict)
            return True
        trader.deny(order, verdict.limit, verdict.value, verdict.bound)
        return False

    def cancel_all(self, instrument_id: str | None = None) -> int:
        return sum(self.cancel(order) for order in self.open_orders(instrument_id))

    # Timers.

    def set_timer(self, name: str, at: int) -> None:
        if type(at) is not int:
            raise StrategyError(f"timer {name!r} needs a time in whole ns, not {at!r}")
        if at > INT64_MAX:
            raise StrategyError(f"timer {name!r}: {at} ns does not fit in 64 bits")
        self.cancel_timer(name)
        self._trader.set_timer(self, name, at)

    def cancel_timer(self, name: str) -> bool:
        timer_id = self.timers.pop(name, None)
        if timer_id is None:
            return False
        self._trader.cancel_timer(timer_id)
        return True

    # Views.

    def is_subscribed(self, instrument_id: str) -> bool:
        return any(subscription.instrument_id == instrument_id for subscription in self.subscriptions)

    def instrument(self, instrument_id: str) -> Instrument:
        return self._trader.instruments[instrument_id]

    def quote(self, instrument_id: str) -> Quote | None:
        return self._trader.states[instrument_id].quote

    def book(self, instrument_id: str) -> Book | None:
        return self._trader.states[instrument_id].book

    def last_trade(self, instrument_id: str) -> Trade | None:
        return self._trader.states[instrument_id].trade

    def position(self, instrument_id: str) -> Position:
        return self._trader.portfolio.position_of(self.strategy_id, instrument_id)

    def open_orders(self, instrument_id: str | None = None) -> list[Order]:
        return self._trader.orders.open_orders(instrument_id, self.strategy_id)

    def equity(self, currency: str) -> int:
        return self._trader.equity(currency)

    def log(self, message: str, **fields: Any) -> None:
        if self.listener is not None:
            self.listener(self._trader.now, self.strategy_id, message, fields)
