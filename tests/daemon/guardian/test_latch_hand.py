"""The latch from the guardian's side and the daemon's: the same file, whatever somebody does to it."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import anyio
import pytest

from core.errors import StorageError
from daemon.guardian.latch_hand import LatchHand
from daemon.kill_latch import BLOCK_BYTES, KillLatch
from tests.daemon.trading.recording_disk import RecordingDisk, after_power_cut

TS = 1_767_623_400_000_000_000


def test_the_daemon_sees_the_flag_at_once_and_who_raised_it(tmp_path: Path) -> None:
    daemon, hand = KillLatch(tmp_path / "kill_latch"), LatchHand(tmp_path)
    assert (daemon.is_set, hand.is_set, hand.text()) == (False, False, "")
    hand.raise_flag("odd\nfills", 7, TS)
    assert (daemon.is_set, hand.is_set) == (True, True)
    assert daemon.record().text == hand.text() == "2026-01-05T14:30:00.000000000Z uid 7: odd fills"
    anyio.run(hand.make_durable)
    daemon.clear()
    assert hand.is_set is False
    assert (tmp_path / "kill_latch").stat().st_size == BLOCK_BYTES


def test_whichever_of_the_two_comes_first_makes_the_file(tmp_path: Path) -> None:
    hand = LatchHand(tmp_path / "new" / "account")
    daemon = KillLatch(tmp_path / "new" / "account" / "kill_latch")
    hand.raise_flag("x", 0, TS)
    assert daemon.is_set
    assert hand.identity == (os.stat(daemon.path).st_dev, os.stat(daemon.path).st_ino)


@pytest.mark.parametrize("content", [b"", b"x", b"2", b"\x00" * BLOCK_BYTES])
def test_what_is_no_clear_zero_counts_as_set(tmp_path: Path, content: bytes) -> None:
    hand = LatchHand(tmp_path)
    # Cut short or written over while it is open: what had it mapped would be ended by a signal.
    (tmp_path / "kill_latch").write_bytes(content)
    assert hand.is_set


def test_a_file_that_is_taken_away_is_made_anew_and_a_flag_is_kept(tmp_path: Path) -> None:
    hand = LatchHand(tmp_path)
    assert hand.reopen_if_replaced() is False
    hand.raise_flag("x", 0, TS)
    hand.path.unlink()
    assert hand.reopen_if_replaced() is True
    assert (hand.is_set, KillLatch(hand.path).is_set) == (True, True)
    # Another file in its place, by somebody who thinks that this clears it.
    hand.path.unlink()
    hand.path.write_bytes(b"0".ljust(BLOCK_BYTES, b"\n"))
    assert (hand.reopen_if_replaced(), hand.is_set) == (True, True)


def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        LatchHand(tmp_path / "taken")


def test_a_clear_that_the_disk_refuses_leaves_the_flag_on_the_disk_as_well(tmp_path: Path) -> None:
    """What was written in its place is not left for a power cut to find."""
    refusals: list[str] = []

    def refuse_once(kind: str) -> None:
        if kind == "sync" and refusals:
            raise OSError(errno.EIO, refusals.pop())

    (tmp_path / "disk").mkdir()
    disk = RecordingDisk(tmp_path / "disk", refuse_once)
    latch = KillLatch(tmp_path / "disk" / "kill_latch", disk)
    latch.set("a reason", 0, TS)
    disk.sync_folder(tmp_path / "disk")
    refusals.append("the disk refuses")
    with pytest.raises(StorageError, match="refuses"):
        latch.clear()
    assert latch.is_set
    for chance in range(50):
        target = tmp_path / f"after-{chance}"
        after_power_cut(disk, len(disk.steps), random.Random(chance), target)
        found = KillLatch(target / "kill_latch")
        assert (found.is_set, "a reason" in found.record().text) == (True, True)
