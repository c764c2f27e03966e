"""Equity of the account and of each watched strategy, in the account's currency, valued at what closing would bring.

A long position is worth the bid and a short one the offer; where a side is empty, the last trade. A position keeps its last mark
through a gap. Without any mark, or without a conversion rate, equity is None: unknown, never a guess.
"""

from __future__ import annotations

from core.market_state import MarketState
from core.portfolio import Portfolio, Position
from core.risk_conversion import Conversion


class Equity:
    """Read by core/account_risk.py; `mark` is its one writer of prices. Money in 10^-MONEY_SCALE."""

    __slots__ = ("_conversion", "_is_one_currency", "_marks", "_portfolio", "_positions", "_unmarked", "_values")

    def __init__(self, portfolio: Portfolio, conversion: Conversion, strategy_ids: list[str]) -> None:
        self._portfolio = portfolio
        self._conversion = conversion
        self._marks: dict[str, tuple[int, int]] = {}
        # What each instrument's position adds to the cash of its settlement currency; one without a mark is in _unmarked instead.
        self._values: dict[str, int] = {}
        self._unmarked: set[str] = set()
        currencies = {position.instrument.settlement_currency for position in portfolio.by_instrument.values()}
        self._is_one_currency = currencies | set(portfolio.cash) == {conversion.currency}
        self._positions: dict[str, dict[str, Position]] = {strategy_id: {} for strategy_id in strategy_ids}

    def mark(self, state: MarketState) -> tuple[int, int] | None:
        """Takes the market of one instrument; returns (bid, ask), or None where there is no market to take."""
        found = state.mark()
        price_min = state.instrument.price_min
        if found is None or found[0] < price_min or found[1] < price_min:
            return None
        key = state.instrument.instrument_id
        self._marks[key] = found
        if self._conversion.has_markets:
            self._conversion.mark(state.instrument, *found)
        if state.position.qty or key in self._values:
            self._revalue(key)
        return found

    def restored(self) -> None:
        """Takes up the positions that a restart found; equity is unknown until each has seen its market."""
        for (strategy_id, key), position in self._portfolio.by_strategy.items():
            watched = self._positions.get(strategy_id)
            if watched is not None:
                watched[key] = position
        self._unmarked.update(key for key, position in self._portfolio.by_instrument.items() if position.qty)

    def filled(self, strategy_id: str, state: MarketState) -> tuple[int, int] | None:
        """A fill was booked: its instrument is valued anew, at its market now; returns what `mark` does."""
        key = state.instrument.instrument_id
        self.watch(strategy_id, key)
        found = self.mark(state)
        if found is None:
            self._revalue(key)
        return found

    def watch(self, strategy_id: str, key: str) -> None:
        """Something was booked to the strategy's position: it counts from here on, where the strategy is watched."""
        watched = self._positions.get(strategy_id)
        if watched is not None and key not in watched:
            watched[key] = self._portfolio.position_of(strategy_id, key)

    def moved(self, key: str) -> None:
        """Money was moved in the instrument's name: where that changed what its position was opened at, its value follows."""
        if key in self._values:
            self._revalue(key)

    def _revalue(self, key: str) -> None:
        position = self._portfolio.by_instrument[key]
        profit = self._profit(key, position)
        if profit is None:
            self._values.pop(key, None)
            self._unmarked.add(key)
            return
        self._values[key] = profit + (position.value_open if position.instrument.pays_notional else 0)
        self._unmarked.discard(key)

    def account(self) -> int | None:
        """Cash and positions of every currency."""
        if self._unmarked:
            return None
        cash = self._portfolio.cash
        values = self._values
        currency = self._conversion.currency
        if self._is_one_currency and len(cash) == 1 and currency in cash:
            return cash[currency] + sum(values.values())
        instruments = self._portfolio.by_instrument
        totals = dict(cash)
        for key, value in values.items():
            currency = instruments[key].instrument.settlement_currency
            totals[currency] = totals.get(currency, 0) + value
        equity = 0
        for currency, total in totals.items():
            converted = self._conversion.down(currency, total)
            if converted is None:
                if total:
                    return None
            else:
                equity += converted
        return equity

    def strategy(self, strategy_id: str) -> int | None:
        """Profit and loss of one watched strategy since the run began, after the fees of its positions and what they carried."""
        total = 0
        for key, position in self._positions[strategy_id].items():
            profit = self._profit(key, position)
            if profit is None:
                return None
            amount = position.realized_pnl - position.fees + position.carry + profit
            converted = self._conversion.down(position.instrument.settlement_currency, amount)
            if converted is None:
                if amount:
                    return None
            else:
                total += converted
        return total

    def _profit(self, key: str, position: Position) -> int | None:
        qty = position.qty
        if not qty:
            return 0
        mark = self._marks.get(key)
        if mark is None:
            return None
        price = mark[0] if qty > 0 else mark[1]
        instrument = position.instrument
        return instrument.profit(position.value_open, instrument.notional(price, qty))
