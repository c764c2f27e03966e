"""Whole table columns to integers, exactly: decimal text, floats and integers to fixed point, stamps to ns UTC.

Each function equals its slow counterpart value by value (core.units.parse_fixed; datetime), which a property test holds.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from core.errors import UnitError
from core.units import INT64_MAX, NS_PER_MS, NS_PER_SECOND, NS_PER_US, POW10, parse_fixed

# The float and its product with 10^scale are each off by at most 2^-53 of themselves: up to here the nearest integer is
# still the decimal that was meant.
_FLOAT_EXACT_MAX = 1 << 51
_DECIMAL = r"^(-?)([0-9]{1,18})(?:\.([0-9]*))?$"
_ISO = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?)?[ ]?(Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
# Integer stamps: from 2001 to 2286 the ranges of the four units do not overlap.
_INTEGER_UNITS = ((10**9, NS_PER_SECOND), (10**12, NS_PER_MS), (10**15, NS_PER_US), (10**18, 1))


class ColumnFault(Exception):
    """The value in `row` (0-based, of this column) cannot be used; the caller knows the file and turns it into a DataError."""

    def __init__(self, row: int, message: str) -> None:
        self.row = row
        super().__init__(message)


def to_fixed(column: pl.Series, scale: int, cut: bool = False, raw_integers: bool = False) -> np.ndarray:
    """Values at `scale` as int64. `cut` drops digits beyond the scale instead of refusing them.

    Integers are whole numbers, or points already where `raw_integers`. Raises ColumnFault.
    """
    _refuse_nulls(column)
    if column.dtype.is_integer():
        factor = 1 if raw_integers else POW10[scale]
        wide = column.cast(pl.Int128)
        _refuse(((wide > INT64_MAX // factor) | (wide < -(INT64_MAX // factor))).to_numpy(), column, "does not fit in 64 bits")
        return np.asarray(column.cast(pl.Int64).to_numpy() * factor)
    if column.dtype.is_float():
        return _floats_to_fixed(column, scale, cut)
    if column.dtype.is_decimal() or column.dtype == pl.String:
        return _texts_to_fixed(column.cast(pl.String), scale, cut)
    raise ColumnFault(0, f"a column of type {column.dtype} holds no numbers")


def _texts_to_fixed(column: pl.Series, scale: int, cut: bool) -> np.ndarray:
    parts = column.str.extract_groups(_DECIMAL).struct
    whole, fraction = parts.field("2"), parts.field("3").fill_null("")
    is_plain = whole.is_not_null() & (whole.str.len_bytes() <= 18 - scale)
    if not cut:
        is_plain &= fraction.str.slice(scale).str.contains("^0*$")
    if not is_plain.all():
        return np.array([_text_to_fixed(row, text, scale, cut) for row, text in enumerate(column)], dtype=np.int64)
    values = whole.cast(pl.Int64).to_numpy() * POW10[scale]
    if scale:
        values = values + fraction.str.slice(0, scale).str.pad_end(scale, "0").cast(pl.Int64).to_numpy()
    return np.asarray(np.where((parts.field("1") == "-").to_numpy(), -values, values))


def _text_to_fixed(row: int, text: str, scale: int, cut: bool) -> int:
    try:
        # What is cut off must be digits all the same; with an exponent there is nothing to cut.
        plain = re.fullmatch(_DECIMAL, text) if cut else None
        return parse_fixed(text if plain is None else f"{plain[1]}{plain[2]}.{(plain[3] or '')[:scale]}", scale)
    except UnitError as error:
        raise ColumnFault(row, str(error)) from error


def _floats_to_fixed(column: pl.Series, scale: int, cut: bool) -> np.ndarray:
    """n such that n / 10^scale is the very float: division is correctly rounded, so that float is the decimal's nearest."""
    values = column.cast(pl.Float64).to_numpy()
    if column.dtype == pl.Float32:
        raise ColumnFault(0, "32-bit floats hold about seven digits: no price can be trusted in them")
    _refuse(~np.isfinite(values), column, "is not a finite number")
    scaled = values * POW10[scale]
    _refuse(np.abs(scaled) >= _FLOAT_EXACT_MAX, column, "is too large to be exact as a float")
    nearest = np.rint(scaled)
    is_exact = nearest / POW10[scale] == values
    if cut:
        nearest = np.where(is_exact, nearest, np.trunc(scaled))
    else:
        _refuse(~is_exact, column, f"as a float is no decimal with {scale} digits")
    return np.asarray(nearest, dtype=np.int64)


def to_ns(column: pl.Series, zone: str | None = None) -> np.ndarray:
    """Stamps as ns UTC: integers in s, ms, µs or ns, told apart by size; ISO 8601 text; or Datetime and Date columns.

    Stamps without an offset are meant in `zone` and refused without one. Raises ColumnFault.
    """
    _refuse_nulls(column)
    if column.dtype == pl.String and column.str.contains("^[0-9]{10,19}$").all():
        column = column.cast(pl.Int64)
    if column.dtype.is_integer():
        return _integers_to_ns(column)
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ns"))
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is not None:
            return column.cast(pl.Datetime("ns", column.dtype.time_zone)).dt.epoch("ns").to_numpy()
        return _localise(column.cast(pl.Datetime("ns")), column, zone)
    if column.dtype == pl.String:
        return _texts_to_ns(column, zone)
    raise ColumnFault(0, f"a column of type {column.dtype} holds no stamps")


def _integers_to_ns(column: pl.Series) -> np.ndarray:
    values = column.cast(pl.Int64).to_numpy()
    if not len(values):
        return values
    for least, factor in _INTEGER_UNITS:
        # 10^18 ns with one digit more than int64 holds cannot occur, so the upper bound is safe in Python's integers.
        if least <= int(values[0]) < 10 * least:
            _refuse(
                (values < least) | (values > min(10 * least - 1, INT64_MAX)),
                column,
                "is not in the unit of the first row's stamp",
            )
            return values * factor
    raise ColumnFault(0, f"{values[0]} is no stamp in s, ms, µs or ns since 1970")


def _texts_to_ns(column: pl.Series, zone: str | None) -> np.ndarray:
    parts = column.str.extract_groups(_ISO).struct
    day, clock, fraction, offset = (parts.field(str(index)) for index in range(1, 5))
    _refuse(day.is_null().to_numpy(), column, "is no ISO 8601 time")
    clock = clock.fill_null("00:00:00")
    clock = pl.select(pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)).to_series()
    local = (day + " " + clock).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ns", strict=False)
    _refuse(local.is_null().to_numpy(), column, "is no valid date and time")
    below_second = fraction.fill_null("").str.pad_end(9, "0").cast(pl.Int64).to_numpy()
    is_naive = offset.is_null()
    if is_naive.all():
        return np.asarray(_localise(local, column, zone) + below_second)
    _refuse(is_naive.to_numpy(), column, "has no offset, though other rows have one")
    offset = offset.replace("Z", "+00:00").str.replace(":", "", literal=True)
    sign = np.where((offset.str.slice(0, 1) == "-").to_numpy(), -1, 1)
    hours = offset.str.slice(1, 2).cast(pl.Int64).to_numpy()
    minutes = offset.str.slice(3, 2).cast(pl.Int64).to_numpy()
    _refuse((hours > 23) | (minutes > 59), column, "has an offset that no zone has")
    return np.asarray(local.dt.epoch("ns").to_numpy() - sign * (hours * 60 + minutes) * 60 * NS_PER_SECOND + below_second)


def _localise(local: pl.Series, column: pl.Series, zone: str | None) -> np.ndarray:
    if zone is None:
        raise ColumnFault(0, f"{column[0]!r} has no offset: state the zone that the file's times are meant in")
    stamped = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    _refuse(stamped.is_null().to_numpy(), column, f"does not exist or is ambiguous in {zone}, where clocks were changed")
    return stamped.dt.epoch("ns").to_numpy()


def _refuse_nulls(column: pl.Series) -> None:
    _refuse(column.is_null().to_numpy(), column, "is empty")


def _refuse(broken: np.ndarray, column: pl.Series, what: str) -> None:
    if broken.any():
        row = int(np.argmax(broken))
        raise ColumnFault(row, f"{column[row]!r} {what}")
