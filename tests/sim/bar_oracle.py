"""The bar venue's oracle: slow and obvious. Every bar is walked tick by tick, and every order is asked at each.

One instrument, one series. It shares no code with sim/bar_matching.py; the rules are those of its docstring.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, Side, TimeInForce
from core.events import Bar
from core.instruments import Instrument
from sim.bar_matching import BarFillRules

FOREVER = 1 << 62
DAY = 86_400_000_000_000


@dataclass
class Sent:
    """A command as it arrives; after_open: at the instant of an open, and in answer to what that open did."""

    ts: int
    after_open: bool
    command: Any


@dataclass
class Resting:
    command: SubmitOrder
    price: int | None
    leaves: int
    expires: int
    sees_open_of: int  # index of the first bar
    sees_inside_of: int
    filled: int = 0
    triggered: bool = False
    rests: bool = False

    @property
    def buys(self) -> bool:
        return self.command.side is Side.BUY

    @property
    def is_stop(self) -> bool:
        return self.command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT) and not self.triggered

    @property
    def any_price(self) -> bool:
        return self.command.order_type in (OrderType.MARKET, OrderType.STOP) and not self.is_stop

    def hit(self, price: int) -> bool:
        """Would the market at `price` trigger it, or satisfy its limit?"""
        if self.is_stop:
            trigger = self.command.trigger_price
            assert trigger is not None
            return price >= trigger if self.buys else price <= trigger
        if self.any_price:
            return True
        assert self.price is not None
        return price <= self.price if self.buys else price >= self.price


@dataclass
class Oracle:
    instrument: Instrument
    rules: BarFillRules
    bars: list[Bar]
    orders: list[Resting] = field(default_factory=list)
    position: int = 0
    budget: int = FOREVER
    log: list[tuple[Any, ...]] = field(default_factory=list)
    fills: list[tuple[Side, int, int, bool]] = field(default_factory=list)

    def run(self, sent: list[Sent]) -> list[tuple[Any, ...]]:
        waiting = list(sent)
        capped = self.rules.participation_ppm > 0
        for index, bar in enumerate(self.bars):
            start, end = bar.ts_event - bar.interval_ns, bar.ts_event
            self.until(start, False, index, start, waiting)
            if not capped:
                self.at_open(index, bar.open, start)
            self.until(start, True, index, start, waiting)
            self.until(end - 1, True, index, start, waiting)
            if capped:
                self.budget = bar.volume * self.rules.participation_ppm // 1_000_000
                self.at_open(index, bar.open, end)
            self.inside(index, bar)
        self.until(FOREVER, True, len(self.bars), FOREVER, waiting, expires=False)
        return self.log

    def until(self, ts: int, after_open: bool, index: int, start: int, waiting: list[Sent], *, expires: bool = True) -> None:
        """Commands and expiries up to ts, in the order of time; at one instant the commands first."""
        while True:
            arrives = waiting[0].ts if waiting and (waiting[0].ts < ts or after_open or not waiting[0].after_open) else FOREVER
            first = min((order.expires for order in self.orders), default=FOREVER) if expires else FOREVER
            if arrives <= first and arrives <= ts and arrives < FOREVER:
                self.arrive(waiting.pop(0), index, start, after_open)
            elif first <= ts and first < FOREVER:
                for order in [order for order in self.orders if order.expires == first]:
                    self.orders.remove(order)
                    self.log.append((first, "expired", order.command.client_order_id, order.leaves))
            else:
                return

    # Commands.

    def arrive(self, sent: Sent, index: int, start: int, opened: bool) -> None:
        command, ts = sent.command, sent.ts
        if isinstance(command, CancelAll):
            for order in list(self.orders):
                self.cancel(order, ts, Reason.MASS_CANCEL)
            return
        if isinstance(command, SubmitOrder):
            self.submit(command, ts, index, start, opened)
            return
        order = next((order for order in self.orders if order.command.client_order_id == command.client_order_id), None)
        if isinstance(command, CancelOrder):
            if order is None:
                self.log.append((ts, "cancel_rejected", command.client_order_id))
            else:
                self.cancel(order, ts, Reason.REQUESTED)
            return
        assert isinstance(command, ReplaceOrder)
        if order is None or (
            order.command.post_only
            and self.beyond_last(order.command.side, command.price, index, ts > start or (opened and ts == start))
        ):
            self.log.append((ts, "replace_rejected", command.client_order_id))
            return
        leaves = command.quantity - (order.filled - command.filled_qty)
        if leaves <= 0:
            self.cancel(order, ts, Reason.REQUESTED)
            return
        if command.price != order.price or leaves > order.leaves:
            self.orders.remove(order)
            self.orders.append(order)
            order.price, order.leaves, order.rests = command.price, leaves, order.command.post_only
            self.place(order, ts, index, start, opened)
        order.price, order.leaves = command.price, leaves
        self.log.append((ts, "replaced", command.client_order_id, command.price, leaves))

    def submit(self, command: SubmitOrder, ts: int, index: int, start: int, opened: bool) -> None:
        expires = FOREVER
        if command.time_in_force is TimeInForce.GTD:
            expires = command.expire_ts
        elif command.time_in_force is TimeInForce.DAY:
            expires = (ts // DAY + 1) * DAY
        refused = (
            expires <= ts
            or (command.reduce_only and (self.position >= 0 if command.side is Side.BUY else self.position <= 0))
            or (
                command.post_only and self.beyond_last(command.side, command.price, index, ts > start or (opened and ts == start))
            )
        )
        if refused:
            self.log.append((ts, "rejected", command.client_order_id))
            return
        order = Resting(command, command.price, command.quantity, expires, 0, 0, rests=command.post_only)
        self.place(order, ts, index, start, opened)
        self.orders.append(order)
        self.log.append((ts, "accepted", command.client_order_id, command.price or 0, order.leaves))

    def place(self, order: Resting, ts: int, index: int, start: int, opened: bool) -> None:
        order.sees_open_of = index if ts <= start and not (opened and not self.rules.participation_ppm) else index + 1
        order.sees_inside_of = index if ts <= start else index + 1
        if ts == start and order.sees_open_of > index and order.hit(self.bars[index].open):
            order.sees_inside_of = index + 1

    def beyond_last(self, side: Side, price: int | None, index: int, seen_open: bool) -> bool:
        assert price is not None
        if seen_open and index < len(self.bars):
            last = self.bars[index].open
        elif index:
            last = self.bars[index - 1].close
        else:
            return False
        return price > last if side is Side.BUY else price < last

    def cancel(self, order: Resting, ts: int, reason: Reason) -> None:
        self.orders.remove(order)
        self.log.append((ts, "canceled", order.command.client_order_id, order.leaves, reason))

    # Prices.

    def at_open(self, index: int, price: int, ts: int) -> None:
        for order in list(self.orders):
            if order.sees_open_of > index:
                continue
            if order.is_stop:
                if not order.hit(price):
                    continue
                order.triggered = True
                self.log.append((ts, "triggered", order.command.client_order_id))
            first_look = not order.rests
            order.rests = True
            if order.any_price or first_look:
                if order.hit(price):
                    self.take(order, price, ts)
                elif order.command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
                    self.cancel(order, ts, Reason[order.command.time_in_force.name])
            elif order.hit(price) and order.price != price:
                assert order.price is not None
                better = self.rules.gap_improvement and not order.command.post_only
                self.fill(order, price if better else order.price, ts, False)
            elif order.price == price and self.rules.fills_on_touch:
                self.fill(order, price, ts, False)

    def take(self, order: Resting, price: int, ts: int) -> None:
        slip = self.rules.slippage_ticks * self.instrument.tick
        paid = price + slip if order.buys else price - slip
        paid = max(min(paid, self.instrument.price_max), self.instrument.price_min)
        if not order.any_price:
            assert order.price is not None
            paid = min(paid, order.price) if order.buys else max(paid, order.price)
        if order.command.time_in_force is TimeInForce.FOK and self.possible(order) < order.leaves:
            self.cancel(order, ts, Reason.FOK)
            return
        self.fill(order, paid, ts, True)
        if order.command.time_in_force is TimeInForce.IOC and order in self.orders:
            self.cancel(order, ts, Reason.IOC)

    def possible(self, order: Resting) -> int:
        qty = min(order.leaves, self.budget)
        if order.command.reduce_only:
            qty = min(qty, max(-self.position, 0) if order.buys else max(self.position, 0))
        return qty // self.instrument.lot * self.instrument.lot

    def fill(self, order: Resting, price: int, ts: int, takes: bool) -> None:
        qty = self.possible(order)
        if qty:
            order.leaves -= qty
            order.filled += qty
            self.budget -= qty
            self.position += qty if order.buys else -qty
            self.fills.append((order.command.side, price, qty, takes))
            self.log.append((ts, "filled", order.command.client_order_id, price, qty, order.leaves, takes))
        if order.leaves == 0:
            self.orders.remove(order)
        elif order.command.reduce_only and (self.position >= 0 if order.buys else self.position <= 0):
            self.cancel(order, ts, Reason.REDUCE_ONLY)

    def inside(self, index: int, bar: Bar) -> None:
        if not self.orders:
            return
        worst = None
        for way in ((bar.open, bar.low, bar.high, bar.close), (bar.open, bar.high, bar.low, bar.close)):
            trial = copy.copy(self)
            trial.orders, trial.log, trial.fills = [copy.copy(order) for order in self.orders], list(self.log), []
            trial.walk(index, bar, way)
            worth = trial.worth(bar.close)
            if worst is None or worth < worst[0]:
                worst = (worth, trial)
        assert worst is not None
        self.orders, self.position, self.budget, self.log = (
            worst[1].orders,
            worst[1].position,
            worst[1].budget,
            worst[1].log,
        )

    def worth(self, close: int) -> int:
        total = 0
        for side, price, qty, takes in self.fills:
            rate = self.instrument.taker_fee_rate if takes else self.instrument.maker_fee_rate
            gain = self.instrument.notional(close, qty) - self.instrument.notional(price, qty)
            total += gain if side is Side.BUY else -gain
            total -= self.instrument.commission(price, qty, rate)
        return total

    def walk(self, index: int, bar: Bar, way: tuple[int, ...]) -> None:
        tick = self.instrument.tick
        price = way[0]
        for goal in way[1:]:
            step = tick if goal > price else -tick
            if goal != price:
                self.ask(index, bar.ts_event, price, step)
            while price != goal:
                price += step
                self.ask(index, bar.ts_event, price, step)

    def ask(self, index: int, ts: int, price: int, step: int) -> None:
        """Stops that the price touches trigger. Limits fill when it is past them, or at them where a touch is enough."""
        if not self.rules.fills_on_touch:
            self.limits(index, ts, price, step)
        for order in list(self.orders):
            if order.sees_inside_of <= index and order.expires >= ts and order.is_stop and order.hit(price):
                order.triggered = order.rests = True
                self.log.append((ts, "triggered", order.command.client_order_id))
                if order.hit(price):
                    self.take(order, price, ts)
                elif order.command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
                    self.cancel(order, ts, Reason[order.command.time_in_force.name])
        if self.rules.fills_on_touch:
            self.limits(index, ts, price, step)

    def limits(self, index: int, ts: int, price: int, step: int) -> None:
        for order in list(self.orders):
            if order.sees_inside_of > index or order.expires < ts or order.is_stop or order.any_price or order not in self.orders:
                continue
            assert order.price is not None
            is_past = price < order.price if order.buys else price > order.price
            if is_past or (self.rules.fills_on_touch and price == order.price):
                self.fill(order, order.price, ts, False)
