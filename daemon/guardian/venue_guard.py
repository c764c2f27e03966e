"""One venue in the guardian's hands: its switch kept warm, emptied on a kill, and kept empty while the latch is set.

Nothing in here waits for another venue, and every call has a bound. What goes wrong is counted, said, and tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from core.errors import TradingdError, TransportError
from core.venue_adapter import VenueOrder
from core.venue_switch import VenueSwitch
from daemon.guardian.report import KillRun, VenueReport
from daemon.guardian.settings import KillSettings

Value = TypeVar("Value")

BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 2.0
CANCEL_AGAIN_S = 0.25  # a venue that has not canceled by then is told again
FLATTEN_AGAIN_S = 1.0
POLL_S_MIN = 0.005
POLL_S_MAX = 0.1
FAILURE_CHARACTERS_MAX = 300

# Whatever one venue's connection or code raises: the others' orders must not stay open because of it. What is no bug of ours is a
# TradingdError or an OSError; the rest is a bug, which is said as such and makes this venue "not verified".
VENUE_FAILURES = (
    TradingdError,
    OSError,
    EOFError,
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    anyio.BrokenResourceError,
    anyio.BusyResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class VenueGuard:
    """`say(venue, is_reachable, text)` hears each time the venue is lost and each time it is back."""

    def __init__(self, switch: VenueSwitch, settings: KillSettings, say: Callable[[str, bool, str], None]) -> None:
        self.venue = switch.venue
        self.last_failure = ""
        self.open_orders: int | None = None  # as it said last
        self._switch = switch
        self._settings = settings
        self._say = say
        self._is_open = False
        self._generation = 0  # of the connection: a failure of an older one says nothing about this one
        self._was_reachable: bool | None = None
        self._opening = anyio.Lock()
        self._asking = anyio.Lock()  # a switch answers one question at a time; a cancel waits for none
        self._hurry = anyio.Event()  # set: waiting is over
        self._has_dead_man = True

    @property
    def is_open(self) -> bool:
        return self._is_open

    def hurry(self) -> None:
        """End a wait for the next try."""
        self._hurry.set()
        self._hurry = anyio.Event()

    # While all is well.

    async def stay_warm(self) -> None:
        """Keep the connection open and know that it is alive, until cancelled."""
        wait = BACKOFF_S_MIN
        while True:
            generation = self._generation
            try:
                generation = await self._ensure_open()
                await self.risky_orders()
            except VENUE_FAILURES as error:
                await self._failed(error, generation)
                await self._pause(wait)
                wait = min(2 * wait, BACKOFF_S_MAX)
            else:
                wait = BACKOFF_S_MIN
                await self._pause(self._settings.check_interval_s)

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        """False: the venue has none, or could not be told. 0 disarms."""
        if not self._has_dead_man or not self._is_open:
            return False
        generation = self._generation
        try:
            self._has_dead_man = await self._ask(lambda: self._switch.refresh_dead_man(timeout_s))
        except VENUE_FAILURES as error:
            await self._failed(error, generation)
            return False
        return self._has_dead_man

    async def look(self) -> int | None:
        """Orders of ours there that could add risk; None where it cannot be asked."""
        generation = self._generation
        try:
            generation = await self._ensure_open()
            return sum(order.client_order_id is not None for order in await self.risky_orders())
        except VENUE_FAILURES as error:
            await self._failed(error, generation)
            return None

    # A kill.

    async def empty(self, run: KillRun) -> None:
        """Cancel everything, again and again, until the venue has been empty for the settling time; flatten where asked."""
        report = run.venues[self.venue]
        wait = BACKOFF_S_MIN
        while True:
            generation = self._generation
            try:
                generation = await self._ensure_open()
                await self._cancel_all(run, report)
                await self._until_empty(run, report)
                if run.flatten:
                    await self._until_flat(run, report)
                return
            except VENUE_FAILURES as error:
                report.failures += 1
                report.last_failure = await self._failed(error, generation)
                await self._pause(wait)
                wait = min(2 * wait, BACKOFF_S_MAX)

    async def keep_empty(self, found: Callable[[str, int], None]) -> None:
        """After a kill, until cancelled: whatever appears is canceled, and `found` hears of it.

        Asked ever more seldom while nothing appears: what a question costs is taken from what cancels may need.
        """
        wait = BACKOFF_S_MIN
        pause_s = self._settings.guard_interval_s
        while True:
            generation = self._generation
            try:
                generation = await self._ensure_open()
                risky = await self.risky_orders()
                if risky:
                    await self._call(self._switch.cancel_all)
                    found(self.venue, len(risky))
                    pause_s = self._settings.guard_interval_s
            except VENUE_FAILURES as error:
                await self._failed(error, generation)
                await self._pause(wait)
                wait = min(2 * wait, BACKOFF_S_MAX)
            else:
                wait = BACKOFF_S_MIN
                await self._pause(pause_s)
                pause_s = max(min(2 * pause_s, self._settings.check_interval_s), self._settings.guard_interval_s)

    async def _cancel_all(self, run: KillRun, report: VenueReport) -> None:
        await self._call(self._switch.cancel_all)
        report.cancel_rounds += 1
        if report.cancels_sent_us is None:
            report.cancels_sent_us = run.elapsed_us()

    async def _until_empty(self, run: KillRun, report: VenueReport) -> None:
        clean_since: float | None = None
        again_at = anyio.current_time() + CANCEL_AGAIN_S
        wait = POLL_S_MIN
        while True:
            is_fenced, asked_at = run.fenced.is_set(), anyio.current_time()
            risky = await self.risky_orders()
            report.open_orders, report.can_add_risk = self.open_orders, len(risky)
            if risky:
                clean_since = None
                if asked_at >= again_at:
                    await self._cancel_all(run, report)
                    again_at = anyio.current_time() + CANCEL_AGAIN_S
            elif is_fenced:
                # Only now can nothing new be on its way; what left just before gets the settling time to arrive.
                clean_since = asked_at if clean_since is None else clean_since
                if asked_at - clean_since >= self._settings.settle_s:
                    report.empty_us = run.elapsed_us()
                    return
            await anyio.sleep(wait)
            wait = min(2 * wait, POLL_S_MAX)

    async def _until_flat(self, run: KillRun, report: VenueReport) -> None:
        """Closing orders can only reduce, so that asking twice cannot turn a position."""
        again_at = anyio.current_time()
        wait = POLL_S_MIN
        while True:
            positions = await self._ask(self._switch.positions)
            report.positions = {key: quantity for key, quantity in positions.items() if quantity}
            if not report.positions:
                report.flat_us = run.elapsed_us()
                return
            if anyio.current_time() >= again_at:
                # Closing orders of the try before that have not filled would only stand in the way.
                await self._call(self._switch.cancel_all)
                await self._ask(self._switch.flatten)
                again_at = anyio.current_time() + FLATTEN_AGAIN_S
                wait = POLL_S_MIN
            await anyio.sleep(wait)
            wait = min(2 * wait, POLL_S_MAX)

    # The switch.

    async def risky_orders(self) -> list[VenueOrder]:
        """What is open there and is not reduce-only."""
        orders = await self._ask(self._switch.open_orders)
        self.open_orders = len(orders)
        self._reached()
        return [order for order in orders if not order.reduce_only]

    async def _ensure_open(self) -> int:
        """The generation of the connection."""
        if self._is_open:
            return self._generation
        async with self._opening:
            if not self._is_open:
                await self._call(self._switch.open)
                self._is_open = True
                self._generation += 1
        return self._generation

    async def _ask(self, call: Callable[[], Awaitable[Value]]) -> Value:
        async def in_turn() -> Value:
            async with self._asking:
                return await call()

        return await self._call(in_turn)

    async def _call(self, call: Callable[[], Awaitable[Value]]) -> Value:
        with anyio.move_on_after(self._settings.venue_timeout_s):
            return await call()
        raise TransportError(f"{self.venue}: no answer for {self._settings.venue_timeout_s:g} s")

    def _reached(self) -> None:
        self.last_failure = ""
        if self._was_reachable is False:
            self._say(self.venue, True, "the venue answers again")
        self._was_reachable = True

    async def _failed(self, error: Exception, generation: int) -> str:
        """Let go of the connection, so that the next try has a new one; returns what to say of it."""
        self.last_failure = f"{type(error).__name__}: {error}"[:FAILURE_CHARACTERS_MAX]
        if self._is_open and generation == self._generation:
            self._is_open = False
            await self.close()
        if self._was_reachable is not False:
            self._was_reachable = False
            self._say(self.venue, False, self.last_failure)
        return self.last_failure

    async def _pause(self, wait_s: float) -> None:
        with anyio.move_on_after(wait_s):
            await self._hurry.wait()

    async def close(self) -> None:
        self._is_open = False
        with anyio.move_on_after(self._settings.venue_timeout_s):
            try:
                await self._switch.close()
            except VENUE_FAILURES:
                # It is given up anyway.
                return
