"""The order-flow generator (native/flow_api.h) for Python: one object per symbol, rows as numpy arrays of MD_ROW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from native._native import ffi, lib
from native.market_data import MD_ROW

ANCHOR_OPPOSITE: int = lib.FLOW_ANCHOR_OPPOSITE
ANCHOR_FAIR: int = lib.FLOW_ANCHOR_FAIR

# Why a stretch of flow stopped.
CAP_REACHED: int = lib.FLOW_ROW
UNTIL_REACHED: int = lib.FLOW_NONE
END_REACHED: int = lib.FLOW_END

LEVELS_MAX: int = lib.FLOW_LEVELS_MAX

_ERRORS = {
    lib.FLOW_ERR_ARGUMENT: "bad argument, or a snapshot asked for twice or too late",
    lib.FLOW_ERR_FULL: "orders_max generator orders are alive",
    lib.FLOW_ERR_IDS: "order ids have run out",
    lib.FLOW_ERR_TIME: "until_ts lies before the generator's clock",
    lib.FLOW_ERR_CORRUPT: "a broken invariant: this is a bug in the generator or in the book",
}


class FlowError(RuntimeError):
    """The generator refused to go on; `code` is the FLOW_ERR_* of flow_api.h, or a BOOK_ERR_* of the book."""

    def __init__(self, code: int) -> None:
        super().__init__(f"order flow stopped with code {code}: {_ERRORS.get(code, 'refused by the book')}")
        self.code = code


def power_law_hz(total_hz: float, exponent: float, levels: int) -> list[float]:
    """`total_hz` shared out over distances 1..levels in proportion to distance ** -exponent, the same bits everywhere."""
    out = ffi.new("double[]", LEVELS_MAX)
    if lib.flow_power_law(total_hz, exponent, levels, out) != 0:
        raise ValueError(f"power law needs 1 to {LEVELS_MAX} levels and finite rates: {total_hz=} {exponent=} {levels=}")
    return [out[index] for index in range(levels)]


class Flow:
    """A generator made from the fields of flow_config; fields left out are 0. Bad fields raise ValueError by name.

    `handle` is the C pointer, for the simulated venue. `book` arguments are the `book *` pointer of the native book.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        native_config = ffi.new("flow_config *", dict(config))
        error = lib.flow_config_error(native_config)
        if error != ffi.NULL:
            raise ValueError(f"order flow: {ffi.string(error).decode('ascii')}")
        handle = lib.flow_new(native_config)
        if handle == ffi.NULL:
            raise MemoryError(f"order flow: no memory for {native_config.orders_max} orders")
        self.handle = ffi.gc(handle, lib.flow_free)
        self._snapshot_rows_max = native_config.snapshot_levels * (
            native_config.snapshot_bid_orders + native_config.snapshot_ask_orders
        )
        self._row = ffi.new("md_row *")
        self._status = ffi.new("int *")

    def snapshot(self) -> npt.NDArray[Any]:
        """The initial book, as rows to apply before anything else. Once per generator."""
        rows = np.zeros(max(self._snapshot_rows_max, 1), dtype=MD_ROW)
        count = lib.flow_snapshot(self.handle, ffi.from_buffer("md_row *", rows, require_writable=True), len(rows))
        if count < 0:
            raise FlowError(count)
        return rows[:count]

    def next(self, book: Any, symbol: int, until_ts: int) -> npt.NDArray[Any] | None:
        """The next row (array of one) with ts_event <= until_ts, which the caller applies; None where there is none."""
        status = lib.flow_next(self.handle, book, symbol, until_ts, self._row)
        if status == lib.FLOW_ROW:
            return np.frombuffer(ffi.buffer(self._row), dtype=MD_ROW).copy()
        if status in (lib.FLOW_NONE, lib.FLOW_END):
            return None
        raise FlowError(status)

    def run(self, book: Any, symbol: int, *, until_ts: int, rows_max: int) -> tuple[npt.NDArray[Any], int]:
        """Generates rows and applies them to `book`: (rows, CAP_REACHED | UNTIL_REACHED | END_REACHED)."""
        rows = np.zeros(rows_max, dtype=MD_ROW)
        buffer = ffi.from_buffer("md_row *", rows, require_writable=True)
        count = lib.flow_run(self.handle, book, symbol, until_ts, buffer, rows_max, self._status)
        return rows[:count], self._stopped()

    def skip(self, book: Any, symbol: int, *, until_ts: int, rows_max: int) -> tuple[int, int]:
        """As run, keeping nothing: (rows done, why it stopped)."""
        count = lib.flow_run(self.handle, book, symbol, until_ts, ffi.NULL, rows_max, self._status)
        return int(count), self._stopped()

    def state(self) -> dict[str, Any]:
        """The fields of flow_view: fair value, regime, live orders, rate bound, row counters."""
        view = ffi.new("flow_view *")
        lib.flow_state(self.handle, view)
        values = {}
        for name, field in ffi.typeof("flow_view").fields:
            value = getattr(view, name)
            values[name] = list(value) if field.type.kind == "array" else value
        del values["reserved"]
        return values

    def check(self, book: Any, symbol: int) -> None:
        """Every invariant, slowly; FlowError where one is broken."""
        status = lib.flow_check(self.handle, book, symbol)
        if status != 0:
            raise FlowError(status)

    def _stopped(self) -> int:
        status: int = self._status[0]
        if status in (CAP_REACHED, UNTIL_REACHED, END_REACHED):
            return status
        raise FlowError(status)
