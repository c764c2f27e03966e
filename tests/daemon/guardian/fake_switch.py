"""A venue in memory for the kill's own tests: what rests there, how it behaves, and what it was told, in order."""

from __future__ import annotations

import anyio

from core.enums import Side
from core.errors import TransportError
from core.venue_adapter import VenueOrder


def order(number: int, *, reduce_only: bool = False) -> VenueOrder:
    return VenueOrder(number, "ACME.SIM", Side.BUY, 10_000, 1, reduce_only=reduce_only)


class FakeSwitch:
    """`calls` is what it was told. Set the rest to make it misbehave."""

    def __init__(self, venue: str = "SIM", orders: int = 3) -> None:
        self.venue = venue
        self.orders = [order(number) for number in range(1, orders + 1)]
        self.held: dict[str, int] = {}
        self.calls: list[str] = []
        self.opens = 0
        self.refuses_opens = 0  # the next so many
        self.ignores_cancels = 0
        self.hangs = False
        self.failure: Exception | None = None  # raised once, by whatever is called next
        self.appears: list[VenueOrder] = []  # one comes with each question, once something was canceled
        self.dead_man: list[float] = []

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.hangs:
            await anyio.sleep_forever()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        await anyio.sleep(0)

    async def open(self) -> None:
        self.opens += 1
        if self.refuses_opens:
            self.refuses_opens -= 1
            raise TransportError("nobody listens")

    async def cancel_all(self) -> None:
        await self._called("cancel_all")
        if self.ignores_cancels:
            self.ignores_cancels -= 1
            return
        self.orders = [each for each in self.orders if each.reduce_only]

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        await self._called("open_orders")
        if self.appears and "cancel_all" in self.calls:
            self.orders.append(self.appears.pop())
        return tuple(self.orders)

    async def positions(self) -> dict[str, int]:
        await self._called("positions")
        return dict(self.held)

    async def flatten(self) -> None:
        await self._called("flatten")
        self.held = {}

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        self.dead_man.append(timeout_s)
        return True

    async def close(self) -> None:
        self.calls.append("close")
