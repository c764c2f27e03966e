"""The machine stops at every call that a journal's writer makes of the disk: what was acknowledged is there, and no more."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import msgspec
import pytest

from core.commands import SetTimer
from core.errors import StorageError
from daemon.audit.findings import Verdict
from daemon.audit.verify import verify_segments
from daemon.journal.format import PREAMBLE, Frame, Kind, Record, parse_frame
from daemon.journal.lock import LOCK_FILE
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from tests.daemon.crashing_disk import CrashingDisk, PowerCut
from tests.daemon.journal_records import HEADER, SIGNER

FOLDER = Path("journal")
STEPS = 14
SETTINGS = {
    sync: JournalSettings(sync=sync, segment_bytes_max=1_400, checkpoint_records=9)
    for sync in (Sync.NONE, Sync.BATCH, Sync.BEFORE_SEND)
}


class Session:
    """A writer at work, and what it was promised."""

    def __init__(self, disk: CrashingDisk, sync: Sync) -> None:
        self.disk = disk
        self.sync = sync
        self.appended: list[Record] = []
        self.acknowledged = 0

    def run(self, seed: int) -> None:
        """The same calls for the same seed, until the power is cut."""
        chance = random.Random(seed)
        writer = open_writer(self.disk, self.sync, reopen=False)
        for _ in range(STEPS):
            for _ in range(chance.randrange(1, 5)):
                record = timer(len(self.appended))
                self.appended.append(record)
                writer.append(record)
            action = chance.randrange(4)
            if action == 0:
                writer.checkpoint()
            elif action == 1:
                writer.make_durable()
            else:
                writer.flush()
            self.acknowledged = writer.records_durable
        writer.close()


def open_writer(disk: CrashingDisk, sync: Sync, *, reopen: bool) -> JournalWriter:
    return JournalWriter(FOLDER, HEADER, settings=SETTINGS[sync], signer=SIGNER, files=disk, journal_id="j" * 32, reopen=reopen)


def timer(number: int) -> SetTimer:
    return SetTimer(number, number, 1_000 + number)


def records_of(disk: CrashingDisk) -> list[Record]:
    """Every record on the disk, read without the project's reader."""
    records: list[Record] = []
    for _number, data in disk.segments():
        offset = PREAMBLE.size
        while offset < len(data):
            frame = parse_frame(data, offset)
            assert isinstance(frame, Frame), frame
            if frame.kind is Kind.RECORDS:
                records += msgspec.msgpack.decode(frame.payload, type=list[Record])
            offset = frame.end
    return records


def calls_of(sync: Sync, seed: int) -> int:
    disk = CrashingDisk()
    Session(disk, sync).run(seed)
    return disk.calls


def continue_after(disk: CrashingDisk, session: Session, chance: random.Random, where: str) -> None:
    """Open again, perhaps with another power cut in the middle of that, append, close, and look at what is there."""
    calls = 0
    if chance.random() < 0.5:
        disk.stop_at = chance.randrange(1, 12)
        disk.bytes_taken = chance.randrange(200)
        try:
            open_writer(disk, session.sync, reopen=True)
        except PowerCut:
            calls = disk.calls
        disk = disk.after_power_cut(chance) if session.sync is not Sync.NONE else disk.after_kill()
    writer = open_writer(disk, session.sync, reopen=True)
    kept = writer.records_written
    new: list[Record] = [timer(10_000 + number) for number in range(20)]
    for record in new:
        writer.append(record)
        writer.flush()
    writer.close()
    where = f"{where}, second cut at {calls}"
    assert kept >= session.acknowledged, where
    assert records_of(disk) == session.appended[:kept] + new, where
    report = verify_segments(disk.segments(), key=SIGNER.public_key)
    assert (report.verdict, report.findings, report.records) == (Verdict.WHOLE, [], kept + len(new)), where


@pytest.mark.parametrize("sync", [Sync.BATCH, Sync.BEFORE_SEND])
def test_a_power_cut_at_every_call_loses_nothing_that_was_acknowledged(sync: Sync) -> None:
    cut_the_power(sync, seed=1, fates=4)


@pytest.mark.slow
@pytest.mark.parametrize("sync", [Sync.BATCH, Sync.BEFORE_SEND])
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_power_cuts_at_every_call(sync: Sync, seed: int) -> None:
    cut_the_power(sync, seed=seed, fates=30)


def cut_the_power(sync: Sync, *, seed: int, fates: int) -> None:
    total = calls_of(sync, seed)
    assert total > 40
    for stop_at in range(1, total + 1):
        for fate in range(fates):
            chance = random.Random(f"{sync.value} {seed} {stop_at} {fate}")
            disk = CrashingDisk()
            disk.stop_at, disk.bytes_taken = stop_at, chance.randrange(400)
            session = Session(disk, sync)
            with pytest.raises(PowerCut):
                session.run(seed)
            continue_after(disk.after_power_cut(chance), session, chance, f"{sync} seed {seed} call {stop_at} fate {fate}")


@pytest.mark.parametrize("sync", list(Sync))
def test_a_process_killed_at_every_call_leaves_a_journal_that_goes_on(sync: Sync) -> None:
    for stop_at in range(1, calls_of(sync, 3) + 1):
        for taken in (0, 12, 79, 300):
            disk = CrashingDisk()
            disk.stop_at, disk.bytes_taken = stop_at, taken
            session = Session(disk, sync)
            with pytest.raises(PowerCut):
                session.run(3)
            chance = random.Random(f"{stop_at} {taken}")
            continue_after(disk.after_kill(), session, chance, f"{sync} call {stop_at}, {taken} bytes taken")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("sync", [Sync.BATCH, Sync.BEFORE_SEND])
def test_after_the_first_refusal_of_the_disk_the_writer_refuses_everything(sync: Sync, number: int) -> None:
    for stop_at in range(1, calls_of(sync, 4) + 1):
        disk = CrashingDisk()
        disk.stop_at, disk.bytes_taken, disk.failure = stop_at, 30, OSError(number, "refused by the test")
        session = Session(disk, sync)
        writers: list[JournalWriter] = []
        with pytest.raises(StorageError, match="refused by the test"):
            run_keeping(session, writers)
        # No call follows the one that was refused: a failed sync above all is not tried again.
        assert disk.calls == stop_at
        for writer in writers:
            for use in (writer.flush, writer.make_durable, writer.checkpoint, writer.close, lambda w=writer: w.append(timer(0))):
                with pytest.raises(StorageError, match="refused by the test"):
                    use()
            writer.abandon()
            writer.abandon()
        assert disk.calls == stop_at
        chance = random.Random(stop_at)
        continue_after(disk.after_power_cut(chance), session, chance, f"{sync} errno {number} at call {stop_at}")


def run_keeping(session: Session, writers: list[JournalWriter]) -> None:
    """As `Session.run`, and the writer stays at hand."""
    chance = random.Random(4)
    writer = open_writer(session.disk, session.sync, reopen=False)
    writers.append(writer)
    for _ in range(STEPS):
        for _ in range(chance.randrange(1, 5)):
            record = timer(len(session.appended))
            session.appended.append(record)
            writer.append(record)
        (writer.checkpoint, writer.make_durable, writer.flush, writer.flush)[chance.randrange(4)]()
        session.acknowledged = writer.records_durable
    writer.close()


def test_what_was_on_the_disk_and_is_changed_is_never_cut_off() -> None:
    disk = CrashingDisk()
    Session(disk, Sync.BATCH).run(5)
    files = {name: file.content for name, file in disk.files.items() if name != LOCK_FILE}
    last = max(files)
    whole = files[last]
    frames = []
    offset = PREAMBLE.size
    while offset < len(whole):
        frame = parse_frame(whole, offset)
        assert isinstance(frame, Frame)
        frames.append(frame)
        offset = frame.end
    for frame in frames[:-2]:
        spoiled = bytearray(whole)
        spoiled[frame.offset + 50] ^= 1
        with pytest.raises(StorageError, match="more than an unfinished end, so nothing is appended"):
            open_writer(CrashingDisk({**files, last: bytes(spoiled)}), Sync.BATCH, reopen=True)
    second_last = sorted(files)[-2]
    for missing_or_cut in (
        {name: data for name, data in files.items() if name != second_last},
        {**files, second_last: files[second_last][:-1]},
    ):
        with pytest.raises(StorageError, match="nothing is appended"):
            open_writer(CrashingDisk(missing_or_cut), Sync.BATCH, reopen=True)


def test_the_repair_is_written_down() -> None:
    disk = CrashingDisk()
    session = Session(disk, Sync.BATCH)
    session.run(6)
    files = {name: file.content for name, file in disk.files.items() if name != LOCK_FILE}
    last = max(files)
    files[last] = files[last][:-10]
    disk = CrashingDisk(files)
    writer = open_writer(disk, Sync.BATCH, reopen=True)
    assert writer.cut is not None
    assert (writer.cut.file, writer.cut.offset + writer.cut.size, writer.cut.whole_file) == (last, len(files[last]), False)
    writer.close()
    report = verify_segments(disk.segments(), key=SIGNER.public_key)
    assert report.verdict is Verdict.WHOLE
    assert len(report.repairs) == 1
    assert f"{writer.cut.size} unfinished bytes were cut off {last} at byte {writer.cut.offset}" in report.repairs[0]
