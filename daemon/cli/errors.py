"""Turns an expected error into one sentence on stderr and its exit code; a bug of tradingd keeps its traceback."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable

from core.errors import TradingdError, TransportError
from daemon.exit_codes import ExitCode, exit_code_of
from daemon.one_line import one_line


def guarded(options: argparse.Namespace, verb: Callable[[argparse.Namespace], int]) -> int:
    """Call `verb`; report what it raises."""
    try:
        code = verb(options)
        sys.stdout.flush()
        return code
    except TransportError as error:
        return tell(error, ExitCode.NOT_RUNNING, options)
    except TradingdError as error:
        code = exit_code_of(error)
        if code is ExitCode.INTERNAL:
            raise
        return tell(error, code, options)
    except KeyboardInterrupt:
        return tell(KeyboardInterrupt("interrupted"), ExitCode.INTERRUPTED, options)
    except BrokenPipeError:
        # Whoever read our output has closed it, as `| head` does. Python would complain again at exit.
        _silence_output()
        return ExitCode.OK
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # What files refuse is a StorageError by now: this is our own output, into a file on a full disk.
        _silence_output()
        print(f"tradingd: the output cannot be written: {error.strerror}", file=sys.stderr)
        return ExitCode.STORAGE


def _silence_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(error: BaseException, code: ExitCode, options: argparse.Namespace) -> int:
    """One sentence on stderr, or with --json one object on stdout."""
    if getattr(options, "json", False):
        print(json.dumps({"error": {"type": type(error).__name__, "message": str(error), "exit_code": int(code)}}))
    else:
        # It may quote a venue or a file: nothing of theirs may do anything to a terminal.
        text = "\n".join(one_line(line) for line in str(error).split("\n"))
        print(f"tradingd: {text}", file=sys.stderr)
    return int(code)
