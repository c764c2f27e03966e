"""Lives of the whole daemon in one process and in virtual time, on a disk that loses power, at a venue that outlives it.

A life is run once to its end; every step of it (each call of the disk, each order that the venue took, each thing that somebody
was told) is a moment at which the power may have been cut. What the disk may hold then is put into a folder of its own, and the
next life begins on it.

    python -m tests.daemon.trading.power_cut FOLDER SYNC SEED STEP FATE      # one cut again, in FOLDER, which must not exist
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio

from core.enums import TradingState
from core.errors import StorageError, TradingdError
from core.trader import Trader
from daemon.config.loader import LoadedConfig
from daemon.control.server import Handler
from daemon.exit_codes import ExitCode
from daemon.journal.files import Files
from daemon.kill_latch import LATCH_FILE, KillLatch
from daemon.trading.clock import Clock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from tests.daemon.session import environment
from tests.daemon.trading.durable_venue import DurableVenue, Entry
from tests.daemon.trading.kill_runner import audit, last_state, write_config
from tests.daemon.trading.recording_disk import Note, RecordingDisk, after_power_cut
from tests.daemon.trading.virtual_time import NS_PER_S, World

FIRST_LIFE_S = 0.1
NEXT_LIFE_S = 0.02
DOWN_S = 3
SEGMENT_BYTES = 20_000  # so that segments end on the way
CLEAN = (
    "orders_duplicated",
    "orders_not_journaled",
    "fills_lost",
    "fills_twice",
    "fills_invented",
    "replays_different",
    "journals_damaged",
    "halts_lost",
)


class NotedLedger:
    """The venue's ledger; each entry is a step of the life in which it came about."""

    def __init__(self, found: list[Entry], note: Callable[[str, Any], None]) -> None:
        self._entries = list(found)
        self._note = note

    def entries(self) -> list[Entry]:
        return list(self._entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._note("venue", entry)


@dataclass
class Life:
    """One run of the daemon. `before` is the venue's ledger as it began; `code` None: it raised `error`."""

    disk: RecordingDisk
    before: list[Entry]
    venue: NotedLedger
    state_found: TradingState = TradingState.ACTIVE
    code: int | None = None
    error: Exception | None = None

    def entries_at(self, step: int) -> list[Entry]:
        return self.before + [s.value for s in self.disk.steps[:step] if isinstance(s, Note) and s.what == "venue"]

    def states_at(self, step: int) -> set[TradingState]:
        """What a life after a cut there may begin with: what somebody was told last, and what was being done then."""
        allowed = {self.state_found}
        for found in self.disk.steps[:step]:
            if isinstance(found, Note) and found.what == "asking":
                allowed.add(found.value)
            elif isinstance(found, Note) and found.what == "told":
                allowed = {found.value}
        return allowed


def at(loaded: LoadedConfig, root: Path) -> LoadedConfig:
    """The same configuration with its state below `root`."""
    daemon = loaded.config.daemon.model_copy(update={"state_folder": str(root / "state")})
    return replace(loaded, config=loaded.config.model_copy(update={"daemon": daemon}))


def live(
    loaded: LoadedConfig,
    root: Path,
    world: World,
    entries: list[Entry],
    *,
    seed: int,
    seconds: float,
    operator: Callable[[Daemon, RecordingDisk], None],
    before_call: Callable[[str], None] = lambda _kind: None,
) -> Life:
    """One life, to its end."""
    disk = RecordingDisk(root, before_call)
    life = Life(disk, entries, NotedLedger(entries, disk.note))

    def open_venue(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> DurableVenue:
        return DurableVenue(life.venue, clock, seed)

    def handler_of(made: Daemon) -> Handler:
        life.state_found = made.session.trader.risk.trading_state
        loop = asyncio.get_running_loop()
        operator(made, disk)
        loop.call_later(seconds, made.stop, "stop", 0, "the life is over")
        return Control(made).answer

    files: Files = disk
    daemon = Daemon(at(loaded, root), quiet=True, open_adapter=open_venue, files=files, make_clock=world.clock)
    sockets = environment(loaded.file.parent)
    with patch("daemon.trading.daemon.SEGMENT_BYTES_MAX", SEGMENT_BYTES), patch.dict(os.environ, sockets):
        try:
            life.code = anyio.run(partial(daemon.run, handler_of), backend_options={"loop_factory": world.new_loop})
        except (TradingdError, AssertionError, OSError, ValueError) as error:
            life.error = error
    return life


def busy_operator(made: Daemon, disk: RecordingDisk) -> None:
    """Halts, resumes and kills, and writes down what was asked and what was answered."""
    halting_operator(made, disk)

    def kill() -> None:
        # As another process does it, with its own descriptor.
        latch = KillLatch(made.session.kill.path.parent / LATCH_FILE, disk)
        latch.set("a test", 0, made.session.clock.now())
        latch.close()

    loop = asyncio.get_running_loop()
    loop.call_later(0.05, ask, disk, TradingState.HALTED, kill)
    loop.call_later(0.055, ask, disk, TradingState.ACTIVE, partial(made.resume, "test", 0))


def halting_operator(made: Daemon, disk: RecordingDisk) -> None:
    loop = asyncio.get_running_loop()
    resume = partial(made.resume, "test", 0)
    for after_s, state, act in (
        (0.02, TradingState.HALTED, partial(made.halt, "test", 0)),
        (0.025, TradingState.ACTIVE, resume),
        (0.07, TradingState.REDUCING, partial(made.set_state, "reduce", TradingState.REDUCING, "test", 0)),
        (0.075, TradingState.ACTIVE, resume),
    ):
        loop.call_later(after_s, ask, disk, state, act)


def ask(disk: RecordingDisk, state: TradingState, act: Callable[[], None]) -> None:
    disk.note("asking", state)
    try:
        act()
    except StorageError:
        # As the control socket answers: 503. The loop finds it too.
        return
    disk.note("told", state)


def nobody(_made: Daemon, _disk: RecordingDisk) -> None:
    return


def first_life(loaded: LoadedConfig, root: Path, seed: int) -> Life:
    root.mkdir()
    life = live(loaded, root, World(), [], seed=seed, seconds=FIRST_LIFE_S, operator=busy_operator)
    assert (life.code, life.error) == (ExitCode.OK, None)
    return life


def problems_after_cut(loaded: LoadedConfig, life: Life, step: int, fate: int, folder: Path) -> dict[str, Any]:
    """Cut the power there, live on, now and then with a second cut on the way, and say what is not as it must be."""
    chance = random.Random(f"{step} {fate}")
    world = World()
    world.ns += DOWN_S * NS_PER_S
    problems: dict[str, Any] = {}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    root = folder / "1"
    after_power_cut(life.disk, step, chance, root)
    entries, allowed = life.entries_at(step), life.states_at(step)
    is_first_start = not any(isinstance(s, Note) for s in life.disk.steps[:step])
    if chance.random() < 0.3:
        cut = live(loaded, root, world, entries, seed=chance.randrange(1 << 30), seconds=NEXT_LIFE_S, operator=nobody)
        if cut.error is not None:
            return {"the next start": repr(cut.error)}
        steps = chance.randrange(len(cut.disk.steps))
        is_first_start = is_first_start and not any(isinstance(s, Note) for s in cut.disk.steps[:steps])
        root = folder / "2"
        after_power_cut(cut.disk, steps, chance, root)
        entries = cut.entries_at(steps)
        world.ns += DOWN_S * NS_PER_S
    last = live(loaded, root, world, entries, seed=chance.randrange(1 << 30), seconds=NEXT_LIFE_S, operator=nobody)
    if last.error is not None or last.code != ExitCode.OK:
        return {"the last life": (last.code, repr(last.error))}
    # Before anything was asked of it, a kill latch that was not even made whole counts as set: that is safe.
    if last.state_found not in allowed and not (is_first_start and last.state_found is TradingState.HALTED):
        problems["trading state"] = (last.state_found, allowed)
    found = audit(at(loaded, root), last.venue.entries())
    problems.update({key: found[key] for key in CLEAN if found[key]})
    here = dict(zip(("position", "cash"), last_state(at(loaded, root)), strict=True))
    if here != {key: found[key] for key in here}:
        problems["ledger"] = (here, found["position"], found["cash"])
    return problems


def configured(folder: Path, sync: str) -> LoadedConfig:
    loaded = write_config(folder)
    daemon = loaded.config.daemon.model_copy(update={"sync": sync})
    return replace(loaded, config=loaded.config.model_copy(update={"daemon": daemon}))


def main(folder: Path, sync: str, seed: int, step: int, fate: int) -> dict[str, Any]:
    folder.mkdir()
    loaded = configured(folder, sync)
    life = first_life(loaded, folder / "first", seed)
    return problems_after_cut(loaded, life, step, fate, folder / "cut")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
