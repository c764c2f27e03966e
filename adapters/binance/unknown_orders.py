"""Requests whose outcome is unknown, until a fact from the venue ends them: found, or not found twice after the bound. Pure.

A request may reach the engine as long as its window is open: recvWindow after its timestamp, by the venue's clock, and then the
interface itself waits up to 10 s for the engine. Only a read that was begun after all of that proves that nothing came of it,
and one such read may have been answered by a server that was behind: it takes two. Times are monotonic ns.
"""

from __future__ import annotations

import msgspec

from adapters.http.request import Intent
from core.errors import CapacityError
from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND


class UnknownLimits(msgspec.Struct, frozen=True, kw_only=True):
    engine_wait_ns: int = 10 * NS_PER_SECOND  # the interface's own time-out
    margin_ns: int = 2 * NS_PER_SECOND
    first_ask_ns: int = 250 * NS_PER_MS  # most answers that were lost were given: ask soon
    ask_again_ns: int = NS_PER_SECOND  # doubles
    ask_again_max_ns: int = 10 * NS_PER_SECOND
    # Longer ago than this the venue forgets orders that were never filled: not found proves nothing any more.
    retention_ns: int = 3 * NS_PER_DAY
    not_found_needed: int = 2
    # A cancel that was answered as done: for so long a server that is behind may show the order as open.
    done_shows_ns: int = 2 * NS_PER_SECOND
    orders_max: int = 10_000


class Unknown(msgspec.Struct):
    """One order, and what is unknown of it. `bound` is when nothing of any request about it can be under way any more."""

    client_order_id: int
    instrument_id: str
    is_new: bool  # it may never have come to be
    is_changing: bool
    is_canceling: bool
    sent: int
    bound: int
    ask_at: int
    wait: int
    is_asked: bool = False
    not_found: int = 0
    is_beyond_retention: bool = False


class UnknownOrders:
    def __init__(self, limits: UnknownLimits) -> None:
        self._limits = limits
        self._orders: dict[int, Unknown] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, client_order_id: int) -> bool:
        return client_order_id in self._orders

    def get(self, client_order_id: int) -> Unknown | None:
        """None where nothing about this order is unknown."""
        return self._orders.get(client_order_id)

    def order_ids(self) -> list[int]:
        return list(self._orders)

    def bound_after(self, recv_window_ns: int, clock_error_ns: int) -> int:
        """How long after its sending a request may still be executed."""
        return recv_window_ns + self._limits.engine_wait_ns + clock_error_ns + self._limits.margin_ns

    def add(
        self, client_order_id: int, instrument_id: str, intent: Intent, *, sent: int, recv_window_ns: int, clock_error_ns: int
    ) -> None:
        """A request about this order ended UNKNOWN. A second one moves the bound: either may be what is under way."""
        self._add(client_order_id, instrument_id, intent, sent, sent + self.bound_after(recv_window_ns, clock_error_ns))

    def confirm(self, client_order_id: int, instrument_id: str, now: int) -> None:
        """A cancel was answered as done. An order's end takes a second word: the stream's, which comes at once, or an answer."""
        self._add(client_order_id, instrument_id, Intent.CANCEL, now, now + self._limits.done_shows_ns)

    def _add(self, client_order_id: int, instrument_id: str, intent: Intent, sent: int, bound: int) -> None:
        known = self._orders.get(client_order_id)
        if known is not None:
            known.bound = max(known.bound, bound)
            known.not_found = 0
            known.is_new |= intent is Intent.PLACE
            known.is_changing |= intent is Intent.CHANGE
            known.is_canceling |= intent is Intent.CANCEL
            return
        if len(self._orders) >= self._limits.orders_max:
            raise CapacityError(f"{len(self._orders)} orders with an unknown outcome are too many")
        limits = self._limits
        self._orders[client_order_id] = Unknown(
            client_order_id=client_order_id,
            instrument_id=instrument_id,
            is_new=intent is Intent.PLACE,
            is_changing=intent is Intent.CHANGE,
            is_canceling=intent is Intent.CANCEL,
            sent=sent,
            bound=bound,
            ask_at=sent + limits.first_ask_ns,
            wait=limits.ask_again_ns,
        )

    def due(self, now: int) -> list[Unknown]:
        """Whom to ask about now, oldest first; each counts as asked until its answer, or `asked_in_vain`."""
        due = [order for order in self._orders.values() if not order.is_asked and order.ask_at <= now]
        for order in due:
            order.is_asked = True
        return sorted(due, key=lambda order: (order.sent, order.client_order_id))

    def next_at(self) -> int | None:
        return min((order.ask_at for order in self._orders.values() if not order.is_asked), default=None)

    def asked_in_vain(self, client_order_id: int, now: int) -> None:
        """The question itself failed."""
        order = self._orders.get(client_order_id)
        if order is not None:
            self._ask_later(order, now)

    def found(self, client_order_id: int, asked: int, now: int, *, is_open: bool) -> bool:
        """The venue has it, said to a question begun at `asked`. True: that settles it.

        That a new order exists is settled at once. A cancel or change that may still be on its way is not, as long as the order
        is open and the bound has not passed.
        """
        order = self._orders.get(client_order_id)
        if order is None:
            return True
        order.is_new = False
        if not (is_open and (order.is_changing or order.is_canceling)) or asked >= order.bound:
            del self._orders[client_order_id]
            return True
        self._ask_later(order, now)
        return False

    def not_found(self, client_order_id: int, asked: int, now: int) -> bool:
        """The venue does not have it, said to a question begun at `asked`. True: that proves that there is nothing."""
        order = self._orders.get(client_order_id)
        if order is None:
            return False
        if now - order.sent >= self._limits.retention_ns:
            order.is_beyond_retention = True
        elif asked >= order.bound:
            order.not_found += 1
            if order.not_found >= self._limits.not_found_needed:
                del self._orders[client_order_id]
                return True
        self._ask_later(order, now)
        return False

    def exists(self, client_order_id: int) -> None:
        """The stream told of it. What is unknown of a change or a cancel stays so."""
        order = self._orders.get(client_order_id)
        if order is not None:
            order.is_new = False
            self._settle_if_known(order)

    def changed(self, client_order_id: int) -> None:
        """The stream told of the change."""
        order = self._orders.get(client_order_id)
        if order is not None:
            order.is_new = order.is_changing = False
            self._settle_if_known(order)

    def ended(self, client_order_id: int) -> None:
        """A fact ended it: nothing about it is unknown any more."""
        self._orders.pop(client_order_id, None)

    def _settle_if_known(self, order: Unknown) -> None:
        if not (order.is_new or order.is_changing or order.is_canceling):
            del self._orders[order.client_order_id]

    def _ask_later(self, order: Unknown, now: int) -> None:
        order.is_asked = False
        wait = order.wait
        order.wait = min(2 * order.wait, self._limits.ask_again_max_ns)
        # Not past the bound: the first question that counts should come as soon as it can.
        order.ask_at = order.bound if now < order.bound < now + wait else now + wait
