"""`tradingd audit verify|show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from daemon.audit.anchors import AnchorCheck
from daemon.audit.findings import Report, Verdict
from daemon.audit.show import Selection, order_lines, parse_kinds, record_lines
from daemon.audit.verify import verify as verify_journal
from daemon.exit_codes import ExitCode
from daemon.journal.anchor import read_anchors
from daemon.journal.keys import known_key
from daemon.one_line import one_line
from daemon.timestamps import parse_moment

EXIT_CODES = {
    Verdict.WHOLE: ExitCode.OK,
    Verdict.UNFINISHED: ExitCode.UNFINISHED,
    Verdict.DAMAGED: ExitCode.MISMATCH,
}


def verify(options: argparse.Namespace) -> int:
    key = known_key(Path(options.key) if options.key is not None else None)
    anchors = None
    if options.anchor is not None:
        anchors = AnchorCheck(read_anchors(Path(options.anchor)), options.anchor)
    report = verify_journal(Path(options.journal), key=key, anchors=anchors)
    print(json.dumps(report.as_json()) if options.json else _text(report, options.journal))
    return EXIT_CODES[report.verdict]


def show(options: argparse.Namespace) -> int:
    selection = Selection(
        ts_from=None if options.ts_from is None else parse_moment(options.ts_from),
        ts_to=None if options.ts_to is None else parse_moment(options.ts_to),
        kinds=parse_kinds(options.kind) if options.kind is not None else frozenset(),
    )
    path = Path(options.journal)
    if options.order is not None:
        lines = order_lines(path, options.order, selection, as_json=options.json)
    else:
        lines = record_lines(path, selection, as_json=options.json)
    for line in lines:
        # Reasons are text of others; JSON has its own escapes.
        print(line if options.json else one_line(line))
    return ExitCode.OK


def _text(report: Report, name: str) -> str:
    lines = [f"{name}: {report.verdict.value}"]
    if report.run_id:
        key = f"key {report.public_key}{' (the one expected)' if report.key_is_known else ''}" if report.public_key else "no key"
        lines.append(f"  run {report.run_id}, journal {report.journal_id}, {key}")
    lines.append(
        f"  {report.records:,} records in {report.frames:,} frames of {report.segments:,} segments; {report.seals:,} seals, "
        f"the last good one after record {report.records_sealed:,}; {report.anchors:,} anchors and {report.heads:,} heads agree"
    )
    for finding in report.findings:
        place = ", ".join(
            f"{what} {value:,}"
            for what, value in (("byte", finding.offset), ("frame", finding.frame), ("record", finding.record))
            if value is not None
        )
        lines.append(f"  {finding.damage.value.upper()}  {finding.file}{f', {place}' if place else ''}: {finding.message}")
    lines += [f"  repaired: {repair}" for repair in report.repairs]
    lines += [f"  note: {note}" for note in report.notes]
    if report.verdict is Verdict.UNFINISHED:
        lines.append(
            "  there is no signed end: it is still being written, its writer was killed, or its tail was cut off; "
            f"only an anchor can tell. Records after {report.records_sealed:,} are chained but not signed"
        )
    return "\n".join(lines)
