"""docs/RISK.md names every limit that the code can deny or trip by, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "RISK.md").read_text(encoding="utf-8")


def limits_in_code() -> Iterator[str]:
    """The first argument of each Denied(...); where it ends in a currency, with CURRENCY in its place."""
    for path in sorted((ROOT / "core").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Denied":
                match node.args[0]:
                    case ast.Constant(value=str(name)):
                        yield name
                    case ast.JoinedStr(values=[ast.Constant(value=str(name)), _]):
                        yield f"{name}CURRENCY"
                    case ast.Name(id="limit"):
                        yield from ("daily_loss_max", "weekly_loss_max", "drawdown_ppm_max")
                    case other:
                        raise AssertionError(f"{path.name}: the limit of {ast.unparse(other)} cannot be told")


def test_every_limit_is_in_the_document_and_nothing_else() -> None:
    documented = re.findall(r"^\| ([a-z_]+(?:\.CURRENCY)?) \| ", DOCUMENT, re.MULTILINE)
    assert set(documented) - {"limit", "state"} == set(limits_in_code())
