"""NativeVenue: the thin wrapper of the simulated venue in C (native/venue_api.h). It owns the memory; results are plain tuples.

An event is a tuple of ten integers: ts_init, ts_event, kind, instrument index, client_order_id, a, b, c, d, e. What a to e mean
for each kind stands in venue_api.h. One cffi call per wake-up; nothing is read field by field.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.errors import CapacityError, DataError
from native._native import ffi, lib
from native.market_data import MD_ROW

__all__ = ["EVENT", "EVENTS_PER_CALL_MAX", "TIME_MAX", "NativeVenue", "ffi", "lib"]

EVENT: Final = struct.Struct("10q")
EVENTS_PER_CALL_MAX = 4096
TIME_MAX = (1 << 63) - 1

QUOTE, TRADE, TIMER, STATUS, GAP = 1, 2, 3, 4, 5
ACCEPTED, REJECTED, FILL, CANCELED, EXPIRED, REPLACED, TRIGGERED, CANCEL_REJECTED, REPLACE_REJECTED, RESTATED = range(10, 20)
FILL_TAKER, FILL_SELL = 1, 2  # bits of a fill's d

WAKE_BEST, WAKE_BEST_QTY, WAKE_BOOK, WAKE_TRADE, WAKE_ORDER, WAKE_STATUS = 1, 2, 4, 8, 16, 32
L2, L3, FLOW = 0, 1, 2
QUEUE_RISK_AVERSE, QUEUE_POWER, QUEUE_LOG = 0, 1, 2
LATENCY_CONSTANT, LATENCY_LOGNORMAL, LATENCY_TABLE = 0, 1, 2

ERR_ARGUMENT, ERR_FULL, ERR_TAPE_ORDER, ERR_TAPE_CROSSED, ERR_TAPE_ROW, ERR_TIME, DONE = -1, -2, -3, -4, -5, -6, -100

_TAPE_ERRORS = {
    ERR_TAPE_ORDER: "time goes backwards, or was received before it happened",
    ERR_TAPE_CROSSED: "the book is crossed after this row",
    ERR_TAPE_ROW: "the row cannot be used: unknown kind, side or instrument, negative quantity, or a price off the tick",
}

Event = tuple[int, int, int, int, int, int, int, int, int, int]
Rows = npt.NDArray[Any]


class NativeVenue:
    """The venue and both its clocks. Prices in points, quantities in units, times in ns UTC.

    Raises CapacityError where a limit is reached, DataError for a bad row of the tape (`line` is the row, counted from 0 over all
    rows fed), and AssertionError for a wrong argument.
    """

    __slots__ = ("_buffer", "_rows", "_table", "_view", "events_out", "handle", "is_done")

    def __init__(
        self,
        *,
        orders_max: int = 4096,
        timers_max: int = 1024,
        instruments_max: int = 16,
        feed_latency_ns: int = 0,
        stp_mode: int = 0,
        reject_per_million: int = 0,
        latency_kind: int = LATENCY_CONSTANT,
        entry_ns: int = 0,
        response_ns: int = 0,
        entry_sigma: float = 0.0,
        response_sigma: float = 0.0,
        seed: int = 0,
        latency_table: npt.NDArray[np.int64] | None = None,
    ) -> None:
        config = ffi.new("venue_config *")
        config.orders_max = orders_max
        config.timers_max = timers_max
        config.instruments_max = instruments_max
        config.feed_latency_ns = feed_latency_ns
        config.stp_mode = stp_mode
        config.reject_per_million = reject_per_million
        latency = config.latency
        latency.kind = latency_kind
        latency.entry_ns = entry_ns
        latency.response_ns = response_ns
        latency.entry_sigma = entry_sigma
        latency.response_sigma = response_sigma
        latency.seed = seed
        if latency_table is not None:
            table = np.ascontiguousarray(latency_table, dtype=np.int64)
            assert table.shape == (len(table), 3), "a latency table has the columns ts, entry_ns, response_ns"
            latency.table = ffi.from_buffer("int64_t[]", table)
            latency.table_rows = len(table)
        handle = lib.venue_new(config)
        if handle == ffi.NULL:
            raise CapacityError("the simulated venue refused its settings, or memory is short (venue_new)")
        self.handle: Any = ffi.gc(handle, lib.venue_free)
        self.events_out: Any = ffi.new("venue_event[]", EVENTS_PER_CALL_MAX)
        self._buffer: Any = ffi.buffer(self.events_out)
        self._view = memoryview(self._buffer)
        self._rows: Rows | None = None
        self.is_done = False

    def add_instrument(
        self,
        *,
        tick: int = 1,
        lot: int = 1,
        qty_min: int = 1,
        qty_max: int = 10**15,
        price_min: int = 1,
        price_max: int = 10**15,
        orders_max: int = 1 << 16,
        levels_max: int = 1 << 14,
        fidelity: int = L2,
        queue_model: int = QUEUE_RISK_AVERSE,
        queue_power: float = 1.0,
        wake: int = 0,
        wake_interval_ns: int = 0,
        check_crossed: bool = False,
    ) -> int:
        """The instrument's index in rows and events."""
        rules = ffi.new("venue_instrument *")
        rules.tick, rules.lot = tick, lot
        rules.qty_min, rules.qty_max = qty_min, qty_max
        rules.price_min, rules.price_max = price_min, price_max
        rules.orders_max, rules.levels_max = orders_max, levels_max
        rules.fidelity, rules.queue_model, rules.queue_power = fidelity, queue_model, queue_power
        rules.wake, rules.wake_interval_ns, rules.check_crossed = wake, wake_interval_ns, check_crossed
        return self.checked(lib.venue_instrument_add(self.handle, rules), "venue_instrument_add")

    # The tape.

    def feed(self, rows: Rows) -> None:
        """Lend the next rows (dtype MD_ROW); they stay alive here until the next feed. The feed before must be used up."""
        assert rows.dtype == MD_ROW, "rows must be of dtype MD_ROW"
        assert rows.ndim == 1, "rows must be one array of rows"
        if len(rows) == 0:
            return
        code = lib.venue_feed(self.handle, ffi.from_buffer("md_row[]", rows), len(rows))
        self.checked(code, "venue_feed")
        self._rows = rows

    def horizon(self, ts: int) -> None:
        """Promise that no later row has ts_init < ts: both clocks may go on to ts - 1 without rows (live feeds)."""
        self.checked(lib.venue_horizon(self.handle, ts), "venue_horizon")

    def finish(self) -> None:
        """No more rows: what is in flight runs out, then `is_done`."""
        self.checked(lib.venue_finish(self.handle), "venue_finish")

    def run(self, until_ts: int = TIME_MAX) -> list[Event]:
        """Events of the next wake-up, oldest first; [] when until_ts is reached, more rows are needed, or all `is_done`."""
        n = lib.venue_run(self.handle, until_ts, self.events_out, EVENTS_PER_CALL_MAX)
        if n == 1:
            return [EVENT.unpack_from(self._view)]
        if n > 0:
            return list(EVENT.iter_unpack(self._view[: n * EVENT.size]))
        if n < 0:
            self.stopped(n)
        return []

    def stopped(self, code: int) -> None:
        """What a negative result of venue_run means: sets `is_done`, or raises."""
        if code != DONE:
            self.checked(code, "venue_run")
        self.is_done = True

    @property
    def now(self) -> int:
        """The local clock."""
        return int(lib.venue_now(self.handle))

    # Commands leave at the local clock's now.

    def submit_limit(
        self, instrument: int, client_order_id: int, side: int, price: int, qty: int, tif: int = 0, flags: int = 0
    ) -> None:
        code = lib.venue_submit_limit(self.handle, instrument, client_order_id, side | tif << 8 | flags << 16, price, qty)
        if code:
            self.checked(code, "venue_submit_limit")

    def submit(
        self,
        instrument: int,
        client_order_id: int,
        side: int,
        qty: int,
        *,
        price: int = 0,
        order_type: int = 0,
        tif: int = 0,
        flags: int = 0,
        trigger_price: int = 0,
        display_qty: int = 0,
        expire_ts: int = 0,
    ) -> None:
        order = ffi.new("venue_order *")
        order.client_order_id, order.instrument, order.side, order.qty = client_order_id, instrument, side, qty
        order.price, order.trigger_price, order.display_qty, order.expire_ts = price, trigger_price, display_qty, expire_ts
        order.order_type, order.time_in_force, order.flags = order_type, tif, flags
        self.checked(lib.venue_submit(self.handle, order), "venue_submit")

    def cancel(self, client_order_id: int) -> None:
        code = lib.venue_cancel(self.handle, client_order_id)
        if code:
            self.checked(code, "venue_cancel")

    def replace(self, client_order_id: int, qty: int, price: int, filled_qty: int = -1) -> None:
        code = lib.venue_replace(self.handle, client_order_id, qty, filled_qty, price)
        if code:
            self.checked(code, "venue_replace")

    def mass_cancel(self, instrument: int = -1) -> None:
        self.checked(lib.venue_mass_cancel(self.handle, instrument), "venue_mass_cancel")

    def timer(self, ts: int, timer_id: int) -> None:
        """Fires at ts; setting a timer again moves it."""
        self.checked(lib.venue_timer(self.handle, ts, timer_id), "venue_timer")

    def cancel_timer(self, timer_id: int) -> bool:
        """False when no such timer is set."""
        return bool(lib.venue_timer_cancel(self.handle, timer_id) == 0)

    def end_of_day(self, instrument: int = -1) -> None:
        """DAY orders expire now."""
        self.checked(lib.venue_end_of_day(self.handle, instrument), "venue_end_of_day")

    def set_position(self, instrument: int, position: int) -> None:
        """What is carried over from an earlier run, signed: reduce-only orders are held to it."""
        self.checked(lib.venue_position_set(self.handle, instrument, position), "venue_position_set")

    # Views.

    def depth(self, instrument: int, side: int, levels_max: int = 10) -> list[tuple[int, int]]:
        """(price, quantity), best first, as the local clock sees it."""
        return self._levels(lib.venue_depth, instrument, side, levels_max)

    def depth_at_venue(self, instrument: int, side: int, levels_max: int = 10) -> list[tuple[int, int]]:
        """As depth, but the venue's own book now, less what our takers took."""
        return self._levels(lib.venue_depth_at_venue, instrument, side, levels_max)

    def queue_ahead(self, client_order_id: int) -> int:
        """Quantity before our resting order at its price, rounded up; -1 when it does not rest."""
        return int(lib.venue_queue_ahead(self.handle, client_order_id))

    def totals(self) -> dict[str, int]:
        totals = ffi.new("venue_totals *")
        self.checked(lib.venue_totals_get(self.handle, totals), "venue_totals_get")
        return {name: int(getattr(totals, name)) for name in dir(totals)}

    def check(self) -> bool:
        """True when every invariant holds; slow, for tests."""
        return bool(lib.venue_check(self.handle) == 0)

    def _levels(self, call: Any, instrument: int, side: int, levels_max: int) -> list[tuple[int, int]]:
        out = ffi.new("book_level[]", max(levels_max, 1))
        n = self.checked(call(self.handle, instrument, side, out, levels_max), "venue_depth")
        return [(price, qty) for price, qty, _orders in struct.iter_unpack("3q", ffi.buffer(out, n * 24)[:])]

    def checked(self, code: int, call: str) -> int:
        if code >= 0:
            return int(code)
        if code == ERR_FULL:
            raise CapacityError(f"{call}: a table of the simulated venue is full: raise orders_max, timers_max or levels_max")
        if code in _TAPE_ERRORS:
            raise DataError(_TAPE_ERRORS[code], file="tape", line=int(lib.venue_error_row(self.handle)))
        raise AssertionError(f"{call} refused its arguments ({code})")
