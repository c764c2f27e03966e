"""Several tapes as one, and where a row of the one came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from native.market_data import MD_ROW

Rows = npt.NDArray[Any]


class Place(NamedTuple):
    """Where a row of a tape came from: a line of a text file, or a row of a table without lines, both counted from 1."""

    file: str
    line: int | None
    row: int | None = None


# Where a row of the tape, counted from 0, came from; None where that cannot be said.
Locate = Callable[[int], Place | None]


def merge_tapes(tapes: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Several tapes as one, in the order of their ts_init; at equal stamps the tape given first comes first.

    The venue's stamps must not decrease over all instruments: a row that its venue stamped before one already seen is taken to
    have happened at that one's time. It stays at or before its ts_init, so nothing is seen before it happened.
    """
    if len(tapes) == 1:
        yield from tapes[0]
        return
    last_event = 0
    merger = _Merger(tapes)
    while (parts := merger.ready()) is not None:
        rows = np.concatenate(parts)
        rows = rows[_order_of_arrival(parts)]
        rows["ts_event"] = np.maximum.accumulate(np.maximum(rows["ts_event"], last_event))
        last_event = int(rows["ts_event"][-1])
        yield rows


def merged_origin(tapes: Sequence[Iterator[Rows]], row: int) -> tuple[int, int] | None:
    """Which of the tapes, and which of its rows, is row `row` of the same tapes merged; None beyond the end."""
    merger = _Merger(tapes)
    counts = [0] * len(tapes)
    while (parts := merger.ready()) is not None:
        sizes = [len(part) for part in parts]
        if row < sum(sizes):
            at = int(_order_of_arrival(parts)[row])
            for tape, size in enumerate(sizes):
                if at < size:
                    return tape, counts[tape] + at
                at -= size
        row -= sum(sizes)
        counts = [count + size for count, size in zip(counts, sizes, strict=True)]
    return None


def _order_of_arrival(parts: Sequence[Rows]) -> npt.NDArray[np.intp]:
    return np.argsort(np.concatenate([part["ts_init"] for part in parts]), kind="stable")


class _Merger:
    """Buffers of several tapes; `ready` gives what no tape can still come before."""

    def __init__(self, tapes: Sequence[Iterator[Rows]]) -> None:
        self._tapes = list(tapes)
        self._buffers = [np.zeros(0, MD_ROW) for _ in tapes]
        self._ended = [False] * len(tapes)

    def ready(self) -> list[Rows] | None:
        """The next rows of each tape, at least one in all; None at the end of all."""
        while True:
            for index, buffer in enumerate(self._buffers):
                if not len(buffer):
                    self._fetch(index)
            going = [index for index, ended in enumerate(self._ended) if not ended]
            # A tape that goes on has told all it knows before its last stamp; more rows at that very stamp may follow.
            limit = min((int(self._buffers[index]["ts_init"][-1]) for index in going), default=None)
            ready = [
                len(buffer) if limit is None else int(np.searchsorted(buffer["ts_init"], limit, side="left"))
                for buffer in self._buffers
            ]
            if any(ready):
                parts = [buffer[:end] for buffer, end in zip(self._buffers, ready, strict=True)]
                self._buffers = [buffer[end:] for buffer, end in zip(self._buffers, ready, strict=True)]
                return parts
            if not going:
                return None
            for index in going:
                if int(self._buffers[index]["ts_init"][-1]) == limit:
                    self._fetch(index)

    def _fetch(self, index: int) -> None:
        """One more chunk with rows in it, or the tape has ended."""
        if self._ended[index]:
            return
        for rows in self._tapes[index]:
            if len(rows):
                self._buffers[index] = np.concatenate((self._buffers[index], rows))
                return
        self._ended[index] = True
