"""A fetch that is killed at any of its writes leaves only whole parts, and the next one ends with the same files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVERY = 6


def kill_at_every(step: int, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.daemon.fetch_killed", str(folder), str(step)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return int(done.stdout)


def test_killed_at_some_writes_it_goes_on(tmp_path: Path) -> None:
    assert kill_at_every(EVERY, tmp_path) >= 5 * EVERY


@pytest.mark.slow
def test_killed_at_each_write_it_goes_on(tmp_path: Path) -> None:
    assert kill_at_every(1, tmp_path) > 0
