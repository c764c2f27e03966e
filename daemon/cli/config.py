"""`tradingd config check|show|schema`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from daemon.config.effective import effective
from daemon.config.loader import load_config
from daemon.config.models import RunConfig
from daemon.config.show import to_toml
from daemon.exit_codes import ExitCode
from daemon.strategies import strategy_class
from daemon.trading.wiring import check_config
from daemon.wiring import build_trader, wire_backtest


def check(options: argparse.Namespace) -> int:
    """Everything that a run does before its first event: strategies made, files found, their first rows read."""
    loaded = load_config(Path(options.config), options.overrides)
    if loaded.config.connections:
        # Its market is elsewhere: what there is here is the Trader, and where it would connect to.
        check_config(loaded)
        instruments, files = list(build_trader(loaded, 1).instruments), []
    else:
        wired = wire_backtest(loaded)
        instruments, files = list(wired.trader.instruments), wired.files
    if options.json:
        print(json.dumps({"config": str(loaded.file), "ok": True, "files": [str(path) for path in files]}))
    else:
        strategies = ", ".join(table.id for table in loaded.config.strategies)
        print(f"{loaded.file}: good: {strategies} on {', '.join(instruments)}")
    return ExitCode.OK


def show(options: argparse.Namespace) -> int:
    loaded = load_config(Path(options.config), options.overrides)
    plain = effective(loaded)
    print(json.dumps(plain, indent=2) if options.json else to_toml(plain), end="\n" if options.json else "")
    return ExitCode.OK


def schema(options: argparse.Namespace) -> int:
    """JSON Schema (2020-12) of the whole configuration, with those of the file's strategies beside it."""
    found = RunConfig.model_json_schema(by_alias=True)
    if options.config is not None:
        loaded = load_config(Path(options.config))
        found["x-strategies"] = {
            table.class_: strategy_class(loaded, index).Params.model_json_schema()
            for index, table in enumerate(loaded.config.strategies)
        }
    print(json.dumps(found, indent=2))
    return ExitCode.OK
