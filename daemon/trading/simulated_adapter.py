"""The simulated venue as a live one: its clock is ours, its market is generated or recorded, its orders die with this process."""

from __future__ import annotations

import anyio

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import Reason, Side
from core.errors import CapacityError
from core.events import (
    AnyEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    ReplaceRejected,
)
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.trading.clock import Clock
from sim.driver import Venue

POLL_S = 0.002  # how finely the simulated market follows the clock; order latencies are simulated exactly inside it
WAKEUPS_PER_TURN = 64  # then the loop has its turn
EXECUTIONS_KEPT_MAX = 10_000


class SimulatedAdapter:
    """`positions` is what the account holds as this venue's ledger begins: the fold of the runs before."""

    def __init__(self, venue: Venue, clock: Clock, positions: dict[str, int]) -> None:
        self._venue = venue
        self._clock = clock
        self._open: dict[int, VenueOrder] = {}
        self._executions: list[OrderFilled] = []
        self._positions = dict(positions)
        self._refusals: list[AnyEvent] = []

    async def open(self) -> None:
        """It is here already."""

    async def close(self) -> None:
        """It ends with this process."""

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        venue = self._venue
        wakeups = 0
        while True:
            refusals, self._refusals = self._refusals, []
            for refusal in refusals:
                await sink.put(refusal)
            events = venue.advance(self._clock.now())
            for event in events:
                # Booked before it is offered: what waits for room in the inbox has happened at the venue.
                self._book(event)
                if not sink.offer(event):
                    await sink.put(event)
            wakeups += 1
            if not events:
                if venue.done:
                    return
                wakeups = 0
                await anyio.sleep(POLL_S)
            elif wakeups >= WAKEUPS_PER_TURN:
                wakeups = 0
                await anyio.sleep(0)

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        raise AssertionError("every order here is ours")

    def send(self, approved: Approved) -> None:
        command = approved.command
        try:
            self._venue.send(approved)
        except CapacityError:
            self._refuse(command)
            return
        if isinstance(command, SubmitOrder):
            self._open[command.client_order_id] = VenueOrder(
                command.client_order_id, command.instrument_id, command.side, command.price, command.quantity
            )

    async def query(self, since_ts: int) -> VenueState:
        await anyio.sleep(0)
        return VenueState(
            open_orders=tuple(self._open.values()),
            executions=tuple(fill for fill in self._executions if fill.ts_event >= since_ts),
            positions=dict(self._positions),
            not_found_ns=0,
        )

    def _refuse(self, command: SubmitOrder | CancelOrder | ReplaceOrder | CancelAll) -> None:
        """The venue's own limit on what is under way: it answers as a venue does that is too busy."""
        ts = self._clock.now()
        match command:
            case SubmitOrder():
                self._refusals.append(OrderRejected(ts, ts, command.client_order_id, Reason.FULL))
            case CancelOrder():
                self._refusals.append(CancelRejected(ts, ts, command.client_order_id, Reason.FULL))
            case ReplaceOrder():
                self._refusals.append(ReplaceRejected(ts, ts, command.client_order_id, Reason.FULL))
            case CancelAll():
                self._refusals += [CancelRejected(ts, ts, order_id, Reason.FULL) for order_id in self._open]

    def _book(self, event: AnyEvent) -> None:
        """Keep the venue's side of the ledger. Orders by what the venue said last, positions by fills alone."""
        match event:
            case OrderFilled():
                self._positions[event.instrument_id] = self._positions.get(event.instrument_id, 0) + (
                    event.qty if event.side is Side.BUY else -event.qty
                )
                self._executions.append(event)
                if len(self._executions) > 2 * EXECUTIONS_KEPT_MAX:
                    del self._executions[:EXECUTIONS_KEPT_MAX]
                self._leave(event.client_order_id, event.leaves_qty)
            case OrderAccepted() | OrderReplaced():
                self._leave(event.client_order_id, event.leaves_qty, event.price)
            case OrderRestated():
                self._leave(event.client_order_id, event.leaves_qty)
            case OrderRejected() | OrderCanceled() | OrderExpired():
                self._open.pop(event.client_order_id, None)

    def _leave(self, client_order_id: int, leaves_qty: int, price: int | None = None) -> None:
        order = self._open.get(client_order_id)
        if order is None:
            return
        if leaves_qty == 0:
            del self._open[client_order_id]
        else:
            self._open[client_order_id] = VenueOrder(
                client_order_id, order.instrument_id, order.side, order.price if price is None else price, leaves_qty
            )
