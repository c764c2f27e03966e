"""Drives the real Trader and BarVenue with a scripted strategy; keeps what was sent and every order event, for the bar tests."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from core.approved import Approved
from core.context import StrategyContext
from core.enums import InstrumentClass, LiquiditySide, OrderType, Side, TimeInForce
from core.events import (
    Bar,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    ReplaceRejected,
    Started,
)
from core.instruments import Instrument
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import Trader
from sim.bar_matching import BarFillRules
from sim.bar_series import BarSeries
from sim.bar_venue import BarVenue
from tests.sim.bar_oracle import Sent

MINUTE = 60_000_000_000
INSTRUMENT = Instrument(
    instrument_id="TEST.SIM",
    instrument_class=InstrumentClass.FUTURE,
    base_currency="TEST",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=0,
    qty_scale=0,
    maker_fee_rate=100_000,
    taker_fee_rate=400_000,
)


class Plan(msgspec.Struct, frozen=True):
    """What to do at the end of one bar, or at a fill: an order, a cancel or a replace of an earlier one."""

    kind: str  # "submit", "cancel", "replace", "cancel_all"
    side: Side = Side.BUY
    quantity: int = 1
    order_type: OrderType = OrderType.LIMIT
    price: int = 100
    trigger_price: int = 100
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    expire_in_ns: int = 0
    target: int = 0  # which of the orders so far, for cancel and replace


class Scripted:
    """Does the plans of bar n when it ends, and the next of `on_fills` at each fill."""

    def __init__(self, by_bar: dict[int, list[Plan]], on_fills: list[Plan]) -> None:
        self.by_bar = by_bar
        self.on_fills = list(on_fills)
        self.bars = 0
        self.orders: list[Order] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT.instrument_id, bars_ns=MINUTE)]

    def on_bar(self, context: StrategyContext, bar: Bar) -> None:
        for plan in self.by_bar.get(self.bars, []):
            self.act(context, plan)
        self.bars += 1

    def on_fill(self, context: StrategyContext, order: Order, fill: OrderFilled) -> None:
        if self.on_fills:
            self.act(context, self.on_fills.pop(0))

    def act(self, context: StrategyContext, plan: Plan) -> None:
        if plan.kind == "cancel_all":
            context.cancel_all()
        elif plan.kind == "submit":
            has_price = plan.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
            has_trigger = plan.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
            self.orders.append(
                context.submit(
                    INSTRUMENT.instrument_id,
                    plan.side,
                    plan.quantity,
                    plan.price if has_price else None,
                    order_type=plan.order_type,
                    trigger_price=plan.trigger_price if has_trigger else None,
                    time_in_force=plan.time_in_force,
                    post_only=plan.post_only and plan.order_type is OrderType.LIMIT,
                    reduce_only=plan.reduce_only,
                    expire_ts=context.now + plan.expire_in_ns if plan.time_in_force is TimeInForce.GTD else 0,
                )
            )
        elif self.orders:
            order = self.orders[plan.target % len(self.orders)]
            if plan.kind == "cancel":
                context.cancel(order)
            elif order.price is not None:
                context.replace(order, plan.quantity, plan.price)


def make_series(rows: list[tuple[int, int, int, int, int]], gaps: list[int] | None = None) -> BarSeries:
    """One-minute bars (open, high, low, close, volume); gaps: minutes without a bar before each."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T.copy()
    waits = np.array(gaps if gaps is not None else [0] * len(rows), dtype=np.int64)
    ends = np.cumsum(waits + 1) * MINUTE
    return BarSeries(INSTRUMENT.instrument_id, MINUTE, ends, *columns)


class Run:
    """One run: `sent` for the oracle, `log` in the oracle's form, the Trader for its digests."""

    def __init__(self, series: BarSeries, strategy: Any, rules: BarFillRules) -> None:
        wide = InstrumentLimits(
            order_qty_max=10**6, order_notional_max=10**18, position_qty_max=10**6, price_collar_ppm=1_000_000
        )
        self.trader = Trader(
            instruments=[INSTRUMENT],
            cash={"USD": 10**15},
            limits={INSTRUMENT.instrument_id: wide},
            rate=RateLimit(orders_max=10_000),
            run_number=1,
        )
        self.trader.add_strategy("scripted", strategy)
        self.venue = BarVenue([INSTRUMENT], [series], rules)
        self.sent: list[Sent] = []
        self.log: list[tuple[Any, ...]] = []
        self.trader.step(Started(0, 0, "run"))
        starts = (series.ts_event - series.interval_ns).tolist()
        bars = 0
        for event in self.venue.events():
            if type(event) is Bar:
                bars += 1
            else:
                ts, *rest = as_tuple(event)
                self.log.append((ts - rules.response_ns, *rest))  # the oracle's clock is the venue's
            # A fill reported at the start of the bar to come was made by its open; with latency the answer comes later than that.
            after_open = (
                not (rules.latency_ns or rules.response_ns)
                and type(event) is OrderFilled
                and bars < len(starts)
                and event.ts_init == starts[bars]
            )
            for command in self.trader.step(event):
                assert isinstance(command, Approved)
                self.sent.append(Sent(command.command.ts + rules.latency_ns, after_open, command.command))
                self.venue.send(command)


def as_tuple(event: Any) -> tuple[Any, ...]:
    """An order event in the oracle's form."""
    ts, order_id = event.ts_init, event.client_order_id
    match event:
        case OrderAccepted():
            return ts, "accepted", order_id, event.price, event.leaves_qty
        case OrderRejected():
            return ts, "rejected", order_id
        case OrderFilled():
            takes = event.liquidity_side is LiquiditySide.TAKER
            return ts, "filled", order_id, event.price, event.qty, event.leaves_qty, takes
        case OrderCanceled():
            return ts, "canceled", order_id, event.qty, event.reason
        case OrderExpired():
            return ts, "expired", order_id, event.qty
        case OrderReplaced():
            return ts, "replaced", order_id, event.price, event.leaves_qty
        case OrderTriggered():
            return ts, "triggered", order_id
        case CancelRejected():
            return ts, "cancel_rejected", order_id
        case ReplaceRejected():
            return ts, "replace_rejected", order_id
    raise AssertionError(f"an event that no bar venue sends: {event!r}")
