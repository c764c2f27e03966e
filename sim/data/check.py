"""`data check`: the formats it knows, and one call that checks files of any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.feed import FrameDecoder
from sim.data.check_binance import Scales, check_binance
from sim.data.check_lobster import check_lobster
from sim.data.check_result import CheckResult, Findings
from sim.data.files import Progress
from sim.data.tables import TableSource, find_gaps, guess_table_scales, read_bars, read_quotes, read_trades


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a format may need to be told; each format takes what concerns it.

    `new_decoder` makes the production decoder that a recording is run through beside the plain reading; `table` stands for
    the file's units and columns (its path is replaced by the file checked), and without it scales are guessed.
    """

    new_decoder: Callable[[Scales], FrameDecoder] | None = None
    table: TableSource | None = None
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
    return check_lobster(*files, progress=options.progress)


def _binance(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    return check_binance(files, new_decoder=options.new_decoder, progress=options.progress)


def _bars(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    if options.interval_ns is None:
        raise InputError("bars need their interval")
    findings = Findings()
    interval_ns = options.interval_ns
    _read(files[0], options, findings, lambda source: read_bars(source, interval_ns, progress=options.progress), _count_bar_gaps)
    return findings.result("bars", (str(files[0]),))


def _trades(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    findings = Findings()
    _read(files[0], options, findings, lambda source: read_trades(source, options.progress), None)
    return findings.result("trades", (str(files[0]),))


def _quotes(files: Sequence[Path], options: CheckOptions) -> CheckResult:
    findings = Findings()
    _read(files[0], options, findings, lambda source: read_quotes(source, options.qty_default, options.progress), None)
    findings.rows //= 2  # each quote is a row of the bid and one of the ask
    return findings.result("quotes", (str(files[0]),))


def _read(
    file: Path,
    options: CheckOptions,
    findings: Findings,
    read: Callable[[TableSource], Iterator[np.ndarray]],
    look: Callable[[np.ndarray, Findings], None] | None,
) -> None:
    """Tables have no second record: reading them is the check, and the first fault raises."""
    template = TableSource(file, 0) if options.table is None else options.table
    source = guess_table_scales(file, template) if options.table is None else template.at(file)
    if options.table is None:
        findings.notes.append(f"scales: {source.price_scale} decimals of price, {source.qty_scale} of quantity")
    last: np.ndarray | None = None
    for rows in read(source):
        findings.rows += len(rows)
        if look is not None:
            look(rows if last is None else np.concatenate((last, rows)), findings)
        last = rows[-1:]


def _count_bar_gaps(bars: np.ndarray, findings: Findings) -> None:
    gaps = find_gaps(bars)
    # A pause of the market looks the same as lost bars: told, but no fault of the file.
    findings.notes += [
        f"{gap.missing} bars missing before the one that ends at {gap.before} ns" for gap in gaps[: 5 - len(findings.notes)]
    ]


FORMATS: dict[str, CheckFormat] = {
    "lobster": CheckFormat(
        "MESSAGES BOOK [BEST]",
        "each message applied to the visible levels gives the next row of the order-book file; with BEST, a one-level book of the "
        "day, a book seeded from row 1 goes through its best prices",
        2,
        3,
        _lobster,
    ),
    "binance": CheckFormat(
        "FILE…",
        "snapshot and diffs give the best prices and sizes that bookTicker tells beside them; sequence gaps and crossed books are counted",
        1,
        None,
        _binance,
    ),
    "bars": CheckFormat("FILE", "bars are in order, complete numbers, high and low enclose open and close", 1, 1, _bars),
    "trades": CheckFormat("FILE", "trades are in order, with positive prices and quantities", 1, 1, _trades),
    "quotes": CheckFormat("FILE", "quotes are in order and not crossed", 1, 1, _quotes),
}
