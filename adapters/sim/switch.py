"""The guardian's view of a simulated venue: core.venue_switch.VenueSwitch on a connection of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from adapters.sim.address import Address
from adapters.sim.io import RequestLine
from adapters.sim.wire import DEAD_MAN_MS_MAX, CancelEverything, DeadMan, Flatten, Query, StateReply
from core.errors import VenueProtocolError
from core.units import INT64_MAX
from core.venue_adapter import VenueOrder, VenueState

MS_PER_S = 1_000


class SimSwitch:
    """Role "switch" at the venue: nothing that it can say adds risk. `now` gives ns UTC."""

    def __init__(self, *, venue: str, address: Address, account: str, token: str, now: Callable[[], int] = time.time_ns) -> None:
        self._venue = venue
        self._account = account
        self._token = token
        self._line = RequestLine(address, now)

    @property
    def venue(self) -> str:
        return self._venue

    async def open(self) -> None:
        await self._line.open(self._account, self._token)

    async def cancel_all(self) -> None:
        await self._line.tell(CancelEverything)

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return (await self._state()).open_orders

    async def positions(self) -> dict[str, int]:
        return (await self._state()).positions

    async def flatten(self) -> None:
        await self._line.ask(Flatten)

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        # Up: a switch that goes off a moment too late is better than one that cannot be armed for so short a time.
        timeout_ms = min(math.ceil(timeout_s * MS_PER_S), DEAD_MAN_MS_MAX)
        await self._line.ask(lambda request: DeadMan(request, timeout_ms))
        return True

    async def close(self) -> None:
        self._line.close()

    async def _state(self) -> VenueState:
        # Executions are nobody's business here: none is as late as this.
        answer = await self._line.ask(lambda request: Query(request, INT64_MAX))
        if not isinstance(answer, StateReply):
            raise VenueProtocolError(f"{self._venue}: the venue answers a question with {type(answer).__name__}")
        return answer.state
