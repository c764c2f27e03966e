"""`tradingd data fetch SOURCE SYMBOL`, `tradingd data list`: recorded market data from where it can be had, kept as Parquet."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from core.errors import ConfigError, UnitError
from core.units import NS_PER_DAY, NS_PER_SECOND, parse_duration_ns
from daemon.exit_codes import ExitCode
from daemon.secrets import read_secret

RECENT_NS = 2 * NS_PER_DAY  # what ends later than so long ago may still be added to at its source


def fetch(options: argparse.Namespace) -> int:
    from adapters.history.sources import KEY_PARAMETERS, sources
    from adapters.history.tables import Kind

    known = sources()
    source = known[options.source]
    kinds = {kind.value: kind for kind in Kind}
    if kinds[options.kind] not in source.kinds:
        raise ConfigError(f"--kind: {source.name} has {', '.join(kind.value for kind in source.kinds)}")
    if (options.market or "") not in ("", *source.markets):
        raise ConfigError(f"--market: {source.name} has {', '.join(source.markets) or 'no markets to choose from'}")
    if not re.fullmatch(r"[A-Za-z0-9.:^=_/-]{1,64}", options.symbol):
        raise ConfigError(f"{options.symbol!r} can be no symbol")
    if source.needs_key and options.key is None:
        raise ConfigError(f"--key: {source.name} needs the name of the secret that holds its key (docs/DATA.md)")
    secrets = {KEY_PARAMETERS[source.name]: read_secret(options.key)} if source.needs_key else {}
    result = anyio.run(partial(_fetch, options, source, kinds[options.kind], secrets))
    print(json.dumps(result) if options.json else _text(result))
    return ExitCode.OK


async def _fetch(options: argparse.Namespace, source: Any, kind: Any, secrets: dict[str, str]) -> dict[str, Any]:
    from adapters.history.tables import Ask, Kind
    from sim.data.store import DataSet

    interval_ns = _interval(options) if kind is Kind.BARS else 0
    ask = Ask(
        kind=kind,
        symbol=options.symbol,
        start=_moment(options.start, "--start"),
        end=_moment(options.end, "--end") if options.end else _now(),
        interval_ns=interval_ns,
        market=options.market or "",
        price_scale=options.price_scale,
    )
    if ask.end <= ask.start:
        raise ConfigError("--end must lie behind --start")
    name = f"{kind.value}-{options.interval}" if interval_ns else kind.value
    data = DataSet(Path(options.out), f"{source.name}-{ask.market}" if ask.market else source.name, ask.symbol, name)
    units = source.units(ask)
    with data.opened():
        with _progress(options, len(units)) as progress:
            counts = await _fetch_units(options, source, ask, units, data, secrets, progress)
        found = await anyio.to_thread.run_sync(partial(data.join, interval_ns))
    return {**_plain(found), "parts": len(units), **counts}


async def _fetch_units(
    options: argparse.Namespace, source: Any, ask: Any, units: list[Any], data: Any, secrets: dict[str, str], progress: Progress
) -> dict[str, int]:
    from adapters.history.io import HistoryClient, ask_yfinance
    from adapters.history.sources import origin_of
    from adapters.history.tables import COLUMNS, Door

    origin = origin_of(source.name)
    rate = options.rate or source.requests_per_minute
    client = HistoryClient(
        secrets=secrets, origin=origin, requests_per_minute=rate, folder=data.scratch, arrived=progress.arrived
    )
    door = Door(client.get if origin else ask_yfinance, client.download)
    fetched = kept = 0
    try:
        for unit in units:
            progress.begins(unit.name)
            is_settled = unit.end < _now() - RECENT_NS
            if is_settled and data.has(unit.name) and unit.name != "all":
                kept += 1
            else:
                with data.part(unit.name, COLUMNS[ask.kind]) as part:
                    async with aclosing(source.fetch(door, ask, unit)) as chunks:
                        async for chunk in chunks:
                            part.add(chunk.filter(chunk["ts_event"].is_between(unit.start, unit.end, closed="left")))
                            progress.has_rows(part.rows)
                    if part.rows or is_settled:
                        part.keep()
                fetched += 1
            progress.ends()
    finally:
        await client.aclose()
    return {"fetched": fetched, "kept": kept}


def _interval(options: argparse.Namespace) -> int:
    try:
        found = parse_duration_ns(options.interval)
    except UnitError as error:
        raise ConfigError(f"--interval: {error}") from None
    if found <= 0:
        raise ConfigError("--interval: must be above 0")
    return found


def _now() -> int:
    return int(datetime.now(UTC).timestamp()) * NS_PER_SECOND


def _moment(text: str, name: str) -> int:
    """A day is its midnight UTC; a time without an offset is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name}: {text!r} is no day or time: write 2024-01-31 or 2024-01-31T14:30:00Z") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return int(found.timestamp()) * NS_PER_SECOND


class Progress:
    """Says nothing; those below say it."""

    def __init__(self) -> None:
        self._name = ""
        self._rows_before = self._rows = 0

    def begins(self, name: str) -> None:
        self._name, self._rows_before, self._rows = name, self._rows_before + self._rows, 0

    def arrived(self, size: int) -> None:
        """`size` bytes of a file are here."""

    def has_rows(self, rows: int) -> None:
        """So many of the part are here."""
        self._rows = rows

    def ends(self) -> None:
        """The part is there."""


class _Lines(Progress):
    """A line for each part, for files and pipes."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total, self._done = total, 0

    def ends(self) -> None:
        self._done += 1
        rows = self._rows_before + self._rows
        print(f"{self._done}/{self._total} {self._name}: {rows:,} rows so far", file=sys.stderr, flush=True)


class _Bar(Progress):
    """A bar with the time that is left, and what is being done with the part."""

    def __init__(self, bar: Any, total: int) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("", total=total)

    def begins(self, name: str) -> None:
        super().begins(name)
        self._bar.update(self._task, description=name)

    def arrived(self, size: int) -> None:
        self._bar.update(self._task, description=f"{self._name}  {size >> 20:,} MiB")

    def has_rows(self, rows: int) -> None:
        super().has_rows(rows)
        self._bar.update(self._task, description=f"{self._name}  {self._rows_before + rows:,} rows")

    def ends(self) -> None:
        self._bar.update(self._task, advance=1)


@contextmanager
def _progress(options: argparse.Namespace, total: int) -> Iterator[Progress]:
    if options.json or not sys.stderr.isatty():
        yield Progress() if options.json else _Lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, total)


def list_data(options: argparse.Namespace) -> int:
    from sim.data.store import data_sets, summary

    folder = Path(options.out)
    found = []
    for path in data_sets(folder):
        _, _, interval = path.stem.partition("-")
        found.append(_plain(summary(path, parse_duration_ns(interval) if interval else 0)))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(map(_text, found)) or f"{folder}: nothing was fetched into it")
    return ExitCode.OK


def _plain(found: Any) -> dict[str, Any]:
    times = {"first": _iso(found.first), "last": _iso(found.last)}
    gaps = [[_iso(before), _iso(after)] for before, after in found.gaps_shown]
    return {**asdict(found), **times, "file": str(found.file), "gaps_shown": gaps}


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts // NS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ts else ""


def _text(found: dict[str, Any]) -> str:
    if not found["rows"]:
        return f"{found['file']}: the source has nothing for this time"
    lines = [f"{found['file']}: {found['rows']:,} rows, {found['first']} to {found['last']}"]
    if found["gaps"]:
        lines.append(f"  bars are missing at {found['gaps']:,} places, {found['gaps_within_days']:,} of them within a day (UTC)")
        lines += [f"    between {before} and {after}" for before, after in found["gaps_shown"]]
    if found["repeated"]:
        lines.append(f"  {found['repeated']:,} repeated rows were left out")
    return "\n".join(lines)
