"""One order of the account as the gateway's messages show it, whoever sent it; and the book of all of them. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import IntFlag
from typing import Any

from adapters.ib.contracts import Listed
from core.enums import Side, TimeInForce
from core.events import AnyOrderEvent

# Of orders that have ended, kept for what is still said of them: executions, corrections, late answers.
ENDED_MAX = 20_000


class Asked(IntFlag):
    """Requests for one order that wait for their answer."""

    SUBMIT = 1
    CANCEL = 2
    REPLACE = 4


class Tracked:
    """`client_order_id` None: not one of ours. Quantities are units, prices points; `order` is the library's, as last sent."""

    __slots__ = (
        "asked",
        "asked_ts",
        "client_id",
        "client_order_id",
        "filled",
        "instrument_id",
        "is_accepted",
        "is_ended",
        "is_parked",
        "is_reduce_only",
        "is_refused",
        "is_stop",
        "listed",
        "looked_filled",
        "mark",
        "misses",
        "order",
        "order_id",
        "perm_id",
        "price",
        "queue",
        "replace_price",
        "replace_total",
        "side",
        "spans",
        "status",
        "time_in_force",
        "told_unknown",
        "total",
    )

    def __init__(self, *, client_order_id: int | None, listed: Listed | None, instrument_id: str, side: Side, total: int) -> None:
        self.client_order_id = client_order_id
        self.listed = listed
        self.instrument_id = instrument_id
        self.side = side
        self.total = total
        self.filled = 0  # by the executions that were heard of
        self.looked_filled = 0  # as looks say, which know of earlier days too
        self.price: int | None = None
        self.order: Any = None
        self.order_id = 0
        self.client_id = 0
        self.perm_id = 0
        self.status = ""
        self.asked = Asked(0)
        self.asked_ts = 0
        self.is_accepted = False
        self.is_stop = False
        self.is_parked = False  # it was seen waiting for its trigger
        self.is_reduce_only = False
        self.is_refused = False
        self.is_ended = False
        self.told_unknown = False
        self.replace_total = 0
        self.replace_price = 0
        self.time_in_force: TimeInForce | None = None
        self.mark = 0  # the number of the last look that has shown it open
        self.misses = 0  # looks, late enough to show it, that have not
        self.queue: deque[Waiting] = deque()
        self.spans: list[tuple[int, int]] = []  # of the total filled, by execution: none is filled twice

    @property
    def leaves(self) -> int:
        return max(self.total - self.filled, 0)

    @property
    def venue_order_id(self) -> str:
        return str(self.perm_id) if self.perm_id else f"{self.client_id}/{self.order_id}"

    def fills_again(self, start: int, end: int) -> bool:
        """Whether an execution that takes what was filled from `start` to `end` fills what others have filled."""
        return any(start < other_end and other_start < end for other_start, other_end in self.spans)

    def ask(self, ts: int, what: Asked) -> None:
        if not self.asked:
            self.asked_ts = ts
        self.asked |= what

    def answered(self, what: Asked) -> None:
        self.asked &= ~what
        if not self.asked:
            self.told_unknown = False


class Waiting:
    """An event of an order whose turn comes when those before it are out; one of a fill waits for its commission until `due`."""

    __slots__ = ("due", "event", "execution_id")

    def __init__(self, event: AnyOrderEvent, execution_id: str = "", due: int = 0) -> None:
        self.event = event
        self.execution_id = execution_id  # "" where nothing is waited for
        self.due = due


class OrderBook:
    """By client and order id, by permId, and by our own id."""

    def __init__(self) -> None:
        self._by_number: dict[tuple[int, int], Tracked] = {}
        self._by_perm: dict[int, Tracked] = {}
        self._by_id: dict[int, Tracked] = {}
        self._ended: OrderedDict[int, Tracked] = OrderedDict()
        self.open: dict[int, Tracked] = {}  # by identity, oldest first

    def add(self, tracked: Tracked) -> None:
        if tracked.order_id > 0:
            self._by_number[tracked.client_id, tracked.order_id] = tracked
        if tracked.perm_id:
            self._by_perm[tracked.perm_id] = tracked
        if tracked.client_order_id is not None:
            self._by_id[tracked.client_order_id] = tracked
        self.open[id(tracked)] = tracked

    def find(self, client_id: int, order_id: int, perm_id: int) -> Tracked | None:
        """A manual order has no number of its own: permId alone names it."""
        found = self._by_number.get((client_id, order_id)) if order_id > 0 else None
        if found is None and perm_id:
            found = self._by_perm.get(perm_id)
        if found is not None and perm_id and not found.perm_id:
            found.perm_id = perm_id
            self._by_perm[perm_id] = found
        return found

    def get(self, client_order_id: int) -> Tracked | None:
        return self._by_id.get(client_order_id)

    def rename(self, tracked: Tracked, client_order_id: int) -> None:
        tracked.client_order_id = client_order_id
        self._by_id[client_order_id] = tracked

    def by_venue_id(self, venue_order_id: str) -> Tracked | None:
        return next((each for each in self.open.values() if each.venue_order_id == venue_order_id), None)

    def end(self, tracked: Tracked) -> None:
        if tracked.is_ended:
            return
        tracked.is_ended = True
        tracked.asked = Asked(0)
        self.open.pop(id(tracked), None)
        self._ended[id(tracked)] = tracked
        if len(self._ended) > ENDED_MAX:
            _, forgotten = self._ended.popitem(last=False)
            self._forget(forgotten)

    def reopen(self, tracked: Tracked) -> None:
        tracked.is_ended = False
        self._ended.pop(id(tracked), None)
        self.open[id(tracked)] = tracked

    def _forget(self, tracked: Tracked) -> None:
        self._by_number.pop((tracked.client_id, tracked.order_id), None)
        self._by_perm.pop(tracked.perm_id, None)
        if tracked.client_order_id is not None:
            self._by_id.pop(tracked.client_order_id, None)
