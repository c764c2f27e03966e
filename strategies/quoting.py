"""Quoting formulas of Avellaneda–Stoikov, Guéant–Lehalle–Fernandez-Tapia and Guéant as pure functions.

Symbols as in the papers. Prices and distances in one price unit (ticks, or whole currency), time in one time unit, and then
    sigma    volatility of the mid-price, price / sqrt(time)
    a, k     orders that reach a distance d from the mid arrive at the rate a * exp(-k * d): a in 1 / time, k in 1 / price
    gamma    risk aversion, 1 / (price * quantity); q is the signed inventory
Floats all: what comes out becomes a price only through core.units.quantise_price.

Sources: M. Avellaneda, S. Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8 (2008).
O. Guéant, C.-A. Lehalle, J. Fernandez-Tapia, "Dealing with the inventory risk", Mathematics and Financial Economics 7 (2013).
O. Guéant, "Optimal market making", Applied Mathematical Finance 24 (2017).
"""

from __future__ import annotations

import math

import numpy as np


def reservation_price(mid: float, q: float, gamma: float, sigma: float, time_left: float) -> float:
    """Avellaneda–Stoikov 2008, eq. 29: r = s - q gamma sigma^2 (T - t)."""
    return mid - q * gamma * sigma**2 * time_left


def total_spread(gamma: float, sigma: float, k: float, time_left: float) -> float:
    """Avellaneda–Stoikov 2008, eq. 30: delta_a + delta_b = gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / k)."""
    return gamma * sigma**2 * time_left + 2 / gamma * math.log1p(gamma / k)


def mean_spread(gamma: float, sigma: float, k: float, horizon: float) -> float:
    """The time average of total_spread over [0, horizon]: the constant spread of the symmetric benchmark in section 3.3."""
    return gamma * sigma**2 * horizon / 2 + 2 / gamma * math.log1p(gamma / k)


def asymptotic_distances(q: float, gamma: float, sigma: float, a: float, k: float) -> tuple[float, float]:
    """(delta_b, delta_a) far from the end, Guéant–Lehalle–Fernandez-Tapia 2013, section 4.2:

    delta_b = ln(1 + gamma / k) / gamma + (2 q + 1) C / 2 and delta_a = ... - (2 q - 1) C / 2,
    with C = sqrt(sigma^2 gamma / (2 k a) (1 + gamma / k)^(1 + k / gamma)).
    """
    base = math.log1p(gamma / k) / gamma
    c = math.sqrt(sigma**2 * gamma / (2 * k * a) * (1 + gamma / k) ** (1 + k / gamma))
    return base + (2 * q + 1) / 2 * c, base - (2 * q - 1) / 2 * c


def exact_distances(
    q_max: int, gamma: float, sigma: float, a: float, k: float, time_left: float
) -> tuple[list[float], list[float]]:
    """(delta_b, delta_a) by inventory q = -q_max .. q_max, Guéant–Lehalle–Fernandez-Tapia 2013, theorem 1.

    v(t) = exp(-M (T - t)) 1 with M tridiagonal, alpha q^2 on the diagonal (alpha = k gamma sigma^2 / 2) and
    -eta beside it (eta = a (1 + gamma / k)^-(1 + k / gamma)); delta_b(q) = ln(v_q / v_{q+1}) / k + ln(1 + gamma / k) / gamma.
    Infinite where the side may not trade: buying at q_max, selling at -q_max.
    """
    alpha = k * gamma * sigma**2 / 2
    eta = a * (1 + gamma / k) ** -(1 + k / gamma)
    size = 2 * q_max + 1
    q = np.arange(-q_max, q_max + 1)
    matrix = np.diag(alpha * q.astype(float) ** 2) - eta * (np.eye(size, k=1) + np.eye(size, k=-1))
    # M is symmetric: exp through its eigenvectors. The smallest eigenvalue is taken out, since only ratios of v matter.
    values, vectors = np.linalg.eigh(matrix)
    v = vectors @ (np.exp(-(values - values[0]) * time_left) * vectors.sum(axis=0))
    base = math.log1p(gamma / k) / gamma
    step = (np.log(v[:-1] / v[1:]) / k).tolist()
    return [one + base for one in step] + [math.inf], [math.inf] + [base - one for one in step]


def half_spread_and_skew(gamma: float, sigma: float, a: float, k: float, order_qty: float, xi: float) -> tuple[float, float]:
    """(half spread, skew per unit of inventory) for orders of `order_qty`, Guéant 2017, section 4.

    c1 = ln(1 + xi D / k) / (xi D), c2 = sqrt(gamma / (2 a D k) (1 + xi D / k)^(k / (xi D) + 1)) with D = order_qty:
    half spread c1 + D sigma c2 / 2, skew sigma c2. xi is the aversion to the risk that an order is not executed: gamma in the
    model of 2013 (a trader with exponential utility), towards 0 for one who minds only inventory. delta_b = half spread + skew q,
    delta_a = half spread - skew q.
    """
    c1 = math.log1p(xi * order_qty / k) / (xi * order_qty)
    c2 = math.sqrt(gamma / (2 * a * order_qty * k) * (1 + xi * order_qty / k) ** (k / (xi * order_qty) + 1))
    return c1 + order_qty * sigma * c2 / 2, sigma * c2
