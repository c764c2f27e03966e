"""The kill, as the guardian and the command line do it: flag, cancels, latch, fence, verification, acknowledgement.

Everything at once but what has to wait for something: the venues are told to cancel the moment the flag is up, each by itself;
the latch goes to the disk and the daemon is told beside them. A venue counts as empty only by questions asked after the daemon
cannot send any more. The acknowledgement waits for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from core.errors import StorageError
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.report import KillRun
from daemon.guardian.settings import KillSettings
from daemon.guardian.venue_guard import VenueGuard

HOLD_S = 0.02
DURABLE_AGAIN_S = 0.5


async def carry_out(
    run: KillRun, latch: LatchHand, guards: Sequence[VenueGuard], hand: DaemonHand, settings: KillSettings
) -> None:
    """Returns when the kill is acknowledged, which a venue that cannot be reached puts off for ever: cancel to give up."""
    raise_flag(run, latch)
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as parts:
            for guard in guards:
                guard.hurry()
                parts.start_soon(guard.empty, run)
            # The cancels are out before anything else is even begun.
            await anyio.sleep(0)
            parts.start_soon(hand.fence, run, settings.fence_after_s)
            parts.start_soon(_make_durable, run, latch)
            tasks.start_soon(_hold, run, latch)
        tasks.cancel_scope.cancel()
    run.mark("acknowledged")
    run.acknowledged.set()


def raise_flag(run: KillRun, latch: LatchHand) -> None:
    """At once, and without waiting for anything; what refuses is a problem of the run."""
    # Where the latch itself is the reason, what it says already is what is to be kept.
    if run.trigger != "latch" or not latch.is_set:
        try:
            latch.raise_flag(f"{run.trigger}: {run.reason}", run.uid, run.ts)
        except StorageError as error:
            run.problem(str(error))
    run.mark("flag")


async def _make_durable(run: KillRun, latch: LatchHand) -> None:
    while True:
        try:
            await latch.make_durable()
        except StorageError as error:
            # In effect all the same; only a crash of the machine could lose it.
            run.problem(str(error))
            await anyio.sleep(DURABLE_AGAIN_S)
            if run.fenced.is_set() and all(report.empty_us is not None for report in run.venues.values()):
                return
        else:
            run.mark("latch_durable")
            return


async def _hold(run: KillRun, latch: LatchHand) -> None:
    """Until it is acknowledged a kill cannot be undone: a resume in between is void."""
    while True:
        await anyio.sleep(HOLD_S)
        if not latch.is_set:
            run.problem("the latch was cleared before the kill was acknowledged; it was set again")
            raise_flag(run, latch)
            await _make_durable(run, latch)
