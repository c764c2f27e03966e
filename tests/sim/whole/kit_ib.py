"""Interactive Brokers in a world: a future and a share, servers that are lost, and the daily reset."""

from __future__ import annotations

from typing import Any

from sim.venues.exchange.crowd import Crowd, CrowdSettings
from sim.venues.faults import Random
from sim.venues.ib.opening import ACCOUNTS
from sim.venues.ib.venue import IbVenue
from sim.virtual.agenda import Agenda
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

PORT = 7006
FUTURE, SHARE = "ESZ6.IB", "AAPL.IB"
PAUSE_NS = 700_000_000  # between two deeds of the crowd: a world is to be quick


def _prepare(simulator: IbVenue, seed: int) -> None:
    """A market for the two instruments that are traded, and for no other."""
    settings = {
        FUTURE: CrowdSettings(fair=680_000, step_ns=PAUSE_NS, depth=4),
        SHARE: CrowdSettings(fair=2_500_000, step_ns=PAUSE_NS, depth=4),
    }
    simulator.crowd = Crowd(simulator.exchange, seed, settings, simulator.crowd.next_ts() or 0 if simulator.crowd else 0)


def _fills_a_part(random: Random, ledger: Ledger) -> tuple[str, dict[str, Any]] | None:
    found = [each for each in ledger["orders"] if each["is_open"] and each["client_order_id"] and each["instrument_id"] == FUTURE]
    if not found:
        return None
    order = found[random.below(len(found))]
    left = order["qty"] - order["filled_qty"]
    return "hit", {"venue_order_id": order["venue_order_id"], "qty": 1 + random.below(left)}


def _lose_servers(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "lose_servers", {}


def _restore_servers(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "restore_servers", {"is_data_lost": not random.below(2)}


def _restart(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "restart", {}


def _break_farm(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "break_farm", {}


class IbKit(SimulatedKit):
    def act(self, random: Random) -> str:
        # A stop that waits cannot be hit; what cannot be done is not done.
        try:
            return super().act(random)
        except ValueError as error:
            return f"{self.venue}: nothing: {error}"

    def calm(self) -> None:
        super().calm()
        if self._served is not None:
            self._served.act("restore_servers", {"is_data_lost": True})


SPEC = Spec(
    kind="ib",
    venue="IB",
    package="ib",
    options={},
    port=PORT,
    account=ACCOUNTS[0],
    config=f"""
[[instruments.inline]]
instrument_id = "{FUTURE}"
class = "future"
base_currency = "ESZ6"
quote_currency = "USD"
price_scale = 2
qty_scale = 0
tick = "0.25"
lot = "1"
multiplier = 50

[[instruments.inline]]
instrument_id = "{SHARE}"
class = "equity"
base_currency = "AAPL"
quote_currency = "USD"
price_scale = 4
qty_scale = 0
tick = "0.01"
lot = "1"
price_min = "1"

[[connections]]
venue = "IB"
adapter = "ib"
address = "127.0.0.1:{PORT}"
account = "{ACCOUNTS[0]}"
settings.clock_error_max_s = 60.0
settings.reset_quiet_s = 0

[risk.instruments."{FUTURE}"]
order_qty_max = "3"
position_qty_max = "9"

[risk.instruments."{SHARE}"]
order_qty_max = "50"
position_qty_max = "200"
""",
    limits={FUTURE: 9, SHARE: 200},
    cash={"USD": "1000000"},
    secrets={},
    faults=(1, 2, 3, 9, 10, 14, 20, 22, 24, 25, 29, 34, 35, 37, 41, 42, 43, 44, 45, 49, 50, 51, 54, 55, 57, 59, 61),
    prepare=_prepare,
    deeds=(_fills_a_part, _fills_a_part, _fills_a_part, _lose_servers, _restore_servers, _restore_servers, _restart, _break_farm),
)


def ib(agenda: Agenda, seed: int) -> SimulatedKit:
    return IbKit(agenda, seed, SPEC)
