"""What a position is valued at, and what a bar does to the last price."""

from __future__ import annotations

from core.events import Bar, Quote, Trade
from core.market_state import MarketState
from core.portfolio import Position
from tests.core.records import EQUITY, quote

KEY = EQUITY.instrument_id


def bar(close: int, ts: int) -> Bar:
    return Bar(ts, ts, KEY, close, close, close, close, 100, 60)


def trade(price: int, ts: int) -> Trade:
    return Trade(ts, ts, KEY, price, 1, 0)


def test_the_mark_is_the_quote_else_the_last_price_else_nothing() -> None:
    state = MarketState(EQUITY, Position(EQUITY))
    marks = [state.mark()]
    state.trade = trade(10_000, 1)
    marks.append(state.mark())
    state.quote = quote(9_999, 10_001)
    marks.append(state.mark())
    state.quote = Quote(2, 2, KEY, 9_999, 0, 10_001, 5)  # nobody bids: its price means nothing
    marks.append(state.mark())
    state.quote = None
    state.bar = bar(10_050, 3)
    marks.append(state.mark())
    assert marks == [None, (10_000, 10_000), (9_999, 10_001), (10_000, 10_000), (10_050, 10_050)]


def test_bars_and_trades_are_one_last_price_the_later_wins() -> None:
    state = MarketState(EQUITY, Position(EQUITY))
    seen = []
    for event in (trade(1, 1), bar(2, 2), trade(3, 3), bar(4, 4), bar(5, 5)):
        if isinstance(event, Bar):
            state.bar = event
        else:
            state.trade = event
        assert state.trade is not None
        seen.append((state.trade.price, state.trade.ts_init))
        assert state.trade is state.trade  # read twice, made once
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
