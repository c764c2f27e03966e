"""README.md shows what the program really prints: its screen is the demo's report, to the digest."""

from __future__ import annotations

import re
from pathlib import Path

from tests.daemon.session import ROOT, tradingd

README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(text: str) -> list[str]:
    """The report's lines without what differs from run to run: speed, run number, folder."""
    lines = [line.rstrip() for line in text.strip().splitlines() if not line.startswith("  folder ")]
    lines = [re.sub(r"(demo-[0-9a-f]{8})-\d+", r"\1", line) for line in lines]
    return [re.sub(r"wake-ups, .*", "wake-ups", line) for line in lines]


def test_the_screen_in_the_readme_is_the_demo(tmp_path: Path) -> None:
    screen = re.search(r"^```\n(demo .*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert screen is not None
    result = tradingd("backtest", ROOT / "config" / "demo.toml", "--pace", "full", "--out", tmp_path / "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert shown(screen[1]) == shown(result.stdout)
