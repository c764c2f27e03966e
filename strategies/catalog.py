"""Strategies by name, imported only when asked for: those of this package, or `module:Class` from the user's own code."""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import Any

from pydantic import BaseModel

from core.errors import ConfigError, StrategyError

STRATEGIES = {
    "adaptive_spread_maker": "strategies.adaptive_spread_maker:AdaptiveSpreadMaker",
    "inventory_skew_maker": "strategies.inventory_skew_maker:InventorySkewMaker",
    "sma_cross": "strategies.sma_cross:SmaCross",
    "symmetric_maker": "strategies.symmetric_maker:SymmetricMaker",
    "zscore_momentum": "strategies.zscore_momentum:ZScoreMomentum",
}

# What Trader calls, with the number of arguments after self.
CALLBACKS = {
    "on_start": 1,
    "on_quote": 2,
    "on_book": 2,
    "on_trade": 2,
    "on_bar": 2,
    "on_order": 3,
    "on_fill": 3,
    "on_position": 2,
    "on_cash": 2,
    "on_timer": 2,
    "on_status": 2,
    "on_gap": 2,
    "on_halt": 3,
    "on_reconciled": 1,
    "on_stop": 2,
}


def load_strategy(name: str) -> type[Any]:
    """The class called `name`: a name of STRATEGIES, or "module:Class".

    Raises ConfigError where there is no such strategy, StrategyError where there is one that cannot work: no Params model, no
    subscriptions, a callback misspelt or with the wrong number of arguments.
    """
    target = STRATEGIES.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not (colon and module_name and class_name):
        known = ", ".join(STRATEGIES)
        raise ConfigError(
            f"there is no strategy {name!r}{_did_you_mean(name, STRATEGIES)}; known: {known}; or write module:Class"
        )
    found = getattr(_import(module_name, name), class_name, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(importlib.import_module(module_name)).items() if inspect.isclass(value)]
        raise ConfigError(
            f"strategy {name!r}: module {module_name!r} has no class {class_name!r}{_did_you_mean(class_name, classes)}"
        )
    check_strategy(found, name)
    return found


def check_strategy(found: type[Any], name: str) -> None:
    """Raise StrategyError where `found` lacks what every strategy needs, or has a callback that nobody will ever call."""
    params = getattr(found, "Params", None)
    # BaseModel itself has no fields to check against, and pydantic refuses to make one.
    if not (inspect.isclass(params) and issubclass(params, BaseModel) and params is not BaseModel):
        raise StrategyError(f"strategy {name!r} needs a class Params(pydantic.BaseModel) inside it, with its parameters")
    if not callable(getattr(found, "subscriptions", None)):
        raise StrategyError(f"strategy {name!r} needs a method subscriptions(self) that says what it is woken for")
    for attribute in dir(found):
        if not attribute.startswith("on") or not callable(getattr(found, attribute)):
            continue
        if attribute in CALLBACKS:
            _check_arguments(getattr(found, attribute), attribute, name)
        elif attribute.startswith("on_") or difflib.get_close_matches(attribute, CALLBACKS, 1, 0.8):
            hint = _did_you_mean(attribute, CALLBACKS)
            raise StrategyError(f"strategy {name!r} has a method {attribute!r}, which nothing calls{hint}")


def _import(module_name: str, name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The user's module itself is missing, or something that it imports: two different mistakes.
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigError(
                f"strategy {name!r}: there is no module {error.name!r}; is its folder on PYTHONPATH, or the package installed?"
            ) from error
        raise StrategyError(
            f"strategy {name!r}: module {module_name!r} imports {error.name!r}, which is not installed"
        ) from error
    except (ImportError, SyntaxError) as error:
        raise StrategyError(f"strategy {name!r}: module {module_name!r} cannot be imported: {error}") from error


def _check_arguments(function: Any, callback: str, name: str) -> None:
    count = CALLBACKS[callback] + 1  # self
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError as error:
        shown = inspect.signature(function)
        raise StrategyError(f"strategy {name!r}: {callback} is called with {count - 1} arguments, but reads {shown}") from error


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
