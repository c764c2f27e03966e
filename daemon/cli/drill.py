"""`tradingd drill`: the fault catalogue against the user's own configuration, and a table of what held."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from core.errors import ConfigError
from daemon.config.loader import LoadedConfig, load_config
from daemon.drill.catalogue import FAULTS
from daemon.drill.course import JOBS_MAX, Exercise, alone, check, exercises, numbers_of, run
from daemon.drill.verdict import Result, Verdict
from daemon.exit_codes import ExitCode
from daemon.one_line import one_line
from daemon.wiring import build_trader

DEFAULT_CONFIG = Path(__file__).parents[2] / "config" / "live-rehearsal.toml"
PASSED = (Result.HELD, Result.NOT_APPLICABLE)


def drill(options: argparse.Namespace) -> int:
    """Exit code 8 unless everything that could be drilled has held."""
    loaded = load_config(DEFAULT_CONFIG if options.config is None else Path(options.config), options.overrides)
    venues = _venues(loaded, options.venue)
    if options.alone:
        loaded = alone(loaded, venues)
    check(loaded)
    build_trader(loaded, 1)  # what is wrong with a strategy is said once, and not by every drill
    if not 1 <= options.jobs <= JOBS_MAX:
        raise ConfigError(f"--jobs {options.jobs}: must be 1 to {JOBS_MAX}")
    wanted = exercises(loaded, numbers_of(options.fault), venues)
    progress = Progress(sum(not each.why_not for each in wanted), quiet=options.json)
    verdicts = run(
        loaded,
        wanted,
        seed=options.seed,
        jobs=options.jobs,
        keep=None if options.keep is None else Path(options.keep),
        on_begin=progress.begin,
        on_verdict=progress.end,
    )
    is_held = all(verdict.result in PASSED for verdict in verdicts)
    if options.json:
        rows = [verdict.plain(FAULTS[verdict.number]) for verdict in verdicts]
        print(json.dumps({"held": is_held, "config": str(loaded.file), "seed": options.seed, "drills": rows}))
    else:
        _print_table(verdicts)
    return ExitCode.OK if is_held else ExitCode.MISMATCH


def _venues(loaded: LoadedConfig, wanted: list[str] | None) -> list[str]:
    known = [connection.venue for connection in loaded.config.connections]
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise ConfigError(f"--venue {unknown[0]}: {loaded.file} connects to {', '.join(known)}")
    return wanted or known


class Progress:
    """On standard error: a bar that is redrawn on a terminal, a line for each drill elsewhere."""

    def __init__(self, count: int, *, quiet: bool) -> None:
        self._count, self._quiet, self._done = count, quiet, 0
        self._is_terminal = sys.stderr.isatty()

    def begin(self, exercise: Exercise) -> None:
        if self._is_terminal and not self._quiet and not exercise.why_not:
            self._draw(f"{exercise.number} {FAULTS[exercise.number]}")

    def end(self, verdict: Verdict) -> None:
        if verdict.result is Result.NOT_APPLICABLE:
            return
        self._done += 1
        if self._quiet:
            return
        if self._is_terminal:
            self._draw("")
        else:
            where = f" at {verdict.venue}" if verdict.venue else ""
            text = f"{self._done}/{self._count}  {verdict.number} {FAULTS[verdict.number]}{where}: {verdict.result.value}"
            print(f"{text} ({verdict.seconds:.0f} s)", file=sys.stderr, flush=True)

    def _draw(self, text: str) -> None:
        width = 30
        filled = width * self._done // max(self._count, 1)
        bar = f"[{'#' * filled}{'.' * (width - filled)}] {self._done}/{self._count}  {text}"
        end = "\n" if self._done == self._count else ""
        print(f"\r\x1b[K{bar[:120]}", end=end, file=sys.stderr, flush=True)


def _print_table(verdicts: list[Verdict]) -> None:
    venue_width = max([len(verdict.venue) for verdict in verdicts] + [4])
    print(f"{'no':>3}  {'fault':<48} {'venue':<{venue_width}} {'result':<14} {'orders':>6} {'fills':>5} {'s':>4}")
    for each in verdicts:
        text = FAULTS[each.number][:48]
        numbers = f"{each.orders:>6} {each.fills:>5} {each.seconds:>4.0f}" if each.seconds else ""
        print(f"{each.number:>3}  {text:<48} {each.venue or '-':<{venue_width}} {each.result.value:<14} {numbers}".rstrip())
        for breach in each.breaches:
            print(f"     {breach.oracle.value}: {one_line(breach.text)}")
        if each.note:
            print(f"     {one_line(each.note)}")
        if each.kept:
            print(f"     kept in {each.kept}")
    counts = Counter(each.result for each in verdicts)
    print("\n" + ", ".join(f"{counts[result]} {result.value}" for result in Result if counts[result]))
