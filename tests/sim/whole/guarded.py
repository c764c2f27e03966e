"""One world of many in a process that runs one after the other: whatever becomes of it, the others go on."""

from __future__ import annotations

import gc
import signal
import traceback

from tests.sim.whole.verdict import Verdict
from tests.sim.whole.world import run_world

WORLD_CPU_S_MAX = 120.0  # a hundred times what one takes
# A world makes few cycles, and its process is not old: the collector need not look as often as it would.
GARBAGE_THRESHOLDS = (50_000, 20, 50)


class Overdue(BaseException):
    """A world does not come to its end. No code of a world may catch it."""


def begin_process() -> None:
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    signal.signal(signal.SIGVTALRM, _overdue)


def _overdue(_number: int, _frame: object) -> None:
    raise Overdue


def run_guarded(seed: int, *, steps: int, venues: tuple[str, ...]) -> Verdict:
    """A world that breaks or does not end is a violated one. `begin_process` was called in this process."""
    signal.setitimer(signal.ITIMER_VIRTUAL, WORLD_CPU_S_MAX)
    try:
        return run_world(seed, steps=steps, venues=venues)
    except Overdue:
        return Verdict(seed, steps, [f"it has not ended after {WORLD_CPU_S_MAX} s of the processor's time"])
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told with its seed, and it is no success
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Verdict(seed, steps, [f"the world itself broke: {error!r} in {where.filename}:{where.lineno}"])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
