"""Exact conversion between decimal text and the integers used inside: prices, quantities, money.

A value v at scale s is the integer v * 10^s. Conversion happens once, at the edge, exactly, or raises UnitError.
Floats never enter here except through `quantise_price`, the one named door for a signal that became a price.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from core.errors import UnitError

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
NS_PER_MINUTE = 60 * NS_PER_SECOND
NS_PER_DAY = 86_400 * NS_PER_SECOND

SCALE_MAX = 18
INT64_MAX = (1 << 63) - 1
INT64_MIN = -(1 << 63)
POW10: tuple[int, ...] = tuple(10**exponent for exponent in range(2 * SCALE_MAX + 1))

# Longer text is no number of any market: refused before int() reads it, whose time grows with the square of the length.
TEXT_LENGTH_MAX = 400
# A float this close to a tick or lot, in ticks, means that tick.
SNAP_MAX = 1e-3

# Plain decimal or exponent notation. No NaN, no Infinity, no underscores, no hex, no surrounding blanks.
_DECIMAL = re.compile(r"([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?\Z|([+-]?)\.(\d+)(?:[eE]([+-]?\d{1,3}))?\Z", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d)", re.ASCII)


def parse_fixed(text: str, scale: int) -> int:
    """`text` at `scale`, exactly: parse_fixed("61837.63000000", 2) == 6183763.

    Raises UnitError for anything but a finite decimal, for digits beyond `scale` that are not zero, and for what does
    not fit in int64.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise UnitError(f"a number of {len(text)} characters is refused: {text[:20]}…")
    whole, _, fraction = text.partition(".")
    # The common shape first: digits, optional point, digits. isdecimal() alone would accept other scripts' digits.
    if whole.isdecimal() and whole.isascii() and (not fraction or (fraction.isdecimal() and fraction.isascii())):
        value = _join(whole, fraction, scale, text)
    else:
        value = _parse_general(text, scale)
    if not INT64_MIN <= value <= INT64_MAX:
        raise UnitError(f"{text!r} at scale {scale} does not fit in 64 bits")
    return value


def _join(whole: str, fraction: str, scale: int, text: str) -> int:
    kept = fraction[:scale]
    if len(fraction) > scale and fraction[scale:].strip("0"):
        raise UnitError(f"{text!r} has more than {scale} decimals")
    return int(whole + kept) * POW10[scale - len(kept)]


def _parse_general(text: str, scale: int) -> int:
    match = _DECIMAL.match(text)
    if match is None:
        raise UnitError(f"{text!r} is not a decimal number")
    sign, whole, fraction, exponent, dot_sign, dot_fraction, dot_exponent = match.groups()
    if dot_fraction is not None:
        sign, whole, fraction, exponent = dot_sign, "0", dot_fraction, dot_exponent
    digits = whole + (fraction or "")
    shift = scale - len(fraction or "") + int(exponent or 0)
    magnitude = int(digits)
    if magnitude == 0:
        return 0
    if shift > SCALE_MAX * 2:
        raise UnitError(f"{text!r} at scale {scale} does not fit in 64 bits")
    if shift >= 0:
        magnitude *= POW10[shift]
    else:
        magnitude, rest = divmod(magnitude, 10**-shift)
        if rest:
            raise UnitError(f"{text!r} has more than {scale} decimals")
    return -magnitude if sign == "-" else magnitude


def format_fixed(value: int, scale: int) -> str:
    """The decimal text of `value` at `scale`, all digits kept: format_fixed(-5, 2) == "-0.05"."""
    if scale == 0:
        return str(value)
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), POW10[scale])
    return f"{sign}{whole}.{fraction:0{scale}d}"


def rescale(value: int, scale_from: int, scale_to: int) -> int:
    """`value` moved from one scale to another, exactly, or UnitError."""
    if scale_to >= scale_from:
        return value * POW10[scale_to - scale_from]
    quotient, rest = divmod(value, POW10[scale_from - scale_to])
    if rest:
        raise UnitError(f"{format_fixed(value, scale_from)} has more than {scale_to} decimals")
    return quotient


def clamp_int64(value: int) -> int:
    """The nearest int64."""
    return min(max(value, INT64_MIN), INT64_MAX)


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator rounded to the nearest integer, ties to even; denominator > 0."""
    assert denominator > 0
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def quantise_price(value: float, scale: int, tick: int, toward: Literal["down", "up", "nearest"]) -> int:
    """The one door from a float signal to a price: the multiple of `tick` (points of 10^-scale) below, above or nearest.

    `value` is in whole currency units. Raises UnitError when it is not finite or leaves int64.
    """
    if not math.isfinite(value):
        raise UnitError(f"a price cannot be {value!r}")
    ticks = value * POW10[scale] / tick
    if abs(ticks) * tick > INT64_MAX:
        raise UnitError(f"price {value!r} at scale {scale} does not fit in 64 bits")
    # A float a hair off an exact tick means that tick: 0.1 * 3 must not fall to the tick below. The hair grows with the number,
    # as a float's error does, but stays far below a tick.
    nearest = math.floor(ticks + 0.5)
    if abs(ticks - nearest) <= min(1e-9 * max(1.0, abs(ticks)), SNAP_MAX):
        return nearest * tick
    if toward == "down":
        return math.floor(ticks) * tick
    if toward == "up":
        return math.ceil(ticks) * tick
    return nearest * tick


def quantise_qty(value: float, scale: int, lot: int) -> int:
    """The largest multiple of `lot` (units of 10^-scale) not above `value` in size; the sign is kept."""
    if not math.isfinite(value):
        raise UnitError(f"a quantity cannot be {value!r}")
    lots = abs(value) * POW10[scale] / lot
    if lots * lot > INT64_MAX:
        raise UnitError(f"quantity {value!r} at scale {scale} does not fit in 64 bits")
    whole = math.floor(lots + min(1e-9 * max(1.0, lots), SNAP_MAX)) * lot
    return -whole if value < 0 else whole


def to_float(value: int, scale: int) -> float:
    """For signals and reports only; never back into an order except through `quantise_price`."""
    return value / POW10[scale]


def parse_duration_ns(text: str) -> int:
    """ "250us", "1.5ms", "10s", "5m", "2h" or "1d" in ns."""
    match = _DURATION.fullmatch(text.strip()) if len(text) <= TEXT_LENGTH_MAX else None
    if match is None:
        raise UnitError(f"{text!r} is not a duration; write for example 250us, 10ms, 1.5s, 5m, 2h or 1d")
    factor = {
        "ns": 1,
        "us": NS_PER_US,
        "ms": NS_PER_MS,
        "s": NS_PER_SECOND,
        "m": NS_PER_MINUTE,
        "h": 60 * NS_PER_MINUTE,
        "d": NS_PER_DAY,
    }
    whole, _, fraction = match[1].partition(".")
    numerator = int(whole + fraction) * factor[match[2]]
    quotient, rest = divmod(numerator, POW10[len(fraction)]) if len(fraction) < len(POW10) else (0, 1)
    if rest:
        raise UnitError(f"{text!r} is finer than one nanosecond")
    if quotient > INT64_MAX:
        raise UnitError(f"{text!r} does not fit in 64 bits of nanoseconds")
    return quotient
