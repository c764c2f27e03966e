"""`tradingd venue-sim sim`: the simulated venue of a configuration as a process of its own, until it is stopped."""

from __future__ import annotations

import argparse
import importlib.util
import json
from functools import partial
from pathlib import Path

import anyio

from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode
from daemon.venue_sim.opening import OpenedVenue, open_venue
from daemon.venue_sim.shell import Shell, open_listener


def venue_sim(options: argparse.Namespace) -> int:
    overrides = [*options.overrides, *([] if options.seed is None else [f"run.seed={options.seed}"])]
    opened = open_venue(
        load_config(Path(options.config), overrides),
        venue=options.venue,
        listen=options.listen,
        ledger_path=None if options.ledger is None else Path(options.ledger),
        cancel_on_disconnect=options.cancel_on_disconnect,
    )
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    anyio.run(partial(_run, opened, is_json=options.json), backend_options={"use_uvloop": use_uvloop})
    return ExitCode.OK


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
