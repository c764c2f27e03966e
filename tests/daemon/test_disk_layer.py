"""Nothing of a daemon's state goes past daemon/journal/files.py: a call of the disk elsewhere is one that no test cuts short."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.daemon.session import ROOT

# The layer; the key, made once and whole before a run leaves any trace; anchors, which lie elsewhere and are read as lines.
LAYER = {"journal/files.py", "journal/keys.py", "journal/anchor.py"}
OS_CALLS = {
    "open",
    "write",
    "pwrite",
    "fsync",
    "fdatasync",
    "replace",
    "rename",
    "unlink",
    "remove",
    "mkdir",
    "makedirs",
    "ftruncate",
}
PATH_CALLS = {"write_bytes", "write_text", "unlink", "mkdir", "rename", "touch", "rmdir"}


def changes(source: str) -> Iterator[str]:
    """Calls that change a disk, as text."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "open":
            mode = ast.unparse(node.args[1]) if len(node.args) > 1 else "'r'"
            if mode.strip("'\"") not in ("r", "rb"):
                yield ast.unparse(node)
        elif isinstance(called, ast.Attribute):
            owner = ast.unparse(called.value)
            is_os = owner in ("os", "shutil") and called.attr in OS_CALLS
            if is_os or (called.attr in PATH_CALLS and "files" not in owner):
                yield ast.unparse(node)


FILES = sorted(
    [
        *(ROOT / "daemon" / "trading").glob("*.py"),
        *(ROOT / "daemon" / "journal").glob("*.py"),
        ROOT / "daemon" / "kill_latch.py",
        ROOT / "daemon" / "run_number.py",
    ]
)


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT / "daemon")) for path in FILES])
def test_state_goes_through_the_layer(name: str) -> None:
    found = list(changes((ROOT / "daemon" / name).read_text(encoding="utf-8")))
    assert bool(found) is (name in LAYER), found
