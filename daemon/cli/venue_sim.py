"""`tradingd venue-sim`: a simulated venue as a process of its own, ours or the double of a real one, until it is stopped."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import msgspec

from core.errors import StorageError
from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.trading.clock import SystemClock
from daemon.trading.durable_file import replace_file
from daemon.venue_sim.loopback import Served, serve
from daemon.venue_sim.loopback_control import serve_control
from daemon.venue_sim.loopback_venues import FaultPlan, open_simulator, read_faults
from daemon.venue_sim.opening import OpenedVenue, open_venue
from daemon.venue_sim.shell import Shell, open_listener

LEDGER_EVERY_S = 1.0


def venue_sim(options: argparse.Namespace) -> int:
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    run = _run_double(options) if options.kind != "sim" else partial(_run, _opened(options), is_json=options.json)
    anyio.run(run, backend_options={"use_uvloop": use_uvloop})
    return ExitCode.OK


def _opened(options: argparse.Namespace) -> OpenedVenue:
    overrides = [*options.overrides, *([] if options.seed is None else [f"run.seed={options.seed}"])]
    return open_venue(
        load_config(Path(options.config), overrides),
        venue=options.venue,
        listen=options.listen,
        ledger_path=None if options.ledger is None else Path(options.ledger),
        cancel_on_disconnect=options.cancel_on_disconnect,
    )


async def _run(opened: OpenedVenue, *, is_json: bool) -> None:
    listener, address = open_listener(opened.address)

    def ready() -> None:
        where = {"venue": opened.venue, "listening": str(address)}
        print(json.dumps(where) if is_json else f"{opened.venue} listening on {address}", flush=True)

    try:
        await Shell(opened.exchange, opened.ledger, opened.clock).run(listener, ready)
    finally:
        if address.path:
            Path(address.path).unlink(missing_ok=True)
        opened.ledger.close()


def _run_double(options: argparse.Namespace) -> Callable[[], Awaitable[None]]:
    """A venue's double behind its wire protocol; every error of the command line is raised before anything listens."""
    plan = FaultPlan() if options.faults is None else read_faults(Path(options.faults))
    clock = SystemClock()
    venue = open_simulator(options.kind, seed=options.seed, plan=plan, ts=clock.now())
    ledger = None if options.ledger is None else Path(options.ledger)

    async def run() -> None:
        try:
            async with serve(venue, clock, port=options.port) as served, serve_control(served, port=options.control_port) as port:
                where = {"venue": options.kind, "listening": str(served), "control": f"{served.host}:{port}"}
                text = f"{options.kind} listening on {served}, control line on {where['control']}"
                print(json.dumps(where) if options.json else text, flush=True)
                await _until_stopped(served, ledger)
        except OSError as error:
            raise StorageError(f"port {options.port}: cannot listen there: {error.strerror or error}") from None

    return run


async def _until_stopped(served: Served, ledger: Path | None) -> None:
    """Until SIGTERM, SIGINT or a failure; the ledger's file is replaced as often as it changes, and at the end."""
    written = b""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        while served.failure is None:
            with anyio.move_on_after(LEDGER_EVERY_S):
                async for _number in signals:
                    _write_ledger(served, ledger, written)
                    return
            written = _write_ledger(served, ledger, written)


def _write_ledger(served: Served, path: Path | None, written: bytes) -> bytes:
    if path is None:
        return b""
    content = msgspec.json.encode(served.venue.ledger())
    if content != written:
        replace_file(path, content)
    return content
