"""JSON numbers as exact integers: straight from their text, never through a float.

Deribit writes prices and amounts as JSON numbers. A decoder that makes floats of them has lost digits before anybody looks,
so the wire's structs keep a number's own bytes (msgspec.Raw) until its scale is known.
"""

from __future__ import annotations

from msgspec import Raw

from core.errors import UnitError, VenueProtocolError
from core.units import INT64_MAX, POW10, divide_half_even, parse_fixed

PARSED_TEXTS_MAX = 1 << 16
# A fee may have more decimals than money has here; so many are read before it is rounded.
EXTRA_DECIMALS_MAX = 18


def exact(number: Raw, scale: int) -> int:
    """`number` at `scale`, exactly. Raises VenueProtocolError for what is no JSON number, does not fit in 64 bits or is too
    fine.
    """
    text = bytes(number)
    try:
        return parse_fixed(text.decode("ascii"), scale)
    except (UnitError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{text[:60]!r} at scale {scale}: {error}") from error


def rounded_money(number: Raw, scale: int) -> int:
    """`number` at `scale`, half-even where it is finer: the venue computes fees with more decimals than money has here."""
    value = _finest(number, scale)
    rounded = divide_half_even(value, POW10[EXTRA_DECIMALS_MAX])
    if abs(rounded) > INT64_MAX:
        raise VenueProtocolError(f"{bytes(number)[:60]!r} does not fit in 64 bits")
    return rounded


def _finest(number: Raw, scale: int) -> int:
    """`number` at `scale` + EXTRA_DECIMALS_MAX, cut behind that; wider than 64 bits on the way."""
    text = bytes(number)
    head, _, exponent = text.lower().partition(b"e")
    sign = -1 if head.startswith(b"-") else 1
    whole, _, fraction = head.lstrip(b"-").partition(b".")
    digits = whole + fraction
    if not digits.isdigit() or len(digits) > 60 or len(exponent) > 4 or (not exponent.lstrip(b"+-").isdigit() and exponent):
        raise VenueProtocolError(f"{text[:60]!r} is not a number")
    shift = scale + EXTRA_DECIMALS_MAX - len(fraction) + int(exponent or b"0")
    if shift > len(POW10) - 1:
        raise VenueProtocolError(f"{text[:60]!r} does not fit in 64 bits")
    magnitude = int(digits)
    return sign * (magnitude * POW10[shift] if shift >= 0 else magnitude // 10 ** min(-shift, 80))


class ScaledNumbers(dict[bytes, int]):
    """Numbers' texts and what they are at one scale: prices and sizes repeat, and a hit never enters Python.

    Looking up a text that is missing reads it; raises VenueProtocolError as `exact` does, and below `least`.
    """

    def __init__(self, scale: int, least: int) -> None:
        super().__init__()
        self._scale = scale
        self._least = least

    def __missing__(self, text: bytes) -> int:
        value = exact(Raw(text), self._scale)
        if value < self._least:
            raise VenueProtocolError(f"{text[:60]!r} is below {self._least}")
        if len(self) >= PARSED_TEXTS_MAX:
            self.clear()
        self[text] = value
        return value
