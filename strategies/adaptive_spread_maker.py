"""A market maker whose spread follows the market's volatility, from an EWMA of squared mid returns.

    half_spread = max(half_spread_min, spread_multiple * volatility * sqrt(horizon_s) * mid)
    bid = floor_tick(mid - half_spread)       ask = ceil_tick(mid + half_spread)

with the volatility of strategies/volatility.py. A quote that rests for horizon_s should be as far away as the mid is likely to
move meanwhile: that move is what a fill costs when the one who takes it knows more.

Source of the filter: RiskMetrics, Technical Document (1996), section 5.2. That the spread grows in proportion to the volatility:
L. Glosten, P. Milgrom, "Bid, ask and transaction prices in a specialist market", Journal of Financial Economics 14 (1985);
M. Wyart, J.-P. Bouchaud et al., "Relation between bid-ask spread, impact and volatility in order-driven markets", Quantitative
Finance 8 (2008), which finds spread = c * volatility per trade with c between 1 and 2.
"""

from __future__ import annotations

import math

from pydantic import Field

from core.events import GapDetected, Quote
from core.instruments import Instrument
from core.strategy import Context
from core.units import NS_PER_MS, quantise_price, to_float
from strategies.maker import Maker, MakerParams
from strategies.parameters import parse_price_distance
from strategies.volatility import EwmaVolatility


class AdaptiveSpreadMaker(Maker):
    class Params(MakerParams):
        half_spread_min: str = Field(description="least distance from the middle, decimal text")
        spread_multiple: float = Field(default=1.5, gt=0, le=1_000, allow_inf_nan=False)
        horizon_s: float = Field(default=1.0, gt=0, le=86_400, allow_inf_nan=False, description="how long a quote rests")
        time_constant_s: float = Field(default=60.0, gt=0, le=864_000, allow_inf_nan=False, description="memory of the EWMA")
        sample_interval_ms: int = Field(default=1_000, ge=1, le=3_600_000, description="least time between two samples")
        samples_min: int = Field(default=20, ge=1, le=100_000, description="no quotes before so many samples")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        super().__init__(params, instruments)
        self._half_spread_min = to_float(
            parse_price_distance(self.instrument, "half_spread_min", params.half_spread_min), self.instrument.price_scale
        )
        self._factor = params.spread_multiple * math.sqrt(params.horizon_s)
        self._volatility = EwmaVolatility(
            time_constant_s=params.time_constant_s,
            interval_ns=params.sample_interval_ms * NS_PER_MS,
            samples_min=params.samples_min,
        )

    def prices(self, context: Context, quote: Quote) -> tuple[int, int] | None:
        twice_mid = quote.bid_price + quote.ask_price
        self._volatility.sample(context.now, twice_mid)
        volatility = self._volatility.per_sqrt_s()
        if volatility is None:
            return None
        scale, tick = self.instrument.price_scale, self.instrument.tick
        mid = to_float(twice_mid, scale) / 2
        half_spread = max(self._half_spread_min, self._factor * volatility * abs(mid))
        return quantise_price(mid - half_spread, scale, tick, "down"), quantise_price(mid + half_spread, scale, tick, "up")

    def on_gap(self, context: Context, gap: GapDetected) -> None:
        super().on_gap(context, gap)
        self._volatility.restart_sample()
