"""The bar venue against its tick-by-tick oracle, on random bars and orders; and proof that it cannot see the future."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import OrderType, Side, TimeInForce
from core.events import Bar
from sim.bar_matching import BarFillRules
from sim.bar_series import BarSeries
from tests.sim.bar_driver import INSTRUMENT, MINUTE, Plan, Run, Scripted, make_series
from tests.sim.bar_oracle import Oracle


@st.composite
def bars(draw: st.DrawFn, count: int) -> list[tuple[int, int, int, int, int]]:
    rows, price = [], 100
    for _ in range(count):
        open_ = max(price + draw(st.integers(-3, 3)), 80)
        close = max(open_ + draw(st.integers(-6, 6)), 80)
        high = max(open_, close) + draw(st.integers(0, 4))
        low = min(open_, close) - draw(st.integers(0, 4))
        rows.append((open_, high, low, close, draw(st.integers(0, 40))))
        price = close
    return rows


def plans(*, on_fill: bool) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        kind=st.sampled_from(["submit"] * 5 + ["cancel", "replace"] + ([] if on_fill else ["cancel_all"])),
        side=st.sampled_from(Side),
        quantity=st.integers(1, 9),
        order_type=st.sampled_from(OrderType),
        price=st.integers(90, 110),
        trigger_price=st.integers(90, 110),
        time_in_force=st.sampled_from(
            [TimeInForce.GTC] * 4 + [TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD, TimeInForce.DAY]
        ),
        post_only=st.booleans(),
        reduce_only=st.booleans(),
        expire_in_ns=st.integers(1, 5 * MINUTE),
        target=st.integers(0, 20),
    )


RULES = st.builds(
    BarFillRules,
    slippage_ticks=st.integers(0, 2),
    fills_on_touch=st.booleans(),
    gap_improvement=st.booleans(),
    participation_ppm=st.sampled_from([0, 0, 100_000, 500_000, 1_000_000]),
    latency_ns=st.sampled_from([0, 0, 0, 1, MINUTE // 2, MINUTE, 2 * MINUTE]),
    response_ns=st.sampled_from([0, 0, 0, 1, MINUTE // 2, MINUTE, 2 * MINUTE]),
)

COUNT = 8


def events_of(series: BarSeries) -> list[Bar]:
    names = ("open", "high", "low", "close", "volume")
    columns = [getattr(series, name).tolist() for name in names]
    return [
        Bar(ts, ts, INSTRUMENT.instrument_id, *row, MINUTE) for ts, *row in zip(series.ts_event.tolist(), *columns, strict=True)
    ]


@settings(max_examples=500, deadline=None, print_blob=True)
@given(
    rows=bars(COUNT),
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 5]), min_size=COUNT, max_size=COUNT),
    by_bar=st.dictionaries(st.integers(0, COUNT - 1), st.lists(plans(on_fill=False), max_size=4), max_size=COUNT),
    on_fills=st.lists(plans(on_fill=True), max_size=4),
    rules=RULES,
)
def test_meets_the_oracle(
    rows: list[Any], gaps: list[int], by_bar: dict[int, list[Plan]], on_fills: list[Plan], rules: BarFillRules
) -> None:
    series = make_series(rows, gaps)
    run = Run(series, Scripted(by_bar, on_fills), rules)
    assert run.log == Oracle(INSTRUMENT, rules, events_of(series)).run(run.sent)
    assert run.venue.is_done


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    rows=bars(COUNT),
    others=bars(COUNT),
    known=st.integers(1, COUNT - 1),
    by_bar=st.dictionaries(st.integers(0, COUNT - 1), st.lists(plans(on_fill=False), max_size=4), max_size=COUNT),
    on_fills=st.lists(plans(on_fill=True), max_size=4),
    rules=RULES,
)
def test_other_bars_in_the_future_change_nothing_before(
    rows: list[Any], others: list[Any], known: int, by_bar: dict[int, list[Plan]], on_fills: list[Plan], rules: BarFillRules
) -> None:
    """Two markets alike for `known` bars: until the end of the last of them everything is alike."""
    end = known * MINUTE
    logs = []
    for tail in (rows[known:], others[known:]):
        run = Run(make_series(rows[:known] + tail), Scripted(by_bar, on_fills), rules)
        # What the next bar's open fills happens at that same instant, and may differ.
        logs.append([entry for entry in run.log if entry[0] < end])
    assert logs[0] == logs[1]
