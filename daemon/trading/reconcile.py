"""Holds our orders against what the venue says, and states as events what has to change on our side. Pure.

The venue is right. An order of ours that it does not have and that its executions do not fill is gone: that is recorded as a
cancel with reason UNKNOWN_ORDER, never assumed in silence. An order whose outcome was unknown becomes what the venue shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from core.enums import OrderStatus, Reason
from core.events import AnyEvent, CancelRejected, OrderAccepted, OrderCanceled, OrderReplaced
from core.orders import Order
from core.trader import Trader
from core.venue_adapter import VenueOrder, VenueState

NOT_YET_ACKNOWLEDGED = (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Facts:
    """`events` in the order to apply them; `foreign` says in words what at the venue is not ours."""

    events: tuple[AnyEvent, ...]
    foreign: tuple[str, ...]


def reconcile(trader: Trader, venue: VenueState, ts: int) -> Facts:
    """What the venue knows better. `ts` (ns UTC) stamps the facts; executions keep the venue's own stamp."""
    events: list[AnyEvent] = []
    foreign: list[str] = []
    booked = set(trader.orders.executions())
    filled_now: dict[int, int] = {}
    for fill in venue.executions:
        if (fill.client_order_id, fill.execution_id) in booked:
            continue
        if trader.orders.get(fill.client_order_id) is None:
            foreign.append(f"execution {fill.execution_id} of order {fill.client_order_id}, which is not remembered here")
            continue
        filled_now[fill.client_order_id] = filled_now.get(fill.client_order_id, 0) + fill.qty
        events.append(msgspec.structs.replace(fill, ts_init=ts))
    at_venue: dict[int, VenueOrder] = {}
    for order in venue.open_orders:
        ours = None if order.client_order_id is None else trader.orders.get(order.client_order_id)
        if ours is None or order.client_order_id is None:
            foreign.append(f"order {order.venue_order_id or order.client_order_id} in {order.instrument_id}")
        elif not ours.is_open:
            foreign.append(f"order {order.client_order_id} is open there, and {ours.status.name} here")
        else:
            at_venue[order.client_order_id] = order
    for order_here in trader.orders.open_orders():
        if venue.instrument_ids is not None and order_here.instrument_id not in venue.instrument_ids:
            continue
        events += _order_facts(order_here, at_venue.get(order_here.client_order_id), filled_now, ts)
    return Facts(tuple(events), tuple(foreign))


def _order_facts(order: Order, found: VenueOrder | None, filled_now: dict[int, int], ts: int) -> Sequence[AnyEvent]:
    order_id = order.client_order_id
    left = order.leaves_qty - filled_now.get(order_id, 0)
    if found is None:
        # Where the fills above have finished it, there is nothing to cancel.
        return [] if left <= 0 and filled_now.get(order_id) else [OrderCanceled(ts, ts, order_id, left, Reason.UNKNOWN_ORDER)]
    price = found.price if found.price is not None else order.price or 0
    if order.status in NOT_YET_ACKNOWLEDGED and not order.replace_in_flight:
        return [OrderAccepted(ts, ts, order_id, price, found.leaves_qty, found.venue_order_id)]
    if order.replace_in_flight or found.leaves_qty != left or (order.price is not None and price != order.price):
        # A replace that was answered while nobody listened: what is open is the answer.
        return [OrderReplaced(ts, ts, order_id, price, found.leaves_qty), *_cancel_lost(order, ts)]
    return _cancel_lost(order, ts)


def _cancel_lost(order: Order, ts: int) -> list[AnyEvent]:
    """A cancel that we asked for and that has not happened: whoever wants it asks again, and is not waiting for an answer."""
    is_asked = order.status is OrderStatus.PENDING_CANCEL
    return [CancelRejected(ts, ts, order.client_order_id, Reason.NONE)] if is_asked else []


def position_differences(trader: Trader, venue: VenueState) -> list[str]:
    """Instruments where the venue's position is not ours, in words."""
    return [
        f"{key}: {instrument.format_qty(trader.portfolio.by_instrument[key].qty)} here, "
        f"{instrument.format_qty(venue.positions[key])} at the venue"
        for key, instrument in trader.instruments.items()
        if key in venue.positions and venue.positions[key] != trader.portfolio.by_instrument[key].qty
    ]


def last_fill_ts(trader: Trader) -> int:
    """Venue stamp of the last fill that the remembered orders have; 0: none."""
    return max((order.ts_filled for order in trader.orders.orders.values()), default=0)
