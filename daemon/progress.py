"""Shows a run as it goes: a live display on a terminal, one line for each interval elsewhere, nothing where JSON is wanted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from core.units import NS_PER_SECOND

REFRESH_PER_SECOND = 8

# What the display asks for: daemon/backtest.py's status.
StatusSource = Callable[[], dict[str, Any]]


class Display(Protocol):
    def start(self) -> None: ...

    def update(self) -> None:
        """Called often; does something when it is time to."""

    def stop(self) -> None: ...


def choose_display(*, quiet: bool, interval_ns: int, source: StatusSource, stream: TextIO | None = None) -> Display:
    stream = stream or sys.stderr
    if quiet:
        return SilentDisplay()
    if stream.isatty():
        return TerminalDisplay(source, stream)
    return LineDisplay(source, stream, interval_ns)


class SilentDisplay:
    def start(self) -> None:
        return

    def update(self) -> None:
        return

    def stop(self) -> None:
        return


def brief(amount: str) -> str:
    """Money for the eye: two decimals, or all of them below one unit."""
    whole, _, fraction = amount.partition(".")
    return f"{whole}.{fraction[:2]}" if whole.strip("-0") else amount


def line_of(status: dict[str, Any]) -> str:
    """One line: how far, the market, what we hold and what it has brought."""
    parts = [f"{100 * status['progress']:5.1f} %", str(status["sim_time"])[:19].replace("T", " ")]
    for key, item in status["instruments"].items():
        parts.append(f"{key} {item['bid'] or '-'}/{item['ask'] or '-'} position {item['position']}")
    parts.append(f"profit {brief(status['net_pnl'])} {status['currency']}")
    parts.append(f"{status['fills']:,} fills")
    parts.append(f"{status['events']:,} events")
    return "  ".join(parts)


class LineDisplay:
    """One line each interval of real time, and one at the end."""

    def __init__(self, source: StatusSource, stream: TextIO, interval_ns: int) -> None:
        self._source = source
        self._stream = stream
        self._interval_ns = interval_ns
        self._next_ns = 0

    def start(self) -> None:
        self._next_ns = time.monotonic_ns() + self._interval_ns

    def update(self) -> None:
        now = time.monotonic_ns()
        if now >= self._next_ns:
            self._next_ns = now + self._interval_ns
            print(line_of(self._source()), file=self._stream, flush=True)

    def stop(self) -> None:
        print(line_of(self._source()), file=self._stream, flush=True)


class TerminalDisplay:
    """A progress bar and the run's numbers, redrawn in place."""

    def __init__(self, source: StatusSource, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._source = source
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._task = self._bar.add_task("backtest", total=1.0)
        # Redrawn from update() only: no thread of its own touches the run.
        self._live = Live(console=Console(file=stream), auto_refresh=False, transient=True)
        self._next_ns = 0
        self._last: tuple[int, int, int] | None = None  # (real ns, fills, events)

    def start(self) -> None:
        self._live.start()
        self._draw()

    def update(self) -> None:
        if time.monotonic_ns() >= self._next_ns:
            self._draw()

    def stop(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        now = time.monotonic_ns()
        self._next_ns = now + NS_PER_SECOND // REFRESH_PER_SECOND
        status = self._source()
        self._bar.update(self._task, completed=status["progress"], description=status["name"])
        self._live.update(self._table(status, now), refresh=True)

    def _table(self, status: dict[str, Any], now: int) -> Any:
        from rich.console import Group
        from rich.table import Table

        market = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("instrument", "bid", "ask", "mid", "spread", "position", "open orders"):
            market.add_column(name, justify="left" if name == "instrument" else "right", min_width=9, no_wrap=True)
        for key, item in status["instruments"].items():
            market.add_row(
                key,
                item["bid"] or "-",
                item["ask"] or "-",
                item["mid"] or "-",
                item["spread"] or "-",
                item["position"],
                str(item["open_orders"]),
            )
        numbers = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("time", "net profit", "equity", "fills", "fills/s", "orders", "events/s"):
            numbers.add_column(name, justify="left" if name == "time" else "right", min_width=9, no_wrap=True)
        fills_rate, events_rate = self._rates(status, now)
        numbers.add_row(
            str(status["sim_time"])[11:21],
            f"{brief(status['net_pnl'])} {status['currency']}",
            brief(status["equity"]),
            f"{status['fills']:,}",
            fills_rate,
            f"{status['orders']:,}",
            events_rate,
        )
        return Group(self._bar, market, numbers)

    def _rates(self, status: dict[str, Any], now: int) -> tuple[str, str]:
        last, self._last = self._last, (now, status["fills"], status["events"])
        if last is None or now <= last[0]:
            return "-", "-"
        seconds = (now - last[0]) / NS_PER_SECOND
        return f"{(status['fills'] - last[1]) / seconds:.1f}", f"{(status['events'] - last[2]) / seconds:,.0f}"
