"""Several calls at once, of which the first that fails ends the others and is what fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio


async def together(*calls: Callable[[], Awaitable[None]]) -> None:
    """Returns when all have. A failure comes by its own name: a group of one is nobody's expected failure."""
    failures: list[Exception] = []

    async def run(call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:
            failures.append(error)
            raise

    try:
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(run, call)
    except BaseExceptionGroup:
        if not failures:
            raise
    if failures:
        raise failures[0]
