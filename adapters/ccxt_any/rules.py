"""A configured instrument held against the market as ccxt shows it: every difference is a ConfigError with both values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from adapters.ccxt_any.reports import Units, exact
from core.enums import InstrumentClass
from core.errors import ConfigError, UnitError
from core.instruments import Instrument
from core.units import POW10, SCALE_MAX, format_fixed

# ccxt's ways of telling a precision.
DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE = 2, 3, 4
KINDS = {
    "spot": InstrumentClass.SPOT,
    "swap": InstrumentClass.PERPETUAL,
    "future": InstrumentClass.FUTURE,
}


def units_of(instrument: Instrument, market: Mapping[str, Any], precision_mode: int) -> Units:
    """The instrument in the exchange's units. Raises ConfigError where an order that follows our rules breaks the exchange's."""
    key = instrument.instrument_id
    found_class = KINDS.get(str(market.get("type")))
    if found_class is None:
        raise ConfigError(f"{key}: {market.get('symbol')} is {market.get('type')!r} there, which is not supported")
    wrong = _identity(instrument, market, found_class)
    size = market.get("contractSize")
    contract_size = Fraction(1) if found_class is InstrumentClass.SPOT or size is None else _fraction(size, key)
    units = Units(instrument, str(market["symbol"]), contract_size)
    precision = market.get("precision") or {}
    tick = _step(precision.get("price"), precision_mode, key)
    lot = _step(precision.get("amount"), precision_mode, key)
    here_tick = Fraction(instrument.tick, POW10[instrument.price_scale])
    here_lot = units.contracts(instrument.lot)
    if tick is not None and here_tick % tick:
        wrong.append(_says("tick", _text(here_tick), _text(tick)))
    if lot is not None and here_lot % lot:
        wrong.append(_says("lot, in the exchange's units,", _text(here_lot), _text(lot)))
    least = ((market.get("limits") or {}).get("amount") or {}).get("min")
    here_least = units.contracts(instrument.qty_min)
    if least is not None and here_least < _fraction(least, key):
        wrong.append(_says("qty_min, in the exchange's units,", _text(here_least), str(least)))
    if wrong:
        raise ConfigError(f"{key}: {'; '.join(wrong)}")
    return units


def _identity(instrument: Instrument, market: Mapping[str, Any], found_class: InstrumentClass) -> list[str]:
    pairs: list[tuple[str, object, object]] = [
        ("instrument_class", instrument.instrument_class.name.lower(), found_class.name.lower()),
        ("base_currency", instrument.base_currency, market.get("base")),
        ("quote_currency", instrument.quote_currency, market.get("quote")),
    ]
    if found_class is not InstrumentClass.SPOT:
        pairs += [
            ("settlement_currency", instrument.settlement_currency, market.get("settle")),
            ("is_inverse", instrument.is_inverse, market.get("inverse") is True),
        ]
    return [_says(name, str(here), str(there)) for name, here, there in pairs if here != there]


def _step(value: Any, mode: int, key: str) -> Fraction | None:
    """None where the exchange's rule is none of steps."""
    if value is None or mode == SIGNIFICANT_DIGITS:
        return None
    if mode == DECIMAL_PLACES:
        places = _fraction(value, key)
        return Fraction(1, 10**places.numerator) if places >= 0 else Fraction(10**-places.numerator)
    step = _fraction(value, key)
    return step if step > 0 else None


def _fraction(value: Any, key: str) -> Fraction:
    try:
        return exact(str(value))
    except UnitError as error:
        raise ConfigError(f"{key}: the exchange's rule {str(value)[:40]!r} cannot be read: {error}") from error


def _says(name: str, here: str, there: str) -> str:
    return f"{name} is {here} in the configuration and {there} at the exchange"


def _text(value: Fraction) -> str:
    """As a decimal: the steps of exchanges have no more digits than that."""
    return format_fixed(int(value * POW10[SCALE_MAX]), SCALE_MAX).rstrip("0").rstrip(".")
