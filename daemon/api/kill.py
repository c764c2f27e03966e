"""Stops everything for somebody who has only HTTP: sets the kill latch itself, then tells the guardian and the daemon.

The latch is seen by the daemon at its next order whatever state the daemon is in; the guardian cancels at the venues also where
the daemon hangs. Where neither answers, `tradingd kill` does what the guardian would do. Nobody is waited for longer than it
takes to know that they will not answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from core.errors import StorageError
from daemon.api.child import own_environment, python
from daemon.api.link import Link, Unanswered, Unreachable
from daemon.api.settings import ApiSettings
from daemon.kill_latch import KillLatch

LATCH_SECONDS_MAX = 1.0  # a disk that hangs: the latch is in effect by then, only not on the disk
GUARDIAN_SECONDS_MAX = 4.0
DAEMON_SECONDS_MAX = 1.0
COMMAND_SECONDS_MAX = 5.0  # then it goes on by itself
COMMAND_WAIT = "3s"


class Kill:
    def __init__(self, settings: ApiSettings, link: Link) -> None:
        self._name = settings.name
        self._path = Path(settings.kill_latch)
        self._daemon = link
        self._guardian = Link("", settings.guardian_socket)

    async def now(self, reason: str, *, flatten: bool) -> dict[str, Any]:
        """What was reached: `latched`, and what each said, null where nobody answered or was asked."""
        found: dict[str, Any] = {"latched": await self._latch(reason), "guardian": None, "daemon": None, "command": None}

        async def tell(name: str, link: Link, target: str, more: dict[str, Any], seconds_max: float) -> None:
            try:
                status, content = await link.ask("POST", target, {"reason": reason, **more}, seconds_max=seconds_max)
            except (Unreachable, Unanswered):
                return
            found[name] = {"status": status, "content": content}

        async with anyio.create_task_group() as tasks:
            more = {"flatten": flatten, "wait_s": GUARDIAN_SECONDS_MAX - 1}
            tasks.start_soon(tell, "guardian", self._guardian, "/kill", more, GUARDIAN_SECONDS_MAX)
            tasks.start_soon(tell, "daemon", self._daemon, "/halt", {}, DAEMON_SECONDS_MAX)
        if found["guardian"] is None and found["daemon"] is None:
            found["command"] = await self._command(reason, flatten=flatten)
        return found

    async def _command(self, reason: str, *, flatten: bool) -> dict[str, Any]:
        """In a session of its own: it ends a daemon that hangs, and this process may have to go with it."""
        arguments = ["kill", "--run", self._name, "--json", "--wait", COMMAND_WAIT, "--reason", reason]
        try:
            process = await anyio.open_process(
                [*python("daemon.cli.main"), *arguments, *(["--flatten"] if flatten else [])],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=own_environment(),
                start_new_session=True,
            )
        except OSError as error:
            return {"error": f"it cannot be started: {error.strerror or error}"}
        assert process.stdout is not None
        said = bytearray()
        with anyio.move_on_after(COMMAND_SECONDS_MAX):
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for part in process.stdout:
                    said += part
        try:
            return dict(json.loads(said))
        except (ValueError, TypeError):
            return {"error": "it has not ended yet, or has failed: look at the venue"}

    async def _latch(self, reason: str) -> bool:
        is_set = False

        def set_it() -> None:
            nonlocal is_set
            try:
                latch = KillLatch(self._path)
            except StorageError:
                return
            is_set = True  # `set` writes the byte that counts before anything that can fail
            try:
                latch.set(reason, os.getuid(), time.time_ns())
            except StorageError:
                pass
            finally:
                latch.close()

        if not self._path.parent.is_dir():
            return False
        with anyio.move_on_after(LATCH_SECONDS_MAX):
            await anyio.to_thread.run_sync(set_it, abandon_on_cancel=True)
        return is_set
