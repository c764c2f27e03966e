"""Makes the configured strategies: finds the class, checks its parameters by its own Params, says whose fault a failure is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.errors import ConfigError, StrategyError, UnitError
from core.instruments import Instrument
from daemon.config.loader import LoadedConfig, explain
from daemon.config.text_types import TomlFloat
from strategies.catalog import load_strategy


def strategy_class(loaded: LoadedConfig, index: int) -> type[Any]:
    """The class of one strategies table. Raises ConfigError or StrategyError."""
    # The user's own module is found where they stand.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return load_strategy(loaded.config.strategies[index].class_)
    except ConfigError as error:
        raise ConfigError(f"{loaded.file}: strategies[{index}].class: {error}") from error.__cause__


def strategy_params(loaded: LoadedConfig, index: int) -> BaseModel:
    """The checked parameters of one strategies table, defaults included. Raises ConfigError or StrategyError."""
    model: type[BaseModel] = strategy_class(loaded, index).Params
    try:
        return model.model_validate(_numbers_as_text(model, loaded.config.strategies[index].params))
    except ValidationError as error:
        raise ConfigError(explain(model, error, str(loaded.file), f"strategies[{index}].params")) from None


def build_strategy(loaded: LoadedConfig, index: int, instruments: list[Instrument]) -> Any:
    """The strategy of one table, ready to be added to the Trader. Raises ConfigError or StrategyError."""
    found = strategy_class(loaded, index)
    params = strategy_params(loaded, index)
    try:
        return found(params, instruments)
    except (ConfigError, UnitError) as error:
        raise ConfigError(f"{loaded.file}: strategies[{index}].params: {error}") from error
    except StrategyError:
        raise
    except Exception as error:
        table = loaded.config.strategies[index]
        raise StrategyError(
            f"strategy {table.id!r} ({table.class_}) failed while it was made: {type(error).__name__}: {error}{_place(error)}"
        ) from error


def _numbers_as_text(model: type[BaseModel], params: dict[str, Any]) -> dict[str, Any]:
    """A number typed where a parameter is decimal text, as it was typed: order_qty = 0.5 means "0.5", exactly."""
    kept = dict(params)
    for name, field in model.model_fields.items():
        value = kept.get(name)
        if field.annotation in (str, str | None) and isinstance(value, int | TomlFloat) and not isinstance(value, bool):
            kept[name] = value.text if isinstance(value, TomlFloat) else str(value)
    return kept


def _place(error: Exception) -> str:
    traceback = error.__traceback__
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f" ({traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno})"
