"""One connection's venue in a drill, seen as the configuration names and counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.instruments import Instrument
from core.units import POW10
from daemon.config.models_connections import Connection
from daemon.drill.names import renamed, rules_of
from daemon.drill.profiles import Profile
from sim.venues.protocol import SimVenue


@dataclass(frozen=True, slots=True)
class Simulated:
    """One connection's venue for one drill."""

    connection: Connection
    venue: SimVenue
    profile: Profile
    instruments: Mapping[str, Instrument] = field(default_factory=dict)  # as configured
    names: Mapping[str, str] = field(default_factory=dict)  # the configured id of each of the simulator's own

    @property
    def account(self) -> str:
        return self.profile.account

    def ledger(self) -> dict[str, Any]:
        """The venue's, with ids and numbers as configured, and what goes on as another order under its first name."""
        found = renamed(self.venue.ledger(), self.names)
        roots = _first_names(found["orders"])
        rules = {self.names.get(key, key): each for key, each in rules_of(self.venue).items()}
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

    def id_there(self, instrument: Instrument) -> str:
        """The simulator's own name of a configured instrument."""
        return next((there for there, here in self.names.items() if here == instrument.instrument_id), instrument.instrument_id)

    def symbol_there(self, instrument: Instrument) -> str:
        """As the venue's own interface calls it."""
        given = "" if self.profile.simulator else self.connection.symbols.get(instrument.instrument_id, "")
        return given or self.id_there(instrument).rpartition(".")[0].removesuffix("-PERP")

    def qty_there(self, instrument: Instrument, qty: int) -> int:
        """`qty` of a configured instrument in the units by which the simulator counts."""
        rules = rules_of(self.venue).get(self.id_there(instrument))
        return qty if rules is None else _shifted(qty, rules.qty_scale - instrument.qty_scale)


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
