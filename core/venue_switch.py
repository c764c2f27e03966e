"""One venue as the guardian reaches it: a connection and credentials of its own, and nothing on it that could add risk."""

from __future__ import annotations

from typing import Protocol

from core.venue_adapter import VenueOrder


class VenueSwitch(Protocol):
    """Kept open and warm, so that a kill costs no connection. Each method raises TransportError where there is no venue to reach.

    Nothing in here needs the daemon, its journal or its state.
    """

    @property
    def venue(self) -> str:
        """The part of an instrument_id behind its last dot."""

    async def open(self) -> None:
        """Connect and log in; again after a TransportError. Raises RefusedError where the credentials are not taken."""

    async def cancel_all(self) -> None:
        """Everything of the account, by the venue's own bulk call where there is one, else order by order.

        Returns when the last cancel is on the wire: what became of it `open_orders` says.
        """

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def positions(self) -> dict[str, int]:
        """Units held by instrument."""

    async def flatten(self) -> None:
        """Close every position at the market by orders that can only reduce; returns when they are on the wire."""

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        """Have the venue cancel everything by itself unless this is called again within `timeout_s`; 0 disarms.

        False: the venue has no such thing.
        """

    async def close(self) -> None:
        """Log out and let go of the connection; a dead-man switch that is armed stays armed."""
