"""An instrument: its scales, rules and the exact value of a quantity at a price."""

from __future__ import annotations

from typing import Literal

import msgspec

from core.enums import InstrumentClass
from core.errors import UnitError
from core.units import POW10, SCALE_MAX, divide_half_even, format_fixed, parse_fixed

# Money of every currency is counted in 10^-8: fine enough for price_scale + qty_scale of the venues supported, so that
# linear notionals convert without rounding, and the smallest unit of bitcoin.
MONEY_SCALE = 8
FEE_RATE_SCALE = 9  # a fee of 0.02 % is 200_000
WHOLE_NUMBERS = (
    "price_scale",
    "qty_scale",
    "tick",
    "lot",
    "qty_min",
    "qty_max",
    "price_min",
    "price_max",
    "multiplier",
    "maker_fee_rate",
    "taker_fee_rate",
)


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of one instrument. price_* in points of 10^-price_scale, qty_* in units of 10^-qty_scale.

    `multiplier` is the value of one whole unit per whole point (ES: 50); an inverse contract is worth `multiplier` of the
    quote currency and settles in the base currency (BTCUSD_PERP: 100 USD, settles in BTC).
    """

    instrument_id: str
    instrument_class: InstrumentClass
    base_currency: str
    quote_currency: str
    settlement_currency: str
    price_scale: int
    qty_scale: int
    tick: int = 1
    lot: int = 1
    qty_min: int = 1
    qty_max: int = 10**15
    price_min: int = 1
    price_max: int = 10**15
    multiplier: int = 1
    is_inverse: bool = False
    maker_fee_rate: int = 0  # 10^-FEE_RATE_SCALE of the notional; negative: a rebate
    taker_fee_rate: int = 0
    # Derived: money per point and unit, where that is a whole number; 0 where a notional must be rounded.
    notional_factor: int = 0

    def __post_init__(self) -> None:
        symbol, dot, venue = self.instrument_id.rpartition(".")
        if not (symbol and dot and venue):
            raise UnitError(f"instrument_id {self.instrument_id!r} must read SYMBOL.VENUE, for example BTCUSDT-PERP.BINANCE")
        for name in WHOLE_NUMBERS:
            # Not isinstance: a bool is an int to Python. A float or a NaN here would spoil every comparison made with it.
            if type(getattr(self, name)) is not int:
                raise UnitError(f"{self.instrument_id}: {name} must be a whole number, not {getattr(self, name)!r}")
        for name in ("price_scale", "qty_scale"):
            if not 0 <= getattr(self, name) <= SCALE_MAX:
                raise UnitError(f"{self.instrument_id}: {name} must be 0 to {SCALE_MAX}")
        for name in ("tick", "lot", "qty_min", "qty_max", "multiplier"):
            if getattr(self, name) <= 0:
                raise UnitError(f"{self.instrument_id}: {name} must be positive")
        if self.qty_min > self.qty_max or self.price_min > self.price_max:
            raise UnitError(f"{self.instrument_id}: a minimum lies above its maximum")
        if self.is_inverse and self.price_min < 1:
            raise UnitError(f"{self.instrument_id}: an inverse contract has no value at price 0: price_min must be positive")
        # `notional` is in one of these two by its formula; any other settlement would add up money of different currencies.
        expected = self.base_currency if self.is_inverse else self.quote_currency
        if self.settlement_currency != expected:
            kind = "an inverse" if self.is_inverse else "a linear"
            raise UnitError(f"{self.instrument_id}: {kind} contract settles in {expected}, not in {self.settlement_currency}")
        scale = self.price_scale + self.qty_scale
        is_exact = not self.is_inverse and scale <= MONEY_SCALE
        msgspec.structs.force_setattr(self, "notional_factor", self.multiplier * POW10[MONEY_SCALE - scale] if is_exact else 0)

    @property
    def venue(self) -> str:
        return self.instrument_id.rpartition(".")[2]

    @property
    def pays_notional(self) -> bool:
        """True where a fill pays its whole value in cash; False where only profit and loss settles."""
        return self.instrument_class in (InstrumentClass.SPOT, InstrumentClass.EQUITY)

    def notional(self, price: int, qty: int) -> int:
        """Value of `qty` (signed) at `price` in the settlement currency, units of 10^-MONEY_SCALE.

        Linear: price * qty * multiplier; inverse: qty * multiplier / price. Rounded half-even only where the scale forces it.
        """
        factor = self.notional_factor
        if factor:
            return price * qty * factor
        if self.is_inverse:
            if not price > 0:
                raise UnitError(f"{self.instrument_id}: an inverse contract has no value at price {price}")
            return divide_half_even(qty * self.multiplier * POW10[MONEY_SCALE + self.price_scale], price * POW10[self.qty_scale])
        return divide_half_even(price * qty * self.multiplier, POW10[self.price_scale + self.qty_scale - MONEY_SCALE])

    def profit(self, value_open: int, value_now: int) -> int:
        """Profit of a position that was worth `value_open` (signed, from `notional`) and is now worth `value_now`."""
        return value_open - value_now if self.is_inverse else value_now - value_open

    def commission(self, price: int, qty: int, fee_rate: int) -> int:
        """Fee on a fill in the settlement currency, 10^-MONEY_SCALE, rounded half-even; negative is a rebate."""
        return divide_half_even(abs(self.notional(price, qty)) * fee_rate, POW10[FEE_RATE_SCALE])

    def parse_price(self, text: str) -> int:
        return parse_fixed(text, self.price_scale)

    def parse_qty(self, text: str) -> int:
        return parse_fixed(text, self.qty_scale)

    def format_price(self, price: int) -> str:
        return format_fixed(price, self.price_scale)

    def format_qty(self, qty: int) -> str:
        return format_fixed(qty, self.qty_scale)

    def round_price(self, price: int, toward: Literal["down", "up"]) -> int:
        """The multiple of the tick at or below (above) `price` points."""
        return price // self.tick * self.tick if toward == "down" else -(-price // self.tick) * self.tick


def parse_fee_rate(text: str) -> int:
    """ "0.0002" (a fraction) or "0.02%" or "2bp" as 10^-FEE_RATE_SCALE."""
    text = text.strip()
    for suffix, shift in (("%", 2), ("bp", 4)):
        if text.endswith(suffix):
            return parse_fixed(text.removesuffix(suffix).strip(), FEE_RATE_SCALE - shift)
    return parse_fixed(text, FEE_RATE_SCALE)
