"""Which simulator a connection gets in a drill, its test credentials, and how much sooner than live it gives up waiting."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import ConfigError
from core.instruments import Instrument
from core.units import POW10
from daemon.config.models_connections import Connection
from daemon.venue_sim.loopback_venues import VENUES
from sim.venues.protocol import SimVenue


@dataclass(frozen=True, slots=True)
class Profile:
    """An account of a kind's simulator, and its test secrets by part: key, secret, token, and the guardian's.

    `settings`: live waits long because venues are slow, and a drill that did would take all day. What is waited for is the same.
    `reports_cash`: the simulator's ledger has all that moves money without a fill, and the adapter says all of it.
    """

    account: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reports_cash: bool = False
    book_levels: int = 0  # that the drill's strategy hears, where best prices come by a stream of their own
    pause_ms: int = 250  # between two steps of it there: it must not use up what the venue grants in a minute


BINANCE = Profile(
    "us", {"key": "us-key", "secret": "us-secret"}, {"recv_window_ms": 1_000, "request_deadline_s": 2.0}, book_levels=5
)
PROFILES: dict[str, Profile] = {
    "deribit": Profile(
        "main",
        {
            "key": "sim-main",
            "secret": "sim-main-secret",
            "guardian_key": "sim-main-guardian",
            "guardian_secret": "sim-main-guardian-secret",
        },
        {
            "answer_ms": 1_500,
            "order_valid_ms": 1_000,
            "server_clock_error_ms": 200,
            "look_interval_ms": 3_000,
            "stream_late_ms_max": 1_500,
            "silence_s": 12,
            "refused_wait_ms": 2_000,
            "cash_interval_ms": 3_000,
        },
        reports_cash=True,
    ),
    "binance-spot": BINANCE,
    "binance-usdm": BINANCE,
    "alpaca": Profile(
        "main",
        {
            "key": "PKSIMULATED00000MAIN",
            "secret": "simulated-secret-of-main",
            "guardian_key": "PKSIMULATED0GUARDIAN",
            "guardian_secret": "simulated-secret-of-guardian",
        },
        {
            "request_deadline_s": 2.0,
            "unknown_bound_s": 3.0,
            "silence_s": 10.0,
            "ping_s": 2.0,
            "activities_late_s": 5.0,
            "money_interval_s": 2.0,
        },
        reports_cash=True,
        pause_ms=600,
    ),
    "oanda": Profile(
        "101-001-1000001-001",
        {"token": "simulated-token-1"},
        {"request_deadline_s": 2.0, "look_s": 3.0, "not_found_s": 3.0},
        reports_cash=True,
    ),
    "ib": Profile(
        "DU1000001",
        {},
        {
            "answer_timeout_s": 2.0,
            "not_found_s": 3.0,
            "heartbeat_s": 2.0,
            "silence_s": 8.0,
            "request_timeout_s": 4.0,
            "reset_quiet_s": 0,  # the simulator has its reset when a drill says so, and not by the hour of the day
        },
        reports_cash=True,
        book_levels=3,
    ),
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One connection's venue for one drill."""

    connection: Connection
    venue: SimVenue
    profile: Profile
    instruments: Mapping[str, Instrument] = field(default_factory=dict)  # as configured

    @property
    def account(self) -> str:
        return self.profile.account

    def ledger(self) -> dict[str, Any]:
        """The venue's, with numbers in the configured scales, and what goes on as another order under its first name."""
        found = self.venue.ledger()
        roots = _first_names(found["orders"])
        rules = _rules_of(self.venue)
        scales = {
            key: (mine.price_scale - rules[key].price_scale, mine.qty_scale - rules[key].qty_scale)
            for key, mine in self.instruments.items()
            if key in rules
        }
        orders = [_scaled(each, scales) | {"client_order_id": roots[each["venue_order_id"]]} for each in found["orders"]]
        fills = [
            _scaled(each, scales) | {"client_order_id": roots.get(each["venue_order_id"], each["client_order_id"])}
            for each in found["fills"]
        ]
        positions = {
            account: {key: _shifted(qty, scales.get(key, (0, 0))[1]) for key, qty in held.items()}
            for account, held in found["positions"].items()
        }
        return found | {"orders": orders, "fills": fills, "positions": positions}


def _first_names(orders: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The client's id of each order, and of one that another goes on as (a stop, a replaced one) that of the first."""
    by_id = {each["venue_order_id"]: each for each in orders}
    names = {}
    for key, order in by_id.items():
        first, seen = order, {key}
        while first.get("triggered_by") in by_id and first["triggered_by"] not in seen:
            seen.add(first["triggered_by"])
            first = by_id[first["triggered_by"]]
        names[key] = first["client_order_id"]
    return names


def _rules_of(venue: Any) -> dict[str, Instrument]:
    """The simulator's own instruments, by whose scales its ledger counts."""
    engine = getattr(venue, "engine", venue)
    if hasattr(engine, "markets"):
        return {market.rules.instrument_id: market.rules for market in engine.markets.values()}
    exchange = getattr(getattr(venue, "desk", engine), "exchange", None)
    return {} if exchange is None else {each.rules.instrument_id: each.rules for each in exchange.listings.values()}


def qty_there(venue: Any, instrument: Instrument, qty: int) -> int:
    """`qty` of a configured instrument in the units by which the simulator counts."""
    rules = _rules_of(venue).get(instrument.instrument_id)
    return qty if rules is None else _shifted(qty, rules.qty_scale - instrument.qty_scale)


def _scaled(row: Mapping[str, Any], scales: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    price_shift, qty_shift = scales.get(row["instrument_id"], (0, 0))
    shifts = {"price": price_shift, "qty": qty_shift, "filled_qty": qty_shift}
    return dict(row) | {key: _shifted(row[key], shift) for key, shift in shifts.items() if row.get(key) is not None}


def _shifted(value: int, shift: int) -> int:
    """By so many decimals more (or fewer, which must lose nothing)."""
    factor = POW10[abs(shift)]
    if shift >= 0:
        return value * factor
    assert value % factor == 0, "the configuration counts coarser than the venue trades"
    return value // factor


def simulator_of(connection: Connection) -> Any:
    """The module that opens it. Raises ConfigError where there is none."""
    package = f"sim.venues.{VENUES[connection.adapter][0]}" if connection.adapter in VENUES else ""
    try:
        if package and connection.adapter in PROFILES:
            return importlib.import_module(f"{package}.opening")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(package):
            raise
    raise ConfigError(f'adapter: "{connection.adapter}" has no simulator that speaks its protocol: it cannot be drilled')


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
    mine = {each.instrument_id: each for each in instruments if each.venue == connection.venue}
    return Simulated(connection, venue, PROFILES[connection.adapter], mine)


def known_faults(connection: Connection) -> frozenset[int]:
    """What its simulator can be armed with, and our adapter gives an occasion. Raises ConfigError where there is none."""
    known = frozenset(open_simulated(connection, (), seed=0, ts=0).venue.faults.known)
    return known - _reasons(connection).keys()


def why_not_shown(connection: Connection, number: int) -> str:
    """In words, of a fault that no drill shows there."""
    return _reasons(connection).get(number, f"{connection.adapter} has no such thing, or its simulator cannot show it")


def _reasons(connection: Connection) -> Mapping[int, str]:
    reasons: Mapping[int, str] = getattr(simulator_of(connection), "NOT_SHOWN", {})
    return reasons
