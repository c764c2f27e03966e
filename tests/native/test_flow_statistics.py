"""The order flow against theory: arrival, size, regime and fair-value laws, and two published models it must reduce to.

Every sample has a fixed seed; bounds are stated in standard errors or as the tolerance that the source prints.
"""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from native.market_data import DELETE
from sim.order_flow import RegimeSettings, preset
from tests.native.compile_probe import ROOT, compile_probe
from tests.native.flow_market import NS, Market, kolmogorov_smirnov, limits, markets

KS_ONE_IN_A_THOUSAND = 1.95

# Cont, Stoikov and Talreja 2010, the model's probability that the mid's next move is up: rows bid queue, columns ask queue.
CST_UP = [
    [0.500, 0.336, 0.259, 0.216, 0.188],
    [0.664, 0.500, 0.407, 0.348, 0.307],
    [0.741, 0.593, 0.500, 0.437, 0.391],
    [0.784, 0.652, 0.563, 0.500, 0.452],
    [0.812, 0.693, 0.609, 0.548, 0.500],
]
# Queue-reactive birth-death queue: births 1, deaths .2 n + .4; pi(0..5) and the mean, closed form.
QUEUE_SHARES = [0.08777, 0.14629, 0.18286, 0.18286, 0.15238, 0.10885]
QUEUE_MEAN = 3.17555


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = ["tests/native/flow_reference_probe.c"]
    sources += sorted(str(path.relative_to(ROOT)) for stem in ("flow", "book") for path in (ROOT / "native").glob(f"{stem}*.c"))
    return compile_probe(sources, tmp_path_factory.mktemp("probe") / "flow_reference_probe", "-O2")


def printed(probe: Path, *arguments: str) -> list[list[float]]:
    done = subprocess.run([str(probe), *arguments], capture_output=True, text=True, check=True)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def test_cont_stoikov_talreja_probability_of_an_up_move(probe: Path) -> None:
    found = printed(probe, "cst", "40000", "2")
    # Monte Carlo: a standard error of at most .0025, and .0005 of rounding in the printed table.
    assert np.abs(np.array(found) - np.array(CST_UP)).max() < 0.006


def test_cont_stoikov_talreja_rates_are_the_published_ones() -> None:
    settings = preset("cont_stoikov_talreja")
    assert settings.limit_hz_by_distance == (1.85, 1.51, 1.09, 0.88, 0.77)
    assert settings.cancel_hz_by_distance == (0.71, 0.81, 0.68, 0.56, 0.47)
    assert settings.market_hz == 0.94


def test_queue_reactive_stationary_law(probe: Path) -> None:
    # The queue forgets in about 1 / .2 s: 4,000,000 s are some 400,000 independent looks, a standard error near .0008.
    (found,) = printed(probe, "queue", "4000000", "1")
    closed = [1.0]
    for n in range(60):
        closed.append(closed[-1] / (0.2 * (n + 1) + 0.4))
    shares = [weight / sum(closed) for weight in closed]
    assert shares[:6] == pytest.approx(QUEUE_SHARES, abs=6e-6)
    assert sum(n * share for n, share in enumerate(shares)) == pytest.approx(QUEUE_MEAN, abs=6e-6)
    assert found[:6] == pytest.approx(QUEUE_SHARES, abs=0.003)
    assert found[6] == pytest.approx(QUEUE_MEAN, abs=0.012)


def test_limit_orders_are_poisson_and_market_orders_too() -> None:
    market = Market("cont_stoikov_talreja", seed=4, seconds=20_000)
    rows = market.run()
    for stream, rate_hz in ((limits(rows), 2 * 6.1), (markets(rows), 2 * 0.94)):
        waits_s = np.diff(stream["ts_event"]) / NS
        n = len(waits_s)
        mean = 1 / rate_hz
        assert abs(waits_s.mean() - mean) < 4 * mean / math.sqrt(n)
        # Variance of the sample variance of an exponential: 8 mean^4 / n.
        assert abs(waits_s.var() - mean**2) < 4 * math.sqrt(8 / n) * mean**2
        assert kolmogorov_smirnov(waits_s, lambda x, rate=rate_hz: 1 - np.exp(-rate * x)) < KS_ONE_IN_A_THOUSAND
        counts = np.histogram(stream["ts_event"] / NS, bins=np.arange(0, 20_001, 10))[0]
        assert abs(counts.var() / counts.mean() - 1) < 4 * math.sqrt(2 / len(counts))  # index of dispersion of a Poisson law
        correlation = np.corrcoef(waits_s[:-1], waits_s[1:])[0, 1]
        assert abs(correlation) < 4 / math.sqrt(n)
    bought = int((markets(rows)["side"] == 0).sum())
    assert abs(bought - len(markets(rows)) / 2) < 4 * math.sqrt(len(markets(rows)) / 4)


def test_limit_distances_follow_their_rates() -> None:
    rates = np.array(preset("cont_stoikov_talreja").limit_hz_by_distance)
    market = Market("cont_stoikov_talreja", seed=5, seconds=100_000)
    counts = np.zeros(5)
    for _ in range(20_000):
        best = (market.best(0), market.best(1))
        row = market.flow.next(market.book, 0, 1 << 62)
        assert row is not None
        if len(limits(row)):
            side = int(row["side"][0])
            opposite = best[1 - side]
            if opposite is not None:
                counts[abs(opposite[0] - int(row["price"][0])) - 1] += 1
        market.apply(row)
    expected = counts.sum() * rates / rates.sum()
    assert float(((counts - expected) ** 2 / expected).sum()) < 18.5  # chi-square, 4 degrees of freedom: one in a thousand


def test_cancels_are_proportional_to_the_orders_that_stand() -> None:
    """Orders at distance d leave at cancel_hz(d): exponential lives where neither trades nor moves of the quotes interfere."""
    # Only orders far below a quote that never moves: bids 2 to 5 ticks away from an ask that nobody touches.
    market = Market(
        "cont_stoikov_talreja",
        seed=6,
        seconds=30_000,
        anchor_fair=True,
        market_hz=0.0,
        limit_hz_by_distance=(0.0, 1.0, 1.0, 1.0, 1.0),
        snapshot_levels=0,
    )
    rows = market.run()
    born = {int(row["order_id"]): (int(row["ts_event"]), int(row["price"])) for row in limits(rows)}
    lives: dict[int, list[float]] = {distance: [] for distance in range(2, 6)}
    for row in rows[rows["kind"] == DELETE]:
        ts, price = born[int(row["order_id"])]
        distance = 10_001 - price if row["side"] == 0 else price - 10_000
        lives[distance].append((int(row["ts_event"]) - ts) / NS)
    for distance, rate in zip(range(2, 6), (0.81, 0.68, 0.56, 0.47), strict=True):
        sample = np.array(lives[distance])
        assert len(sample) > 20_000
        assert abs(sample.mean() * rate - 1) < 4 / math.sqrt(len(sample))
        assert kolmogorov_smirnov(sample, lambda x, rate=rate: 1 - np.exp(-rate * x)) < KS_ONE_IN_A_THOUSAND


def test_sizes_are_log_normal_lots() -> None:
    median, sigma = 200.0, 0.8
    market = Market(
        "normal",
        seed=7,
        seconds=4000,
        limit_size_median=median,
        limit_size_sigma=sigma,
        size_max_lots=10**6,
        round_probability=0.0,
    )
    sizes = limits(market.run())["qty"]
    logs = np.log(sizes)
    n = len(logs)
    assert n > 50_000
    # Rounding to whole lots moves ln by at most 1/400 of the median, far inside four standard errors of the mean and deviation.
    assert abs(logs.mean() - math.log(median)) < 4 * sigma / math.sqrt(n)
    assert abs(logs.std() - sigma) < 4 * sigma / math.sqrt(2 * n)
    standard = (logs - math.log(median)) / sigma
    assert abs((standard**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((standard**4).mean() - 3) < 4 * math.sqrt(96 / n)
    mean = median * math.exp(sigma**2 / 2)
    deviation = mean * math.sqrt(math.exp(sigma**2) - 1)
    assert abs(sizes.mean() - mean) < 4 * deviation / math.sqrt(n)


def test_small_sizes_have_the_exact_shares() -> None:
    """P(size = k) = Phi(ln((k + .5) / median) / sigma) - Phi(ln((k - .5) / median) / sigma): the table's short cut is exact."""
    median, sigma, size_max = 2.0, 0.9, 12
    market = Market(
        "normal",
        seed=8,
        seconds=4000,
        limit_size_median=median,
        limit_size_sigma=sigma,
        size_max_lots=size_max,
        round_probability=0.0,
    )
    sizes = limits(market.run())["qty"]

    def below(x: float) -> float:
        return 0.5 * math.erfc(-math.log(x / median) / sigma / math.sqrt(2))

    upper = [below(k + 0.5) for k in range(1, size_max)] + [1.0]
    expected = np.diff([0.0, *upper]) * len(sizes)
    # size_max collects everything from size_max - .5 up.
    counts = np.bincount(sizes, minlength=size_max + 1)[1:]
    assert len(counts) == size_max
    assert float(((counts - expected) ** 2 / expected).sum()) < 31.3  # chi-square, 11 degrees of freedom: one in a thousand


def test_round_sizes_cluster() -> None:
    share = {}
    for probability in (0.0, 0.5):
        sizes = limits(Market("normal", seed=9, limit_size_median=20.0, round_probability=probability).run(rows_max=40_000))[
            "qty"
        ]
        sizes = sizes[sizes >= 5]
        share[probability] = float((sizes % 10 == 0).mean())
    # Sizes of 5 and more become a multiple of 10 with the given probability, and about a tenth are one anyway.
    assert share[0.0] == pytest.approx(0.08, abs=0.03)
    assert share[0.5] == pytest.approx(0.5 + 0.5 * share[0.0], abs=0.02)


def test_regimes_stay_as_long_and_follow_as_often_as_configured() -> None:
    settings = preset("normal")
    market = Market("normal", seed=10, seconds=4_000_000, limit_hz=0.0, market_hz=0.0, fair_hz=1e-9, snapshot_levels=0)
    assert market.flow.skip(market.book, 0, until_ts=1 << 62, rows_max=1)[0] == 0
    state = market.flow.state()
    names = [regime.name for regime in settings.regimes]
    moves = np.array([[regime.next.get(name, 0.0) for name in names] for regime in settings.regimes])
    visits = np.linalg.matrix_power(moves, 2000)[0]  # stationary law of the sequence of regimes
    stay = visits * np.array([regime.duration_s for regime in settings.regimes])
    expected = stay / stay.sum()
    found = np.array(state["regime_ns"][:3]) / sum(state["regime_ns"])
    visits_n = state["regime_changes"] / 3
    # A share of time is a ratio of sums of exponentials: its relative error is near sqrt(2 / visits).
    assert found == pytest.approx(expected, rel=4 * math.sqrt(2 / visits_n))
    mean_stay_s = float((visits * np.array([regime.duration_s for regime in settings.regimes])).sum() / visits.sum())
    assert state["regime_changes"] == pytest.approx(4_000_000 / mean_stay_s, rel=4 * math.sqrt(2 / state["regime_changes"]))


def test_fair_value_has_the_configured_volatility() -> None:
    regime = preset("normal").regimes[1]
    market = Market(
        "normal",
        seed=12,
        seconds=20_001,
        regimes=(regime,),
        regime_start="",
        limit_hz=0.0,
        market_hz=0.0,
        fair_hz=20.0,
        snapshot_levels=0,
        price_max=10**9,
        price_start=10**8,
    )
    fair = []
    for second in range(20_001):
        market.flow.skip(market.book, 0, until_ts=second * NS, rows_max=1)
        fair.append(market.flow.state()["fair_ticks"])
    moves = np.diff(fair)
    n = len(moves)
    # A second holds a Poisson number of normal moves, 20 on average: variance sigma^2, kurtosis 3 + 3/20.
    assert abs(moves.mean()) < 4 * regime.volatility_ticks / math.sqrt(n)
    assert abs(moves.var() / regime.volatility_ticks**2 - 1) < 4 * math.sqrt(2.15 / n)
    kurtosis = float((moves**4).mean() / moves.var() ** 2)
    assert kurtosis == pytest.approx(3 + 3 / 20, abs=4 * math.sqrt(96 / n))
    assert abs(np.corrcoef(moves[:-1], moves[1:])[0, 1]) < 4 / math.sqrt(n)


def test_uninformed_market_orders_move_the_fair_value_for_good() -> None:
    regime = RegimeSettings(name="only")
    market = Market("normal", seed=13, regimes=(regime,), regime_start="", impact_ticks=0.25, parents=0, seconds=600)
    market.run()
    state = market.flow.state()
    uninformed = [state["markets"][side] - state["markets_informed"][side] for side in (0, 1)]
    assert sum(uninformed) > 1000
    assert state["fair_ticks"] == 10_000.5 + 0.25 * (uninformed[0] - uninformed[1])


def test_memory_of_signs_does_not_make_the_fair_value_predictable() -> None:
    changes = {"regimes": (RegimeSettings(name="only"),), "regime_start": "", "market_imbalance": 0.0, "impact_ticks": 0.5}
    # Small orders, so that a side is never empty: an order that meets nobody would tell something about the next one's side.
    changes |= {"market_size_median": 1.0, "market_size_sigma": 0.0, "round_probability": 0.0}
    market = Market("normal", seed=14, seconds=100_000, market_hz=15.0, **changes)
    signs, moves = [], []
    fair = market.flow.state()["fair_ticks"]
    for _ in range(40_000):
        row = market.flow.next(market.book, 0, 1 << 62)
        assert row is not None
        now = market.flow.state()["fair_ticks"]
        if now != fair:
            moves.append(now - fair)
            signs.append(1 - 2 * int(row["side"][0]))
        fair = now
        market.apply(row)
    n = len(moves)
    assert n > 10_000
    for lag in (1, 2, 5, 10):
        assert np.corrcoef(signs[:-lag], signs[lag:])[0, 1] > 0.03  # the memory is there,
        assert abs(np.corrcoef(moves[:-lag], moves[lag:])[0, 1]) < 4 / math.sqrt(n)  # and the price has it in already
