"""BarSeries: one instrument's bars of one length as checked columns; BarTable: several of them merged by the time they end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.errors import InputError
from core.events import Bar

Column = npt.NDArray[np.int64]

# What readers hand over: ts_event is the end of the bar, in ns UTC; prices in points, volume in units of the instrument.
BAR_ROW = np.dtype([(name, "<i8") for name in ("ts_event", "open", "high", "low", "close", "volume", "interval_ns")])

CHUNK_ROWS = 1_024


class BarSeries:
    """Bars of `interval_ns`, each over [ts_event - interval_ns, ts_event), in the order of time and without overlap.

    Columns are int64 arrays of one length. Raises InputError, with the row, for a bar that cannot be.
    """

    def __init__(
        self,
        instrument_id: str,
        interval_ns: int,
        ts_event: Column,
        open_: Column,
        high: Column,
        low: Column,
        close: Column,
        volume: Column,
    ) -> None:
        self.instrument_id = instrument_id
        self.interval_ns = interval_ns
        self.ts_event, self.open, self.high, self.low, self.close, self.volume = columns = (
            ts_event,
            open_,
            high,
            low,
            close,
            volume,
        )
        if interval_ns <= 0:
            raise InputError(f"bars of {instrument_id}: interval_ns must be positive, not {interval_ns}")
        for column in columns:
            if column.dtype != np.int64 or column.shape != ts_event.shape or column.ndim != 1:
                raise InputError(f"bars of {instrument_id}: columns must be int64 arrays of one length")
        self._require(low <= np.minimum(open_, close), "its low lies above its open or close")
        self._require(high >= np.maximum(open_, close), "its high lies below its open or close")
        self._require(volume >= 0, "its volume is negative")
        self._require(
            np.concatenate(([True], np.diff(ts_event) >= interval_ns)) if len(ts_event) else np.ones(0, bool),
            "it begins before the one before it has ended",
        )

    @classmethod
    def from_rows(cls, instrument_id: str, rows: npt.NDArray[np.void]) -> BarSeries:
        """From an array of dtype BAR_ROW whose bars are all of one length."""
        intervals = np.unique(rows["interval_ns"])
        if len(intervals) != 1:
            raise InputError(f"bars of {instrument_id}: {len(intervals)} lengths where one is needed: {intervals[:5].tolist()}")
        names = ("ts_event", "open", "high", "low", "close", "volume")
        return cls(instrument_id, int(intervals[0]), *(np.ascontiguousarray(rows[name]) for name in names))

    def __len__(self) -> int:
        return len(self.ts_event)

    def _require(self, holds: npt.NDArray[np.bool_], what: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            raise InputError(f"bars of {self.instrument_id}: row {row} (ts_event {int(self.ts_event[row])}) cannot be: {what}")


class BarTable:
    """All bars of several series in the order in which they end; at one instant in the order of the series."""

    def __init__(self, series: Sequence[BarSeries]) -> None:
        keys = [(one.instrument_id, one.interval_ns) for one in series]
        if len(set(keys)) != len(keys):
            raise InputError(f"bars: two series of one instrument have the same length: {keys}")
        self.series = list(series)
        if len(series) == 1:
            # The usual case needs no copy.
            only = series[0]
            self.ts_event = only.ts_event
            self._columns: list[Column] = [only.open, only.high, only.low, only.close, only.volume]
            self.series_of_row: Column | None = None
            self.rows_of_series: list[Column] = []
            return
        ends = np.concatenate([one.ts_event for one in series]) if series else np.zeros(0, np.int64)
        owner = np.repeat(np.arange(len(series), dtype=np.int64), [len(one) for one in series])
        order = np.argsort(ends, kind="stable")
        self.ts_event = ends[order]
        self.series_of_row = owner[order]
        self.rows_of_series = [np.flatnonzero(self.series_of_row == index) for index in range(len(series))]
        self._columns = [
            np.concatenate([getattr(one, name) for one in series])[order] if series else ends
            for name in ("open", "high", "low", "close", "volume")
        ]

    def __len__(self) -> int:
        return len(self.ts_event)

    def rows_before(self, series_index: int, row: int) -> int:
        """How many bars of one series lie before row `row` of the table."""
        if self.series_of_row is None:
            return row
        return int(np.searchsorted(self.rows_of_series[series_index], row))

    def chunk(self, start: int) -> list[Bar]:
        """The Bar events of rows start … start + CHUNK_ROWS, made at once: a third of the cost of making each when it is due."""
        end = min(start + CHUNK_ROWS, len(self))
        ends = self.ts_event[start:end].tolist()
        columns = [column[start:end].tolist() for column in self._columns]
        if self.series_of_row is None:
            only = self.series[0]
            ids, intervals = [only.instrument_id] * len(ends), [only.interval_ns] * len(ends)
        else:
            owners = [self.series[index] for index in self.series_of_row[start:end].tolist()]
            ids, intervals = [one.instrument_id for one in owners], [one.interval_ns for one in owners]
        return list(map(Bar, ends, ends, ids, *columns, intervals))
