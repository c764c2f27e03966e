"""`tradingd report RUN_DIR` and `tradingd version`."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

from daemon.exit_codes import ExitCode
from daemon.run_file import read_run
from daemon.version import VERSION
from sim.report import text_report


def report(options: argparse.Namespace) -> int:
    run = read_run(Path(options.folder))
    print(json.dumps(run) if options.json else text_report(run), end="\n" if options.json else "")
    return ExitCode.OK


def version(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps({"tradingd": VERSION, "python": platform.python_version()}))
    else:
        print(f"tradingd {VERSION} (Python {platform.python_version()})")
    return ExitCode.OK
