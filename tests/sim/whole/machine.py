"""The machine that simulated processes run on: its clocks, its entropy, its threads and its sockets, all from the seed.

`Machine.running()` puts them in the place of the real ones for as long as a simulation lasts. What is replaced is the outer
shell of the daemon and nothing else: the control socket, the log file, threads beside the loop.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import anyio.to_thread
import structlog

from adapters.http.io import HttpTransport
from sim.virtual.agenda import NS_PER_S, Agenda

BOOT_NS = 3_600 * NS_PER_S  # since the machine was started


class Machine:
    """`step_clock` moves the wall clock and nothing else."""

    def __init__(self, agenda: Agenda, seed: int) -> None:
        self.agenda = agenda
        self.entropy = random.Random(seed)
        self.wall_offset_ns = 0

    def step_clock(self, ns: int) -> None:
        self.wall_offset_ns += ns

    def wall_ns(self) -> int:
        return self.agenda.ns + self.wall_offset_ns

    def monotonic_ns(self) -> int:
        return self.agenda.ns - self.agenda.start_ns + BOOT_NS

    @contextmanager
    def running(self, *, log: Callable[[str], None] | None = None) -> Iterator[None]:
        """`log` hears of the daemon's own log lines; without it they are not even made."""
        with ExitStack() as stack:
            for target, replacement in self._replacements().items():
                stack.enter_context(patch(target, replacement))
            stack.enter_context(patch.dict(os.environ, {"TRADINGD_RUNTIME_DIR": "/nowhere"}))
            # Bound when the module was loaded, to the real ones.
            clocks = {"monotonic_ns": self.monotonic_ns, "wall_ns": self.wall_ns}
            stack.enter_context(patch.dict(HttpTransport.__init__.__kwdefaults__, clocks))
            stack.callback(structlog.reset_defaults)
            # A process that is killed before its tasks have begun leaves coroutines behind that nobody awaits.
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
            _configure_log(log)
            yield

    def _replacements(self) -> dict[str, Any]:
        return {
            "time.time_ns": self.wall_ns,
            "time.time": lambda: self.wall_ns() / NS_PER_S,
            "time.monotonic_ns": self.monotonic_ns,
            "time.monotonic": lambda: self.monotonic_ns() / NS_PER_S,
            "os.urandom": self.entropy.randbytes,
            "secrets.token_bytes": lambda count=32: self.entropy.randbytes(count),
            "secrets.token_hex": lambda count=32: self.entropy.randbytes(count).hex(),
            "secrets.randbits": self.entropy.getrandbits,
            "anyio.to_thread.run_sync": _run_here,
            "daemon.trading.daemon.open_listener": _no_listener,
            "daemon.trading.daemon.serve": _serve_nobody,
            "daemon.trading.daemon.prepare_folder": lambda: None,
            "daemon.guardian.switches._say": lambda _text: None,
            "daemon.trading.daemon.start_logging": lambda _path, **_how: _NoLogFile(),
        }


class _NoLogFile:
    def abandon(self) -> None:
        return


def _configure_log(log: Callable[[str], None] | None) -> None:
    if log is None:
        silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(processors=[_drop], wrapper_class=silent, cache_logger_on_first_use=False)
        return

    def tell(_logger: Any, level: str, event: Any) -> str:
        fields = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
        log(f"{level:<8} {event['event']} {fields}")
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, tell], cache_logger_on_first_use=False)


def _drop(_logger: Any, _level: str, _event: Any) -> str:
    raise structlog.DropEvent


async def _run_here(function: Callable[..., Any], *arguments: Any, **_how: Any) -> Any:
    """In place of a thread."""
    await anyio.sleep(0)
    return function(*arguments)


async def _no_listener(_path: Path) -> None:
    return


async def _serve_nobody(_listener: Any, _handler: Any) -> None:
    await anyio.sleep_forever()
