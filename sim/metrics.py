"""Performance statistics from equity samples and fills; every formula with its source.

Return statistics work on floats, because they are ratios; everything that is money or a price stays in integers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.enums import Side
from core.units import NS_PER_DAY, NS_PER_SECOND, divide_half_even

# Returns. All take simple returns of equal periods, finite, oldest first, and give None where the formula has no value.


def sharpe_ratio(returns: ArrayLike, periods_per_year: float) -> float | None:
    """mean / standard deviation (ddof 1) * sqrt(periods per year), risk-free rate 0. Sharpe 1994, "The Sharpe Ratio"."""
    values = _finite(returns)
    if values.size < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    return None if deviation == 0.0 else float(np.mean(values)) / deviation * math.sqrt(periods_per_year)


def sortino_ratio(returns: ArrayLike, periods_per_year: float) -> float | None:
    """mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods per year), over all n. Sortino and Price 1994, target 0."""
    values = _finite(returns)
    if values.size == 0:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(values, 0.0) ** 2)))
    return None if downside == 0.0 else float(np.mean(values)) / downside * math.sqrt(periods_per_year)


def annual_volatility(returns: ArrayLike, periods_per_year: float) -> float | None:
    """Standard deviation (ddof 1) * sqrt(periods per year)."""
    values = _finite(returns)
    return float(np.std(values, ddof=1)) * math.sqrt(periods_per_year) if values.size >= 2 else None


def omega_ratio(returns: ArrayLike, threshold: float = 0.0) -> float | None:
    """Gains above the threshold over losses below it, per period. Keating and Shadwick 2002."""
    excess = _finite(returns) - threshold
    losses = -float(np.sum(excess[excess < 0.0]))
    return None if losses == 0.0 else float(np.sum(excess[excess > 0.0])) / losses


def max_drawdown_ratio(returns: ArrayLike) -> float:
    """Deepest fall of the compounded wealth from its running peak, 0 or negative; wealth starts at 1."""
    wealth = np.concatenate(([1.0], np.cumprod(1.0 + _finite(returns))))
    return float(np.min(wealth / np.maximum.accumulate(wealth) - 1.0))


def annual_growth(returns: ArrayLike, periods_per_year: float) -> float | None:
    """Compound annual growth rate: final wealth ^ (periods per year / periods) - 1."""
    values = _finite(returns)
    if values.size == 0:
        return None
    wealth = float(np.prod(1.0 + values))
    if wealth <= 0.0:
        return -1.0
    # A few minutes of gains, compounded over a year, can leave the range of a float.
    exponent = math.log(wealth) * periods_per_year / values.size
    return math.expm1(exponent) if exponent < 700.0 else None


def calmar_ratio(returns: ArrayLike, periods_per_year: float) -> float | None:
    """Compound annual growth over the size of the deepest drawdown. Young 1991."""
    depth = max_drawdown_ratio(returns)
    growth = annual_growth(returns, periods_per_year)
    return None if depth == 0.0 or growth is None else growth / abs(depth)


def _finite(returns: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not bool(np.all(np.isfinite(values))):
        raise ValueError("returns must be one row of finite numbers")
    return values


# Equity.


def equity_returns(equity: Sequence[int]) -> list[float] | None:
    """Simple returns of an equity curve in money units; None where equity reached zero and a return means nothing."""
    if any(value <= 0 for value in equity[:-1]):
        return None
    return [(after - before) / before for before, after in itertools.pairwise(equity)]


def max_drawdown(equity: Sequence[int]) -> int:
    """Deepest fall from a running peak, in money units, 0 or more; exact."""
    peak = equity[0] if equity else 0
    deepest = 0
    for value in equity:
        peak = max(peak, value)
        deepest = max(deepest, peak - value)
    return deepest


def periods_per_year(interval_ns: int, trading_day_ns: int, trading_days: int) -> float:
    """How many sampling intervals a trading year has: 252 days of 6.5 hours for NASDAQ, 365 of 24 for crypto."""
    assert interval_ns > 0
    assert 0 < trading_day_ns <= NS_PER_DAY
    return trading_day_ns * trading_days / interval_ns


# Fills. Sums that grow fill by fill, so that a long run needs no more memory than a short one.

EXTRA_DIGITS = 4  # averages of prices and positions are finer than one point or unit


class WeightedMean:
    """Mean of s * (M - P) over fills, weighted by quantity; s = +1 for a buy, -1 for a sell, P the fill's price, M a middle."""

    __slots__ = ("qty", "total_twice")

    def __init__(self) -> None:
        self.total_twice = 0
        self.qty = 0

    def add(self, side: Side, price: int, qty: int, mid_twice: int) -> None:
        """`mid_twice` is bid + ask in points."""
        difference = mid_twice - 2 * price
        self.total_twice += (difference if side is Side.BUY else -difference) * qty
        self.qty += qty

    def half(self) -> int | None:
        """s (M - P) in points of 10^-(price_scale + EXTRA_DIGITS); None without a fill."""
        return divide_half_even(self.total_twice * 10**EXTRA_DIGITS, 2 * self.qty) if self.qty else None

    def full(self) -> int | None:
        """2 s (M - P), the spread's form."""
        return divide_half_even(self.total_twice * 10**EXTRA_DIGITS, self.qty) if self.qty else None


class FillQuality:
    """Spreads and markouts of our fills, seen from our side.

        effective spread     2 s (M(t)     - P)   what a fill earned against the middle it happened at
        realized spread      2 s (M(t + h) - P)   what was left of it h later (Huang and Stoll 1996, for the passive side)
        markout              s (M(t + h) - P)     for each horizon h

    A positive number is good for us; a taker's effective spread is what it paid, as a negative number. Fills whose horizon
    lies beyond the data are left out of that average.
    """

    __slots__ = ("at_fill", "fills", "later", "maker_fills", "maker_qty", "qty")

    def __init__(self, horizons: int) -> None:
        self.fills = 0
        self.qty = 0
        self.maker_fills = 0
        self.maker_qty = 0
        self.at_fill = WeightedMean()
        self.later = [WeightedMean() for _ in range(horizons)]

    def add(
        self, side: Side, price: int, qty: int, is_maker: bool, mid_twice: int | None, mid_twice_later: Sequence[int | None]
    ) -> None:
        self.fills += 1
        self.qty += qty
        if is_maker:
            self.maker_fills += 1
            self.maker_qty += qty
        if mid_twice is not None:
            self.at_fill.add(side, price, qty, mid_twice)
        for mean, middle in zip(self.later, mid_twice_later, strict=True):
            if middle is not None:
                mean.add(side, price, qty, middle)


class Inventory:
    """Time-weighted position: integrals of the position and of its size, from flat at `ts_start`."""

    __slots__ = ("absolute_ns", "largest", "position", "signed_ns", "ts", "ts_start")

    def __init__(self, ts_start: int) -> None:
        self.ts_start = ts_start
        self.ts = ts_start
        self.position = 0
        self.largest = 0  # of the absolute position, in units
        self.signed_ns = 0
        self.absolute_ns = 0

    def fill(self, ts: int, signed_qty: int) -> None:
        self.advance(ts)
        self.position += signed_qty
        self.largest = max(self.largest, abs(self.position))

    def advance(self, ts: int) -> None:
        assert ts >= self.ts
        held = ts - self.ts
        self.signed_ns += self.position * held
        self.absolute_ns += abs(self.position) * held
        self.ts = ts

    def mean(self) -> int:
        """Units of 10^-(qty_scale + EXTRA_DIGITS); 0 over no time."""
        return self._per_time(self.signed_ns)

    def mean_absolute(self) -> int:
        return self._per_time(self.absolute_ns)

    def _per_time(self, integral: int) -> int:
        duration = self.ts - self.ts_start
        return divide_half_even(integral * 10**EXTRA_DIGITS, duration) if duration else 0


MARKOUT_HORIZONS_NS = (NS_PER_SECOND, 5 * NS_PER_SECOND, 30 * NS_PER_SECOND)
REALIZED_HORIZON = 1  # index into MARKOUT_HORIZONS_NS: five seconds
