"""The container files, which nothing here builds: what they start exists, and they are as closed as the units."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest

from daemon.cli.main import build_parser
from tests.systemd.machine import ROOT

yaml = pytest.importorskip("yaml", reason="no YAML parser is installed")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["user"], service["cap_drop"]) == (True, "10001:10001", ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "ports"} & set(service)


def test_what_they_run_are_verbs_and_what_they_mount_is_named() -> None:
    verbs = [build_parser().parse_args(SERVICES[name]["command"]).verb for name in ("daemon", "guardian")]
    assert verbs == ["run", "guardian"]
    mounted = {name: {volume.split(":")[0] for volume in SERVICES[name]["volumes"]} for name in ("daemon", "guardian")}
    shared = {"./account", "state", "sockets"}
    # Each has its own secrets, and only the guardian its heads.
    assert mounted == {"daemon": {*shared, "./secrets"}, "guardian": {*shared, "./guardian-secrets", "heads"}}
    assert set(COMPOSE["volumes"]) == {"state", "sockets", "heads"}


def test_the_image_runs_as_a_number_and_asks_itself_whether_it_lives() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert '["tradingd", "status"]' in DOCKERFILE
    assert "Not built by CI" in DOCKERFILE


def test_the_build_gets_every_package_and_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    taken, left = [line[1:] for line in lines if line.startswith("!")], [line for line in lines if not line.startswith("!")]
    assert left == ["*", "**/__pycache__", "**/_native*"]
    needed = [
        "core/trader.py",
        "daemon/cli/main.py",
        "native/book.c",
        "native/book_api.h",
        "native/extension_build.py",
        "setup.py",
    ]
    for name in (*needed, "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        assert (ROOT / name).exists()
        assert any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/") for pattern in taken), name
