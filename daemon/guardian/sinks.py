"""The places that alerts go to: standard error, a file, a webhook, a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from daemon.guardian.alerts import SinkError, as_line
from daemon.trading.listener import Severity

OUTPUT_CHARACTERS_MAX = 200  # of what a failing command says
STATUS_OK = range(200, 300)
FILE_MODE = 0o640
# What a command gets of our environment: nothing that could be a secret.
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")


class ConsoleSink:
    """Every alert is a line on standard error, where the service's log takes it."""

    name = "stderr"
    lowest = Severity.INFO

    async def send(self, content: dict[str, Any]) -> None:
        line = f"{content['time'][11:19]} {content['severity']:<8} {content['kind']}: {content['text']}\n"
        try:
            # In a thread: whoever should read it may not.
            await anyio.to_thread.run_sync(os.write, sys.stderr.fileno(), line.encode(), abandon_on_cancel=True)
        except OSError as error:
            raise SinkError(f"standard error: {error.strerror or error}") from error


class FileSink:
    """Opened for each alert: a file that was moved away or deleted is made anew."""

    name = "log"

    def __init__(self, path: Path, lowest: Severity) -> None:
        self.lowest = lowest
        self._path = path

    async def send(self, content: dict[str, Any]) -> None:
        try:
            # In a thread: a disk that hangs must not hold the guardian up.
            await anyio.to_thread.run_sync(self._append, as_line(content), abandon_on_cancel=True)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror or error}") from error

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("the line was not written whole")
        finally:
            os.close(descriptor)


class WebhookSink:
    """Posts JSON. The URL is a secret: no message names it."""

    name = "webhook"

    def __init__(self, url: str, lowest: Severity, timeout_s: float) -> None:
        self.lowest = lowest
        self._url = url
        self._timeout_s = timeout_s
        # Loaded where there is a webhook, and then before anything happens: it takes long, and the loop would stand still.
        import httpx

        self._failures = (httpx.HTTPError, httpx.InvalidURL)
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def send(self, content: dict[str, Any]) -> None:
        status = None
        with anyio.move_on_after(self._timeout_s):
            try:
                response = await self._client.post(
                    self._url, content=as_line(content), headers={"Content-Type": "application/json"}
                )
                status = response.status_code
            except self._failures as error:
                # Its own words may hold the URL.
                raise SinkError(f"the webhook: {type(error).__name__}") from None
        if status is None:
            raise SinkError(f"the webhook did not answer within {self._timeout_s:g} s")
        if status not in STATUS_OK:
            raise SinkError(f"the webhook answered {status}")


class CommandSink:
    """Runs a program; the alert is JSON on its standard input. It and all it started are ended at the timeout."""

    name = "command"

    def __init__(self, command: Sequence[str], lowest: Severity, timeout_s: float) -> None:
        self.lowest = lowest
        self._command = list(command)
        self._timeout_s = timeout_s

    async def send(self, content: dict[str, Any]) -> None:
        try:
            process = await anyio.open_process(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SinkError(f"{self._command[0]}: cannot be started: {error}") from error
        with suppress(OSError):
            # The guardian's own precedence is not for what it starts.
            os.setpriority(os.PRIO_PROCESS, process.pid, 0)
        said, is_late = b"", True
        async with process:
            try:
                with anyio.move_on_after(self._timeout_s):
                    said = await _feed(process, as_line(content))
                    await process.wait()
                    is_late = False
            finally:
                if is_late:
                    _end_group(process.pid)
        if is_late:
            raise SinkError(f"{self._command[0]}: did not end within {self._timeout_s:g} s, and was killed")
        if process.returncode != 0:
            words = said.decode("utf-8", "replace")
            raise SinkError(f"{self._command[0]}: ended with {process.returncode}: {words}")


async def _feed(process: anyio.abc.Process, data: bytes) -> bytes:
    """Give it the alert; returns the beginning of what it complains of."""
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        await process.stdin.send(data)
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        # It does not read: its exit code says whether that is well.
        return b""
    said = b""
    async for part in process.stderr:
        # Read to the end, so that it never waits for us; kept only so far.
        said = (said + part)[:OUTPUT_CHARACTERS_MAX]
    return said


def _end_group(pid: int) -> None:
    """It, and what it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
