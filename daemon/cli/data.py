"""`tradingd data check FORMAT FILE…`: hold recorded data against the second record in it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from core.enums import InstrumentClass
from core.errors import ConfigError, InputError, UnitError
from core.feed import FrameDecoder
from core.instruments import Instrument
from core.units import NS_PER_SECOND, parse_duration_ns
from daemon.config.text_types import parse_zone
from daemon.exit_codes import ExitCode
from sim.data.check import CheckOptions, run_check
from sim.data.check_binance import Scales
from sim.data.check_result import CheckResult
from sim.data.tables import TableSource, guess_table_scales


def check(options: argparse.Namespace) -> int:
    files = [Path(name) for name in options.files]
    for path in files:
        if not os.path.isfile(path):  # unlike Path.is_file, False for a name that is too long
            raise ConfigError(f"{path}: there is no such file")
    try:
        result = run_check(options.format, files, _options(options, files))
    except InputError as error:
        if type(error) is InputError:
            raise ConfigError(str(error)) from error  # what was asked for cannot be done: the data is not to blame
        raise
    if sys.stderr.isatty() and not options.json:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(json.dumps(_plain(result)) if options.json else _text(result), end="\n" if options.json else "")
    return ExitCode.OK if result.ok else ExitCode.MISMATCH


def _options(options: argparse.Namespace, files: list[Path]) -> CheckOptions:
    interval_ns = None
    if options.interval is not None:
        try:
            interval_ns = parse_duration_ns(options.interval)
        except UnitError as error:
            raise ConfigError(f"--interval: {error}") from None
        if interval_ns == 0:
            raise ConfigError(f"--interval: {options.interval!r} must be above 0")
    return CheckOptions(
        new_decoder=_binance_decoder(),
        table=_table(options, files),
        interval_ns=interval_ns,
        progress=None if options.json or not sys.stderr.isatty() else _Progress(files),
    )


def _table(options: argparse.Namespace, files: list[Path]) -> TableSource | None:
    if not options.column and options.zone is None:
        return None
    columns = {}
    for pair in options.column:
        ours, equals, theirs = pair.partition("=")
        if not equals:
            raise ConfigError(f"--column {pair}: write it as OURS=THEIRS, for example --column ts_event=timestamp")
        columns[ours] = theirs
    if options.zone is not None:
        try:
            parse_zone(options.zone)
        except ValueError as error:
            raise ConfigError(f"--zone: {error}") from None
    return guess_table_scales(files[0], TableSource(files[0], 0, columns=columns, zone=options.zone))


def _binance_decoder() -> Callable[[Scales], FrameDecoder]:
    def make(scales: Scales) -> FrameDecoder:
        from adapters.binance.book_sync import BinanceBookSession

        symbol = scales.symbol
        instrument = Instrument(
            instrument_id=f"{symbol or 'UNNAMED'}.BINANCE",
            instrument_class=InstrumentClass.PERPETUAL,
            base_currency="BASE",
            quote_currency="QUOTE",
            settlement_currency="QUOTE",
            price_scale=scales.price_scale,
            qty_scale=scales.qty_scale,
        )
        return BinanceBookSession(instrument, symbol)

    return make


class _Progress:
    """One line on the terminal, redrawn at most ten times a second."""

    def __init__(self, files: list[Path]) -> None:
        self._total = sum(path.stat().st_size for path in files)
        self._next_ns = 0

    def __call__(self, rows: int, bytes_read: int) -> None:
        now = time.monotonic_ns()
        if now >= self._next_ns:
            self._next_ns = now + NS_PER_SECOND // 10
            share = min(bytes_read / max(self._total, 1), 1.0)
            print(f"\r{100 * share:5.1f} %  {rows:,} rows ", end="", file=sys.stderr, flush=True)


def _plain(result: CheckResult) -> dict[str, object]:
    return {**asdict(result), "ok": result.ok}


def _text(result: CheckResult) -> str:
    lines = [
        f"{result.format}: {', '.join(result.files)}",
        f"  rows            {result.rows:,}",
        f"  compared        {result.compared:,}",
        f"  mismatches      {result.mismatches:,}",
        f"  first mismatch  {result.first_mismatch or '-'}",
        f"  gaps            {result.gaps:,}",
        f"  crossed         {result.crossed:,}",
        *(f"  {note}" for note in result.notes),
        f"  {'good' if result.ok else 'NOT GOOD'}",
    ]
    return "\n".join(lines) + "\n"
