"""How open orders and positions come to an end: cancel until nothing is open, close at the market, take the last answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from core.events import AnyEvent, CancelAllRequested, CashMoved, FlattenRequested, OrderEvent
from daemon.trading.session import Session

POLL_S = 0.002  # of a feed that has ended: what is still on its way has to be asked for
# Before everything is canceled again and the venue is asked, doubled each time: both cost of what a venue grants.
CANCEL_AGAIN_S, CANCEL_AGAIN_S_MAX = 0.25, 4.0
FLATTEN_TRIES_MAX = 3
BATCH_EVENTS_MAX = 256  # between two turns of the control socket


class Closing:
    """Every wait in here is bounded by the caller.

    `is_stopping` True: the loop has ended, and the answers to our last orders are taken here; the market is not ours any more.
    """

    def __init__(self, session: Session, on_overdue: Callable[[], None]) -> None:
        self._session = session
        self.on_overdue = on_overdue
        self.is_stopping = False
        self.has_feed_ended = False

    @property
    def is_flat(self) -> bool:
        """No position is open."""
        return all(position.qty == 0 for position in self._session.trader.portfolio.by_instrument.values())

    async def close_positions(self, reason: str) -> bool:
        """By reduce-only market orders through the risk gate; returns whether every position is closed."""
        for _ in range(FLATTEN_TRIES_MAX):
            if self.is_flat:
                return True
            self._session.apply(lambda now: [FlattenRequested(now, now, reason)])
            await self.cancel_all(reason)
        return self.is_flat

    async def cancel_all(self, reason: str) -> None:
        """Until no order is open; what strategies send meanwhile is canceled too."""
        session = self._session
        pause_s = CANCEL_AGAIN_S
        again_at = anyio.current_time() + pause_s
        while session.has_open_orders:
            with anyio.move_on_after(again_at - anyio.current_time()):
                await self._something_came()
            if self.is_stopping:
                await self.take_answers()
            if anyio.current_time() >= again_at and session.has_open_orders:
                pause_s = min(2 * pause_s, CANCEL_AGAIN_S_MAX)
                again_at = anyio.current_time() + pause_s
                # The answer may have been lost: then the venue says it when it is asked.
                self.on_overdue()
                session.apply(lambda now: [CancelAllRequested(now, now, reason)])

    async def _something_came(self) -> None:
        """Until an order may have ended."""
        if not self.is_stopping:
            await self._session.batch_taken()
        elif self.has_feed_ended:
            await anyio.sleep(POLL_S)
        else:
            await self._session.inbox.wait()

    async def take_answers(self) -> None:
        """At the end only what concerns orders and money still counts."""
        session = self._session
        if self.has_feed_ended:
            # A feed that has ended brings nothing by itself: what is still on its way comes when it is asked for.
            await session.adapter.run(session.inbox, lambda _state: None)
        taken = session.inbox.take(BATCH_EVENTS_MAX)
        events: Sequence[AnyEvent] = [event for event in taken if isinstance(event, OrderEvent | CashMoved)]
        if events:
            session.process(events)
