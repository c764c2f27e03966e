"""`data check`: the formats it knows, and one call that checks files of any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.feed import FrameDecoder
from sim.data.check_binance import Scales, check_binance
from sim.data.check_books import DictLevelBook, DictOrderBook, LevelBook, OrderBook
from sim.data.check_lobster import check_lobster
from sim.data.check_result import CheckResult, Findings
from sim.data.files import Progress
from sim.data.tables import BAR, BarGap, TableSource, find_gaps, guess_table_scales, read_bars, read_quotes, read_trades


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a format may need to be told; each format takes what concerns it.

    `symbol` picks one of a recording with several. `new_decoder` makes the production decoder that a recording is run
    through beside the plain reading. `new_order_book` and `new_level_book` make the books rebuilt: the plain ones, or those of
    sim/data/native_check_books.py. `table` stands for the file's units and columns (its path is replaced by the file
    checked); without it, or with `guess_scales`, the scales are the fewest decimals that hold every number seen.
    """

    symbol: str | None = None
    new_decoder: Callable[[Scales], FrameDecoder] | None = None
    table: TableSource | None = None
    guess_scales: bool = False
    new_order_book: Callable[[], OrderBook] = DictOrderBook
    new_level_book: Callable[[], LevelBook] = DictLevelBook
    interval_ns: int | None = None
    qty_default: int | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class CheckFormat:
    """One format: how its files are given, and what checking proves."""

    files: str
    proves: str
    files_min: int
    files_max: int | None
    check: Callable[[Sequence[Path], CheckOptions], CheckResult]


def run_check(format_name: str, files: Sequence[Path], options: CheckOptions | None = None) -> CheckResult:
    """Check `files`. Raises InputError for an unknown format or a wrong number of files, DataError for a damaged file."""
    known = FORMATS.get(format_name)
    if known is None:
        close = get_close_matches(format_name, FORMATS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"unknown format {format_name!r}{hint} Known: {', '.join(FORMATS)}")
    if len(files) < known.files_min or (known.files_max is not None and len(files) > known.files_max):
        raise InputError(f"{format_name} takes {known.files}, not {len(files)} file{'s' * (len(files) != 1)}")
    return known.check(files, CheckOptions() if options is None else options)


def _lobster(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    return check_lobster(*files, new_book=options.new_order_book, progress=options.progress)


def _binance(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    return check_binance(files, new_decoder=options.new_decoder, new_book=options.new_level_book, progress=options.progress)


def _bars(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    interval_ns = options.interval_ns
    if interval_ns is None:
        raise InputError("bars need their interval")
    findings = Findings()
    last = np.empty(0, BAR)
    gaps: list[BarGap] = []
    for bars in read_bars(_table(files[0], options, findings), interval_ns, progress=options.progress):
        findings.rows += len(bars)
        gaps += find_gaps(np.concatenate((last, bars)))
        last = bars[-1:]
    if gaps:
        # A pause of the market looks the same as lost bars: told, but no fault of the file.
        missing = sum(gap.missing for gap in gaps)
        findings.notes.append(
            f"{missing} bars missing in {len(gaps)} places, first before the bar that ends at {gaps[0].before} ns"
        )
    return findings.result("bars", (str(files[0]),))


def _trades(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    findings = Findings()
    findings.rows = sum(len(rows) for rows in read_trades(_table(files[0], options, findings), options.progress))
    return findings.result("trades", (str(files[0]),))


def _quotes(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    findings = Findings()
    source = _table(files[0], options, findings)
    # Each quote is a row of the bid and one of the ask.
    findings.rows = sum(len(rows) // 2 for rows in read_quotes(source, options.qty_default, options.progress))
    return findings.result("quotes", (str(files[0]),))


def _table(file: Path, options: CheckOptions, findings: Findings) -> TableSource:
    """Tables have no second record: reading them is the check, and the first fault raises."""
    if options.table is None:
        source = guess_table_scales(file, TableSource(file, 0))
    elif options.guess_scales:
        source = guess_table_scales(file, options.table)
    else:
        return replace(options.table, path=file)
    findings.notes.append(f"scales: {source.price_scale} decimals of price, {source.qty_scale} of quantity")
    return source


FORMATS: dict[str, CheckFormat] = {
    "lobster": CheckFormat(
        "MESSAGES BOOK [BEST]",
        "each message applied to the visible levels gives the next row of the order-book file; with BEST, a one-level book of "
        "the day, a book seeded from row 1 goes through its best prices",
        2,
        3,
        _lobster,
    ),
    "binance": CheckFormat(
        "FILE…",
        "snapshot and diffs give the best prices and sizes that bookTicker tells beside them; sequence gaps and crossed books "
        "are counted",
        1,
        None,
        _binance,
    ),
    "bars": CheckFormat("FILE", "bars are in order, complete numbers, high and low enclose open and close", 1, 1, _bars),
    "trades": CheckFormat("FILE", "trades are in order, with positive prices and quantities", 1, 1, _trades),
    "quotes": CheckFormat("FILE", "quotes are in order and not crossed", 1, 1, _quotes),
}
