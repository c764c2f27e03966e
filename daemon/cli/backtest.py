"""`tradingd backtest`: load, wire, run, report."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from functools import partial
from hashlib import blake2b
from pathlib import Path

import anyio

from core.errors import ConfigError
from daemon.backtest import Backtest, Outcome
from daemon.config.effective import config_digest
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.run_number import next_run_number
from daemon.sources import input_digest
from daemon.wiring import input_files, wire_backtest
from sim.report import text_report

LARGE_BYTES = 1 << 26


def backtest(options: argparse.Namespace) -> int:
    overrides = [*options.overrides, 'run.mode="backtest"']
    if options.pace is not None:
        overrides.append(f"run.pace={json.dumps(options.pace)}")
    if options.anchor is not None:
        overrides.append(f"audit.anchor={json.dumps(str(Path(options.anchor).absolute()))}")
    if options.out == "":
        raise ConfigError("--out: a folder's name is missing")
    loaded = load_config(Path(options.config), overrides)
    outcome = anyio.run(partial(_run, loaded, options), backend_options={"use_uvloop": False})
    if options.json:
        print(json.dumps(outcome.run, allow_nan=False))
    else:
        print(text_report(outcome.run), end="")
    if outcome.exit_code is ExitCode.MISMATCH:
        print(f"tradingd: the ledger does not agree: {outcome.run['ledger_check']}", file=sys.stderr)
    elif outcome.error is not None:
        if outcome.exit_code is ExitCode.INTERNAL:
            traceback.print_exception(outcome.error)
        print(f"tradingd: {outcome.error}", file=sys.stderr)
    return outcome.exit_code


async def _run(loaded: LoadedConfig, options: argparse.Namespace) -> Outcome:
    files = input_files(loaded)
    size = sum(path.stat().st_size for path in files)
    if size >= LARGE_BYTES and not options.json:
        # Both its digest and, for recordings with two clocks, a first look at the whole of it come before the first event.
        print(f"reading {size / 1e6:,.0f} MB of market data", file=sys.stderr, flush=True)
    digest = input_digest(files)
    wired = wire_backtest(loaded)
    # Only now, so that a configuration which cannot run leaves no trace.
    folder = Path(options.out).absolute().parent if options.out else Path(loaded.config.run.runs_folder).absolute()
    run_number = next_run_number(folder)
    run_id = make_run_id(loaded, digest, run_number)
    out = Path(options.out).absolute() if options.out else folder / run_id
    run = Backtest(loaded, wired, run_id=run_id, run_number=run_number, input_digest=digest, out=out, quiet=options.json)
    return await run.run()


def make_run_id(loaded: LoadedConfig, digest: str, run_number: int) -> str:
    """name-digest-number: the digest of configuration, seed and input says which runs must have equal results."""
    mixed = blake2b(f"{config_digest(loaded)} {digest}".encode(), digest_size=4).hexdigest()
    return f"{loaded.config.run.name}-{mixed}-{run_number}"
