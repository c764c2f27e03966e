"""The doctor finds what was broken on purpose, and has nothing to say where nothing is."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.enums import TradingState
from daemon.cli import doctor as verb
from daemon.config.loader import load_config
from daemon.doctor import clock, disk
from daemon.doctor.account import look_at_guardian, look_at_journal, look_at_venues
from daemon.doctor.clock import KernelClock, kernel_clock, look_at_clock
from daemon.doctor.disk import Mount, look_at_disk, mount_in, mount_of
from daemon.doctor.finding import Finding, Status, ok, problem, warning, worst
from daemon.doctor.folders import look_at_folders
from daemon.doctor.machine import look_at_machine
from daemon.kill_latch import KillLatch
from daemon.trading.state_folder import Latch, StateFolder
from tests.daemon.session import COMMAND, CONFIG, environment, sockets_of, tradingd, write_config
from tests.daemon.test_notify import SECONDS_MAX, Systemd
from tests.daemon.trading.harness import load
from tests.daemon.trading.test_paper import end, paper, run_folder, wait_for_fills


def statuses(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.area, finding.status.value) for finding in findings]


def texts(findings: list[Finding], status: Status) -> list[str]:
    return [finding.found for finding in findings if finding.status is status]


def test_the_worst_finding_is_the_result() -> None:
    assert worst([]) is Status.OK
    assert worst([ok("", ""), warning("", "", ""), ok("", "")]) is Status.WARNING
    assert worst([problem("", "", ""), warning("", "", ""), ok("", "")]) is Status.PROBLEM


# Clock.


def test_the_kernel_is_asked_for_its_own_clock() -> None:
    found = kernel_clock()
    assert isinstance(found.is_synchronised, bool)
    assert 0 < found.error_us_max < 1 << 62


@pytest.mark.parametrize(
    ("state", "has_venues", "status", "words"),
    [
        (KernelClock(True, 1_234), True, "ok", "synchronised, at most 1.234 ms off"),
        (KernelClock(True, 250_000), True, "warning", "synchronised, but it may be 250.000 ms off"),
        (KernelClock(False, 16_000_000), False, "warning", "nothing synchronises it"),
        (KernelClock(False, 16_000_000), True, "problem", "nothing synchronises it"),
    ],
)
def test_a_clock_that_nobody_keeps_right(
    monkeypatch: pytest.MonkeyPatch, state: KernelClock, has_venues: bool, status: str, words: str
) -> None:
    monkeypatch.setattr(clock, "kernel_clock", lambda: state)
    found = look_at_clock(has_venues=has_venues)[0]
    assert found.status.value == status
    assert found.found.startswith(words)


@pytest.mark.parametrize(
    ("moved_s", "found"),
    [
        (0, [("ok", "not set since the boot")]),
        (1, [("ok", "not set since the boot")]),
        (3_601, [("warning", "set forward by 3601 s since the boot: stamps from before and after do not compare")]),
        (-90, [("warning", "set back by 90 s since the boot: stamps from before and after do not compare")]),
        (None, []),
    ],
)
def test_a_clock_that_was_set_since_the_boot(
    monkeypatch: pytest.MonkeyPatch, moved_s: int | None, found: list[tuple[str, str]]
) -> None:
    boot_us, up_us = 1_767_600_000_000_000, 5_000_000_000
    moved_us = (moved_s or 0) * 1_000_000
    monkeypatch.setattr(clock, "_wall_at_boot_us", lambda: None if moved_s is None else boot_us)
    monkeypatch.setattr(clock.time, "time_ns", lambda: (boot_us + up_us + moved_us) * 1_000 + 999)
    monkeypatch.setattr(clock.time, "monotonic_ns", lambda: up_us * 1_000)
    monkeypatch.setattr(clock.time, "clock_gettime", lambda _which: 5_000.0)
    assert [(each.status.value, each.found) for each in clock._stepped()] == found


@pytest.mark.parametrize(("source", "status"), [("tsc", "ok"), ("kvm-clock", "ok"), ("hpet", "warning"), ("acpi_pm", "warning")])
def test_a_slow_clock_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, status: str) -> None:
    monkeypatch.setattr(clock, "CLOCK_SOURCE", tmp_path / "source")
    (tmp_path / "source").write_text(f"{source}\n")
    assert look_at_clock(has_venues=False)[-1].status.value == status


# Disk.

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
23 22 0:21 / /data rw,nosuid - tmpfs tmpfs rw,size=1g
24 22 0:22 / /data/with\040space rw - nfs4 server:/export rw,vers=4.2
25 22 0:23 / /data rw master:3 - xfs /dev/vdb rw,nobarrier
26 22 0:24 / /ro ro,relatime - btrfs /dev/vdc rw
"""


def mounted(place: str, kind: str, *options: str) -> Mount:
    return Mount(place, kind, frozenset(options))


def test_the_mount_below_a_folder_is_the_deepest_and_the_latest() -> None:
    found = [mount_in(MOUNTS, Path(path)) for path in ("/database", "/data/x", "/data/with space/y", "/ro")]
    assert found == [
        mounted("/", "ext4", "rw", "relatime", "discard"),
        mounted("/data", "xfs", "rw", "nobarrier"),
        mounted("/data/with space", "nfs4", "rw", "vers=4.2"),
        mounted("/ro", "btrfs", "ro", "relatime", "rw"),
    ]


def test_this_machines_own_mounts_are_read(tmp_path: Path) -> None:
    assert mount_of(Path("/proc")) is not None
    assert mount_of(tmp_path) is not None


@pytest.mark.parametrize(
    ("mount", "status", "words"),
    [
        (mounted("/", "ext4", "rw"), "ok", "is on ext4"),
        (mounted("/", "ext4", "rw", "barrier=0"), "problem", "without barriers"),
        (mounted("/", "ext4", "ro"), "problem", "read-only"),
        (mounted("/", "tmpfs", "rw"), "problem", "gone after a boot"),
        (mounted("/", "nfs4", "rw"), "problem", "locks and fsync"),
        (mounted("/", "fuse.sshfs", "rw"), "problem", "locks and fsync"),
        (mounted("/", "overlay", "rw"), "warning", "goes with the container"),
    ],
)
def test_file_systems_that_do_not_keep_what_they_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mount: Mount, status: str, words: str
) -> None:
    monkeypatch.setattr(disk, "mount_of", lambda _path: mount)
    found = look_at_disk(tmp_path / "not/there/yet", None)[0]
    assert found.status.value == status
    assert words in found.found


def journal_of(folder: Path, megabytes: int, seconds: int) -> Path:
    """A journal that has grown by so much in so long."""
    folder.mkdir()
    for name, size, age in (("lock", 1, seconds), ("000001.tdj", megabytes << 20, 0)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    return folder


@pytest.mark.parametrize(
    ("free_gib", "seconds", "status", "words"),
    [
        (500, 86_400, "ok", "512000 MiB free, 51 days of a journal that grows by 9999 MiB a day"),
        (50, 86_400, "warning", "5 days"),
        (5, 86_400, "problem", "0 days"),
        (5, 60, "ok", "5120 MiB free"),
    ],
)
def test_room_is_held_against_what_the_journal_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_gib: int, seconds: int, status: str, words: str
) -> None:
    monkeypatch.setattr(disk, "mount_of", lambda _path: mounted("/", "ext4", "rw"))
    real = os.statvfs(tmp_path)
    fields = list(real)
    fields[0:6] = [4_096, 4_096, 1 << 40, 1 << 40, free_gib << 18, 1 << 30]
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(fields))
    found = look_at_disk(tmp_path, journal_of(tmp_path / "journal", 9_999, seconds))[1]
    assert found.status.value == status
    assert words in found.found


@pytest.mark.parametrize(("taken_ms", "status"), [(1, "ok"), (20, "warning"), (200, "problem")])
def test_a_slow_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken_ms: int, status: str) -> None:
    monkeypatch.setattr(disk, "_synced", lambda _place: iter([taken_ms * 1_000_000] * 32))
    assert look_at_disk(tmp_path, None)[2].status.value == status


def test_measuring_leaves_nothing_behind(tmp_path: Path) -> None:
    assert statuses(look_at_disk(tmp_path, None))[2][0] == "disk"
    assert list(tmp_path.iterdir()) == []


# Permissions.


@pytest.mark.parametrize(
    ("mode", "status"), [(0o700, "ok"), (0o750, "ok"), (0o755, "warning"), (0o770, "problem"), (0o777, "problem")]
)
def test_who_may_enter_the_state_folder(tmp_path: Path, mode: int, status: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    assert look_at_folders(state, None)[0].status.value == status


def test_a_file_of_another_user_in_the_state_folder(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    state = tmp_path / "state"
    (state / "runs").mkdir(parents=True)
    state.chmod(0o700)
    os.chown(state / "runs", 12_345, 12_345)
    assert look_at_folders(state, None)[0] == problem(
        "permissions", f"{state}/runs belongs to another user than {state}", f"chown -R 0 {state}"
    )


def test_secrets_and_configuration_that_others_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets, config = tmp_path / "secrets", tmp_path / "paper.toml"
    secrets.mkdir(mode=0o700)
    (secrets / "token").write_text("hunter2")
    (secrets / "token").chmod(0o640)
    config.write_text("")
    config.chmod(0o666)
    monkeypatch.setenv("TRADINGD_SECRETS_DIR", str(secrets))
    found = look_at_folders(None, config)
    assert texts(found, Status.PROBLEM) == [
        f"{secrets}/token: others may read or change it",
        f"{config}: others may change what is traded (mode 0666)",
    ]
    (secrets / "token").chmod(0o600)
    config.chmod(0o644)
    assert texts(look_at_folders(None, config), Status.PROBLEM) == []


# The machine.


def test_limits_that_are_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_NOFILE: (256, 256), resource.RLIMIT_CORE: (1, 1)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    found = look_at_machine()
    assert "256 open files at most" in texts(found, Status.PROBLEM)
    assert any(text.startswith("a crash may write a core") for text in texts(found, Status.WARNING))


def test_an_interpreter_whose_checks_are_off(tmp_path: Path) -> None:
    optimised = [COMMAND[0], "-O", *COMMAND[1:], "doctor", "--json"]
    done = subprocess.run(optimised, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "it runs with -O: the checks of its own state are off" in [
        each["found"] for each in json.loads(done.stdout)["findings"]
    ]


# The account.


def test_a_journal_is_read_as_a_restart_would_while_a_daemon_holds_it_too(tmp_path: Path) -> None:
    write_config(tmp_path)
    account = tmp_path / "state/session"
    assert look_at_journal(account) == [ok("journal", f"nothing has run in {account} yet")]
    with paper(tmp_path) as daemon:
        wait_for_fills(tmp_path, 1)
        lock, state, journal = look_at_journal(account)
        assert lock.found.startswith(f"held by process {daemon.pid} (")
        assert (state, journal.status) == (ok("trading state", "ACTIVE"), Status.OK)
        assert tradingd("halt", "--reason", "odd fills", cwd=tmp_path).returncode == 0
        end(daemon)
    lock, state, journal = look_at_journal(account)
    assert lock == ok("lock", "free: no daemon trades this account now")
    assert (state.status, state.found.startswith("HALTED since 2"), state.found.endswith(": odd fills")) == (
        Status.WARNING,
        True,
        True,
    )
    assert journal.found.startswith("run 1 reads to its end, 2")
    # The doctor has taken no lock and left nothing: the next daemon starts, and is run 2.
    with paper(tmp_path):
        assert json.loads(tradingd("status", "--json", cwd=tmp_path).stdout)["run_id"] == "session-2"


def ended_session(folder: Path) -> Path:
    write_config(folder)
    with paper(folder) as daemon:
        end(daemon)
    return folder / "state/session"


def test_what_is_wrong_with_a_journal_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = ended_session(tmp_path)
    monkeypatch.setattr("daemon.doctor.account.time.time_ns", lambda: 1_600_000_000 * 10**9)
    found = look_at_journal(account)[-1]
    assert found.status is Status.PROBLEM
    assert "ahead of the clock, which has been set back" in found.found
    monkeypatch.undo()

    segment = run_folder(tmp_path, 1) / "journal/000001.tdj"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    for snapshot in run_folder(tmp_path, 1).glob("*.tds"):
        snapshot.unlink()
    found = look_at_journal(account)[-1]
    assert found.status is Status.PROBLEM
    assert found.found.startswith("a start would refuse it: ")


def test_latches_are_told_with_their_reasons(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    (tmp_path / "runs/000001").mkdir()
    folder.write_latch(Latch(TradingState.REDUCING, "flattened", 1_767_623_400 * 10**9))
    folder.kill.set("seen\x1b[2J smoke", 1_000, 1_767_623_400 * 10**9)
    folder.release()
    killed, state = look_at_journal(tmp_path)[1:3]
    assert (killed.status, state.status) == (Status.WARNING, Status.WARNING)
    assert killed.found.startswith("killed: 2026-01-05T14:30:00")
    assert state.found == "REDUCING since 2026-01-05T14:30:00.000000000Z: flattened"
    (tmp_path / "trading_state.json").write_text("{")
    assert look_at_journal(tmp_path)[1].status is Status.PROBLEM


def test_a_latch_that_is_clear_is_not_touched(tmp_path: Path) -> None:
    KillLatch(tmp_path / "kill_latch").close()
    before = (tmp_path / "kill_latch").read_bytes()
    (tmp_path / "runs/000001").mkdir(parents=True)
    look_at_journal(tmp_path)
    assert (tmp_path / "kill_latch").read_bytes() == before


def test_a_guardian_that_is_missed_and_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment(tmp_path)
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", variables["TRADINGD_RUNTIME_DIR"])
    loaded = load(tmp_path)
    assert look_at_guardian(loaded).status is Status.WARNING
    write_config(tmp_path, f"{CONFIG}\n[guardian]\nrequired = true\n")
    required = tradingd("doctor", tmp_path / "session.toml", "--json", cwd=tmp_path)
    assert required.returncode == 8
    assert ("guardian", "problem") in [(each["area"], each["status"]) for each in json.loads(required.stdout)["findings"]]
    systemd = Systemd(str(tmp_path / "notify"))
    told = {**variables, "NOTIFY_SOCKET": systemd.address}
    guardian = subprocess.Popen([*COMMAND, "guardian", str(tmp_path / "session.toml")], cwd=tmp_path, env=told)
    try:
        systemd.receive_until("READY=1")
        assert look_at_guardian(loaded).found == f"process {guardian.pid} watches session: unknown"
    finally:
        guardian.terminate()
        assert guardian.wait(SECONDS_MAX) == 0
        systemd.close()


def test_a_venue_that_is_not_there(tmp_path: Path) -> None:
    assert look_at_venues(load(tmp_path)) == [ok("venue", "the simulated venue is inside the daemon")]
    connection = f'\n[[connections]]\nvenue = "SIM"\nadapter = "sim"\naddress = "unix:{tmp_path}/nobody"\ntoken = "desk"\n'
    write_config(tmp_path, CONFIG + connection)
    done = tradingd("doctor", "session.toml", "--set", 'run.mode="paper"', "--json", cwd=tmp_path)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    wrong = {each["area"]: each["found"] for each in found if each["status"] == "problem"}
    assert done.returncode == 8
    assert wrong["credentials"].startswith("there is no secret 'desk'; looked for ")
    assert "venue" in wrong


def test_a_venue_that_is_there_is_asked_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_SECRET_DESK", "a-token-that-is-long-enough")
    connection = (
        f'\n[[connections]]\nvenue = "SIM"\nadapter = "sim"\naddress = "unix:{sockets_of(tmp_path)}/venue"\ntoken = "desk"\n'
    )
    config = write_config(tmp_path, CONFIG + connection)
    sim = [*COMMAND, "venue-sim", "sim", "--config", str(config), "--set", 'run.mode="paper"', "--json"]
    venue = subprocess.Popen(sim, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        assert venue.stdout is not None
        assert "listening" in json.loads(venue.stdout.readline())
        (found,) = look_at_venues(load_config(config, ['run.mode="paper"']))
        assert found.status is Status.OK, found
        assert re.fullmatch(r"SIM answers: 0 orders open, logged in and asked within \d+ ms", found.found)
        monkeypatch.setenv("TRADINGD_SECRET_DESK", "another-token-that-is-long")
        (found,) = look_at_venues(load_config(config, ['run.mode="paper"']))
        assert found.status is Status.PROBLEM
    finally:
        venue.terminate()
        venue.communicate(timeout=SECONDS_MAX)


# The verb.


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"config": None, "overrides": [], "json": False, **given})


def test_a_configuration_that_is_wrong_is_a_problem_and_the_rest_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, CONFIG.replace("order_qty_max = 50", "order_qty_maxx = 50"))
    assert verb.doctor(options(config=str(path))) == 8
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("problem  config         ") and "order_qty_maxx" in line for line in lines)
    assert [line for line in lines if line.startswith(("ok       disk", "warning  disk", "problem  disk"))]
    assert lines[-1].startswith("problem: ")


def test_nothing_that_is_named_anywhere_can_do_anything_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "look", lambda _options: [warning("disk", "a\x1b[2J\nb", "c\x07")])
    assert verb.doctor(options()) == 0
    assert capsys.readouterr().out == (
        "warning  disk           a\\x1b[2J\\nb\n                        fix: c\\x07\n\nwarning: 0 ok, 1 warning, 0 problem\n"
    )
