"""Two clocks put in order: against a slow loop, chunked as one likes, and the stated invariants."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from native.market_data import MD_ROW
from sim.data import clock
from sim.data.clock import EventClock, correct_rows, correct_tape, measure_skew, shift_for


def tape(pairs: list[tuple[int, int]]) -> np.ndarray:
    rows = np.zeros(len(pairs), MD_ROW)
    rows["ts_event"] = [event for event, _ in pairs]
    rows["ts_init"] = [init for _, init in pairs]
    rows["price"] = range(len(pairs))
    return rows


def slow(pairs: list[tuple[int, int]], base: int) -> list[tuple[int, int]]:
    """The docstring of sim/data/clock.py, one row at a time."""
    stamped = [init - event for event, init in pairs if event]
    skew = min(stamped, default=0)
    shift = skew - base if skew < 0 else 0
    corrected = []
    last = 0
    for event, init in pairs:
        last = max(last, min(event + shift, init) if event else init - base)
        corrected.append((last, init))
    return corrected


def test_venue_clock_ahead() -> None:
    rows = correct_rows(tape([(2200, 1000), (2350, 1100), (0, 1150), (2300, 1200)]), base_latency_ns=10)
    # The second row is the fastest: 1100 - 2350 = -1250, so every stamp moves by -1260.
    assert rows["ts_event"].tolist() == [940, 1090, 1140, 1140]
    assert rows["ts_init"].tolist() == [1000, 1100, 1150, 1200]
    assert rows["price"].tolist() == [0, 1, 2, 3]


def test_clocks_that_agree_stay() -> None:
    assert correct_rows(tape([(900, 1000), (1099, 1100)]), base_latency_ns=10)["ts_event"].tolist() == [900, 1099]
    assert (measure_skew([]), measure_skew([tape([(0, 5)])]), shift_for(0), shift_for(-1, 10)) == (0, 0, 0, -11)


@given(
    st.lists(st.tuples(st.just(0) | st.integers(10_000, 20_000), st.integers(0, 300)), max_size=40),
    st.integers(0, 500),
    st.integers(1, 10),
    st.sampled_from([0, 7, 1000]),
)
def test_equals_the_slow_loop_in_any_chunks(steps: list[tuple[int, int]], base: int, chunk: int, in_memory: int) -> None:
    pairs = []
    now = 9_000
    for event, step in steps:
        now += step
        pairs.append((event, now))
    rows = tape(pairs)
    whole = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "ROWS_IN_MEMORY_MAX", in_memory)
        corrected = [pair for part in correct_tape(lambda: iter(whole), base) for pair in part[["ts_event", "ts_init"]].tolist()]
    assert corrected == slow(pairs, base)
    assert all(event <= init for event, init in corrected)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(corrected))


def test_shift_too_small_is_capped_and_counted() -> None:
    tested = EventClock()
    assert tested.correct(tape([(900, 1000), (1300, 1200)]))["ts_event"].tolist() == [900, 1200]
    assert tested.capped == 1


def test_ts_init_must_not_decrease() -> None:
    tested = EventClock()
    tested.correct(tape([(1, 1000)]))
    with pytest.raises(DataError, match=r"tape: row 0 of a chunk: ts_init goes backwards"):
        tested.correct(tape([(1, 999)]))
