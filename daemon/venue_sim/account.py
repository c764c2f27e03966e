"""A simulated venue's books: open orders by its last word on them, executions, money moved, positions by fills alone. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TypeVar

from adapters.sim.wire import VENUE_ORDER_ID_MIN, VENUE_ORDER_PREFIX
from core.commands import SubmitOrder
from core.enums import Reason, Side
from core.events import (
    AnyEvent,
    CashMoved,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
)
from core.venue_adapter import VenueOrder, VenueState

EXECUTIONS_KEPT_MAX = 100_000
MOVEMENTS_KEPT_MAX = 100_000

Told = TypeVar("Told", OrderFilled, CashMoved)


class VenueAccount:
    """`positions` is what the account holds as this ledger begins, in units by instrument."""

    def __init__(
        self,
        positions: Mapping[str, int],
        executions: Iterable[tuple[int, OrderFilled]] = (),
        cash_moves: Iterable[tuple[int, CashMoved]] = (),
    ) -> None:
        self.open: dict[int, VenueOrder] = {}
        self.positions: dict[str, int] = dict(positions)
        # With the number of the event that it was, oldest first.
        self.executions: deque[tuple[int, OrderFilled]] = deque(executions, maxlen=EXECUTIONS_KEPT_MAX)
        self.cash_moves: deque[tuple[int, CashMoved]] = deque(cash_moves, maxlen=MOVEMENTS_KEPT_MAX)

    def take(self, order: SubmitOrder) -> None:
        """The order has come in: until the venue says otherwise it is open."""
        order_id = order.client_order_id
        is_own = order_id >= VENUE_ORDER_ID_MIN
        self.open[order_id] = VenueOrder(
            None if is_own else order_id,
            order.instrument_id,
            order.side,
            order.price,
            order.quantity,
            f"{VENUE_ORDER_PREFIX}{order_id - VENUE_ORDER_ID_MIN}" if is_own else "",
            order.reduce_only,
        )

    def book(self, event: AnyEvent, number: int = 0) -> None:
        """What happened to an order or to the account's money; `number` is the event's, where events are numbered."""
        match event:
            case OrderRejected(reason=Reason.DUPLICATE_ID):
                return  # it says nothing about the order that has the id
            case OrderFilled():
                signed = event.qty if event.side is Side.BUY else -event.qty
                self.positions[event.instrument_id] = self.positions.get(event.instrument_id, 0) + signed
                self.executions.append((number, event))
                self._leave(event.client_order_id, event.leaves_qty)
            case CashMoved():
                self.cash_moves.append((number, event))
            case OrderAccepted() | OrderReplaced():
                self._leave(event.client_order_id, event.leaves_qty, event.price)
            case OrderRestated():
                self._leave(event.client_order_id, event.leaves_qty)
            case OrderRejected() | OrderCanceled() | OrderExpired():
                self.open.pop(event.client_order_id, None)
            case _:
                return

    def _leave(self, order_id: int, leaves_qty: int, price: int | None = None) -> None:
        order = self.open.get(order_id)
        if order is None:
            return
        if leaves_qty == 0:
            del self.open[order_id]
        else:
            self.open[order_id] = VenueOrder(
                order.client_order_id,
                order.instrument_id,
                order.side,
                # An order without a price of its own has none whatever it is said to rest at.
                order.price if price is None or order.price is None else price,
                leaves_qty,
                order.venue_order_id,
                order.reduce_only,
            )

    def state_since(self, ts: int, now: int = 0) -> VenueState:
        """With executions and movements of money of ts_event at or after `ts`; `now` is the venue's clock, where it has one."""
        return self._state(_since(self.executions, ts), _since(self.cash_moves, ts), now)

    def state_behind(self, number: int | None, now: int = 0) -> VenueState:
        """With those whose event came after event `number`; None: with none."""
        if number is None:
            return self._state((), (), now)
        return self._state(_behind(self.executions, number), _behind(self.cash_moves, number), now)

    def _state(self, executions: Iterable[OrderFilled], cash_moves: Iterable[CashMoved], now: int) -> VenueState:
        """What has come in is in `open` from that moment on: one look says it all."""
        return VenueState(
            tuple(self.open.values()),
            tuple(executions),
            dict(self.positions),
            not_found_ns=0,
            cash_moves=tuple(cash_moves),
            ts=now,
        )


def _since(told: deque[tuple[int, Told]], ts: int) -> list[Told]:
    """In the order in which they happened, which is that of their stamps."""
    found: list[Told] = []
    for _number, event in reversed(told):
        if event.ts_event < ts:
            break
        found.append(event)
    found.reverse()
    return found


def _behind(told: deque[tuple[int, Told]], number: int) -> list[Told]:
    found: list[Told] = []
    for each, event in reversed(told):
        if each <= number:
            break
        found.append(event)
    found.reverse()
    return found
