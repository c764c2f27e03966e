"""An order's life: the one transition table, and the order it moves.

SUBMITTED means sent and not yet acknowledged. UNKNOWN is a real state: it keeps its full exposure reserved until a fact from
the venue ends it. An event the table does not allow raises StateError; the caller keeps the event.
"""

from __future__ import annotations

from enum import IntEnum

from core.enums import OrderStatus, OrderType, Side, TimeInForce, direct_members
from core.errors import StateError


@direct_members
class Trigger(IntEnum):
    """What can happen to an order; the columns of the table."""

    SUBMIT = 0
    DENY = 1
    ACCEPT = 2
    REJECT = 3
    FILL_PART = 4
    FILL_ALL = 5
    TRIGGER = 6
    REQUEST_REPLACE = 7
    REPLACE = 8
    REPLACE_REJECT = 9
    REQUEST_CANCEL = 10
    CANCEL = 11
    CANCEL_REJECT = 12
    EXPIRE = 13
    RESTATE = 14
    LOSE = 15  # the outcome of a request is unknown


S = OrderStatus
# WORKING stands for "as it was without the pending request": see Order.working_status.
WORKING = -1
# As WORKING, but back to PENDING_REPLACE while a replace is still unanswered.
PENDING_OR_WORKING = -2

_FILLS = {Trigger.FILL_ALL: S.FILLED}
_ENDS = {Trigger.CANCEL: S.CANCELED, Trigger.EXPIRE: S.EXPIRED}
_LATE_ANSWERS = (Trigger.ACCEPT, Trigger.REPLACE_REJECT, Trigger.CANCEL_REJECT, Trigger.TRIGGER, Trigger.REPLACE, Trigger.RESTATE)
# What may still arrive once an order has ended, and changes nothing: late answers, and requests whose answer was lost.
_AFTER_END = (*_LATE_ANSWERS, Trigger.LOSE)

TRANSITIONS: dict[OrderStatus, dict[Trigger, OrderStatus | int]] = {
    S.INITIALIZED: {Trigger.SUBMIT: S.SUBMITTED, Trigger.DENY: S.DENIED},
    S.DENIED: {},
    S.SUBMITTED: {
        Trigger.ACCEPT: S.ACCEPTED,
        Trigger.REJECT: S.REJECTED,
        # A fill, a trigger or the end may arrive before the acknowledgement.
        Trigger.FILL_PART: S.PARTIALLY_FILLED,
        **_FILLS,
        **_ENDS,
        Trigger.TRIGGER: S.TRIGGERED,
        Trigger.RESTATE: S.SUBMITTED,
        Trigger.REQUEST_CANCEL: S.PENDING_CANCEL,
        Trigger.REQUEST_REPLACE: S.PENDING_REPLACE,
        # Two requests may be out, and both refused, before the acknowledgement.
        Trigger.CANCEL_REJECT: S.SUBMITTED,
        Trigger.REPLACE_REJECT: S.SUBMITTED,
        Trigger.LOSE: S.UNKNOWN,
    },
    S.ACCEPTED: {
        Trigger.FILL_PART: S.PARTIALLY_FILLED,
        **_FILLS,
        **_ENDS,
        Trigger.TRIGGER: S.TRIGGERED,
        Trigger.RESTATE: S.ACCEPTED,
        Trigger.REQUEST_CANCEL: S.PENDING_CANCEL,
        Trigger.REQUEST_REPLACE: S.PENDING_REPLACE,
        Trigger.REPLACE: S.ACCEPTED,
        Trigger.ACCEPT: S.ACCEPTED,
        Trigger.REJECT: S.REJECTED,  # some venues acknowledge first and refuse later
        Trigger.CANCEL_REJECT: S.ACCEPTED,
        Trigger.REPLACE_REJECT: S.ACCEPTED,
        Trigger.LOSE: S.UNKNOWN,
    },
    S.TRIGGERED: {
        Trigger.FILL_PART: S.PARTIALLY_FILLED,
        **_FILLS,
        **_ENDS,
        Trigger.TRIGGER: S.TRIGGERED,
        Trigger.RESTATE: S.TRIGGERED,
        Trigger.ACCEPT: S.TRIGGERED,
        Trigger.REJECT: S.REJECTED,
        Trigger.REQUEST_CANCEL: S.PENDING_CANCEL,
        Trigger.REQUEST_REPLACE: S.PENDING_REPLACE,
        Trigger.REPLACE: S.TRIGGERED,
        Trigger.CANCEL_REJECT: S.TRIGGERED,
        Trigger.REPLACE_REJECT: S.TRIGGERED,
        Trigger.LOSE: S.UNKNOWN,
    },
    S.PARTIALLY_FILLED: {
        Trigger.FILL_PART: S.PARTIALLY_FILLED,
        **_FILLS,
        **_ENDS,
        Trigger.REQUEST_CANCEL: S.PENDING_CANCEL,
        Trigger.REQUEST_REPLACE: S.PENDING_REPLACE,
        **dict.fromkeys(_LATE_ANSWERS, S.PARTIALLY_FILLED),
        Trigger.LOSE: S.UNKNOWN,
    },
    S.PENDING_REPLACE: {
        Trigger.REPLACE: WORKING,
        Trigger.REPLACE_REJECT: WORKING,
        Trigger.FILL_PART: S.PENDING_REPLACE,
        **_FILLS,
        **_ENDS,
        Trigger.ACCEPT: S.PENDING_REPLACE,
        Trigger.REJECT: S.REJECTED,
        Trigger.TRIGGER: S.PENDING_REPLACE,
        Trigger.RESTATE: S.PENDING_REPLACE,
        Trigger.CANCEL_REJECT: S.PENDING_REPLACE,
        Trigger.REQUEST_CANCEL: S.PENDING_CANCEL,
        Trigger.LOSE: S.UNKNOWN,
    },
    S.PENDING_CANCEL: {
        **_ENDS,
        Trigger.CANCEL_REJECT: PENDING_OR_WORKING,
        Trigger.FILL_PART: S.PENDING_CANCEL,
        **_FILLS,
        Trigger.ACCEPT: S.PENDING_CANCEL,
        Trigger.REJECT: S.REJECTED,
        Trigger.TRIGGER: S.PENDING_CANCEL,
        Trigger.RESTATE: S.PENDING_CANCEL,
        Trigger.REPLACE: S.PENDING_CANCEL,
        Trigger.REPLACE_REJECT: S.PENDING_CANCEL,
        Trigger.LOSE: S.UNKNOWN,
    },
    S.UNKNOWN: {
        Trigger.ACCEPT: WORKING,
        Trigger.REJECT: S.REJECTED,
        Trigger.FILL_PART: S.PARTIALLY_FILLED,
        **_FILLS,
        **_ENDS,
        Trigger.TRIGGER: WORKING,
        Trigger.REPLACE: WORKING,
        Trigger.REPLACE_REJECT: S.UNKNOWN,
        Trigger.CANCEL_REJECT: S.UNKNOWN,
        Trigger.RESTATE: S.UNKNOWN,
        Trigger.LOSE: S.UNKNOWN,
        Trigger.REQUEST_CANCEL: S.UNKNOWN,  # a cancel is always allowed; it proves nothing by itself
    },
    # Ends. Late answers and a second report of an end change nothing; a fill after the cancel's acknowledgement is real and is
    # booked. CANCELED and EXPIRED are one end under two names: what was given up as gone may be told as expired behind that, and
    # the first word stands. Any other end, or a fill of a refused order, is a contradiction.
    S.FILLED: dict.fromkeys(_AFTER_END, S.FILLED),
    S.CANCELED: {**dict.fromkeys((*_AFTER_END, *_ENDS, Trigger.FILL_PART), S.CANCELED), **_FILLS},
    S.EXPIRED: {**dict.fromkeys((*_AFTER_END, *_ENDS, Trigger.FILL_PART), S.EXPIRED), **_FILLS},
    S.REJECTED: dict.fromkeys((Trigger.CANCEL_REJECT, Trigger.REPLACE_REJECT, Trigger.REJECT, Trigger.LOSE), S.REJECTED),
}

PENDING = frozenset((S.SUBMITTED, S.PENDING_REPLACE, S.PENDING_CANCEL, S.UNKNOWN))
TERMINAL = frozenset((S.DENIED, S.REJECTED, S.FILLED, S.CANCELED, S.EXPIRED))


def _row(status: OrderStatus) -> tuple[OrderStatus | int | None, ...]:
    targets = (TRANSITIONS[status].get(trigger) for trigger in Trigger)
    return tuple(target if target is None or target < 0 else OrderStatus(target) for target in targets)


# The same table indexed by status and trigger, its targets ready to store: the hot path's form.
_ROWS = tuple(_row(status) for status in OrderStatus)


class Order:
    """One order as we know it. Written only by core/order_store.py."""

    __slots__ = (
        "accepted",
        "client_order_id",
        "display_qty",
        "expire_ts",
        "filled_qty",
        "filled_value",
        "instrument_id",
        "leaves_qty",
        "order_type",
        "post_only",
        "price",
        "quantity",
        "reduce_only",
        "replace_in_flight",
        "replace_price",
        "replace_qty",
        "reserved_qty",
        "side",
        "status",
        "strategy_id",
        "time_in_force",
        "trigger_price",
        "triggered",
        "ts_created",
        "ts_filled",
        "ts_replaced",
        "ts_updated",
        "venue_leaves_qty",
    )

    def __init__(
        self,
        client_order_id: int,
        strategy_id: str,
        instrument_id: str,
        side: Side,
        order_type: OrderType,
        quantity: int,
        price: int | None,
        trigger_price: int | None,
        time_in_force: TimeInForce,
        post_only: bool,
        reduce_only: bool,
        display_qty: int,
        expire_ts: int,
        ts_created: int,
    ) -> None:
        self.client_order_id = client_order_id
        self.strategy_id = strategy_id
        self.instrument_id = instrument_id
        self.side = side
        self.order_type = order_type
        self.quantity = quantity
        self.price = price
        self.trigger_price = trigger_price
        self.time_in_force = time_in_force
        self.post_only = post_only
        self.reduce_only = reduce_only
        self.display_qty = display_qty
        self.expire_ts = expire_ts
        self.ts_created = ts_created
        self.ts_updated = ts_created
        self.status = OrderStatus.INITIALIZED
        self.accepted = False
        self.triggered = False
        self.filled_qty = 0
        self.filled_value = 0  # sum of price * qty over the fills, points * units
        self.leaves_qty = quantity
        self.reserved_qty = 0  # what the risk gate counts as possibly still to be filled
        self.replace_qty = 0  # new remaining quantity of a replace that is not answered yet; 0: there is none
        self.replace_price = 0
        # Fills may use replace_qty up before the answer is here: whether a replace is unanswered is a fact of its own.
        self.replace_in_flight = False
        # Venue stamps of the last fill and of the last change of quantity: streams may deliver the two in either order.
        self.ts_filled = 0
        self.ts_replaced = 0
        self.venue_leaves_qty = quantity  # as of ts_filled

    @property
    def is_open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def is_pending(self) -> bool:
        """A request of ours is on its way: wait for its answer before the next."""
        return self.status in PENDING

    @property
    def working_status(self) -> OrderStatus:
        """The status without any pending request."""
        if self.filled_qty:
            return S.PARTIALLY_FILLED
        if self.triggered:
            return S.TRIGGERED
        return S.ACCEPTED if self.accepted else S.SUBMITTED

    def move(self, trigger: Trigger) -> None:
        """Take one transition, or raise StateError and stay."""
        target = _ROWS[self.status][trigger]
        if type(target) is OrderStatus:
            self.status = target
        elif target is None:
            raise StateError(f"order {self.client_order_id}: {trigger.name} is not possible in state {self.status.name}")
        else:
            # The fact counts before the status is chosen from the facts: an UNKNOWN order, once acknowledged, is ACCEPTED.
            if trigger is Trigger.ACCEPT or trigger is Trigger.REPLACE:
                self.accepted = True
            elif trigger is Trigger.TRIGGER:
                self.triggered = True
            is_replacing = target == PENDING_OR_WORKING and self.replace_qty
            self.status = S.PENDING_REPLACE if is_replacing else self.working_status

    def __repr__(self) -> str:
        price = "MARKET" if self.price is None else f"@ {self.price}"
        what = f"{self.side.name} {self.leaves_qty}/{self.quantity} {price}"
        return f"Order({self.client_order_id} {self.strategy_id} {self.instrument_id} {what} {self.status.name})"
