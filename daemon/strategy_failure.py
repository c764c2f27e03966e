"""Says which strategy raised, in which callback, on what event, and on which line of whose file."""

from __future__ import annotations

import linecache
from types import FrameType, TracebackType
from typing import Any

from core.errors import StrategyError
from core.trader import Trader


def locate(trader: Trader, error: BaseException, event: Any) -> StrategyError | None:
    """`error`, raised while the Trader took `event`, told in the user's terms; None where no strategy's code was running."""
    cause = error.__cause__ if isinstance(error, StrategyError) and error.__cause__ is not None else error
    frames = _frames(cause.__traceback__)
    for index, (frame, _line) in enumerate(frames):
        owner = frame.f_locals.get("self")
        context = next((context for context in trader.contexts if context.strategy is owner), None)
        if context is None:
            continue
        callback = frame.f_code.co_name
        # The deepest line that is not ours: what the user wrote, or a library that it called.
        user_file = frame.f_code.co_filename
        inner, line = next(
            ((inner, line) for inner, line in reversed(frames[index:]) if inner.f_code.co_filename == user_file), (frame, _line)
        )
        if isinstance(cause, AssertionError) and frames[-1][0].f_globals.get("__name__", "").startswith("core."):
            return None  # one of our own assertions: a bug of ours, whoever called
        source = linecache.getline(inner.f_code.co_filename, line).strip()
        where = f'{inner.f_code.co_filename}:{line} in {inner.f_code.co_name}: "{source}"'
        what = str(cause) if type(cause) is StrategyError else f"{type(cause).__name__}: {cause}"
        return StrategyError(
            f"strategy {context.strategy_id!r} failed in {callback} at {trader.now} ns on {_shown(event)}: {what} ({where})"
        )
    return None


def _frames(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    frames = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return frames


def _shown(event: Any) -> str:
    text = repr(event)
    return text if len(text) <= 300 else f"{text[:297]}..."
