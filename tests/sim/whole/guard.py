"""The guardian's own way to the venues in virtual time: a process of its own with the very switches; the daemon hangs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from daemon.config.loader import LoadedConfig
from daemon.guardian.report import KillRun
from daemon.guardian.settings import KillSettings
from daemon.guardian.switches import open_switches
from daemon.guardian.venue_guard import VenueGuard
from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.sim.whole.process import Process, State
from tests.sim.whole.venue_kit import VenueKit

DEAD_MAN_NS = 10 * NS_PER_S
HANG_NS = 200 * NS_PER_S  # longer than a guardian waits for
FENCE_NS = NS_PER_S  # after which the guardian kills a daemon that does not answer
EMPTY_NS_MAX = 120 * NS_PER_S  # in which the guardian has every venue empty, or one cannot be reached
KEPT_NS = 10 * NS_PER_S  # for which a venue is looked at behind that
LATE_NS_MAX = 60 * NS_PER_S  # in which what arrives there late is gone again


class Guard:
    """Made, it holds its switches; `kill` and `arm` begin at once. `failures` are bugs of it."""

    def __init__(self, agenda: Agenda, network: Network, loaded: LoadedConfig) -> None:
        self.loop = VirtualLoop(agenda, network, "guardian")
        self.network = network
        self.settings = KillSettings()
        hand: Any = None  # of a market in the daemon's own process; here every venue is outside
        self.guards = [VenueGuard(switch, self.settings, _unsaid) for switch in open_switches(loaded, hand)]
        self.run: KillRun | None = None
        self.done: Counter[str] = Counter()  # what came to its end, and was looked at
        self.armed: set[str] = set()  # venues whose own dead-man switch runs
        self._task: asyncio.Task[None] | None = None

    def kill(self) -> None:
        """Empty every venue and keep it so; `is_emptied` once each was seen empty after the fence."""
        self._task = self.loop.create_task(self._kill())

    async def _kill(self) -> None:
        venues = tuple(guard.venue for guard in self.guards)
        run = KillRun("world", "a deed", 0, venues, flatten=False, started_ns=time.monotonic_ns())
        self.run = run
        async with anyio.create_task_group() as tasks:
            for guard in self.guards:
                tasks.start_soon(self._empty, guard, run)

    async def _empty(self, guard: VenueGuard, run: KillRun) -> None:
        await guard.empty(run)
        await guard.keep_empty(lambda _venue, _count: None)

    def fence(self) -> None:
        """The daemon is no more: nothing of it can leave."""
        assert self.run is not None
        self.loop.call_soon(self.run.fence, "killed")

    @property
    def is_emptied(self) -> bool:
        return self.run is not None and all(report.empty_us is not None for report in self.run.venues.values())

    def arm(self) -> None:
        """Have each venue that can cancel everything by itself in DEAD_MAN_NS."""
        self._task = self.loop.create_task(self._arm())

    async def _arm(self) -> None:
        for guard in self.guards:
            if await guard.look() is not None and await guard.refresh_dead_man(DEAD_MAN_NS / NS_PER_S):
                self.armed.add(guard.venue)

    @property
    def is_over(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def failures(self) -> list[str]:
        found = list(self.loop.failures)
        if self._task is not None and self._task.done() and not self._task.cancelled() and self._task.exception() is not None:
            found.append(repr(self._task.exception()))
        return [f"in the guardian: {each}" for each in found]

    def die(self) -> None:
        """Its process is gone, and its connections with it."""
        self.network.abandon(self.loop, is_silent=False)
        self.loop.abandon()


def _unsaid(_venue: str, _is_reachable: bool, _text: str) -> None:
    """Nobody listens."""


def guardian_kills(guard: Guard, process: Process, venues: Sequence[VenueKit]) -> list[str]:
    """The latch is set; the daemon hangs and hears of nothing. What is open at the venues is the guardian's alone."""
    agenda = guard.loop.agenda
    process.loop.stall(HANG_NS)
    guard.kill()
    agenda.run_to(agenda.ns + FENCE_NS)
    process.kill()
    guard.fence()
    if not agenda.run_until(lambda: guard.is_emptied or guard.is_over, agenda.ns + EMPTY_NS_MAX) or guard.is_over:
        return guard.failures  # a venue cannot be reached: the guardian says so, and nothing else can be asked of it
    agenda.run_to(agenda.ns + KEPT_NS)
    agenda.run_until(lambda: not _open_at(venues, agenda.ns), agenda.ns + LATE_NS_MAX)
    guard.done["guardian kills"] += 1
    open_there = _open_at(venues, agenda.ns)
    return [*guard.failures, *(f"open though the guardian has emptied the venue: {each}" for each in open_there)]


def dead_man_runs_out(guard: Guard, process: Process, venues: Sequence[VenueKit]) -> list[str]:
    """The guardian arms it and dies, the daemon hangs: the venue cancels by itself what was there by then."""
    agenda = guard.loop.agenda
    guard.arm()
    agenda.run_until(lambda: guard.is_over, agenda.ns + EMPTY_NS_MAX)
    hung_ns = agenda.ns
    process.loop.stall(2 * DEAD_MAN_NS)
    found = guard.failures
    guard.network.abandon(guard.loop, is_silent=True)
    agenda.run_to(hung_ns + 3 * DEAD_MAN_NS // 2)
    if process.state is not State.ALIVE:
        return found
    armed = [venue for venue in venues if venue.venue in guard.armed]
    guard.done["dead man"] += len(armed)
    return [*found, *(f"open though the dead-man switch has run out: {each}" for each in _open_at(armed, hung_ns))]


def _open_at(venues: Sequence[VenueKit], until_ns: int) -> list[str]:
    """Orders of ours that can add risk, taken there by then."""
    return [
        f"{venue.venue} {order['client_order_id']}"
        for venue in venues
        for order in venue.ledger()["orders"]
        if order["is_open"] and order["origin"] == "client" and not order["reduce_only"] and order["ts"] <= until_ns
    ]
