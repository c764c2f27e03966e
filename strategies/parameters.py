"""Decimal text of a strategy's parameters -> integers of its instrument, with the parameter named where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import ConfigError, UnitError
from core.instruments import Instrument


def find_instrument(instruments: Sequence[Instrument], instrument_id: str) -> Instrument:
    """The configured instrument of that id. Raises ConfigError, naming those there are."""
    for instrument in instruments:
        if instrument.instrument_id == instrument_id:
            return instrument
    known = ", ".join(instrument.instrument_id for instrument in instruments) or "none"
    raise ConfigError(f"instrument_id {instrument_id!r} is not configured; configured: {known}")


def parse_order_qty(instrument: Instrument, name: str, text: str) -> int:
    """`text` as a quantity (units of 10^-qty_scale) that an order may have: whole lots, inside the instrument's bounds."""
    qty = _parse(instrument.parse_qty, name, text)
    if qty % instrument.lot or not instrument.qty_min <= qty <= instrument.qty_max:
        lot, low, high = (instrument.format_qty(value) for value in (instrument.lot, instrument.qty_min, instrument.qty_max))
        raise ConfigError(f"{name} = {text!r}: {instrument.instrument_id} trades whole lots of {lot}, from {low} to {high}")
    return qty


def parse_position_qty(instrument: Instrument, name: str, text: str) -> int:
    """`text` as the largest position to hold either way (units of 10^-qty_scale), above 0."""
    qty = _parse(instrument.parse_qty, name, text)
    if qty <= 0:
        raise ConfigError(f"{name} = {text!r}: the largest position must be above 0")
    return qty


def parse_price_distance(instrument: Instrument, name: str, text: str) -> int:
    """`text` as a distance between prices (points of 10^-price_scale), above 0; it need not be whole ticks."""
    distance = _parse(instrument.parse_price, name, text)
    if distance <= 0:
        raise ConfigError(f"{name} = {text!r}: the distance must be above 0")
    return distance


def _parse(parse: Callable[[str], int], name: str, text: str) -> int:
    try:
        return parse(text)
    except UnitError as error:
        raise ConfigError(f"{name} = {text!r}: {error}") from error
