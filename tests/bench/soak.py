"""Runs the paper daemon for a long time under load and says what grows: `make soak`, or

    python -m tests.bench.soak [--minutes 60] [--times 10] [--json] [--tracemalloc] [--folder DIR]

Normal is what the busiest of the recorded sessions has, Binance's USD-M perpetual on BTC: 272 messages a second (depth, best
prices and prints). The market is the generated one at `times` that rate, with a maker at its best prices that trades, a
strategy that wants every change, and one that takes 100 times a second; orders wait for the disk (before_send). Each heartbeat
of the daemon is one measurement of its loop's delay; memory, descriptors and threads are looked at from outside. The slope is
that of the means of equal parts of the time, with its 95 % interval, from when what is remembered up to a number is full:
after about fifteen minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NORMAL_MESSAGES_PER_S = 272.0
MARKET_ROWS_PER_S = 83.5  # of the generated market, preset normal (docs/MARKET-MODEL.md)
HZ = {"limit_hz": 22.0, "cancel_hz": 0.22, "stale_hz": 25.0, "market_hz": 1.0, "informed_hz": 14.0, "fair_hz": 8.0}
WARM_UP = 0.3  # of the time at least: until then caches fill
PARTS = 10
T_975 = 2.306  # Student's t at 8 degrees of freedom, for a line through ten means
END_S_MAX = 60.0
# Beyond: it grows. A daemon that runs for a month must not gain a gigabyte.
RSS_MIB_PER_H_MAX = 1.5
# Remembered up to so many (core/order_store.py; of each fill its id there, and the fill in daemon/venue_sim/account.py: 550 bytes
# together): until they are full the process grows by them.
FULL = {"orders": 10_000, "fills": 100_000}
COUNT_PER_H_MAX = 1.0  # descriptors, threads

CONFIG = """
[run]
name = "soak"
mode = "paper"
seed = 11

[account.cash]
USD = "1000000"

[[instruments.inline]]
instrument_id = "ACME.SIM"
class = "equity"
base_currency = "ACME"
quote_currency = "USD"
price_scale = 2
qty_scale = 0
tick = "0.01"
lot = "1"
price_max = "100000"
maker_fee = "-0.002%"
taker_fee = "0.003%"

[[data]]
format = "flow"
instrument_id = "ACME.SIM"
start = 2026-01-05T14:30:00Z
duration = "60s"
price_start = "1000.00"

[data.market]
preset = "normal"
{rates}

[venue]
fidelity = "flow"

[venue.latency]
model = "lognormal"
entry = "250us"
response = "250us"

[risk]
order_qty_max = "50"
order_notional_max = "1000000"
position_qty_max = "200"
price_collar = "2%"
orders_max = 100000
self_trade = "allow"

[[strategies]]
id = "maker"
class = "symmetric_maker"

[strategies.params]
instrument_id = "ACME.SIM"
order_qty = "10"
position_qty_max = "150"
levels = 2

[[strategies]]
id = "watcher"
class = "tests.bench.watcher:Watcher"

[[strategies]]
id = "taker"
class = "tests.bench.taker:Taker"

[daemon]
state_folder = "{folder}/state"
sync = "{sync}"
snapshot_records = 200000
heartbeat_interval = "100ms"
reconcile_interval = "5s"
"""


@dataclass
class Series:
    """Samples over time; `hours` since the start."""

    hours: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, hours: float, value: float) -> None:
        self.hours.append(hours)
        self.values.append(value)

    def slope(self, full_at: float | None) -> tuple[float, float]:
        """Per hour from `full_at` on, and half the width of its 95 % interval; infinite where there is too little."""
        if not self.hours or self.hours[-1] <= 0 or full_at is None:
            return 0.0, math.inf
        start = max(self.hours[-1] * WARM_UP, full_at)
        if start >= self.hours[-1]:
            return 0.0, math.inf
        width = (self.hours[-1] - start) / PARTS
        parts: list[list[tuple[float, float]]] = [[] for _ in range(PARTS)]
        for hour, value in zip(self.hours, self.values, strict=True):
            if hour >= start:
                parts[min(int((hour - start) / width), PARTS - 1)].append((hour, value))
        if not all(parts):
            return 0.0, math.inf
        xs = [sum(h for h, _ in part) / len(part) for part in parts]
        ys = [sum(v for _, v in part) / len(part) for part in parts]
        x_mean, y_mean = sum(xs) / PARTS, sum(ys) / PARTS
        spread = sum((x - x_mean) ** 2 for x in xs)
        slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
        rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
        return slope, T_975 * math.sqrt(rest / (PARTS - 2) / spread)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


class Soak:
    """One daemon under watch."""

    def __init__(self, folder: Path, times: float, sync: str, is_traced: bool) -> None:
        factor = times * NORMAL_MESSAGES_PER_S / MARKET_ROWS_PER_S
        rates = "\n".join(f"{name} = {value * factor:.6g}" for name, value in HZ.items())
        config = folder / "soak.toml"
        config.write_text(CONFIG.format(rates=rates, folder=folder, sync=sync))
        root = Path(__file__).resolve().parents[2]
        sockets = tempfile.mkdtemp(prefix="tradingd-soak-")
        command = [sys.executable, "-m", "tests.bench.soak_daemon", str(config), *(["--tracemalloc"] if is_traced else [])]
        more = {"PYTHONPATH": str(root), "TRADINGD_RUNTIME_DIR": sockets, "TRADINGD_STATE_DIR": str(folder / "keys")}
        self._daemon = subprocess.Popen(command, cwd=root, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True)
        self._sockets = Path(sockets)
        self._proc = Path("/proc") / str(self._daemon.pid)
        self._folder = folder
        self.started = time.monotonic()
        self.rss_mib, self.descriptors, self.threads = Series(), Series(), Series()
        self.full_at: float | None = None  # hours after the start
        self.lag_ms: list[float] = []
        self.depths: list[int] = []
        self.lag_by_time = Series()
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] = {}
        self.alerts: list[str] = []
        self.grown: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def hours(self) -> float:
        return (time.monotonic() - self.started) / 3600

    def _read(self) -> None:
        assert self._daemon.stdout is not None
        for line in self._daemon.stdout:
            found = json.loads(line)
            if "beat" in found:
                self.first = self.first or found
                self.last = found
                self.lag_ms.append(found["beat"]["lag_ns"] / 1e6)
                self.lag_by_time.add(self.hours, found["beat"]["lag_ns"] / 1e6)
                self.depths.append(found["depth_max"])
            elif "alert" in found:
                self.alerts.append(found["alert"]["text"])
            elif "grown" in found:
                self.grown = found["grown"]

    @property
    def is_running(self) -> bool:
        return self._daemon.poll() is None

    def look(self) -> None:
        status = (self._proc / "status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" not in fields:
            return
        hours = self.hours
        rss_mib = int(fields["VmRSS"].split()[0]) / 1024
        self.rss_mib.add(hours, rss_mib)
        counts = {"orders": self.last.get("beat", {}).get("orders_sent", 0), "fills": self.last.get("fills", 0)}
        if self.full_at is None and all(counts[name] >= count for name, count in FULL.items()):
            self.full_at = hours
        self.threads.add(hours, int(fields["Threads"]))
        self.descriptors.add(hours, len(list((self._proc / "fd").iterdir())))

    def end(self) -> int:
        self._daemon.send_signal(signal.SIGTERM)
        try:
            return self._daemon.wait(END_S_MAX)
        finally:
            self._daemon.kill()
            self._reader.join(END_S_MAX)
            for path in self._sockets.iterdir():
                path.unlink()
            self._sockets.rmdir()

    def journal_mib(self) -> float:
        return sum(path.stat().st_size for path in self._folder.rglob("*.tdj")) / (1 << 20)

    def line(self) -> str:
        beat = self.last.get("beat", {})
        rss = self.rss_mib.values[-1] if self.rss_mib.values else 0.0
        seconds = self.hours * 3600
        return (
            f"{seconds:6.0f} s  events {beat.get('events', 0):>10,}  orders {beat.get('orders_sent', 0):>8,}  "
            f"fills {self.last.get('fills', 0):>7,}  rss {rss:6.1f} MiB  "
            f"delay p99 {percentile(self.lag_ms[-600:], 0.99):6.2f} ms  inbox max {max(self.depths[-600:], default=0):>5}  "
            f"conflated {beat.get('conflated', 0):,}"
        )

    def report(self, code: int, times: float) -> dict[str, Any]:
        seconds = self.hours * 3600
        beat = self.last.get("beat", {})
        slopes = {}
        for name, series, limit in (
            ("rss_mib", self.rss_mib, RSS_MIB_PER_H_MAX),
            ("descriptors", self.descriptors, COUNT_PER_H_MAX),
            ("threads", self.threads, COUNT_PER_H_MAX),
        ):
            slope, half = series.slope(self.full_at)
            verdict = "grows" if slope - half > limit else "bounded" if slope + half <= limit else "undecided: run it longer"
            slopes[name] = {
                "last": round(series.values[-1], 1) if series.values else None,
                "max": round(max(series.values), 1) if series.values else None,
                "per_hour": round(slope, 3),
                "interval": [round(slope - half, 3), round(slope + half, 3)] if math.isfinite(half) else None,
                "verdict": verdict,
            }
        slope, half = self.lag_by_time.slope(self.full_at)
        delay = {name: round(percentile(self.lag_ms, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
        return {
            "seconds": round(seconds),
            "messages_per_s": round(times * NORMAL_MESSAGES_PER_S),
            "exit_code": code,
            "events_per_s": round(beat.get("events", 0) / seconds, 1),
            "orders_per_s": round(beat.get("orders_sent", 0) / seconds, 2),
            "fills": self.last.get("fills", 0),
            "slopes": slopes,
            "loop_delay_ms": {**delay, "max": round(max(self.lag_ms, default=0.0), 3)},
            "loop_delay_ms_per_hour": [round(slope, 3), round(half, 3)] if math.isfinite(half) else None,
            "inbox_depth_max": max(self.depths, default=0),
            "conflated": beat.get("conflated", 0),
            "journal_mib_per_h": round(self.journal_mib() / max(self.hours, 1e-9), 1),
            "alerts": sorted(set(self.alerts)),
            "grown": self.grown,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=10.0, help="of a normal message rate")
    parser.add_argument("--sync", choices=("before_send", "batch", "none"), default="before_send")
    parser.add_argument("--sample", type=float, default=2.0, help="seconds between two looks from outside")
    parser.add_argument("--tracemalloc", action="store_true", help="say what grew; slower, for a shorter run")
    parser.add_argument("--folder", type=Path, help="on the disk to use; absent: the temporary directory")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        soak = Soak(Path(folder), arguments.times, arguments.sync, arguments.tracemalloc)
        shown = 0
        while soak.is_running and soak.hours * 60 < arguments.minutes:
            time.sleep(arguments.sample)
            soak.look()
            if int(soak.hours * 120) > shown:
                shown = int(soak.hours * 120)
                print(soak.line(), file=sys.stderr, flush=True)
        code = soak.end()
        report = soak.report(code, arguments.times)
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)
    is_good = code == 0 and all(found["verdict"] == "bounded" for found in report["slopes"].values())
    return 0 if is_good else 1


def show(report: dict[str, Any]) -> None:
    print(
        f"{report['seconds']:,} s at {report['messages_per_s']:,} messages/s: {report['events_per_s']:,} events/s, "
        f"{report['orders_per_s']} orders/s, {report['fills']:,} fills; exit code {report['exit_code']}"
    )
    for name, found in report["slopes"].items():
        interval = "too short" if found["interval"] is None else f"{found['interval'][0]:+} to {found['interval'][1]:+}"
        grows = f"{found['per_hour']:+} an hour ({interval}): {found['verdict']}"
        print(f"{name:36} last {found['last']}, max {found['max']}; {grows}")
    delay, trend = report["loop_delay_ms"], report["loop_delay_ms_per_hour"]
    grows = "too short for a slope" if trend is None else f"{trend[0]:+} ± {trend[1]} ms an hour"
    print(f"loop delay   p50 {delay['p50']} ms, p99 {delay['p99']}, p99.9 {delay['p999']}, max {delay['max']}; {grows}")
    print(f"inbox        at most {report['inbox_depth_max']} deep, {report['conflated']:,} market events conflated")
    print(f"journal      {report['journal_mib_per_h']} MiB an hour")
    for name in ("alerts", "grown"):
        for line in report[name]:
            print(f"{name}: {line}")


if __name__ == "__main__":
    sys.exit(main())
