"""Which instrument of a simulator a configured one is: a venue may be called anything, the simulator's ids are its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.instruments import Instrument


def rules_of(venue: Any) -> dict[str, Instrument]:
    """The simulator's own instruments, by whose scales its ledger counts."""
    engine = getattr(venue, "engine", venue)
    if hasattr(engine, "markets"):
        return {market.rules.instrument_id: market.rules for market in engine.markets.values()}
    exchange = getattr(getattr(venue, "desk", engine), "exchange", None)
    return {} if exchange is None else {each.rules.instrument_id: each.rules for each in exchange.listings.values()}


def names_of(theirs: Mapping[str, Instrument], ours: Iterable[Instrument]) -> dict[str, str]:
    """The configured id of each of the simulator's: by the whole id, by what stands before the venue, or the only one that is of
    the same class and currencies. One that none fits keeps its name."""
    found: dict[str, str] = {}
    for mine in ours:
        name = mine.instrument_id
        ranks = (
            [key for key in theirs if key == name],
            [key for key in theirs if key.rpartition(".")[0] == name.rpartition(".")[0]],
            [key for key, each in theirs.items() if _what(each) == _what(mine)],
        )
        fitting: list[str] = next((rank for rank in ranks if rank), [])
        if len(fitting) == 1:
            found[fitting[0]] = name
    return found


def _what(instrument: Instrument) -> tuple[Any, ...]:
    currencies = instrument.base_currency, instrument.quote_currency, instrument.settlement_currency
    return instrument.instrument_class, *currencies


def renamed(ledger: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`ledger` with the instrument of every row, and of every position, by its name in `names`."""
    found = dict(ledger)
    if all(key == name for key, name in names.items()):
        return found
    for key, rows in ledger.items():
        if isinstance(rows, list):
            found[key] = [
                {**row, "instrument_id": names.get(row["instrument_id"], row["instrument_id"])} if "instrument_id" in row else row
                for row in rows
            ]
    found["positions"] = {
        account: {names.get(key, key): qty for key, qty in held.items()} for account, held in ledger["positions"].items()
    }
    return found
