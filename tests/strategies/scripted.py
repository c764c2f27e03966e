"""A scripted run for strategy tests: hand-made events through the real Trader, and a transcript as text.

The transcript is what golden files hold: one line per event, then one line per command it led to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.context import StrategyContext
from core.enums import InstrumentClass, LiquiditySide, MarketStatus, OrderStatus, OrderType, Reason, Side, TradingState
from core.events import (
    AnyEvent,
    Bar,
    CancelRejected,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    Quote,
    ReplaceRejected,
    Started,
    StatusChanged,
    Stopping,
    TradingResumed,
    TradingStateSet,
)
from core.identifiers import make_order_id
from core.instruments import Instrument
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.trader import Trader

GOLDEN = Path(__file__).parent / "golden"
INSTRUMENT_ID = "BTCUSDT-PERP.BINANCE"
INSTRUMENT = Instrument(
    instrument_id=INSTRUMENT_ID,
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=3,
    tick=1,
    lot=1,
)
MS = 1_000_000


class Script:
    """One strategy, one instrument, time in ms. Orders are numbered 1, 2, … in the order they were sent."""

    def __init__(
        self,
        strategy: Any,
        *,
        instrument: Instrument = INSTRUMENT,
        position_qty_max: int = 1_000_000,
        orders_max: int = 1_000,
    ) -> None:
        limits = InstrumentLimits(
            order_qty_max=1_000_000,
            order_notional_max=10**18,
            position_qty_max=position_qty_max,
            price_collar_ppm=100_000,
        )
        self.instrument = instrument
        self.key = instrument.instrument_id
        self.trader = Trader(
            instruments=[instrument],
            cash={"USDT": 10**15},
            limits={self.key: limits},
            rate=RateLimit(orders_max=orders_max),
            run_number=1,
        )
        self.context: StrategyContext = self.trader.add_strategy("maker", strategy)
        self.lines: list[str] = []
        self.now = 0
        self._executions = 0
        self.step("start", Started(0, 0, "run"))

    # Events.

    def step(self, what: str, event: AnyEvent) -> Sequence[Any]:
        self.lines.append(f"{event.ts_init // MS:>6} ms  {what}")
        commands = self.trader.step(event)
        self.lines += [f"             -> {self.text(command)}" for command in commands]
        self.lines += [
            f"             !! denied {self.number(denied.client_order_id)}: {denied.limit} {denied.value} > {denied.bound}"
            for denied in self.trader.denied
        ]
        return commands

    def at(self, ms: int) -> Script:
        self.now = ms * MS
        return self

    def quote(self, bid: int, ask: int, bid_qty: int = 1_000, ask_qty: int = 1_000) -> Sequence[Any]:
        left = f"{bid_qty} @ {bid}" if bid_qty else "none"
        right = f"{ask_qty} @ {ask}" if ask_qty else "none"
        return self.step(f"quote {left} | {right}", Quote(self.now, self.now, self.key, bid, bid_qty, ask, ask_qty))

    def bar(self, close: int, interval_ns: int = 60_000 * MS) -> Sequence[Any]:
        event = Bar(self.now, self.now, self.key, close, close, close, close, 1_000, interval_ns)
        return self.step(f"bar close {close}", event)

    def accept(self, number: int, price: int | None = None) -> Sequence[Any]:
        order = self.order(number)
        at = order.price if price is None else price
        return self.step(f"accepted {number}", OrderAccepted(self.now, self.now, self.id(number), at or 0, order.leaves_qty))

    def fill(self, number: int, qty: int | None = None, price: int | None = None) -> Sequence[Any]:
        order = self.order(number)
        qty = order.leaves_qty if qty is None else qty
        at = price if price is not None else order.price or 0
        self._executions += 1
        event = OrderFilled(
            self.now,
            self.now,
            self.id(number),
            self.key,
            f"E{self._executions}",
            order.side,
            at,
            qty,
            order.leaves_qty - qty,
            LiquiditySide.MAKER,
            0,
            "USDT",
        )
        return self.step(f"filled {number}: {order.side.name} {qty} @ {at}", event)

    def replaced(self, number: int) -> Sequence[Any]:
        order = self.order(number)
        assert order.replace_qty, f"order {number} was never asked to change"
        event = OrderReplaced(self.now, self.now, self.id(number), order.replace_price, order.replace_qty)
        return self.step(f"replaced {number}", event)

    def canceled(self, number: int) -> Sequence[Any]:
        order = self.order(number)
        return self.step(
            f"canceled {number}", OrderCanceled(self.now, self.now, self.id(number), order.leaves_qty, Reason.REQUESTED)
        )

    def rejected(self, number: int, reason: Reason) -> Sequence[Any]:
        return self.step(f"rejected {number} {reason.name}", OrderRejected(self.now, self.now, self.id(number), reason))

    def replace_rejected(self, number: int, reason: Reason) -> Sequence[Any]:
        event = ReplaceRejected(self.now, self.now, self.id(number), reason)
        return self.step(f"replace rejected {number} {reason.name}", event)

    def cancel_rejected(self, number: int, reason: Reason) -> Sequence[Any]:
        event = CancelRejected(self.now, self.now, self.id(number), reason)
        return self.step(f"cancel rejected {number} {reason.name}", event)

    def unknown(self, number: int) -> Sequence[Any]:
        return self.step(f"outcome unknown {number}", OrderOutcomeUnknown(self.now, self.now, self.id(number)))

    def gap(self) -> Sequence[Any]:
        return self.step("gap", GapDetected(self.now, self.now, self.key))

    def status(self, status: MarketStatus) -> Sequence[Any]:
        return self.step(f"market {status.name}", StatusChanged(self.now, self.now, self.key, status))

    def state(self, state: TradingState) -> Sequence[Any]:
        if state is TradingState.ACTIVE:
            return self.step(f"trading state {state.name}", TradingResumed(self.now, self.now, "test"))
        return self.step(f"trading state {state.name}", TradingStateSet(self.now, self.now, state, "test"))

    def stop(self) -> Sequence[Any]:
        return self.step("stopping", Stopping(self.now, self.now, "test"))

    # Views.

    @staticmethod
    def id(number: int) -> int:
        return make_order_id(1, number)

    @staticmethod
    def number(client_order_id: int) -> int:
        return client_order_id & 0xFFFF_FFFF

    def order(self, number: int) -> Order:
        return self.trader.orders.orders[self.id(number)]

    def open_orders(self) -> list[Order]:
        return self.trader.orders.open_orders()

    def position_qty(self) -> int:
        return self.trader.portfolio.by_instrument[self.key].qty

    def worst_position(self) -> tuple[int, int]:
        """The position if everything open on one side were filled: (highest, lowest)."""
        qty = self.position_qty()
        buys = sum(order.reserved_qty for order in self.open_orders() if order.side is Side.BUY)
        sells = sum(order.reserved_qty for order in self.open_orders() if order.side is Side.SELL)
        return qty + buys, qty - sells

    def has_unknown(self) -> bool:
        return any(order.status is OrderStatus.UNKNOWN for order in self.open_orders())

    def text(self, command: Any) -> str:
        if isinstance(command, Approved):
            command = command.command
        match command:
            case SubmitOrder():
                kind = "" if command.order_type is OrderType.LIMIT else f" {command.order_type.name}"
                price = "" if command.price is None else f" @ {command.price}"
                flags = " post-only" if command.post_only else ""
                return (
                    f"submit {self.number(command.client_order_id)}: {command.side.name} {command.quantity}{price}{kind}{flags}"
                )
            case ReplaceOrder():
                return f"replace {self.number(command.client_order_id)}: {command.quantity} @ {command.price}"
            case CancelOrder():
                return f"cancel {self.number(command.client_order_id)}"
            case CancelAll():
                return "cancel all"
            case SetTimer() | CancelTimer():
                return repr(command)
        raise AssertionError(f"unknown command {command!r}")

    def compare(self, name: str) -> None:
        """Compare the whole transcript with golden/NAME.txt; TRADINGD_GOLDEN=write writes it, to be read before it is kept."""
        path = GOLDEN / f"{name}.txt"
        text = "\n".join(self.lines) + "\n"
        if os.environ.get("TRADINGD_GOLDEN") == "write":
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")
