"""What stands between the loop and a venue, simulated or real. Venue adapters implement this and nothing else.

Events come in through the sink only; nothing is ever returned by `send`. What `query` answers is the venue's truth, and decides
wherever ours differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from core.approved import Approved
from core.enums import Side
from core.errors import TransportError
from core.events import AnyEvent, CashMoved, OrderFilled


class VenueOrder(msgspec.Struct, frozen=True):
    """An order that is open at the venue. client_order_id None: it is not one of ours, and venue_order_id is its name."""

    client_order_id: int | None
    instrument_id: str
    side: Side
    price: int | None
    leaves_qty: int
    venue_order_id: str = ""
    reduce_only: bool = False


class VenueBalance(msgspec.Struct, frozen=True):
    """What an account holds of a currency, free and locked together, in 10^-MONEY_SCALE, digits beyond cut."""

    venue: str
    currency: str
    total: int


# Where a venue does not say better: it takes a request for 5 s and works on it for 10 (the outcome rule in docs/PAPER.md).
NOT_FOUND_NS = 15_000_000_000


class VenueState(msgspec.Struct, frozen=True):
    """What a venue says at one moment. Executions are in the order they happened.

    An execution of an order that is not ours has the client_order_id FOREIGN_ORDER_ID (core/order_store.py).

    `instrument_ids` is what the answer is about; None: everything that is configured. An order of ours in one of these that
    `open_orders` does not have is not open.

    `not_found_ns`: an order of ours that was sent so long ago and was never acknowledged would be here if it had arrived; one
    that was sent later may still be on its way. 0: nothing is ever on its way, and one look says it all.

    `cash_moves`: each comes by the stream too, under the same movement_id; where the venue gives none, one is made of its
    fields, the same on both ways. A venue that shows a movement later than it stamps it is asked for so much more by its adapter:
    what was booked is known by its name, and what is older than the account is left out.

    `balances`, of spot: what the account holds; a currency that is not named is not known. An adapter names each base currency of
    its spot instruments, with 0 where the venue leaves zeros out.

    `ts` is the venue's own clock when it was asked (ns UTC), or a little earlier: ours may be wrong. 0: not known.
    """

    open_orders: tuple[VenueOrder, ...]
    executions: tuple[OrderFilled, ...]  # at or after the moment asked for
    positions: dict[str, int]  # units held by instrument; one that is not named is not known
    instrument_ids: frozenset[str] | None = None
    not_found_ns: int = NOT_FOUND_NS
    silent: tuple[str, ...] = ()  # of several venues those that did not answer, and why: nothing is said about them
    cash_moves: tuple[CashMoved, ...] = ()  # at or after the moment asked for, in order, where the venue can be asked
    balances: tuple[VenueBalance, ...] = ()
    ts: int = 0

    def whole(self) -> VenueState:
        """Itself. Raises TransportError where a venue did not answer: for whoever must know of all."""
        if self.silent:
            raise TransportError("; ".join(self.silent))
        return self


class EventSink(Protocol):
    """Where an adapter's events go: the daemon's inbox, which stamps them."""

    def offer(self, event: AnyEvent) -> bool:
        """False where `event` must not be dropped and there is no room now: await `put` then."""

    async def put(self, event: AnyEvent) -> None:
        """As `offer`, but waits for room."""


# Called in the adapter's own task with what the venue says right after a reconnect, before anything is sent on the connection.
OnReconnect = Callable[[VenueState], None]


class Adapter(Protocol):
    async def open(self) -> None:
        """Connect and log in. Raises TransportError, RefusedError or VenueProtocolError where that cannot be."""

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Bring events until cancelled; returns where the feed has an end and has reached it.

        A lost connection is the adapter's own matter: it says GapDetected for its instruments and OrderOutcomeUnknown for what
        was sent and not answered, connects again, asks the venue where things stand, calls `on_reconnect` with that, and only
        then sends again. What is to be sent while there is no connection is refused by an event (Reason.NOT_SENT), cancels too.

        A fill of an order that is not ours comes as an OrderFilled with FOREIGN_ORDER_ID; nothing else of such orders does,
        unless they were adopted.
        """

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        """From here on `order`, which is not ours, goes by this id: in events, in what `query` answers, and in cancels."""

    def send(self, approved: Approved) -> None:
        """Let a command leave now. A refusal comes back as an event like any other answer."""

    async def query(self, since_ts: int) -> VenueState:
        """Open orders and positions now, and executions with ts_event at or after `since_ts` (ns UTC).

        Raises TransportError where the venue cannot be asked.
        """

    async def close(self) -> None:
        """Log out and let go of the connection; never raises for a connection that is gone already."""
