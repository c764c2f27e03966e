"""The quoting formulas against the numbers printed in the papers, and the experiment of Avellaneda and Stoikov repeated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strategies.quoting import (
    asymptotic_distances,
    exact_distances,
    half_spread_and_skew,
    mean_spread,
    reservation_price,
    total_spread,
)

# Guéant, Lehalle, Fernandez-Tapia 2013, section 6: sigma in tick/sqrt(s), a in 1/s, k and gamma in 1/tick, T in s.
SIGMA, A, K, GAMMA, HORIZON = 0.3, 0.9, 0.3, 0.01, 600.0


def test_avellaneda_stoikov_spread() -> None:
    # Avellaneda, Stoikov 2008, Table 1: gamma .1, sigma 2, k 1.5, T 1 gives a mean spread of 1.49.
    assert mean_spread(0.1, 2.0, 1.5, 1.0) == pytest.approx(1.4908, abs=5e-5)
    assert total_spread(0.1, 2.0, 1.5, 1.0) - total_spread(0.1, 2.0, 1.5, 0.0) == pytest.approx(0.4)
    assert reservation_price(100.0, 3, 0.1, 2.0, 0.5) == pytest.approx(100.0 - 3 * 0.1 * 4 * 0.5)


def test_gueant_lehalle_fernandez_tapia_exact_and_asymptotic() -> None:
    bids, asks = exact_distances(30, GAMMA, SIGMA, A, K, HORIZON)
    flat = 30
    assert bids[flat] == pytest.approx(3.31305, abs=1e-5)
    assert asks[flat] == pytest.approx(3.31305, abs=1e-5)
    assert bids[flat + 1] == pytest.approx(3.38117, abs=1e-5)
    assert asks[flat + 1] == pytest.approx(3.24492, abs=1e-5)
    assert (bids[-1], asks[0]) == (math.inf, math.inf)
    closed_bid, closed_ask = asymptotic_distances(0, GAMMA, SIGMA, A, K)
    assert closed_bid == pytest.approx(3.31292, abs=1e-5)
    assert closed_ask == pytest.approx(3.31292, abs=1e-5)
    # (1/gamma) ln(1 + gamma/k) = 3.2789823 and C = .0678658: C is what one more unit of inventory moves the quotes by.
    assert math.log1p(GAMMA / K) / GAMMA == pytest.approx(3.2789823, abs=1e-7)
    assert asymptotic_distances(1, GAMMA, SIGMA, A, K)[0] - closed_bid == pytest.approx(0.0678658, abs=1e-7)


def test_exact_distances_meet_the_matrix_exponential_of_the_paper() -> None:
    # An independent way to exp(-M T): the power series after scaling and squaring.
    q_max, horizon = 4, 5.0
    alpha, eta = K * GAMMA * SIGMA**2 / 2, A * (1 + GAMMA / K) ** -(1 + K / GAMMA)
    assert alpha == pytest.approx(1.35e-4)
    assert eta == pytest.approx(0.3256784, abs=1e-7)
    q = np.arange(-q_max, q_max + 1)
    matrix = -(np.diag(alpha * q**2.0) - eta * (np.eye(len(q), k=1) + np.eye(len(q), k=-1))) * horizon / 1024
    power, term = np.eye(len(q)), np.eye(len(q))
    for order in range(1, 12):
        term = term @ matrix / order
        power = power + term
    for _ in range(10):
        power = power @ power
    v = power.sum(axis=1)
    expected = np.log(v[:-1] / v[1:]) / K + math.log1p(GAMMA / K) / GAMMA
    assert exact_distances(q_max, GAMMA, SIGMA, A, K, horizon)[0][:-1] == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize("q", [-7, 0, 1, 12])
def test_gueant_2017_with_unit_orders_and_xi_gamma_is_the_asymptotic_form_of_2013(q: int) -> None:
    half_spread, skew = half_spread_and_skew(GAMMA, SIGMA, A, K, 1.0, GAMMA)
    expected = asymptotic_distances(q, GAMMA, SIGMA, A, K)
    assert (half_spread + skew * q, half_spread - skew * q) == pytest.approx(expected, rel=1e-12)


def test_gueant_2017_without_aversion_to_missed_executions() -> None:
    # xi towards 0: c1 -> 1/k and (1 + xi D/k)^(k/(xi D) + 1) -> e (Guéant 2017, section 4).
    half_spread, skew = half_spread_and_skew(GAMMA, SIGMA, A, K, 5.0, 1e-9)
    c2 = math.sqrt(GAMMA * math.e / (2 * A * 5.0 * K))
    assert skew == pytest.approx(SIGMA * c2, rel=1e-6)
    assert half_spread == pytest.approx(1 / K + 5.0 * SIGMA * c2 / 2, rel=1e-6)


def simulate(*, is_skewed: bool, simulations: int, seed: int) -> tuple[float, float, float, float]:
    """Table 1 of Avellaneda, Stoikov 2008 at gamma .1: (mean spread, profit, its standard deviation, that of the last inventory).

    As in the paper a side is filled in a step with probability lambda * dt, and the mid moves by sigma * sqrt(dt) up or down.
    """
    gamma, sigma, k, a, dt, horizon = 0.1, 2.0, 1.5, 140.0, 0.005, 1.0
    steps = round(horizon / dt)
    random = np.random.default_rng(seed)
    mid, q, cash, spreads = np.full(simulations, 100.0), np.zeros(simulations), np.zeros(simulations), 0.0
    for step in range(steps):
        left = horizon - step * dt
        spread = total_spread(gamma, sigma, k, left) if is_skewed else mean_spread(gamma, sigma, k, horizon)
        # The reservation price is linear in q: its shift for one unit serves all paths.
        centre = mid + q * reservation_price(0.0, 1.0, gamma, sigma, left) if is_skewed else mid
        bid, ask = centre - spread / 2, centre + spread / 2
        bought = random.random(simulations) < np.minimum(a * np.exp(-k * (mid - bid)) * dt, 1.0)
        sold = random.random(simulations) < np.minimum(a * np.exp(-k * (ask - mid)) * dt, 1.0)
        q += bought.astype(float) - sold
        cash += sold * ask - bought * bid
        mid = mid + sigma * math.sqrt(dt) * np.where(random.random(simulations) < 0.5, -1.0, 1.0)
        spreads += spread
    profit = cash + q * mid
    return spreads / steps, float(profit.mean()), float(profit.std(ddof=1)), float(q.std(ddof=1))


@pytest.mark.parametrize(
    ("is_skewed", "profit", "deviation", "deviation_q"),
    [(True, 65.0, 6.6, 2.9), (False, 68.4, 12.7, 8.4)],
    ids=["inventory", "symmetric"],
)
def test_table_1_of_avellaneda_stoikov(is_skewed: bool, profit: float, deviation: float, deviation_q: float) -> None:
    found = simulate(is_skewed=is_skewed, simulations=10_000, seed=20080301)
    assert found[0] == pytest.approx(1.49, abs=0.005)
    assert found[1] == pytest.approx(profit, abs=1.0)
    assert found[2] == pytest.approx(deviation, rel=0.10)
    assert found[3] == pytest.approx(deviation_q, rel=0.10)
