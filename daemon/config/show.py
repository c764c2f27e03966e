"""Writes plain data as TOML: what `tradingd config show` prints can be saved and loaded again."""

from __future__ import annotations

import json
import re
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def to_toml(table: dict[str, Any]) -> str:
    """Strings, whole numbers, floats, booleans, lists and tables; tables after the plain keys of their parent."""
    lines: list[str] = []
    _write_table(table, "", lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: dict[str, Any], path: str, lines: list[str]) -> None:
    for key, value in table.items():
        if not _is_nested(value):
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in table.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            lines += ["", f"[{inner}]"]
            _write_table(value, inner, lines)
        elif _is_nested(value):
            for item in value:
                lines += ["", f"[[{inner}]]"]
                _write_table(item, inner, lines)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value))


def _key(key: str) -> str:
    return key if _BARE_KEY.match(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return _text(str(value))


def _text(text: str) -> str:
    # JSON's escapes are a subset of TOML's basic strings; DEL is the one character that only TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
