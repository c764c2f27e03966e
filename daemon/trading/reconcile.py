"""Holds our books against what the venue says, and states as events what has to change on our side. Pure.

The venue is right. An order of ours that it does not have and that its executions do not fill is gone: that is recorded as a
cancel with reason UNKNOWN_ORDER, never assumed in silence. An order whose outcome was unknown becomes what the venue shows; one
that may still be on its way there (VenueState.not_found_ns) is UNKNOWN and counts in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import msgspec

from core.enums import OrderStatus, Reason, Side
from core.events import (
    AnyEvent,
    CancelRejected,
    CashMoved,
    ForeignFilled,
    ForeignOrderFound,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderReplaced,
    ReplaceRejected,
)
from core.identifiers import COUNTER_BITS, COUNTER_MAX, make_order_id
from core.order_store import FOREIGN_ORDER_ID, foreign_execution
from core.orders import Order
from core.portfolio import pay
from core.restore import EXECUTIONS_OVERLAP_NS
from core.trader import Trader
from core.venue_adapter import VenueOrder, VenueState
from daemon.trading.spot_balances import Held, shortfalls

NOTHING_HELD: Held = {}
NOT_YET_ACKNOWLEDGED = (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)


class ForeignPolicy(Enum):
    """What becomes of orders and fills that are not ours (docs/PAPER.md)."""

    HALT = "halt"
    IGNORE = "ignore"
    ADOPT = "adopt"


class Kind(Enum):
    FILL = "fill"  # an execution that was not booked
    CASH = "cash"  # money that was moved and not booked
    ORDER = "order"  # the venue shows an order of ours in another state
    GONE = "gone"  # the venue does not have it
    CLOSED = "closed"  # the venue shows one that has ended here: older than its end, or a person has to look
    DOUBT = "doubt"  # the venue does not have it yet, and it may still be on its way
    FOREIGN = "foreign"  # not ours, and dealt with by the policy
    PROBLEM = "problem"  # not ours, or impossible: a person has to look
    POSITION = "position"  # what no fill explains: of a position, or of what a spot account must hold


@dataclass(frozen=True, slots=True)
class Finding:
    """One matter on which the two sides differ. Two looks speak of the same one where `key` and `state` are equal."""

    kind: Kind
    key: str
    state: tuple[Any, ...]
    text: str
    events: tuple[AnyEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What one answer of the venue shows. `adopted`: foreign orders by the ids they have, or get by the events."""

    findings: tuple[Finding, ...]
    adopted: tuple[tuple[int, VenueOrder], ...] = ()

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """In the order to apply them."""
        return tuple(event for finding in self.findings for event in finding.events)

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person has to look at."""
        kinds = (Kind.PROBLEM, Kind.CLOSED, Kind.POSITION)
        return tuple(finding.text for finding in self.findings if finding.kind in kinds)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(finding.text for finding in self.findings)

    def has(self, *kinds: Kind) -> bool:
        return any(finding.kind in kinds for finding in self.findings)

    def without(self, *kinds: Kind) -> Look:
        return replace(self, findings=tuple(finding for finding in self.findings if finding.kind not in kinds))

    def lasting(self, first: Look, *kinds: Kind) -> Look:
        """Only what `first` has shown in the same way; `kinds`: only of these that is asked. None: of each."""
        known = {(finding.key, finding.state) for finding in first.findings}
        kept = tuple(
            finding for finding in self.findings if (kinds and finding.kind not in kinds) or (finding.key, finding.state) in known
        )
        return replace(self, findings=kept)


def executions_since(trader: Trader) -> int:
    """From where on executions have to be asked for: what is older has been agreed on. ns UTC of the venue."""
    return max(max(trader.foreign.agreed_fill_ts, trader.foreign.begun_ts) - EXECUTIONS_OVERLAP_NS, 0)


def held_since(trader: Trader, fills: Sequence[OrderFilled]) -> dict[str, set[int]]:
    """What was held at one moment or another while `fills`, the last ones that were booked, came in: of their instruments."""
    held: dict[str, set[int]] = {}
    qty: dict[str, int] = {}
    for fill in reversed(fills):
        key = fill.instrument_id
        now = qty.setdefault(key, trader.portfolio.by_instrument[key].qty)
        qty[key] = now - (fill.qty if fill.side is Side.BUY else -fill.qty)
        held.setdefault(key, set()).update((now, qty[key]))
    return held


def look(
    trader: Trader,
    venue: VenueState,
    ts: int,
    policy: ForeignPolicy,
    *,
    adopted_before: int = 0,
    doubt_ns: int = 0,
    held: Held = NOTHING_HELD,
) -> Look:
    """`ts` (ns UTC) is now and stamps the facts; executions keep the venue's own stamp.

    `adopted_before` counts the foreign orders that this run has adopted: the next one gets the next id from the top. `doubt_ns`:
    an order that was sent less than so long ago and is not at the venue is no matter yet. `held`: positions of the time since the
    venue was asked (`held_since`): each of several has looked at a moment of its own, and one of these is no difference.
    """
    return _Looking(trader, venue, ts, policy, adopted_before, doubt_ns, held).look()


class _Looking:
    """One look."""

    def __init__(
        self,
        trader: Trader,
        venue: VenueState,
        ts: int,
        policy: ForeignPolicy,
        adopted_before: int,
        doubt_ns: int,
        held: Held,
    ) -> None:
        self._trader = trader
        self._venue = venue
        self._ts = ts
        self._policy = policy
        self._adopted_before = adopted_before
        self._doubt_ns = doubt_ns
        self._held = held
        self._is_known = trader.orders.is_known
        self._left: dict[int, int] = {}  # of orders, behind the executions below
        self._moved_now: dict[str, int] = {}  # by instrument: what the executions below bring
        self._paid_now: dict[tuple[str, str], int] = {}  # what they, and movements below, are to Portfolio.venue_money
        self._adopted: list[tuple[int, VenueOrder]] = []

    def look(self) -> Look:
        findings = [*self._executions()]
        at_venue: dict[int, VenueOrder] = {}
        findings += self._open_orders(at_venue)
        for order in self._trader.orders.open_orders():
            if self._venue.instrument_ids is None or order.instrument_id in self._venue.instrument_ids:
                findings += self._order(order, at_venue.get(order.client_order_id))
        cash_moves = [*self._cash_moves()]
        findings += [*self._positions(), *self._balances(), *cash_moves]
        return Look(tuple(findings), tuple(self._adopted))

    # Executions.

    def _executions(self) -> Iterator[Finding]:
        ours: dict[int, list[OrderFilled]] = {}
        for fill in self._venue.executions:
            order = self._trader.orders.get(fill.client_order_id)
            if order is None:
                yield from self._foreign_fill(fill)
            elif not self._is_known(execution_name(self._trader, fill)) and not self._is_known(foreign_name(fill)):
                new = ours.setdefault(fill.client_order_id, [])
                if self._is_possible(order, fill, sum(other.qty for other in new)):
                    new.append(fill)
                else:
                    what = f"{fill.side.name} {fill.qty} units of {fill.instrument_id}"
                    text = (
                        f"execution {fill.execution_id}, {what}, cannot be of order {order.client_order_id} ({order.status.name})"
                    )
                    yield Finding(Kind.PROBLEM, f"execution {fill.client_order_id} {fill.execution_id}", (), text)
        leaves_at_venue = {order.client_order_id: order.leaves_qty for order in self._venue.open_orders}
        for order_id, fills in ours.items():
            yield from self._fills(self._trader.orders.orders[order_id], fills, leaves_at_venue.get(order_id))

    def _is_possible(self, order: Order, fill: OrderFilled, filled_now: int) -> bool:
        """Whether the order could bring it about; an order that has ended here does not grow any more."""
        is_its_own = fill.side is order.side and fill.instrument_id == order.instrument_id and fill.qty > 0
        return is_its_own and (order.is_open or order.filled_qty + filled_now + fill.qty <= order.quantity)

    def _fills(self, order: Order, fills: Sequence[OrderFilled], leaves_at_venue: int | None) -> Iterator[Finding]:
        if not fills:
            return
        order_id, total = order.client_order_id, sum(fill.qty for fill in fills)
        before, quantity_left = quantity_facts(order, leaves_at_venue, total, max(fills[0].ts_event, order.ts_filled), self._ts)
        self._left[order_id] = quantity_left - total
        for fill in fills:
            self._move(fill)
            text = f"execution {fill.execution_id} of order {order_id} was not booked"
            event = msgspec.structs.replace(fill, ts_init=self._ts)
            yield Finding(Kind.FILL, f"execution {order_id} {fill.execution_id}", (), text, (*before, event))
            before = ()

    def _foreign_fill(self, fill: OrderFilled) -> Iterator[Finding]:
        name = foreign_name(fill)
        if self._is_known((fill.client_order_id, fill.execution_id)) or self._is_known(name):
            return
        if fill.ts_event < self._trader.foreign.begun_ts and not is_numbered_here(self._trader, fill.client_order_id):
            return  # of before this account began
        self._move(fill)
        event = foreign_fill(self._trader, fill, self._ts, self._policy)
        text = foreign_fill_text(self._trader, fill)
        kind = Kind.PROBLEM if event is None else Kind.FOREIGN
        yield Finding(kind, f"foreign execution {name[1]}", (), text, () if event is None else (event,))

    def _move(self, fill: OrderFilled) -> None:
        signed = fill.qty if fill.side is Side.BUY else -fill.qty
        self._moved_now[fill.instrument_id] = self._moved_now.get(fill.instrument_id, 0) + signed
        position = self._trader.portfolio.by_instrument.get(fill.instrument_id)
        if position is not None and position.settled is not None:
            value = position.instrument.notional(fill.price, signed)
            pay(self._paid_now, position, value, fill.commission, fill.commission_currency)

    # Orders.

    def _open_orders(self, at_venue: dict[int, VenueOrder]) -> Iterator[Finding]:
        """Fills `at_venue` with those of ours, the adopted ones included."""
        orders = self._trader.orders
        by_name = {name: order_id for order_id, name in orders.foreign.items()}
        for found in self._venue.open_orders:
            ours = None if found.client_order_id is None else orders.get(found.client_order_id)
            if ours is None and venue_name(found) in by_name:
                ours = orders.get(by_name[venue_name(found)])
                if ours is not None:
                    self._adopted.append((ours.client_order_id, found))
            if ours is None:
                yield self._foreign_order(found)
            elif not ours.is_open:
                text = f"order {ours.client_order_id} is open there, and {ours.status.name} here"
                yield Finding(Kind.CLOSED, f"order {ours.client_order_id}", (ours.status,), text)
            else:
                at_venue[ours.client_order_id] = found

    def _foreign_order(self, found: VenueOrder) -> Finding:
        name, key = venue_name(found), found.instrument_id
        text = f"order {name} in {key} is not ours"
        is_ours = is_numbered_here(self._trader, found.client_order_id)
        is_impossible = self._policy is ForeignPolicy.ADOPT and key not in self._trader.instruments
        if self._policy is ForeignPolicy.HALT or is_ours or is_impossible:
            return Finding(Kind.PROBLEM, f"foreign order {name}", (), text)
        if self._policy is ForeignPolicy.IGNORE:
            return Finding(Kind.FOREIGN, f"foreign order {name}", (), text)
        order_id = make_order_id(self._trader.run_number, COUNTER_MAX - self._adopted_before)
        self._adopted_before += 1
        self._adopted.append((order_id, found))
        event = ForeignOrderFound(self._ts, self._ts, order_id, key, found.side, found.price, found.leaves_qty, name)
        return Finding(Kind.FOREIGN, f"foreign order {name}", (), text, (event,))

    def _order(self, order: Order, found: VenueOrder | None) -> Sequence[Finding]:
        order_id, ts = order.client_order_id, self._ts
        key, state = f"order {order_id}", (order.status, order.ts_updated, order.filled_qty, found)
        left = self._left.get(order_id, order.leaves_qty)
        if found is None:
            # Where the fills above have finished it, there is nothing to cancel.
            if left <= 0 and order_id in self._left:
                return ()
            if not is_acknowledged(order) and ts - order.ts_created < self._venue.not_found_ns:
                return () if ts - order.ts_created < self._doubt_ns else (self._doubt(order, key, state),)
            text = f"order {order_id}, {order.status.name} here, is not at the venue"
            state = what_the_venue_said(order)
            return (Finding(Kind.GONE, key, state, text, (OrderCanceled(ts, ts, order_id, left, Reason.UNKNOWN_ORDER),)),)
        events = self._what_is_open(order, found, left)
        if not events:
            return ()
        text = f"order {order_id}, {order.status.name} here, has {found.leaves_qty} units open at the venue"
        return (Finding(Kind.ORDER, key, state, text, events),)

    def _doubt(self, order: Order, key: str, state: tuple[Any, ...]) -> Finding:
        text = f"order {order.client_order_id} is not at the venue and may be on its way"
        is_new = order.status is not OrderStatus.UNKNOWN
        unknown = OrderOutcomeUnknown(self._ts, self._ts, order.client_order_id, "the venue does not have it yet")
        return Finding(Kind.DOUBT, key, state, text, (unknown,) if is_new else ())

    def _what_is_open(self, order: Order, found: VenueOrder, left: int) -> tuple[AnyEvent, ...]:
        order_id, ts = order.client_order_id, self._ts
        price = found.price if found.price is not None else order.price or 0
        if order.status in NOT_YET_ACKNOWLEDGED and not order.replace_in_flight:
            accepted = OrderAccepted(ts, ts, order_id, price, found.leaves_qty, found.venue_order_id)
            is_larger = found.leaves_qty > left
            return (accepted, OrderReplaced(ts, ts, order_id, price, found.leaves_qty)) if is_larger else (accepted,)
        # A request that we made lately is still being worked on: nothing can be said of its answer.
        is_pending = order.replace_in_flight or order.status is OrderStatus.PENDING_CANCEL
        if is_pending and ts - order.ts_updated < self._venue.not_found_ns:
            # But what is there already and is more than we know of counts: a power cut may have taken our word for it.
            is_more = found.leaves_qty > max(left, order.replace_qty if order.replace_in_flight else 0)
            return (OrderReplaced(ts, ts, order_id, price, found.leaves_qty),) if is_more else ()
        # A cancel that has not happened: whoever wants it asks again, and is not waiting for an answer.
        is_asked = order.status is OrderStatus.PENDING_CANCEL
        lost: tuple[AnyEvent, ...] = (CancelRejected(ts, ts, order_id, Reason.NONE),) if is_asked else ()
        if order.replace_in_flight or found.leaves_qty != left or (order.price is not None and price != order.price):
            # A replace that was answered while nobody listened: what is open is the answer.
            return (OrderReplaced(ts, ts, order_id, price, found.leaves_qty), *lost)
        return lost

    # Positions.

    def _positions(self) -> Iterator[Finding]:
        """What neither our fills, nor those above, nor those set aside explain."""
        trader = self._trader
        for key in trader.instruments:
            here = trader.portfolio.by_instrument[key].qty
            rest = position_rest(trader, self._venue, key)
            if rest is None:
                continue
            rest -= self._moved_now.get(key, 0)
            if rest and here + rest not in self._held.get(key, ()):
                yield Finding(Kind.POSITION, f"position {key}", (rest,), position_text(trader, self._venue, key))

    def _balances(self) -> Iterator[Finding]:
        """Of spot there is no position to compare: the account holds enough, or not."""
        for short in shortfalls(self._trader, self._venue.balances, self._held, self._moved_now, self._paid_now):
            yield Finding(Kind.POSITION, f"balance {short.venue} {short.currency}", (short.total - short.needed,), short.text)

    # Money that no fill explains.

    def _cash_moves(self) -> Iterator[Finding]:
        trader = self._trader
        new: dict[tuple[str, str], CashMoved] = {}
        for moved in self._venue.cash_moves:
            # What was moved before this account began is in the cash that it began with.
            if moved.ts_event >= trader.foreign.begun_ts and not trader.cash.is_known(moved):
                new.setdefault((moved.venue, moved.movement_id), moved)
        for (venue, name), moved in new.items():
            at_venue = (venue, moved.currency)
            self._paid_now[at_venue] = self._paid_now.get(at_venue, 0) + moved.amount
            text = f"movement {name} of {venue}, {moved.kind.name.lower()} in {moved.currency}, was not booked"
            event = msgspec.structs.replace(moved, ts_init=self._ts)
            yield Finding(Kind.CASH, f"movement {venue} {name}", (), text, (event,))


def quantity_facts(
    order: Order, leaves_at_venue: int | None, total: int, ts_event: int, ts: int
) -> tuple[tuple[AnyEvent, ...], int]:
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


def position_rest(trader: Trader, venue: VenueState, key: str) -> int | None:
    """How much more the venue holds than our fills and what was set aside explain; None where it does not say."""
    if key not in venue.positions:
        return None
    return venue.positions[key] - trader.portfolio.by_instrument[key].qty - trader.foreign.set_aside.get(key, 0)


def position_text(trader: Trader, venue: VenueState, key: str) -> str:
    instrument, aside = trader.instruments[key], trader.foreign.set_aside.get(key, 0)
    here = instrument.format_qty(trader.portfolio.by_instrument[key].qty)
    more = f" and {instrument.format_qty(aside)} set aside" if aside else ""
    return f"{key}: {here} here{more}, {instrument.format_qty(venue.positions[key])} at the venue"


def position_differences(trader: Trader, venue: VenueState, held: Held = NOTHING_HELD) -> list[str]:
    """Where the venue's position is not ours and what was set aside, or a spot account holds too little, in words.

    `held` as in `look`.
    """
    differences = []
    for key in trader.instruments:
        if key in venue.positions:
            stated = venue.positions[key] - trader.foreign.set_aside.get(key, 0)
            if stated != trader.portfolio.by_instrument[key].qty and stated not in held.get(key, ()):
                differences.append(position_text(trader, venue, key))
    return differences + [short.text for short in shortfalls(trader, venue.balances, held)]


def foreign_fill(trader: Trader, fill: OrderFilled, ts: int, policy: ForeignPolicy) -> ForeignFilled | None:
    """As the policy takes it; None where that needs a person: HALT, no such instrument, or a forgotten order of our own."""
    if policy is ForeignPolicy.HALT or fill.instrument_id not in trader.instruments:
        return None
    if is_numbered_here(trader, fill.client_order_id):
        return None
    return adopted_fill(fill, ts, is_adopted=policy is ForeignPolicy.ADOPT)


def adopted_fill(fill: OrderFilled, ts: int, *, is_adopted: bool = True) -> ForeignFilled:
    """An execution as one that is not ours; by policy, or because a person says so."""
    return ForeignFilled(
        fill.ts_event,
        ts,
        fill.instrument_id,
        fill.execution_id,
        fill.side,
        fill.price,
        fill.qty,
        fill.liquidity_side,
        fill.commission,
        fill.commission_currency,
        is_adopted,
    )


def foreign_fill_text(trader: Trader, fill: OrderFilled) -> str:
    instrument = trader.instruments.get(fill.instrument_id)
    qty = str(fill.qty) if instrument is None else instrument.format_qty(fill.qty)
    if trader.orders.get(fill.client_order_id) is not None:
        of = "an order of ours that asked for less"
    else:
        of = "an order of ours that is not remembered" if is_numbered_here(trader, fill.client_order_id) else "no order of ours"
    return f"execution {fill.execution_id} in {fill.instrument_id}, {fill.side.name} {qty}, is of {of}"


def execution_name(trader: Trader, fill: OrderFilled) -> tuple[int, str]:
    """As core/order_store.py remembers it."""
    if fill.client_order_id in trader.orders.foreign:
        return foreign_name(fill)
    return fill.client_order_id, fill.execution_id


def foreign_name(fill: OrderFilled) -> tuple[int, str]:
    return FOREIGN_ORDER_ID, foreign_execution(fill.instrument_id, fill.execution_id, fill.side)


def venue_name(order: VenueOrder) -> str:
    """What a foreign order is called: by the venue, or else by whoever sent it."""
    return order.venue_order_id or f"id {order.client_order_id}"


def is_numbered_here(trader: Trader, client_order_id: int | None) -> bool:
    """Whether this account has given the id away: such an order is ours, remembered or not."""
    if client_order_id is None or client_order_id == FOREIGN_ORDER_ID:
        return False
    run_number, counter = client_order_id >> COUNTER_BITS, client_order_id & COUNTER_MAX
    return run_number < trader.run_number or (run_number == trader.run_number and counter <= trader.order_counter)


def what_the_venue_said(order: Order) -> tuple[Any, ...]:
    """What changes where the venue shows that it has it. Not the cancels that it knows nothing to do with: a stop that asks again
    and again would put the end of an order off for ever."""
    is_unknown, proofs = order.status is OrderStatus.UNKNOWN, (order.accepted, order.triggered, order.filled_qty)
    return is_unknown, *proofs, order.quantity, order.price, order.replace_in_flight, order.ts_replaced


def is_acknowledged(order: Order) -> bool:
    """The venue has said something about it that proves it was there."""
    return order.accepted or order.triggered or order.filled_qty > 0
