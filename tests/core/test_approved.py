"""Only the risk gate can make an Approved command: nobody else so much as names the seal."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from core.approved import Approved, _Seal
from core.commands import CancelAll

ROOT = Path(__file__).resolve().parents[2]
MAY_NAME_THE_SEAL = {"core/approved.py", "core/risk.py"}
PACKAGES = ("core", "native", "strategies", "sim", "adapters", "daemon", "research")


def names_in(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # getattr(approved, "_SEAL")
    return found


def test_only_the_gate_takes_the_seal() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if names_in(path) & {"_SEAL", "_Seal"}
    }
    assert users == MAY_NAME_THE_SEAL


def test_nobody_but_the_gate_calls_the_constructor() -> None:
    callers = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func).split(".")
                if called[-1] == "Approved" or (called[-1] == "__new__" and "Approved" in ast.unparse(node)):
                    callers.add(path.relative_to(ROOT).as_posix())
    assert callers == {"core/risk.py"}


def test_a_seal_of_ones_own_does_not_open() -> None:
    with pytest.raises(AssertionError):
        Approved(CancelAll(0, None), _Seal())


def test_an_approved_command_is_not_subclassed() -> None:
    assert getattr(Approved, "__final__", False) is True
