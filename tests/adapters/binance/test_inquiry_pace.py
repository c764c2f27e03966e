"""Whoever asks however often: some of a minute's weight is left for the questions that decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.binance.endpoints import Product
from adapters.binance.inquiry_pace import InquiryPace
from adapters.binance.instrument_rules import meters_of, query_weight_of
from adapters.http.meters import NEVER, Lane
from adapters.http.request import Request
from core.units import NS_PER_MINUTE, NS_PER_SECOND
from tests.adapters.binance.account_for_tests import codec


def requests(product: Product, count: int) -> list[Request[Any]]:
    return [codec(product).open_orders("BTCUSDT")] * count


@pytest.mark.parametrize(("product", "weight"), [(Product.SPOT, 2520), (Product.USDM, 1008)])
def test_the_weight_for_questions_is_what_their_lane_may_use(product: Product, weight: int) -> None:
    assert query_weight_of(product, [], 60, 20) == weight
    meter = meters_of(product, [], share_percent=60, cancel_reserve_percent=20)["weight"]
    assert meter.wait(0, weight, Lane.QUERY) == 0
    assert meter.wait(0, weight + 1, Lane.QUERY) == NEVER


@given(st.lists(st.tuples(st.integers(0, 3 * NS_PER_SECOND), st.integers(1, 60)), max_size=120))
def test_no_minute_of_inquiries_uses_all_of_it(asked: list[tuple[int, int]]) -> None:
    pace, now, taken = InquiryPace(1008), 0, []
    for pause, count in asked:
        now += pause
        now += pace.wait(now)
        pace.begin()
        pace.ask(now, requests(Product.USDM, count))
        taken.append((now, count))
    for end, last in taken:
        used = sum(count for at, count in taken if end - NS_PER_MINUTE < at <= end)
        # The last one may be larger than the one before it, which is what was waited for.
        assert used - last <= 1008 * 5 // 6


def test_one_like_the_last_is_waited_for_and_never_more_than_there_can_be() -> None:
    pace = InquiryPace(1200)
    assert pace.wait(0) == 0
    pace.begin()
    pace.ask(0, requests(Product.USDM, 390))
    assert pace.wait(0) == 38 * NS_PER_SECOND  # 10 are left of 400, and 10 come back in a second
    assert pace.wait(38 * NS_PER_SECOND) == 0
    pace.begin()
    pace.ask(38 * NS_PER_SECOND, requests(Product.USDM, 5000))
    assert 0 < pace.wait(38 * NS_PER_SECOND) <= NS_PER_MINUTE
