"""A market played as events of a live feed gives what the same market gives as a tape."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.commands import SubmitOrder
from core.enums import AggressorSide, InstrumentClass, MarketStatus, OrderType, Side
from core.events import AnyEvent, Book, GapDetected, OrderAccepted, OrderFilled, Quote, StatusChanged, Trade
from core.instruments import Instrument
from core.strategy import Subscription
from native import market_data as md
from native.market_data import MD_ROW
from sim.latency import ConstantLatency
from sim.live_feed import LiveFeedVenue
from sim.venue import InstrumentSettings, SimulatedVenue, VenueSettings

ID = "ACME.SIM"
MS = 1_000_000
START = 1_000_000 * MS
INSTRUMENT = Instrument(
    instrument_id=ID,
    instrument_class=InstrumentClass.EQUITY,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)


def make_venue(**wanted: Any) -> SimulatedVenue:
    subscription = Subscription(instrument_id=ID, **({"quotes": "packet", "trades": True} | wanted))
    settings = VenueSettings(latency=ConstantLatency(entry_ns=3 * MS, response_ns=2 * MS))
    return SimulatedVenue([InstrumentSettings(instrument=INSTRUMENT, subscriptions=(subscription,))], settings)


def order(number: int, side: Side, price: int, ts: int) -> SubmitOrder:
    return SubmitOrder(ts, number, "s", ID, side, OrderType.LIMIT, 5, price)


def rows_of(event: Quote | Trade) -> list[tuple[int, ...]]:
    """As readers of recorded quotes and prints write them."""
    if isinstance(event, Trade):
        side = {AggressorSide.BUY: md.BUY, AggressorSide.SELL: md.SELL}.get(event.aggressor_side, md.NO_SIDE)
        return [(event.ts_event, event.ts_init, event.price, event.qty, event.trade_id, 0, md.TRADE, side, md.FLAG_LAST)]
    return [
        (event.ts_event, event.ts_init, event.bid_price, event.bid_qty, 0, 0, md.BBO, md.BUY, 0),
        (event.ts_event, event.ts_init, event.ask_price, event.ask_qty, 0, 0, md.BBO, md.SELL, md.FLAG_LAST),
    ]


def play_live(market: list[Quote | Trade], orders: dict[int, SubmitOrder], ends: int) -> list[AnyEvent]:
    """Event by event, with the clock in steps of a millisecond."""
    venue = LiveFeedVenue(make_venue(), START)
    found: list[AnyEvent] = []
    waiting = list(market)
    for ts in range(START, ends, MS):
        while waiting and waiting[0].ts_init <= ts:
            venue.take_market(waiting.pop(0), ts)
        while events := venue.advance(ts + 1):
            found += events
        if ts in orders:
            venue.take(orders[ts])
    assert not waiting
    return found


def play_tape(market: list[Quote | Trade], orders: dict[int, SubmitOrder], ends: int) -> list[AnyEvent]:
    venue = make_venue()
    venue.feed(np.array([row for event in market for row in rows_of(event)], dtype=MD_ROW))
    venue.finish()
    found: list[AnyEvent] = []
    for ts in sorted(orders):
        while events := venue.advance(ts):
            found += events
        venue.take(orders[ts])
    while events := venue.advance(ends):
        found += events
    return found


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[Quote | Trade], dict[int, SubmitOrder]]:
    ts, market = START, []
    for _ in range(draw(st.integers(1, 30))):
        ts += draw(st.integers(1, 4)) * MS
        price = draw(st.integers(9_990, 10_010))
        if draw(st.booleans()):
            market.append(Quote(ts, ts, ID, price, draw(st.integers(1, 9)), price + draw(st.integers(1, 3)), 7))
        else:
            side = draw(st.sampled_from(list(AggressorSide)))
            market.append(Trade(ts, ts, ID, price, draw(st.integers(1, 12)), side, len(market)))
    first = market[0].ts_init
    # A tape that has ended lets its clock stand: the last row lies behind the last order.
    last = max(ts, first + 40 * MS) + MS
    market.append(Quote(last, last, ID, 9_990, 1, 9_995, 1))
    times = draw(st.lists(st.integers(1, 40), unique=True, max_size=6))
    orders = {
        first + at * MS: order(number, draw(st.sampled_from([Side.BUY, Side.SELL])), draw(st.integers(9_985, 10_015)), first)
        for number, at in enumerate(times, start=1)
    }
    return market, orders


@given(sessions())
def test_a_feed_is_played_as_its_recording_would_be(session: tuple[list[Quote | Trade], dict[int, SubmitOrder]]) -> None:
    market, orders = session
    ends = max([market[-1].ts_init, *orders]) + 50 * MS
    assert play_live(market, orders, ends) == play_tape(market, orders, ends)


def everything(venue: LiveFeedVenue, ts: int) -> list[AnyEvent]:
    found: list[AnyEvent] = []
    while events := venue.advance(ts):
        found += events
    return found


def test_a_book_is_told_by_what_changed_in_it_and_keeps_our_place_in_the_queue() -> None:
    venue = LiveFeedVenue(make_venue(quotes="off", book_levels=2, trades=False), START)
    venue.take_market(Book(START, START, ID, ((99, 10), (98, 5)), ((101, 10), (102, 5))), START)
    everything(venue, START + MS)
    venue.take(order(1, Side.BUY, 99, START + MS))
    everything(venue, START + 10 * MS)
    assert venue.inner.native.queue_ahead(1) == 10
    # Another level changes; the one that we wait in does not.
    venue.take_market(Book(START, START, ID, ((99, 10), (97, 5)), ((101, 8), (103, 5))), START + 10 * MS)
    found = everything(venue, START + 11 * MS)
    assert venue.inner.native.queue_ahead(1) == 10
    assert [event for event in found if isinstance(event, Book)][-1].asks == ((101, 8), (103, 5))
    assert venue.inner.depth(ID) == ([(99, 10), (97, 5)], [(101, 8), (103, 5)])


def test_nothing_is_filled_on_a_book_that_is_lost_and_the_next_one_replaces_it() -> None:
    venue = LiveFeedVenue(make_venue(), START)
    venue.take_market(Quote(START, START, ID, 99, 5, 101, 5), START)
    everything(venue, START + MS)
    venue.take_market(GapDetected(START, START, ID), START + MS)
    venue.take(order(1, Side.BUY, 101, START + MS))
    lost = everything(venue, START + 10 * MS)
    assert [type(event) for event in lost if not isinstance(event, Quote)] == [GapDetected, OrderAccepted]
    venue.take_market(Quote(START, START, ID, 103, 5, 104, 5), START + 20 * MS)
    everything(venue, START + 30 * MS)
    assert venue.best(ID) == (103, 104)


def test_a_halt_of_the_market_is_told() -> None:
    venue = LiveFeedVenue(make_venue(), START)
    venue.take_market(Quote(START, START, ID, 99, 5, 101, 5), START)
    venue.take_market(StatusChanged(START, START, ID, MarketStatus.HALTED), START)
    venue.take(order(1, Side.BUY, 101, START)) if everything(venue, START + MS) else None
    found = everything(venue, START + 20 * MS)
    assert not [event for event in found if isinstance(event, OrderFilled)]


def test_stamps_that_go_back_are_moved_up() -> None:
    venue = LiveFeedVenue(make_venue(), START)
    venue.take_market(Quote(START + 5, START + 5, ID, 99, 5, 101, 5), START + MS)
    venue.take_market(Quote(START + 2, START + 2, ID, 98, 5, 101, 5), START)
    found = everything(venue, START + 2 * MS)
    assert [(event.ts_event, event.ts_init) for event in found] == [(START + 5, START + MS)] * 2


@pytest.mark.parametrize("count", [1, 5])
def test_what_waits_is_counted(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.live_feed.ROWS_WAITING_MAX", 2 * count)
    venue = LiveFeedVenue(make_venue(), START)
    for _ in range(count):
        assert not venue.is_full
        venue.take_market(Quote(START, START, ID, 99, 5, 101, 5), START)
    assert venue.is_full
    everything(venue, START + MS)
    assert not venue.is_full


@given(st.randoms(use_true_random=False))
def test_rows_that_come_late_stop_nothing_and_time_never_goes_back(random: Random) -> None:
    venue = LiveFeedVenue(make_venue(interval_ns=random.choice([0, 2 * MS])), START)
    now, number, seen = START, 1, START
    for _ in range(60):
        now += random.randrange(3 * MS)
        match random.randrange(3):
            case 0:
                price, ts_event = random.randrange(9_995, 10_005), now - random.randrange(3 * MS)
                quote = Quote(ts_event, now, ID, price, random.randrange(1, 9), price + 1, random.randrange(1, 9))
                venue.take_market(random.choice([quote, Trade(ts_event, now, ID, price, 3, AggressorSide.BUY, 1)]), now)
            case 1:
                for event in everything(venue, now):
                    assert seen <= event.ts_init <= now
                    seen = event.ts_init
            case _ if venue.inner.now > START + 1:
                venue.take(order(number, random.choice([Side.BUY, Side.SELL]), random.randrange(9_990, 10_010), now))
                number += 1
