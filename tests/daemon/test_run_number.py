"""Run numbers: durable, one higher each time, never given twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import StorageError
from core.identifiers import RUN_NUMBER_MAX
from daemon.run_number import COUNTER_FILE, next_run_number
from tests.daemon.session import ROOT


def test_numbers_count_up(tmp_path: Path) -> None:
    assert [next_run_number(tmp_path / "runs") for _ in range(12)] == list(range(1, 13))
    assert (tmp_path / "runs" / COUNTER_FILE).read_text().lstrip("0") == "12"


def test_daemons_at_once_get_different_numbers(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from daemon.run_number import next_run_number\n"
    code += "for _ in range(25): print(next_run_number(Path(sys.argv[1])))"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    numbers = [int(line) for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 76))


def test_a_counter_that_is_none(tmp_path: Path) -> None:
    (tmp_path / COUNTER_FILE).write_text("seven")
    with pytest.raises(StorageError, match="holds b'seven', no run number; put the highest number used there"):
        next_run_number(tmp_path)
    (tmp_path / COUNTER_FILE).write_text(str(RUN_NUMBER_MAX))
    with pytest.raises(StorageError, match=f"run number {RUN_NUMBER_MAX + 1} exceeds"):
        next_run_number(tmp_path)
