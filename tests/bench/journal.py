"""What the journal costs: `python -m tests.bench.journal [--json] [--folder DIR]`.

A mix of events and commands goes through a writer: as a backtest writes it (full frames, never synced), and as a live session
does (a frame for each small batch), with and without fdatasync. Then the first journal is read and verified. The folder decides
which disk is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.commands import ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, OrderType, Side
from core.events import OrderAccepted, OrderFilled, OrderReplaced, Quote
from daemon.audit.verify import verify
from daemon.journal.format import JournalHeader, Record
from daemon.journal.keys import Signer
from daemon.journal.reader import JournalReader
from daemon.journal.writer import JournalSettings, JournalWriter, Sync

INSTRUMENT_ID = "BTCUSDT-PERP.BINANCE"
TS = 1_767_623_400_000_000_000
HEADER = JournalHeader(run_id="bench-1", run_number=1, mode="bench", config={}, instruments=[])
MIX = 12  # records of one turn of the mix
REPEATS = 3


def mix(turns: int) -> list[Record]:
    """Per turn: six quotes, an order with its answer, a fill, and a replace with its answer and one quote more."""
    records: list[Record] = []
    for turn in range(turns):
        ts = TS + turn * 1_000_000
        order_id = 1 << 32 | turn + 1
        quotes: list[Record] = [Quote(ts + n, ts + n, INSTRUMENT_ID, 6_183_700 + n, 5_000, 6_183_710, 7_000) for n in range(7)]
        records += quotes[:6]
        records += [
            SubmitOrder(ts + 7, order_id, "maker", INSTRUMENT_ID, Side.BUY, OrderType.LIMIT, 10, 6_183_700, post_only=True),
            OrderAccepted(ts + 8, ts + 9, order_id, 6_183_700, 10, "8389765941"),
            OrderFilled(
                ts + 9, ts + 10, order_id, INSTRUMENT_ID, "5538", Side.BUY, 6_183_700, 4, 6, LiquiditySide.MAKER, 12, "USDT"
            ),
            ReplaceOrder(ts + 11, order_id, 6, 6_183_699, 4),
            OrderReplaced(ts + 12, ts + 13, order_id, 6_183_699, 6),
            quotes[6],
        ]
    return records


def write(path: Path, records: list[Record], *, sync: Sync, records_in_frame: int | None) -> int:
    """Bytes written. None: frames fill up as in a backtest."""
    settings = JournalSettings(sync=sync)
    writer = JournalWriter(path, HEADER, settings=settings, signer=Signer(Ed25519PrivateKey.generate()))
    if records_in_frame is None:
        for record in records:
            writer.append(record)
            writer.flush_if_full()
    else:
        for start in range(0, len(records), records_in_frame):
            part = records[start : start + records_in_frame]
            for record in part:
                writer.append(record)
            # As a session does: with BEFORE_SEND only what has a new order in it waits for the disk.
            if sync is not Sync.BEFORE_SEND or any(isinstance(record, SubmitOrder) for record in part):
                writer.make_durable()
            else:
                writer.flush()
    writer.close()
    return writer.bytes_written


def best(work: Callable[[Path], int], folder: Path, repeats: int = REPEATS) -> tuple[float, int, Path]:
    """Shortest time in s, the work's result, and where its last journal is."""
    shortest, result, path = float("inf"), 0, folder
    for _ in range(repeats):
        path = Path(tempfile.mkdtemp(dir=folder)) / "journal"
        gc.collect()
        started = time.perf_counter()
        result = work(path)
        shortest = min(shortest, time.perf_counter() - started)
    return shortest, result, path


def figures(seconds: float, records: int, size: int, **more: Any) -> dict[str, Any]:
    return {
        "records_per_s": records / seconds,
        "mb_per_s": size / seconds / 1e6,
        "us_per_record": seconds / records * 1e6,
        **more,
    }


def measure(folder: Path, turns: int) -> dict[str, dict[str, Any]]:
    records = mix(turns)
    results: dict[str, dict[str, Any]] = {}
    seconds, size, path = best(lambda p: write(p, records, sync=Sync.NONE, records_in_frame=None), folder)
    results["write, full frames"] = figures(seconds, len(records), size)
    for name, sync, part in (
        ("write, frames of 4", Sync.NONE, len(records) // 4),
        ("write, frames of 4, fdatasync each", Sync.BATCH, min(len(records), 4_000)),
        ("write, frames of 64, fdatasync each", Sync.BATCH, min(len(records), 64_000)),
        ("write, frames of 4, fdatasync of orders", Sync.BEFORE_SEND, min(len(records), 12_000)),
    ):
        count = 64 if "64" in name else 4
        used = records[:part]
        took, written, _ = best(partial(write, records=used, sync=sync, records_in_frame=count), folder, 1)
        results[name] = figures(took, len(used), written, us_per_frame=took / (len(used) / count) * 1e6)

    def read(_path: Path) -> int:
        with JournalReader(path) as reader:
            return sum(1 for _ in reader)

    for name, work in (("read", read), ("verify", lambda _path: verify(path).records)):
        took, count, _ = best(work, folder)
        assert count == len(records), name
        results[name] = figures(took, len(records), size)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; absent: the temporary directory")
    parser.add_argument("--turns", type=int, default=50_000, help=f"of {MIX} records each")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        results = measure(Path(folder), arguments.turns)
    if arguments.json:
        print(json.dumps({"records": arguments.turns * MIX, "results": results}))
        return
    print(f"{arguments.turns * MIX:,} records, {os.cpu_count()} cores")
    print(f"{'':42}{'records/s':>13}{'MB/s':>9}{'us/record':>11}{'us/frame':>10}")
    for name, row in results.items():
        frame = f"{row['us_per_frame']:10.1f}" if "us_per_frame" in row else ""
        print(f"{name:42}{row['records_per_s']:13,.0f}{row['mb_per_s']:9.1f}{row['us_per_record']:11.3f}{frame}")


if __name__ == "__main__":
    main()
