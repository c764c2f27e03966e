"""Reads funding rates from a table: `ts` and `rate`, or as Binance's archive has them (`calc_time`, `last_funding_rate`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from core.errors import DataError
from core.instruments import FEE_RATE_SCALE
from sim.data.columns import ColumnFault, to_fixed, to_ns
from sim.data.tables import frames_of

RATES_MAX = 1_000_000
_NAMES = {"ts": ("ts", "calc_time"), "rate": ("rate", "last_funding_rate")}


def read_funding(path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stamps (ns UTC, increasing) and rates (10^-FEE_RATE_SCALE, fractions of the value). CSV or Parquet.

    Raises DataError for what cannot be read exactly.
    """
    stamps: list[int] = []
    rates: list[int] = []
    for frame in frames_of(path):
        try:
            times = to_ns(_column(frame, "ts", path))
            values = to_fixed(_column(frame, "rate", path), FEE_RATE_SCALE)
        except ColumnFault as fault:
            raise DataError(f"row {len(stamps) + fault.row + 1}: {fault}", file=str(path)) from None
        stamps += times.tolist()
        rates += values.tolist()
        if len(stamps) > RATES_MAX:
            raise DataError(f"more than {RATES_MAX} rates", file=str(path))
    if not stamps:
        raise DataError("there is not a single rate", file=str(path))
    turns = np.flatnonzero(np.diff(np.array(stamps, dtype=np.int64)) <= 0)
    if len(turns):
        raise DataError(f"row {int(turns[0]) + 2} is not later than the one before", file=str(path))
    return tuple(stamps), tuple(rates)


def _column(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    for known in _NAMES[name]:
        if known in frame.columns:
            return frame[known]
    raise DataError(f"there is no column {' or '.join(_NAMES[name])}", file=str(path))
