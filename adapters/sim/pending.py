"""Which orders may be open, and which requests for them have no answer yet: kept alike by both sides of a connection. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.events import (
    AnyOrderEvent,
    CancelRejected,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)


class Asked(IntFlag):
    """Requests for one order that wait for their answer."""

    SUBMIT = 1
    CANCEL = 2
    REPLACE = 4


class Pending:
    """`open` is what a CancelAll is about: orders and their instrument. `asked` holds only what waits."""

    __slots__ = ("asked", "open")

    def __init__(self, open_orders: Mapping[int, str] | None = None) -> None:
        self.open: dict[int, str] = dict(open_orders or {})
        self.asked: dict[int, Asked] = {}

    def scope(self, command: CancelAll) -> list[int]:
        wanted = command.instrument_id
        return [order_id for order_id, instrument_id in self.open.items() if wanted is None or instrument_id == wanted]

    def sent(self, command: OrderCommand) -> None:
        match command:
            case SubmitOrder(client_order_id=order_id):
                self.open[order_id] = command.instrument_id
                self._ask(order_id, Asked.SUBMIT)
            case CancelOrder(client_order_id=order_id):
                self._ask(order_id, Asked.CANCEL)
            case ReplaceOrder(client_order_id=order_id):
                self._ask(order_id, Asked.REPLACE)
            case CancelAll():
                for order_id in self.scope(command):
                    self._ask(order_id, Asked.CANCEL)

    def happened(self, event: AnyOrderEvent) -> None:
        order_id = event.client_order_id
        match event:
            case OrderRejected(reason=Reason.DUPLICATE_ID):
                return  # it says nothing about the order that has the id
            case OrderRejected() | OrderCanceled() | OrderExpired() | OrderFilled(leaves_qty=0):
                self.open.pop(order_id, None)
                self.asked.pop(order_id, None)
            case OrderReplaced() | ReplaceRejected():
                self._answered(order_id, Asked.SUBMIT | Asked.REPLACE)
            case CancelRejected():
                self._answered(order_id, Asked.SUBMIT | Asked.CANCEL)
            case _:
                self._answered(order_id, Asked.SUBMIT)

    def _ask(self, order_id: int, what: Asked) -> None:
        self.asked[order_id] = self.asked.get(order_id, Asked(0)) | what

    def _answered(self, order_id: int, what: Asked) -> None:
        asked = self.asked.get(order_id)
        if asked is None:
            return
        left = asked & ~what
        if left:
            self.asked[order_id] = left
        else:
            del self.asked[order_id]
