"""What can be traded at the simulated OANDA: instruments, their margin and financing rates. Pure."""

from __future__ import annotations

import msgspec

from core.enums import InstrumentClass
from core.instruments import Instrument
from sim.venues.exchange.model import Listing

VENUE = "OANDA"
RATE_SCALE = 10_000  # rates in 1/100 of a percent a year
ORDER_UNITS_MAX = 100_000_000
HOME = "USD"


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """`mid` and `spread` in points of 10^-digits; rates in 1/100 % a year, paid (positive) or taken (negative) on the value."""

    name: str
    digits: int
    mid: int
    spread: int
    leverage: int
    margin_rate: str  # one over the leverage
    long_rate: int = -300
    short_rate: int = 100
    step_max: int = 3  # points that the middle may move in one step

    @property
    def base(self) -> str:
        return self.name.partition("_")[0]

    @property
    def quote(self) -> str:
        return self.name.partition("_")[2]

    def rules(self) -> Instrument:
        return Instrument(
            instrument_id=f"{self.name}.{VENUE}",
            instrument_class=InstrumentClass.FX,
            base_currency=self.base,
            quote_currency=self.quote,
            settlement_currency=self.quote,
            price_scale=self.digits,
            qty_scale=0,
            qty_max=ORDER_UNITS_MAX,
            price_max=10**9,
        )

    def listing(self) -> Listing:
        # A sell stop goes by the bid (kept as the index), a buy stop by the ask (kept as the mark).
        return Listing(
            name=self.name,
            rules=self.rules(),
            leverage_max=self.leverage,
            margin="margin",
            mark=self.mid,
            takes_when_closed=True,
            tag=self,
        )


# 50:1 for majors and 20:1 for the others, as in the United States.
DEFAULT_PAIRS = (
    Pair(name="EUR_USD", digits=5, mid=115_826, spread=14, leverage=50, margin_rate="0.02"),
    Pair(name="GBP_USD", digits=5, mid=133_410, spread=18, leverage=50, margin_rate="0.02"),
    Pair(name="USD_JPY", digits=3, mid=152_345, spread=15, leverage=50, margin_rate="0.02", long_rate=250, short_rate=-450),
    Pair(name="EUR_GBP", digits=5, mid=86_810, spread=16, leverage=20, margin_rate="0.05"),
)
