"""The log is bounded, reads back whole, holds nobody up, and can do nothing to a terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import structlog

from core.errors import StorageError
from daemon import logging_setup
from daemon.log_reader import LogReader, Selection
from daemon.logging_setup import Console, LogFile, start_logging
from daemon.timestamps import parse_moment
from tests.daemon.session import COMMAND, environment, tradingd
from tests.daemon.trading.test_paper import ask, end, paper, write_config

STAMP = "2026-01-05T14:30:00.250000Z"
EVIL = "a\x1b[2J\x9b31m\r\nREADY=1\u202e\u2028b"
SECONDS_MAX = 60


def event(**fields: Any) -> dict[str, Any]:
    return {"event": "said", **fields, "level": fields.get("level", "info"), "timestamp": STAMP}


def write(log: LogFile, **fields: Any) -> None:
    found = event(**fields)
    with pytest.raises(structlog.DropEvent):
        log(None, found["level"], found)


def read(path: Path) -> list[dict[str, Any]]:
    reader = LogReader(path)
    found = [*reader.older(), *reader.new()]
    reader.finish()
    assert reader.unreadable == 0
    reader.close()
    return found


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.iterdir()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging_setup, "LOG_BYTES_MAX", 2_000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("is_prompt", [True, False])
def test_the_log_is_bounded_and_what_is_left_of_it_has_no_gap(tmp_path: Path, is_prompt: bool) -> None:
    log = LogFile(tmp_path / "log.jsonl", None, is_prompt=is_prompt)
    for number in range(1_000):
        write(log, number=number)
    log.close()
    assert max(sizes(tmp_path)) <= 2_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", *(f"log.jsonl.{n}" for n in range(1, 9))]
    numbers = [found["number"] for found in read(tmp_path / "log.jsonl")]
    assert numbers == list(range(numbers[0], 1_000))
    assert len(numbers) > 100


def test_an_absurd_line_is_cut_and_says_so(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", None)
    write(log, text="x" * 1_000_000)
    log.close()
    found = read(tmp_path / "log.jsonl")
    assert found == [{"timestamp": STAMP, "level": "info", "event": "said", "cut": True, "characters": 1_000_090}]


def test_a_daemons_log_loses_lines_that_the_disk_refuses_and_counts_them(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", None, is_prompt=True)
    write(log, number=1)
    real, full = log._file, open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    log._file = full
    write(log, number=2)
    write(log, number=3)
    log._file = real
    write(log, number=4)
    log.close()
    full.close()
    lost = {"event": "log lines were lost", "count": 2, "level": "error", "timestamp": STAMP}
    assert read(tmp_path / "log.jsonl") == [event(number=1), lost, event(number=4)]


def test_a_backtests_log_refuses_to_lose_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", None)
    log._file.close()
    log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
        log(None, "info", event())
    log.abandon()


@pytest.mark.usefixtures("small")
def test_a_rotation_that_the_disk_refuses_moves_no_file_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "log.jsonl", None, is_prompt=True)
    real, refused = Path.open, [OSError(errno.ENOSPC, "full")] * 5

    def opened(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "log.jsonl" and "a" in arguments[0] and refused:
            raise refused.pop()
        return real(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", opened)
    for number in range(40):
        write(log, number=number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1"]
    found = [line.get("number", "lost") for line in read(tmp_path / "log.jsonl")]
    place = found.index("lost")
    assert found == [*range(place), "lost", *range(place + 5, 40)]


def test_the_console_shows_one_line_and_no_commands() -> None:
    stream = io.StringIO()
    Console(stream).write("info", event(text=EVIL))
    assert stream.getvalue() == ("14:30:00 info    said  text=a\\x1b[2J\\x9b31m\\r\\nREADY=1\\u202e\\u2028b\n")


def test_the_console_of_a_service_says_levels_as_the_journal_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "w") as stream:
        console = Console(stream)
        for level in ("debug", "info", "warning", "error", "critical"):
            console.write(level, event(level=level))
        assert source.read1().decode().splitlines() == ["<6>said ", "<4>said ", "<3>said ", "<2>said "]


def test_a_console_that_stands_still_or_is_gone_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        console = Console(stream)
        for _ in range(1_000):
            console.write("info", event(text="x" * 3_000))
        os.close(reader)
        console.write("error", event())
        console.write("error", event())


def test_selection_by_level_and_time() -> None:
    chosen = Selection("warning", parse_moment("2026-01-05T14:30:00.25Z"))
    later, earlier = event(level="error"), {**event(level="error"), "timestamp": "2026-01-05T14:30:00.249999Z"}
    assert [chosen.takes(found) for found in (later, earlier, event(level="info"), {"level": "odd"})] == [
        True,
        False,
        False,
        True,
    ]


def test_half_a_line_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = json.dumps(event()) + "\n"
    path.write_text(f'{good}{{"event": "ha\n[1]\n\n{good}{{"event"')
    reader = LogReader(path)
    assert [*reader.older(), *reader.new()] == [event(), event()]
    reader.finish()
    assert reader.unreadable == 3
    reader.close()


@pytest.mark.usefixtures("small")
def test_following_misses_nothing_over_rotations(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl", None, is_prompt=True)
    reader = LogReader(tmp_path / "log.jsonl")
    found = list(reader.older())
    for number in range(300):
        write(log, number=number)
        if number % 7 == 0:
            found += reader.new()
    found += reader.new()
    reader.close()
    log.close()
    assert [line["number"] for line in found] == list(range(300))


def test_the_verb_prints_a_run_by_its_configuration_its_number_and_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state/session/runs/000002"
    for number in (1, 2):
        (tmp_path / f"state/session/runs/00000{number}").mkdir(parents=True)
        log = start_logging(tmp_path / f"state/session/runs/00000{number}/log.jsonl", console=False)
        structlog.get_logger("test").info("begun", run=number)
        structlog.get_logger("test").error(EVIL, text="with space", empty="", count=3)
        log.close()
    config = write_config(tmp_path)
    newest = tradingd("logs", config, cwd=tmp_path).stdout
    lines = newest.splitlines()
    assert [line[23:] for line in lines] == [
        "  info      begun                         run=2",
        '  error     a\\x1b[2J\\x9b31m\\r\\nREADY=1\\u202e\\u2028b         text="with space" empty="" count=3',
    ]
    assert tradingd("logs", folder, cwd=tmp_path).stdout == newest
    assert tradingd("logs", config, "--run", "session-2", cwd=tmp_path).stdout == newest
    first = tradingd("logs", config, "--run", "1", "--level", "error", "--json", cwd=tmp_path).stdout
    assert [json.loads(line)["event"] for line in first.splitlines()] == [EVIL]
    assert tradingd("logs", config, "--since", "1h", cwd=tmp_path).stdout == newest
    assert tradingd("logs", config, "--since", "2100-01-01T00:00:00Z", cwd=tmp_path).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("session.toml",), 3, "nothing has run there yet"),
        (("session.toml", "--run", "7"), 4, "the log cannot be read"),
        (("session.toml", "--run", "../.."), 3, "names no run"),
        (("session.toml", "--since", "yesterday"), 3, "is no moment"),
        (("nowhere.toml",), 3, "nowhere.toml"),
        ((), 9, "no daemon is running"),
    ],
)
def test_the_verb_says_what_is_wrong(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    write_config(tmp_path)
    result = tradingd("logs", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr


def test_following_a_daemon_shows_its_end_and_the_run_after_it(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with paper(tmp_path) as daemon:
        assert ask(tmp_path, "status")["folder"] == str(tmp_path / "state/session/runs/000001")
        of_daemon = tradingd("logs", cwd=tmp_path).stdout
        assert "  ready  " in of_daemon
        follower = subprocess.Popen(
            [*COMMAND, "logs", str(config), "--follow", "--json"], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE
        )
        assert follower.stdout is not None
        try:
            seen = [json.loads(follower.stdout.readline())["event"]]
            end(daemon)
            while "ended" not in seen:
                seen.append(json.loads(follower.stdout.readline())["event"])
            with paper(tmp_path):
                found: dict[str, Any] = {}
                while found.get("event") != "ready":
                    found = json.loads(follower.stdout.readline())
                assert found["run_id"] == "session-2"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(SECONDS_MAX) == 0
        finally:
            follower.kill()
            follower.communicate()
