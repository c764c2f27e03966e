"""Adds to a strategy's failure the line of whose file it happened on; core/blame.py has named strategy, callback and event."""

from __future__ import annotations

import linecache
from types import TracebackType

from core.errors import StrategyError
from core.trader import Trader


def with_place(error: StrategyError, trader: Trader) -> StrategyError:
    """`error` with "file:line in function" of the deepest line of the strategy's own module, where one was running."""
    modules = {type(context.strategy).__module__ for context in trader.contexts}
    found: tuple[str, int, str] | None = None
    traceback: TracebackType | None = (error.__cause__ or error).__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__") in modules:
            found = (frame.f_code.co_filename, traceback.tb_lineno, frame.f_code.co_name)
        traceback = traceback.tb_next
    if found is None:
        return error
    file, line, function = found
    source = linecache.getline(file, line).strip()
    return StrategyError(f"{error} (at {file}:{line} in {function}: {source})")
