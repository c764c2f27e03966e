"""What is done when a bug of ours has broken the daemon: nothing of it may leave orders resting at a venue.

The Trader, its risk gate and the journal may be what is broken: none of them is asked. Everything is canceled, the halt is
latched, and the venue is asked until it has no order left. The next start reads the journal as far as it was written, and asks
the venue.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import anyio
import structlog

from core.commands import CancelAll
from core.enums import TradingState
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent
from core.risk import RateLimit, RiskGate
from core.venue_adapter import Adapter, VenueState
from daemon.trading.listener import Severity, Tell
from daemon.trading.session import Session
from daemon.trading.state_folder import Latch

CANCEL_AGAIN_S = 0.25


class _Void:
    """Takes every event and keeps none: there is nobody left to make sense of them."""

    def offer(self, event: AnyEvent) -> bool:
        return True

    async def put(self, event: AnyEvent) -> None:
        return


class LastAct:
    """`seconds` bounds what is done after the first moment; `alert` is the daemon's."""

    def __init__(self, session: Session, run_id: str, seconds: float, alert: Tell) -> None:
        self._session = session
        self._run_id, self._seconds, self._alert = run_id, seconds, alert
        self._log: Any = structlog.get_logger("daemon")
        # A gate of its own, that knows nothing and lets cancels pass.
        self._gate = RiskGate({}, {}, RateLimit(orders_max=1, window_ns=1))
        self.is_feed_dead = False
        self.orders_left: int | None = None  # at the venue; None: it could not be asked

    def begin(self, error: BaseException) -> None:
        """Returns at once; everything is canceled as far as it can be, the halt is latched, and somebody was told."""
        self._session.inbox.wake()
        reason = f"a bug of tradingd: {type(error).__name__}: {error}"
        try:
            self._cancel_and_latch(reason)
        finally:
            self._log.critical("a bug of tradingd", error=repr(error), exc_info=error)
            self._alert("bug", Severity.CRITICAL, f"{self._run_id} is ended, HALTED: {reason}")

    def _cancel_and_latch(self, reason: str) -> None:
        """At once, each part whatever becomes of the others."""
        session = self._session
        latch = Latch(TradingState.HALTED, reason, session.clock.now())
        with ExitStack() as parts:  # the last one first
            # What a broken batch had gathered is no fact yet; what was written before is with the operating system.
            parts.callback(session.journal.abandon)
            parts.callback(session.write_latch, latch)
            parts.callback(self._cancel)
            parts.callback(session.shut)

    def _cancel(self) -> None:
        self._session.adapter.send(self._gate.cancel(CancelAll(self._session.clock.now(), None)))

    async def see_out(self) -> None:
        """Until the venue has no order left, or the time is over; `orders_left` says how far it came."""
        try:
            await self._until_nothing_is_left()
        finally:
            if self.orders_left != 0:
                left = "nobody knows how many orders" if self.orders_left is None else f"{self.orders_left} orders"
                self._alert("not_verified", Severity.CRITICAL, f"after a bug {left} are left at the venue")

    async def _until_nothing_is_left(self) -> None:
        adapter = self._session.adapter
        with anyio.move_on_after(self._seconds, shield=True):
            async with anyio.create_task_group() as tasks:
                if self.is_feed_dead:
                    # Without it nothing reaches the venue, or nothing comes back.
                    tasks.start_soon(adapter.run, _Void(), _ignore)
                while self.orders_left != 0:
                    await self._look(adapter)
                tasks.cancel_scope.cancel()

    async def _look(self, adapter: Adapter) -> None:
        # Nobody takes what comes in any more, and a feed that waits for room does nothing else.
        self._session.inbox.take(len(self._session.inbox))
        try:
            venue = (await adapter.query(self._session.clock.now())).whole()
            self.orders_left = len(venue.open_orders)
        except (TransportError, RefusedError, VenueProtocolError):
            self.orders_left = None
        if self.orders_left != 0:
            self._cancel()
            await anyio.sleep(CANCEL_AGAIN_S)


def _ignore(_venue: VenueState) -> None:
    return
