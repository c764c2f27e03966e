"""`tradingd promote`: lets what was traded on paper trade live, where the paper runs have shown what is asked for."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import msgspec

from core.errors import ConfigError, StorageError
from core.units import parse_duration_ns
from daemon.config.loader import LoadedConfig, load_config
from daemon.config.places import account_folder, key_file
from daemon.exit_codes import ExitCode
from daemon.journal.keys import known_key, open_signer
from daemon.one_line import one_line
from daemon.promotion.evidence import PaperRun, read_paper_run
from daemon.promotion.identity import identity_of
from daemon.promotion.judgement import Criterion, clock_text, judge
from daemon.promotion.record import Promotion, keep
from daemon.timestamps import iso
from daemon.trading.state_folder import RUNS_FOLDER
from daemon.version import VERSION
from daemon.wiring import for_live


def promote(options: argparse.Namespace) -> int:
    """Exit code 8 where something that is asked for is missing; nothing is kept then."""
    live = for_live(load_config(Path(options.live), options.overrides), options.account)
    paper = load_config(Path(options.paper))
    rules, identity, now = live.config.promotion, identity_of(live), time.time_ns()
    since_ts = now - parse_duration_ns(rules.evidence_age_max)
    runs = []
    folders = _run_folders(paper)
    for place, folder in enumerate(folders, 1):
        if not options.json:
            print(f"reading run {place} of {len(folders)}: {folder}", file=sys.stderr, flush=True)
        runs.append(read_paper_run(folder, identity, key=known_key(key_file(paper)), since_ts=since_ts))
    criteria = judge(rules, runs)
    is_earned = all(criterion.is_met for criterion in criteria)
    kept: Path | None = None
    until = now + parse_duration_ns(rules.valid_for)
    if is_earned:
        promotion = Promotion(
            account=options.account,
            ts=now,
            ts_until=until,
            tradingd=VERSION,
            identity=identity,
            criteria=criteria,
            runs=[run for run in runs if not run.why_not],
        )
        kept = keep(promotion, account_folder(live), open_signer(key_file(live)))
    if options.json:
        plain = {"promoted": is_earned, "account": options.account, "criteria": criteria, "runs": runs}
        print(json.dumps(msgspec.to_builtins({**plain, "until": until if is_earned else None, "file": str(kept or "")})))
    else:
        _print(runs, criteria)
        print(f"\npromoted until {iso(until)[:19]}Z: {kept}" if is_earned else "\nnot promoted")
    return ExitCode.OK if is_earned else ExitCode.MISMATCH


def _run_folders(paper: LoadedConfig) -> list[Path]:
    """Of the paper account, the oldest first."""
    folder = account_folder(paper) / RUNS_FOLDER
    try:
        found = sorted(entry for entry in folder.iterdir() if entry.name.isdigit())
    except FileNotFoundError:
        raise ConfigError(f"{folder}: there is no run of this account: tradingd paper {paper.file} makes some") from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error
    return found


def _print(runs: list[PaperRun], criteria: list[Criterion]) -> None:
    for run in runs:
        name = run.run_id or run.folder
        counted = f"{clock_text(run.traded_ns)}, {run.orders:,} orders, {run.fills:,} fills"
        print(f"{name}: {(one_line(run.why_not) and 'does not count: ' + one_line(run.why_not)) or counted}")
        if run.failure:
            print(f"  failed: {one_line(run.failure)}")
    print()
    for criterion in criteria:
        mark = "ok" if criterion.is_met else "MISSING"
        print(f"{mark:<8} {criterion.name:<22} {criterion.found:>14}   {criterion.needed}")
