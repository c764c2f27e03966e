"""The venue inside the daemon, as the guardian sees it: it answers through the daemon, and its orders die with it."""

from __future__ import annotations

import anyio

from core.enums import Side
from core.errors import RefusedError, TransportError
from core.venue_adapter import VenueOrder
from daemon.guardian.asking import ask
from daemon.guardian.daemon_hand import DaemonHand

VENUE = "embedded"
TIMEOUT_S = 1.0


class EmbeddedSwitch:
    """A VenueSwitch over the daemon's control socket."""

    def __init__(self, hand: DaemonHand) -> None:
        self._hand = hand

    @property
    def venue(self) -> str:
        return VENUE

    async def open(self) -> None:
        """Each question has a connection of its own."""

    async def cancel_all(self) -> None:
        """A daemon that halts cancels everything; the fence sees to it that it halts or ends."""
        await anyio.sleep(0)

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        failure = TransportError("the daemon has no control socket")
        for path in self._hand.sockets() if self._is_alive() else ():
            try:
                status, content = await ask(path, "GET", "/orders", timeout_s=TIMEOUT_S)
            except TransportError as error:
                failure = error
                continue
            if status == 200:
                return tuple(_order(row) for row in content["orders"])
        if not self._is_alive() or not self._hand.sockets():
            # What never began to trade, or has ended, has no orders.
            return ()
        raise failure

    def _is_alive(self) -> bool:
        card = self._hand.card()
        if card is None:
            return self._hand.holds_the_lock()
        process = card.process()
        if process is not None:
            process.close()
        return process is not None

    async def positions(self) -> dict[str, int]:
        raise RefusedError("the positions are in the daemon: resume, then `tradingd flatten`")

    async def flatten(self) -> None:
        raise RefusedError("the positions are in the daemon: resume, then `tradingd flatten`")

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        return False

    async def close(self) -> None:
        """There is nothing to let go of."""


def _order(row: dict[str, object]) -> VenueOrder:
    """Its size is not asked: that it is open is what counts."""
    order_id, side = row["client_order_id"], row["side"]
    return VenueOrder(
        client_order_id=order_id if isinstance(order_id, int) else None,
        instrument_id=str(row["instrument_id"]),
        side=Side[str(side)],
        price=None,
        leaves_qty=0,
    )
