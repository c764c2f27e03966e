"""`tradingd status` and `tradingd halt`: ask a running daemon over its control socket."""

from __future__ import annotations

import argparse
import json

from core.errors import RefusedError
from daemon.control.client import ask, find_daemon
from daemon.exit_codes import ExitCode
from daemon.progress import line_of


def status(options: argparse.Namespace) -> int:
    code, content = ask(find_daemon(options.run), "GET", "/status")
    _require(code, content)
    print(json.dumps(content) if options.json else f"{content['run_id']}  {content['phase']}  {line_of(content)}")
    return ExitCode.OK


def halt(options: argparse.Namespace) -> int:
    code, content = ask(find_daemon(options.run), "POST", "/halt", {"reason": options.reason})
    _require(code, content)
    print(json.dumps(content) if options.json else f"{content['run_id']}  halting: {content['reason']}")
    return ExitCode.OK


def _require(code: int, content: dict[str, object]) -> None:
    if code != 200:
        raise RefusedError(f"the daemon refused: {content.get('error', code)}")
