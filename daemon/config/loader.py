"""Reads a configuration file and the command line's overrides, and names the file, the path and the fix for whatever is wrong."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.errors import ConfigError
from daemon.config.models import InstrumentTable, RunConfig
from daemon.config.paths import expand
from daemon.config.show import to_toml
from daemon.config.suggest import display_path, suggestion
from daemon.config.text_types import TomlFloat

Model = TypeVar("Model", bound=BaseModel)
CONFIG_BYTES_MAX = 1 << 20
KEY_DEPTH_MAX = 32


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A checked configuration and where it came from; `folder` is what its relative paths start from."""

    config: RunConfig
    file: Path
    instruments: tuple[InstrumentTable, ...]  # included and inline ones, in order

    @property
    def folder(self) -> Path:
        return self.file.parent


def load_config(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The configuration at `path` with `overrides` ("risk.order_qty_max=10") applied. Raises ConfigError."""
    table = read_toml(path)
    for override in overrides:
        apply_override(table, override)
    return _load(table, path)


def load_effective(effective: dict[str, Any], path: Path) -> LoadedConfig:
    """A configuration from what daemon/config/effective.py gave, as a journal keeps it; `path` is where it was found."""
    return _load(tomllib.loads(to_toml(effective), parse_float=TomlFloat), path)


def _load(table: dict[str, Any], path: Path) -> LoadedConfig:
    refuse_not_finite(table, str(path))
    config = _validate(RunConfig, table, str(path))
    instruments = [
        _read_instrument(expand(name, path.parent, f"{path}: instruments.include[{place}]"))
        for place, name in enumerate(config.instruments.include)
    ]
    instruments += config.instruments.inline
    if not instruments:
        raise ConfigError(f"{path}: instruments: none is configured; name a file in instruments.include")
    ids = [table.instrument_id for table in instruments]
    for instrument_id in ids:
        if ids.count(instrument_id) > 1:
            raise ConfigError(f"{path}: instruments: {instrument_id} is configured twice")
    return LoadedConfig(config, path, tuple(instruments))


def _read_instrument(path: Path) -> InstrumentTable:
    table = read_toml(path)
    refuse_not_finite(table, str(path))
    return _validate(InstrumentTable, table, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables; floats keep their text. Raises ConfigError with the line where it is no TOML."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{path}: {len(data)} bytes is no configuration; at most {CONFIG_BYTES_MAX}")
    try:
        # An editor may have put a byte-order mark in front.
        return _parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def _parse_toml(text: str) -> dict[str, Any]:
    """Raises ValueError for everything that tomllib cannot read: numbers of thousands of digits and endless nesting too."""
    try:
        return tomllib.loads(text, parse_float=TomlFloat)
    except RecursionError:
        raise ValueError("tables or lists are nested too deeply") from None


def refuse_not_finite(value: Any, file: str, path: str = "") -> None:
    """No key anywhere, a strategy's own parameters included, may be nan or inf: every comparison with it would be false."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{file}: {path}: {value} is not a finite number")
    if isinstance(value, dict):
        for key, inner in value.items():
            refuse_not_finite(inner, file, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_not_finite(inner, file, f"{path}[{index}]")


# Overrides: `--set a.b=value`.


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set one key. The value is read as TOML, or taken as text where it is none; list items are named by number or id."""
    key_text, equals, value_text = override.partition("=")
    if not equals or not key_text.strip():
        raise ConfigError(f"--set {override}: write it as key=value, for example --set risk.order_qty_max=10")
    keys = _split_key(key_text.strip(), override)
    target: Any = table
    for depth, key in enumerate(keys[:-1]):
        target = _descend(target, key, override, ".".join(keys[: depth + 1]))
    last = keys[-1]
    value = _parse_value(value_text.strip())
    if isinstance(target, list):
        target[_index_of(target, last, override)] = value
    else:
        target[last] = value


def _split_key(text: str, override: str) -> list[str]:
    try:
        tree: Any = _parse_toml(f"{text} = 0")
        keys: list[str] = []
        while isinstance(tree, dict):
            # A comment is no key, and a line break would make two.
            ((key, tree),) = tree.items()
            keys.append(key)
        if len(keys) > KEY_DEPTH_MAX:
            raise ValueError(f"more than {KEY_DEPTH_MAX} parts")
    except ValueError:
        raise ConfigError(f'--set {override}: {text!r} is not a key; quote parts with dots: risk.instruments."A.B".x') from None
    return keys


def _parse_value(text: str) -> Any:
    try:
        return _parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _descend(target: Any, key: str, override: str, path: str) -> Any:
    if isinstance(target, list):
        return target[_index_of(target, key, override)]
    inner = target.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise ConfigError(f"--set {override}: {path} is a value, it has no keys")
    return inner


def _index_of(items: list[Any], key: str, override: str) -> int:
    if key.isdecimal() and int(key) < len(items):
        return int(key)
    for index, item in enumerate(items):
        if isinstance(item, dict) and key in (item.get("id"), item.get("instrument_id")):
            return index
    raise ConfigError(f"--set {override}: there is no item {key!r}; use a number from 0 to {len(items) - 1}, or its id")


# Errors in words.


def _validate(model: type[Model], table: dict[str, Any], file: str) -> Model:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(explain(model, error, file)) from None


def explain(model: type[BaseModel], error: ValidationError, file: str, prefix: str = "") -> str:
    """Every problem found, one line each: file: path: what is wrong; the fix."""
    return "\n".join(f"{file}: {_sentence(model, details, prefix)}" for details in _without_repeats(error.errors()))


def _without_repeats(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    seen: set[tuple[int | str, ...]] = set()
    kept = []
    for details in errors:
        if details["loc"] not in seen:
            seen.add(details["loc"])
            kept.append(details)
    return kept


def _sentence(model: type[BaseModel], details: ErrorDetails, prefix: str) -> str:
    path, holder = display_path(model, details["loc"])
    parent = path.rpartition(".")[0]
    where = f"{prefix}.{path}" if prefix and path else prefix or path
    kind = details["type"]
    given = details["input"]
    if kind == "extra_forbidden":
        full_parent = f"{prefix}.{parent}" if prefix and parent else prefix or parent
        return f"unknown key {where}{suggestion(model, holder, str(details['loc'][-1]), full_parent)}"
    if kind == "missing":
        return f"{where}: this key is missing{_described(model, holder, details)}"
    if kind == "value_error":
        message = str(details["ctx"]["error"])
        return f"{where}: {message}" if where else message
    if kind == "union_tag_not_found":
        return f"{where}.{details['ctx']['discriminator'].strip(chr(39))}: this key is missing"
    if kind == "union_tag_invalid":
        tag, expected = details["ctx"]["tag"], str(details["ctx"]["expected_tags"])
        close = difflib.get_close_matches(tag, [name.strip("' ") for name in expected.split(",")], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{where}.{details['ctx']['discriminator'].strip(chr(39))}: {tag!r} is not one of {expected}{hint}"
    message = details["msg"]
    return f"{where}: {message[0].lower()}{message[1:]}, not {_shown(given)}"


def _described(model: type[BaseModel], holder: type[BaseModel] | None, details: ErrorDetails) -> str:
    for name, field in (holder or model).model_fields.items():
        if details["loc"] and details["loc"][-1] in (name, field.alias) and field.description:
            return f" ({field.description})"
    return ""


def _shown(value: Any) -> str:
    text = value.text if isinstance(value, TomlFloat) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
