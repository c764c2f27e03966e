"""The ledger file of a simulated venue: a JSON object a line for everything that it took and everything that happened there.

Lines are written before anything that follows from them leaves the process, so that after a kill the file is the venue's truth; a
power cut is none of its business. An auditor needs nothing but the file: docs/VENUE-SIM.md lists the kinds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from core.enums import CashKind, LiquiditySide, Side
from core.errors import DataError, StorageError
from core.events import CashMoved, OrderFilled
from daemon.venue_sim.account import EXECUTIONS_KEPT_MAX, MOVEMENTS_KEPT_MAX

Line = dict[str, Any]
LINE_BYTES_MAX = 1 << 16
_DECODER = msgspec.json.Decoder(Line)
_ENCODER = msgspec.json.Encoder()
ENDS = ("canceled", "rejected", "expired")


class LedgerFile:
    """Lines are kept until `flush` writes them, all at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._waiting = bytearray()
        self._file = -1
        if path is not None:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                _cut_unfinished(self._file)
            except OSError as error:
                raise StorageError(f"{path}: the ledger cannot be opened: {error.strerror or error}") from error

    def note(self, line: Line) -> None:
        if self._file >= 0:
            self._waiting += _ENCODER.encode(line)
            self._waiting += b"\n"

    def flush(self) -> None:
        """Raises StorageError; then nothing may leave the process any more."""
        while self._waiting:
            try:
                del self._waiting[: os.write(self._file, self._waiting)]
            except OSError as error:
                raise StorageError(f"{self._path}: the ledger cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        if self._file >= 0:
            self.flush()
            os.close(self._file)
            self._file = -1


def _cut_unfinished(file: int) -> None:
    """A line that was never finished would become part of the next one."""
    size = os.fstat(file).st_size
    start = max(size - LINE_BYTES_MAX, 0)
    tail = os.pread(file, size - start, start)
    os.ftruncate(file, start + tail.rfind(b"\n") + 1)


@dataclass(slots=True)
class Restored:
    """What a ledger comes to. `open_orders`: id and what was left of it; `prices`: of the last fill of each instrument."""

    sessions: int = 0
    number: int = 0
    ts: int = 0
    venue_orders: int = 0
    used_ids: dict[int, None] = field(default_factory=dict)
    open_orders: dict[int, int] = field(default_factory=dict)
    executions: deque[tuple[int, OrderFilled]] = field(default_factory=lambda: deque(maxlen=EXECUTIONS_KEPT_MAX))
    cash_moves: deque[tuple[int, CashMoved]] = field(default_factory=lambda: deque(maxlen=MOVEMENTS_KEPT_MAX))
    positions: dict[str, int] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)

    def apply(self, line: Line) -> None:
        """Raises KeyError, TypeError and ValueError for a line that is none of ours."""
        kind = line["kind"]
        self.number = line.get("number", self.number)
        self.ts = max(self.ts, line["ts"])
        if kind == "opened":
            self.sessions += 1
        if kind == "cash_moved":
            self._move(line)
            return
        if "client_order_id" not in line:
            return
        order_id = int(line["client_order_id"])
        if kind == "submit":
            if order_id not in self.used_ids:
                self.open_orders[order_id] = line["quantity"]
            self.used_ids[order_id] = None
        elif kind == "filled":
            self._fill(order_id, line)
        elif kind in ENDS:
            # A duplicate of an id that rests is refused without any harm to the one that does.
            if line.get("reason") != "DUPLICATE_ID":
                self.open_orders.pop(order_id, None)
        elif kind in ("accepted", "replaced", "restated") and order_id in self.open_orders:
            self.open_orders[order_id] = line["leaves_qty"]

    def _move(self, line: Line) -> None:
        fields = {key: value for key, value in line.items() if key not in ("kind", "cash_kind", "number", "ts")}
        ts = line["ts"]
        self.cash_moves.append((line["number"], CashMoved(ts, ts, kind=CashKind[line["cash_kind"]], **fields)))

    def _fill(self, order_id: int, line: Line) -> None:
        fields = {key: value for key, value in line.items() if key not in ("kind", "number", "ts")}
        side, ts, instrument_id = Side[fields.pop("side")], line["ts"], fields["instrument_id"]
        liquidity = LiquiditySide[fields.pop("liquidity_side")]
        fill = OrderFilled(ts_event=ts, ts_init=ts, side=side, liquidity_side=liquidity, **fields)
        self.executions.append((line["number"], fill))
        self.positions[instrument_id] = self.positions.get(instrument_id, 0) + (fill.qty if side is Side.BUY else -fill.qty)
        self.prices[instrument_id] = fill.price
        if fill.leaves_qty == 0:
            self.open_orders.pop(order_id, None)
        elif order_id in self.open_orders:
            self.open_orders[order_id] = fill.leaves_qty


def read_ledger(path: Path) -> Iterator[Line]:
    """Its lines in order; an end that was never finished is passed over. Raises DataError for a line that is none."""
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    return
                try:
                    yield _DECODER.decode(text)
                except msgspec.MsgspecError as error:
                    raise DataError(f"no line of a ledger: {error}", file=str(path), line=number) from None
    except OSError as error:
        raise StorageError(f"{path}: the ledger cannot be read: {error.strerror or error}") from error


def restore(path: Path | None) -> Restored:
    """What the venue knew when its process ended; its resting orders went with it, and are still in `open_orders`."""
    restored = Restored()
    if path is None or not path.exists():
        return restored
    for number, line in enumerate(read_ledger(path), 1):
        try:
            restored.apply(line)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"no line of this ledger: {error!r}", file=str(path), line=number) from None
    return restored
