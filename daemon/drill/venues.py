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
from daemon.venue_sim.loopback_venues import VENUES
from sim.venues.protocol import SimVenue

ACCOUNT = "main"
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
    account: str
    secrets: Mapping[str, str]  # by part: key, secret, token, and the guardian's


def simulator_of(connection: Connection) -> Any:
    """The module that opens it. Raises ConfigError where there is none."""
    package = f"sim.venues.{VENUES[connection.adapter][0]}" if connection.adapter in VENUES else ""
    try:
        if package:
            return importlib.import_module(f"{package}.opening")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(package):
            raise
    raise ConfigError(f'adapter: "{connection.adapter}" has no simulator that speaks its protocol: it cannot be drilled')


def known_faults(connection: Connection) -> Mapping[int, str]:
    found: Mapping[int, str] = simulator_of(connection).KNOWN
    return found


def open_simulated(connection: Connection, instruments: Sequence[Instrument], *, seed: int, ts: int) -> Simulated:
    """A venue of its own for `connection`. Raises ConfigError."""
    module = simulator_of(connection)
    more: dict[str, Any] = dict(VENUES[connection.adapter][1])
    if "instruments" in inspect.signature(module.open_venue).parameters:
        more["instruments"] = tuple(each for each in instruments if each.venue == connection.venue)
    try:
        venue: SimVenue = module.open_venue(seed=seed, faults={}, ts=ts, **more)
    except ValueError as error:
        raise ConfigError(f"{connection.venue}: the simulator cannot be opened: {error}") from None
    keys: dict[str, dict[str, str]] = module.KEYS
    return Simulated(connection, venue, ACCOUNT, keys[ACCOUNT])


def deeds_of(connection: Connection) -> frozenset[str]:
    """What the simulator's `act` knows."""
    found: frozenset[str] = frozenset(getattr(simulator_of(connection), "DEEDS", ()))
    return found


def why_not_shown(connection: Connection, number: int) -> str:
    """In words, of a fault that its simulator does not know."""
    reasons: Mapping[int, str] = getattr(simulator_of(connection), "NOT_SHOWN", {})
    return reasons.get(number, f"{connection.adapter} has no such thing, or its simulator cannot show it")
