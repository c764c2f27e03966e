"""Orders on their way out: new ones wait until the disk has their intent, cancels overtake them. Pure.

A disk that stands still for a second then holds up new orders, and neither cancels nor the loop. What adds no risk is not held,
unless it is about an order that is held itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import anyio

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder

# Order id -> its instrument; None where nobody knows.
InstrumentOf = Callable[[int], str | None]


class OutGate:
    """`wanted` is set while something waits for the disk."""

    def __init__(self) -> None:
        self.wanted = anyio.Event()
        self._held: deque[tuple[int, Approved]] = deque()  # with the journal's length at which it may leave
        self._ids: set[int] = set()  # of new orders that are held
        self.is_shut = False

    @property
    def is_empty(self) -> bool:
        return not self._held

    def shut(self) -> None:
        """What is held never leaves, and nothing else does through here."""
        self.is_shut = True
        self._held.clear()
        self._ids.clear()
        self.wanted.set()  # whoever waits finds it shut

    def must_hold(self, command: OrderCommand) -> bool:
        match command:
            case SubmitOrder():
                return True
            case CancelOrder(client_order_id=order_id) | ReplaceOrder(client_order_id=order_id):
                return order_id in self._ids
            case CancelAll():
                return False

    def hold(self, approved: Approved, records: int) -> None:
        """Until the disk has the first `records` records of the journal."""
        if self.is_shut:
            return
        if isinstance(approved.command, SubmitOrder):
            self._ids.add(approved.command.client_order_id)
        self._held.append((records, approved))
        self.wanted.set()

    def release(self, records_durable: int) -> Iterator[Approved]:
        """What may leave now, in its order; each is let go of as it is taken."""
        while self._held and self._held[0][0] <= records_durable:
            _, approved = self._held.popleft()
            if isinstance(approved.command, SubmitOrder):
                self._ids.discard(approved.command.client_order_id)
            yield approved
        self._rest()

    def recall(self, instrument_id: str | None, instrument_of: InstrumentOf) -> list[OrderCommand]:
        """Take back what a cancel of everything would miss: it never leaves. The caller answers the new orders among it."""
        kept: deque[tuple[int, Approved]] = deque()
        recalled: list[OrderCommand] = []
        for records, approved in self._held:
            command = approved.command
            assert not isinstance(command, CancelAll)
            about = command.instrument_id if isinstance(command, SubmitOrder) else instrument_of(command.client_order_id)
            if instrument_id is None or about == instrument_id:
                recalled.append(command)
                self._ids.discard(command.client_order_id)
            else:
                kept.append((records, approved))
        self._held = kept
        self._rest()
        return recalled

    def _rest(self) -> None:
        if not self._held and self.wanted.is_set():
            self.wanted = anyio.Event()
