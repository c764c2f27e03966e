"""Alpaca in a world: two US stocks on a market that never closes."""

from __future__ import annotations

from typing import Any

import msgspec

from sim.venues.alpaca.settings import DEFAULT
from sim.venues.faults import Random
from sim.virtual.agenda import Agenda
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

PORT = 7003
APPLE, MICROSOFT = "AAPL.ALPACA", "MSFT.ALPACA"
ACCOUNT = DEFAULT.accounts[0]


def _somebody_trades(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    side = ("BUY", "SELL")[random.below(2)]
    return "trade", {"symbol": ("AAPL", "MSFT")[random.below(2)], "side": side, "qty": 1 + random.below(50)}


def _money_moves(random: Random, _ledger: Ledger) -> tuple[str, dict[str, Any]]:
    """Dividends, interest, transfers and fees of the day; some are taken back."""
    account = {"account": ACCOUNT.name}
    return (
        ("dividend", {"symbol": ("AAPL", "MSFT")[random.below(2)], "cash": 1 + random.below(20_000)}),
        ("interest", account | {"cents": random.below(2_000) - 1_000}),
        ("deposit", account | {"dollars": 1 + random.below(1_000)}),
        ("withdraw", account | {"dollars": 1 + random.below(1_000)}),
        ("night", {}),
        ("undo", account),
    )[random.below(6)]


class AlpacaKit(SimulatedKit):
    def act(self, random: Random) -> str:
        # Where nothing has moved yet nothing can be taken back.
        try:
            return super().act(random)
        except ValueError as error:
            return f"{self.venue}: nothing: {error}"


def _name_executions(ledger: Ledger) -> None:
    """trade_updates and the activities agree in one thing: the order, and how much of it was filled by then."""
    filled: dict[str, int] = {}
    for fill in ledger["fills"]:
        name = fill["venue_order_id"]
        filled[name] = filled.get(name, 0) + fill["qty"]
        fill["trade_id"] = f"{name}/{filled[name]}"


def _instrument(instrument_id: str) -> str:
    return f"""
[[instruments.inline]]
instrument_id = "{instrument_id}"
class = "equity"
base_currency = "{instrument_id.partition(".")[0]}"
quote_currency = "USD"
price_scale = 4
qty_scale = 0
tick = "0.01"
lot = "1"
qty_max = "1000000"
price_max = "100000"

[risk.instruments."{instrument_id}"]
order_qty_max = "20"
position_qty_max = "80"
"""


SPEC = Spec(
    kind="alpaca",
    venue="ALPACA",
    package="alpaca",
    options={"settings": msgspec.structs.replace(DEFAULT, crowd_step_ns=1_000_000_000)},
    port=PORT,
    account=ACCOUNT.name,
    config=f"""{_instrument(APPLE)}{_instrument(MICROSOFT)}
[[connections]]
venue = "ALPACA"
adapter = "alpaca"
address = "127.0.0.1:{PORT}"
key = "alpaca-key"
secret = "alpaca-secret"
settings.clock_error_s = 60.0
settings.money_interval_s = 20.0
""",
    limits={APPLE: 80, MICROSOFT: 80},
    cash={"USD": "1000000"},
    secrets={"ALPACA_KEY": ACCOUNT.key, "ALPACA_SECRET": ACCOUNT.secret},
    faults=(1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 14, 15, 20, 22, 24, 25, 29, 35, 36, 37, 39, 40, 41, 43, 50, 51, 54, 55, 56),
    deeds=(_somebody_trades, _money_moves),
    name_executions=_name_executions,
    rest_ns=61_000_000_000,
)


def alpaca(agenda: Agenda, seed: int) -> SimulatedKit:
    return AlpacaKit(agenda, seed, SPEC)
