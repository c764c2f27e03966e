"""What a promotion is given to: strategies with their parameters and code, and the instruments and venues they trade."""

from __future__ import annotations

import inspect
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from core.errors import ConfigError
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig
from daemon.strategies import strategy_class, strategy_params


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Equal where the same code would trade the same things in the same way. Texts, so that a difference can be shown."""

    strategies: dict[str, str]  # by id: class, parameters and the code's digest, as JSON
    instruments: dict[str, str]  # by id: its rules, as JSON
    venues: dict[str, str]  # by name: the adapter

    def differences(self, other: Identity) -> list[str]:
        """What `self` has otherwise than `other`, a line each."""
        lines = []
        for what in ("strategies", "instruments", "venues"):
            ours, theirs = getattr(self, what), getattr(other, what)
            changed = sorted(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
            lines += [f"{what}: {key} {_how(ours, theirs, key)}" for key in changed]
        return lines


def identity_of(loaded: LoadedConfig) -> Identity:
    """Of a configuration and the code that is here now. Raises ConfigError or StrategyError."""
    strategies = {table.id: _json(_strategy(loaded, index)) for index, table in enumerate(loaded.config.strategies)}
    instruments = {each.instrument_id: _json(msgspec.to_builtins(each)) for each in build_instruments(loaded)}
    venues: dict[str, str] = {connection.venue: connection.adapter for connection in loaded.config.connections}
    return Identity(strategies=strategies, instruments=instruments, venues=venues)


def _strategy(loaded: LoadedConfig, index: int) -> dict[str, Any]:
    table = loaded.config.strategies[index]
    params = strategy_params(loaded, index).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"class": table.class_, "params": params, "code": _code_digest(strategy_class(loaded, index))}


def _code_digest(strategy: type[Any]) -> str:
    """Of the files that define the class and the classes it is made from; what those import is not in it."""
    digest = sha256()
    for each in strategy.__mro__:
        if each.__module__.partition(".")[0] in sys.stdlib_module_names:
            continue
        file = inspect.getsourcefile(each)
        if file is None:
            raise ConfigError(f"{each.__module__}.{each.__qualname__}: has no source file: what it does cannot be promoted")
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _how(ours: dict[str, str], theirs: dict[str, str], key: str) -> str:
    if key not in theirs:
        return "is new"
    if key not in ours:
        return "is missing"
    return f"is {ours[key]}, and was {theirs[key]}"


def _json(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))
