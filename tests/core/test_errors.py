"""The tree of errors is the one drawn at the top of its file."""

from __future__ import annotations

import inspect
import re

from core import errors
from core.errors import DataError, TradingdError, UnitError


def test_the_drawing_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│ ]*)(?:[├└]── )?([A-Z]\w+Error)\b", line)
        if found is None:
            continue
        depth = 0 if line == "TradingdError" else len(found[1]) // 4 + 1
        path[depth:] = [found[2]]
        drawn[found[2]] = path[depth - 1] if depth else "Exception"
    real = {name: kind.__bases__[0].__name__ for name, kind in inspect.getmembers(errors, inspect.isclass)}
    assert drawn == real
    assert all(issubclass(kind, TradingdError) for _, kind in inspect.getmembers(errors, inspect.isclass))


def test_a_data_error_says_where() -> None:
    assert str(DataError("price is negative", file="a.csv", line=7)) == "a.csv:7: price is negative"
    assert str(DataError("empty", file="a.csv")) == "a.csv: empty"


def test_a_unit_error_is_a_value_error() -> None:
    assert issubclass(UnitError, ValueError)
