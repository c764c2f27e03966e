"""An event loop and a clock in virtual time: where nothing is left to do, the next timer is due at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from unittest.mock import patch

import anyio

NS_PER_S = 1_000_000_000
START_NS = 1_767_623_400 * NS_PER_S
STUCK_S = 30.0  # of real time in which a loop without timers must hear from outside

Result = TypeVar("Result")


def run_in_virtual_time(main: Callable[[], Awaitable[Result]], world: World | None = None) -> Result:
    """anyio.run in this world: no time passes but what is waited for, however long the machine stalls."""

    async def here_and_now(call: Callable[..., Any], *arguments: Any, **_how: Any) -> Any:
        return call(*arguments)

    # While another thread worked, this loop would skip its timers.
    with patch("anyio.to_thread.run_sync", here_and_now):
        return anyio.run(main, backend_options={"loop_factory": (world or World()).new_loop})


class World:
    """What outlives a process: the time of day. `ns` is UTC."""

    def __init__(self, ns: int = START_NS) -> None:
        self.ns = ns

    def clock(self, floor: int) -> WorldClock:
        return WorldClock(self, floor)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop(self)


class WorldClock:
    def __init__(self, world: World, floor: int) -> None:
        self._world = world
        self._floor = floor

    def now(self) -> int:
        return max(self._world.ns, self._floor)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(JumpingSelector(world))
        # What asyncio takes for now: finer than a float of some months in seconds is, a timer that is due would never be.
        self._clock_resolution = 1e-6

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """There are no threads: it is done here and now."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def time(self) -> float:
        return (self._world.ns - START_NS) / NS_PER_S


class JumpingSelector(selectors.EpollSelector):
    """Looks at its files without waiting; where they are silent, the time to wait has passed."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None:
            found = super().select(STUCK_S)
            assert found, "a loop in virtual time waits for nothing"
            return found
        found = super().select(0)
        if not found and timeout > 0:
            # Rounded up: a timer that is due in part of a ns must not be found not due for ever.
            self._world.ns += int(timeout * NS_PER_S) + 1
        return found
