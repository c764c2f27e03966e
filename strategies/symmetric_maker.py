"""A symmetric market maker: the same distance from the middle on both sides, or at the best prices.

    bid = floor_tick((best_bid + best_ask) / 2 - half_spread)       ask = ceil_tick((best_bid + best_ask) / 2 + half_spread)

Without half_spread it joins the best bid and the best offer. Level i rests i * level_step_ticks further out.

Source: the benchmark strategy of M. Avellaneda, S. Stoikov, "High-frequency trading in a limit order book", Quantitative Finance
8 (2008), section 3.3: a constant spread around the mid-price, whatever the inventory.
"""

from __future__ import annotations

from pydantic import Field

from core.events import Quote
from core.instruments import Instrument
from core.strategy import Context
from strategies.maker import Maker, MakerParams
from strategies.parameters import parse_price_distance


class SymmetricMaker(Maker):
    class Params(MakerParams):
        half_spread: str | None = Field(default=None, description="distance from the middle; absent: join the best prices")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        super().__init__(params, instruments)
        text = params.half_spread
        self._half_spread = None if text is None else parse_price_distance(self.instrument, "half_spread", text)

    def prices(self, context: Context, quote: Quote) -> tuple[int, int]:
        if self._half_spread is None:
            return quote.bid_price, quote.ask_price
        # Twice the middle keeps the half point, so nothing is rounded but once, away from the market.
        twice_mid, twice_half = quote.bid_price + quote.ask_price, 2 * self._half_spread
        return quantise_half_points(twice_mid - twice_half, twice_mid + twice_half, self.instrument.tick)


def quantise_half_points(twice_bid: int, twice_ask: int, tick: int) -> tuple[int, int]:
    """Prices given in half points, moved out to the tick: the bid down, the ask up."""
    return twice_bid // (2 * tick) * tick, -(-twice_ask // (2 * tick)) * tick
