"""The simulated venue's instruments: their rules, how they are written on the wire, and the four that tests start with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.enums import InstrumentClass
from core.instruments import Instrument
from core.units import POW10, format_fixed

PERPETUAL_EXPIRY_MS = 32_503_708_800_000
FAR_EXPIRY_MS = 1_924_848_000_000  # 2030-12-30
OPTION_FEE_PPM = 300  # 0.03 % of the underlying
OPTION_FEE_CAP_PPM = 125_000  # 12.5 % of the option's price


@dataclass(slots=True)
class Market:
    """`rules` counts prices and amounts as core does; everything else is the wire's."""

    name: str
    kind: str  # future or option
    rules: Instrument
    instrument_type: str  # reversed or linear
    counter_currency: str
    contract_size: int  # units
    price_index: str
    number: int
    settlement_period: str = "perpetual"
    expiry_ms: int = PERPETUAL_EXPIRY_MS
    option_type: str = ""
    strike: int = 0
    steps: tuple[tuple[int, int], ...] = ()
    leverage_max: int = 50
    is_open: bool = True
    symbol: int = 0  # the native book's
    mark: int = 0  # points; 0: none yet
    last: int = 0
    index: int = 0  # the underlying's price, points of the quote for futures; whole dollars for options
    trade_seq: int = 0
    change_id: int = 0
    published: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))

    def tick_at(self, price: int) -> int:
        tick = self.rules.tick
        for above, step in self.steps:
            if price > above:
                tick = step
        return tick

    def fee(self, price: int, amount: int, is_maker: bool) -> int:
        """In the settlement currency, 10^-8."""
        if self.kind != "option":
            rate = self.rules.maker_fee_rate if is_maker else self.rules.taker_fee_rate
            return self.rules.commission(price, amount, rate)
        # 0.03 % of the coin per unit, which is a fixed amount of coin for an inverse option.
        flat = amount * OPTION_FEE_PPM * 100 // POW10[self.rules.qty_scale]
        cap = self.rules.notional(price, amount) * OPTION_FEE_CAP_PPM // 1_000_000
        return min(flat, cap)

    def as_json(self) -> dict[str, Any]:
        rules = self.rules
        found: dict[str, Any] = {
            "price_index": self.price_index,
            "kind": self.kind,
            "instrument_name": self.name,
            "max_leverage": self.leverage_max,
            "maker_commission": number(rules.maker_fee_rate, 9),
            "taker_commission": number(rules.taker_fee_rate, 9),
            "instrument_type": self.instrument_type,
            "expiration_timestamp": self.expiry_ms,
            "creation_timestamp": 1_534_167_754_000,
            "is_active": self.is_open,
            "tick_size": number(rules.tick, rules.price_scale),
            "contract_size": number(self.contract_size, rules.qty_scale),
            "instrument_id": self.number,
            "min_trade_amount": number(rules.qty_min, rules.qty_scale),
            "block_trade_tick_size": number(1, rules.price_scale),
            "settlement_currency": rules.settlement_currency,
            "settlement_period": self.settlement_period,
            "base_currency": rules.base_currency,
            "counter_currency": self.counter_currency,
            "quote_currency": rules.quote_currency,
            "tick_size_steps": [
                {"above_price": number(above, rules.price_scale), "tick_size": number(step, rules.price_scale)}
                for above, step in self.steps
            ],
            "state": "open" if self.is_open else "closed",
        }
        if self.kind == "option":
            found["option_type"] = self.option_type
            found["strike"] = number(self.strike, 0)
            found["maker_commission"] = found["taker_commission"] = number(OPTION_FEE_PPM, 6)
        return found

    def price(self, value: int) -> msgspec.Raw:
        return number(value, self.rules.price_scale)

    def amount(self, value: int) -> msgspec.Raw:
        return number(value, self.rules.qty_scale)


def number(value: int, scale: int) -> msgspec.Raw:
    """A JSON number as the venue writes one: 1000.0, 0.0005, and 2.1e-7 where it is small."""
    text = format_fixed(value, scale)
    if "." not in text:
        return msgspec.Raw(f"{text}.0".encode())
    text = text.rstrip("0")
    if text.endswith("."):
        return msgspec.Raw(f"{text}0".encode())
    digits = text.lstrip("-").replace(".", "").lstrip("0")
    decimals = len(text.partition(".")[2])
    if text.lstrip("-").startswith("0.0000"):
        exponent = decimals - len(digits) + 1
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else ".0")
        return msgspec.Raw(f"{'-' if value < 0 else ''}{mantissa}e-{exponent}".encode())
    return msgspec.Raw(text.encode())


def _perpetual(name: str, base: str, tick: int, min_amount: int, index: str, number_: int) -> Market:
    rules = Instrument(
        instrument_id=f"{name}.DERIBIT",
        instrument_class=InstrumentClass.PERPETUAL,
        base_currency=base,
        quote_currency="USD",
        settlement_currency=base,
        price_scale=2,
        qty_scale=0,
        tick=tick,
        lot=min_amount,
        qty_min=min_amount,
        is_inverse=True,
        maker_fee_rate=0,
        taker_fee_rate=500_000,
    )
    return Market(name, "future", rules, "reversed", "USD", min_amount, index, number_)


MARK_TICKS = 20_000  # the price of a market that nobody has told one for


def market_of(instrument: Instrument, number_: int) -> Market:
    """A market for an instrument of somebody's configuration. Raises ValueError for a kind that is not traded here."""
    name = instrument.instrument_id.rpartition(".")[0]
    kinds = {InstrumentClass.PERPETUAL: "future", InstrumentClass.FUTURE: "future", InstrumentClass.OPTION: "option"}
    kind = kinds.get(instrument.instrument_class)
    if kind is None:
        raise ValueError(f"{instrument.instrument_id}: {instrument.instrument_class.name.lower()} is not traded at Deribit")
    kind_of_contract = "reversed" if instrument.is_inverse or kind == "option" else "linear"
    index = f"{instrument.base_currency}_{instrument.quote_currency}".lower()
    market = Market(name, kind, instrument, kind_of_contract, instrument.quote_currency, instrument.qty_min, index, number_)
    if instrument.instrument_class is not InstrumentClass.PERPETUAL:
        market.settlement_period, market.expiry_ms = "month", FAR_EXPIRY_MS
    if kind == "option":
        market.option_type, market.strike, market.leverage_max = "call", 100_000, 1
    market.mark = market.index = MARK_TICKS * instrument.tick
    return market


def default_markets() -> Mapping[str, Market]:
    """An inverse perpetual and future, a linear perpetual, an option with tick steps."""
    perpetual = _perpetual("BTC-PERPETUAL", "BTC", 50, 10, "btc_usd", 124_972)
    future = _perpetual("BTC-25DEC26", "BTC", 250, 10, "btc_usd", 234_567)
    future.settlement_period, future.expiry_ms = "month", 1_798_185_600_000
    linear_rules = Instrument(
        instrument_id="ETH_USDC-PERPETUAL.DERIBIT",
        instrument_class=InstrumentClass.PERPETUAL,
        base_currency="ETH",
        quote_currency="USDC",
        settlement_currency="USDC",
        price_scale=2,
        qty_scale=3,
        tick=5,
        lot=1,
        qty_min=1,
        taker_fee_rate=500_000,
    )
    linear = Market("ETH_USDC-PERPETUAL", "future", linear_rules, "linear", "USDC", 1, "eth_usdc", 345_678)
    option_rules = Instrument(
        instrument_id="BTC-25DEC26-100000-C.DERIBIT",
        instrument_class=InstrumentClass.OPTION,
        base_currency="BTC",
        quote_currency="BTC",
        settlement_currency="BTC",
        price_scale=4,
        qty_scale=1,
        tick=1,
        lot=1,
        qty_min=1,
    )
    option = Market("BTC-25DEC26-100000-C", "option", option_rules, "reversed", "USD", 10, "btc_usd", 456_789)
    option.settlement_period, option.expiry_ms = "month", 1_798_185_600_000
    option.option_type, option.strike, option.steps = "call", 100_000, ((50, 5),)
    option.leverage_max = 1
    perpetual.mark = perpetual.index = 5_000_000
    future.mark = future.index = 5_100_000
    linear.mark = linear.index = 300_000
    option.mark, option.index = 500, 50_000
    return {market.name: market for market in (perpetual, future, linear, option)}
