"""Exact conversion: every accepted text equals decimal.Decimal's reading of it, and nothing inexact is accepted."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import UnitError
from core.instruments import FEE_RATE_SCALE, parse_fee_rate
from core.units import (
    INT64_MAX,
    INT64_MIN,
    divide_half_even,
    format_fixed,
    parse_duration_ns,
    parse_fixed,
    quantise_price,
    quantise_qty,
    rescale,
    to_float,
)

scales = st.integers(0, 18)
int64 = st.integers(INT64_MIN, INT64_MAX)
digits = st.text("0123456789", max_size=22)
decimal_text = st.builds(
    lambda sign, whole, dot, fraction, exponent: sign + whole + dot + (fraction if dot else "") + exponent,
    st.sampled_from(["", "+", "-"]),
    digits,
    st.sampled_from(["", "."]),
    digits,
    st.one_of(st.just(""), st.builds(lambda e, n: f"{e}{n}", st.sampled_from(["e", "E", "e+"]), st.integers(-40, 40))),
)


def exact(text: str, scale: int) -> int | None:
    """The slow and obvious reading: Decimal, exactly; None where it cannot be represented."""
    try:
        value = Fraction(Decimal(text)) * 10**scale
    except (ArithmeticError, ValueError):
        return None
    if value.denominator != 1 or not INT64_MIN <= value <= INT64_MAX:
        return None
    return int(value)


@given(text=decimal_text, scale=scales)
@example(text="61837.63000000", scale=2)
@example(text="9223372036854775807", scale=0)
@example(text="9223372036854775808", scale=0)
@example(text="-9223372036854775808", scale=0)
@example(text="-9223372036854775809", scale=0)
@example(text="1e-18", scale=18)
@example(text="1e-19", scale=18)
@example(text=".5e3", scale=0)
@example(text="-.5", scale=1)
@example(text="5.", scale=3)
@example(text=".", scale=3)
@example(text="-0.000", scale=0)
@example(text="1e+-5", scale=2)
def test_parse_fixed_reads_what_decimal_reads(text: str, scale: int) -> None:
    expected = exact(text, scale)
    if expected is None:
        with pytest.raises(UnitError):
            parse_fixed(text, scale)
    else:
        assert parse_fixed(text, scale) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "1_000",
        "1,5",
        "NaN",
        "nan",
        "sNaN",
        "Infinity",
        "-inf",
        "0x10",
        "1e",
        "e5",
        "1e5.0",
        "--1",
        "+-1",
        "1.2.3",
        "1..2",
        "١٢",
        "1.٥",
        "１２",
        "²",
        "1e٣",
        "1e999",
        "9" * 400,
        "9" * 100_000,
        "0." + "0" * 5_000,
        "None",
        "True",
    ],
)
def test_parse_fixed_refuses(text: str) -> None:
    with pytest.raises(UnitError):
        parse_fixed(text, 2)


@given(text=st.text(max_size=12), scale=scales)
def test_parse_fixed_on_any_text_either_reads_as_decimal_or_raises_unit_error(text: str, scale: int) -> None:
    try:
        value = parse_fixed(text, scale)
    except UnitError:
        return
    assert value == exact(text, scale)


@given(value=int64, scale=scales)
def test_format_then_parse_gives_the_value_back(value: int, scale: int) -> None:
    text = format_fixed(value, scale)
    assert parse_fixed(text, scale) == value
    assert Decimal(text) == Decimal(value).scaleb(-scale)


def test_format_fixed_keeps_all_digits() -> None:
    shown = [format_fixed(v, s) for v, s in ((-5, 2), (0, 8), (123, 0), (6183763, 2), (-100, 2))]
    assert shown == ["-0.05", "0.00000000", "123", "61837.63", "-1.00"]


@given(value=int64, scale_from=scales, scale_to=scales)
def test_rescale_is_exact_or_raises(value: int, scale_from: int, scale_to: int) -> None:
    expected = Fraction(value, 10**scale_from) * 10**scale_to
    if expected.denominator == 1:
        assert rescale(value, scale_from, scale_to) == expected
    else:
        with pytest.raises(UnitError):
            rescale(value, scale_from, scale_to)


@given(numerator=st.integers(-(10**40), 10**40), denominator=st.integers(1, 10**20))
@example(numerator=5, denominator=2)
@example(numerator=-5, denominator=2)
@example(numerator=7, denominator=2)
@example(numerator=-7, denominator=2)
def test_divide_half_even_is_the_rounding_of_fraction(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize("denominator", [0, -1])
def test_divide_half_even_refuses_a_denominator_it_would_round_wrongly(denominator: int) -> None:
    with pytest.raises(AssertionError):
        divide_half_even(1, denominator)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)


@given(
    value=finite,
    scale=st.integers(0, 8),
    tick=st.sampled_from([1, 5, 10, 25, 100]),
    toward=st.sampled_from(["down", "up", "nearest"]),
)
@example(value=0.1 * 3, scale=1, tick=1, toward="down")
@example(value=61837.630000004, scale=8, tick=1, toward="down")
@example(value=123456.789000001, scale=8, tick=1, toward="up")
def test_quantise_price_is_on_tick_and_within_one(value: float, scale: int, tick: int, toward: str) -> None:
    points = quantise_price(value, scale, tick, toward)  # type: ignore[arg-type]  # hypothesis draws a plain str
    ticks = Fraction(value) * 10**scale / tick
    assert points % tick == 0
    got = Fraction(points, tick)
    # A thousandth of a tick is the snap; the rest is the float's own error in the one multiplication and division.
    slack = Fraction(2, 1000) + abs(ticks) * Fraction(4, 2**53)
    if toward == "down":
        assert -slack <= ticks - got < 1 + slack
    elif toward == "up":
        assert -slack <= got - ticks < 1 + slack
    else:
        assert abs(got - ticks) <= Fraction(1, 2) + slack


@given(value=finite, scale=st.integers(0, 8), lot=st.sampled_from([1, 5, 10, 1000]))
@example(value=15.0, scale=8, lot=1)  # was rounded up by one: the tolerance grew past a lot
@example(value=0.3, scale=1, lot=1)
@example(value=-2.7, scale=0, lot=1)
def test_quantise_qty_is_on_lot_and_never_more_than_asked(value: float, scale: int, lot: int) -> None:
    qty = quantise_qty(value, scale, lot)
    lots = abs(Fraction(value)) * 10**scale / lot
    slack = Fraction(2, 1000) + lots * Fraction(4, 2**53)
    assert qty % lot == 0
    assert qty == 0 or (qty > 0) is (value > 0)
    assert -slack <= lots - Fraction(abs(qty), lot) < 1 + slack


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_quantise_refuses_what_is_no_price(value: float) -> None:
    for toward in ("down", "up", "nearest"):
        with pytest.raises(UnitError):
            quantise_price(value, 2, 1, toward)  # type: ignore[arg-type]  # a loop over the literals
    with pytest.raises(UnitError):
        quantise_qty(value, 2, 1)


@given(value=st.integers(-(2**53), 2**53), scale=st.integers(0, 6))
def test_a_price_survives_the_way_through_a_float(value: int, scale: int) -> None:
    back = [
        quantise_price(to_float(value, scale), scale, 1, "down"),
        quantise_price(to_float(value, scale), scale, 1, "up"),
        quantise_price(to_float(value, scale), scale, 1, "nearest"),
    ]
    if abs(value) < 2**43:  # beyond, one point is less than the float's own error
        assert back == [value] * 3


def test_durations() -> None:
    texts = ["250us", "1.5ms", "10s", "5m", "2h", "1d", "7ns", " 0.000000001s ", "0s", "1 ms"]
    expected = [250_000, 1_500_000, 10**10, 3 * 10**11, 72 * 10**11, 864 * 10**11, 7, 1, 0, 10**6]
    assert [parse_duration_ns(text) for text in texts] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "-1s",
        "1.s",
        ".5s",
        "0.1ns",
        "1e3s",
        "nans",
        "١٠s",
        "1 week",
        "1s2",
        "9" * 25 + "d",
        "9" * 5000 + "s",
        "200000d",
    ],
)
def test_durations_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_duration_ns(text)


@given(numerator=st.integers(0, 2 * 10**6), unit=st.sampled_from(["ns", "us", "ms", "s", "m", "h"]), decimals=st.integers(0, 9))
def test_durations_are_exact(numerator: int, unit: str, decimals: int) -> None:
    text = format_fixed(numerator, decimals) + unit
    factor = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}[unit]
    expected = Fraction(numerator, 10**decimals) * factor
    if expected.denominator == 1:
        assert parse_duration_ns(text) == expected
    else:
        with pytest.raises(UnitError):
            parse_duration_ns(text)


def test_fee_rates_in_three_notations() -> None:
    texts = ["0.0002", "0.02%", "2bp", "-0.5bp", "0", "1.25 %", "0.000000001"]
    assert [parse_fee_rate(text) for text in texts] == [200_000, 200_000, 200_000, -50_000, 0, 12_500_000, 1]


@pytest.mark.parametrize("text", ["", "%", "nan", "nan%", "2 bps", "0.0000000001", "0.000001bp", "two"])
def test_fee_rates_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_fee_rate(text)


@given(rate=st.integers(-(10**9), 10**9))
def test_fee_rate_reads_its_own_decimal_form(rate: int) -> None:
    assert parse_fee_rate(format_fixed(rate, FEE_RATE_SCALE)) == rate
    assert parse_fee_rate(format_fixed(rate, FEE_RATE_SCALE - 2) + "%") == rate
    assert parse_fee_rate(format_fixed(rate, FEE_RATE_SCALE - 4) + "bp") == rate
