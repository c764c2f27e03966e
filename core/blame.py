"""Whose fault an exception inside Trader.step is: the strategy's, named with its callback, or ours."""

from __future__ import annotations

from types import TracebackType

from core.context import StrategyContext
from core.errors import StateError, StrategyError
from core.events import AnyEvent


def blame(error: Exception | SystemExit, event: AnyEvent) -> Exception | SystemExit:
    """The exception to raise for `error`, which came out of handling `event`; `error` itself where nothing can be added.

    The traceback says which strategy was being called, so that calling one costs nothing more. An AssertionError from core is a
    bug of ours whoever called, and is never dressed up as a strategy's.
    """
    context, callback = _call_into_strategy(error.__traceback__)
    if context is None:
        instrument_id = getattr(event, "instrument_id", None)
        if isinstance(error, KeyError) and error.args == (instrument_id,):
            return StateError(f"{event!r} names the instrument {instrument_id!r}, which is not configured")
        return error
    if isinstance(error, StateError) or (isinstance(error, AssertionError) and _is_from_core(error.__traceback__)):
        return error
    name = f"{type(context.strategy).__name__}.{callback}" if callback else type(context.strategy).__name__
    text = str(error) if isinstance(error, StrategyError) else f"{type(error).__name__}: {error}"
    return StrategyError(f"strategy {context.strategy_id!r} failed in {name} on {event!r}: {text}")


def _call_into_strategy(traceback: TracebackType | None) -> tuple[StrategyContext | None, str | None]:
    """The context that the Trader was serving, and the name of the callback it had entered."""
    context: StrategyContext | None = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if context is not None and not _is_core(traceback):
            return context, code.co_name
        if _is_core(traceback):
            found = traceback.tb_frame.f_locals.get("context")
            if type(found) is StrategyContext:
                context = found
        traceback = traceback.tb_next
    return context, None


def _is_from_core(traceback: TracebackType | None) -> bool:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and _is_core(traceback)


def _is_core(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("core.")
