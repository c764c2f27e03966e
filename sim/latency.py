"""Latency models of the way to the venue and back: constant, seeded log-normal, or interpolated from recorded pairs.

Both ways are first in, first out: whatever a model draws, a message never overtakes an earlier one of the same way.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.errors import DataError
from native import venue as native


class ConstantLatency(msgspec.Struct, frozen=True, kw_only=True):
    entry_ns: int = 0
    response_ns: int = 0


class LogNormalLatency(msgspec.Struct, frozen=True, kw_only=True):
    """median * exp(sigma * z), z standard normal, drawn for each message. The same seed draws the same on every machine."""

    entry_median_ns: int
    response_median_ns: int
    entry_sigma: float
    response_sigma: float
    seed: int


class RecordedLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Linear between recorded (ts, entry_ns, response_ns), ts increasing; constant before the first and after the last."""

    pairs: tuple[tuple[int, int, int], ...]


LatencyModel = ConstantLatency | LogNormalLatency | RecordedLatency


def read_recorded_latency(path: Path) -> RecordedLatency:
    """Three integer columns without a header: ts in ns, entry_ns, response_ns. Raises DataError with the line."""
    pairs: list[tuple[int, int, int]] = []
    with path.open(encoding="ascii", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            try:
                ts, entry_ns, response_ns = map(int, row)
            except ValueError:
                raise DataError(
                    "a row must hold three integers: ts, entry_ns, response_ns", file=str(path), line=number
                ) from None
            if entry_ns < 0 or response_ns < 0 or (pairs and ts <= pairs[-1][0]):
                raise DataError("latencies must not be negative and ts must increase", file=str(path), line=number)
            pairs.append((ts, entry_ns, response_ns))
    if not pairs:
        raise DataError("no latencies", file=str(path))
    return RecordedLatency(pairs=tuple(pairs))


def native_latency(model: LatencyModel) -> dict[str, Any]:
    """The keywords of NativeVenue that say the same."""
    match model:
        case ConstantLatency():
            return {"latency_kind": native.LATENCY_CONSTANT, "entry_ns": model.entry_ns, "response_ns": model.response_ns}
        case LogNormalLatency():
            return {
                "latency_kind": native.LATENCY_LOGNORMAL,
                "entry_ns": model.entry_median_ns,
                "response_ns": model.response_median_ns,
                "entry_sigma": model.entry_sigma,
                "response_sigma": model.response_sigma,
                "seed": model.seed,
            }
        case RecordedLatency():
            return {"latency_kind": native.LATENCY_TABLE, "latency_table": np.array(model.pairs, dtype=np.int64).reshape(-1, 3)}
