"""Old runs go as the policy says and never one that something needs; stopped at any call and done again, it comes to the same."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import StorageError
from daemon.journal.anchor import Anchor, AnchorFile, Anchors, read_anchors
from daemon.journal.files import DISK, DiskFiles
from daemon.journal.reopen import find_end
from daemon.trading.retention import Retention, Retired, retain, retain_runs
from tests.daemon.trading.daemon_harness import Running, load, play
from tests.daemon.trading.harness import START, open_session, quote
from tests.daemon.trading.scripted_venue import BUY_ONE

DAY_NS = 86_400 * 10**9
RUNS = 6
NOW = 100 * DAY_NS


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs 1 to 6 of an account, a day apart, each with a journal and a snapshot; 6 trades and 5 is what it began with."""
    for number in range(1, RUNS + 1):
        session = open_session(tmp_path, run_number=number)
        session.process([quote(START + 1)])
        session.journal.checkpoint()
        session.snapshot()
        session.journal.abandon()
        session._folder.release()
    folder = tmp_path / "state" / "session" / "runs"
    for number in range(1, RUNS + 1):
        for path in (*(folder / f"{number:06d}").rglob("*"), folder / f"{number:06d}"):
            os.utime(path, ns=(NOW, NOW - (RUNS - number) * DAY_NS))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir()) if folder.exists() else []


def do(runs: Path, policy: Retention, files: DiskFiles = DISK, anchors: Anchors | None = None) -> list[Retired]:
    return list(retain(runs, policy, current=RUNS, previous=RUNS - 1, now=NOW + 1, anchors=anchors, files=files))


def policy(runs: int = 0, days: int = 0, archive: Path | None = None) -> Retention:
    return Retention(runs=runs, age_ns=days * DAY_NS, archive=archive)


@pytest.mark.parametrize(
    ("kept_runs", "days", "left"),
    [
        (0, 0, [1, 2, 3, 4, 5, 6]),
        (4, 0, [3, 4, 5, 6]),
        (1, 0, [5, 6]),
        (0, 3, [4, 5, 6]),
        (0, 1, [5, 6]),
        (5, 3, [2, 3, 4, 5, 6]),
        (1, 5, [2, 3, 4, 5, 6]),
    ],
)
def test_what_the_policy_keeps(runs: Path, kept_runs: int, days: int, left: list[int]) -> None:
    do(runs, policy(kept_runs, days))
    assert numbers(runs) == left
    # Only what a start may still read has snapshots.
    assert [number for number in left if list((runs / f"{number:06d}").glob("snapshot-*"))] == [5, 6]


def test_an_archived_run_is_whole(runs: Path, tmp_path: Path) -> None:
    for path in runs.glob("*/snapshot-*"):
        if path.parent.name < "000005":
            path.unlink()
    before = {path.name: tree(path) for path in runs.iterdir()}
    do(runs, policy(2, archive=tmp_path / "archive"))
    assert numbers(runs) == [5, 6]
    assert {path.name: tree(path) for path in (tmp_path / "archive").iterdir()} == {
        name: content for name, content in before.items() if name < "000005"
    }


class Failing(DiskFiles):
    """Refuses the call with this number, and pretends that the archive is on another disk."""

    def __init__(self, at: int, archive: Path | None) -> None:
        self.left = at
        self._archive = archive

    def _call(self) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(errno.EIO, "Input/output error")

    def rename(self, source: Path, target: Path) -> None:
        self._call()
        if self._archive is not None and (self._archive in target.parents) != (self._archive in source.parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._call()
        super().remove(path)

    def remove_folder(self, folder: Path) -> None:
        self._call()
        super().remove_folder(folder)

    def make_folder(self, folder: Path) -> None:
        self._call()
        super().make_folder(folder)

    def create(self, path: Path) -> int:
        self._call()
        return super().create(path)

    def write(self, descriptor: int, data: bytes) -> int:
        self._call()
        # A write that is cut short.
        return super().write(descriptor, data[: max(len(data) // 2, 1)])

    def sync(self, descriptor: int) -> None:
        self._call()
        super().sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        self._call()
        super().sync_folder(folder)


def finishes(runs: Path, chosen: Retention, files: Failing) -> bool:
    try:
        do(runs, chosen, files)
    except StorageError:
        return False
    return True


@pytest.mark.parametrize("where", ["deleted", "archived", "copied"])
def test_stopped_at_any_call_and_done_again_it_comes_to_the_same(runs: Path, tmp_path: Path, where: str) -> None:
    archive = None if where == "deleted" else tmp_path / "archive"
    chosen = policy(4, archive=archive)
    start = tmp_path / "start"
    shutil.copytree(runs, start)
    do(runs, chosen)
    expected = (tree(runs), tree(archive) if archive is not None else {})
    for at in range(1, 10_000):
        shutil.rmtree(runs)
        shutil.copytree(start, runs)
        if archive is not None:
            shutil.rmtree(archive, ignore_errors=True)
        files = Failing(at, archive if where == "copied" else None)
        is_done = finishes(runs, chosen, files)
        if not is_done:
            # A run is a run as long as it is under its name, and whole then.
            for number in numbers_of(runs):
                missing = set(tree(start / f"{number:06d}")) - set(tree(runs / f"{number:06d}"))
                assert all("snapshot" in name for name in missing), f"call {at}"
            for path in archive.iterdir() if archive is not None and archive.exists() else ():
                assert path.name.startswith(".") or find_end(path / "journal", DISK).cut is None
            do(runs, chosen)
        assert (tree(runs), tree(archive) if archive is not None else {}) == expected, f"call {at}"
        if is_done:
            assert at > 10
            return
    raise AssertionError("it never ends")


def numbers_of(runs: Path) -> list[int]:
    return sorted(int(path.name) for path in runs.iterdir() if path.name.isdigit())


def test_a_damaged_run_and_one_whose_seal_was_not_exported_stay(runs: Path, tmp_path: Path) -> None:
    segment = runs / "000001" / "journal" / "000001.tdj"
    data = bytearray(segment.read_bytes())
    data[len(data) // 3] ^= 1
    segment.write_bytes(data)
    anchor_file = tmp_path / "anchors"
    writer = AnchorFile(anchor_file)
    end = find_end(runs / "000002" / "journal", DISK).resume
    assert end is not None
    assert end.records_sealed
    fields: dict[str, Any] = {"run_id": "", "public_key": "", "segment": 1, "frame": 1, "before": "", "seal": ""}
    writer.write(Anchor(journal_id=end.header.journal_id, records=end.records_sealed, **fields))
    writer.close()
    told = do(runs, policy(1), anchors=read_anchors(anchor_file))
    assert numbers(runs) == [1, 3, 4, 5, 6]
    kept = {run.run_number: run.what for run in told if run.what.startswith("kept")}
    assert "damaged" in kept[1]
    assert "not in the anchor file" in kept[3]
    do(runs, policy(1))
    assert numbers(runs) == [1, 5, 6], "without an anchor nobody waits for a seal"


def test_another_run_in_the_archive_is_never_taken_for_this_one(runs: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(runs / "000002", archive / "000001")
    told = do(runs, policy(1, archive=archive))
    assert numbers(runs) == [1, 5, 6]
    assert any("is another run" in run.what for run in told)


def test_the_daemon_does_it_at_its_start_and_recovers_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(BUY_ONE)
        await run.until(run.trader.orders.open_orders)
        left = max(run.daemon.run_number - 1, 1)
        folder = tmp_path / "state" / "session" / "runs"
        await run.until(lambda: numbers_of(folder) == list(range(left, run.daemon.run_number + 1)))

    for number in range(1, 5):
        run = play(tmp_path, monkeypatch, story, "daemon.retention_runs=1")
        assert run.daemon.recovered.previous_run == number - 1


def test_an_end_of_the_daemon_does_not_wait_for_it(runs: Path, tmp_path: Path) -> None:
    loaded = load(tmp_path, "daemon.retention_runs=1")
    calls = iter(range(100))
    with pytest.raises(StorageError, match="the next start goes on"):
        retain_runs(loaded, RUNS, RUNS - 1, NOW, lambda: next(calls) > 6)
    assert numbers_of(runs) != [5, 6]
    retain_runs(loaded, RUNS, RUNS - 1, NOW, lambda: False)
    assert numbers(runs) == [5, 6]
