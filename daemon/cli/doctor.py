"""`tradingd doctor`: look at everything that trading by the clock needs, and say what to put right."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from core.errors import TradingdError
from daemon.config.loader import LoadedConfig, load_config
from daemon.config.places import account_folder
from daemon.doctor.account import (
    look_at_guardian,
    look_at_journal,
    look_at_promotion,
    look_at_secrets,
    look_at_venues,
    newest_run,
)
from daemon.doctor.clock import look_at_clock
from daemon.doctor.disk import look_at_disk
from daemon.doctor.finding import Finding, Status, ok, problem, worst
from daemon.doctor.folders import look_at_folders
from daemon.doctor.machine import look_at_api, look_at_machine
from daemon.exit_codes import ExitCode
from daemon.journal.format import JOURNAL_FOLDER
from daemon.one_line import one_line
from daemon.trading.wiring import check_config
from daemon.wiring import build_trader, goes_by_the_clock

AREA_WIDTH = 14


def doctor(options: argparse.Namespace) -> int:
    """Exit code 8 where anything is a problem; warnings alone are 0."""
    findings = look(options)
    result = worst(findings)
    if options.json:
        print(json.dumps({"result": result.value, "findings": [msgspec.to_builtins(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{finding.status.value:<8} {finding.area:<{AREA_WIDTH}} {one_line(finding.found)}")
            if finding.fix:
                print(f"{'':<8} {'':<{AREA_WIDTH}} fix: {one_line(finding.fix)}")
        counts = ", ".join(f"{sum(finding.status is status for finding in findings)} {status.value}" for status in Status)
        print(f"\n{result.value}: {counts}")
    return ExitCode.MISMATCH if result is Status.PROBLEM else ExitCode.OK


def look(options: argparse.Namespace) -> list[Finding]:
    config = Path(options.config) if options.config is not None else None
    findings = look_at_machine()
    loaded = None
    if config is not None:
        loaded, finding = _load(config, options.overrides)
        findings.append(finding)
    findings += look_at_clock(has_venues=loaded is not None and bool(loaded.config.connections))
    account = account_folder(loaded) if loaded is not None else None
    run = newest_run(account) if account is not None else None
    findings += look_at_disk(account or Path(), run / JOURNAL_FOLDER if run is not None else None)
    findings += look_at_folders(account, config if config is not None and config.exists() else None)
    if loaded is not None and account is not None:
        findings += look_at_secrets(loaded)
        findings += look_at_promotion(loaded)
        if loaded.config.api.enabled:
            findings.append(look_at_api())
        findings += look_at_journal(account)
        findings += look_at_venues(loaded)
        findings.append(look_at_guardian(loaded))
    return findings


def _load(config: Path, overrides: list[str]) -> tuple[LoadedConfig | None, Finding]:
    """As the daemon takes it: checked, and its strategies made."""
    try:
        loaded = load_config(config, overrides)
        if not goes_by_the_clock(loaded):
            return loaded, ok("config", f"{loaded.file} is good; run.mode is a backtest's, so only a file and a disk are needed")
        check_config(loaded)
        build_trader(loaded, 1)
    except TradingdError as error:
        return None, problem("config", str(error), f"tradingd config check {config}")
    strategies = ", ".join(table.id for table in loaded.config.strategies)
    return loaded, ok("config", f"{loaded.file} is good: {strategies}")
