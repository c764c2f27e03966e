"""`tradingd paper`, `live` and `run`: load, trade by the clock, end in order."""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from functools import partial
from pathlib import Path

import anyio

from core.errors import TradingdError
from core.units import parse_duration_ns
from daemon.cli.control import summary_of
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.guardian.link import GuardianLink
from daemon.guardian.settings import guardian_settings
from daemon.notify import systemd_listeners
from daemon.promotion.gate import check_promotion
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.wiring import for_live, for_paper, for_run, goes_by_the_clock


def paper(options: argparse.Namespace) -> int:
    return _trade(for_paper(load_config(Path(options.config), options.overrides)), options)


def live(options: argparse.Namespace) -> int:
    loaded = for_live(load_config(Path(options.config), options.overrides), options.account)
    check_promotion(loaded, time.time_ns())
    return _trade(loaded, options)


def run(options: argparse.Namespace) -> int:
    """The mode that the configuration names."""
    loaded = for_run(load_config(Path(options.config), options.overrides))
    if goes_by_the_clock(loaded):
        return _trade(loaded, options)
    # It writes tables, whose library is heavy.
    from daemon.cli.backtest import backtest

    return backtest(options)


def _trade(loaded: LoadedConfig, options: argparse.Namespace) -> int:
    settings = loaded.config.daemon
    systemd = systemd_listeners(parse_duration_ns(settings.heartbeat_interval), parse_duration_ns(settings.stop_timeout))
    link = GuardianLink(guardian_settings(loaded), loaded.file, options.overrides)
    daemon = Daemon(loaded, quiet=options.json, listeners=(*systemd, link), on_seal=link.seal, refusal=link.refusal)
    link.run_id_of = lambda: daemon.run_id
    # The faster loop where it is installed; nothing else depends on it.
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    code = anyio.run(partial(_run, daemon, link), backend_options={"use_uvloop": use_uvloop})
    status = Control(daemon).status()
    if options.json:
        print(json.dumps(status))
    else:
        print(f"{status['run_id']}  ended  {summary_of(status)}")
    return code


async def _run(daemon: Daemon, link: GuardianLink) -> ExitCode:
    code, failure = ExitCode.OK, None
    try:
        await link.wait_for_guardian()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.watch, daemon)
            try:
                code = await daemon.run(lambda made: Control(made).answer)
            except TradingdError as error:
                # Raised outside the group, which would make a group of it.
                failure = error
            tasks.cancel_scope.cancel()
    finally:
        link.close()
    if failure is not None:
        raise failure
    return code
