"""`tradingd record`: connects to a configuration's venues without trading, and keeps every frame until it is stopped."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from core.errors import ConfigError, TradingdError
from core.events import AnyEvent
from core.units import NS_PER_SECOND, parse_duration_ns
from core.venue_adapter import Adapter, VenueState
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.frames.writer import FrameRecorder
from daemon.trading.clock import SystemClock
from daemon.trading.connections import check_connections, open_watching

PROGRESS_EVERY_S = 1.0
FRAMES_BYTES_MAX = 1 << 40
BOOK_LEVELS = 10  # of a book; what a venue sends beyond is kept as well


class Discard:
    """A sink for those who only want the frames."""

    def offer(self, _event: AnyEvent) -> bool:
        return True

    async def put(self, _event: AnyEvent) -> None:
        return


def record(options: argparse.Namespace) -> int:
    loaded = load_config(Path(options.config), options.overrides)
    if not loaded.config.connections:
        raise ConfigError(f"{loaded.file}: connections: there is none to record")
    check_connections(loaded)
    duration_s = None if options.duration is None else parse_duration_ns(options.duration) / NS_PER_SECOND
    name = f"{loaded.config.run.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = Path("recordings") / name if options.out is None else Path(options.out)
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    recorder = anyio.run(
        partial(_record, loaded, folder, duration_s, is_quiet=options.json), backend_options={"use_uvloop": use_uvloop}
    )
    if options.json:
        print(json.dumps(_result(recorder)))
    else:
        print(f"{recorder.folder}  {_line(recorder)}")
    return ExitCode.OK


async def _record(loaded: LoadedConfig, folder: Path, duration_s: float | None, *, is_quiet: bool) -> FrameRecorder:
    """Raises TransportError, RefusedError or VenueProtocolError where a venue cannot be reached at the start."""

    def trouble(text: str) -> None:
        print(f"tradingd: {text}", file=sys.stderr)

    instruments = [table.instrument_id for table in loaded.instruments]
    recorder = FrameRecorder(folder, bytes_max=FRAMES_BYTES_MAX, on_trouble=trouble)
    adapters = open_watching(loaded, SystemClock(), recorder.of, trouble, dict.fromkeys(instruments, BOOK_LEVELS))
    try:
        for adapter in adapters.values():
            await adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recorder.run)
            if not is_quiet:
                tasks.start_soon(_show_progress, recorder)
            for adapter in adapters.values():
                tasks.start_soon(_hear, adapter)
            with anyio.move_on_after(duration_s):
                await _stopped()
            tasks.cancel_scope.cancel()
    except TradingdError:
        with suppress(OSError):
            # Nothing was recorded: no folder is left behind.
            folder.rmdir()
        raise
    finally:
        with anyio.CancelScope(shield=True):
            for adapter in adapters.values():
                await adapter.close()
            await recorder.close()
    return recorder


async def _hear(adapter: Adapter) -> None:
    await adapter.run(Discard(), _nothing)


def _nothing(_state: VenueState) -> None:
    return


async def _stopped() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _number in signals:
            return


async def _show_progress(recorder: FrameRecorder) -> None:
    is_terminal = sys.stderr.isatty()
    while True:
        await anyio.sleep(PROGRESS_EVERY_S)
        print(
            f"\r{_line(recorder)}" if is_terminal else _line(recorder),
            end="" if is_terminal else "\n",
            file=sys.stderr,
            flush=True,
        )


def _line(recorder: FrameRecorder) -> str:
    lost = f"  {recorder.lost:,} LOST" if recorder.lost else ""
    return f"{recorder.frames:,} frames  {recorder.bytes / 1e6:,.1f} MB{lost}"


def _result(recorder: FrameRecorder) -> dict[str, Any]:
    return {"folder": str(recorder.folder), "frames": recorder.frames, "bytes": recorder.bytes, "lost": recorder.lost}
