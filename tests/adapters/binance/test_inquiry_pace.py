"""Whoever asks however often: some of a minute's weight is left for the questions that decide."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from adapters.binance.endpoints import WEIGHT, Product
from adapters.binance.inquiry_pace import InquiryPace
from adapters.binance.instrument_rules import meters_of
from adapters.http.meters import Lane, SlidingWindow
from adapters.http.request import Request
from core.units import NS_PER_MINUTE, NS_PER_SECOND
from tests.adapters.binance.account_for_tests import codec


def budget(product: Product) -> SlidingWindow:
    return meters_of(product, [], share_percent=60, cancel_reserve_percent=20)[WEIGHT]


def inquiry(product: Product) -> list[Request[Any]]:
    asked: list[Request[Any]] = [codec(product).open_orders("BTCUSDT")] * 4
    return [*asked, codec(product).trades("BTCUSDT", from_id=0), codec(product).trades("BTCUSDT", from_id=0)]


@pytest.mark.parametrize("product", [Product.SPOT, Product.USDM])
@pytest.mark.parametrize("used", [0, 500])
def test_who_asks_without_end_leaves_some(product: Product, used: int) -> None:
    meter, requests = budget(product), inquiry(product)
    weight = sum(amount for request in requests for name, amount in request.costs if name == WEIGHT)
    pace, now, at = InquiryPace(meter), 0, []
    meter.observe(now, used)  # of the process before this one, say
    for _ in range(400):
        now += pace.wait(now)
        pace.begin(now)
        pace.ask(requests)
        meter.take(now, weight)
        at.append(now)
        assert meter.left(now, Lane.QUERY) >= meter.limit // 20
        now += NS_PER_SECOND // 50
    # Nor does anybody wait for long.
    assert max(later - earlier for earlier, later in pairwise(at)) < 15 * NS_PER_SECOND
    assert pace.wait(now + NS_PER_MINUTE) == 0


def test_where_others_have_used_everything_it_is_a_minute() -> None:
    meter = budget(Product.USDM)
    pace = InquiryPace(meter)
    assert pace.wait(0) == 0
    pace.begin(0)
    pace.ask(inquiry(Product.USDM))
    meter.observe(0, 10_000)
    assert pace.wait(0) == NS_PER_MINUTE


def test_what_an_earlier_process_used_is_waited_for_no_longer_than_it_counts() -> None:
    meter = budget(Product.USDM)
    meter.observe(0, meter.limit - 100)
    pace = InquiryPace(meter)
    now = 58 * NS_PER_SECOND
    pace.begin(now)
    pace.ask(inquiry(Product.USDM))
    meter.observe(now, meter.limit - 60)
    waits = pace.wait(now)
    # It is in the window to the end of its slice, a 64th of the minute.
    assert 2 * NS_PER_SECOND <= waits <= 3 * NS_PER_SECOND
    assert pace.wait(now + waits) == 0
