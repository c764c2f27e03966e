"""The whole daemon in this process, at a venue that a test scripts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.trader import Trader
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.journal.format import Record
from daemon.journal.tail import TailReader
from daemon.trading.clock import Clock, SystemClock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon, MakeClock
from daemon.trading.listener import Alert, Beat
from tests.daemon.session import CONFIG, environment
from tests.daemon.trading.scripted_venue import ScriptedVenue
from tests.daemon.trading.virtual_time import World, run_in_virtual_time

SECONDS_MAX = 30.0  # for a machine under load; nothing here takes one


@cache
def world_of(folder: Path) -> World:
    """One for all lives of a test: time goes on between them."""
    return World()


def load(folder: Path, *settings: str, strategy: str = "tests.daemon.trading.scripted_venue:Obedient") -> LoadedConfig:
    start = CONFIG.index("[[strategies]]")
    text = CONFIG[:start] + f'[[strategies]]\nid = "obedient"\nclass = "{strategy}"\n'
    path = folder / "scripted.toml"
    path.write_text(
        f'{text}\n[daemon]\nstate_folder = "{folder}/state"\nheartbeat_interval = "20ms"\nreconcile_interval = "1h"\n'
    )
    return load_config(path, ['run.mode="paper"', *settings])


class Watcher:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.beats: list[Beat] = []
        self.phases: list[str] = []

    def phase(self, phase: str, text: str) -> None:
        self.phases.append(phase)

    def beat(self, beat: Beat) -> None:
        self.beats.append(beat)

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def kinds(self) -> list[str]:
        return [alert.kind for alert in self.alerts]


class Running:
    """A daemon that trades, its venue, and what it has told. `end` holds its exit code, or what it raised."""

    def __init__(self, loaded: LoadedConfig, make_venue: Callable[[Clock], ScriptedVenue], make_clock: MakeClock) -> None:
        self.watcher = Watcher()
        self.end: ExitCode | BaseException | None = None
        self._venue: ScriptedVenue | None = None

        def open_venue(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> ScriptedVenue:
            self._venue = make_venue(clock)
            return self._venue

        self.daemon = Daemon(loaded, quiet=True, open_adapter=open_venue, make_clock=make_clock, listeners=[self.watcher])

    @property
    def venue(self) -> ScriptedVenue:
        assert self._venue is not None
        return self._venue

    @property
    def trader(self) -> Trader:
        return self.daemon.session.trader

    @property
    def control(self) -> Control:
        return Control(self.daemon)

    async def run(self) -> None:
        try:
            self.end = await self.daemon.run(lambda daemon: Control(daemon).answer)
        except (Exception, SystemExit) as error:
            self.end = error
            if self._venue is None:
                raise

    async def until(self, condition: Callable[[], Any]) -> None:
        with anyio.fail_after(SECONDS_MAX):
            while not condition():
                await anyio.sleep(0.002)

    async def ended(self) -> ExitCode | BaseException:
        await self.until(lambda: self.end is not None)
        assert self.end is not None
        return self.end

    def records(self) -> list[Record]:
        return list(TailReader(self.daemon.session.journal.path))


@asynccontextmanager
async def running(
    loaded: LoadedConfig, make_venue: Callable[[Clock], ScriptedVenue], make_clock: MakeClock, *, must_trade: bool = True
) -> AsyncIterator[Running]:
    """A daemon that is ready; it is stopped at the end, where it still runs."""
    run = Running(loaded, make_venue, make_clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run.run)
        await run.until(lambda: run.daemon.phase == "running" or run.end is not None)
        assert run.daemon.phase == "running" or not must_trade, f"it ended before it traded: {run.end!r}"
        yield run
        if run.end is None:
            run.daemon.stop("stop", -1, "the test is over")
            await run.ended()


def play(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[Running], Awaitable[None]],
    *settings: str,
    make_venue: Callable[[Clock], ScriptedVenue] = ScriptedVenue,
    strategy: str = "tests.daemon.trading.scripted_venue:Obedient",
    must_trade: bool = True,
    by_the_clock: bool = False,
) -> Running:
    """Run `story` against a daemon from its start to its end: in virtual time, or `by_the_clock` of the machine."""
    monkeypatch.setattr("daemon.trading.reconciling.SETTLE_S", 0.02)
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", environment(folder)["TRADINGD_RUNTIME_DIR"])
    assert os.environ["TRADINGD_RUNTIME_DIR"]
    found: list[Running] = []
    world = world_of(folder)

    async def main() -> None:
        loaded = load(folder, *settings, strategy=strategy)
        make_clock: MakeClock = SystemClock if by_the_clock else world.clock
        async with running(loaded, make_venue, make_clock, must_trade=must_trade) as run:
            found.append(run)
            await story(run)

    if by_the_clock:
        anyio.run(main)
    else:
        run_in_virtual_time(main, world)
    return found[0]
