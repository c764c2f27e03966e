"""`tradingd replay`: a run's journal through the same strategies again, compared byte for byte."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from daemon.exit_codes import ExitCode
from daemon.replay import Replayed
from daemon.replay import replay as replay_journal
from daemon.run_file import RUN_FILE, read_run


def replay(options: argparse.Namespace) -> int:
    folder = Path(options.journal)
    # A run that was killed has a journal and no results.
    run = read_run(folder) if (folder / RUN_FILE).is_file() else None
    result = replay_journal(folder, run)
    print(json.dumps(result.as_json()) if options.json else _text(result, options.journal))
    return ExitCode.OK if result.is_identical else ExitCode.MISMATCH


def _text(result: Replayed, name: str) -> str:
    counted = f"{result.events:,} events, {result.commands:,} commands, {result.denials:,} denials and {result.trips:,} trips"
    lines = [f"{name}: {'identical' if result.is_identical else 'DIFFERENT'}: {counted} replayed"]
    found = result.difference
    if found is not None:
        lines += [
            f"  first difference at record {found.record:,}, in answer to event {found.event}",
            f"    recorded: {found.recorded or 'nothing'}",
            f"    replayed: {found.replayed or 'nothing'}",
        ]
    for what, replayed, recorded in (
        ("commands", result.commands_digest, result.commands_digest_recorded),
        ("state", result.state_digest, result.state_digest_recorded),
    ):
        if recorded is None:
            lines.append(f"  {what} digest {replayed}; the run left none to compare")
        else:
            lines.append(f"  {what} digest {replayed}{' as in the run' if replayed == recorded else f', in the run {recorded}'}")
    if result.error:
        lines.append(f"  the last event raised, as in the run: {result.error}")
    if result.ending:
        lines.append(f"  {result.ending}")
    if result.damage:
        lines.append(f"  damaged: {result.damage}; see `tradingd audit verify`")
    return "\n".join(lines)
