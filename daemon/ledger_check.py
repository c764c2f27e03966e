"""Recomputes positions, profit and cash from a run's tables alone, with fractions, and holds the Trader's books against them.

A second implementation on purpose: it shares no arithmetic with core/portfolio.py, only the rule that both state. Average cost; a
value is rounded half-even to 10^-8 of its currency when a fill, or the part of it that closes, is valued, and when a part of a
position's cost is released.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from core.enums import InstrumentClass
from core.instruments import Instrument
from core.trader import Trader

_MONEY = 10**8
_COLUMNS = ["strategy_id", "instrument_id", "side", "price", "qty", "commission", "commission_currency"]


@dataclass(slots=True)
class _Line:
    """One instrument, or one strategy's part of it."""

    qty: int = 0
    cost: int = 0
    profit: int = 0
    fees: int = 0


def check_ledger(trader: Trader, fills: Path, cash_start: dict[str, int]) -> str:
    """ "ok", or the first difference in words. `fills` is fills.parquet; cash.parquet beside it has what no fill explains."""
    accounts: dict[str, _Line] = {}
    strategies: dict[tuple[str, str], _Line] = {}
    cash = dict(cash_start)
    for row in pl.read_parquet(fills, columns=_COLUMNS, glob=False).iter_rows(named=True):
        instrument = trader.instruments[row["instrument_id"]]
        _apply(accounts.setdefault(row["instrument_id"], _Line()), instrument, row)
        _apply(strategies.setdefault((row["strategy_id"], row["instrument_id"]), _Line()), instrument, row)
        _pay(cash, instrument, row)
    for key, line in accounts.items():
        # Where only profit and loss settles, cash moves by what was realised.
        instrument = trader.instruments[key]
        if not _pays_notional(instrument):
            cash[instrument.settlement_currency] = cash.get(instrument.settlement_currency, 0) + line.profit
    carried: dict[str, int] = {}
    for row in pl.read_parquet(fills.with_name("cash.parquet"), glob=False).iter_rows(named=True):
        cash[row["currency"]] = cash.get(row["currency"], 0) + row["amount"]
        carried[row["instrument_id"]] = carried.get(row["instrument_id"], 0) + row["amount"]
    return _difference(trader, accounts, strategies, cash) or _different_carry(trader, carried) or "ok"


def _value(instrument: Instrument, price: int, qty: int) -> int:
    """Worth of `qty` units at `price` points, in 10^-8 of the settlement currency."""
    quantity = Fraction(qty, 10**instrument.qty_scale)
    level = Fraction(price, 10**instrument.price_scale)
    worth = quantity * instrument.multiplier / level if instrument.is_inverse else quantity * instrument.multiplier * level
    return round(worth * _MONEY)  # Python rounds a fraction half-even


def _apply(line: _Line, instrument: Instrument, row: dict[str, Any]) -> None:
    change = row["qty"] if row["side"] == "BUY" else -row["qty"]
    price = row["price"]
    if row["commission_currency"] == instrument.settlement_currency:
        line.fees += row["commission"]
    if line.qty * change >= 0:
        line.qty += change
        line.cost += _value(instrument, price, change)
        return
    closed = max(-abs(line.qty), -abs(change)) * (1 if line.qty < 0 else -1)  # signed as the position was
    released = line.cost if closed == line.qty else round(Fraction(line.cost * closed, line.qty))
    worth = _value(instrument, price, closed)
    line.profit += released - worth if instrument.is_inverse else worth - released
    line.cost -= released
    line.qty += change
    if change + closed:
        # A fill that turns the position is valued once: what it opens is worth what closing it did not use.
        line.cost += _value(instrument, price, change) + worth


def _pays_notional(instrument: Instrument) -> bool:
    return instrument.instrument_class in (InstrumentClass.SPOT, InstrumentClass.EQUITY)


def _pay(cash: dict[str, int], instrument: Instrument, row: dict[str, Any]) -> None:
    if _pays_notional(instrument):
        change = row["qty"] if row["side"] == "BUY" else -row["qty"]
        currency = instrument.settlement_currency
        cash[currency] = cash.get(currency, 0) - _value(instrument, row["price"], change)
    currency = row["commission_currency"]
    cash[currency] = cash.get(currency, 0) - row["commission"]


def _difference(
    trader: Trader, accounts: dict[str, _Line], strategies: dict[tuple[str, str], _Line], cash: dict[str, int]
) -> str | None:
    portfolio = trader.portfolio
    lines: list[tuple[str, _Line, Any]] = [
        (key, accounts.get(key, _Line()), position) for key, position in portfolio.by_instrument.items()
    ]
    lines += [
        (f"{strategy_id} in {key}", strategies.get((strategy_id, key), _Line()), position)
        for (strategy_id, key), position in portfolio.by_strategy.items()
    ]
    for name, line, position in lines:
        found = (position.qty, position.value_open, position.realized_pnl, position.fees)
        expected = (line.qty, line.cost, line.profit, line.fees)
        if found != expected:
            return f"{name}: quantity, cost, profit and fees are {found}, but the fills give {expected}"
    for currency in sorted(cash.keys() | portfolio.cash.keys()):
        if cash.get(currency, 0) != portfolio.cash.get(currency, 0):
            return f"cash in {currency} is {portfolio.cash.get(currency, 0)}, but the fills give {cash.get(currency, 0)}"
    return None


def _different_carry(trader: Trader, carried: dict[str, int]) -> str | None:
    """Of each instrument all that was paid, in the account's position and in those of strategies together."""
    portfolio = trader.portfolio
    for key, position in portfolio.by_instrument.items():
        shared = sum(each.carry for (_, instrument_id), each in portfolio.by_strategy.items() if instrument_id == key)
        if not position.carry == shared == carried.get(key, 0):
            paid = carried.get(key, 0)
            return f"{key}: carry is {position.carry}, and {shared} by strategies, but the payments give {paid}"
    return None
