"""The bar venue's rules as scenarios that one can read, and its clock: several series, timers, until_ts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from core.commands import SetTimer
from core.context import StrategyContext
from core.enums import OrderType, Side, TimeInForce
from core.errors import ConfigError, InputError
from core.events import Bar, OrderFilled, Started
from core.instruments import Instrument
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import Trader
from sim.bar_matching import BarFillRules
from sim.bar_series import BAR_ROW, BarSeries
from sim.bar_venue import BarVenue
from tests.sim.bar_driver import INSTRUMENT, MINUTE, Plan, Run, Scripted, make_series

GOLDEN = Path(__file__).parent / "golden"
BUY, SELL = Side.BUY, Side.SELL

SCENARIOS: dict[str, tuple[str, list[tuple[int, ...]], dict[int, list[Plan]], list[Plan], BarFillRules]] = {
    "market_next_open": (
        "A market order pays the next open and the slippage, never the close it was decided on.",
        [(100, 101, 99, 100, 50), (103, 104, 102, 103, 50)],
        {0: [Plan("submit", BUY, 5, OrderType.MARKET)]},
        [],
        BarFillRules(slippage_ticks=1),
    ),
    "limit_through_not_touch": (
        "A resting bid at 98: a low of 98 is only a touch, a low of 97 goes through.",
        [(100, 101, 99, 100, 50), (100, 101, 98, 100, 50), (100, 101, 97, 100, 50)],
        {0: [Plan("submit", BUY, 5, price=98)]},
        [],
        BarFillRules(),
    ),
    "limit_touch": (
        "With fills_on_touch a low of 98 fills the bid at 98.",
        [(100, 101, 99, 100, 50), (100, 101, 98, 100, 50)],
        {0: [Plan("submit", BUY, 5, price=98)]},
        [],
        BarFillRules(fills_on_touch=True),
    ),
    "limit_gap": (
        "The open jumps over a bid that rested at 98: it is filled at the open, 95.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (95, 96, 94, 95, 50)],
        {0: [Plan("submit", BUY, 5, price=98)]},
        [],
        BarFillRules(),
    ),
    "limit_gap_denied": (
        "The same without gap_improvement: filled at its own price.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (95, 96, 94, 95, 50)],
        {0: [Plan("submit", BUY, 5, price=98)]},
        [],
        BarFillRules(gap_improvement=False),
    ),
    "stop_inside_and_gap": (
        "A stop to sell at 97 fills at 97 where the bar passes it, at the open where that lies below; one tick of slippage each.",
        [(100, 101, 99, 100, 50), (100, 101, 96, 98, 50), (98, 99, 97, 98, 50), (94, 95, 93, 94, 50)],
        {
            0: [Plan("submit", SELL, 5, OrderType.STOP, trigger_price=97)],
            1: [Plan("submit", SELL, 5, OrderType.STOP, trigger_price=96)],
        },
        [],
        BarFillRules(slippage_ticks=1),
    ),
    "stop_limit_gap": (
        "A stop-limit to sell, trigger 97, limit 96: the open at 94 triggers it and leaves it resting until the price is back.",
        [(100, 101, 99, 100, 50), (94, 95, 93, 95, 50), (95, 98, 95, 98, 50)],
        {0: [Plan("submit", SELL, 5, OrderType.STOP_LIMIT, price=96, trigger_price=97)]},
        [],
        BarFillRules(),
    ),
    "stop_and_limit_in_one_bar": (
        "Long from 100, a stop at 97 and an offer at 103, both reduce-only, both in one bar: the stop is taken to come first.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 104, 96, 101, 50)],
        {
            0: [Plan("submit", BUY, 5, OrderType.MARKET)],
            1: [
                Plan("submit", SELL, 5, price=103, reduce_only=True),
                Plan("submit", SELL, 5, OrderType.STOP, trigger_price=97, reduce_only=True),
            ],
        },
        [],
        BarFillRules(),
    ),
    "bracket_sent_at_the_fill": (
        "A stop sent in answer to the fill at the open guards the rest of that same bar.",
        [(100, 101, 99, 100, 50), (100, 101, 95, 96, 50)],
        {0: [Plan("submit", BUY, 5, OrderType.MARKET)]},
        [Plan("submit", SELL, 5, OrderType.STOP, trigger_price=97)],
        BarFillRules(),
    ),
    "participation": (
        "A tenth of the volume: 20 are wanted, 5, 0 and then 15 can be had; told at the end of each bar.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (101, 102, 100, 101, 9), (102, 103, 101, 102, 900)],
        {0: [Plan("submit", BUY, 20, OrderType.MARKET)]},
        [],
        BarFillRules(participation_ppm=100_000),
    ),
    "ioc_fok": (
        "At their first open: an IOC limit takes what there is and ends, a FOK that cannot be filled whole ends at once.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50)],
        {
            0: [
                Plan("submit", BUY, 9, price=101, time_in_force=TimeInForce.FOK),
                Plan("submit", BUY, 8, price=101, time_in_force=TimeInForce.IOC),
                Plan("submit", SELL, 1, price=105, time_in_force=TimeInForce.IOC),
            ]
        },
        [],
        BarFillRules(participation_ppm=100_000),
    ),
    "post_only_replace_cancel": (
        "Post-only beyond the last price is refused, new or by replace; a replace moves, a cancel ends.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 101, 99, 100, 50)],
        {
            0: [Plan("submit", BUY, 5, price=101, post_only=True), Plan("submit", BUY, 5, price=98, post_only=True)],
            1: [Plan("replace", quantity=3, price=102, target=1)],
            2: [Plan("replace", quantity=3, price=97, target=1), Plan("cancel", target=1)],
            3: [Plan("cancel", target=1)],
        },
        [],
        BarFillRules(),
    ),
    "expiry": (
        "GTD ends inside the third bar and takes no part in it. DAY lasts until midnight UTC, beyond the last bar.",
        [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (100, 101, 90, 100, 50)],
        {
            0: [
                Plan("submit", BUY, 5, price=98, time_in_force=TimeInForce.GTD, expire_in_ns=90_000_000_000),
                Plan("submit", BUY, 5, price=85, time_in_force=TimeInForce.DAY),
            ]
        },
        [],
        BarFillRules(),
    ),
    "latency": (
        "An order under way when the next bar opens has to wait for the one after it.",
        [(100, 101, 99, 100, 50), (101, 102, 100, 101, 50), (102, 103, 101, 102, 50)],
        {0: [Plan("submit", BUY, 5, OrderType.MARKET)]},
        [],
        BarFillRules(latency_ns=1_000_000),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    what, rows, by_bar, on_fills, rules = SCENARIOS[name]
    run = Run(make_series(rows), Scripted(by_bar, on_fills), rules)
    lines = [what, ""]
    lines += [f"bar {i + 1}: open {o} high {h} low {low} close {c} volume {v}" for i, (o, h, low, c, v) in enumerate(rows)]
    lines += ["", *(entry_text(entry) for entry in run.log)]
    text = "\n".join(lines) + "\n"
    path = GOLDEN / f"bars_{name}.txt"
    if os.environ.get("TRADINGD_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def entry_text(entry: tuple[Any, ...]) -> str:
    ts, kind, order_id, *rest = entry
    minutes = f"{ts // MINUTE}:{ts % MINUTE / 1e9:06.3f}"
    number = order_id & 0xFFFF_FFFF
    match kind:
        case "accepted" | "replaced":
            return f"{minutes} {kind} {number}: {rest[1]} @ {rest[0]}"
        case "filled":
            side = "taker" if rest[3] else "maker"
            return f"{minutes} filled {number}: {rest[1]} @ {rest[0]} {side}, {rest[2]} left"
        case "canceled":
            return f"{minutes} canceled {number}: {rest[0]} {rest[1].name}"
        case _:
            return " ".join((minutes, kind, str(number), *map(str, rest)))


class Recorder:
    """Subscribes to whatever it is told, buys once, keeps every event."""

    def __init__(self, subscriptions: list[Subscription], buy_at_bar: int) -> None:
        self._subscriptions = subscriptions
        self.buy_at_bar = buy_at_bar
        self.bars = 0

    def subscriptions(self) -> list[Subscription]:
        return self._subscriptions

    def on_bar(self, context: StrategyContext, bar: Bar) -> None:
        self.bars += 1
        if self.bars == self.buy_at_bar:
            for subscription in {s.instrument_id: s for s in self._subscriptions}.values():
                context.submit(subscription.instrument_id, BUY, 1, order_type=OrderType.MARKET)


def other_instrument() -> Instrument:
    return msgspec.structs.replace(INSTRUMENT, instrument_id="OTHER.SIM")


def flat_series(instrument_id: str, interval_ns: int, ends: list[int], price: int) -> BarSeries:
    prices = price + np.arange(len(ends), dtype=np.int64)
    return BarSeries(
        instrument_id, interval_ns, np.array(ends, dtype=np.int64), prices, prices, prices, prices, np.full(len(ends), 10)
    )


def test_several_instruments_and_bar_lengths_are_merged_by_the_time_they_end() -> None:
    other = other_instrument()
    series = [
        flat_series("TEST.SIM", MINUTE, [MINUTE * n for n in range(1, 7)], 100),
        flat_series("TEST.SIM", 3 * MINUTE, [MINUTE * 3, MINUTE * 6], 500),  # delivered, but the minute bars fill the orders
        flat_series("OTHER.SIM", 2 * MINUTE, [MINUTE * 2, MINUTE * 4, MINUTE * 6], 200),
    ]
    venue = BarVenue([INSTRUMENT, other], series, BarFillRules())
    limits = InstrumentLimits(order_qty_max=10, order_notional_max=10**18, position_qty_max=10, price_collar_ppm=1_000_000)
    trader = Trader(
        instruments=[INSTRUMENT, other],
        cash={"USD": 0},
        limits={"TEST.SIM": limits, "OTHER.SIM": limits},
        rate=RateLimit(orders_max=10),
        run_number=1,
    )
    wanted = [Subscription(instrument_id=one.instrument_id, bars_ns=one.interval_ns) for one in series]
    trader.add_strategy("recorder", Recorder(wanted, buy_at_bar=3))  # the third bar is OTHER's first, at 2 minutes
    trader.step(Started(0, 0, "run"))
    seen = []
    while events := venue.advance():
        for event in events:
            match event:
                case Bar():
                    seen.append((event.ts_init // MINUTE, event.instrument_id, event.interval_ns // MINUTE, event.close))
                case OrderFilled():
                    seen.append((event.ts_init // MINUTE, event.instrument_id, "filled", event.price))
            for command in trader.step(event):
                venue.send(command)  # type: ignore[arg-type]
    assert seen == [
        (1, "TEST.SIM", 1, 100),
        (2, "TEST.SIM", 1, 101),
        (2, "OTHER.SIM", 2, 200),
        (2, "TEST.SIM", "filled", 102),
        (2, "OTHER.SIM", "filled", 201),
        (3, "TEST.SIM", 1, 102),
        (3, "TEST.SIM", 3, 500),
        (4, "TEST.SIM", 1, 103),
        (4, "OTHER.SIM", 2, 201),
        (5, "TEST.SIM", 1, 104),
        (6, "TEST.SIM", 1, 105),
        (6, "TEST.SIM", 3, 501),
        (6, "OTHER.SIM", 2, 202),
    ]
    assert venue.is_done
    assert venue.now == 6 * MINUTE


def test_timers_fire_between_bars_and_never_after_the_last() -> None:
    venue = BarVenue([INSTRUMENT], [flat_series("TEST.SIM", MINUTE, [MINUTE, 2 * MINUTE, 3 * MINUTE], 100)], BarFillRules())
    for timer_id, at in ((1, MINUTE), (2, 2 * MINUTE - 1), (3, 10 * MINUTE)):
        venue.schedule(SetTimer(0, timer_id, at))
    seen = [(type(event).__name__, event.ts_init) for event in venue.events()]
    assert seen == [
        ("Bar", MINUTE),
        ("TimerFired", MINUTE),
        ("TimerFired", 2 * MINUTE - 1),
        ("Bar", 2 * MINUTE),
        ("Bar", 3 * MINUTE),
    ]
    assert venue.is_done


def test_until_ts_stops_and_goes_on() -> None:
    ends = [MINUTE * n for n in range(1, 3_001)]  # more than two chunks
    venue = BarVenue([INSTRUMENT], [flat_series("TEST.SIM", MINUTE, ends, 100)], BarFillRules())
    first = [event.ts_init for event in venue.events(1_500 * MINUTE + 1)]
    assert (first[-1], venue.now, venue.rows, venue.is_done) == (1_500 * MINUTE, 1_500 * MINUTE + 1, 1_500, False)
    stream = venue.events()
    taken = [next(stream).ts_init for _ in range(10)]
    assert venue.now == 1_510 * MINUTE
    del stream  # an iterator that is left behind loses nothing
    rest = [event.ts_init for event in venue.events()]
    assert first + taken + rest == ends


def test_an_order_after_the_last_bar_is_acknowledged_and_stays() -> None:
    series = make_series([(100, 101, 99, 100, 50)])
    run = Run(series, Scripted({0: [Plan("submit", BUY, 5, OrderType.MARKET)]}, []), BarFillRules())
    assert [entry[1] for entry in run.log] == ["accepted"]
    assert run.venue.is_done


def test_the_same_run_twice_has_the_same_digests() -> None:
    def digests() -> tuple[str, str]:
        what = SCENARIOS["stop_and_limit_in_one_bar"]
        run = Run(make_series(what[1]), Scripted(what[2], list(what[3])), what[4])
        return run.trader.commands_digest.hexdigest(), run.trader.state_digest()

    assert digests() == digests()


def test_bars_that_cannot_be_are_refused_with_their_row() -> None:
    good = [(100, 101, 99, 100, 50)] * 3
    with pytest.raises(InputError, match=r"row 1 .*its low lies above"):
        make_series([good[0], (100, 101, 101, 101, 5), good[2]])
    with pytest.raises(InputError, match=r"row 2 .*its high lies below"):
        make_series([good[0], good[1], (100, 100, 99, 101, 5)])
    with pytest.raises(InputError, match=r"row 0 .*volume is negative"):
        make_series([(100, 101, 99, 100, -1)])
    with pytest.raises(InputError, match=r"row 1 .*begins before"):
        flat_series("TEST.SIM", MINUTE, [MINUTE, MINUTE + 1], 100)
    rows = np.zeros(2, BAR_ROW)
    rows["interval_ns"] = (MINUTE, 5 * MINUTE)
    with pytest.raises(InputError, match=r"2 lengths where one is needed"):
        BarSeries.from_rows("TEST.SIM", rows)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"slippage_ticks cannot be negative"):
        BarFillRules(slippage_ticks=-1)
    with pytest.raises(ConfigError, match=r"more than the whole volume"):
        BarFillRules(participation_ppm=1_000_001)
    with pytest.raises(ConfigError, match=r"OTHER\.SIM: this instrument is not configured"):
        BarVenue([INSTRUMENT], [flat_series("OTHER.SIM", MINUTE, [MINUTE], 100)], BarFillRules())


def test_rows_of_the_readers_layout_become_a_series() -> None:
    rows = np.array([(MINUTE, 100, 102, 99, 101, 7, MINUTE), (2 * MINUTE, 101, 103, 100, 102, 8, MINUTE)], dtype=BAR_ROW)
    venue = BarVenue([INSTRUMENT], [BarSeries.from_rows("TEST.SIM", rows)], BarFillRules())
    assert list(venue.events()) == [
        Bar(MINUTE, MINUTE, "TEST.SIM", 100, 102, 99, 101, 7, MINUTE),
        Bar(2 * MINUTE, 2 * MINUTE, "TEST.SIM", 101, 103, 100, 102, 8, MINUTE),
    ]
