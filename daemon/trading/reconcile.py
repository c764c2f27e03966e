"""Holds our orders against what the venue says, and states as events what has to change on our side. Pure.

The venue is right. An order of ours that it does not have and that its executions do not fill is gone: that is recorded as a
cancel with reason UNKNOWN_ORDER, never assumed in silence. An order whose outcome was unknown becomes what the venue shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from core.enums import OrderStatus, Reason
from core.events import AnyEvent, CancelRejected, OrderAccepted, OrderCanceled, OrderReplaced, ReplaceRejected
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
    fills = _new_fills(trader, venue, ts)
    events, foreign = list(fills.events), list(fills.foreign)
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
        events += _order_facts(order_here, at_venue.get(order_here.client_order_id), fills.left, ts)
    return Facts(tuple(events), tuple(foreign))


class NewFills(NamedTuple):
    """Executions that we did not know, as events; those that cannot be ours, in words; what the former leave, by order."""

    events: tuple[AnyEvent, ...]
    foreign: tuple[str, ...]
    left: dict[int, int]


def _new_fills(trader: Trader, venue: VenueState, ts: int) -> NewFills:
    events: list[AnyEvent] = []
    foreign: list[str] = []
    filled: dict[int, int] = {}
    leaves_at_venue = {order.client_order_id: order.leaves_qty for order in venue.open_orders}
    booked = set(trader.orders.executions())
    for fill in venue.executions:
        if (fill.client_order_id, fill.execution_id) in booked:
            continue
        order = trader.orders.get(fill.client_order_id)
        name = f"execution {fill.execution_id} of order {fill.client_order_id}"
        if order is None:
            foreign.append(f"{name}, which is not remembered here")
            continue
        total = filled.get(fill.client_order_id, 0) + fill.qty
        if fill.side is not order.side or fill.instrument_id != order.instrument_id or fill.qty <= 0:
            foreign.append(f"{name}: {fill.side.name} {fill.qty} of {fill.instrument_id}, which the order cannot bring about")
            continue
        if not order.is_open and order.filled_qty + total > order.quantity:
            foreign.append(f"{name}: {total} more on an order of {order.quantity} that has ended as {order.status.name}")
            continue
        filled[fill.client_order_id] = total
        events.append(msgspec.structs.replace(fill, ts_init=ts))
    before: list[AnyEvent] = []
    left: dict[int, int] = {}
    for order_id, total in filled.items():
        order = trader.orders.orders[order_id]
        first = next(fill for fill in venue.executions if fill.client_order_id == order_id)
        moment = max(first.ts_event, order.ts_filled)
        quantity_events, quantity_left = _quantity_facts(order, leaves_at_venue.get(order_id), total, moment, ts)
        before += quantity_events
        left[order_id] = quantity_left - total
    return NewFills((*before, *events), tuple(foreign), left)


def _quantity_facts(
    order: Order, leaves_at_venue: int | None, total: int, ts_event: int, ts: int
) -> tuple[Sequence[AnyEvent], int]:
    """What has to be known of an order's quantity before `total` more of it is filled, and how much of it is left then."""
    order_id, price = order.client_order_id, order.price or 0
    needed = total + (leaves_at_venue or 0)
    if not order.is_open or needed <= max(order.leaves_qty, order.replace_qty):
        if not order.is_open or not order.replace_in_flight or leaves_at_venue is not None:
            return (), order.leaves_qty
        # It has ended there, so whether it was replaced before is told by how much was filled.
        if total <= order.leaves_qty:
            return (ReplaceRejected(ts, ts, order_id, Reason.UNKNOWN_ORDER),), order.leaves_qty
        needed = order.replace_qty
    # Larger there than here: its replace was answered, or a power cut took that replace from us, or somebody made it so there.
    replaced = OrderReplaced(ts_event, ts, order_id, price, needed)
    if order.status in NOT_YET_ACKNOWLEDGED and not order.replace_in_flight:
        return (OrderAccepted(ts_event, ts, order_id, price, order.leaves_qty), replaced), needed
    return (replaced,), needed


def _order_facts(order: Order, found: VenueOrder | None, left_after: dict[int, int], ts: int) -> Sequence[AnyEvent]:
    """`left_after`: what the fills above leave of those that they concern."""
    order_id = order.client_order_id
    left = left_after.get(order_id, order.leaves_qty)
    if found is None:
        # Where the fills above have finished it, there is nothing to cancel.
        return [] if left <= 0 and order_id in left_after else [OrderCanceled(ts, ts, order_id, left, Reason.UNKNOWN_ORDER)]
    price = found.price if found.price is not None else order.price or 0
    if order.status in NOT_YET_ACKNOWLEDGED and not order.replace_in_flight:
        accepted = OrderAccepted(ts, ts, order_id, price, found.leaves_qty, found.venue_order_id)
        return [accepted] if found.leaves_qty <= left else [accepted, OrderReplaced(ts, ts, order_id, price, found.leaves_qty)]
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
