"""Measures the default market, for the table of docs/MARKET-MODEL.md: python -m tests.sim.order_flow_facts PRESET…"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from native._native import ffi, lib

from tests.native.flow_market import NS, Market, markets

SIGN_LAGS = (1, 2, 5, 10, 20, 50)
ABSOLUTE_LAGS = (1, 10, 60)
HORIZONS_S = (1, 10, 60, 300)


class RegimeFacts(msgspec.Struct, frozen=True):
    """One regime, from the seconds that lie in it."""

    share: float
    spread_ticks: float
    best_lots: float  # mean quantity at one best price
    five_levels_lots: float  # and at the best five
    volatility_ticks: float  # of the mid over 10 s, per square root of a second
    mid_to_fair_ticks: float  # root mean square


class Facts(msgspec.Struct, frozen=True):
    """A market sampled once a second."""

    rows_hz: float
    market_orders_hz: float
    informed_share: float  # of market orders
    spread_ticks: float
    spread_shares: tuple[float, ...]  # of 1, 2, 3, 4 and more ticks
    empty_samples: int
    crossed_samples: int
    kurtosis: dict[int, float]  # of mid changes, by horizon in seconds; 3 is normal
    return_autocorrelation: float  # lag 1 s
    absolute_autocorrelation: dict[int, float]  # of |mid change| over 1 s, by lag in seconds
    sign_autocorrelation: dict[int, float]  # of market orders' sides, by lag in orders
    regimes: dict[str, RegimeFacts]


def measure(market: Market, names: list[str], seconds: int) -> Facts:
    """Runs `market` for `seconds` and measures it; `names` are its regimes."""
    levels = ffi.new("book_level[]", 5)
    samples: list[tuple[float, float, float, float, float, int]] = []
    signs: list[npt.NDArray[Any]] = []
    rows_n = empty = crossed = 0
    for second in range(1, seconds + 1):
        rows = market.run(until_ts=second * NS, rows_max=100_000)
        rows_n += len(rows)
        signs.append(1.0 - 2.0 * markets(rows)["side"])
        state = market.flow.state()
        price, best, five = [0, 0], 0, 0
        for side in (0, 1):
            count = lib.book_levels(market.book, 0, side, levels, 5)
            price[side] = levels[0].price if count else 0
            best += levels[0].qty if count else 0
            five += sum(levels[index].qty for index in range(count))
        if 0 in price:
            empty += 1
            continue
        crossed += price[0] >= price[1]
        mid, spread = (price[0] + price[1]) / 2, price[1] - price[0]
        samples.append((mid, spread, best / 2, five / 2, state["fair_ticks"], state["regime"]))
    mid, spread, best_qty, five_qty, fair, regime = np.array(samples).T
    state = market.flow.state()
    orders = sum(state["markets"])
    moves = np.diff(mid)
    sign = np.concatenate(signs)
    ten = mid[10:] - mid[:-10]
    regimes = {}
    for index, name in enumerate(names):
        inside = regime == index
        whole = inside[10:] & inside[:-10]
        if whole.sum() > 100:
            regimes[name] = RegimeFacts(
                share=float(inside.mean()),
                spread_ticks=float(spread[inside].mean()),
                best_lots=float(best_qty[inside].mean()),
                five_levels_lots=float(five_qty[inside].mean()),
                volatility_ticks=float(ten[whole].std() / np.sqrt(10)),
                mid_to_fair_ticks=float(np.sqrt(((mid - fair)[inside] ** 2).mean())),
            )
    return Facts(
        rows_hz=rows_n / seconds,
        market_orders_hz=orders / seconds,
        informed_share=sum(state["markets_informed"]) / orders,
        spread_ticks=float(spread.mean()),
        spread_shares=tuple(float((np.minimum(spread, 4) == ticks).mean()) for ticks in (1, 2, 3, 4)),
        empty_samples=empty,
        crossed_samples=crossed,
        kurtosis={horizon: _kurtosis(np.diff(mid[::horizon])) for horizon in HORIZONS_S if seconds > 10 * horizon},
        return_autocorrelation=_autocorrelation(moves, 1),
        absolute_autocorrelation={lag: _autocorrelation(np.abs(moves), lag) for lag in ABSOLUTE_LAGS},
        sign_autocorrelation={lag: _autocorrelation(sign, lag) for lag in SIGN_LAGS},
        regimes=regimes,
    )


def _kurtosis(sample: npt.NDArray[np.float64]) -> float:
    centred = sample - sample.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def _autocorrelation(sample: npt.NDArray[np.float64], lag: int) -> float:
    return float(np.corrcoef(sample[:-lag], sample[lag:])[0, 1])


def _main(names: list[str]) -> None:
    for name in names:
        market = Market(name, seed=1, seconds=40_001)
        facts = measure(market, ["calm", "normal", "volatile"], 40_000)
        print(name)
        for field in Facts.__struct_fields__:
            value = getattr(facts, field)
            if field != "regimes":
                print(f"  {field} {_text(value)}")
        for regime, inner in facts.regimes.items():
            print(f"  {regime}: " + ", ".join(f"{field} {getattr(inner, field):.2f}" for field in RegimeFacts.__struct_fields__))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {number:.3f}" for key, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"{number:.3f}" for number in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    _main(sys.argv[1:] or ["calm", "normal", "volatile"])
