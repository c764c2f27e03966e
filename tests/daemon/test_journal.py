"""The journal keeps every record, and every cut, flip, repeat or move of bytes is found and placed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.commands import SetTimer
from core.errors import ConfigError, DataError, StorageError
from daemon.journal.anchor import AnchorFile, read_anchors
from daemon.journal.format import VERSION, Kind, Opened, Record, SegmentHeader, segment_name, segment_number
from daemon.journal.keys import KEY_FILE, PUBLIC_KEY_FILE, known_key, load_public, open_signer
from daemon.journal.lock import LOCK_FILE
from daemon.journal.reader import JournalDamage, JournalReader, find_journal
from daemon.journal.tail import TailReader
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from tests.daemon.journal_records import (
    HEADER,
    OTHER_SIGNER,
    RECORDS,
    SIGNER,
    frames_in,
    put_segments,
    segments_in,
    write,
)
from tests.daemon.session import ROOT

SMALL = JournalSettings(segment_bytes_max=1_200, checkpoint_records=10)


def read(path: Path, *, must_end: bool = True) -> list[Record]:
    with JournalReader(path, must_end=must_end) as reader:
        return list(reader)


def read_into(records: list[Record], path: Path) -> None:
    with JournalReader(path) as reader:
        for record in reader:
            records.append(record)


@pytest.mark.parametrize("journal_settings", [JournalSettings(), SMALL, JournalSettings(sync=Sync.BATCH)])
def test_every_record_comes_back(tmp_path: Path, journal_settings: JournalSettings) -> None:
    write(tmp_path / "journal", RECORDS * 7, settings=journal_settings)
    with JournalReader(tmp_path / "journal") as reader:
        assert reader.header == HEADER
        assert list(reader) == RECORDS * 7
        assert reader.is_ended
        assert reader.headers == [(0, HEADER)]


def test_a_full_batch_leaves_by_itself(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal", HEADER)
    for _ in range(3_000):
        writer.append(RECORDS[1])
        writer.flush_if_full()
    assert writer.records_written == 2_048
    writer.close()
    assert read(tmp_path / "journal") == [RECORDS[1]] * 3_000


@pytest.mark.parametrize("at", [1 << 70, "\ud800", object()])
def test_a_record_that_cannot_be_written_stops_the_writer(tmp_path: Path, at: Any) -> None:
    writer = JournalWriter(tmp_path / "journal", HEADER)
    writer.append(RECORDS[0])
    writer.flush()
    for _ in range(1_500):
        writer.append(RECORDS[1])
    writer.append(SetTimer(1, 1, at))
    for use in (writer.flush, writer.flush, writer.close):
        with pytest.raises(StorageError, match="a record cannot be written"):
            use()
    writer.abandon()
    assert read(tmp_path / "journal", must_end=False) == RECORDS[:1]


def test_the_file_is_laid_out_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS, settings=JournalSettings(segment_bytes_max=1_100))
    assert sorted(file.name for file in path.iterdir()) == ["000001.tdj", "000002.tdj", LOCK_FILE]
    shape = [
        [(frame.kind.name, frame.number, frame.records, frame.synced, len(frame.payload)) for frame in frames_in(data)]
        for _number, data in sorted(segments_in(path).items())
    ]
    header_bytes = [shape[0][0][4], shape[1][0][4]]
    assert shape == [
        [
            ("HEADER", 1, 0, 0, header_bytes[0]),
            ("RECORDS", 2, 0, 0, 90),
            ("RECORDS", 3, 3, 0, 127),
            ("RECORDS", 4, 6, 0, 57),
            ("SEGMENT_END", 5, 9, 0, 72),
        ],
        [("HEADER", 6, 9, 0, header_bytes[1]), ("RECORDS", 7, 9, 0, 43), ("END", 8, 11, 0, 72)],
    ]
    payloads = [frames_in(data)[0].payload for _number, data in sorted(segments_in(path).items())]
    first, second = (msgspec.msgpack.decode(payload, type=SegmentHeader) for payload in payloads)
    assert (first.segment, second.segment, first.token, second.token) == (1, 2, 1, 1)
    assert first.journal == second.journal == HEADER
    assert second.before == frames_in(segments_in(path)[1])[-1].hash


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_byte_and_any_cut_is_found_and_what_comes_before_is_kept(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal"
    if not path.exists():
        write(tmp_path / "whole", RECORDS * 4, settings=SMALL)
    segments = segments_in(tmp_path / "whole")
    number = data.draw(st.sampled_from(sorted(segments)), "segment")
    whole = segments[number]
    place = data.draw(st.integers(0, len(whole) - 1), "place")
    if data.draw(st.booleans(), "cut"):
        damaged = whole[:place]
    else:
        flip = data.draw(st.integers(1, 255), "flip")
        damaged = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    put_segments(path, {**segments, number: damaged})
    found: list[Record] = []
    with pytest.raises(JournalDamage) as caught:
        read_into(found, path)
    assert found == (RECORDS * 4)[: len(found)]
    assert caught.value.records == len(found)
    assert caught.value.offset <= place


def test_a_journal_whose_writer_died_is_read_by_recovery(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    whole = segments_in(path)[1]
    frames = frames_in(whole)
    put_segments(path, {1: whole[: frames[-1].offset]})
    assert read(path, must_end=False) == RECORDS
    with pytest.raises(JournalDamage, match=f"after {len(RECORDS)} good records: the end is missing"):
        read(path)
    put_segments(path, {1: whole[: frames[-2].end - 1]})
    with JournalReader(path, must_end=False) as reader:
        assert list(reader) == RECORDS[:9]
        assert (reader.is_ended, reader.unfinished_bytes) == (False, len(frames[-2].whole) - 1)
    put_segments(path, {1: whole + b"x"})
    with pytest.raises(JournalDamage, match="file ends inside a frame's head"):
        read(path)


def test_a_last_segment_whose_beginning_never_arrived_is_unfinished_for_a_restart(tmp_path: Path) -> None:
    """A power cut may leave a hole where its first sector is."""
    path = tmp_path / "journal"
    write(path, RECORDS * 6, settings=SMALL)
    segments = segments_in(path)
    last = max(segments)
    before = read_before(path, segments, last)
    put_segments(path, {**segments, last: bytes(len(segments[last]))})
    reader = TailReader(path)
    assert (list(reader), reader.unfinished_bytes) == (before, len(segments[last]))
    put_segments(path, {**segments, last: b"x" * len(segments[last])})
    with pytest.raises(JournalDamage, match="no journal of this version"):
        list(TailReader(path))
    put_segments(path, {**segments, 2: bytes(len(segments[2]))})
    with pytest.raises(JournalDamage, match="no journal of this version"):
        list(TailReader(path))


def read_before(path: Path, segments: dict[int, bytes], last: int) -> list[Record]:
    put_segments(path, {number: data for number, data in segments.items() if number != last})
    return list(TailReader(path))


def test_a_frame_left_out_repeated_or_moved_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    whole = segments_in(path)[1]
    first, second, third, *rest = frames_in(whole)
    for order in ((first, third, *rest), (first, third, second, *rest), (first, second, second, third, *rest)):
        put_segments(path, {1: whole[:12] + b"".join(frame.whole for frame in order)})
        with pytest.raises(JournalDamage, match="does not fit what comes before it"):
            read(path)


def test_a_segment_left_out_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS * 6, settings=SMALL)
    segments = segments_in(path)
    assert len(segments) > 2
    put_segments(path, {number: data for number, data in segments.items() if number != 2})
    with pytest.raises(JournalDamage, match="segment 2 is missing"):
        read(path, must_end=False)
    put_segments(path, {number: data for number, data in segments.items() if number != 1})
    with pytest.raises(JournalDamage, match="segment 1 is missing"):
        read(path, must_end=False)


def test_a_file_of_something_else_and_another_version(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    put_segments(path, {1: b"hello"})
    with pytest.raises(JournalDamage, match=r"byte 0, after 0 good records: this is no journal of tradingd"):
        JournalReader(path)
    put_segments(path, {1: b"TRADINGD\x07\x00\x00\x00"})
    with pytest.raises(JournalDamage, match=rf"journal version 7 is not {VERSION}"):
        JournalReader(path)
    with pytest.raises(DataError, match="there is no journal here"):
        JournalReader(tmp_path / "nowhere")
    with pytest.raises(DataError, match="a journal is a folder"):
        JournalReader(path / "000001.tdj")
    assert find_journal(path) == path


def test_names_of_segments() -> None:
    assert [segment_number(name) for name in ("000001.tdj", "123456.tdj", "1.tdj", "00000x.tdj", "lock", "000001.tdj.bak")] == [
        1,
        123_456,
        None,
        None,
        None,
        None,
    ]
    assert segment_name(12) == "000012.tdj"


# One writer.


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path / "journal", RECORDS)
    with pytest.raises(StorageError, match="cannot be created: there is one already"):
        JournalWriter(tmp_path / "journal", HEADER)


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(path, HEADER, signer=SIGNER)
    code = (
        "from pathlib import Path; import sys\n"
        "from daemon.journal.writer import JournalWriter\n"
        "from tests.daemon.journal_records import HEADER, SIGNER\n"
        "JournalWriter(Path(sys.argv[1]), HEADER, signer=SIGNER, reopen=True)"
    )
    other = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "StorageError" in other.stderr
    assert "another process is writing this journal" in other.stderr
    writer.close()
    again = JournalWriter(path, HEADER, signer=SIGNER, reopen=True)
    assert again.token == 2
    again.close()


def test_a_writer_whose_lock_was_taken_stops(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = JournalWriter(path, HEADER, signer=SIGNER, settings=JournalSettings(sync=Sync.BATCH))
    first.append(RECORDS[0])
    first.flush()
    # Somebody deletes the lock file and starts a second daemon: flock cannot see that, the token can.
    (path / LOCK_FILE).unlink()
    second = JournalWriter(path, HEADER, signer=SIGNER, settings=JournalSettings(sync=Sync.BATCH), reopen=True)
    assert second.token == 2
    first.append(RECORDS[1])
    with pytest.raises(StorageError, match="another writer has taken this journal over"):
        first.flush()
    with pytest.raises(StorageError, match="another writer has taken this journal over"):
        first.append(RECORDS[1])
    first.abandon()


def test_a_lock_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("seven")
    with pytest.raises(StorageError, match="no token"):
        JournalWriter(tmp_path, HEADER)


def test_a_reopened_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    writer = JournalWriter(path, HEADER, signer=SIGNER, reopen=True)
    assert (writer.records_written, writer.cut) == (len(RECORDS), None)
    writer.append(RECORDS[0])
    writer.close()
    assert read(path) == [*RECORDS, RECORDS[0]]
    kinds = [frame.kind for frame in frames_in(segments_in(path)[1])]
    assert kinds[-5:] == [Kind.END, Kind.OPENED, Kind.CHECKPOINT, Kind.RECORDS, Kind.END]
    opened = msgspec.msgpack.decode(frames_in(segments_in(path)[1])[-4].payload, type=Opened)
    assert (opened.token, opened.cut_bytes) == (2, 0)


def test_another_configuration_begins_a_segment(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    other = msgspec.structs.replace(HEADER, config={"run": {"name": "other"}})
    writer = JournalWriter(path, other, signer=SIGNER, reopen=True)
    writer.append(RECORDS[1])
    writer.close()
    assert sorted(segments_in(path)) == [1, 2]
    with JournalReader(path) as reader:
        assert list(reader) == [*RECORDS, RECORDS[1]]
        assert reader.headers == [(0, HEADER), (len(RECORDS), other)]


def test_a_journal_has_one_run_and_one_key(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    with pytest.raises(StorageError, match="a journal has one key"):
        JournalWriter(path, HEADER, signer=OTHER_SIGNER, reopen=True)
    with pytest.raises(StorageError, match="a journal has one key"):
        JournalWriter(path, HEADER, reopen=True)
    other = msgspec.structs.replace(HEADER, run_id="demo-2")
    with pytest.raises(StorageError, match="is the journal of demo-1, not of demo-2"):
        JournalWriter(path, other, signer=SIGNER, reopen=True)
    assert read(path) == RECORDS


def test_segments_end_by_time_too(tmp_path: Path) -> None:
    now = 0
    writer = JournalWriter(
        tmp_path / "journal", HEADER, settings=JournalSettings(segment_ns_max=100), clock=lambda: now, signer=SIGNER
    )
    for now in (0, 50, 99, 100, 150, 250):  # noqa: B007 - the clock reads it
        writer.append(RECORDS[0])
        writer.flush()
    writer.close()
    assert sorted(segments_in(tmp_path / "journal")) == [1, 2, 3]
    assert read(tmp_path / "journal") == [RECORDS[0]] * 6


# Keys.


def test_the_key_is_made_once_for_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "state"))
    assert known_key() is None
    first = open_signer()
    assert open_signer().public_key == first.public_key == known_key() == load_public(tmp_path / "state" / PUBLIC_KEY_FILE)
    assert (tmp_path / "state" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == sorted([KEY_FILE, PUBLIC_KEY_FILE])
    (tmp_path / "state" / KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="others may read or change this key"):
        open_signer()


def test_a_named_key_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "other"))
    made = open_signer().public_key
    named = tmp_path / "named.pem"
    os.rename(tmp_path / "other" / KEY_FILE, named)
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "state"))
    assert open_signer(named).public_key == made
    monkeypatch.setenv("TRADINGD_JOURNAL_KEY", str(named))
    assert (open_signer().public_key, known_key()) == (made, made)
    assert not (tmp_path / "state").exists()
    for text, message in (("nonsense", "is no PEM file"), ("", "is no PEM file")):
        named.write_text(text)
        with pytest.raises(ConfigError, match=message):
            open_signer()
    named.unlink()
    with pytest.raises(ConfigError, match="the key cannot be read"):
        open_signer()


# Anchors.


def test_anchors_are_appended_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "anchors"
    for name in ("a", "b"):
        anchor = AnchorFile(path)
        write(tmp_path / name, RECORDS * 6, settings=SMALL, anchor=anchor, journal_id=name * 32)
        anchor.close()
    with path.open("ab") as file:
        file.write(b'{"journal_id":"cut sho')
    AnchorFile(path).close()
    anchors, damaged, unfinished, heads = read_anchors(path)
    assert (damaged, unfinished, heads) == ([], [len(anchors) + 1], [])
    assert {anchor.journal_id for anchor in anchors} == {"a" * 32, "b" * 32}
    for name in ("a", "b"):
        seals = [
            frame.whole.hex()
            for _number, data in sorted(segments_in(tmp_path / name).items())
            for frame in frames_in(data)
            if frame.kind in (Kind.CHECKPOINT, Kind.SEGMENT_END, Kind.END)
        ]
        assert [anchor.seal for anchor in anchors if anchor.journal_id == name * 32] == seals
    with pytest.raises(StorageError, match="the anchor cannot be written"):
        AnchorFile(tmp_path)
