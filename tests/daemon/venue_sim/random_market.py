"""A market for tests of a venue's protocol: orders arrive late, are answered late, and are filled when the dice say so."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, OrderType, Reason, Side
from core.events import (
    AnyEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    Quote,
    ReplaceRejected,
)

INSTRUMENT = "ACME.SIM"
DELAY_NS_MAX = 5_000_000


class RandomMarket:
    """Commands in order, each after a delay; everything that was booked is in `filled`, by execution id."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._way: deque[tuple[int, OrderCommand]] = deque()
        self._open: dict[int, SubmitOrder] = {}
        self._left: dict[int, int] = {}
        self._filled: dict[int, int] = {}
        self._executions = 0
        self._now = 0
        self.position = 0
        self.done = False

    def take(self, command: OrderCommand) -> None:
        last = self._way[-1][0] if self._way else 0
        self._way.append((max(self._now + self._draw.randrange(DELAY_NS_MAX), last), command))

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        if until_ts <= self._now:
            return []
        self._now = until_ts
        events: list[AnyEvent] = []
        while self._way and self._way[0][0] <= until_ts:
            self._arrive(self._way.popleft()[1], events)
        for order_id in list(self._open):
            if self._draw.random() < 0.1:
                self._fill(order_id, self._draw.randint(1, self._left[order_id]), events)
        bid = 10_000 + self._draw.randint(-3, 3)
        events.append(Quote(until_ts, until_ts, INSTRUMENT, bid, 50, bid + 1, 50))
        return events

    def _arrive(self, command: OrderCommand, events: list[AnyEvent]) -> None:
        now = self._now
        match command:
            case SubmitOrder(client_order_id=order_id):
                if self._draw.random() < 0.05:
                    events.append(OrderRejected(now, now, order_id, Reason.POST_ONLY))
                    return
                self._open[order_id], self._left[order_id], self._filled[order_id] = command, command.quantity, 0
                if command.order_type is OrderType.MARKET:
                    self._fill(order_id, command.quantity, events)
                else:
                    events.append(OrderAccepted(now, now, order_id, command.price or 0, command.quantity))
            case CancelOrder(client_order_id=order_id):
                if order_id in self._open:
                    self._cancel(order_id, Reason.REQUESTED, events)
                else:
                    events.append(CancelRejected(now, now, order_id, Reason.UNKNOWN_ORDER))
            case ReplaceOrder(client_order_id=order_id):
                self._replace(command, order_id, events)
            case CancelAll():
                for order_id in list(self._open):
                    self._cancel(order_id, Reason.MASS_CANCEL, events)

    def _replace(self, command: ReplaceOrder, order_id: int, events: list[AnyEvent]) -> None:
        now = self._now
        left = command.quantity - (self._filled.get(order_id, 0) - command.filled_qty)
        if order_id not in self._open or left <= 0:
            events.append(ReplaceRejected(now, now, order_id, Reason.UNKNOWN_ORDER))
            return
        self._left[order_id] = left
        events.append(OrderReplaced(now, now, order_id, command.price, left))

    def _cancel(self, order_id: int, reason: Reason, events: list[AnyEvent]) -> None:
        del self._open[order_id]
        events.append(OrderCanceled(self._now, self._now, order_id, self._left.pop(order_id), reason))

    def _fill(self, order_id: int, qty: int, events: list[AnyEvent]) -> None:
        order, now = self._open[order_id], self._now
        self._executions += 1
        self._left[order_id] -= qty
        self._filled[order_id] += qty
        self.position += qty if order.side is Side.BUY else -qty
        left, price = self._left[order_id], order.price or 10_000
        maker = LiquiditySide.MAKER
        events.append(
            OrderFilled(now, now, order_id, INSTRUMENT, str(self._executions), order.side, price, qty, left, maker, 0, "USD")
        )
        if not left:
            del self._open[order_id], self._left[order_id]
