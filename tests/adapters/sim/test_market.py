"""What a subscription lets through of the market, held against the slow and obvious way to say it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sim.market import NEVER, MarketFilter
from core.enums import AggressorSide, MarketStatus
from core.errors import ConfigError
from core.events import AnyEvent, Book, GapDetected, Quote, StatusChanged, Trade
from core.strategy import Subscription

KEY = "ACME.SIM"


def quote(bid: int, qty: int = 5, ts: int = 1) -> Quote:
    return Quote(ts, ts, KEY, bid, qty, bid + 1, 5)


def wants(**fields: object) -> MarketFilter:
    return MarketFilter([Subscription(instrument_id=KEY, **fields)])  # type: ignore[arg-type]


def through(market: MarketFilter, *events: AnyEvent) -> list[AnyEvent]:
    return [passed for event in events for passed in market.receive(1, event)]


def test_nothing_that_nobody_asked_for_goes_on_but_status_and_gaps() -> None:
    other = Quote(1, 1, "OTHER.SIM", 1, 1, 2, 1)
    gap, status = GapDetected(1, 1, "OTHER.SIM"), StatusChanged(1, 1, KEY, MarketStatus.HALTED)
    trade, book = Trade(1, 1, KEY, 5, 1, AggressorSide.BUY), Book(1, 1, KEY, ((5, 1),), ())
    assert through(wants(quotes="size"), other, gap, status, trade, book, quote(5)) == [gap, status, quote(5)]
    assert through(wants(trades=True), trade, quote(5)) == [trade]
    assert through(wants(bars_ns=1), trade) == [trade]
    assert through(MarketFilter([]), quote(5), gap) == [gap]


def test_price_lets_only_new_best_prices_through_and_size_everything() -> None:
    events = [quote(5), quote(5, 6), quote(5, 0), quote(5, 7), quote(6, 7)]
    assert through(wants(quotes="price"), *events) == [quote(5), quote(5, 0), quote(5, 7), quote(6, 7)]
    assert through(wants(quotes="size"), *events) == events


def test_a_book_has_the_levels_that_were_asked_for_and_comes_behind_its_quote() -> None:
    book = Book(1, 1, KEY, tuple((9 - n, 1) for n in range(5)), tuple((10 + n, 1) for n in range(5)))
    cut = Book(1, 1, KEY, ((9, 1), (8, 1)), ((10, 1), (11, 1)))
    assert through(wants(book_levels=2), quote(9), book) == [quote(9), cut]


def test_the_finest_of_several_subscriptions_wins() -> None:
    both = MarketFilter(
        [
            Subscription(instrument_id=KEY, quotes="price", interval_ns=1_000),
            Subscription(instrument_id=KEY, quotes="size", interval_ns=10),
        ]
    )
    assert through(both, quote(5), quote(5, 6)) == [quote(5)]
    assert both.next_deadline == 11
    assert both.due(11) == [quote(5, 6)]


def test_more_levels_than_the_venue_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="wants 11 levels"):
        wants(book_levels=11)


def test_what_waits_when_the_market_is_lost_is_not_given_later() -> None:
    market = wants(quotes="size", interval_ns=100)
    through(market, quote(5), quote(6))
    market.forget()
    assert (market.next_deadline, market.due(1_000)) == (NEVER, [])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), min_size=1, max_size=40), st.integers(0, 50))
def test_with_an_interval_the_latest_quote_is_never_later_than_that(steps: list[tuple[int, int]], interval: int) -> None:
    """At any moment the quote last let through is the newest one, or less than an interval has gone since it was let through."""
    market = wants(quotes="size", interval_ns=interval)
    ts, latest, seen, passed_ts = 1_000, None, None, None
    passed: list[int] = []
    for gap, bid in steps:
        target = ts + gap
        while market.next_deadline <= target:
            ts = market.next_deadline
            for event in market.due(ts):
                seen, passed_ts = event, ts
                passed.append(ts)
        ts = target
        latest = quote(bid, ts=ts)
        for event in market.receive(ts, latest):
            seen, passed_ts = event, ts
            passed.append(ts)
        assert seen == latest or (passed_ts is not None and ts - passed_ts < interval)
    assert all(later - earlier >= interval for earlier, later in pairwise(passed))
