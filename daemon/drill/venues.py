"""Which simulator a connection gets in a drill, its test credentials, and how much sooner than live it gives up waiting."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from core.instruments import Instrument
from daemon.config.models_connections import Connection
from sim.venues.faults import Faults
from sim.venues.protocol import SimVenue

ACCOUNT = "main"
SIMULATORS = {
    "binance-spot": "sim.venues.binance",
    "binance-usdm": "sim.venues.binance",
    "deribit": "sim.venues.deribit",
    "alpaca": "sim.venues.alpaca",
    "oanda": "sim.venues.oanda",
    "ib": "sim.venues.ib",
    "ccxt": "sim.venues.ccxt_any",
}
# Live waits long because venues are slow; a drill that did would take all day. What is waited for is the same.
SETTINGS: dict[str, dict[str, Any]] = {
    "deribit": {
        "answer_ms": 1_500,
        "order_valid_ms": 1_000,
        "server_clock_error_ms": 200,
        "look_interval_ms": 3_000,
        "stream_late_ms_max": 1_500,
        "silence_s": 12,
        "refused_wait_ms": 2_000,
    },
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One connection's venue for one drill."""

    connection: Connection
    venue: SimVenue
    faults: Faults
    account: str
    secrets: Mapping[str, str]  # by part: key, secret, token, and the guardian's
    starting_balances: Mapping[str, int]


def simulator_of(connection: Connection) -> Any:
    """The module that opens it. Raises ConfigError where there is none."""
    package = SIMULATORS.get(connection.adapter)
    try:
        if package is not None:
            return importlib.import_module(f"{package}.opening")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(package or "-"):
            raise
    raise ConfigError(f'adapter: "{connection.adapter}" has no simulator that speaks its protocol: it cannot be drilled')


def known_faults(connection: Connection) -> Mapping[int, str]:
    found: Mapping[int, str] = simulator_of(connection).KNOWN
    return found


def open_simulated(connection: Connection, instruments: Sequence[Instrument], *, seed: int, ts: int) -> Simulated:
    """A venue of its own for `connection`. Raises ConfigError."""
    module = simulator_of(connection)
    faults = Faults(module.KNOWN, seed)
    more: dict[str, Any] = {"seed": seed, "faults": faults, "ts": ts}
    parameters = inspect.signature(module.open_venue).parameters
    if "instruments" in parameters:
        more["instruments"] = tuple(each for each in instruments if each.venue == connection.venue)
    if "kind" in parameters:
        more["kind"] = connection.adapter
    try:
        venue: SimVenue = module.open_venue(**more)
    except ValueError as error:
        raise ConfigError(f"{connection.venue}: the simulator cannot be opened: {error}") from None
    keys: dict[str, dict[str, str]] = module.KEYS
    balances: dict[str, int] = dict(venue.ledger()["balances"].get(ACCOUNT, {}))
    return Simulated(connection, venue, faults, ACCOUNT, keys[ACCOUNT], balances)
