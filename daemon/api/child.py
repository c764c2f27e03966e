"""Starts the API's process beside the daemon and starts it again when it ends, ever more slowly. Trading never waits for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import anyio
import msgspec
import structlog
from anyio.abc import Process

from daemon.api.settings import ApiSettings

LOG_FILE = "api.log"
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 30.0
LASTING_S = 60.0  # one that has run so long did start
END_SECONDS_MAX = 1.0
_ROOT = Path(__file__).resolve().parents[2]


def python(module: str) -> list[str]:
    """The command line of one of our own modules, with nothing imported from where this process happens to stand."""
    return [sys.executable, "-P", "-m", module]


def own_environment() -> dict[str, str]:
    """Ours, and our own packages before any others."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))}


class ApiChild:
    """`alert` is called with a sentence when it has ended by itself."""

    def __init__(self, settings: ApiSettings, log_folder: Path, alert: Callable[[str], None]) -> None:
        self._settings = settings
        self._log_path = log_folder / LOG_FILE
        self._alert = alert
        self._log = structlog.get_logger("api")

    async def run(self) -> None:
        """Until cancelled; the process has ended when this has."""
        backoff_s = BACKOFF_S_MIN
        while True:
            began_s = anyio.current_time()
            try:
                ended = await self._once()
            except OSError as error:
                ended = f"it cannot be started: {error.strerror or error}"
            if anyio.current_time() - began_s > LASTING_S:
                backoff_s = BACKOFF_S_MIN
            if backoff_s == BACKOFF_S_MIN:
                self._alert(f"the API has ended: {ended}; see {self._log_path}")
            await anyio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _once(self) -> str:
        with self._log_path.open("ab") as log:
            process = await self._start(log)
        try:
            assert process.stdin is not None
            # Where it has ended already, its exit code says so.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.send(msgspec.json.encode(self._settings) + b"\n")
            self._log.info("api started", pid=process.pid, port=self._settings.port)
            return f"exit code {await process.wait()}"
        finally:
            await _end(process)

    async def _start(self, log: BinaryIO) -> Process:
        # In a session of its own: a Ctrl-C on the daemon's terminal is the daemon's to answer.
        return await anyio.open_process(
            python("daemon.api.process"), stdout=log, stderr=log, env=own_environment(), start_new_session=True
        )


async def _end(process: Process) -> None:
    """In order where it goes quickly."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with anyio.move_on_after(END_SECONDS_MAX):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await process.aclose()
