"""A venue that answers late, refuses, loses answers and fills at will, but always tells the truth in the end."""

from __future__ import annotations

from random import Random
from typing import Any

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, Reason, Side
from core.events import (
    AnyEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)

REFUSALS = (Reason.POST_ONLY, Reason.BAD_FIELD, Reason.SIMULATED_REJECT)


class Live:
    def __init__(self, command: SubmitOrder) -> None:
        self.order_id = command.client_order_id
        self.instrument_id = command.instrument_id
        self.side = command.side
        self.price = command.price if command.price is not None else 10_000  # a market order's fill
        self.leaves_qty = command.quantity
        self.filled_qty = 0


class HostileVenue:
    """Commands wait in `inbox` until `answer` takes the first; `resolve` tells what became of a lost request."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.inbox: list[Any] = []
        self.live: dict[int, Live] = {}
        self.lost: list[tuple[Any, bool]] = []  # command, and whether it was carried out
        self._executions = 0

    def send(self, approved: Approved) -> None:
        self.inbox.append(approved.command)

    def answer(self, now: int, *, kindly: bool) -> list[AnyEvent]:
        command = self.inbox.pop(0)
        chance = 1.0 if kindly else self.random.random()
        match command:
            case SubmitOrder():
                return self._submit(command, now, chance)
            case ReplaceOrder():
                return self._replace(command, now, chance)
            case CancelOrder():
                return self._cancel(command.client_order_id, now, Reason.REQUESTED)
            case CancelAll():
                return [event for key in list(self.live) for event in self._cancel(key, now, Reason.MASS_CANCEL)]
        raise AssertionError(f"unknown command {command!r}")

    def _submit(self, command: SubmitOrder, now: int, chance: float) -> list[AnyEvent]:
        key = command.client_order_id
        if chance < 0.1:
            return [OrderRejected(now, now, key, self.random.choice(REFUSALS))]
        happens = chance >= 0.2 or self.random.random() < 0.5
        if happens:
            self.live[key] = Live(command)
        if chance < 0.2:
            self.lost.append((command, happens))
            return [OrderOutcomeUnknown(now, now, key)]
        return [OrderAccepted(now, now, key, command.price or 0, command.quantity)]

    def _replace(self, command: ReplaceOrder, now: int, chance: float) -> list[AnyEvent]:
        key = command.client_order_id
        order = self.live.get(key)
        if order is None:
            return [ReplaceRejected(now, now, key, Reason.UNKNOWN_ORDER)]
        leaves_qty = command.quantity - (order.filled_qty - command.filled_qty)
        if leaves_qty <= 0:
            return self._cancel(key, now, Reason.REQUESTED)
        if chance < 0.1:
            return [ReplaceRejected(now, now, key, self.random.choice(REFUSALS))]
        happens = chance >= 0.2 or self.random.random() < 0.5
        if happens:
            order.price, order.leaves_qty = command.price, leaves_qty
        if chance < 0.2:
            self.lost.append((command, happens))
            return [OrderOutcomeUnknown(now, now, key)]
        return [OrderReplaced(now, now, key, command.price, leaves_qty)]

    def _cancel(self, key: int, now: int, reason: Reason) -> list[AnyEvent]:
        order = self.live.pop(key, None)
        if order is None:
            return [CancelRejected(now, now, key, Reason.UNKNOWN_ORDER)]
        self.lost = [(command, happened) for command, happened in self.lost if command.client_order_id != key]
        return [OrderCanceled(now, now, key, order.leaves_qty, reason)]

    def resolve(self, now: int) -> list[AnyEvent]:
        command, happened = self.lost.pop(0)
        order = self.live.get(command.client_order_id)
        if order is None:
            # Never arrived; one that was filled meanwhile has told so itself.
            is_new = isinstance(command, SubmitOrder) and not happened
            return [OrderRejected(now, now, command.client_order_id, Reason.SIMULATED_REJECT)] if is_new else []
        if isinstance(command, ReplaceOrder):
            return [OrderReplaced(now, now, order.order_id, order.price, order.leaves_qty)]
        return [OrderAccepted(now, now, order.order_id, order.price, order.leaves_qty)]

    def fill(self, now: int) -> list[AnyEvent]:
        order = self.random.choice(list(self.live.values()))
        qty = order.leaves_qty if self.random.random() < 0.5 else self.random.randint(1, order.leaves_qty)
        order.leaves_qty -= qty
        order.filled_qty += qty
        if not order.leaves_qty:
            del self.live[order.order_id]
        self._executions += 1
        return [
            OrderFilled(
                now,
                now,
                order.order_id,
                order.instrument_id,
                f"H{self._executions}",
                order.side,
                order.price,
                qty,
                order.leaves_qty,
                LiquiditySide.MAKER,
                0,
                "USDT",
            )
        ]

    def prices(self, side: Side) -> list[int]:
        return [order.price for order in self.live.values() if order.side is side]
