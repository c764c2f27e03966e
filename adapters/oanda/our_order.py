"""One order of ours at OANDA: what was asked, what it is called there now, what is left of it, and doubts about it. Pure."""

from __future__ import annotations

from enum import IntFlag

from adapters.oanda.codec import LimitTerms
from core.enums import OrderType, Side, TimeInForce


class Asked(IntFlag):
    """Requests for one order that wait for their answer."""

    NOTHING = 0
    SUBMIT = 1
    CANCEL = 2
    REPLACE = 4


class OurOrder:
    """One order that goes by an id of ours. `venue_id`: its number there now, empty while nobody has said."""

    __slots__ = (
        "asked",
        "cancel_due",
        "filled",
        "id",
        "instrument_id",
        "is_acknowledged",
        "is_adopted",
        "is_open",
        "leaves",
        "left_at_end",
        "made_in",
        "order_type",
        "price",
        "side",
        "terms",
        "time_in_force",
        "venue_id",
        "venue_ids",
    )

    def __init__(
        self, order_id: int, instrument_id: str, side: Side, leaves: int, price: int | None, order_type: OrderType
    ) -> None:
        self.id = order_id
        self.instrument_id = instrument_id
        self.side = side
        self.leaves = leaves
        self.price = price
        self.order_type = order_type
        self.time_in_force = TimeInForce.GTC
        self.terms = LimitTerms()
        self.venue_id = ""
        self.venue_ids: list[str] = []  # all that it had
        self.made_in = ""  # the batch that its present order at the venue was made in
        self.filled = 0
        self.left_at_end = 0  # of its quantity
        self.asked = Asked.NOTHING
        self.cancel_due = 0  # a cancel waits until then for an answer; 0: none does
        self.is_open = True
        self.is_acknowledged = False
        self.is_adopted = False

    def end(self) -> int:
        """It is over; what was left of it."""
        left = self.left_at_end = self.leaves
        self.leaves, self.is_open, self.asked, self.cancel_due = 0, False, Asked.NOTHING, 0
        return left


class Doubt:
    """Requests for one order of which nobody knows what became, since when, and how often nothing was found since."""

    __slots__ = ("asked", "looks", "ts")

    def __init__(self, asked: Asked, ts: int) -> None:
        self.asked, self.ts, self.looks = asked, ts, 0
