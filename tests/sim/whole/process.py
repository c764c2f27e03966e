"""One process of the daemon in virtual time: the very Daemon on a loop and a disk of its own, killed at any instant."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from core.enums import TradingState
from daemon.config.loader import LoadedConfig
from daemon.exit_codes import ExitCode
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.listener import Alert, Beat
from sim.virtual.agenda import Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.sim.whole.disk import Disk, Killed


class State(Enum):
    ALIVE = "alive"
    ENDED = "ended"  # by itself, or because it was told to
    KILLED = "killed"


class Watcher:
    """A listener that keeps what it is told."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.alerts: list[Alert] = []
        self.beats = 0

    def phase(self, phase: str, text: str) -> None:
        """Asked of the daemon itself."""

    def beat(self, beat: Beat) -> None:
        self.beats += 1

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)


class Process:
    """Made, it begins at once. `end` is its exit code or what it raised."""

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        loaded: LoadedConfig,
        root: Path,
        chance: random.Random,
        disk_before: Disk | None = None,
    ) -> None:
        """`disk_before`: of the process before it on the same machine, which has not lost its power since."""
        self.agenda = agenda
        self.network = network
        self.state = State.ALIVE
        self.end: ExitCode | BaseException | None = None
        self.failures: list[str] = []
        self.watcher = Watcher(agenda)
        self.has_been_live = False
        self.has_seen_wrong_clock = False
        self.disk = Disk(root, chance, self._die)
        if disk_before is not None:
            self.disk.take_over(disk_before)
        self.loop = VirtualLoop(agenda, network, "daemon")
        self.daemon = Daemon(loaded, quiet=True, files=self.disk, listeners=[self.watcher])
        self._task = self.loop.create_task(self.daemon.run(self._handler_of))
        self._task.add_done_callback(self._ended)

    def _handler_of(self, made: Daemon) -> Any:
        self.has_been_live = True
        return Control(made).answer

    @property
    def is_trading(self) -> bool:
        return self.state is State.ALIVE and self.daemon.phase == "running"

    @property
    def trading_state(self) -> TradingState:
        return self.daemon.session.trader.risk.trading_state

    def do(self, act: Callable[[], None]) -> None:
        """In its own loop, as its control socket would."""
        self.loop.call_soon(act)

    def _ended(self, task: asyncio.Task[ExitCode]) -> None:
        if self.state is not State.ALIVE:
            return
        error = task.exception() if not task.cancelled() else asyncio.CancelledError()
        if isinstance(error, Killed):
            return  # the kill itself is on its way
        self.state = State.ENDED
        self.end = error if error is not None else task.result()
        self.agenda.at(self.agenda.ns, self._leave)

    def _leave(self) -> None:
        """Its system closes what it left open."""
        self.failures += self.loop.failures
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        if left:
            self.failures.append(f"tasks outlived the daemon: {left}")
        self.network.abandon(self.loop, is_silent=False)
        self.disk.die()
        self._bury()

    def kill(self, *, is_power_cut: bool = False) -> None:
        """SIGKILL, or the machine's power: at once, whatever it is at."""
        if self.state is not State.ALIVE:
            return
        self._cut_off(is_power_cut=is_power_cut)
        self._bury()

    def _die(self) -> None:
        """Killed in the middle of a call: nothing of what else is ready in this turn reaches the world."""
        self._cut_off(is_power_cut=False)
        self.agenda.at(self.agenda.ns, self._bury)

    def _bury(self) -> None:
        self.loop.abandon()
        self.disk.close_all()

    def _cut_off(self, *, is_power_cut: bool) -> None:
        self.state = State.KILLED
        self.failures += self.loop.failures
        self.network.abandon(self.loop, is_silent=is_power_cut)
        self.disk.die()
