"""Plays rows into the simulated venue, chunk by chunk as it asks for them: any length of recording in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.approved import Approved
from core.commands import CancelTimer, SetTimer
from core.errors import DataError
from core.events import AnyEvent
from native.market_data import MD_ROW
from sim.venue import SimulatedVenue

Rows = npt.NDArray[Any]
# The file and line that a row of the tape, counted from 0, came from; None where that cannot be said.
Locate = Callable[[int], tuple[str, int] | None]


class TapeVenue:
    """A SimulatedVenue and the rows it has yet to see. `ts_start` is when the first of them becomes visible.

    Raises DataError, at once, where there is no row at all. One call of `advance` looks at one chunk at most, so that a strategy
    which sleeps through the whole tape does not keep the daemon from answering.
    """

    def __init__(self, venue: SimulatedVenue, chunks: Iterator[Rows], source: str, locate: Locate | None = None) -> None:
        self.inner = venue
        self._locate = locate
        self._chunks = chunks
        self._source = source
        self._finished = False
        self.done = False
        self.rows_fed = 0
        first = next(chunks, None)
        if first is None:
            raise DataError("there is not a single row of market data", file=source)
        self.ts_start = int(first["ts_init"][0])
        self._feed(first)

    def _feed(self, rows: Rows) -> None:
        self.rows_fed += len(rows)
        self.inner.feed(rows)

    @property
    def now(self) -> int:
        return max(self.inner.now, self.ts_start)

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        """The next wake-up's events; empty at `until_ts`, at a chunk's end, and where the data ends (then `done`).

        Called again after that end, it lets run out what is still in flight.
        """
        venue = self.inner
        events = self._run(until_ts)
        if events or venue.now >= until_ts or venue.is_done:
            return events
        if self.done:
            if not self._finished:
                self._finished = True
                venue.finish()
                return self._run(until_ts)
            return events
        rows = next(self._chunks, None)
        if rows is None:
            self.done = True
        else:
            self._feed(rows)
        return events

    def _run(self, until_ts: int) -> Sequence[AnyEvent]:
        try:
            return self.inner.advance(until_ts)
        except DataError as error:
            # The venue counts rows; which file and line they came from is looked up only now.
            message = str(error).removeprefix(f"{error.file}:{error.line}: ")
            place = self._locate(error.line) if self._locate is not None and error.line is not None else None
            if place is None:
                raise DataError(f"row {error.line} of the tape: {message}", file=self._source) from error
            raise DataError(message, file=place[0], line=place[1]) from error

    def send(self, approved: Approved) -> None:
        self.inner.send(approved)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        self.inner.schedule(command)

    def totals(self) -> dict[str, int]:
        return self.inner.totals()


def merge_tapes(tapes: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Several tapes as one, in the order of their ts_init; at equal stamps the tape given first comes first.

    The venue's stamps must not decrease over all instruments: a row that its venue stamped before one already seen is taken to
    have happened at that one's time. It stays at or before its ts_init, so nothing is seen before it happened.
    """
    if len(tapes) == 1:
        yield from tapes[0]
        return
    last_event = 0
    buffers: list[Rows] = [next(tape, np.zeros(0, MD_ROW)) for tape in tapes]
    while any(len(buffer) for buffer in buffers):
        # Every tape that still has rows has told all it knows up to its buffer's last stamp; rows at that very stamp may follow.
        limit = min(int(buffer["ts_init"][-1]) for buffer in buffers if len(buffer))
        cut = [int(np.searchsorted(buffer["ts_init"], limit, side="left")) for buffer in buffers]
        if not any(cut):
            index = next(i for i, buffer in enumerate(buffers) if len(buffer) and int(buffer["ts_init"][-1]) == limit)
            more = next(tapes[index], None)
            if more is not None:
                buffers[index] = np.concatenate((buffers[index], more))
                continue
            cut = [int(np.searchsorted(buffer["ts_init"], limit, side="right")) for buffer in buffers]
        ready = [buffer[:end] for buffer, end in zip(buffers, cut, strict=True)]
        buffers = [buffer[end:] for buffer, end in zip(buffers, cut, strict=True)]
        merged = np.concatenate(ready)
        merged = merged[np.argsort(merged["ts_init"], kind="stable")]
        merged["ts_event"] = np.maximum.accumulate(np.maximum(merged["ts_event"], last_event))
        last_event = int(merged["ts_event"][-1])
        yield merged
        buffers = [
            buffer if len(buffer) else next(tape, np.zeros(0, MD_ROW)) for buffer, tape in zip(buffers, tapes, strict=True)
        ]
