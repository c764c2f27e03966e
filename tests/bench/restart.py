"""How long a restart takes: `python -m tests.bench.restart [--json] [--folder DIR]`.

The run before left 1,000 open orders, 100,000 fills and its quotes between them. Measured is a whole start of the daemon, from
the lock to READY: with a snapshot at the very end, with one half way, and with none. The venue answers at once, and agrees. Then
what an open order and a remembered fill cost in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from core.commands import SubmitOrder
from core.enums import LiquiditySide, OrderType, Side
from core.events import OrderAccepted, OrderFilled, Quote, Reconciled, Started, StateRestored
from core.identifiers import make_order_id
from core.restore import capture
from core.trader import Trader
from core.venue_adapter import VenueOrder, VenueState
from daemon.config.effective import effective
from daemon.config.loader import LoadedConfig
from daemon.journal.format import JournalHeader, Record
from daemon.journal.opening import begin_journal, open_sealing
from daemon.journal.writer import JournalSettings, Sync
from daemon.trading.clock import Clock
from daemon.trading.control import Control
from daemon.trading.daemon import SEGMENT_BYTES_MAX, Daemon
from daemon.trading.fold import Fold
from daemon.trading.listener import Alert, Beat
from daemon.trading.snapshot import Snapshot, write_snapshot
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.bench.trading import StandIn, configuration

OPEN_ORDERS = 1_000
FILLS = 100_000
FILLS_OF_ORDER = 4
QUOTES_BETWEEN = 2  # quotes for each fill
START_S_AGO = 3_600
FRAME_RECORDS = 8


@dataclass
class Past:
    """A journal's records, and what the venue says of them."""

    records: list[Record]
    open_orders: tuple[VenueOrder, ...]
    position: int


def make_past(trader: Trader, open_orders: int, fills: int) -> Past:
    """Orders that buy and sell in turn, each filled in parts; then those that stay open."""
    ts = time.time_ns() - START_S_AGO * 10**9
    key, instrument = next(iter(trader.instruments.items()))
    price = instrument.parse_price("61000")
    records: list[Record] = [
        StateRestored(ts, ts, 0, capture(trader)),
        Started(ts, ts, "restart-1"),
        Reconciled(ts, ts, 0),
    ]
    position = counter = 0
    fill_ns = START_S_AGO * 9 * 10**8 // fills  # over most of that time
    strategy_id = trader.contexts[0].strategy_id
    for number in range(fills // FILLS_OF_ORDER):
        counter += 1
        order_id, side = make_order_id(1, counter), Side.BUY if number % 2 == 0 else Side.SELL
        records.append(SubmitOrder(ts, order_id, strategy_id, key, side, OrderType.LIMIT, FILLS_OF_ORDER, price))
        records.append(OrderAccepted(ts, ts, order_id, price, FILLS_OF_ORDER))
        for part in range(FILLS_OF_ORDER):
            ts += fill_ns
            records += [Quote(ts, ts, key, price - 10, 5, price + 10, 5) for _ in range(QUOTES_BETWEEN)]
            left, name = FILLS_OF_ORDER - part - 1, f"x{counter}-{part}"
            records.append(OrderFilled(ts, ts, order_id, key, name, side, price, 1, left, LiquiditySide.MAKER, 12, "USDT"))
            position += 1 if side is Side.BUY else -1
    resting = []
    for _ in range(open_orders):
        counter += 1
        order_id = make_order_id(1, counter)
        records.append(SubmitOrder(ts, order_id, strategy_id, key, Side.BUY, OrderType.LIMIT, 1, price - 1_000))
        records.append(OrderAccepted(ts, ts, order_id, price - 1_000, 1))
        resting.append(VenueOrder(order_id, key, Side.BUY, price - 1_000, 1))
    return Past(records, tuple(resting), position)


def write_past(loaded: LoadedConfig, past: Past, snapshot_at: float | None) -> None:
    """The state folder as run 1 leaves it when it is killed. `snapshot_at`: behind so much of the journal."""
    folder = StateFolder(Path(loaded.config.daemon.state_folder).absolute() / loaded.config.run.name)
    run = folder.make_run_folder(folder.next_run())
    header = JournalHeader(
        run_id="restart-1",
        run_number=1,
        mode="paper",
        config=effective(loaded),
        instruments=list(build_bare_trader(loaded).instruments.values()),
    )
    settings = JournalSettings(sync=Sync.BEFORE_SEND, segment_bytes_max=SEGMENT_BYTES_MAX)
    writer = begin_journal(run / "journal", header, open_sealing(loaded), settings)
    fold = Fold(partial(build_bare_trader, loaded))
    due = len(past.records) + 1 if snapshot_at is None else max(int(snapshot_at * len(past.records)), 1)
    for number, record in enumerate(past.records, 1):
        writer.append(record)
        fold.apply(record)
        if number == due or number % FRAME_RECORDS == 0 or number == len(past.records):
            writer.flush()
        if number == due:
            write_snapshot(run, Snapshot(place=writer.place, ts=fold.ts, state=fold.state()))
    writer.make_durable()
    writer.abandon()
    folder.release()


class Ready:
    """A listener that stops the daemon as soon as it trades."""

    def __init__(self) -> None:
        self.at = 0.0
        self.daemon: Daemon | None = None

    def phase(self, phase: str, text: str) -> None:
        if phase == "running" and self.daemon is not None:
            self.at = time.perf_counter()
            self.daemon.stop("stop", 0, "measured")

    def beat(self, beat: Beat) -> None:
        return

    def alert(self, alert: Alert) -> None:
        return


class Agreeing(StandIn):
    """It has what the journal says is open."""

    def __init__(self, past: Past, clock: Clock) -> None:
        super().__init__((), None, clock)
        self._open = {order.client_order_id: order for order in past.open_orders if order.client_order_id is not None}
        self._position = past.position

    async def query(self, since_ts: int) -> VenueState:
        key = next((order.instrument_id for order in self._open.values()), None)
        return VenueState(tuple(self._open.values()), (), {} if key is None else {key: self._position})


def restart(loaded: LoadedConfig, past: Past) -> dict[str, Any]:
    ready = Ready()

    def open_agreeing(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> StandIn:
        return Agreeing(past, clock)

    started = time.perf_counter()
    daemon = Daemon(loaded, quiet=True, open_adapter=open_agreeing, listeners=(ready,))
    ready.daemon = daemon

    async def run() -> None:
        await daemon.run(lambda made: Control(made).answer)

    anyio.run(run)
    recovered = daemon.recovered
    return {
        "ready_ms": round((ready.at - started) * 1e3, 1),
        "records_read": recovered.records_read,
        "open_orders": sum(1 for order in recovered.state.orders if order.leaves_qty),
        "fills_booked": recovered.state.fills_booked,
    }


def memory(loaded: LoadedConfig, count: int) -> dict[str, int]:
    """Bytes of an open order, and of a fill that is remembered."""
    trader = build_bare_trader(loaded)
    past = make_past(trader, count, count)
    fills = sum(isinstance(record, OrderFilled) for record in past.records)
    first_open = len(past.records) - 2 * count
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    fold = Fold(partial(build_bare_trader, loaded))
    empty = _size(before)
    for record in past.records[:first_open]:
        fold.apply(record)
    filled = _size(before)
    for record in past.records[first_open:]:
        fold.apply(record)
    full = _size(before)
    tracemalloc.stop()
    return {
        "bytes_per_fill_and_its_share_of_an_order": (filled - empty) // fills,
        "bytes_per_open_order": (full - filled) // count,
    }


def _size(before: tracemalloc.Snapshot) -> int:
    return sum(line.size_diff for line in tracemalloc.take_snapshot().compare_to(before, "filename"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; absent: the temporary directory")
    parser.add_argument("--fills", type=int, default=FILLS)
    parser.add_argument("--open-orders", type=int, default=OPEN_ORDERS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, tempfile.TemporaryDirectory() as sockets:
        os.environ["TRADINGD_RUNTIME_DIR"] = sockets
        os.environ["TRADINGD_STATE_DIR"] = f"{folder}/keys"
        for name, snapshot_at in (("snapshot at the end", 1.0), ("snapshot half way", 0.5), ("no snapshot", None)):
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            loaded = configuration(place, "before_send")
            past = make_past(build_bare_trader(loaded), arguments.open_orders, arguments.fills)
            write_past(loaded, past, snapshot_at)
            results[name] = restart(loaded, past)
        used = memory(loaded, 5_000)
    if arguments.json:
        print(json.dumps({"results": results, "memory": used}))
        return
    print(f"{arguments.open_orders:,} open orders, {arguments.fills:,} fills")
    for name, row in results.items():
        read, found = row["records_read"], f"{row['open_orders']:,} open orders and {row['fills_booked']:,} fills found"
        print(f"{name:22}{row['ready_ms']:10,.1f} ms to READY, {read:>9,} records read; {found}")
    for name, size in used.items():
        print(f"{name.replace('_', ' ')}: {size:,}")


if __name__ == "__main__":
    sys.exit(main())
