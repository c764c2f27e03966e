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
from daemon.wiring import wire_backtest


def check(options: argparse.Namespace) -> int:
    """Everything that a run does before its first event: strategies made, files found, their first rows read."""
    loaded = load_config(Path(options.config), options.overrides)
    wired = wire_backtest(loaded)
    if options.json:
        print(json.dumps({"config": str(loaded.file), "ok": True, "files": [str(path) for path in wired.files]}))
    else:
        strategies = ", ".join(table.id for table in loaded.config.strategies)
        print(f"{loaded.file}: good: {strategies} on {', '.join(wired.trader.instruments)}")
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
