"""The z-score and the SMA strategy, bar by bar, and their signals against the textbook formula."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import MarketStatus, Reason, TradingState
from strategies.sma_cross import SmaCross
from strategies.zscore_momentum import ZScoreMomentum
from tests.strategies.scripted import INSTRUMENT, INSTRUMENT_ID, Script

MINUTE_MS = 60_000


def sma(**changes: object) -> SmaCross:
    values = {"instrument_id": INSTRUMENT_ID, "position_qty": "0.010", "fast_bars": 2, "slow_bars": 4, **changes}
    return SmaCross(SmaCross.Params.model_validate(values), [INSTRUMENT])


def zscore(**changes: object) -> ZScoreMomentum:
    values = {"instrument_id": INSTRUMENT_ID, "position_qty": "0.010", "window_bars": 5, "lookback_bars": 2, **changes}
    return ZScoreMomentum(ZScoreMomentum.Params.model_validate(values), [INSTRUMENT])


def test_sma_turns_with_the_averages() -> None:
    script = Script(sma())
    closes = [1000, 1001, 1002, 1003, 1003, 1000, 990, 980, 980, 1000, 1020]
    number = 0
    for minute, close in enumerate(closes, 1):
        script.at(minute * MINUTE_MS).bar(close)
        if len(script.open_orders()) == 1 and minute not in (7,):  # at minute 7 the answer is late by a bar
            number += 1
            script.accept(number)
            script.fill(number, price=close)
    script.compare("sma_cross")


def test_sma_waits_through_halts_auctions_refusals_and_unknown_outcomes() -> None:
    script = Script(sma())
    for minute, close in enumerate((1000, 1001, 1002), 1):
        script.at(minute * MINUTE_MS).bar(close)
    script.at(200_000).status(MarketStatus.AUCTION)
    script.at(240_000).bar(1003)
    script.at(250_000).status(MarketStatus.TRADING)
    script.at(300_000).bar(1004)
    script.at(300_001).rejected(1, Reason.NO_LIQUIDITY)
    script.at(360_000).bar(1005)
    script.at(360_001).unknown(2)
    script.at(420_000).bar(1006)
    script.at(420_001).fill(2, price=1006)
    script.at(430_000).state(TradingState.HALTED)
    for minute, close in enumerate((1000, 990, 980), 8):
        script.at(minute * MINUTE_MS).bar(close)
    script.at(620_000).state(TradingState.ACTIVE)
    script.at(660_000).bar(970)
    script.at(660_001).stop()
    script.compare("sma_waits")


def test_zscore_enters_holds_and_leaves() -> None:
    script = Script(zscore(entry_z=0.9, exit_z=0.3))
    closes = [
        10000,
        10001,
        9999,
        10000,
        10001,
        10000,
        10020,
        10060,
        10062,
        10061,
        10062,
        10061,
        9900,
        9890,
        9890,
        9891,
        9890,
        9891,
        9890,
    ]
    number = 0
    for minute, close in enumerate(closes, 1):
        script.at(minute * MINUTE_MS).bar(close)
        if script.open_orders():
            number += 1
            script.accept(number)
            script.fill(number, price=close)
    script.compare("zscore_momentum")


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    closes=st.lists(st.integers(1, 100_000), min_size=8, max_size=40),
    window=st.integers(3, 7),
    lookback=st.integers(1, 7),
)
def test_zscore_is_the_textbook_formula(closes: list[int], window: int, lookback: int) -> None:
    lookback = min(lookback, window)
    strategy = zscore(window_bars=window, lookback_bars=lookback)
    script = Script(strategy)
    for minute, close in enumerate(closes, 1):
        script.at(minute * MINUTE_MS).bar(close)
    exact = [(now - before) * 10**9 // before for before, now in pairwise(closes)]
    last = exact[-window:]
    found = strategy.zscore()
    if len(set(last)) == 1:
        assert found is None
        return
    mean, deviation = statistics.fmean(last), statistics.stdev(last)
    expected = (sum(last[-lookback:]) - lookback * mean) / (deviation * math.sqrt(lookback))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(closes=st.lists(st.integers(1, 1_000), min_size=1, max_size=40), fast=st.integers(1, 5), more=st.integers(1, 5))
def test_sma_is_the_textbook_formula(closes: list[int], fast: int, more: int) -> None:
    slow = fast + more
    script = Script(sma(fast_bars=fast, slow_bars=slow))
    number, target = 0, 0
    for minute, close in enumerate(closes, 1):
        script.at(minute * MINUTE_MS).bar(close)
        if script.open_orders():
            number += 1
            script.fill(number, price=close)
        if minute >= slow:
            fast_mean = sum(closes[minute - fast : minute]) / fast
            slow_mean = sum(closes[minute - slow : minute]) / slow
            if not math.isclose(fast_mean, slow_mean, rel_tol=1e-12):
                target = 10 if fast_mean > slow_mean else -10
        assert script.position_qty() == target


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        (sma, {"fast_bars": 4}, "fast_bars 4 must be below slow_bars 4"),
        (zscore, {"exit_z": 3.0}, "exit_z 3.0 must lie below entry_z 2.0"),
        (zscore, {"lookback_bars": 6}, "lookback_bars 6 cannot exceed window_bars 5"),
    ],
)
def test_parameters_that_contradict_each_other(strategy: object, changes: dict[str, object], message: str) -> None:
    assert callable(strategy)
    with pytest.raises(ValueError, match=message):
        strategy(**changes)
