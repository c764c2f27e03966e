"""Puts a tape's two clocks in order: ts_event <= ts_init on every row, and neither stamp ever decreases.

Two machines' clocks differ. Where the venue's runs ahead of ours, some rows would be received before they happened. As
hftbacktest's correct_local_timestamp does, the smallest difference ts_init - ts_event of the whole tape is taken as the
clocks' offset; unlike it, ts_event is what moves and ts_init, our own experience, never does:

    skew  = min(ts_init - ts_event)          over the rows that the venue stamped
    shift = skew - base_latency_ns           where skew < 0, else 0 (added to ts_event)

Then the fastest row has exactly the base latency. Rows without a venue stamp get ts_init - base_latency_ns. Last, a running
maximum keeps ts_event from going backwards where streams of one venue overtake each other; since ts_init does not decrease
either, ts_event <= ts_init survives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from core.errors import DataError
from core.feed import UNSTAMPED
from native.market_data import MD_ROW

BASE_LATENCY_NS = 1_000_000
ROWS_IN_MEMORY_MAX = 4_000_000  # 192 MB
_NO_SKEW = np.iinfo(np.int64).max


def measure_skew(chunks: Iterable[np.ndarray]) -> int:
    """min(ts_init - ts_event) over the stamped rows, ns; 0 where no row is stamped."""
    skew = _NO_SKEW
    for rows in chunks:
        stamped = rows[rows["ts_event"] != UNSTAMPED]
        if len(stamped):
            skew = min(skew, int((stamped["ts_init"] - stamped["ts_event"]).min()))
    return 0 if skew == _NO_SKEW else skew


def shift_for(skew_ns: int, base_latency_ns: int = BASE_LATENCY_NS) -> int:
    """What to add to ts_event so that the fastest row has the base latency; 0 where the clocks already agree."""
    return skew_ns - base_latency_ns if skew_ns < 0 else 0


class EventClock:
    """Corrects one tape, chunk by chunk, with a shift known beforehand; keeps the running maxima between chunks."""

    def __init__(self, shift_ns: int = 0, base_latency_ns: int = BASE_LATENCY_NS) -> None:
        assert base_latency_ns >= 0
        self.shift_ns = shift_ns
        self.capped = 0  # stamped rows that still lay ahead of ts_init and were pulled back to it
        self._base_latency_ns = base_latency_ns
        self._last_event = 0
        self._last_init = 0

    def correct(self, rows: np.ndarray, file: str = "tape") -> np.ndarray:
        """A corrected copy. Raises DataError where ts_init decreases."""
        if not len(rows):
            return rows
        rows = rows.copy()
        ts_init = rows["ts_init"]
        before = np.concatenate(([self._last_init], ts_init[:-1]))
        if (ts_init < before).any():
            raise DataError(f"row {int(np.argmax(ts_init < before))} of a chunk: ts_init goes backwards", file=file)
        unstamped = rows["ts_event"] == UNSTAMPED
        ts_event = np.where(unstamped, ts_init - self._base_latency_ns, rows["ts_event"] + self.shift_ns)
        ahead = ts_event > ts_init
        self.capped += int(ahead.sum())
        ts_event = np.minimum(ts_event, ts_init)
        ts_event[0] = max(int(ts_event[0]), self._last_event)
        rows["ts_event"] = np.maximum.accumulate(ts_event)
        self._last_event, self._last_init = int(rows["ts_event"][-1]), int(ts_init[-1])
        return rows


def correct_tape(open_tape: Callable[[], Iterator[np.ndarray]], base_latency_ns: int = BASE_LATENCY_NS) -> Iterator[np.ndarray]:
    """The whole tape corrected: the first pass measures, the second one corrects.

    A tape of up to ROWS_IN_MEMORY_MAX rows is kept between the passes; a longer one is opened a second time, so that memory
    stays bounded.
    """
    kept: list[np.ndarray] | None = []
    rows_kept = 0

    def watched() -> Iterator[np.ndarray]:
        nonlocal kept, rows_kept
        for rows in open_tape():
            rows_kept += len(rows)
            if rows_kept > ROWS_IN_MEMORY_MAX:
                kept = None
            elif kept is not None:
                kept.append(rows)
            yield rows

    clock = EventClock(shift_for(measure_skew(watched()), base_latency_ns), base_latency_ns)
    if kept is None:
        for rows in open_tape():
            yield clock.correct(rows)
        return
    kept.reverse()
    while kept:
        yield clock.correct(kept.pop())


def correct_rows(rows: np.ndarray, base_latency_ns: int = BASE_LATENCY_NS) -> np.ndarray:
    """`correct_tape` for rows that are in memory already."""
    assert rows.dtype == MD_ROW
    return EventClock(shift_for(measure_skew([rows]), base_latency_ns), base_latency_ns).correct(rows)
