"""An exchange of ccxt in a world: the adapter that polls, at the simulated Binance, whose answers ccxt knows; spot or perpetuals.

It goes by a venue name of its own, so that it may stand beside Binance.
"""

from __future__ import annotations

from dataclasses import replace

from sim.virtual.agenda import Agenda
from tests.sim.whole import kit_binance
from tests.sim.whole.kit_simulated import SimulatedKit, Spec
from tests.sim.whole.venue_kit import Ledger

VENUE = "CCXT"
# What a venue does that only streams show is not seen here.
FAULTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 20, 26, 27, 29, 32, 34, 35, 37, 39, 40, 54, 55, 59, 61, 62)


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


def _config(binance: Spec, port: int, options: str) -> str:
    settings = f'settings = {{ exchange = "binance", options = {options}, not_found_s = 12.0 }}'
    return (
        _name_ours(binance.config)
        .replace(f'venue = "{binance.venue}"', f'venue = "{VENUE}"')
        .replace(f'adapter = "{binance.kind}"', f'adapter = "ccxt"\n{settings}')
        .replace(f"127.0.0.1:{binance.port}", f"127.0.0.1:{port}")
        .replace("binance-", "ccxt-")
    )


def _spec(binance: Spec, kind: str, port: int, options: str) -> Spec:
    return replace(
        binance,
        kind=kind,
        venue=VENUE,
        port=port,
        config=_config(binance, port, options),
        limits={_name_ours(key): most for key, most in binance.limits.items()},
        lots={_name_ours(key): lots for key, lots in binance.lots.items()},
        secrets={name.replace("BINANCE", VENUE): value for name, value in binance.secrets.items()},
        faults=FAULTS,
        name_executions=_as_ours,
    )


SPOT = _spec(kit_binance.SPOT, "ccxt-spot", 7010, '{ fetchMarkets = { types = ["spot"] } }')
SWAP = _spec(kit_binance.USDM, "ccxt-swap", 7011, '{ defaultType = "swap", fetchMarkets = { types = ["linear"] } }')


def spot(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SPOT)


def swap(agenda: Agenda, seed: int) -> SimulatedKit:
    return SimulatedKit(agenda, seed, SWAP)
