"""Orders at the venue that are not ours: which id they go by here, and which there. Pure.

The venue makes orders by itself for a switch (ids from VENUE_ORDER_ID_MIN on). Of one that nobody has adopted only its fills are
heard of, as those of FOREIGN_ORDER_ID; one that was adopted goes by the id it got, both ways.
"""

from __future__ import annotations

import msgspec

from adapters.sim.wire import VENUE_ORDER_ID_MIN, VENUE_ORDER_PREFIX
from core.commands import CancelOrder, OrderCommand, ReplaceOrder
from core.errors import VenueProtocolError
from core.events import AnyOrderEvent, OrderFilled
from core.order_store import FOREIGN_ORDER_ID
from core.venue_adapter import VenueOrder


class ForeignOrders:
    def __init__(self) -> None:
        self._here: dict[int, int] = {}  # by the id there
        self._there: dict[int, int] = {}  # by the id here

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        # One that has an id of a client, and not ours, keeps it at the venue.
        there = venue_id(order.venue_order_id) if order.client_order_id is None else order.client_order_id
        self._here[there] = client_order_id
        self._there[client_order_id] = there

    def outgoing(self, command: OrderCommand) -> OrderCommand:
        """As the venue knows the order."""
        if isinstance(command, CancelOrder | ReplaceOrder) and command.client_order_id in self._there:
            return msgspec.structs.replace(command, client_order_id=self._there[command.client_order_id])
        return command

    def incoming(self, event: AnyOrderEvent) -> AnyOrderEvent | None:
        """As it is known here; None for what concerns nobody."""
        order_id = event.client_order_id
        known = self._here.get(order_id)
        if known is not None:
            return msgspec.structs.replace(event, client_order_id=known)
        if order_id < VENUE_ORDER_ID_MIN:
            return event
        return msgspec.structs.replace(event, client_order_id=FOREIGN_ORDER_ID) if isinstance(event, OrderFilled) else None

    def order(self, order: VenueOrder) -> VenueOrder:
        there = order.client_order_id if order.client_order_id is not None else venue_id(order.venue_order_id)
        known = self._here.get(there)
        return order if known is None else msgspec.structs.replace(order, client_order_id=known)


def venue_id(venue_order_id: str) -> int:
    """The id of an order that the venue made. Raises VenueProtocolError for a name that is none."""
    digits = venue_order_id.removeprefix(VENUE_ORDER_PREFIX)
    if venue_order_id == digits or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise VenueProtocolError(f"{venue_order_id!r} cannot be the name of an order that the venue made")
    return VENUE_ORDER_ID_MIN + int(digits)
