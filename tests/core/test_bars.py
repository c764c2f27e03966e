"""Bars made of prints are the bars that an archive of the same prints has, but for what nobody can know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.bars import AHEAD_NS_MAX, BAR_GRACE_NS, NEVER, Bars, BarSource, heard
from core.enums import AggressorSide
from core.events import AnyEvent, Bar, Book, GapDetected, Quote, Trade
from core.strategy import Subscription
from core.units import INT64_MAX, NS_PER_SECOND, divide_half_even

KEY = "X.VENUE"
MINUTE = 60 * NS_PER_SECOND
START = 1_704_067_200 * NS_PER_SECOND


def trade(ts: int, price: int = 100, qty: int = 1, *, late: int = 0) -> Trade:
    return Trade(ts, ts + late, KEY, price, qty, AggressorSide.BUY)


def quote(ts: int, bid: int, ask: int, bid_qty: int = 1) -> Quote:
    return Quote(ts, ts, KEY, bid, bid_qty, ask, 1)


def grouped(prints: Sequence[Trade], interval_ns: int) -> list[Bar]:
    """The rule of an archive, slow and plain: everything of an interval, put together when all is known."""
    intervals: dict[int, list[Trade]] = {}
    for each in prints:
        intervals.setdefault(each.ts_event // interval_ns, []).append(each)
    return [
        Bar(
            (number + 1) * interval_ns,
            0,
            KEY,
            inside[0].price,
            max(each.price for each in inside),
            min(each.price for each in inside),
            inside[-1].price,
            sum(each.qty for each in inside),
            interval_ns,
        )
        for number, inside in sorted(intervals.items())
    ]


def without_stamps(bars: Iterable[Bar]) -> list[Bar]:
    return [Bar(bar.ts_event, 0, *(getattr(bar, name) for name in Bar.__struct_fields__[2:])) for bar in bars]


def played(bars: Bars, events: Sequence[AnyEvent], until: int) -> list[Bar]:
    """As a driver plays them: by the clock between two events, and each event after the bars that it ends."""
    told: list[Bar] = []
    for event in [*events, None]:
        now = until if event is None else event.ts_init
        while bars.next_due <= now:
            told += bars.due(bars.next_due)
        if event is not None:
            told += bars.receive(now, event)
    assert [bar.ts_init for bar in told] == sorted(bar.ts_init for bar in told)
    return told


def minutes(*intervals_ns: int) -> Bars:
    return Bars((KEY, interval_ns, BarSource.TRADES, BAR_GRACE_NS) for interval_ns in intervals_ns or (MINUTE,))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 50), st.integers(1, 9)), max_size=60),
    st.sampled_from([0, 1, 90 * 10**6, 3 * NS_PER_SECOND, -NS_PER_SECOND]),
)
@example([(59_999, 1, 1), (1, 2, 1), (60_000, 3, 1)], 0)
def test_the_bars_of_timely_prints_are_those_of_an_archive(steps: list[tuple[int, int, int]], clock_ns: int) -> None:
    """`clock_ns`: how far the venue's stamps are behind our clock, always: network and clocks."""
    ts, prints = START, []
    for step_ms, price, qty in steps:
        ts += step_ms * 10**6
        prints.append(trade(ts, price, qty, late=clock_ns))
    end = ts + 3 * MINUTE
    for interval_ns in (MINUTE, 5 * MINUTE):
        told = played(minutes(MINUTE, 5 * MINUTE), prints, end + 10 * MINUTE)
        # The interval in which watching began is not whole; nothing else is missing.
        since = max(prints[0].ts_event, prints[0].ts_init) if prints else 0
        expected = [bar for bar in grouped(prints, interval_ns) if bar.ts_event - interval_ns > since]
        assert without_stamps(bar for bar in told if bar.interval_ns == interval_ns) == expected


def test_a_bar_is_told_once_by_the_clock_or_by_what_comes_after_it() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    end = START + 2 * MINUTE
    assert bars.receive(end - 5, trade(end - 5, 7)) == []
    assert bars.next_due == end + BAR_GRACE_NS
    assert bars.due(end + BAR_GRACE_NS - 1) == []
    assert bars.due(end + BAR_GRACE_NS) == [Bar(end, end + BAR_GRACE_NS, KEY, 7, 7, 7, 7, 1, MINUTE)]
    assert bars.next_due == NEVER
    assert bars.receive(end + BAR_GRACE_NS + 1, trade(end - 1, 8)) == []
    assert (bars.left_out, bars.next_due) == (1, NEVER)
    bars.receive(end + MINUTE, trade(end + MINUTE, 9))
    # At the very end of the interval: it belongs to the next one.
    assert bars.receive(end + 2 * MINUTE, trade(end + 2 * MINUTE, 10)) == [
        Bar(end + 2 * MINUTE, end + 2 * MINUTE, KEY, 9, 9, 9, 9, 1, MINUTE)
    ]


def test_within_the_grace_a_print_still_belongs_to_its_bar() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    end = START + 2 * MINUTE
    bars.receive(end - 5, trade(end - 5, 7))
    assert bars.receive(end + BAR_GRACE_NS - 1, trade(end - 1, 3, 2)) == []
    assert without_stamps(bars.due(end + BAR_GRACE_NS)) == [Bar(end, 0, KEY, 7, 7, 3, 3, 3, MINUTE)]


def test_an_interval_without_a_print_has_no_bar() -> None:
    bars = minutes()
    told = played(bars, [trade(START), trade(START + MINUTE), trade(START + 9 * MINUTE + 1, 5)], START + 20 * MINUTE)
    assert [(bar.ts_event - START) // MINUTE for bar in told] == [2, 10]


def test_after_a_gap_the_first_bar_is_of_an_interval_that_was_watched_from_its_beginning() -> None:
    def gap(ts: int) -> GapDetected:
        return GapDetected(ts, ts, KEY)

    second = NS_PER_SECOND
    events = [
        trade(START),
        trade(START + MINUTE + second),
        gap(START + MINUTE + 2 * second),  # in the middle of the interval
        trade(START + MINUTE + 3 * second),
        trade(START + 2 * MINUTE),  # whole again
        trade(START + 3 * MINUTE - 1),
        gap(START + 3 * MINUTE + 1),  # within the grace: when the loss began nobody knows
        gap(START + 4 * MINUTE + 1),
        trade(START + 5 * MINUTE + second),
        trade(START + 6 * MINUTE + second),
    ]
    told = played(minutes(), events, START + 10 * MINUTE)
    assert [(bar.ts_event - START) // MINUTE for bar in told] == [7]
    told = played(minutes(), [each for each in events if each.ts_init != START + 3 * MINUTE + 1], START + 10 * MINUTE)
    assert [(bar.ts_event - START) // MINUTE for bar in told] == [3, 7]


def test_an_old_print_that_a_venue_repeats_at_first_is_no_beginning() -> None:
    bars = minutes()
    assert bars.receive(START + 30 * NS_PER_SECOND, trade(START - 9 * MINUTE)) == []
    bars.receive(START + 40 * NS_PER_SECOND, trade(START + 40 * NS_PER_SECOND))
    assert bars.next_due == NEVER


def test_only_a_print_shows_that_prints_are_heard() -> None:
    bars = minutes()
    bars.receive(START + 5, Book(START + 5, START + 5, KEY, (), ()))
    bars.receive(START + 5, quote(START + 5, 1, 2))
    bars.receive(START + MINUTE, trade(START + MINUTE))
    assert bars.next_due == NEVER
    bars.receive(START + 2 * MINUTE, trade(START + 2 * MINUTE))
    assert bars.next_due == START + 3 * MINUTE + BAR_GRACE_NS


def test_a_stamp_far_ahead_ends_nothing() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    bars.receive(START + MINUTE, trade(START + MINUTE))
    assert bars.receive(START + MINUTE, trade(START + MINUTE + AHEAD_NS_MAX + 1)) == []
    assert bars.left_out == 1


def test_a_process_that_stood_still_takes_in_what_waits_at_the_door_first() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    end = START + 2 * MINUTE
    bars.receive(end - 5, trade(end - 5, 7))
    woken = end + 9 * NS_PER_SECOND
    assert bars.due(woken) == []
    assert bars.receive(woken + 1, trade(end - 4, 9)) == []
    assert without_stamps(bars.due(woken + BAR_GRACE_NS)) == [Bar(end, 0, KEY, 7, 9, 7, 9, 2, MINUTE)]


def test_what_waited_behind_a_process_that_stood_still_makes_its_bars_too() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    woken = START + 9 * MINUTE
    told: list[Bar] = []
    for minute in range(1, 8):
        for price in (3, 1, 2):
            told += bars.receive(woken, trade(START + minute * MINUTE + price, price))
    assert bars.next_due == woken + BAR_GRACE_NS
    told += bars.due(woken + BAR_GRACE_NS)
    assert without_stamps(told) == [Bar(START + minute * MINUTE, 0, KEY, 3, 3, 1, 2, 3, MINUTE) for minute in range(2, 9)]
    assert bars.left_out == 0


def test_volume_that_fits_nowhere_is_cut() -> None:
    bars = minutes()
    bars.receive(START, trade(START))
    for _ in range(3):
        bars.receive(START + MINUTE, trade(START + MINUTE, 1, INT64_MAX // 2))
    (bar,) = bars.due(bars.next_due)
    assert bar.volume == INT64_MAX


@given(st.lists(st.tuples(st.integers(1, 20_000), st.integers(-40, 40), st.integers(0, 3), st.integers(0, 1)), max_size=40))
def test_bars_of_quotes_are_those_of_the_middle(steps: list[tuple[int, int, int, int]]) -> None:
    """A quote with an empty side has no middle."""
    ts, quotes, prints = START, [quote(START, 1, 2)], [trade(START)]
    for step_ms, bid, spread, bid_qty in steps:
        ts += step_ms * 10**6
        quotes.append(quote(ts, bid, bid + spread, bid_qty))
        if bid_qty:
            prints.append(trade(ts, divide_half_even(2 * bid + spread, 2), 0))
    told = played(Bars([(KEY, MINUTE, BarSource.QUOTES, BAR_GRACE_NS)]), quotes, ts + 2 * MINUTE)
    assert without_stamps(told) == [bar for bar in grouped(prints, MINUTE) if bar.ts_event - MINUTE > START]


def test_what_is_not_wanted_makes_no_bars() -> None:
    bars = Bars(())
    assert bars.receive(START, trade(START)) == []
    assert bars.receive(START, GapDetected(START, START, KEY)) == []
    assert bars.due(START + MINUTE) == []
    assert bars.next_due == NEVER


def test_what_a_venue_is_asked_for() -> None:
    plain = Subscription(instrument_id=KEY, trades=True)
    bar = Subscription(instrument_id=KEY, quotes="size", bars_ns=MINUTE)
    assert heard([plain, bar], BarSource.TRADES) == [plain, Subscription(instrument_id=KEY, quotes="size", trades=True)]
    assert heard([bar], BarSource.TRADES, (MINUTE,)) == [bar]
    assert heard([bar], BarSource.QUOTES) == [
        Subscription(instrument_id=KEY, quotes="size"),
        Subscription(instrument_id=KEY, quotes="price"),
    ]
