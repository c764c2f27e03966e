"""An exchange of ccxt in a world: the adapter that polls, at the simulated Binance spot, whose answers ccxt knows.

It goes by a venue name of its own, so that it may stand beside Binance.
"""

from __future__ import annotations

from dataclasses import replace

from sim.virtual.agenda import Agenda
from tests.sim.whole import kit_binance
from tests.sim.whole.kit_simulated import SimulatedKit
from tests.sim.whole.venue_kit import Ledger

VENUE, PORT = "CCXT", 7010
# What a venue does that only streams show is not seen here.
FAULTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 20, 26, 27, 29, 32, 34, 35, 37, 39, 40, 54, 55, 59, 61, 62)
OPTIONS = '{ fetchMarkets = { types = ["spot"] } }'
SETTINGS = f'settings = {{ exchange = "binance", options = {OPTIONS}, not_found_s = 12.0 }}'


def _name_ours(text: str) -> str:
    return text.replace(f".{kit_binance.SPOT.venue}", f".{VENUE}")


def _as_ours(ledger: Ledger) -> None:
    """In this venue's name. ccxt tells an execution by its number in the symbol, and by its side."""
    for row in (*ledger["orders"], *ledger["fills"], *ledger["cash"]):
        row["instrument_id"] = _name_ours(row["instrument_id"])
    for fill in ledger["fills"]:
        fill["trade_id"] = str(fill["trade_id"])
    ledger["positions"] = {
        account: {_name_ours(key): qty for key, qty in held.items()} for account, held in ledger["positions"].items()
    }


def _config() -> str:
    text = _name_ours(kit_binance.SPOT.config)
    return (
        text.replace(f'venue = "{kit_binance.SPOT.venue}"', f'venue = "{VENUE}"')
        .replace('adapter = "binance-spot"', f'adapter = "ccxt"\n{SETTINGS}')
        .replace(f"127.0.0.1:{kit_binance.SPOT.port}", f"127.0.0.1:{PORT}")
        .replace("binance-", "ccxt-")
    )


SPEC = replace(
    kit_binance.SPOT,
    kind="ccxt",
    venue=VENUE,
    port=PORT,
    config=_config(),
    limits={_name_ours(key): most for key, most in kit_binance.SPOT.limits.items()},
    lots={_name_ours(key): lots for key, lots in kit_binance.SPOT.lots.items()},
    secrets={name.replace("BINANCE", VENUE): value for name, value in kit_binance.SPOT.secrets.items()},
    faults=FAULTS,
    name_executions=_as_ours,
)


def ccxt(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SPEC)
