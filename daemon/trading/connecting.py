"""Tries again while a venue cannot be reached at a start: a machine may be up before its network is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from core.errors import TransportError

T = TypeVar("T")

AGAIN_S_MIN, AGAIN_S_MAX = 0.5, 15.0


async def patiently(attempt: Callable[[], Awaitable[T]], wait_s: float, on_wait: Callable[[str], None]) -> T:
    """What `attempt` returns. Raises what it raises, a TransportError only after `wait_s` of trying.

    `on_wait` hears why, before each pause.
    """
    until = anyio.current_time() + wait_s
    pause_s = AGAIN_S_MIN
    while True:
        try:
            return await attempt()
        except TransportError as error:
            if anyio.current_time() + pause_s > until:
                raise
            on_wait(str(error))
        await anyio.sleep(pause_s)
        pause_s = min(2 * pause_s, AGAIN_S_MAX)
