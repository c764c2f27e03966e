"""Which simulator a connection gets in a drill, and what that can show."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import ConfigError
from core.instruments import Instrument
from daemon.config.models_connections import Connection
from daemon.drill.names import names_of, rules_of
from daemon.drill.profiles import CCXT_KINDS, PROFILES, kind_of
from daemon.drill.simulated import Simulated
from daemon.venue_sim.loopback_venues import VENUES
from sim.venues.protocol import SimVenue


def simulator_of(connection: Connection) -> Any:
    """The module that opens it. Raises ConfigError where there is none."""
    kind = kind_of(connection)
    package = f"sim.venues.{VENUES[_simulator(kind)][0]}" if kind in PROFILES else ""
    try:
        if package:
            return importlib.import_module(f"{package}.opening")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(package):
            raise
    but = f", but for exchange = {' and '.join(map(repr, CCXT_KINDS))}" if connection.adapter == "ccxt" else ""
    raise ConfigError(f'adapter: "{connection.adapter}" has no simulator that speaks its protocol{but}: it cannot be drilled')


def _simulator(kind: str) -> str:
    return PROFILES[kind].simulator or kind


def open_simulated(connection: Connection, instruments: Sequence[Instrument], *, seed: int, ts: int) -> Simulated:
    """A venue of its own for `connection`. Raises ConfigError."""
    module = simulator_of(connection)
    kind = kind_of(connection)
    more: dict[str, Any] = dict(VENUES[_simulator(kind)][1])
    if "instruments" in inspect.signature(module.open_venue).parameters:
        more["instruments"] = tuple(each for each in instruments if each.venue == connection.venue)
    try:
        venue: SimVenue = module.open_venue(seed=seed, faults={}, ts=ts, **more)
    except ValueError as error:
        raise ConfigError(f"{connection.venue}: the simulator cannot be opened: {error}") from None
    mine = {each.instrument_id: each for each in instruments if each.venue == connection.venue}
    return Simulated(connection, venue, PROFILES[kind], mine, names_of(rules_of(venue), mine.values()))


def known_faults(connection: Connection) -> frozenset[int]:
    """What its simulator can be armed with, and our adapter gives an occasion. Raises ConfigError where there is none."""
    known = frozenset(open_simulated(connection, (), seed=0, ts=0).venue.faults.known)
    return known - _reasons(connection).keys()


def why_not_shown(connection: Connection, number: int) -> str:
    """In words, of a fault that no drill shows there."""
    return _reasons(connection).get(number, f"{kind_of(connection)} has no such thing, or its simulator cannot show it")


def _reasons(connection: Connection) -> Mapping[int, str]:
    reasons: Mapping[int, str] = getattr(simulator_of(connection), "NOT_SHOWN", {})
    return {**reasons, **PROFILES[kind_of(connection)].not_shown}
