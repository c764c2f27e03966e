"""Binance in a world, spot or USDⓈ-M futures: two symbols each."""

from __future__ import annotations

from typing import Any

import msgspec

from sim.venues.binance.markets import Product
from sim.venues.faults import Random
from sim.virtual.agenda import Agenda
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

ACCOUNT = "us"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
STEP_NS = 1_000_000_000
COINS_OF = 4  # one seed of so many has coins of its own, and may sell what it never bought
# A minute for the request budget, and the income history asked once more.
REST_NS = 65_000_000_000
FAULTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 20, 22, 23, 24, 25, 26, 27, 29, 32, 34, 35, 37, 39, 40, 41, 42, 43)
FAULTS_OF_DATA = (49, 50, 51, 53, 54, 55, 56, 59, 61, 62)


def _somebody_trades(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    side = ("BUY", "SELL")[random.below(2)]
    return "trade", {"symbol": SYMBOLS[random.below(2)], "side": side, "qty": 1 + random.below(2_000)}


def _streams_end(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    return ("shutdown", "cut")[random.below(2)], {}


def _money_moves(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    if random.below(4):
        return "fund", {"symbol": SYMBOLS[random.below(2)], "rate_ppb": random.below(600_000) - 300_000}
    return "deposit", {"currency": "USDT", "amount": 1 + random.below(10**9)}


def _name_executions(ledger: Ledger) -> None:
    """A trade's number is one of its symbol's, and both sides of it may be ours."""
    for fill in ledger["fills"]:
        symbol = fill["instrument_id"].partition(".")[0].removesuffix("-PERP")
        fill["trade_id"] = f"{symbol}-{fill['trade_id']}-{fill['venue_order_id']}"


def _prepare(simulator: Any, seed: int) -> None:
    """A slower crowd than that of a rehearsal: a world is to be quick. Spot: most accounts have no coins but what they buy."""
    if simulator.desk.product is Product.SPOT and seed % COINS_OF:
        simulator.desk.exchange.accounts[ACCOUNT].balances.update(BTC=0, ETH=0)
    for market in simulator.desk.crowd._markets:
        market.settings = msgspec.structs.replace(market.settings, step_ns=STEP_NS)


def _config(kind: str, port: int, instruments: str, limits: dict[str, str]) -> str:
    bounds = "".join(
        f'\n[risk.instruments."{key}"]\norder_qty_max = "1"\nposition_qty_max = "{most}"\n' for key, most in limits.items()
    )
    return f"""{instruments}
[[connections]]
venue = "BINANCE"
adapter = "{kind}"
address = "127.0.0.1:{port}"
key = "binance-key"
secret = "binance-secret"
{bounds}"""


def _instrument(key: str, kind: str, price_scale: int, tick: str, qty_scale: int, lot: str) -> str:
    maker, taker = ("0.1%", "0.1%") if kind == "spot" else ("0.02%", "0.05%")
    return f"""
[[instruments.inline]]
instrument_id = "{key}"
class = "{kind}"
base_currency = "{key[:3]}"
quote_currency = "USDT"
price_scale = {price_scale}
qty_scale = {qty_scale}
tick = "{tick}"
lot = "{lot}"
qty_max = "9000"
price_max = "10000000"
maker_fee = "{maker}"
taker_fee = "{taker}"
"""


SPOT = Spec(
    kind="binance-spot",
    venue="BINANCE",
    package="binance",
    options={"product": "spot"},
    port=7005,
    account=ACCOUNT,
    config=_config(
        "binance-spot",
        7005,
        _instrument("BTCUSDT.BINANCE", "spot", 2, "0.01", 5, "0.00001")
        + _instrument("ETHUSDT.BINANCE", "spot", 2, "0.01", 4, "0.0001"),
        {"BTCUSDT.BINANCE": "0.01", "ETHUSDT.BINANCE": "0.2"},
    ),
    limits={"BTCUSDT.BINANCE": 1_000, "ETHUSDT.BINANCE": 2_000},
    lots={"BTCUSDT.BINANCE": 40, "ETHUSDT.BINANCE": 60},
    cash={"USDT": "100000"},
    secrets={"BINANCE_KEY": "us-key", "BINANCE_SECRET": "us-secret"},
    faults=(*FAULTS, *FAULTS_OF_DATA),
    deeds=(_somebody_trades, _streams_end),
    name_executions=_name_executions,
    rest_ns=REST_NS,
    prepare=_prepare,
)
USDM = Spec(
    kind="binance-usdm",
    venue="BINANCE",
    package="binance",
    options={"product": "usdm"},
    port=7008,
    account=ACCOUNT,
    config=_config(
        "binance-usdm",
        7008,
        _instrument("BTCUSDT-PERP.BINANCE", "perpetual", 1, "0.1", 3, "0.001")
        + _instrument("ETHUSDT-PERP.BINANCE", "perpetual", 2, "0.01", 3, "0.001"),
        {"BTCUSDT-PERP.BINANCE": "0.04", "ETHUSDT-PERP.BINANCE": "0.4"},
    ),
    limits={"BTCUSDT-PERP.BINANCE": 40, "ETHUSDT-PERP.BINANCE": 400},
    lots={"ETHUSDT-PERP.BINANCE": 10},
    cash={"USDT": "100000"},
    secrets={"BINANCE_KEY": "us-key", "BINANCE_SECRET": "us-secret"},
    faults=(*FAULTS, *FAULTS_OF_DATA),
    deeds=(_somebody_trades, _streams_end, _money_moves),
    name_executions=_name_executions,
    rest_ns=REST_NS,
    prepare=_prepare,
)


def spot(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SPOT)


def usdm(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, USDM)
