"""client_order_id: one text for each id, one id for each text, and None for everybody else's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnitError
from core.identifiers import COUNTER_MAX, RUN_NUMBER_MAX, format_order_id, make_order_id, parse_order_id

run_numbers = st.integers(1, RUN_NUMBER_MAX)
counters = st.integers(1, COUNTER_MAX)
prefixes = st.text("abcXYZ019_", min_size=1, max_size=14)


@given(run=run_numbers, counter=counters, prefix=prefixes)
def test_text_form_reads_back_and_suits_every_venue(run: int, counter: int, prefix: str) -> None:
    identifier = make_order_id(run, counter)
    text = format_order_id(identifier, prefix)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", text)
    assert parse_order_id(text, prefix) == identifier


def test_longest_text_has_36_characters() -> None:
    assert len(format_order_id(make_order_id(RUN_NUMBER_MAX, COUNTER_MAX), "x" * 14)) == 36


@given(one=st.tuples(run_numbers, counters), other=st.tuples(run_numbers, counters))
def test_ids_are_unique_and_grow_with_run_and_counter(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = make_order_id(*one), make_order_id(*other)
    assert (first == second) is (one == other)
    assert (first < second) is (one < other)
    assert 0 < first < 1 << 63
    assert (format_order_id(first, "td") == format_order_id(second, "td")) is (one == other)


@pytest.mark.parametrize(("run", "counter"), [(0, 1), (-1, 1), (1, 0), (1, -1), (RUN_NUMBER_MAX + 1, 1), (1, COUNTER_MAX + 1)])
def test_numbers_out_of_range_are_refused(run: int, counter: int) -> None:
    with pytest.raises(UnitError):
        make_order_id(run, counter)


@pytest.mark.parametrize("prefix", ["", "a-b", "x" * 15, "é", "a b", "td\n", "../x"])
def test_a_prefix_that_could_not_be_read_back_is_refused(prefix: str) -> None:
    with pytest.raises(UnitError):
        format_order_id(make_order_id(1, 1), prefix)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "td",
        "td-1",
        "td-1-",
        "td--1",
        "td-0-1",
        "td-1-0",
        "td-01-1",
        "td-1-01",
        "td-1-1 ",
        "td-1-1\n",
        " td-1-1",
        "td-1-1-1",
        "TD-1-1",
        "other-1-1",
        "td-1-4294967296",
        "td-1073741824-1",
        "td-99999999999-1",
        "td-١-1",
        "td-+1-1",
        "autoclose-123",
        "adl_autoclose",
        "web_3f2a",
        "x-1-1",
    ],
)
def test_foreign_ids_are_none(text: str) -> None:
    assert parse_order_id(text, "td") is None


@given(text=st.text(max_size=40))
def test_whatever_is_read_is_written_back_the_same(text: str) -> None:
    identifier = parse_order_id(text, "td")
    assert identifier is None or format_order_id(identifier, "td") == text
