"""Compiles a C file of the tests with the machine's own compiler, for what the extension does not export."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Wno-unused-parameter", "-Werror")


def compile_probe(sources: list[str], output: Path, *options: str) -> Path:
    """Compiles `sources` (relative to the project) to `output`; skips the calling test where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler: set CC, or install one, to test what is only inlined")
    command = [compiler, "-std=c11", "-ffp-contract=off", *WARNINGS, "-Inative", *options, *sources, "-o", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return output
