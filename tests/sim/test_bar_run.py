"""A whole run on bars against the same strategy computed with columns: every trade, and the equity to the last digit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.approved import Approved
from core.events import OrderFilled, Started
from core.risk import InstrumentLimits, RateLimit
from core.trader import Trader
from sim.bar_matching import BarFillRules
from sim.bar_series import BarSeries
from sim.bar_venue import BarVenue
from strategies.sma_cross import SmaCross
from tests.bench.bars import INSTRUMENT, random_walk, run

BARS = 5_000  # several chunks
CASH = 10**15


def expected_trades(series: BarSeries, slippage: int) -> list[tuple[int, int, int]]:
    """(time, signed quantity, price): what crosses at one close is done at the next open."""
    total = np.concatenate(([0], np.cumsum(series.close)))
    fast, slow = total[50:] - total[30:-20], total[50:] - total[:-50]
    lead = fast * 50 - slow * 20
    trades, held = [], 0
    for index, sign in enumerate(np.sign(lead).tolist(), start=49):
        if sign in (0, held) or index + 1 >= len(series):
            continue
        price = int(series.open[index + 1]) + slippage * sign
        trades.append((int(series.ts_event[index]), sign - held, price))
        held = sign
    return trades


@pytest.mark.parametrize("seed", range(5))
def test_sma_cross_equals_the_computation_with_columns(seed: int) -> None:
    series = random_walk(BARS, seed)
    trades = expected_trades(series, slippage=1)
    assert len(trades) > 50
    result = run(series)
    # Futures: profit is all cash; one point of price is 10^-2, money 10^-8.
    last = int(series.close[-1])
    profit = sum(qty * (last - price) for _, qty, price in trades) * 10**6
    equity = CASH + profit
    assert (result["trades"], result["equity_end"]) == (len(trades), f"{equity // 10**8}.{equity % 10**8:08d}")


def drive(series: BarSeries, *, one_by_one: bool) -> tuple[list[Any], str]:
    limits = InstrumentLimits(order_qty_max=10, order_notional_max=10**15, position_qty_max=10, price_collar_ppm=50_000)
    trader = Trader(
        instruments=[INSTRUMENT],
        cash={"USD": CASH},
        limits={INSTRUMENT.instrument_id: limits},
        rate=RateLimit(orders_max=10),
        run_number=1,
    )
    trader.add_strategy("sma", SmaCross(SmaCross.Params(instrument_id=INSTRUMENT.instrument_id, position_qty="1"), [INSTRUMENT]))
    venue = BarVenue([INSTRUMENT], [series], BarFillRules(slippage_ticks=1))
    fills: list[Any] = []
    trader.step(Started(0, 0, "run"))

    def handle(event: Any) -> None:
        if isinstance(event, OrderFilled):
            fills.append((event.ts_init, event.qty if event.side == 0 else -event.qty, event.price))
        for command in trader.step(event):
            assert isinstance(command, Approved)
            venue.send(command)

    if one_by_one:
        # Under changing bounds of time, as a driver that looks at the clock in between would call it.
        hour = 3_600_000_000_000
        until_ts = int(series.ts_event[0])
        while not venue.is_done:
            for event in venue.advance(until_ts):
                handle(event)
            if venue.now >= until_ts:
                until_ts += hour
    else:
        for event in venue.events():
            handle(event)
    return fills, trader.state_digest()


def test_both_ways_to_drive_the_venue_are_one() -> None:
    series = random_walk(BARS, seed=11)
    streamed = drive(series, one_by_one=False)
    assert streamed == drive(series, one_by_one=True)
    assert streamed[0] == expected_trades(series, slippage=1)
