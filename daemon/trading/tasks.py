"""Every task of the daemon has an owner: none dies in silence, and what breaks one ends all, after the orders were seen out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from core.errors import TradingdError

Task = Callable[[], Awaitable[None]]


class Tasks:
    """`expected` takes what is no bug of ours: it ends the session in order. `broken` takes a bug, and returns at once.

    `see_out` then cancels what rests at the venues, while the other tasks go on.
    """

    def __init__(
        self, *, expected: Callable[[TradingdError], None], broken: Callable[[BaseException], None], see_out: Task
    ) -> None:
        self._expected, self._broken, self._see_out = expected, broken, see_out
        self._log: Any = structlog.get_logger("tasks")
        self._group: TaskGroup | None = None
        self._over = anyio.Event()
        self._seen_out = anyio.Event()
        self.bug: BaseException | None = None  # the first one

    async def run(self, main: Task, endless: Sequence[Task], others: Sequence[Task]) -> None:
        """Until `main` has ended. Raises the bug that broke any of them."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                for task in endless:
                    self.start(partial(_without_end, task))
                for task in others:
                    self.start(task)
                self.start(partial(self._main, main))
                await self._over.wait()
                if self.bug is not None:
                    # The others go on meanwhile: a cancel needs the feed that carries it.
                    await self._see_out()
                    self._seen_out.set()
                    await anyio.sleep_forever()  # whoever has found the bug raises it, which ends all
                group.cancel_scope.cancel()
        except BaseExceptionGroup:
            if self.bug is None:
                raise
        if self.bug is not None:
            raise self.bug

    def start(self, task: Task) -> None:
        assert self._group is not None
        self._group.start_soon(self._owned, task)

    async def guarded(self, task: Task) -> None:
        """Run it; what is no bug ends the session in order."""
        try:
            await task()
        except TradingdError as error:
            self._expected(error)

    async def _main(self, main: Task) -> None:
        await self.guarded(main)
        if self.bug is None:
            self._over.set()

    async def _owned(self, task: Task) -> None:
        try:
            await self.guarded(task)
        except SystemExit as error:
            # The event loop would let it through at once, with everything left as it stands.
            bug = AssertionError(f"somebody's code has called sys.exit({error.code!r})")
            await self._broken_by(bug)
            raise bug from error
        except Exception as error:
            await self._broken_by(error)
            raise

    async def _broken_by(self, error: Exception) -> None:
        try:
            self._break(error)
        finally:
            await self._seen_out.wait()

    def _break(self, error: BaseException) -> None:
        if self.bug is not None:
            self._log.error("another bug", error=repr(error), exc_info=error)
            return
        self.bug = error
        self._over.set()
        self._broken(error)


async def _without_end(task: Task) -> None:
    await task()
    raise AssertionError(f"{task!r} has ended by itself")
