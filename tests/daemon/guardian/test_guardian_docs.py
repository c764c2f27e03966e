"""docs/GUARDIAN.md names every alert and every trigger that the code can make, and none that it cannot."""

from __future__ import annotations

import re

from tests.daemon.session import ROOT

DOCUMENT = (ROOT / "docs" / "GUARDIAN.md").read_text(encoding="utf-8")
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "daemon").rglob("*.py")}


def rows_under(heading: str) -> list[str]:
    """The first column of the table below a heading."""
    part = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [row for row in re.findall(r"^\| ([a-z_]+) \|", part, re.MULTILINE) if row not in ("kind", "trigger")]


def test_every_alert_is_in_the_document() -> None:
    called = re.compile(r"(?:_say|alert|_alert|_tell)\(\s*\"([a-z_]+)\"|self\._say, \"([a-z_]+)\"")
    made = {first or second for text in SOURCES.values() for first, second in called.findall(text)}
    assert made == set(rows_under("Alerts"))


def test_every_trigger_is_in_the_document() -> None:
    guardian = {name: text for name, text in SOURCES.items() if name.startswith("daemon/guardian/")}
    called = re.compile(r"(?:_fire|self\.kill|_check_empty|KillRun)\(\s*\"([a-z_]+)\"")
    made = {kind for text in guardian.values() for kind in called.findall(text)} | {"request"}
    assert made == set(rows_under("What kills"))
