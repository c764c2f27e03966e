"""A Trader with account limits over two instruments of two currencies, driven by hand, for the tests of account risk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from core.approved import Approved
from core.enums import Side
from core.events import AnyEvent, OrderFilled, Started
from core.instruments import MONEY_SCALE
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.risk_limits import AccountLimits
from core.strategy import Subscription
from core.trader import Trader
from tests.core.records import EQUITY, PERPETUAL, accepted, filled, quote

MONEY = 10**MONEY_SCALE
STOCK, PERP = EQUITY.instrument_id, PERPETUAL.instrument_id
WIDE = InstrumentLimits(order_qty_max=10**9, order_notional_max=10**24, position_qty_max=10**12, price_collar_ppm=10**6)
CENT = MONEY // 100


class Quiet:
    """Does nothing by itself, and writes down every trading state it hears of."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=STOCK, quotes="packet")]

    def on_halt(self, _context: Any, state: Any, reason: str) -> None:
        self.states.append((state.name, reason))


class Desk:
    """Strategies "a" and "b". `stock` and `perp` quote; orders fill when a test says so."""

    def __init__(self, cash: int = 10_000 * MONEY, limits: dict[str, Any] | None = None, **account: Any) -> None:
        wide = msgspec.structs.replace(WIDE, **(limits or {}))
        fields: dict[str, Any] = {"currency": "USD", "conversion": {"USDT": 10**12}, "mark_interval_ns": 0}
        self.trader = Trader(
            instruments=[EQUITY, PERPETUAL],
            cash={"USD": cash},
            limits={STOCK: wide, PERP: wide},
            rate=RateLimit(orders_max=10**6),
            run_number=1,
            account=AccountLimits(**{**fields, **account}),
        )
        self.a, self.b = Quiet(), Quiet()
        self.trader.add_strategy("a", self.a)
        self.trader.add_strategy("b", self.b)
        self.now = 0
        self.executions = 0
        self.sent: list[str] = []
        self.step(Started(0, 0, "desk"))

    def step(self, event: AnyEvent) -> Sequence[Any]:
        out = self.trader.step(event)
        self.sent += [type(command.command).__name__ for command in out if isinstance(command, Approved)]
        return out

    def stock(self, bid: int = 9_999, ask: int = 10_001, ts: int | None = None) -> Sequence[Any]:
        self.now = self.now + 1 if ts is None else ts
        return self.step(quote(bid, ask, self.now, STOCK))

    def perp(self, bid: int = 999, ask: int = 1_001) -> Sequence[Any]:
        self.now += 1
        return self.step(quote(bid, ask, self.now, PERP))

    def order(self, side: Side, quantity: Any, price: Any = None, who: str = "a", key: str = STOCK, **more: Any) -> Order:
        context = next(context for context in self.trader.contexts if context.strategy_id == who)
        if price is None:
            price = (10_000 if key == STOCK else 1_000) + (1 if side is Side.BUY else -1)
        return context.submit(key, side, quantity, price, **more)

    def verdict(self, *arguments: Any, **more: Any) -> str:
        """ "sent", or which limit denied, its value and bound."""
        before = len(self.trader.denied)
        order = self.order(*arguments, **more)
        if len(self.trader.denied) == before:
            return "sent"
        denied = self.trader.denied[-1]
        assert denied.client_order_id == order.client_order_id
        return f"{denied.limit} {denied.value} > {denied.bound}"

    def fill(self, order: Order, qty: int | None = None, price: int | None = None, commission: int = 0) -> None:
        self.now += 1
        self.executions += 1
        qty = order.leaves_qty if qty is None else qty
        event: OrderFilled = msgspec.structs.replace(
            filled(qty=qty, leaves_qty=order.leaves_qty - qty, ts=self.now, execution_id=f"x{self.executions}"),
            client_order_id=order.client_order_id,
            instrument_id=order.instrument_id,
            side=order.side,
            price=price or order.price,
            commission=commission,
        )
        self.step(event)

    def accept(self, order: Order) -> None:
        self.now += 1
        self.step(msgspec.structs.replace(accepted(ts=self.now), client_order_id=order.client_order_id, price=order.price))

    @property
    def state(self) -> str:
        return self.trader.risk.trading_state.name
