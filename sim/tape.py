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

    has_quiet_market: bool = True

    def __init__(self, venue: SimulatedVenue, chunks: Iterator[Rows], source: str, locate: Locate | None = None) -> None:
        self.inner = venue
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
            raise DataError(message, file=place[0], line=place[1]) from error

    def best(self, instrument_id: str) -> tuple[int, int] | None:
        bids, asks = self.inner.depth(instrument_id, 1)
        return (bids[0][0], asks[0][0]) if bids and asks else None

    def send(self, approved: Approved) -> None:
        self.inner.send(approved)

    def schedule(self, command: SetTimer | CancelTimer) -> None:
        if isinstance(command, SetTimer) and command.at < self.inner.now:
            # Asked for while an event from before the wake-up was handled, and due since: it fires now.
            command = SetTimer(command.ts, command.timer_id, self.inner.now)
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
    merger = _Merger(tapes)
    while (rows := merger.ready()) is not None:
        rows["ts_event"] = np.maximum.accumulate(np.maximum(rows["ts_event"], last_event))
        last_event = int(rows["ts_event"][-1])
        yield rows


class _Merger:
    """Buffers of several tapes; `ready` gives what no tape can still come before."""

    def __init__(self, tapes: Sequence[Iterator[Rows]]) -> None:
        self._tapes = list(tapes)
        self._buffers = [np.zeros(0, MD_ROW) for _ in tapes]
        self._ended = [False] * len(tapes)

    def ready(self) -> Rows | None:
        """The next rows, at least one, sorted by ts_init and then by tape; None at the end of all."""
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
                rows = np.concatenate(parts)
                return rows[np.argsort(rows["ts_init"], kind="stable")]
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
