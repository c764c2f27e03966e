"""A short session of the embedded market for the daemon's tests: its configuration, and ways to run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "tests" / "daemon" / "session.toml").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "daemon.cli.main"]


def write_config(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "session.toml"
    path.write_text(text, encoding="utf-8")
    return path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The child's environment: our packages, and sockets in a folder of the test's own."""
    sockets = folder / "sockets"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return {**os.environ, "PYTHONPATH": str(ROOT), "TRADINGD_RUNTIME_DIR": str(sockets), **more}


def tradingd(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=dict(env or environment(cwd)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def run_of(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found
