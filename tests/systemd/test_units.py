"""The units without a running systemd: verified, as closed as they claim to be, and true to what the daemon does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.exit_codes import ExitCode
from tests.systemd.machine import UNITS

ANALYZE = "systemd-analyze"
UNIT_FILES = sorted(UNITS.glob("*.service"))
EXPOSURE_MAX = 15  # tenths
OF_SYSTEMD = {203, 243}  # EXIT_EXEC and EXIT_CREDENTIALS of systemd.exec(5)
SECURITY_BEGIN = "# What follows is the same in both units"

needs_analyze = pytest.mark.skipif(shutil.which(ANALYZE) is None, reason=f"{ANALYZE} is not installed")


def settings(path: Path) -> dict[str, list[str]]:
    """Every key of a unit and its values, in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


DAEMON, GUARDIAN = (settings(UNITS / name) for name in ("tradingd@.service", "tradingd-guardian@.service"))


def test_there_are_two() -> None:
    assert [path.name for path in UNIT_FILES] == ["tradingd-guardian@.service", "tradingd@.service"]


@needs_analyze
@pytest.mark.parametrize("unit", UNIT_FILES, ids=lambda path: path.name)
def test_verify_has_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    """It exits 0 on a key that it does not know: only silence counts. What the units start is not installed here."""
    for path in UNIT_FILES:
        text = path.read_text(encoding="utf-8").replace("ExecStart=/opt/tradingd/bin/tradingd", "ExecStart=/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = subprocess.run([ANALYZE, "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@needs_analyze
def test_verify_would_have_said_something(tmp_path: Path) -> None:
    text = UNIT_FILES[1].read_text(encoding="utf-8").replace("ExecStart=/opt/tradingd/bin/tradingd", "ExecStart=/bin/true")
    (tmp_path / "tradingd@.service").write_text(text.replace("LockPersonality=", "LockPersonalty="), encoding="utf-8")
    done = subprocess.run([ANALYZE, "verify", str(tmp_path / "tradingd@.service")], capture_output=True, text=True, check=False)
    assert "LockPersonalty" in done.stderr


@needs_analyze
@pytest.mark.parametrize("unit", UNIT_FILES, ids=lambda path: path.name)
def test_exposure_is_at_most_1_5(unit: Path) -> None:
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_both_are_closed_in_the_same_way_but_for_what_they_say() -> None:
    closed = []
    for unit in UNIT_FILES:
        text = unit.read_text(encoding="utf-8").partition(SECURITY_BEGIN)[2]
        lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
        closed.append({line for line in lines if not line.startswith(("ProtectProc=", "NoExecPaths="))})
    assert closed[0] == closed[1]


def test_a_restart_that_would_end_the_same_way_is_prevented() -> None:
    never = {int(code) for code in DAEMON["RestartPreventExitStatus"][0].split()}
    # A bug of tradingd comes back latched HALTED; a venue that could not be reached may be back.
    again = {ExitCode.INTERNAL, ExitCode.NOT_RUNNING, ExitCode.INTERRUPTED}
    of_other_verbs = {ExitCode.UNFINISHED, ExitCode.UNVERIFIED}
    assert never == set(ExitCode) - again - of_other_verbs - {ExitCode.OK} | OF_SYSTEMD
    assert {int(code) for code in GUARDIAN["RestartPreventExitStatus"][0].split()} == {
        ExitCode.USAGE,
        ExitCode.CONFIG,
    } | OF_SYSTEMD


def test_both_meet_where_they_have_to_and_nowhere_else() -> None:
    for key in ("User", "DynamicUser", "RuntimeDirectory", "RuntimeDirectoryPreserve", "WorkingDirectory", "UMask"):
        assert DAEMON[key] == GUARDIAN[key], key
    assert DAEMON["Environment"] == GUARDIAN["Environment"]
    assert DAEMON["StateDirectory"] == ["tradingd/%i"]
    assert GUARDIAN["StateDirectory"] == ["tradingd/%i tradingd-guardian/%i"]
    assert not set(DAEMON["LoadCredential"]) & set(GUARDIAN["LoadCredential"])
