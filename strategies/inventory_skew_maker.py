"""A market maker that leans against its inventory: the closed-form optimal quotes of Guéant.

With q the inventory and D the order quantity in whole units, sigma the volatility in price per sqrt(second):

    distance of the bid = c1 + D sigma c2 / 2 + sigma c2 q       distance of the ask = c1 + D sigma c2 / 2 - sigma c2 q
    c1 = ln(1 + xi D / k) / (xi D)         c2 = sqrt(gamma / (2 a D k) * (1 + xi D / k)^(k / (xi D) + 1))

Long, both quotes move down, so that the ask is hit sooner and the bid later. This is the reservation price of Avellaneda and
Stoikov (2008) without a closing time: far from it the optimal quotes no longer depend on the time left.

Source: O. Guéant, "Optimal market making", Applied Mathematical Finance 24 (2017), section 4; for orders of one unit and
xi = gamma the asymptotics of O. Guéant, C.-A. Lehalle, J. Fernandez-Tapia, "Dealing with the inventory risk" (2013).
"""

from __future__ import annotations

from pydantic import Field

from core.events import GapDetected, Quote
from core.instruments import Instrument
from core.strategy import Context
from core.units import NS_PER_MS, quantise_price, to_float
from strategies.maker import Maker, MakerParams
from strategies.quoting import half_spread_and_skew
from strategies.volatility import EwmaVolatility


class InventorySkewMaker(Maker):
    class Params(MakerParams):
        """Currency is the settlement currency, price the whole price; quantity is what a contract stands for, so that price times
        quantity is money: units times the multiplier, for an inverse contract over the square of the price."""

        gamma_per_currency: float = Field(gt=0, allow_inf_nan=False, description="risk aversion gamma: 1 / (price * quantity)")
        xi_per_currency: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="absent: equal to gamma")
        fill_rate_per_s: float = Field(gt=0, allow_inf_nan=False, description="a: orders per second that reach the middle")
        fill_decay_per_price: float = Field(gt=0, allow_inf_nan=False, description="k: their rate falls by e each 1 / k of price")
        volatility_per_sqrt_s: float | None = Field(
            default=None, gt=0, allow_inf_nan=False, description="sigma, price per sqrt(second); absent: measured, see below"
        )
        time_constant_s: float = Field(default=300.0, gt=0, le=864_000, allow_inf_nan=False, description="memory of the EWMA")
        sample_interval_ms: int = Field(default=1_000, ge=1, le=3_600_000, description="least time between two samples")
        samples_min: int = Field(default=20, ge=1, le=100_000, description="no quotes before so many samples")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        super().__init__(params, instruments)
        self._gamma = params.gamma_per_currency
        self._xi = params.xi_per_currency or params.gamma_per_currency
        self._rate, self._decay = params.fill_rate_per_s, params.fill_decay_per_price
        self._sigma = params.volatility_per_sqrt_s
        self._volatility = EwmaVolatility(
            time_constant_s=params.time_constant_s,
            interval_ns=params.sample_interval_ms * NS_PER_MS,
            samples_min=params.samples_min,
        )

    def prices(self, context: Context, quote: Quote) -> tuple[int, int] | None:
        instrument, twice_mid = self.instrument, quote.bid_price + quote.ask_price
        scale, tick = instrument.price_scale, instrument.tick
        mid = to_float(twice_mid, scale) / 2
        sigma = self._sigma
        if sigma is None:
            self._volatility.sample(context.now, twice_mid)
            volatility = self._volatility.per_sqrt_s()
            if volatility is None:
                return None
            sigma = volatility * abs(mid)
        # What one unit earns when the price rises by one. An inverse contract is worth multiplier / price.
        exposure = instrument.multiplier / mid**2 if instrument.is_inverse else float(instrument.multiplier)
        order_qty = to_float(self.order_qty, instrument.qty_scale) * exposure
        q = to_float(context.position(instrument.instrument_id).qty, instrument.qty_scale) * exposure
        half_spread, skew = half_spread_and_skew(self._gamma, sigma, self._rate, self._decay, order_qty, self._xi)
        centre = mid - skew * q
        return quantise_price(centre - half_spread, scale, tick, "down"), quantise_price(centre + half_spread, scale, tick, "up")

    def on_gap(self, context: Context, gap: GapDetected) -> None:
        super().on_gap(context, gap)
        self._volatility.restart_sample()
