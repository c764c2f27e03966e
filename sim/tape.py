"""Plays rows into the simulated venue, chunk by chunk as it asks for them: any length of recording in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy.typing as npt

from core.errors import DataError
from core.events import AnyEvent
from sim.outer_venue import OuterVenue
from sim.tape_merge import Locate
from sim.venue import SimulatedVenue

Rows = npt.NDArray[Any]


class TapeVenue(OuterVenue):
    """A SimulatedVenue and the rows it has yet to see. `ts_start` is when the first of them becomes visible.

    Raises DataError, at once, where there is no row at all. One call of `advance` looks at one chunk at most, so that a strategy
    which sleeps through the whole tape does not keep the daemon from answering.
    """

    def __init__(self, venue: SimulatedVenue, chunks: Iterator[Rows], source: str, locate: Locate | None = None) -> None:
        super().__init__(venue)
        self._locate = locate
        self._chunks = chunks
        self._source = source
        self._finished = False
        self.done = False
        first = next((rows for rows in chunks if len(rows)), None)
        if first is None:
            raise DataError("there is not a single row of market data", file=source)
        self.ts_start = int(first["ts_init"][0])
        self._feed(first)

    def _feed(self, rows: Rows) -> None:
        self._last_ts = int(rows["ts_init"][-1])
        self.inner.feed(rows)

    @property
    def now(self) -> int:
        return max(self.inner.now, self.ts_start)

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        """The next wake-up's events; empty at `until_ts`, at a chunk's end, and where the data ends (then `done`).

        Called again after that end, it lets run out what is still in flight.
        """
        venue = self.inner
        if self.done:
            return self._run(until_ts)
        # The last row is the end: timers that go on for ever do not keep the run alive.
        limit = min(until_ts, self._last_ts) if self._finished else until_ts
        events = self._run(limit)
        if events or venue.now >= until_ts:
            return events
        if self._finished:
            self.done = venue.is_done or venue.now >= self._last_ts
            return events
        rows = next((rows for rows in self._chunks if len(rows)), None)
        if rows is None:
            self._finished = True
            venue.finish()
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
            if place.row is not None:
                message = f"row {place.row}: {message}"
            raise DataError(message, file=place.file, line=place.line) from error
