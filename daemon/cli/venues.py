"""`tradingd venues [CONFIG]`: what can be connected to, and what a configuration connects to; nothing is asked of any venue."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

from core.errors import TradingdError
from daemon.config.loader import LoadedConfig, load_config
from daemon.config.models_connections import Connection
from daemon.exit_codes import ExitCode
from daemon.secrets import find_secret
from daemon.trading.connections import check_connections
from daemon.trading.venue_opening import PACKAGES, secret_names
from daemon.wiring import is_execution_simulated

# By the configuration's word: what it is, and the packages that it needs beside tradingd's own.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sim": ("tradingd's own simulated venue, in a process of its own", ()),
    "binance-spot": ("Binance spot", ("ccxt", "websockets")),
    "binance-usdm": ("Binance USD-M futures", ("ccxt", "websockets")),
    "deribit": ("Deribit: perpetuals, futures, options", ("websockets",)),
    "alpaca": ("Alpaca: US equities", ("alpaca", "websockets")),
    "oanda": ("OANDA v20: FX and CFDs", ("oandapyV20",)),
    "ib": ("Interactive Brokers through TWS or the gateway", ("ib_async",)),
    "ccxt": ("any other exchange of ccxt, by polling", ("ccxt",)),
}


def venues(options: argparse.Namespace) -> int:
    found = _kinds() if options.config is None else _connections(load_config(Path(options.config), options.overrides))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(map(_line, found)) or "it connects to no venue: its simulated one is inside the daemon")
    return ExitCode.OK


def _kinds() -> list[dict[str, Any]]:
    assert KINDS.keys() == PACKAGES.keys()
    rows = []
    for name, (text, packages) in KINDS.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        rows.append({"adapter": name, "what": text, "missing_packages": missing})
    return rows


def _connections(loaded: LoadedConfig) -> list[dict[str, Any]]:
    """Raises ConfigError for a connection that cannot be used."""
    check_connections(loaded)
    execution = "simulated" if is_execution_simulated(loaded) else "venue"
    return [
        {
            "venue": connection.venue,
            "adapter": connection.adapter,
            "environment": connection.environment,
            "execution": execution,
            "address": connection.address,
            "account": connection.account,
            "instruments": [
                each.instrument_id for each in loaded.instruments if each.instrument_id.endswith(f".{connection.venue}")
            ],
            "missing_secrets": _missing(connection),
        }
        for connection in loaded.config.connections
    ]


def _missing(connection: Connection) -> list[str]:
    missing = []
    for name in dict.fromkeys(secret_names(connection)):
        try:
            is_there = find_secret(name) is not None
        except TradingdError:
            is_there = False
        if not is_there:
            missing.append(name)
    return missing


def _line(row: dict[str, Any]) -> str:
    if "what" in row:
        missing = row["missing_packages"]
        tail = f"  (not installed: {', '.join(missing)}; pip install 'tradingd[venues]')" if missing else ""
        return f"{row['adapter']:14} {row['what']}{tail}"
    where = row["address"] or "the venue's own address"
    lines = [
        f"{row['venue']}: {row['adapter']}, {row['environment']}, account {row['account']}, at {where}; orders meet the "
        f"{'simulated venue here' if row['execution'] == 'simulated' else 'venue'}",
        f"  {', '.join(row['instruments'])}",
    ]
    if row["missing_secrets"]:
        lines.append(f"  no secret called {', '.join(row['missing_secrets'])} is to be found (docs/CONFIG.md)")
    return "\n".join(lines)
