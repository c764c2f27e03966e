"""Client programs: strategies whose decisions come from outside, as events, and go through the same context and risk gate.

A client's order carries a name of the client's own, `client_ref`. The order that a name has made is remembered: the same name
again makes no second order, whatever became of the answer to the first, also over a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from core.commands import CancelOrder
from core.enums import OrderStatus
from core.errors import StrategyError
from core.events import ClientCancelRequested, ClientOrderRequested, ClientReplaceRequested, OrderDenied
from core.orders import TERMINAL, Order
from core.strategy import Subscription
from core.trader_state import ClientRefRecord

if TYPE_CHECKING:
    from core.context import StrategyContext
    from core.trader import Trader

# Beside the names of orders that are still remembered: so many of the latest.
REFS_KEPT_MAX = 10_000

Key = tuple[str, str]  # client_id, client_ref


class ClientProgram:
    """What stands in the Trader for a program outside: it is woken for its market data and decides nothing by itself."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = list(subscriptions)

    def subscriptions(self) -> list[Subscription]:
        return self._subscriptions


class ClientDesk:
    """Takes the requests of client programs within a step. `last_denied` is what the last request was refused with, if it was."""

    def __init__(self, trader: Trader) -> None:
        self._trader = trader
        self._contexts: dict[str, StrategyContext] = {}
        self._refs: dict[Key, ClientRefRecord] = {}  # in the order in which they came
        self._names: dict[int, str] = {}  # client_order_id -> client_ref
        self.last_denied: OrderDenied | None = None

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            ClientOrderRequested: self._on_order,
            ClientCancelRequested: self._on_cancel,
            ClientReplaceRequested: self._on_replace,
        }

    def add(self, client_id: str, subscriptions: Sequence[Subscription]) -> None:
        """Register before the first step. Raises StrategyError for a name that a strategy has, or an unknown instrument."""
        self._contexts[client_id] = self._trader.add_strategy(client_id, ClientProgram(subscriptions))

    @property
    def client_ids(self) -> list[str]:
        return list(self._contexts)

    def find(self, client_id: str, client_ref: str) -> ClientRefRecord | None:
        """The order that this name has made, or None where it is free."""
        return self._refs.get((client_id, client_ref))

    def name_of(self, client_order_id: int) -> str | None:
        """The client's own name for an order; None where it has none, or it is forgotten."""
        return self._names.get(client_order_id)

    # Requests.

    def _on_order(self, event: ClientOrderRequested) -> None:
        self.last_denied = None
        context = self._contexts.get(event.client_id)
        if context is None:
            raise StrategyError(f"there is no client {event.client_id!r}: {event!r}")
        if (event.client_id, event.client_ref) in self._refs:
            return
        order = context.submit(
            event.instrument_id,
            event.side,
            event.quantity,
            event.price,
            order_type=event.order_type,
            trigger_price=event.trigger_price,
            time_in_force=event.time_in_force,
            post_only=event.post_only,
            reduce_only=event.reduce_only,
            display_qty=event.display_qty,
            expire_ts=event.expire_ts,
        )
        if order.status is OrderStatus.DENIED:
            self.last_denied = self._trader.denied[-1]
        self.remember(event, order.client_order_id, self.last_denied)

    def _on_cancel(self, event: ClientCancelRequested) -> None:
        """Of its own orders; an empty client_id is an operator's, who may cancel any."""
        order = self._of(event.client_id, event.client_order_id)
        if order is None or order.status in TERMINAL or order.status is OrderStatus.PENDING_CANCEL:
            return
        # Not through a context: the order may belong to a strategy that is not configured any more.
        trader = self._trader
        trader.orders.cancel_requested(order, trader.now)
        trader.out.append(trader.risk.cancel(CancelOrder(trader.now, order.client_order_id)))

    def _on_replace(self, event: ClientReplaceRequested) -> None:
        self.last_denied = None
        order = self._of(event.client_id, event.client_order_id)
        context = self._contexts.get(event.client_id)
        if order is None or context is None:
            return
        if not context.replace(order, event.quantity, event.price) and self._trader.denied:
            self.last_denied = self._trader.denied[-1]

    def _of(self, client_id: str, client_order_id: int) -> Order | None:
        order = self._trader.orders.get(client_order_id)
        return order if order is not None and (not client_id or order.strategy_id == client_id) else None

    # Names.

    def remember(self, event: ClientOrderRequested, client_order_id: int, denied: OrderDenied | None) -> None:
        """Called by a fold too, which finds in the journal what came of the request."""
        refs = self._refs
        refs[event.client_id, event.client_ref] = ClientRefRecord(
            client_id=event.client_id,
            client_ref=event.client_ref,
            client_order_id=client_order_id,
            instrument_id=event.instrument_id,
            side=event.side,
            order_type=event.order_type,
            quantity=event.quantity,
            price=event.price,
            trigger_price=event.trigger_price,
            limit="" if denied is None else denied.limit,
            value=0 if denied is None else denied.value,
            bound=0 if denied is None else denied.bound,
        )
        self._names[client_order_id] = event.client_ref
        if len(refs) >= 2 * REFS_KEPT_MAX:
            # Seldom and all at once, so that each name costs little. An order that is remembered keeps its name, however old.
            known = self._trader.orders.orders
            old = list(refs.items())[:-REFS_KEPT_MAX]
            for key, record in old:
                if record.client_order_id not in known:
                    del refs[key], self._names[record.client_order_id]

    def capture(self) -> tuple[ClientRefRecord, ...]:
        """The oldest first."""
        return tuple(self._refs.values())

    def restore(self, records: Sequence[ClientRefRecord]) -> None:
        self._refs = {(record.client_id, record.client_ref): record for record in records}
        self._names = {record.client_order_id: record.client_ref for record in records}

    def records(self) -> list[tuple[Any, ...]]:
        """For the state digest."""
        return [("client_ref", record.client_id, record.client_ref, record.client_order_id) for record in self._refs.values()]
