"""Executions asked for by window and page: everything that the venue has by then is known, however it cuts its answers."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.binance import trade_log
from adapters.binance.rest_bodies import TradeBody
from adapters.binance.trade_log import Page, TradeLog, Window

WINDOW = 1_000
PAGE = 4


def body(number: int, stamp: int, order: int) -> TradeBody:
    return TradeBody("BTCUSDT", number, order, "1", "1", "0", "USDT", stamp)


class Venue:
    """Trades by id, stamps never going back. A full page of a window holds its latest, of ids its first."""

    def __init__(self) -> None:
        self.trades: list[TradeBody] = []
        self.asked = 0

    def add(self, stamp: int, *, is_own: bool) -> None:
        number = len(self.trades) + 1
        self.trades.append(body(number, stamp, 1))
        if is_own:
            self.trades.append(body(number, stamp, 2))  # two orders of ours met

    def answer(self, asked: Window | Page) -> list[TradeBody]:
        self.asked += 1
        if isinstance(asked, Window):
            assert 0 <= asked.until_ms - asked.since_ms <= WINDOW
            return [each for each in self.trades if asked.since_ms <= each.time <= asked.until_ms][-PAGE:]
        return [each for each in self.trades if each.id >= asked.from_id][:PAGE]


def ask(log: TradeLog, venue: Venue, since_ms: int, now_ms: int) -> list[TradeBody]:
    log.begin(since_ms, now_ms)
    while (asked := log.next) is not None:
        log.answered(venue.answer(asked))
    return log.known(since_ms)


steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1500), st.booleans(), st.integers(0, 400)), max_size=15)


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(0, 60_000))
def test_everything_is_known_whatever_the_pages(moves: list[tuple[int, int, bool, int]], behind: int) -> None:
    venue, log, now, since = Venue(), TradeLog(WINDOW), 100_000, 100_000 - behind
    with_pages = trade_log.TRADES_MAX
    trade_log.TRADES_MAX = PAGE
    try:
        for count, pause, is_own, further in moves:
            for _ in range(count):
                now += 7
                venue.add(now, is_own=is_own)
            now += pause
            found = ask(log, venue, since, now)
            assert [(each.id, each.order_id) for each in found] == [
                (each.id, each.order_id) for each in venue.trades if each.time >= since
            ]
            since += further
    finally:
        trade_log.TRADES_MAX = with_pages


def test_long_ago_is_read_by_ids_and_little_is_read_again() -> None:
    venue, log = Venue(), TradeLog(WINDOW)
    for number in range(3):
        venue.add(number * 10, is_own=False)
    assert len(ask(log, venue, 0, 10_000_000)) == 3
    assert venue.asked == 1
    assert ask(log, venue, 9_000_000, 10_000_500) == []
    assert venue.asked == 2
    assert msgspec.structs.fields(Page)[0].name == "from_id"
