"""OANDA in a world: two pairs in dollars, and a hand that trades beside the daemon."""

from __future__ import annotations

from typing import Any

from sim.venues.faults import Random
from sim.venues.oanda.opening import ACCOUNTS
from sim.venues.oanda.venue import OandaVenue
from sim.virtual.agenda import Agenda
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

PORT = 7004
EURO, POUND = "EUR_USD.OANDA", "GBP_USD.OANDA"
ACCOUNT, TOKEN = next(iter(ACCOUNTS.items()))


def _market_moves(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """By up to twenty points: what rests is reached."""
    return "mid", {"instrument": "EUR_USD", "price": 115_826 + random.below(41) - 20}


def _fills_a_part(random: Random, ledger: Ledger) -> tuple[str, dict[str, Any]] | None:
    """The venue fills a resting order in part: the rest goes on under another number."""
    found = [order for order in ledger["orders"] if order["is_open"] and order["client_order_id"] and order["qty"] > 1]
    if not found:
        return None
    order = found[random.below(len(found))]
    left = order["qty"] - order["filled_qty"]
    if left < 2:
        return None
    return "hit", {"account": ACCOUNT, "client_id": order["client_order_id"], "units": 1 + random.below(left - 1)}


def _cut(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "cut", {"account": ACCOUNT}


def _day_ends(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """Positions pay or earn a day's interest; nothing happens where trades pay for each second."""
    return "financing", {}


def _money_comes_or_goes(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    name = ("transfer", "adjustment")[random.below(2)]
    return name, {"account": ACCOUNT, "amount": (random.below(2_000) - 1_000) * 10**5}


def _dividend(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "dividend", {"account": ACCOUNT, "instrument": "EUR_USD", "amount": (random.below(200) - 100) * 10**4}


def _prepare(simulator: OandaVenue, seed: int) -> None:
    """In one of three worlds trades pay for each second that they were open."""
    simulator.engine.by_second = seed % 3 == 0


SPEC = Spec(
    kind="oanda",
    venue="OANDA",
    package="oanda",
    options={},
    port=PORT,
    account=ACCOUNT,
    config=f"""
[[instruments.inline]]
instrument_id = "{EURO}"
class = "fx"
base_currency = "EUR"
quote_currency = "USD"
price_scale = 5
qty_scale = 0
tick = "0.00001"
lot = "1"
qty_max = "1000000"
price_max = "10"

[[instruments.inline]]
instrument_id = "{POUND}"
class = "fx"
base_currency = "GBP"
quote_currency = "USD"
price_scale = 5
qty_scale = 0
tick = "0.00001"
lot = "1"
qty_max = "1000000"
price_max = "10"

[[connections]]
venue = "OANDA"
adapter = "oanda"
address = "127.0.0.1:{PORT}"
account = "{ACCOUNT}"
token = "oanda-token"
settings.clock_error_s_max = 60.0

[risk.instruments."{EURO}"]
order_qty_max = "5000"
position_qty_max = "20000"

[risk.instruments."{POUND}"]
order_qty_max = "5000"
position_qty_max = "20000"
""",
    limits={EURO: 20_000, POUND: 20_000},
    cash={"USD": "100000"},
    secrets={"OANDA_TOKEN": TOKEN},
    faults=(1, 2, 3, 4, 5, 8, 9, 10, 11, 14, 15, 20, 22, 24, 35, 37, 39, 40, 41, 42, 43, 49, 50, 51, 54, 55, 56, 62),
    deeds=(_market_moves, _fills_a_part, _cut, _day_ends, _money_comes_or_goes, _dividend),
    prepare=_prepare,
)


def oanda(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SPEC)
