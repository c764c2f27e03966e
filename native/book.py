"""NativeBook: the C matching engine behind Python methods; reports come back as tuples or stay in numpy columns."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from native.book_types import (
    LEVEL_DTYPE,
    ORDER_VIEW_DTYPE,
    REPORT_DTYPE,
    BookArgumentError,
    BookCorruptError,
    BookSymbolError,
    Clearing,
    Level,
    OrderType,
    OrderView,
    Report,
    ReportsFullError,
    SelfTrade,
    TimeInForce,
    Totals,
    require_range,
)
from native.loader import extension

_REPORT = struct.Struct("=7qi3Bx")
_LEVEL = struct.Struct("=3q")
_ORDER = struct.Struct("=7qi4B")
_ORDER_VIEW = struct.Struct("=5qi4B")
_REPORTS_START = 1024
# int64 fields of book_order, then its bytes: what a failed assignment is blamed on.
_INT64_FIELDS = ("order_id", "owner", "price", "trigger_price", "qty", "display_qty", "expire_ts")
_BYTE_FIELDS = ("side", "order_type", "time_in_force", "flags")
_BATCH_COLUMNS = ("ts", "op", "order_id", "side", "price", "qty")
FNV_START = 0xCBF29CE484222325


class NativeBook:
    """One book of many symbols. Prices, quantities and times are int64; owner 0 means no owner.

    orders_max: live orders over all symbols, parked stops included. levels_max: distinct live prices. owners_max: owners whose
    position is tracked. reports_max: the most reports one message may need; the buffer grows to it as messages ask.
    Each message returns its reports, oldest first. Raises BookArgumentError for values that no book can take.
    """

    def __init__(
        self,
        *,
        orders_max: int,
        levels_max: int,
        symbols_max: int = 1,
        owners_max: int = 0,
        stp_mode: int = SelfTrade.NONE,
        reports_max: int = 1 << 22,
    ) -> None:
        module = extension()
        if module is None:
            raise BookArgumentError("NativeBook needs the C extension; use native.loader.make_book")
        self._ffi, self._lib = module.ffi, module.lib
        config = self._ffi.new("book_config *")
        config.orders_max = require_range("orders_max", orders_max, 1, 2**28)
        config.levels_max = require_range("levels_max", levels_max, 1, 2**28)
        config.symbols_max = require_range("symbols_max", symbols_max, 1, 2**24)
        config.owners_max = require_range("owners_max", owners_max, 0, 2**24)
        config.stp_mode = require_range("stp_mode", stp_mode, 0, SelfTrade.DECREMENT)
        self._reports_max = require_range("reports_max", reports_max, 1, 2**28)
        raw = self._lib.book_new(config)
        if raw == self._ffi.NULL:
            raise BookArgumentError(f"book_new: {orders_max} orders, {symbols_max} x {owners_max} positions do not fit")
        self._book = self._ffi.gc(raw, self._lib.book_free)
        self._order = self._ffi.new("book_order *")
        self._levels_max = levels_max
        self._written = self._ffi.new("int64_t *")
        self._from_buffer = self._ffi.from_buffer
        self._level = self._ffi.new("book_level *")
        self._level_bytes = self._ffi.buffer(self._level)
        self._symbols = 0
        self._allocate(min(_REPORTS_START, self._reports_max))

    @property
    def raw(self) -> Any:
        """The `book *`, for other wrappers of the extension; it lives as long as this object."""
        return self._book

    def _allocate(self, cap: int) -> None:
        self._cap = cap
        self._reports = self._ffi.new("book_report[]", cap)
        # The fast calls (limit, cancel_fast) write here too.
        self._lib.book_reports_attach(self._book, self._reports, cap)

    def _run(self, call: Any, *arguments: Any) -> list[Report]:
        while True:
            try:
                count = call(self._book, *arguments, self._reports, self._cap)
            except (OverflowError, TypeError) as error:
                raise BookArgumentError(f"{call.__name__}: {error}") from error
            if count >= 0:
                return self._read(count)
            self._grow_or_raise(count, call)

    def _grow_or_raise(self, code: int, call: Any) -> None:
        if code != self._lib.BOOK_ERR_REPORTS_FULL:
            self._raise(code, call)
        if self._cap == self._reports_max:
            raise ReportsFullError(f"{call.__name__}: may need more than {self._reports_max} reports; nothing happened")
        self._allocate(min(4 * self._cap, self._reports_max))

    def _raise(self, code: int, call: Any) -> None:
        if code == self._lib.BOOK_ERR_SYMBOL:
            raise BookSymbolError(f"{call.__name__}: no such symbol, or no room for one more")
        raise BookArgumentError(f"{call.__name__}: not possible with these values in this state")

    def _read(self, count: int) -> list[Report]:
        return list(map(Report._make, _REPORT.iter_unpack(self._ffi.buffer(self._reports, count * _REPORT.size))))

    def _checked(self, code: int, call: Any) -> int:
        if code < 0:
            self._raise(code, call)
        return code

    # ---- Symbols, status, positions ----

    def symbol_add(self, *, tick: int, lot: int, qty_min: int, qty_max: int, price_min: int, price_max: int) -> int:
        """The new symbol's index. Prices are multiples of tick in [price_min, price_max], quantities multiples of lot."""
        require_range("tick", tick, 1)
        require_range("lot", lot, 1)
        require_range("qty_min", qty_min, 0)
        require_range("qty_max", qty_max, max(1, qty_min))
        require_range("price_min", price_min)
        require_range("price_max", price_max, price_min)
        rules = self._ffi.new("book_symbol *", (tick, lot, qty_min, qty_max, price_min, price_max))
        index = self._checked(self._lib.book_symbol_add(self._book, rules), self._lib.book_symbol_add)
        self._symbols = index + 1
        return index

    def status_set(self, symbol: int, status: int) -> None:
        """TRADING, HALTED or CLOSED; auctions begin and end by auction_begin and uncross."""
        self._checked(self._lib.book_status_set(self._book, self._symbol(symbol), status), self._lib.book_status_set)

    def _symbol(self, symbol: int) -> int:
        return require_range("symbol", symbol, -(2**31), 2**31 - 1)

    def _known_symbol(self, symbol: int) -> int:
        """For calls whose answer has no room for an error code."""
        if not 0 <= self._symbol(symbol) < self._symbols:
            raise BookSymbolError(f"symbol {symbol} is not one of the book's {self._symbols}")
        return symbol

    def position(self, owner: int, symbol: int) -> int:
        """The owner's net traded quantity, buys positive; 0 for an unknown owner."""
        return int(self._lib.book_position(self._book, require_range("owner", owner), self._symbol(symbol)))

    def position_set(self, owner: int, symbol: int, position: int) -> None:
        """Where reduce-only starts from."""
        require_range("owner", owner)
        require_range("position", position, -(2**62), 2**62)
        code = self._lib.book_position_set(self._book, owner, self._symbol(symbol), position)
        self._checked(code, self._lib.book_position_set)

    # ---- Messages ----

    def submit(
        self,
        ts: int,
        *,
        order_id: int,
        side: int,
        qty: int,
        price: int = 0,
        symbol: int = 0,
        owner: int = 0,
        order_type: int = OrderType.LIMIT,
        time_in_force: int = TimeInForce.GTC,
        flags: int = 0,
        trigger_price: int = 0,
        display_qty: int = 0,
        expire_ts: int = 0,
    ) -> list[Report]:
        """A new order. Fields that its type does not use are ignored."""
        values = (order_id, owner, price, trigger_price, qty, display_qty, expire_ts)
        small = (side, order_type, time_in_force, flags)
        try:
            self._ffi.buffer(self._order)[:] = _ORDER.pack(*values, symbol, *small)
        except struct.error:
            for name, value in zip(_INT64_FIELDS, values, strict=True):
                require_range(name, value)
            for name, value in zip(_BYTE_FIELDS, small, strict=True):
                require_range(name, value, 0, 255)
            self._symbol(symbol)
            raise
        return self._run(self._lib.book_submit, ts, self._order)

    def cancel(self, ts: int, order_id: int) -> list[Report]:
        """One order leaves; CANCEL_REJECTED where the id is not live."""
        return self._run(self._lib.book_cancel, ts, order_id)

    def replace(self, ts: int, order_id: int, qty: int, price: int) -> list[Report]:
        """New remaining quantity and limit price. Only less quantity at the same price keeps the place; else it may match."""
        return self._run(self._lib.book_replace, ts, order_id, qty, price)

    def mass_cancel(self, ts: int, *, owner: int = 0, symbol: int = -1, side: int = -1) -> list[Report]:
        """owner 0: everyone; symbol -1: all; side -1: both. By symbol, side (stops last), priority."""
        require_range("side", side, -1, 1)
        return self._run(self._lib.book_mass_cancel, ts, owner, self._symbol(symbol), side)

    def execute_resting(self, ts: int, order_id: int, qty: int) -> list[Report]:
        """A recorded trade hit this resting order; the report's taker is 0. It may elect stops."""
        return self._run(self._lib.book_execute_resting, ts, order_id, qty)

    def reduce(self, ts: int, order_id: int, qty: int) -> list[Report]:
        """A recorded partial cancel: qty less, same place."""
        return self._run(self._lib.book_reduce, ts, order_id, qty)

    def advance(self, ts: int) -> list[Report]:
        """GTD orders whose expire_ts <= ts leave, the earliest expiry first."""
        return self._run(self._lib.book_advance, ts)

    def end_of_day(self, ts: int, symbol: int = -1) -> list[Report]:
        """DAY orders, and opening orders that never met an uncross, leave."""
        return self._run(self._lib.book_end_of_day, ts, self._symbol(symbol))

    def limit(self, order_id: int, side: int, price: int, qty: int) -> list[Report]:
        """The cheapest single message: a GTC limit without owner on symbol 0, stamped with the last ts seen."""
        return self._fast(self._lib.book_limit, order_id, side, price, qty)

    def cancel_fast(self, order_id: int) -> list[Report]:
        """Cancel, stamped with the last ts seen."""
        return self._fast(self._lib.book_cancel_fast, order_id)

    def _fast(self, call: Any, *arguments: int) -> list[Report]:
        while True:
            try:
                count = call(self._book, *arguments)
            except (OverflowError, TypeError) as error:
                raise BookArgumentError(f"{call.__name__}: {error}") from error
            if count >= 0:
                return self._read(count)
            self._grow_or_raise(count, call)

    def batch(
        self,
        symbol: int,
        *,
        ts: np.ndarray,
        op: np.ndarray,
        order_id: np.ndarray,
        side: np.ndarray,
        price: np.ndarray,
        qty: np.ndarray,
        reports: np.ndarray | None = None,
    ) -> tuple[int, int]:
        """Columns of messages (op 0: new GTC limit, 1: cancel), all int64, contiguous, of one length.

        reports: array of REPORT_DTYPE to fill, or None to keep totals only. Returns (messages done, reports written); fewer done
        than given means that `reports` was too full for the next one: read it and go on from there.
        """
        rows = len(ts)
        columns = (ts, op, order_id, side, price, qty)
        for name, column in zip(_BATCH_COLUMNS, columns, strict=True):
            if column.dtype != np.int64 or column.ndim != 1 or not column.flags.c_contiguous or len(column) != rows:
                raise BookArgumentError(f"batch: column {name} must be a contiguous int64 vector of length {rows}")
        pointers = [self._from_buffer("int64_t[]", column) for column in columns]
        out, cap = self._ffi.NULL, 0
        if reports is not None:
            if (
                reports.dtype != REPORT_DTYPE
                or reports.ndim != 1
                or not reports.flags.c_contiguous
                or not reports.flags.writeable
            ):
                raise BookArgumentError("batch: reports must be a contiguous writable vector of REPORT_DTYPE")
            out, cap = self._from_buffer("book_report[]", reports, require_writable=True), len(reports)
        done = self._lib.book_batch(self._book, self._symbol(symbol), rows, *pointers, out, cap, self._written)
        return self._checked(done, self._lib.book_batch), self._written[0]

    def batch_quiet(self, on: bool) -> None:
        """Batches leave out ACCEPTED and CANCELED of plain orders; trades and refusals stay."""
        self._lib.book_batch_quiet(self._book, int(on))

    # ---- Auctions ----

    def auction_begin(self, symbol: int) -> None:
        """From here orders rest without matching, until uncross."""
        self._checked(self._lib.book_auction_begin(self._book, self._symbol(symbol)), self._lib.book_auction_begin)

    def auction_price(self, symbol: int, reference_price: int) -> Clearing | None:
        """Where the book would uncross now (reduce-only limits aside); None: nothing would trade."""
        out = self._ffi.new("int64_t[3]")
        require_range("reference_price", reference_price)
        call = self._lib.book_auction_price
        found = self._checked(call(self._book, self._symbol(symbol), reference_price, out, out + 1, out + 2), call)
        return Clearing(out[0], out[1], out[2]) if found else None

    def uncross(self, ts: int, symbol: int, reference_price: int) -> list[Report]:
        """Trades at the clearing price, expires opening orders, and starts continuous trading."""
        return self._run(self._lib.book_uncross, ts, self._symbol(symbol), reference_price)

    # ---- Views ----

    def best(self, symbol: int, side: int) -> Level | None:
        """The best price of a side, or None where it is empty."""
        require_range("side", side, 0, 1)
        if self._lib.book_best(self._book, self._known_symbol(symbol), side, self._level):
            return Level._make(_LEVEL.unpack(self._level_bytes))
        return None

    def levels(self, symbol: int, side: int, depth: int | None = None) -> list[Level]:
        """L2, best first. side 2 and 3: trigger prices of parked buy and sell stops."""
        cap = self._levels_max if depth is None else min(depth, self._levels_max)
        out = self._ffi.new("book_level[]", max(1, cap))
        count = self._lib.book_levels(self._book, self._symbol(symbol), self._queue(side), out, cap)
        self._checked(count, self._lib.book_levels)
        return list(map(Level._make, _LEVEL.iter_unpack(self._ffi.buffer(out, count * _LEVEL.size))))

    def levels_array(self, symbol: int, side: int, depth: int) -> np.ndarray:
        """L2 as an array of LEVEL_DTYPE."""
        out = np.empty(max(0, depth), LEVEL_DTYPE)
        pointer = self._ffi.cast("book_level *", out.ctypes.data)
        count = self._lib.book_levels(self._book, self._symbol(symbol), self._queue(side), pointer, len(out))
        return out[: self._checked(count, self._lib.book_levels)]

    def orders_array(self, symbol: int, side: int) -> np.ndarray:
        """L3 in priority order as an array of ORDER_VIEW_DTYPE. side 2 and 3: parked buy and sell stops."""
        out = np.empty(self.live_orders(), ORDER_VIEW_DTYPE)
        pointer = self._ffi.cast("book_order_view *", out.ctypes.data)
        count = self._lib.book_orders(self._book, self._symbol(symbol), self._queue(side), pointer, len(out))
        return out[: self._checked(count, self._lib.book_orders)]

    def orders(self, symbol: int, side: int) -> list[OrderView]:
        """L3 in priority order as tuples."""
        return list(map(OrderView._make, _ORDER_VIEW.iter_unpack(self.orders_array(symbol, side).tobytes())))

    def _queue(self, side: int) -> int:
        return require_range("side", side, 0, 3)

    def order(self, order_id: int) -> OrderView | None:
        """One live order, or None."""
        out = self._ffi.new("book_order_view *")
        if not self._lib.book_order_get(self._book, require_range("order_id", order_id), out):
            return None
        return OrderView._make(_ORDER_VIEW.unpack(self._ffi.buffer(out)))

    def queue_ahead(self, order_id: int) -> int:
        """Displayed quantity in front of it at its price; -1 where it is not resting."""
        return int(self._lib.book_queue_ahead(self._book, require_range("order_id", order_id)))

    def level_qty(self, symbol: int, side: int, price: int) -> int:
        """Displayed quantity at a price; 0 for none."""
        require_range("side", side, 0, 1)
        return int(self._lib.book_level_qty(self._book, self._known_symbol(symbol), side, require_range("price", price)))

    def live_orders(self) -> int:
        """Resting and parked orders of all symbols."""
        return int(self._lib.book_live_orders(self._book))

    def last_price(self, symbol: int) -> int | None:
        """Price of the symbol's last trade."""
        out = self._ffi.new("int64_t *")
        return out[0] if self._lib.book_last_price(self._book, self._known_symbol(symbol), out) else None

    def totals(self) -> Totals:
        """Sums since the book was made."""
        out = self._ffi.new("book_totals *")
        self._lib.book_totals_get(self._book, out)
        return Totals._make(struct.unpack("=6q", self._ffi.buffer(out)))

    def check(self) -> None:
        """Raises BookCorruptError where any invariant is broken. Slow: it looks at everything."""
        if self._lib.book_check(self._book) != self._lib.BOOK_OK:
            raise BookCorruptError("book_check found a broken invariant")


def reports_fnv(reports: np.ndarray, state: int = FNV_START) -> int:
    """FNV-1a over (maker, taker, price, qty) of the TRADE rows of a REPORT_DTYPE array, continued from `state`."""
    module = extension()
    if module is None:
        for row in reports[reports["kind"] == 1]:
            for name in ("contra_id", "order_id", "price", "qty"):
                state = ((state ^ (int(row[name]) & (2**64 - 1))) * 0x100000001B3) % 2**64
        return state
    pointer = module.ffi.cast("book_report *", reports.ctypes.data)
    return int(module.lib.book_reports_fnv(pointer, len(reports), state))
