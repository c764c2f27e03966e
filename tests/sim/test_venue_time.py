"""Latency models, cutting the tape into feeds, live horizons, and the same run again in another process."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import CapacityError, DataError
from native import venue as native
from native.market_data import FLAG_LAST, LEVEL, MD_ROW, TRADE
from native.venue import NativeVenue
from sim.latency import ConstantLatency, LogNormalLatency, RecordedLatency, native_latency, read_recorded_latency
from tests.sim.test_venue_l3 import recorded
from tests.sim.test_venue_l3 import tape as order_tape

MS = 1_000_000


def one_row_each(times: list[int]) -> npt.NDArray[Any]:
    rows = np.zeros(len(times), dtype=MD_ROW)
    rows["ts_event"] = rows["ts_init"] = times
    rows["price"], rows["qty"], rows["flags"], rows["kind"] = 99, 1, FLAG_LAST, LEVEL
    return rows


def ways(latency: dict[str, Any], sent: list[int]) -> tuple[list[int], list[int]]:
    """Entry and response latency of one cancel (of an unknown order: the shortest answer) sent at each of these times."""
    venue = NativeVenue(**latency)
    venue.add_instrument()
    venue.feed(one_row_each([sent[0], sent[-1] + 10**15]))
    entry, response = [], []
    for order_id, ts in enumerate(sent, start=1):
        while venue.run(ts):
            pass
        assert venue.now == ts
        venue.cancel(order_id)
        (event,) = venue.run()
        entry.append(event[1] - ts)
        response.append(event[0] - event[1])
    return entry, response


def test_constant_latency() -> None:
    assert ways(native_latency(ConstantLatency(entry_ns=5, response_ns=7)), [10, 100]) == ([5, 5], [7, 7])


def test_recorded_latency_is_linear_between_pairs_and_constant_outside() -> None:
    model = RecordedLatency(pairs=((1000, 100, 10), (2000, 200, 30), (3000, 100, 0)))
    entry, response = ways(native_latency(model), [500, 1500, 2250, 2999, 5000])
    assert entry == [100, 150, 175, 100, 100]
    # The way back is looked up at the time of the answer: 600, 1650, 2425, 3099, 5100.
    assert response == [10, 23, 17, 0, 0]


def test_lognormal_latency_has_the_stated_median_and_spread() -> None:
    model = LogNormalLatency(entry_median_ns=2 * MS, response_median_ns=1 * MS, entry_sigma=0.5, response_sigma=0.2, seed=7)
    entry, response = ways(native_latency(model), [10**10 * n for n in range(1, 4001)])
    for sample, median, sigma in ((entry, 2 * MS, 0.5), (response, MS, 0.2)):
        logs = [math.log(value / median) for value in sample]
        # Four standard errors of a mean and of a deviation over 4,000 draws.
        assert abs(statistics.fmean(logs)) < 4 * sigma / math.sqrt(4000)
        assert abs(statistics.stdev(logs) / sigma - 1) < 4 / math.sqrt(2 * 4000)


def test_a_message_never_overtakes_an_earlier_one() -> None:
    model = LogNormalLatency(entry_median_ns=MS, response_median_ns=MS, entry_sigma=2.0, response_sigma=2.0, seed=3)
    venue = NativeVenue(**native_latency(model))
    venue.add_instrument(wake=native.WAKE_ORDER)
    venue.feed(one_row_each([1, 10**15]))
    venue.finish()
    assert venue.run(5) == []
    for order_id in range(1, 500):
        venue.cancel(order_id)
    seen: list[tuple[int, ...]] = []
    while not venue.is_done:
        seen += venue.run()
    assert [event[4] for event in seen] == list(range(1, 500))
    assert seen == sorted(seen, key=lambda event: (event[0], event[4]))
    assert [event[1] for event in seen] == sorted(event[1] for event in seen)


@pytest.mark.parametrize(
    "latency",
    [
        {"latency_kind": 9},
        {"entry_ns": -1},
        {"latency_kind": 1, "entry_sigma": math.nan},
        {"latency_kind": 2},
        {"latency_kind": 2, "latency_table": np.array([[1, 2, 3], [1, 2, 3]])},
        {"latency_kind": 2, "latency_table": np.array([[1, -2, 3]])},
        {"reject_per_million": 1_000_001},
        {"orders_max": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(latency: dict[str, Any]) -> None:
    with pytest.raises(CapacityError):
        NativeVenue(**latency)


def test_recorded_pairs_are_read_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "latency.csv"
    path.write_text("1,2,3\n5,6,7\n")
    assert read_recorded_latency(path) == RecordedLatency(pairs=((1, 2, 3), (5, 6, 7)))
    for text, line in (("1,2\n", 1), ("1,2,3\n1,2,3\n", 2), ("1,2,x\n", 1), ("1,-2,3\n", 1)):
        path.write_text(text)
        with pytest.raises(DataError, match=f"latency.csv:{line}:"):
            read_recorded_latency(path)


# A trader that answers events by rule: whatever changes in how the tape is fed must not change what it lives through.


def busy_tape(seed: int, n: int, delay: int) -> npt.NDArray[Any]:
    rng = random.Random(seed)
    rows = np.zeros(n, dtype=MD_ROW)
    ts_event = ts_init = 1000
    for at in range(n):
        ts_event += rng.choice([0, 0, 0, 1, 2])
        ts_init = max(ts_init, ts_event + rng.randrange(delay + 1))
        side = rng.randrange(2)
        price = 100 + rng.randrange(1, 5) if side else 100 - rng.randrange(1, 5)
        kind = TRADE if rng.random() < 0.3 else LEVEL
        rows[at] = (
            ts_event,
            ts_init,
            price,
            rng.randrange(0 if kind == LEVEL else 1, 9),
            0,
            0,
            kind,
            side,
            FLAG_LAST if rng.random() < 0.6 else 0,
        )
    return rows


def live_through(rows: npt.NDArray[Any], cuts: list[int], fidelity: int = native.L2, **settings: Any) -> list[tuple[int, ...]]:
    venue = NativeVenue(**settings)
    wake = native.WAKE_BEST | native.WAKE_ORDER | native.WAKE_TRADE
    venue.add_instrument(wake=wake, queue_model=native.QUEUE_LOG, fidelity=fidelity, orders_max=2048, levels_max=256)
    seen: list[tuple[int, ...]] = []
    counter = 0
    bounds = [0, *cuts, len(rows)]
    for start, end in itertools.pairwise(bounds):
        part = rows[start:end].copy()
        venue.feed(part)
        if end == len(rows):
            venue.finish()
        while batch := venue.run():
            seen += batch
            for event in batch:
                if event[2] == native.QUOTE and counter < 2000:
                    counter += 1
                    side = counter & 1
                    venue.submit_limit(0, counter, side, 100 - side, 1 + counter % 4)
                    if counter > 3:
                        venue.cancel(counter - 3)
        part[:] = 0  # lent only until the run asked for more
    assert venue.is_done
    assert venue.check()
    return seen


@pytest.mark.parametrize("delay", [0, 5, 60])
@pytest.mark.parametrize("seed", range(6))
def test_a_run_does_not_depend_on_how_the_tape_was_cut(seed: int, delay: int) -> None:
    rows = busy_tape(seed, 400, delay)
    settings = {"entry_ns": 3, "response_ns": 2} if seed % 2 else {}
    whole = live_through(rows, [], **settings)
    rng = random.Random(seed)
    assert live_through(rows, sorted(rng.sample(range(1, 400), 30)), **settings) == whole
    assert live_through(rows, list(range(1, 400)), **settings) == whole


@pytest.mark.parametrize("delay", [0, 5, 60])
@pytest.mark.parametrize("seed", range(6))
def test_nor_does_an_order_by_order_run(seed: int, delay: int) -> None:
    rng = random.Random(seed)
    recorded_rows, _ = recorded(rng, 400)
    rows = order_tape(recorded_rows)
    rows["ts_init"] = np.maximum.accumulate(rows["ts_event"] + [rng.randrange(delay + 1) for _ in range(len(rows))])
    settings = {"entry_ns": 3, "response_ns": 2, "feed_latency_ns": 4} if seed % 2 else {}
    whole = live_through(rows, [], native.L3, **settings)
    assert live_through(rows, sorted(rng.sample(range(1, len(rows)), 30)), native.L3, **settings) == whole
    assert live_through(rows, list(range(1, len(rows))), native.L3, **settings) == whole


@pytest.mark.parametrize("seed", range(4))
def test_instruments_of_both_fidelities_share_a_tape(seed: int) -> None:
    """Each tells what it tells alone, whatever rows of the other stand between its own."""
    levels = busy_tape(seed, 300, 7)
    orders = order_tape(recorded(random.Random(seed), 300)[0])
    orders["ts_event"] += 1000
    orders["ts_init"] += 1005
    orders["instrument"] = 1
    both = np.concatenate([levels, orders])
    both = both[np.lexsort((both["ts_init"], both["ts_event"]))]
    both["ts_init"] = np.maximum.accumulate(both["ts_init"])
    seen: list[list[tuple[int, ...]]] = []
    for used in ([0], [1], [0, 1]):
        venue = NativeVenue()
        for fidelity in (native.L2, native.L3):
            venue.add_instrument(
                wake=native.WAKE_BEST_QTY | native.WAKE_TRADE, fidelity=fidelity, orders_max=1024, levels_max=256
            )
        venue.feed(both[np.isin(both["instrument"], used)])
        venue.finish()
        told: list[tuple[int, ...]] = []
        while not venue.is_done:
            told += venue.run()
        assert venue.check()
        seen.append(told)
    for index in (0, 1):
        assert [event for event in seen[2] if event[3] == index] == seen[index]
    assert [event[0] for event in seen[2]] == sorted(event[0] for event in seen[2])


def test_horizon_lets_live_time_go_on_without_rows() -> None:
    venue = NativeVenue(entry_ns=2, response_ns=2)
    venue.add_instrument(wake=native.WAKE_BEST | native.WAKE_ORDER)
    venue.feed(one_row_each([10]))
    assert venue.run(50) == []  # more rows of that time may follow
    venue.horizon(51)
    assert [event[2] for event in venue.run(50)] == [native.QUOTE]
    assert venue.now == 10
    assert venue.run(50) == []
    assert venue.now == 50
    venue.cancel(1)
    venue.timer(52, 4)
    venue.horizon(61)
    assert [(event[0], event[2]) for event in venue.run(60)] == [(52, native.TIMER)]
    assert [(event[0], event[2]) for event in venue.run(60)] == [(54, native.CANCEL_REJECTED)]
    late = one_row_each([30])
    late["ts_init"], late["price"] = 62, 98
    venue.feed(late)
    venue.horizon(70)
    assert venue.run(65) == []
    assert venue.depth(0, 0) == [(99, 1), (98, 1)]


RERUN = """
import hashlib
from sim.latency import LogNormalLatency, native_latency
from tests.sim.test_venue_time import busy_tape, live_through
model = LogNormalLatency(entry_median_ns=5, response_median_ns=5, entry_sigma=1.0, response_sigma=1.0, seed=11)
seen = live_through(busy_tape(1, 3000, 20), [], reject_per_million=50000, **native_latency(model))
print(hashlib.sha256(repr(seen).encode()).hexdigest())
"""


def test_same_seed_same_events_in_another_process() -> None:
    model = LogNormalLatency(entry_median_ns=5, response_median_ns=5, entry_sigma=1.0, response_sigma=1.0, seed=11)
    seen = live_through(busy_tape(1, 3000, 20), [], reject_per_million=50000, **native_latency(model))
    assert sum(event[2] == native.REJECTED for event in seen) > 2
    here = hashlib.sha256(repr(seen).encode()).hexdigest()
    there = subprocess.run([sys.executable, "-c", RERUN], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
