"""Deribit in a world: an inverse and a linear perpetual."""

from __future__ import annotations

from typing import Any

from sim.venues.deribit.crowd import Crowd
from sim.venues.deribit.venue import DeribitVenue
from sim.venues.faults import Random
from sim.virtual.agenda import Agenda
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

PORT = 7002
INVERSE, LINEAR = "BTC-PERPETUAL.DERIBIT", "ETH_USDC-PERPETUAL.DERIBIT"
PAUSE_NS = 300_000_000  # more than the crowd of a rehearsal takes between two deeds: a world is to be quick


class SlowCrowd(Crowd):
    def step(self, venue: DeribitVenue, ts: int) -> None:
        super().step(venue, ts)
        self.next_ts += PAUSE_NS


def _prepare(simulator: DeribitVenue, seed: int) -> None:
    """A market for the two instruments that are traded, and for no other."""
    for name, market in simulator.markets.items():
        if f"{name}.DERIBIT" not in (INVERSE, LINEAR):
            market.mark = 0
    simulator.market_crowd = SlowCrowd(seed, simulator.now)


def _funding(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """Of the session: it is money once that is settled."""
    return "fund", {"instrument_id": (INVERSE, LINEAR)[random.below(2)], "rate_ppb": random.below(2_000_000) - 1_000_000}


def _session_ends(_random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return "session", {}


def _money_comes_or_goes(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    kind = ("deposit", "withdrawal", "transfer", "correction")[random.below(4)]
    amount = random.below(2_000) - 1_000
    return "adjust", {"account": "main", "currency": ("BTC", "USDC")[random.below(2)], "amount": amount, "type": kind}


SPEC = Spec(
    kind="deribit",
    venue="DERIBIT",
    package="deribit",
    options={},
    port=PORT,
    account="main",
    config=f"""
[[instruments.inline]]
instrument_id = "{INVERSE}"
class = "perpetual"
base_currency = "BTC"
quote_currency = "USD"
inverse = true
price_scale = 2
qty_scale = 0
tick = "0.50"
lot = "10"
qty_min = "10"
taker_fee = "0.05%"

[[instruments.inline]]
instrument_id = "{LINEAR}"
class = "perpetual"
base_currency = "ETH"
quote_currency = "USDC"
price_scale = 2
qty_scale = 3
tick = "0.05"
lot = "0.001"
qty_min = "0.001"
taker_fee = "0.05%"

[[connections]]
venue = "DERIBIT"
adapter = "deribit"
address = "127.0.0.1:{PORT}"
key = "deribit-key"
secret = "deribit-secret"

[risk.instruments."{INVERSE}"]
order_qty_max = "100"
position_qty_max = "400"

[risk.instruments."{LINEAR}"]
order_qty_max = "0.010"
position_qty_max = "0.040"
""",
    limits={INVERSE: 400, LINEAR: 40},
    cash={"BTC": "10", "USDC": "1000000"},
    secrets={"DERIBIT_KEY": "sim-main", "DERIBIT_SECRET": "sim-main-secret"},
    faults=(
        1,
        2,
        3,
        6,
        9,
        10,
        14,
        15,
        20,
        22,
        23,
        24,
        25,
        29,
        32,
        34,
        35,
        36,
        37,
        39,
        40,
        41,
        42,
        43,
        44,
        45,
        46,
        47,
        50,
        51,
        53,
        54,
        55,
        56,
        59,
        61,
    ),
    deeds=(_funding, _funding, _session_ends, _money_comes_or_goes),
    prepare=_prepare,
)


def deribit(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SPEC)
