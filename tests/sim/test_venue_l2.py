"""Level-2 fills one by one: each test is a tape that one can read, and the whole stream of events it leads to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import CapacityError, DataError
from native import venue as native
from native.market_data import ADD, BBO, BUY, CLEAR, FLAG_LAST, GAP, LEVEL, MD_ROW, NO_SIDE, SELL, STATUS, TRADE
from native.venue import NativeVenue

TapeRow = tuple[int, int, int, int, int]  # ts, kind, side, price, qty


def tape(*rows: TapeRow, delay: int = 0) -> npt.NDArray[Any]:
    array = np.zeros(len(rows), dtype=MD_ROW)
    for at, (ts, kind, side, price, qty) in enumerate(rows):
        array[at] = (ts, ts + delay, price, qty, 0, 0, kind, side, FLAG_LAST)
    return array


def venue_with(*rows: TapeRow, delay: int = 0, wake: int = native.WAKE_ORDER, **settings: Any) -> NativeVenue:
    names = ("entry_ns", "response_ns", "stp_mode", "orders_max", "timers_max", "reject_per_million", "seed")
    venue = NativeVenue(**{name: settings.pop(name) for name in names if name in settings})
    venue.add_instrument(wake=wake, **settings)
    venue.feed(tape(*rows, delay=delay))
    venue.finish()
    return venue


def events(venue: NativeVenue, until: int) -> list[tuple[int, ...]]:
    """All events up to `until`: (ts_init, kind, client_order_id, a, b, c, d)."""
    found: list[tuple[int, ...]] = []
    while not venue.is_done and (batch := venue.run(until)):
        found += [(ts, kind, order_id, a, b, c, d) for ts, _, kind, _, order_id, a, b, c, d, _ in batch]
        assert venue.check()
    return found


# Queue position. Published values: front 40, back 60, level 100 -> 90 (REFERENCE: hftbacktest's models). Quantities in
# micro-units, lot one million, so that six decimals of the published value show.


@pytest.mark.parametrize(
    ("model", "power", "left"),
    [
        (native.QUEUE_POWER, 2.0, 36_923_077),
        (native.QUEUE_LOG, 1.0, 35_253_885),
        (native.QUEUE_RISK_AVERSE, 1.0, 40_000_000),
    ],
)
def test_published_queue_positions(model: int, power: float, left: int) -> None:
    unit = 1_000_000
    venue = venue_with(
        (1, LEVEL, BUY, 99, 40 * unit),
        (2, LEVEL, SELL, 101, unit),
        (10, LEVEL, BUY, 99, 100 * unit),
        (20, LEVEL, BUY, 99, 90 * unit),
        (30, LEVEL, BUY, 99, 90 * unit),
        lot=unit,
        queue_model=model,
        queue_power=power,
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, unit)
    events(venue, 15)
    assert venue.queue_ahead(1) == 40 * unit
    events(venue, 25)
    assert venue.queue_ahead(1) == left


def test_a_print_moves_us_up_once() -> None:
    """10 printed at our price, then the level shows 10 less: that is one decrease, not two."""
    venue = venue_with(
        (1, LEVEL, BUY, 99, 40),
        (10, TRADE, SELL, 99, 10),
        (11, LEVEL, BUY, 99, 30),
        (20, LEVEL, BUY, 99, 20),
        (30, TRADE, BUY, 101, 1),
        queue_model=native.QUEUE_POWER,
        queue_power=2.0,
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 5)
    events(venue, 10)
    assert venue.queue_ahead(1) == 30
    events(venue, 15)
    assert venue.queue_ahead(1) == 30
    events(venue, 25)  # nobody behind us: what leaves was before us
    assert venue.queue_ahead(1) == 20


def test_print_at_our_price_uses_up_the_queue_first() -> None:
    venue = venue_with((1, LEVEL, BUY, 99, 8), (10, TRADE, SELL, 99, 10), (20, TRADE, SELL, 99, 10), (30, TRADE, SELL, 99, 1))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 5)
    venue.submit_limit(0, 2, BUY, 99, 5)
    assert events(venue, 40) == [
        (5, native.ACCEPTED, 1, 99, 5, 0, 0),
        (5, native.ACCEPTED, 2, 99, 5, 0, 0),
        (10, native.FILL, 1, 99, 2, 3, 0),
        (20, native.FILL, 1, 99, 3, 0, 0),
        (20, native.FILL, 2, 99, 5, 0, 0),
    ]


def test_print_through_our_price_fills_up_to_what_was_printed() -> None:
    venue = venue_with((1, LEVEL, BUY, 99, 50), (10, TRADE, SELL, 98, 3), (20, TRADE, NO_SIDE, 98, 9), (30, TRADE, BUY, 99, 9))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 99, 5)
    assert events(venue, 40)[1:] == [(10, native.FILL, 1, 99, 3, 2, 0), (20, native.FILL, 1, 99, 2, 0, 0)]


def test_opposite_level_through_our_price_fills_us_once_for_its_quantity() -> None:
    venue = venue_with(
        (1, LEVEL, BUY, 98, 5),
        (2, LEVEL, SELL, 102, 5),
        (10, LEVEL, SELL, 99, 4),
        (20, LEVEL, SELL, 99, 4),
        (30, LEVEL, SELL, 99, 6),
    )
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 100, 10)
    assert events(venue, 40)[1:] == [(10, native.FILL, 1, 100, 4, 6, 0), (30, native.FILL, 1, 100, 2, 4, 0)]


def test_taker_walks_levels_and_remembers_what_it_took() -> None:
    venue = venue_with(
        (1, LEVEL, SELL, 101, 5),
        (2, LEVEL, SELL, 102, 5),
        (20, LEVEL, SELL, 101, 8),  # three new
        (30, LEVEL, SELL, 101, 6),  # two of those we took are gone from the record too
        (40, LEVEL, SELL, 101, 0),
        (41, LEVEL, SELL, 101, 2),
        (50, LEVEL, SELL, 101, 2),
    )
    events(venue, 5)
    venue.submit(0, 1, BUY, 7, price=102, tif=1)
    assert events(venue, 10) == [
        (5, native.ACCEPTED, 1, 102, 7, 0, 0),
        (5, native.FILL, 1, 101, 5, 2, 1),
        (5, native.FILL, 1, 102, 2, 0, 1),
    ]
    assert venue.depth_at_venue(0, SELL) == [(102, 3)]
    assert venue.depth(0, SELL) == [(101, 5), (102, 5)]
    seen = []
    for ts in (20, 30, 40, 41):
        events(venue, ts)
        seen.append(venue.depth_at_venue(0, SELL))
    assert seen == [[(101, 3), (102, 3)], [(101, 3), (102, 3)], [(102, 3)], [(101, 2), (102, 3)]]


def test_market_order_meets_an_empty_side_and_an_ioc_leaves_its_remainder() -> None:
    venue = venue_with((1, LEVEL, SELL, 101, 5), (50, LEVEL, SELL, 101, 5))
    events(venue, 5)
    venue.submit(0, 1, SELL, 1, order_type=1)
    venue.submit(0, 2, BUY, 9, order_type=1)
    venue.submit(0, 3, BUY, 9, price=101, tif=2)
    venue.submit(0, 4, BUY, 9, price=100, tif=1)
    assert events(venue, 10) == [
        (5, native.REJECTED, 1, 13, 0, 0, 0),
        (5, native.ACCEPTED, 2, 0, 9, 0, 0),
        (5, native.FILL, 2, 101, 5, 4, 1),
        (5, native.CANCELED, 2, 4, 2, 0, 0),
        (5, native.ACCEPTED, 3, 101, 9, 0, 0),
        (5, native.CANCELED, 3, 9, 3, 0, 0),
        (5, native.ACCEPTED, 4, 100, 9, 0, 0),
        (5, native.CANCELED, 4, 9, 2, 0, 0),
    ]


def test_post_only_is_refused_or_slides() -> None:
    venue = venue_with((1, LEVEL, SELL, 101, 5), (50, LEVEL, SELL, 101, 5))
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 101, 1, 0, 1)
    venue.submit_limit(0, 2, BUY, 103, 1, 0, 2)
    assert events(venue, 10) == [(5, native.REJECTED, 1, 4, 0, 0, 0), (5, native.ACCEPTED, 2, 100, 1, 0, 0)]


def test_stop_triggers_at_the_packets_end() -> None:
    venue = venue_with(
        (1, LEVEL, BUY, 99, 5),
        (2, LEVEL, BUY, 98, 5),
        (10, TRADE, SELL, 99, 5),
        (11, LEVEL, BUY, 99, 0),
        (20, TRADE, SELL, 98, 1),
    )
    events(venue, 5)
    venue.submit(0, 1, SELL, 2, order_type=2, trigger_price=98)
    assert events(venue, 30) == [
        (5, native.ACCEPTED, 1, 0, 2, 0, 0),
        (20, native.TRIGGERED, 1, 0, 0, 0, 0),
        (20, native.FILL, 1, 98, 2, 0, 3),
    ]


# Time.


def test_market_row_comes_before_our_order_of_the_same_nanosecond() -> None:
    venue = venue_with((1, LEVEL, SELL, 101, 5), (10, LEVEL, SELL, 101, 0), (30, LEVEL, SELL, 103, 1), entry_ns=5)
    events(venue, 5)
    venue.submit(0, 1, BUY, 1, price=101, tif=1)
    assert events(venue, 20) == [(10, native.ACCEPTED, 1, 101, 1, 0, 0), (10, native.CANCELED, 1, 1, 2, 0, 0)]


def test_fill_is_known_before_the_quote_of_its_packet() -> None:
    rows = [(1, LEVEL, BUY, 99, 1), (2, LEVEL, SELL, 101, 1), (10, LEVEL, SELL, 100, 1)]
    venue = venue_with(*rows, (20, LEVEL, SELL, 100, 1), wake=native.WAKE_BEST)
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 100, 1)
    assert events(venue, 15) == [
        (5, native.ACCEPTED, 1, 100, 1, 0, 0),  # waited: answers do not wake here
        (10, native.FILL, 1, 100, 1, 0, 0),
        (10, native.QUOTE, 0, 99, 1, 100, 1),
    ]


def test_order_meets_the_venues_book_not_ours() -> None:
    """Feed 100 ns late, order 10 ns: what we see at 105 is gone at the venue since 50."""
    venue = venue_with(
        (1, LEVEL, SELL, 101, 5), (50, LEVEL, SELL, 101, 0), (300, LEVEL, SELL, 103, 5), delay=100, entry_ns=10, response_ns=7
    )
    events(venue, 105)
    assert venue.depth(0, SELL) == [(101, 5)]
    venue.submit(0, 1, BUY, 1, price=101, tif=1)
    assert events(venue, 200) == [(122, native.ACCEPTED, 1, 101, 1, 0, 0), (122, native.CANCELED, 1, 1, 2, 0, 0)]


def test_throttled_quotes_tell_the_last_state_when_their_time_is_up() -> None:
    rows = [(ts, LEVEL, BUY, 90 + ts, 1) for ts in range(1, 8)]
    venue = venue_with(*rows, (50, TRADE, BUY, 1, 1), wake=native.WAKE_BEST, wake_interval_ns=10)
    assert events(venue, 40) == [(1, native.QUOTE, 0, 91, 1, 0, 0), (11, native.QUOTE, 0, 97, 1, 0, 0)]


def test_timers_fire_in_order_after_the_rows_of_their_time() -> None:
    venue = venue_with((5, LEVEL, BUY, 99, 1), (10, LEVEL, BUY, 98, 1), (11, LEVEL, BUY, 99, 2), wake=native.WAKE_BEST_QTY)
    venue.run(5)
    venue.timer(10, 7)
    venue.timer(10, 8)
    venue.timer(9, 9)
    venue.timer(8, 7)  # moved
    assert events(venue, 10) == [
        (8, native.TIMER, 0, 7, 0, 0, 0),
        (9, native.TIMER, 0, 9, 0, 0, 0),
        (10, native.TIMER, 0, 8, 0, 0, 0),
    ]
    assert not venue.cancel_timer(8)
    with pytest.raises(AssertionError):
        venue.timer(9, 1)


def test_a_gap_silences_the_book_until_it_starts_again() -> None:
    venue = venue_with(
        (1, LEVEL, BUY, 99, 1),
        (2, GAP, 0, 0, 0),
        (3, LEVEL, BUY, 98, 1),
        (4, CLEAR, 0, 0, 0),
        (5, LEVEL, BUY, 97, 1),
        (6, STATUS, 0, 1, 0),
        (9, TRADE, 0, 1, 1),
        wake=native.WAKE_BEST | native.WAKE_STATUS,
    )
    assert events(venue, 8) == [
        (1, native.QUOTE, 0, 99, 1, 0, 0),
        (2, native.GAP, 0, 0, 0, 0, 0),
        (4, native.QUOTE, 0, 0, 0, 0, 0),
        (5, native.QUOTE, 0, 97, 1, 0, 0),
        (6, native.STATUS, 0, 1, 0, 0, 0),
    ]


def test_stated_best_prices_replace_or_correct() -> None:
    """Without levels a best price is all there is; with levels it only takes away what is better."""
    venue = venue_with(
        (1, BBO, BUY, 99, 1),
        (2, BBO, BUY, 98, 2),
        (3, LEVEL, BUY, 97, 7),
        (4, BBO, BUY, 97, 3),
        (9, BBO, BUY, 0, 0),
        (10, TRADE, 0, 1, 1),
    )
    seen = []
    for ts in (1, 2, 3, 4, 9):
        events(venue, ts)
        seen.append(venue.depth(0, BUY))
    assert seen == [[(99, 1)], [(98, 2)], [(98, 2), (97, 7)], [(97, 3)], []]


# Limits and bad input.


def test_every_limit_is_an_error_that_names_it() -> None:
    venue = venue_with((1, LEVEL, BUY, 99, 1), (90, LEVEL, BUY, 99, 2), orders_max=2, timers_max=1)
    events(venue, 5)
    venue.submit_limit(0, 1, BUY, 90, 1)
    venue.submit_limit(0, 2, BUY, 90, 1)
    with pytest.raises(CapacityError):
        venue.submit_limit(0, 3, BUY, 90, 1)
    venue.timer(50, 1)
    with pytest.raises(CapacityError):
        venue.timer(50, 2)
    events(venue, 10)
    venue.cancel(1)
    events(venue, 20)
    venue.submit_limit(0, 3, BUY, 90, 1)
    assert [event[1:3] for event in events(venue, 30)] == [(native.ACCEPTED, 3)]
    assert venue.check()


def test_more_commands_under_way_than_fit_is_an_error() -> None:
    venue = venue_with((1, LEVEL, BUY, 99, 1), (9000, LEVEL, BUY, 99, 2), orders_max=1, entry_ns=100)
    events(venue, 5)
    for order_id in range(1, 129):
        venue.cancel(order_id)
    with pytest.raises(CapacityError, match="venue_cancel"):
        venue.cancel(129)
    assert venue.check()


def test_what_is_sent_before_the_first_event_leaves_when_the_run_begins() -> None:
    venue = NativeVenue(entry_ns=2)
    venue.add_instrument(wake=native.WAKE_ORDER)
    with pytest.raises(AssertionError):
        venue.submit_limit(0, 1, BUY, 98, 1)
    venue.feed(tape((10, LEVEL, BUY, 99, 1), (20, LEVEL, BUY, 99, 2)))
    venue.finish()
    venue.submit_limit(0, 1, BUY, 98, 1)
    assert events(venue, 30) == [(12, native.ACCEPTED, 1, 98, 1, 0, 0)]


@pytest.mark.parametrize("fidelity", [native.L2, native.L3])
def test_a_carried_position_is_what_reduce_only_is_held_to(fidelity: int) -> None:
    venue = NativeVenue()
    venue.add_instrument(wake=native.WAKE_ORDER, fidelity=fidelity, orders_max=64, levels_max=64)
    venue.set_position(0, 3)
    rows = tape((1, ADD if fidelity == native.L3 else LEVEL, BUY, 99, 9), (9, TRADE, BUY, 101, 1))
    rows["order_id"][0] = 7
    venue.feed(rows)
    venue.finish()
    events(venue, 5)
    venue.submit(0, 1, SELL, 5, price=99, flags=4)
    venue.submit(0, 2, SELL, 5, price=99, flags=4)
    assert events(venue, 8) == [
        (5, native.ACCEPTED, 1, 99, 5, 0, 0),
        (5, native.RESTATED, 1, 3, 6, 0, 0),
        (5, native.FILL, 1, 99, 3, 0, 3),
        (5, native.REJECTED, 2, 6, 0, 0, 0),
    ]


def test_too_many_levels_is_an_error() -> None:
    venue = venue_with(*[(ts, LEVEL, BUY, ts, 1) for ts in range(1, 30)], levels_max=16)
    with pytest.raises(CapacityError):
        events(venue, 100)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((5, LEVEL, BUY, 99, 1), "time goes backwards"),
        ((20, LEVEL, 2, 99, 1), "cannot be used"),
        ((20, LEVEL, BUY, 99, -1), "cannot be used"),
        ((20, 77, BUY, 99, 1), "cannot be used"),
        ((20, LEVEL, BUY, (1 << 62), 1), "cannot be used"),
        ((20, LEVEL, BUY, 103, 1), "cannot be used"),  # off tick
        ((20, LEVEL, BUY, 110, 1), "crossed"),
        ((20, STATUS, BUY, 9, 0), "cannot be used"),
        ((20, TRADE, 3, 100, 1), "cannot be used"),
        ((20, 8, BUY, 100, 1), "cannot be used"),  # an order-by-order row
    ],
)
def test_bad_rows_stop_the_run_and_are_named(row: TapeRow, message: str) -> None:
    venue = venue_with((1, LEVEL, BUY, 95, 1), (10, LEVEL, SELL, 105, 1), row, tick=5, check_crossed=True)
    with pytest.raises(DataError, match=f"tape:2: .*{message}"):
        events(venue, 100)
    with pytest.raises(DataError):
        venue.run(200)  # it stays stopped


def test_unknown_instrument_and_receipt_before_the_event() -> None:
    rows = tape((1, LEVEL, BUY, 95, 1), (2, LEVEL, BUY, 96, 1))
    for name, value in (("instrument", 3), ("ts_init", 1)):
        bad = rows.copy()
        bad[name][1] = value
        venue = NativeVenue()
        venue.add_instrument()
        venue.feed(bad)
        venue.finish()
        with pytest.raises(DataError, match="tape:1"):
            venue.run()


def test_far_prices_and_jumps_keep_the_ladder_right() -> None:
    """Levels a window apart, then the market jumps there and back."""
    prices = [10, 5_000_000, 5_000_010, 80_000_000, 1, 5_000_020]
    rows = [(ts, LEVEL, BUY, price, ts) for ts, price in enumerate(prices, start=1)]
    gone = [(ts, LEVEL, BUY, price, 0) for ts, price in enumerate(sorted(prices, reverse=True), start=10)]
    venue = venue_with(*rows, *gone, (50, TRADE, 0, 1, 1))
    levels = dict(zip(prices, range(1, 9), strict=False))
    events(venue, 7)
    assert venue.depth(0, BUY) == sorted(levels.items(), reverse=True)
    for ts, price in enumerate(sorted(prices, reverse=True), start=10):
        events(venue, ts)
        del levels[price]
        assert venue.depth(0, BUY) == sorted(levels.items(), reverse=True)
        assert venue.check()
