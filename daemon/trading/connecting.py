"""Opens the venues at a start, and tries again while one cannot be reached: a machine may be up before its network is."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from core.errors import TransportError
from core.venue_adapter import Adapter

AGAIN_S_MIN, AGAIN_S_MAX = 0.5, 15.0


async def open_patiently(adapter: Adapter, wait_s: float, on_wait: Callable[[str], None]) -> None:
    """Connected when this returns. Raises what `open` raises, a TransportError only after `wait_s` of trying.

    `on_wait` hears why, before each pause.
    """
    until = anyio.current_time() + wait_s
    pause_s = AGAIN_S_MIN
    while True:
        try:
            return await adapter.open()
        except TransportError as error:
            if anyio.current_time() + pause_s > until:
                raise
            on_wait(str(error))
        await anyio.sleep(pause_s)
        pause_s = min(2 * pause_s, AGAIN_S_MAX)
