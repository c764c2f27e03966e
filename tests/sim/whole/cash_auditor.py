"""Holds the money that venues moved without a fill against what our journals and books say of it, and cash as a whole.

Plain types in, sentences out, as tests/sim/whole/auditor.py; what is read of our side is at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.events import CashMoved, StateRestored
from core.trader import Trader
from daemon.journal.format import JOURNAL_FOLDER
from daemon.journal.reader import segments_of
from daemon.journal.tail import TailReader

# Venues whose ledger has all that moves money without a fill ("cash", as sim/venues/exchange/ledger.py has it), and whose adapter
# says all of it.
REPORTING = frozenset(("SIM", "ALPACA", "BINANCE", "OANDA", "DERIBIT"))
# Of these the ledger says what every fill has paid as well: by instrument the currency, and money for a point and a unit.
PAYING: dict[str, tuple[str, int]] = {"ACME.SIM": ("USD", 10**6), "AAPL.ALPACA": ("USD", 10**4), "MSFT.ALPACA": ("USD", 10**4)}
SHOWN_MAX = 5
MONEY = 10**8

Movement = tuple[str, str, int]  # instrument or "", currency, amount


@dataclass
class CashBooks:
    """What we say. `moves`: every movement that a journal has, by venue and name; `booked`: what the books have of them."""

    begun_ts: int = 0  # what was moved before is in the cash that the account began with
    moves: dict[tuple[str, str], Movement] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)  # by currency
    cash: dict[str, int] = field(default_factory=dict)  # by currency: since the account began


def audit_cash(
    ledgers: Mapping[str, Mapping[str, Any]],
    accounts: Mapping[str, str],
    books: CashBooks,
    reporting: Collection[str] = REPORTING,
) -> list[str]:
    """`ledgers` and `accounts` by venue. What was moved before the account began may be booked or not."""
    found: list[str] = []
    for venue in sorted(ledgers.keys() & set(reporting)):
        theirs = [each for each in ledgers[venue]["cash"] if each["account"] == accounts[venue] and each["amount"]]
        needed = Counter(_movement(each) for each in theirs if each["ts"] >= books.begun_ts)
        possible = Counter(_movement(each) for each in theirs)
        ours = Counter(moved for (name, _), moved in books.moves.items() if name == venue and moved[2])
        lost, invented = sorted((needed - ours).elements()), sorted((ours - possible).elements())
        found += [f"money: {venue} moved {each}, and it is not in our journal" for each in lost[:SHOWN_MAX]]
        found += [f"money: {each} is in our journal, and {venue} has not moved it" for each in invented[:SHOWN_MAX]]
    said: Counter[str] = Counter()
    for _, currency, amount in books.moves.values():
        said[currency] += amount
    for currency in sorted(said.keys() | books.booked.keys()):
        if said[currency] != books.booked.get(currency, 0):
            found.append(
                f"money: {said[currency]} {currency} was moved by the journal, {books.booked.get(currency, 0)} is booked"
            )
    return found + _different_cash(ledgers, books, said)


def _movement(line: Mapping[str, Any]) -> Movement:
    return line["instrument_id"], line["currency"], line["amount"]


def _different_cash(ledgers: Mapping[str, Mapping[str, Any]], books: CashBooks, moved: Mapping[str, int]) -> list[str]:
    """What fills have paid and what was moved is all that cash has become, where each fill can be valued."""
    paid: Counter[str] = Counter(moved)
    for ledger in ledgers.values():
        for fill in ledger["fills"]:
            if fill["instrument_id"] not in PAYING:
                return []
            currency, worth = PAYING[fill["instrument_id"]]
            paid[currency] += (-1 if fill["side"] == "BUY" else 1) * fill["price"] * fill["qty"] * worth
            paid[fill["fee_currency"]] -= fill["fee"]
    return [
        f"cash in {currency} has become {books.cash.get(currency, 0)} here, and {paid[currency]} by the venue (10^-8)"
        for currency in sorted(paid.keys() | books.cash.keys())
        if books.cash.get(currency, 0) != paid[currency]
    ]


def read_cash(runs: Path, trader: Trader, cash_start: Mapping[str, str]) -> CashBooks:
    """`cash_start` by currency, as a configuration has it: whole units."""
    books = CashBooks()
    is_first = True
    for run in sorted(runs.iterdir()):
        journal = run / JOURNAL_FOLDER
        if not journal.is_dir() or not segments_of(journal):
            continue
        for record in TailReader(journal):
            if type(record) is StateRestored and is_first:
                books.begun_ts, is_first = record.ts_init, False
            elif type(record) is CashMoved:
                # The same one may be heard of twice; that it is booked once, the sum shows.
                books.moves[record.venue, record.movement_id] = (record.instrument_id, record.currency, record.amount)
    for (_, currency), total in trader.cash.totals.items():
        books.booked[currency] = books.booked.get(currency, 0) + total
    books.cash = {
        currency: amount - int(cash_start.get(currency, "0")) * MONEY for currency, amount in trader.portfolio.cash.items()
    }
    return books
