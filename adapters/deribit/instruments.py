"""Deribit's instruments as core instruments, with what the venue adds: tick steps, the price index, the currency to ask by.

Amounts are counted as the venue counts them (documented): US dollars for inverse futures and perpetuals, the base coin for
linear ones and for options. So a quantity here is an order's `amount`, its lot is min_trade_amount ("must be a multiple of
the minimum order size" is the venue's refusal [?]), and contract_size only converts to contracts, which nothing here uses.
"""

from __future__ import annotations

import itertools

import msgspec

from adapters.deribit.exact import exact
from adapters.deribit.wire import InstrumentResult
from core.enums import InstrumentClass
from core.errors import UnitError, VenueProtocolError
from core.instruments import FEE_RATE_SCALE, Instrument
from core.units import NS_PER_MS, SCALE_MAX

VENUE = "DERIBIT"
# Perpetuals bear an expiry in the year 3000.
PERPETUAL = "perpetual"


class VenueInstrument(msgspec.Struct, frozen=True, kw_only=True):
    """`tick_steps`: (from this price on, this tick), points, ascending; below the first the instrument's own tick holds.

    `currency` is what queries by currency take: the settlement currency.
    """

    instrument: Instrument
    name: str
    kind: str
    currency: str
    contract_size: int  # units of the quantity
    price_index: str
    expiry_ts: int  # ns UTC; 0: none
    is_active: bool
    tick_steps: tuple[tuple[int, int], ...] = ()

    def tick_at(self, price: int) -> int:
        """The tick that a price of an order must be a multiple of."""
        tick = self.instrument.tick
        for above, step in self.tick_steps:
            if price > above:
                tick = step
        return tick


def instrument_name_of(instrument_id: str) -> str:
    return instrument_id.rpartition(".")[0]


def read_instrument(found: InstrumentResult) -> VenueInstrument | None:
    """None for a kind that is not supported (spot, combos). Raises VenueProtocolError for rules that cannot be kept exactly."""
    if found.kind not in ("future", "option"):
        return None
    is_inverse = found.kind == "future" and found.instrument_type == "reversed"
    price_scale = max(_decimals(bytes(number)) for number in _price_steps(found))
    qty_scale = _decimals(bytes(found.min_trade_amount))
    settlement = found.settlement_currency or found.quote_currency
    # An option's fee is a share of the underlying, not of the option's price: no rate of the notional says it.
    maker, taker = (0, 0) if found.kind == "option" else (_fee_rate(found.maker_commission), _fee_rate(found.taker_commission))
    try:
        instrument = Instrument(
            instrument_id=f"{found.instrument_name}.{VENUE}",
            instrument_class=_class_of(found),
            base_currency=found.base_currency,
            # An inverse option is quoted and settled in the coin: linear in it.
            quote_currency=found.quote_currency,
            settlement_currency=settlement,
            price_scale=price_scale,
            qty_scale=qty_scale,
            tick=exact(found.tick_size, price_scale),
            lot=exact(found.min_trade_amount, qty_scale),
            qty_min=exact(found.min_trade_amount, qty_scale),
            is_inverse=is_inverse,
            maker_fee_rate=maker,
            taker_fee_rate=taker,
        )
    except UnitError as error:
        raise VenueProtocolError(f"{found.instrument_name}: {error}") from error
    steps = tuple((exact(step.above_price, price_scale), exact(step.tick_size, price_scale)) for step in found.tick_size_steps)
    if any(tick <= 0 for _, tick in steps) or any(low >= high for (low, _), (high, _) in itertools.pairwise(steps)):
        raise VenueProtocolError(f"{found.instrument_name}: tick steps {steps} do not ascend")
    return VenueInstrument(
        instrument=instrument,
        name=found.instrument_name,
        kind=found.kind,
        currency=settlement,
        contract_size=exact(found.contract_size, max(qty_scale, _decimals(bytes(found.contract_size)))),
        price_index=found.price_index,
        expiry_ts=0 if found.settlement_period == PERPETUAL else found.expiration_timestamp * NS_PER_MS,
        is_active=found.is_active,
        tick_steps=steps,
    )


def _price_steps(found: InstrumentResult) -> list[msgspec.Raw]:
    """Every step that a price may be on: a block or a liquidation trades finer than an order may."""
    steps = [found.tick_size, *(step.tick_size for step in found.tick_size_steps)]
    if isinstance(found.block_trade_tick_size, msgspec.Raw):
        steps.append(found.block_trade_tick_size)
    return steps


def _class_of(found: InstrumentResult) -> InstrumentClass:
    if found.kind == "option":
        return InstrumentClass.OPTION
    return InstrumentClass.PERPETUAL if found.settlement_period == PERPETUAL else InstrumentClass.FUTURE


def _fee_rate(number: msgspec.Raw) -> int:
    return exact(number, FEE_RATE_SCALE)


def _decimals(text: bytes) -> int:
    """How many decimals a JSON number needs: 0 for 10.0, 4 for 0.0005, 7 for 5e-7."""
    head, _, exponent = text.lower().partition(b"e")
    fraction = head.partition(b".")[2].rstrip(b"0")
    try:
        needed = len(fraction) - (int(exponent) if exponent else 0)
    except ValueError as error:
        raise VenueProtocolError(f"{text[:60]!r} is not a number") from error
    if needed > SCALE_MAX:
        raise VenueProtocolError(f"{text[:60]!r} is finer than 10^-{SCALE_MAX}")
    return max(needed, 0)
