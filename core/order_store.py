"""All our orders, and the only writer of them: applies order events through the transition table.

Keeps the worst-case exposure of every instrument (MarketState.open_buy_qty, open_sell_qty) in step: an order counts with its
reserved quantity from the moment it is submitted until a fact from the venue ends it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from core.commands import ReplaceOrder, SubmitOrder
from core.enums import OrderStatus, OrderType, Side
from core.errors import StateError
from core.events import (
    CancelRejected,
    ForeignOrderFound,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
    ReplaceRejected,
)
from core.market_state import MarketState
from core.orders import TERMINAL, Order, Trigger

FOREIGN = "(foreign)"  # the strategy that adopted orders and fills belong to; no configured one can be called so
FOREIGN_ORDER_ID = 0  # of an execution that belongs to no order of ours
CLOSED_KEPT_MAX = 10_000  # closed orders remembered, so that late answers and fills find them


def foreign_execution(instrument_id: str, execution_id: str, side: Side) -> str:
    """The name of a foreign execution: venues number them by instrument, and both sides of one trade may be the account's."""
    return f"{instrument_id}/{execution_id}/{side.name}"


class OrderStore:
    __slots__ = (
        "_closed",
        "_open",
        "_seen_executions",
        "_states",
        "closed_kept_max",
        "executions_kept_max",
        "foreign",
        "last_fill_ts",
        "orders",
    )

    def __init__(
        self, states: dict[str, MarketState], closed_kept_max: int = CLOSED_KEPT_MAX, executions_kept_max: int = 100_000
    ) -> None:
        self._states = states
        self.orders: dict[int, Order] = {}
        # The open ones again: a strategy may ask for them at every quote, and thousands of closed ones are remembered.
        self._open: dict[int, Order] = {}
        self._closed: deque[int] = deque()
        # The oldest execution id is forgotten first. A plain dict would do it too, but looks past every entry it has dropped
        # before to find the oldest: 50 us a fill.
        self._seen_executions: OrderedDict[tuple[int, str], None] = OrderedDict()
        self.foreign: dict[int, str] = {}  # adopted orders, by the id that we gave them: the venue's own name
        self.last_fill_ts = 0  # the venue's stamp of the latest execution known
        self.closed_kept_max = closed_kept_max
        self.executions_kept_max = executions_kept_max

    def get(self, client_order_id: int) -> Order | None:
        return self.orders.get(client_order_id)

    def open_orders(self, instrument_id: str | None = None, strategy_id: str | None = None) -> list[Order]:
        """Open orders, oldest first."""
        return [
            order
            for order in self._open.values()
            if (instrument_id is None or order.instrument_id == instrument_id)
            and (strategy_id is None or order.strategy_id == strategy_id)
        ]

    def executions(self) -> list[tuple[int, str]]:
        """(client_order_id, execution_id) of the fills booked, oldest first, as far as they are remembered."""
        return list(self._seen_executions)

    def is_known(self, execution: tuple[int, str]) -> bool:
        """Whether `executions` has it."""
        return execution in self._seen_executions

    def restore(self, orders: Sequence[Order], executions: Iterable[tuple[int, str]]) -> None:
        """Orders and executions of runs before this one, oldest first; their reservations count again."""
        assert not self.orders, "a restore comes before the first order"
        for order in orders:
            self.orders[order.client_order_id] = order
            if not order.is_open:
                self._closed.append(order.client_order_id)
                continue
            self._open[order.client_order_id] = order
            state = self._states[order.instrument_id]
            state.open_orders += 1
            if order.status is OrderStatus.UNKNOWN:
                state.unknown[order.client_order_id] = order
            if state.watch is not None:
                state.watch.reserve(order.strategy_id, order.side, 0, 1)
            reserved_qty, order.reserved_qty = order.reserved_qty, 0
            self._reserve(order, reserved_qty)
        self._seen_executions.update(dict.fromkeys(executions))

    # Requests of ours.

    def create(self, command: SubmitOrder) -> Order:
        order = Order(
            command.client_order_id,
            command.strategy_id,
            command.instrument_id,
            command.side,
            command.order_type,
            command.quantity,
            command.price,
            command.trigger_price,
            command.time_in_force,
            command.post_only,
            command.reduce_only,
            command.display_qty,
            command.expire_ts,
            command.ts,
        )
        assert command.client_order_id not in self.orders, "client order ids are never reused"
        self.orders[command.client_order_id] = order
        return order

    def submitted(self, order: Order) -> None:
        order.move(Trigger.SUBMIT)
        self._open[order.client_order_id] = order
        state = self._states[order.instrument_id]
        state.open_orders += 1
        order.reserved_qty = qty = order.quantity
        if order.side is Side.BUY:
            state.open_buy_qty += qty
        else:
            state.open_sell_qty += qty
        watch = state.watch
        if watch is not None:
            watch.reserve(order.strategy_id, order.side, qty, 1)

    def denied(self, order: Order) -> None:
        order.move(Trigger.DENY)
        order.leaves_qty = 0
        self._remember_closed(order)

    def cancel_requested(self, order: Order, ts: int) -> None:
        was_unknown = order.status is OrderStatus.UNKNOWN
        order.move(Trigger.REQUEST_CANCEL)
        if not was_unknown:
            # A doubt is as old as it is, however often a cancel is tried: two looks at it must be comparable.
            order.ts_updated = ts

    def replace_requested(self, order: Order, command: ReplaceOrder) -> None:
        order.move(Trigger.REQUEST_REPLACE)
        order.ts_updated = command.ts
        order.replace_in_flight = True
        order.replace_qty = command.quantity
        order.replace_price = command.price
        # Until the answer is here either quantity may be the live one.
        self._reserve(order, max(order.reserved_qty, command.quantity))

    # What is not ours.

    def adopt(self, event: ForeignOrderFound) -> Order:
        """An order that somebody else has sent becomes one of ours: it counts, and can be canceled."""
        order_type = OrderType.STOP if event.price is None else OrderType.LIMIT
        command = SubmitOrder(
            event.ts_init,
            event.client_order_id,
            FOREIGN,
            event.instrument_id,
            event.side,
            order_type,
            event.quantity,
            event.price,
        )
        if event.client_order_id in self.orders or not event.quantity > 0 or event.instrument_id not in self._states:
            raise StateError(f"a foreign order cannot be adopted: {event!r}")
        order = self.create(command)
        self.submitted(order)
        order.move(Trigger.ACCEPT)
        order.accepted = True
        self.foreign[order.client_order_id] = event.venue_order_id
        return order

    def take_foreign_execution(self, instrument_id: str, execution_id: str, side: Side, ts_event: int) -> bool:
        """Remember an execution that no order of ours explains; False where it was known."""
        return self._see((FOREIGN_ORDER_ID, foreign_execution(instrument_id, execution_id, side)), ts_event)

    def _see(self, execution: tuple[int, str], ts_event: int) -> bool:
        seen = self._seen_executions
        if execution in seen:
            return False
        seen[execution] = None
        if len(seen) > self.executions_kept_max:
            seen.popitem(last=False)
        self.last_fill_ts = max(self.last_fill_ts, ts_event)
        return True

    def _filled_foreign(self, event: OrderFilled) -> Order | None:
        """What we know of somebody else's order is a look at it from outside: what each fill says is left counts."""
        order = self._find(event.client_order_id)
        if event.side is not order.side or event.instrument_id != order.instrument_id or not event.qty > 0 <= event.leaves_qty:
            raise StateError(f"order {order.client_order_id} ({order!r}) cannot be filled by {event!r}")
        if not self.take_foreign_execution(event.instrument_id, event.execution_id, event.side, event.ts_event):
            return None
        was_open, is_latest = order.is_open, event.ts_event >= order.ts_filled
        leaves = event.leaves_qty if is_latest else min(order.leaves_qty, event.leaves_qty)
        if order.status is not OrderStatus.FILLED:
            order.move(Trigger.FILL_PART if leaves else Trigger.FILL_ALL)
        order.filled_qty += event.qty
        order.filled_value += event.price * event.qty
        order.ts_updated = event.ts_init
        order.quantity = order.filled_qty + (leaves if was_open else 0)
        if is_latest:
            order.ts_filled, order.venue_leaves_qty = event.ts_event, event.leaves_qty
        if was_open:
            order.leaves_qty = leaves
            self._reserve(order, leaves)
            if not leaves:
                self._close(order, event.ts_init)
        return order

    # Facts from the venue. Each checks everything, then mutates.

    def accepted(self, event: OrderAccepted) -> Order:
        order = self._find(event.client_order_id)
        # A late acknowledgement must not undo the price of a replace that was answered first.
        is_news = not order.accepted or order.status is OrderStatus.UNKNOWN
        order.move(Trigger.ACCEPT)
        order.accepted = True
        order.ts_updated = event.ts_init
        if is_news and order.price is not None:
            order.price = event.price
        return order

    def rejected(self, event: OrderRejected) -> Order:
        order = self._find(event.client_order_id)
        if order.filled_qty:
            raise StateError(f"order {order.client_order_id}: refused after fills of {order.filled_qty}")
        if order.status is OrderStatus.CANCELED and not (order.accepted or order.triggered):
            # A comparison had found it gone before the venue said why: that it never was there is the same end.
            return order
        was_open = order.status not in TERMINAL
        order.move(Trigger.REJECT)
        return self._close(order, event.ts_init) if was_open else order

    def filled(self, event: OrderFilled) -> Order | None:
        """The order, moved; None when this execution was booked before."""
        if self.foreign and event.client_order_id in self.foreign:
            return self._filled_foreign(event)
        # With the order in the key: where two orders of ours meet, both fills may bear the trade's one id.
        execution = (event.client_order_id, event.execution_id)
        seen = self._seen_executions
        if execution in seen:
            return None
        order = self._find(event.client_order_id)
        qty, ts_event = event.qty, event.ts_event
        if event.side is not order.side or event.instrument_id != order.instrument_id or not qty > 0:
            raise StateError(f"order {order.client_order_id} ({order!r}) cannot be filled by {event!r}")
        if not event.price > 0 and self._states[order.instrument_id].instrument.price_min > 0:
            raise StateError(f"order {order.client_order_id}: a fill at price {event.price} is impossible")
        filled, quantity, replace_qty = order.filled_qty + qty, order.quantity, order.replace_qty
        # A fill from before the last change of quantity: the quantity that was left then did not count it.
        is_counted = ts_event < order.ts_replaced
        if is_counted:
            quantity += qty
        if filled > quantity and filled > order.filled_qty + replace_qty:  # as `exceeds` says it
            raise StateError(f"order {order.client_order_id}: fills of {filled} exceed its quantity {order.quantity}")
        # With a replace unanswered, more may be left than we know of.
        is_last = filled >= quantity and (event.leaves_qty == 0 or replace_qty <= qty)
        was_open = order.status not in TERMINAL
        order.move(Trigger.FILL_ALL if is_last else Trigger.FILL_PART)
        order.filled_qty = filled
        order.quantity = quantity if quantity > filled else filled
        order.filled_value += event.price * qty
        if ts_event >= order.ts_filled:
            order.ts_filled = ts_event
            order.venue_leaves_qty = event.leaves_qty
        seen[execution] = None
        if len(seen) > self.executions_kept_max:
            seen.popitem(last=False)
        self.last_fill_ts = max(self.last_fill_ts, ts_event)
        if not was_open:
            order.ts_updated = event.ts_init
        elif order.status is OrderStatus.FILLED:
            self._close(order, event.ts_init)
        else:
            order.ts_updated = event.ts_init
            if not is_counted:
                order.leaves_qty = max(order.leaves_qty - qty, 0)
                order.replace_qty = max(replace_qty - qty, 0)
                self._reserve(order, max(order.reserved_qty - qty, order.leaves_qty))
        return order

    def exceeds(self, event: OrderFilled) -> bool:
        """Whether this is more of one of our orders than was asked for, and news: `filled` would refuse it."""
        order = self.orders.get(event.client_order_id)
        if order is None or event.client_order_id in self.foreign or event.ts_event < order.ts_replaced:
            return False
        if (event.client_order_id, event.execution_id) in self._seen_executions:
            return False
        filled = order.filled_qty + event.qty
        return filled > order.quantity and filled > order.filled_qty + order.replace_qty

    def canceled(self, event: OrderCanceled) -> Order:
        order = self._find(event.client_order_id)
        was_open = order.status not in TERMINAL
        order.move(Trigger.CANCEL)
        return self._close(order, event.ts_init) if was_open else order

    def expired(self, event: OrderExpired) -> Order:
        order = self._find(event.client_order_id)
        was_open = order.status not in TERMINAL
        order.move(Trigger.EXPIRE)
        return self._close(order, event.ts_init) if was_open else order

    def triggered(self, event: OrderTriggered) -> Order:
        order = self._find(event.client_order_id)
        order.move(Trigger.TRIGGER)
        order.triggered = True
        order.ts_updated = event.ts_init
        return order

    def replaced(self, event: OrderReplaced) -> Order:
        order = self._find(event.client_order_id)
        if event.leaves_qty < 0:
            raise StateError(f"order {order.client_order_id}: replaced to a remaining quantity of {event.leaves_qty}")
        order.move(Trigger.REPLACE)
        order.ts_updated = event.ts_init
        if order.status in TERMINAL:
            return order
        if order.price is not None:
            order.price = event.price
        order.accepted = True
        order.replace_in_flight = False
        order.replace_qty = 0
        self._set_leaves(order, event)
        return order

    def restated(self, event: OrderRestated) -> Order:
        order = self._find(event.client_order_id)
        if not (event.leaves_qty >= 0 and (_leaves(order, event) <= order.leaves_qty or order.status in TERMINAL)):
            raise StateError(f"order {order.client_order_id}: restated from {order.leaves_qty} to {event.leaves_qty}")
        order.move(Trigger.RESTATE)
        order.ts_updated = event.ts_init
        if order.status not in TERMINAL:
            self._set_leaves(order, event)
        return order

    def cancel_rejected(self, event: CancelRejected) -> Order:
        order = self._find(event.client_order_id)
        was_unknown = order.status is OrderStatus.UNKNOWN
        order.move(Trigger.CANCEL_REJECT)
        if not was_unknown:
            order.ts_updated = event.ts_init
        return order

    def replace_rejected(self, event: ReplaceRejected) -> Order:
        order = self._find(event.client_order_id)
        order.move(Trigger.REPLACE_REJECT)
        order.replace_in_flight = False
        order.ts_updated = event.ts_init
        if order.status not in TERMINAL:
            order.replace_qty = 0
            self._reserve(order, order.leaves_qty)
        return order

    def lost(self, event: OrderOutcomeUnknown) -> Order:
        """Nothing is released: the whole reservation stays."""
        order = self._find(event.client_order_id)
        was_unknown = order.status is OrderStatus.UNKNOWN
        order.move(Trigger.LOSE)
        if not was_unknown:
            order.ts_updated = event.ts_init
        if order.status is OrderStatus.UNKNOWN:
            self._states[order.instrument_id].unknown[order.client_order_id] = order
        return order

    def _find(self, client_order_id: int) -> Order:
        order = self.orders.get(client_order_id)
        if order is None:
            raise StateError(f"order {client_order_id} is not one of ours, or was closed too long ago to be remembered")
        return order

    def _set_leaves(self, order: Order, event: OrderReplaced | OrderRestated) -> None:
        if isinstance(event, OrderReplaced) and event.filled_qty >= 0:
            # What the venue had filled and what was left are the whole: fills that are heard of later come off it, whatever
            # their stamps. A change and a fill in one millisecond cannot be put in order by those.
            order.leaves_qty = leaves = max(event.filled_qty + event.leaves_qty - order.filled_qty, 0)
            order.ts_replaced = 0
        else:
            order.leaves_qty = leaves = _leaves(order, event)
            order.ts_replaced = max(order.ts_replaced, event.ts_event)
        order.quantity = order.filled_qty + leaves
        self._reserve(order, max(leaves, order.replace_qty))
        if leaves == 0 and event.leaves_qty > 0:
            # The fill that completed the new quantity was heard of before the new quantity.
            order.move(Trigger.FILL_ALL)
            self._close(order, event.ts_init)

    def _reserve(self, order: Order, qty: int) -> None:
        state = self._states[order.instrument_id]
        change = qty - order.reserved_qty
        order.reserved_qty = qty
        if order.side is Side.BUY:
            state.open_buy_qty += change
        else:
            state.open_sell_qty += change
        watch = state.watch
        if watch is not None:
            watch.reserve(order.strategy_id, order.side, change)

    def _close(self, order: Order, ts: int) -> Order:
        order.ts_updated = ts
        order.leaves_qty = 0
        state = self._states[order.instrument_id]
        state.open_orders -= 1
        if order.side is Side.BUY:
            state.open_buy_qty -= order.reserved_qty
        else:
            state.open_sell_qty -= order.reserved_qty
        watch = state.watch
        if watch is not None:
            watch.reserve(order.strategy_id, order.side, -order.reserved_qty, -1)
        order.reserved_qty = 0
        del self._open[order.client_order_id]
        self._remember_closed(order)
        return order

    def _remember_closed(self, order: Order) -> None:
        closed = self._closed
        closed.append(order.client_order_id)
        if len(closed) > self.closed_kept_max:
            forgotten = closed.popleft()
            del self.orders[forgotten]
            if self.foreign:
                self.foreign.pop(forgotten, None)


def _leaves(order: Order, event: OrderReplaced | OrderRestated) -> int:
    """What is left now. A fill that the venue made later than `event`, and we heard of earlier, knows better."""
    return event.leaves_qty if event.ts_event >= order.ts_filled else min(event.leaves_qty, order.venue_leaves_qty)
