"""What simulated positions pay: held to a plain list of what happened; and the table that rates are read from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import CashKind, LiquiditySide, Side
from core.errors import DataError
from core.events import AnyEvent, CashMoved, OrderFilled, Quote
from core.instruments import Instrument
from core.units import NS_PER_SECOND
from sim.bar_matching import BarFillRules
from sim.bar_series import BarSeries
from sim.bar_tape import BarTape
from sim.bar_venue import BarVenue
from sim.data.funding import read_funding
from sim.funding import ConstantFunding, FundedVenue, RecordedFunding
from tests.core.records import INVERSE, PERPETUAL
from tests.sim.scripted_venue import ScriptedVenue

S = NS_PER_SECOND
NS_PER_HOUR = 3_600 * NS_PER_SECOND
PPB = 10**9
PRICES = {PERPETUAL.instrument_id: 1_000_000, INVERSE.instrument_id: 500_000}


class Happened(ScriptedVenue):
    """A venue whose events are a list; the market is where the last quote has left it, or unknown."""

    def __init__(self, events: Sequence[AnyEvent], end_ts: int) -> None:
        super().__init__(PERPETUAL, [])
        self._events = list(events)
        self._end_ts = end_ts
        self._quoted: dict[str, tuple[int, int]] = {}

    @property
    def done(self) -> bool:
        return not self._events and self._now >= self._end_ts

    def advance(self, until_ts: int) -> list[AnyEvent]:
        if self._events and self._events[0].ts_init <= until_ts:
            event = self._events.pop(0)
            self._now = event.ts_init
            if isinstance(event, Quote):
                self._quoted[event.instrument_id] = (event.bid_price, event.ask_price)
            return [event]
        self._now = max(self._now, min(until_ts, self._end_ts))
        return []

    def best(self, instrument_id: str) -> tuple[int, int] | None:
        return self._quoted.get(instrument_id)


def play(venue: FundedVenue) -> list[AnyEvent]:
    told: list[AnyEvent] = []
    while not venue.done:
        told += venue.advance(1 << 62)
    return told


def fill(ts: int, instrument: Instrument, qty: int, price: int) -> OrderFilled:
    side = Side.BUY if qty > 0 else Side.SELL
    return OrderFilled(ts, ts, 1, instrument.instrument_id, "x", side, price, abs(qty), 0, LiquiditySide.MAKER, 0, "USDT")


def worth(instrument: Instrument, qty: int, price: int) -> Fraction:
    """In 10^-8 of the settlement currency."""
    units, level = Fraction(qty, 10**instrument.qty_scale), Fraction(price, 10**instrument.price_scale)
    return (
        units * instrument.multiplier / level * 10**8 if instrument.is_inverse else units * level * instrument.multiplier * 10**8
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 20 * S), st.sampled_from((PERPETUAL, INVERSE)), st.integers(-5, 5), st.integers(-500, 500)),
        max_size=30,
    ),
    st.integers(-PPB // 100, PPB // 100),
)
def test_each_moment_is_paid_by_what_is_held_and_what_it_is_worth_then(
    script: list[tuple[int, Instrument, int, int]], rate: int
) -> None:
    events: list[AnyEvent] = []
    for ts, instrument, qty, off in sorted(script, key=lambda each: each[0]):
        price = PRICES[instrument.instrument_id] + off
        key = instrument.instrument_id
        events.append(fill(ts, instrument, qty, price) if qty else Quote(ts, ts, key, price, 1, price + 10, 1))
    schedules = (
        ConstantFunding(instrument=PERPETUAL, interval_ns=3 * S, rate_each=rate),
        RecordedFunding(instrument=INVERSE, stamps=(2 * S, 6 * S, 7 * S), rates=(rate, -rate, 5)),
    )
    told = play(FundedVenue(Happened(events, 20 * S), schedules, {PERPETUAL.instrument_id: 2}, 0))
    assert [event for event in told if not isinstance(event, CashMoved)] == events
    stamps = [event.ts_init for event in told]
    assert stamps == sorted(stamps)
    expected = []
    moments = [(ts, PERPETUAL, rate) for ts in range(3 * S, 20 * S + 1, 3 * S)]
    moments += [(2 * S, INVERSE, rate), (6 * S, INVERSE, -rate), (7 * S, INVERSE, 5)]
    for ts, instrument, of in sorted(moments, key=lambda each: (each[0], each[1].instrument_id == INVERSE.instrument_id)):
        key = instrument.instrument_id
        before = [event for event in events if event.ts_init <= ts and getattr(event, "instrument_id", "") == key]
        held = 2 if instrument is PERPETUAL else 0
        held += sum(event.qty if event.side is Side.BUY else -event.qty for event in before if isinstance(event, OrderFilled))
        quotes = [event for event in before if isinstance(event, Quote)]
        fills = [event for event in before if isinstance(event, OrderFilled)]
        prices = [quotes[-1].bid_price, quotes[-1].ask_price] if quotes else [fills[-1].price] if fills else []
        if held and prices:
            expected.append((ts, key, -sum(worth(instrument, held, price) for price in prices) / len(prices) * of / PPB))
    paid = [event for event in told if isinstance(event, CashMoved)]
    exact = [(ts, key, amount) for ts, key, amount in expected if abs(amount) > 2]
    found = [
        (event.ts_event, event.instrument_id, event.amount)
        for event in paid
        if (event.ts_event, event.instrument_id) in {(ts, key) for ts, key, _ in exact}
    ]
    assert [each[:2] for each in found] == [each[:2] for each in exact]
    assert all(abs(mine[2] - theirs[2]) <= 2 for mine, theirs in zip(found, exact, strict=True))
    assert len({event.movement_id for event in paid}) == len(paid)
    assert {(event.venue, event.kind) for event in paid} <= {("BINANCE", CashKind.FUNDING)}


def test_who_is_long_pays_and_who_is_short_is_paid() -> None:
    for qty, amount in ((3, -3 * 10**6), (-3, 3 * 10**6)):
        key = PERPETUAL.instrument_id
        events = [Quote(S, S, key, 1_000_000, 1, 1_000_000, 1), fill(2 * S, PERPETUAL, qty, 999_000)]
        schedule = ConstantFunding(instrument=PERPETUAL, interval_ns=8 * S, rate_each=100_000)  # 0.01 % of 300
        *_, paid = play(FundedVenue(Happened(events, 10 * S), [schedule], {}, 0))
        assert paid == CashMoved(8 * S, 8 * S, "BINANCE", f"funding-{key}-{8 * S}", CashKind.FUNDING, "USDT", amount, key)


def test_bars_pay_by_their_last_close_and_not_behind_their_end() -> None:
    key, minute = PERPETUAL.instrument_id, 60 * S
    closes = (1_000_000, 1_100_000, 1_200_000)
    stamps = [number * minute for number in range(1, 4)]
    series = BarSeries(
        key, minute, *(np.array(column, dtype=np.int64) for column in (stamps, closes, closes, closes, closes, (9, 9, 9)))
    )
    venue = BarTape(BarVenue([PERPETUAL], [series], BarFillRules()), 0)
    schedule = ConstantFunding(instrument=PERPETUAL, interval_ns=50 * S, rate_each=10**6)
    told = play(FundedVenue(venue, [schedule], {key: 1_000}, 0))
    paid = [(event.ts_event // S, event.amount) for event in told if isinstance(event, CashMoved)]
    # One whole bitcoin at 100,000 and 110,000 dollars; at 50 s no price is known yet, and 180 s are the end.
    assert paid == [(100, -100 * 10**8), (150, -110 * 10**8)]


def test_moments_are_whole_multiples_and_a_table_is_followed_to_its_end() -> None:
    daily = ConstantFunding(instrument=PERPETUAL, interval_ns=8 * NS_PER_HOUR, rate_each=1)
    assert [daily.next_ts(ts) // NS_PER_HOUR for ts in (0, 8 * NS_PER_HOUR - 1, 8 * NS_PER_HOUR)] == [8, 8, 16]
    table = RecordedFunding(instrument=PERPETUAL, stamps=(5, 9), rates=(1, 2))
    assert [table.next_ts(ts) for ts in (0, 4, 5, 8, 9)] == [5, 5, 9, 9, (1 << 63) - 1]
    assert [table.rate(5), table.rate(9)] == [1, 2]
    assert bisect_right(table.stamps, 9) == 2


def test_rates_are_read_exactly_from_csv_and_parquet_and_from_the_archives_own(tmp_path: Path) -> None:
    expected = ((1_704_067_200_000_000_000, 1_704_096_000_000_000_000), (100_000, -74_210))
    plain = tmp_path / "rates.csv"
    plain.write_text("ts,rate\n2024-01-01T00:00:00Z,0.0001\n2024-01-01T08:00:00Z,-0.00007421\n")
    archive = tmp_path / "BTCUSDT-fundingRate-2024-01.csv"
    archive.write_text(
        "calc_time,funding_interval_hours,last_funding_rate\n1704067200000,8,0.00010000\n1704096000000,8,-0.00007421\n"
    )
    table = tmp_path / "rates.parquet"
    pl.DataFrame({"ts": list(expected[0]), "rate": ["0.0001", "-0.00007421"]}).write_parquet(table)
    assert [read_funding(path) for path in (plain, archive, table)] == [expected] * 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ts,rate\n", "there is not a single rate"),
        ("ts,price\n1704067200,1\n", "there is no column rate or last_funding_rate"),
        ("ts,rate\n1704067200,0.1\n1704067200,0.1\n", "row 2 is not later"),
        ("ts,rate\n1704067200,0.1\n1704067201,much\n", "row 2: "),
        ("ts,rate\n1704067200,0.0000000001\n", "row 1: "),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_funding(path)
