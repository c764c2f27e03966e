"""Performance statistics against published numbers and against slow, obvious formulas."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import Side
from core.units import NS_PER_SECOND
from sim import metrics
from sim.metrics import FillQuality, Inventory

# empyrical-reloaded, tests/test_stats.py: [nan, 1, 10, -4, 2, 3, 2, 1, -10] percent, daily.
PERCENT = [1.0, 10.0, -4.0, 2.0, 3.0, 2.0, 1.0, -10.0]
RETURNS = [value / 100 for value in PERCENT]


def test_returns_statistics_equal_empyricals_published_values() -> None:
    assert metrics.sharpe_ratio(RETURNS, 252) == pytest.approx(1.7238613961706866, abs=1e-12)
    assert metrics.sortino_ratio(RETURNS, 252) == pytest.approx(2.605531251673693, abs=1e-12)
    assert metrics.omega_ratio(RETURNS) == pytest.approx(1.357142857142857, abs=1e-12)
    assert metrics.annual_volatility(RETURNS, 252) == pytest.approx(0.9136465399704637, abs=1e-12)
    assert metrics.max_drawdown_ratio(RETURNS) == pytest.approx(-0.1, abs=1e-12)
    # Empyrical counts its leading nan as a ninth period without a return.
    assert metrics.calmar_ratio([0.0, *RETURNS], 252) == pytest.approx(19.13592537319459, abs=1e-10)


def test_statistics_without_a_value_are_none() -> None:
    assert metrics.sharpe_ratio([], 252) is None
    assert metrics.sharpe_ratio([0.01], 252) is None
    assert metrics.sharpe_ratio([0.5, 0.5], 252) is None
    assert metrics.sortino_ratio([0.01, 0.02], 252) is None
    assert metrics.omega_ratio([0.01, 0.02]) is None
    assert metrics.calmar_ratio([0.01, 0.02], 252) is None
    assert metrics.annual_growth([-1.0], 252) == -1.0
    assert metrics.annual_growth([0.5, 0.5], 1e9) is None


def test_returns_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        metrics.sharpe_ratio([0.1, float("nan")], 252)


def test_equity_returns_and_drawdown() -> None:
    assert metrics.equity_returns([100, 110, 99]) == [0.1, -0.1]
    assert metrics.equity_returns([100, 0, 50]) is None
    assert metrics.max_drawdown([100, 120, 90, 130, 125]) == 30
    assert metrics.max_drawdown([]) == 0


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1, max_size=40))
def test_max_drawdown_is_the_largest_fall_between_any_two_samples(equity: list[int]) -> None:
    slow = max(equity[i] - equity[j] for i in range(len(equity)) for j in range(i, len(equity)))
    assert metrics.max_drawdown(equity) == slow


def test_periods_per_year_of_one_second_samples() -> None:
    assert metrics.periods_per_year(NS_PER_SECOND, 6 * 3600 * NS_PER_SECOND + 1800 * NS_PER_SECOND, 252) == 252 * 23_400
    assert metrics.periods_per_year(NS_PER_SECOND, 86_400 * NS_PER_SECOND, 365) == 31_536_000


def test_fill_quality_of_two_fills_by_hand() -> None:
    # Bought 3 at 100 when the middle was 101 (twice: 202); later 99.5 and 99.5. Sold 1 at 104 with the middle at 103.
    quality = FillQuality(3)
    quality.add(Side.BUY, 100, 3, True, 202, [199, 199, None])
    quality.add(Side.SELL, 104, 1, False, 206, [206, 210, 200])
    assert (quality.fills, quality.qty, quality.maker_fills, quality.maker_qty) == (2, 4, 1, 3)
    assert quality.at_fill.full() == 20_000  # (2 * 3 + 2 * 1) / 4 = 2 points
    assert quality.later[1].full() == -12_500  # (-1 * 3 - 2 * 1) / 4 = -1.25 points
    assert [mean.half() for mean in quality.later] == [-1_250, -6_250, 40_000]
    assert FillQuality(1).at_fill.full() is None


def test_inventory_by_hand() -> None:
    # Flat for 10, +4 for 20, -2 for 10: mean (80 - 20) / 40, size (80 + 20) / 40.
    assert integrate([(10, 4), (30, -6)], 0, 40) == (15_000, 25_000, 4)
    assert integrate([], 5, 5) == (0, 0, 0)


def integrate(fills: list[tuple[int, int]], ts_start: int, ts_end: int) -> tuple[int, int, int]:
    inventory = Inventory(ts_start)
    for ts, qty in fills:
        inventory.fill(ts, qty)
    inventory.advance(ts_end)
    return inventory.mean(), inventory.mean_absolute(), inventory.largest


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-9, 9)), max_size=20))
def test_inventory_equals_a_sum_over_every_tick(fills: list[tuple[int, int]]) -> None:
    ordered = sorted(fills)
    held = [sum(qty for ts, qty in ordered if ts <= tick) for tick in range(50)]
    mean, mean_absolute, _largest = integrate(ordered, 0, 50)
    assert abs(Fraction(mean, 10_000) - Fraction(sum(held), 50)) <= Fraction(1, 20_000)
    assert abs(Fraction(mean_absolute, 10_000) - Fraction(sum(map(abs, held)), 50)) <= Fraction(1, 20_000)
