"""Numbers of the library as decimal text, and that text as exact integers. Pure.

The wire carries decimal text, the library hands on the float that is nearest to it, and `repr` gives the shortest text that this
float is nearest to. A double keeps every decimal number of up to 15 significant digits apart from every other one, so for those
`repr(float(text))` is `text` again, digit for digit. What has more digits than that is refused wherever it has to be exact.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from core.errors import UnitError
from core.instruments import MONEY_SCALE, Instrument
from core.units import parse_fixed

SIGNIFICANT_DIGITS_MAX = 15
# How the protocol writes "no value": the largest double, and in some fields the largest 32-bit or 64-bit number.
UNSET_DOUBLE = 1.7976931348623157e308
UNSET_INTEGER = 2**31 - 1
UNSET_LONG = 2**63 - 1
MONEY_MAX = 10**10  # of a commission: beyond, it is no number that was meant


def text_of(value: object) -> str | None:
    """The number as text, exactly as the library has it ("inf" for what has no end); None where it is unset or NaN."""
    if isinstance(value, float):
        if math.isnan(value) or value in (UNSET_DOUBLE, float(UNSET_LONG)):
            return None
        return repr(value).removesuffix(".0")
    if type(value) is int:
        return None if value in (UNSET_INTEGER, UNSET_LONG) else str(value)
    if value is None or value == "":
        return None
    raise TypeError(f"a number cannot be {value!r}")


def text_or_zero(value: object) -> str:
    return text_of(value) or "0"


def decimal_of(text: str) -> Decimal:
    """For the library, which writes its text as it is."""
    return Decimal(text)


def price_of(instrument: Instrument, text: str) -> int:
    """In points. Raises UnitError where the text cannot be what the venue meant to the last digit, or has too many decimals."""
    return _exact(text, instrument.price_scale)


def price_on_tick(instrument: Instrument, text: str) -> int:
    """As `price_of`, and a multiple of the tick."""
    price = _exact(text, instrument.price_scale)
    if price % instrument.tick:
        raise UnitError(f"{instrument.instrument_id}: {text} is not on the tick {instrument.format_price(instrument.tick)}")
    return price


def qty_of(instrument: Instrument, text: str) -> int:
    """In units of the instrument; signed where the text is. Raises UnitError."""
    return _exact(text, instrument.qty_scale)


def money_of(text: str) -> int:
    """In 10^-MONEY_SCALE, the nearest: the venue computes commissions in doubles, and their last digits show it."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise UnitError(f"{text!r} is no amount of money") from None
    if not amount.is_finite() or abs(amount) > MONEY_MAX:
        raise UnitError(f"{text!r} is no amount of money")
    return int(amount.scaleb(MONEY_SCALE).to_integral_value(ROUND_HALF_EVEN))


def _exact(text: str, scale: int) -> int:
    digits = text.partition("e")[0].lstrip("-").replace(".", "").lstrip("0").rstrip("0")
    if len(digits) > SIGNIFICANT_DIGITS_MAX:
        raise UnitError(f"{text} has more than {SIGNIFICANT_DIGITS_MAX} significant digits")
    return parse_fixed(text, scale)
