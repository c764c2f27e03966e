"""Every exit code of tradingd, in one place; docs/CLI.md explains each and a test holds the two together."""

from __future__ import annotations

from enum import IntEnum

from core.errors import CapacityError, ConfigError, DataError, RefusedError, StorageError, StrategyError, TradingdError, UnitError


class ExitCode(IntEnum):
    OK = 0
    INTERNAL = 1  # a bug of tradingd: the traceback is shown
    USAGE = 2  # the command line (argparse's own code)
    CONFIG = 3
    DATA = 4
    STRATEGY = 5
    STORAGE = 6
    HALTED = 7  # an operator's `tradingd halt`, or a limit of the account
    MISMATCH = 8  # a check found mismatches
    NOT_RUNNING = 9  # status or halt found nobody to ask
    CAPACITY = 10  # a named limit was reached
    UNFINISHED = 11  # audit verify: nothing is damaged, but the journal has no signed end
    REFUSED = 12  # a running daemon understood the request and refuses it
    UNVERIFIED = 13  # kill: the latch is set, but a venue or the daemon could not be verified in time
    INTERRUPTED = 130  # SIGINT or SIGTERM; what was done so far is kept and marked


def exit_code_of(error: TradingdError) -> ExitCode:
    match error:
        case ConfigError() | UnitError():
            return ExitCode.CONFIG
        case DataError():
            return ExitCode.DATA
        case StrategyError():
            return ExitCode.STRATEGY
        case StorageError():
            return ExitCode.STORAGE
        case CapacityError():
            return ExitCode.CAPACITY
        case RefusedError():
            return ExitCode.REFUSED
        case _:
            # A StateError in a simulated run is the simulation's own contradiction.
            return ExitCode.INTERNAL
