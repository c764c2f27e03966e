"""The paper daemon as the soak runs it: `python -m tests.bench.soak_daemon CONFIG [--tracemalloc]`.

It writes one JSON line for each heartbeat to stdout. With --tracemalloc memory is traced from the first minute on, and the last
line says what grew most.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec

from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.listener import Alert, Beat

TRACE_AFTER_S = 60.0
TOP = 15


class Lines:
    """A listener that writes each beat, with what a beat does not say."""

    def __init__(self) -> None:
        self.daemon: Daemon | None = None

    def write(self, **fields: Any) -> None:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def phase(self, phase: str, text: str) -> None:
        self.write(phase=phase, text=text)

    def beat(self, beat: Beat) -> None:
        assert self.daemon is not None
        session = self.daemon.session
        self.write(
            beat=msgspec.to_builtins(beat),
            depth_max=session.inbox.depth_max,
            fills=session.fills_count,
            lag_ns_max=session.lag_ns_max,
            bytes_written=session.journal.bytes_written,
        )
        # Of the time since the last line, not since the start.
        session.inbox.depth_max = 0
        session.lag_ns_max = 0

    def alert(self, alert: Alert) -> None:
        self.write(alert=msgspec.to_builtins(alert))


async def run(daemon: Daemon, lines: Lines, is_traced: bool) -> ExitCode:
    before: list[tracemalloc.Snapshot] = []

    async def trace() -> None:
        await anyio.sleep(TRACE_AFTER_S)
        tracemalloc.start(8)
        await anyio.sleep(TRACE_AFTER_S)
        before.append(tracemalloc.take_snapshot())

    async with anyio.create_task_group() as tasks:
        if is_traced:
            tasks.start_soon(trace)
        code = await daemon.run(lambda made: Control(made).answer)
        if before:
            grown = tracemalloc.take_snapshot().compare_to(before[0], "lineno")
            lines.write(
                grown=[f"{line.size_diff:+,} bytes, {line.count_diff:+,} blocks: {line.traceback}" for line in grown[:TOP]]
            )
        tasks.cancel_scope.cancel()
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--tracemalloc", action="store_true")
    arguments = parser.parse_args()
    lines = Lines()
    daemon = Daemon(load_config(arguments.config, ['run.mode="paper"']), quiet=True, listeners=(lines,))
    lines.daemon = daemon
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    return anyio.run(partial(run, daemon, lines, arguments.tracemalloc), backend_options={"use_uvloop": use_uvloop})


if __name__ == "__main__":
    sys.exit(main())
