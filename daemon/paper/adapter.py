"""What stands between the loop and a venue, simulated or real. Venue adapters implement this and nothing else.

Events come in through the inbox only; nothing is ever returned by `send`. What `query` answers is the venue's truth, and decides
wherever ours differs.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from core.approved import Approved
from core.enums import Side
from core.events import OrderFilled
from daemon.paper.inbox import Inbox


class VenueOrder(msgspec.Struct, frozen=True):
    """An order that is open at the venue. client_order_id None: it is not one of ours."""

    client_order_id: int | None
    instrument_id: str
    side: Side
    price: int | None
    leaves_qty: int
    venue_order_id: str = ""


class VenueState(msgspec.Struct, frozen=True):
    """What a venue says at one moment. Executions are in the order they happened."""

    open_orders: tuple[VenueOrder, ...]
    executions: tuple[OrderFilled, ...]  # at or after the moment asked for
    positions: dict[str, int]  # units held by instrument; one that is not named is not known


class Adapter(Protocol):
    async def run(self, inbox: Inbox) -> None:
        """Bring events until cancelled; returns where the feed has an end and has reached it."""

    def send(self, approved: Approved) -> None:
        """Let a command leave now. A refusal comes back as an event like any other answer."""

    async def query(self, since_ts: int) -> VenueState:
        """Open orders and positions now, and executions with ts_event at or after `since_ts` (ns UTC).

        Raises TransportError where the venue cannot be asked.
        """
