"""Asks the venue for money that no fill explains: whole at first, then what came since, and each time a while further back.

A failure here stops nobody: how orders stand must be known, what they have cost is told a little later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.money import Moves
from adapters.alpaca.wire import ACTIVITIES_PAGE_MAX, Movements
from adapters.http.request import Request
from core.errors import TransportError, VenueProtocolError
from core.events import CashMoved

PAGES_MAX = 100


class MovementReader:
    """`ask` raises TransportError or VenueProtocolError; `now` and `begun_ts` are ns UTC.

    `late_ns`: so long after it was made may a movement show that was not there before.
    """

    def __init__(
        self,
        codec: AlpacaCodec,
        moves: Moves,
        *,
        ask: Callable[[Request[Movements]], Awaitable[Movements]],
        now: Callable[[], int],
        begun_ts: int,
        interval_ns: int,
        late_ns: int,
    ) -> None:
        self.moves = moves
        self._codec = codec
        self._ask = ask
        self._now = now
        self._interval_ns = interval_ns
        self._late_ns = late_ns
        self._from_ts = begun_ts  # everything that was made since is known
        self._asked_ts = 0  # up to then

    async def since(self, since_ts: int) -> tuple[CashMoved, ...]:
        """All since `since_ts`, and what is older and may only show now; asked for again where that is long ago."""
        first = max(since_ts - self._late_ns, 0)
        if first < self._from_ts:
            if await self._refresh(first):
                self._from_ts = first
        else:
            await self.again()
        return tuple(move for move in self.moves.kept() if move.ts_event >= first)

    async def again(self) -> None:
        """What is new, where that was not asked for of late."""
        if self._now() - self._asked_ts >= self._interval_ns:
            await self._refresh(max(self._from_ts, self._asked_ts - self._late_ns))

    async def _refresh(self, after_ts: int) -> bool:
        """Whether it was read to its end."""
        try:
            await self._read(after_ts)
        except (TransportError, VenueProtocolError) as error:
            self.moves.unasked(str(error))
            return False
        self.moves.asked()
        return True

    async def _read(self, after_ts: int) -> None:
        asked_ts, token = self._now(), ""
        for _ in range(PAGES_MAX):
            page = await self._ask(self._codec.movements(after_ts, token))
            self.moves.hear(self._now(), page.found)
            for text in page.unread:
                self.moves.unread(text)
            if page.rows < ACTIVITIES_PAGE_MAX:
                self._asked_ts = asked_ts
                return
            if not page.found or page.found[-1].id == token:
                raise VenueProtocolError("the list of activities does not come to an end")
            token = page.found[-1].id
        raise TransportError(f"more than {PAGES_MAX * ACTIVITIES_PAGE_MAX} activities to read")
