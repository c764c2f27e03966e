"""Columns to integers: equal to parse_fixed and datetime value by value, and each refusal by row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnitError
from core.units import parse_fixed
from sim.data.columns import ColumnFault, to_fixed, to_ns

_TEXTS = st.decimals(-(10**10), 10**10, places=6).map(str) | st.text("0123456789.-+eE", max_size=14)


@given(st.lists(_TEXTS, min_size=1, max_size=20), st.integers(0, 8))
def test_texts_equal_parse_fixed(texts: list[str], scale: int) -> None:
    expected: list[int] | None = []
    for text in texts:
        try:
            expected.append(parse_fixed(text, scale))
        except UnitError:
            expected = None
            break
    if expected is None:
        with pytest.raises(ColumnFault):
            to_fixed(pl.Series(texts, dtype=pl.String), scale)
    else:
        assert to_fixed(pl.Series(texts, dtype=pl.String), scale).tolist() == expected


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=20), st.integers(0, 6))
def test_floats_that_are_decimals_come_back(points: list[int], scale: int) -> None:
    # The float nearest to the decimal, made the slow way.
    floats = [float(Decimal(value).scaleb(-scale)) for value in points]
    exact = [value for value, as_float in zip(points, floats, strict=True) if abs(value) < 1 << 51]
    assert to_fixed(pl.Series(floats), scale).tolist() == exact


@given(st.floats(-(2.0**37), 2.0**37), st.integers(0, 4))
def test_a_float_is_taken_only_as_the_decimal_it_prints_as(value: float, scale: int) -> None:
    text = format(Decimal(repr(value)), "f")
    fits = len(text.partition(".")[2].rstrip("0")) <= scale
    if fits:
        assert to_fixed(pl.Series([value]), scale).tolist() == [parse_fixed(text, scale)]
    else:
        with pytest.raises(ColumnFault):
            to_fixed(pl.Series([value]), scale)


@pytest.mark.parametrize(
    ("column", "scale", "row", "message"),
    [
        (pl.Series(["1", None]), 2, 1, "None is empty"),
        (pl.Series(["1", ""]), 2, 1, "'' is not a decimal number"),
        (pl.Series(["1", "NaN"]), 2, 1, "'NaN' is not a decimal number"),
        (pl.Series(["1", "inf"]), 2, 1, "'inf' is not a decimal number"),
        (pl.Series(["1", "1.005"]), 2, 1, "'1.005' has more than 2 decimals"),
        (pl.Series(["1", "999999999999999999"]), 2, 1, "'999999999999999999' at scale 2 does not fit in 64 bits"),
        (pl.Series([1.0, 0.1 + 0.2]), 2, 1, "0.30000000000000004 as a float is no decimal with 2 digits"),
        (pl.Series([1.0, float("nan")]), 2, 1, "nan is not a finite number"),
        (pl.Series([1.0, float("inf")]), 2, 1, "inf is not a finite number"),
        (pl.Series([1.0, 2.0**52]), 2, 1, "4503599627370496.0 is too large to be exact as a float"),
        (pl.Series([1.5], dtype=pl.Float32), 2, 0, "32-bit floats hold about seven digits: no price can be trusted in them"),
        (pl.Series([1, 2**62]), 2, 1, "4611686018427387904 does not fit in 64 bits"),
        (pl.Series([True]), 2, 0, "a column of type Boolean holds no numbers"),
    ],
)
def test_numbers_refused(column: pl.Series, scale: int, row: int, message: str) -> None:
    with pytest.raises(ColumnFault) as caught:
        to_fixed(column, scale)
    assert (caught.value.row, str(caught.value)) == (row, message)


def test_other_number_columns() -> None:
    assert to_fixed(pl.Series([7, -3]), 2).tolist() == [700, -300]
    assert to_fixed(pl.Series([7, -3]), 2, raw_integers=True).tolist() == [7, -3]
    assert to_fixed(pl.Series([Decimal("1.250"), Decimal("-3.100")]), 2).tolist() == [125, -310]
    assert to_fixed(pl.Series(["1.259", "-3.1"]), 2, cut=True).tolist() == [125, -310]
    assert to_fixed(pl.Series(["1.5e1", "2.509"]), 2, cut=True).tolist() == [1500, 250]
    assert to_fixed(pl.Series([1.259, -3.1, 2.5]), 2, cut=True).tolist() == [125, -310, 250]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7 * 10**9).map(lambda second: _EPOCH + timedelta(seconds=second)),
            st.integers(0, 999_999_999),
            st.integers(0, 9),
            st.sampled_from(["Z", "+00:00", "+0530", "-08:00", " +01:00"]),
            st.sampled_from("T "),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_iso_times_equal_datetime(parts: list[tuple[datetime, int, int, str, str]]) -> None:
    texts, expected = [], []
    for moment, ns, digits, offset, between in parts:
        below = f"{ns:09}"[:digits]
        texts.append(f"{moment:%Y-%m-%d}{between}{moment:%H:%M:%S}{'.' + below if below else ''}{offset}")
        sign, clock = (1, "0000") if offset == "Z" else (-1 if "-" in offset else 1, offset.strip()[1:].replace(":", ""))
        zone = timezone(sign * timedelta(hours=int(clock[:2]), minutes=int(clock[2:])))
        delta = moment.replace(tzinfo=zone) - _EPOCH
        expected.append((delta.days * 86_400 + delta.seconds) * 10**9 + int(below.ljust(9, "0")))
    assert to_ns(pl.Series(texts)).tolist() == expected


SECOND_2024 = 1_709_908_200  # 2024-03-08T14:30:00Z


@pytest.mark.parametrize(
    ("column", "zone"),
    [
        (pl.Series([SECOND_2024]), None),
        (pl.Series([SECOND_2024 * 10**3]), None),
        (pl.Series([SECOND_2024 * 10**6]), None),
        (pl.Series([SECOND_2024 * 10**9]), None),
        (pl.Series([str(SECOND_2024 * 10**3)]), None),
        (pl.Series(["2024-03-08 14:30:00"]), "UTC"),
        (pl.Series(["2024-03-08T14:30"]), "UTC"),
        (pl.Series(["2024-03-08 09:30:00"]), "America/New_York"),
        (pl.Series(["2024-03-08T14:30:00.000000000Z"]), "America/New_York"),
        (pl.Series([datetime(2024, 3, 8, 14, 30, tzinfo=UTC)]).dt.replace_time_zone(None), "UTC"),
        (pl.Series([datetime(2024, 3, 8, 14, 30, tzinfo=UTC)]), None),
    ],
)
def test_stamps_of_every_kind(column: pl.Series, zone: str | None) -> None:
    assert to_ns(column, zone).tolist() == [SECOND_2024 * 10**9]


def test_dates_are_midnight_in_their_zone() -> None:
    assert to_ns(pl.Series(["2024-03-08"]), "America/New_York").tolist() == [(SECOND_2024 - 34_200) * 10**9]
    assert to_ns(pl.Series([date(2024, 3, 8)]), "UTC").tolist() == [(SECOND_2024 - 52_200) * 10**9]


@pytest.mark.parametrize(
    ("column", "zone", "row", "message"),
    [
        (
            pl.Series(["2024-03-08 09:30:00"]),
            None,
            0,
            "'2024-03-08 09:30:00' has no offset: state the zone that the file's times are meant in",
        ),
        (
            pl.Series(["2024-03-10 01:30:00", "2024-03-10 02:30:00"]),
            "America/New_York",
            1,
            "'2024-03-10 02:30:00' does not exist or is ambiguous in America/New_York, where clocks were changed",
        ),
        (
            pl.Series(["2024-11-03 01:30:00"]),
            "America/New_York",
            0,
            "'2024-11-03 01:30:00' does not exist or is ambiguous in America/New_York, where clocks were changed",
        ),
        (pl.Series(["2024-03-08Z", "08/03/2024"]), None, 1, "'08/03/2024' is no ISO 8601 time"),
        (pl.Series(["2024-02-30Z"]), None, 0, "'2024-02-30Z' is no valid date and time"),
        (pl.Series(["2024-03-08T25:00:00Z"]), None, 0, "'2024-03-08T25:00:00Z' is no valid date and time"),
        (pl.Series(["2024-03-08T10:00:00+25:00"]), None, 0, "'2024-03-08T10:00:00+25:00' has an offset that no zone has"),
        (
            pl.Series(["2024-03-08T10:00:00Z", "2024-03-08T10:00:00"]),
            None,
            1,
            "'2024-03-08T10:00:00' has no offset, though other rows have one",
        ),
        (
            pl.Series([SECOND_2024, SECOND_2024 * 1000]),
            None,
            1,
            f"{SECOND_2024 * 1000} is not in the unit of the first row's stamp",
        ),
        (pl.Series([5]), None, 0, "5 is no stamp in s, ms, µs or ns since 1970"),
        (pl.Series([1.5]), None, 0, "a column of type Float64 holds no stamps"),
        (pl.Series(["2024-03-08Z", None]), None, 1, "None is empty"),
    ],
)
def test_stamps_refused(column: pl.Series, zone: str | None, row: int, message: str) -> None:
    with pytest.raises(ColumnFault) as caught:
        to_ns(column, zone)
    assert (caught.value.row, str(caught.value)) == (row, message)


def test_whole_int64_range_of_integers() -> None:
    column = pl.Series([np.iinfo(np.int64).max, -np.iinfo(np.int64).max])
    assert to_fixed(column, 0).tolist() == [2**63 - 1, -(2**63) + 1]
