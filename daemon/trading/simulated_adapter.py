"""The simulated venue as a live one: its clock is ours, its market is generated or recorded, its orders die with this process."""

from __future__ import annotations

import anyio

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.errors import CapacityError
from core.events import AnyEvent, CancelRejected, OrderRejected, ReplaceRejected
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.trading.clock import Clock
from daemon.venue_sim.account import VenueAccount
from sim.driver import Venue

POLL_S = 0.002  # how finely the simulated market follows the clock; order latencies are simulated exactly inside it
WAKEUPS_PER_TURN = 64  # then the loop has its turn


class SimulatedAdapter:
    """`positions` is what the account holds as this venue's ledger begins: the fold of the runs before."""

    def __init__(self, venue: Venue, clock: Clock, positions: dict[str, int]) -> None:
        self._venue = venue
        self._clock = clock
        self._account = VenueAccount(positions)
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
                self._account.book(event)
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
            self._account.take(command)

    async def query(self, since_ts: int) -> VenueState:
        await anyio.sleep(0)
        return self._account.state_since(since_ts)

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
                self._refusals += [CancelRejected(ts, ts, order_id, Reason.FULL) for order_id in self._account.open]
