"""EwmaVolatility: the volatility of the mid-price from an exponentially weighted mean of squared returns, for irregular times.

With r the return of the mid over dt seconds since the last sample, tau the time constant and t the seconds since the first:

    v <- v + dt / (dt + min(t, tau)) (r^2 / dt - v)          volatility = sqrt(v), per sqrt(second)

For t < tau this is the plain mean, so that the first sample does not linger; after that the exponential filter of RiskMetrics,
Technical Document (J.P. Morgan/Reuters, 4th edition 1996), section 5.2, in its implicit form, whose weight needs no exponential:
the four operations and the square root give the same bits on every machine.
"""

from __future__ import annotations

import math

from core.units import NS_PER_SECOND


class EwmaVolatility:
    """Samples are taken at most once in `interval_ns`: closer together they would measure the bounce of the quotes."""

    def __init__(self, *, time_constant_s: float, interval_ns: int, samples_min: int) -> None:
        self._time_constant_s = time_constant_s
        self._interval_ns = interval_ns
        self._samples_min = samples_min
        self._ts = 0
        self._twice_mid = 0
        self._elapsed_s = 0.0
        self._variance = 0.0
        self._samples = 0

    def sample(self, ts: int, twice_mid: int) -> None:
        """Take in twice the mid-price (points) at `ts` (ns); positive prices only, others start the series afresh."""
        if self._twice_mid <= 0 or twice_mid <= 0:
            self._ts, self._twice_mid = ts, twice_mid
            return
        elapsed_ns = ts - self._ts
        if elapsed_ns < self._interval_ns or elapsed_ns <= 0:
            return
        change = (twice_mid - self._twice_mid) / self._twice_mid
        elapsed_s = elapsed_ns / NS_PER_SECOND
        weight = elapsed_s / (elapsed_s + min(self._elapsed_s, self._time_constant_s))
        self._variance += weight * (change * change / elapsed_s - self._variance)
        self._elapsed_s += elapsed_s
        self._samples += 1
        self._ts, self._twice_mid = ts, twice_mid

    def restart_sample(self) -> None:
        """Forget the last mid, not the volatility: after a gap the next return would span what was not seen."""
        self._twice_mid = 0

    def per_sqrt_s(self) -> float | None:
        """Relative volatility per square root of a second; None before samples_min samples."""
        return math.sqrt(self._variance) if self._samples >= self._samples_min else None
