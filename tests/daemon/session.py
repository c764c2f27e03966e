"""A short session of the embedded market for the daemon's tests: its configuration, and ways to run it."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "tests" / "daemon" / "session.toml").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "daemon.cli.main"]


def write_config(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "session.toml"
    path.write_text(text, encoding="utf-8")
    return path


def sockets_of(folder: Path) -> Path:
    """A folder for this test's sockets: its own name may be longer than a socket's path can be."""
    digest = hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"tradingd-test-{digest}"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The child's environment: our packages, and sockets in a folder of the test's own."""
    sockets = sockets_of(folder)
    if not sockets.exists():
        sockets.mkdir(mode=0o700)
        atexit.register(shutil.rmtree, sockets, ignore_errors=True)
    return {**os.environ, "PYTHONPATH": str(ROOT), "TRADINGD_RUNTIME_DIR": str(sockets), **more}


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def tradingd(*arguments: str | Path, cwd: Path) -> Result:
    """Run the command line to its end in this process."""
    out, err = io.StringIO(), io.StringIO()
    variables = environment(cwd)
    before = os.environ.get("TRADINGD_RUNTIME_DIR")
    os.environ["TRADINGD_RUNTIME_DIR"] = variables["TRADINGD_RUNTIME_DIR"]
    try:
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    finally:
        if before is None:
            del os.environ["TRADINGD_RUNTIME_DIR"]
        else:
            os.environ["TRADINGD_RUNTIME_DIR"] = before
    return Result(code, out.getvalue(), err.getvalue())


def tradingd_process(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Result:
    """Run the command line to its end in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=dict(env or environment(cwd)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def run_of(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found
