"""`tradingd data fetch` of generated archive files over loopback: memory and time by the number of rows.

    python -m tests.bench.data_fetch [--json] [--rows N] [--days N] [--kind trades|quotes]

Each day of Binance's archive is a zip of CSV with its SHA-256 beside it. The command runs in a process of its own, whose largest
resident size the kernel tells; making the files is not timed, the time is CPU time of that process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000
ROWS, DAYS = 20_000_000, 4
ROWS_PER_WRITE = 500_000
FILES = {"trades": "aggTrades", "quotes": "bookTicker"}
# Runs in a process of its own: the command as a user calls it, but for where the archive is.
CHILD = """
import json, resource, sys
from adapters.history import sources
from adapters.history.binance_archive import BinanceArchive
origin = sys.argv[1]
sources.sources = lambda: {"binance": BinanceArchive(origin)}
sources._ORIGINS["binance"] = origin
from daemon.cli.main import main
code = main(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"rss_mib": used.ru_maxrss >> 10, "cpu_s": round(used.ru_utime + used.ru_stime, 1)}))
sys.exit(code)
"""


def write_day(file: Path, kind: str, day: datetime, rows: int) -> None:
    """`rows` rows evenly over the day, numbered from 1."""
    first_ms = int(day.timestamp()) * 1_000
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{file.stem}.csv", "w", force_zip64=True) as member,
    ):
        for start in range(0, rows, ROWS_PER_WRITE):
            number = pl.int_range(start + 1, min(start + ROWS_PER_WRITE, rows) + 1, eager=True).alias("number")
            columns = _trades(number) if kind == "trades" else _quotes(number)
            stamp = (first_ms + (number - 1) * DAY_MS // rows).alias("stamp")
            frame = pl.select(*columns[:5], stamp, *columns[5:])
            member.write(frame.write_csv(include_header=False).encode())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name(f"{file.name}.CHECKSUM").write_text(f"{digest}  {file.name}\n")


def _decimal(number: pl.Series, factor: int, range_: int, scale: int, above: int) -> pl.Series:
    """Numbers that look drawn: multiples of a prime in a ring, as text with `scale` decimals."""
    value = number * factor % range_
    fraction = (value % 10**scale).cast(pl.String).str.zfill(scale)
    return (above + value // 10**scale).cast(pl.String) + "." + fraction


def _trades(number: pl.Series) -> list[pl.Series]:
    price, qty = _decimal(number, 7_919, 90_001, 2, 42_000), _decimal(number, 104_729, 5_003, 3, 0)
    first, last = number.alias("first"), number.alias("last")
    is_maker = (number % 3 == 0).replace_strict({True: "true", False: "false"}, return_dtype=pl.String)
    return [number, price.alias("price"), qty.alias("qty"), first, last, is_maker.alias("is_maker")]


def _quotes(number: pl.Series) -> list[pl.Series]:
    bid, ask = _decimal(number, 7_919, 90_001, 2, 42_000), _decimal(number, 7_919, 90_001, 2, 42_001)
    bid_qty, ask_qty = _decimal(number, 104_729, 5_003, 3, 1), _decimal(number, 1_299_709, 9_001, 3, 1)
    return [number, bid.alias("bid"), bid_qty.alias("bid_qty"), ask.alias("ask"), ask_qty.alias("ask_qty"), number.alias("event")]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The origin under which the files of `folder` are."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def fetch(kind: str, rows: int, days: int, first_day: datetime = FIRST_DAY) -> dict[str, Any]:
    """What the command said, with rss_mib and cpu_s of its process."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / f"archive/data/futures/um/daily/{FILES[kind]}/BTCUSDT"
        home.mkdir(parents=True)
        for index in range(days):
            day = first_day + timedelta(days=index)
            write_day(home / f"BTCUSDT-{FILES[kind]}-{day:%Y-%m-%d}.zip", kind, day, rows // days)
        span = ["--start", f"{first_day:%Y-%m-%d}", "--end", f"{first_day + timedelta(days=days):%Y-%m-%d}"]
        asked = [
            "data",
            "fetch",
            "binance",
            "BTCUSDT",
            "--market",
            "usdm",
            "--kind",
            kind,
            *span,
            "--out",
            f"{name}/data",
            "--json",
        ]
        with served(Path(name) / "archive") as origin:
            done = subprocess.run([sys.executable, "-c", CHILD, origin, *asked], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said, used = done.stdout.splitlines()
        return {**json.loads(said), **json.loads(used)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.data_fetch", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--kind", choices=tuple(FILES), default="trades")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = fetch(arguments.kind, arguments.rows, arguments.days)
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"{found['rows']:,} {arguments.kind}: {found['rss_mib']} MiB resident at most, {found['cpu_s']} s of CPU")


if __name__ == "__main__":
    main()
