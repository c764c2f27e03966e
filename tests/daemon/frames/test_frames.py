"""Recorded frames: what is written can be read, however a crash leaves it; a disk that fails stops nothing but the recording."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError, StorageError
from core.events import AnyEvent, Book, GapDetected, OrderEvent, OrderFilled, OrderOutcomeUnknown, Quote, Trade
from core.strategy import Subscription
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT
from daemon.exit_codes import ExitCode
from daemon.frames import writer
from daemon.frames.format import COUNT, Frame, Kind, pack, preamble, unpack
from daemon.frames.reader import read_frames, replay_frames
from daemon.frames.writer import FrameRecorder
from daemon.journal.tail import TailReader
from tests.daemon.session import tradingd, tradingd_process
from tests.daemon.venue_sim.processes import config_with_venue, daemon, end, run_folder, venue, wait_for_fills, wire

TOLD: list[str] = []


def recorder(folder: Path, bytes_max: int = 1 << 30) -> FrameRecorder:
    TOLD.clear()
    return FrameRecorder(folder / "frames", bytes_max=bytes_max, on_trouble=TOLD.append)


def test_frames_come_back_in_order_through_segments_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES_MAX", 200)
    made = recorder(tmp_path)
    first, second = made.of("ALPHA"), made.of("BETA")
    expected = []

    async def record() -> None:
        for number in range(50):
            hear, name = ((first, "ALPHA"), (second, "BETA"))[number % 2]
            what, kind = ((OPENED, Kind.OPENED), (RECEIVED, Kind.RECEIVED), (SENT, Kind.SENT), (CLOSED, Kind.CLOSED))[number % 4]
            data = bytes([number]) * number
            hear(number, what, data)
            expected.append(Frame(number, name, kind, data))
            await made._write_waiting()
        await made.close()

    anyio.run(record)
    assert list(read_frames(made.folder)) == expected
    assert len(list(made.folder.iterdir())) > 5
    assert (made.frames, made.lost, TOLD) == (50, 0, [])


FRAMES = b"".join((preamble(), pack(0, 0, Kind.NAMED, b"A"), *(pack(n, 0, Kind.RECEIVED, b"x" * n) for n in range(20))))


@given(st.integers(0, len(FRAMES)))
def test_a_recording_that_ends_anywhere_is_read_up_to_its_last_whole_frame(size: int) -> None:
    found = list(unpack(FRAMES[:size], "f", is_last=True))
    assert found == [Frame(n, "A", Kind.RECEIVED, b"x" * n) for n in range(len(found))]


@settings(max_examples=200)
@given(st.integers(0, len(FRAMES) - 1), st.integers(1, 255))
def test_a_byte_that_was_changed_is_found(place: int, change: int) -> None:
    damaged = bytearray(FRAMES)
    damaged[place] ^= change
    with pytest.raises(DataError):
        list(unpack(bytes(damaged), "f", is_last=False))


def test_a_segment_that_is_missing_or_cut_in_the_middle_of_a_recording_is_found(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number:06d}.tdf").write_bytes(FRAMES)
    assert len(list(read_frames(tmp_path))) == 40
    (tmp_path / "000001.tdf").write_bytes(FRAMES[:-3])
    with pytest.raises(DataError):
        list(read_frames(tmp_path))
    (tmp_path / "000001.tdf").unlink()
    with pytest.raises(DataError, match="segment 000001 is missing"):
        list(read_frames(tmp_path))
    with pytest.raises(DataError, match="no recorded frames"):
        list(read_frames(tmp_path / "nowhere"))


def test_a_slow_disk_loses_frames_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING_BYTES_MAX", 100)
    made = recorder(tmp_path)
    hear = made.of("A")

    async def record() -> None:
        for number in range(10):
            hear(number, RECEIVED, b"x" * 30)
        await made._write_waiting()
        hear(10, RECEIVED, b"y")
        await made.close()

    anyio.run(record)
    found = list(read_frames(made.folder))
    taken = sum(frame.kind is Kind.RECEIVED for frame in found) - 1
    assert found[-2] == Frame(10, "A", Kind.LOST, COUNT.pack(10 - taken))
    assert (made.lost, len(TOLD)) == (10 - taken, 1)
    assert made.lost > 0


@pytest.mark.parametrize("bytes_max", [1 << 30, 10])
def test_a_disk_that_refuses_or_a_recording_that_is_full_ends_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_max: int
) -> None:
    made = recorder(tmp_path, bytes_max)
    hear = made.of("A")

    def refuse(_file: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    async def record() -> None:
        hear(1, RECEIVED, b"some bytes")
        if bytes_max > 10:
            monkeypatch.setattr(writer.os, "write", refuse)
        await made._write_waiting()
        monkeypatch.undo()
        hear(2, RECEIVED, b"more")
        await made.close()

    anyio.run(record)
    assert len(TOLD) == 1
    assert ("No space left" in TOLD[0]) is (bytes_max > 10)


def test_a_folder_that_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "frames")
    with pytest.raises(StorageError):
        recorder(tmp_path)


# Against a real run.

OF_A_VENUE = (OrderEvent, Quote, Book, Trade, GapDetected)


def of_the_venue(events: list[AnyEvent]) -> list[AnyEvent]:
    """What came from the venue's stream, without our stamps. What we said ourselves of a lost connection has them both."""
    kept = [event for event in events if isinstance(event, OF_A_VENUE)]
    return [
        msgspec.structs.replace(
            event, ts_init=0, ts_event=0 if isinstance(event, GapDetected | OrderOutcomeUnknown) else event.ts_event
        )
        for event in kept
    ]


def test_frames_of_a_run_decode_to_the_events_that_its_journal_has(tmp_path: Path) -> None:
    config_with_venue(tmp_path, through_proxy=True)
    with venue(tmp_path) as place, wire(tmp_path) as between, daemon(tmp_path) as trading:
        wait_for_fills(tmp_path, 3)
        between.cut()
        wait_for_fills(tmp_path, 6)
        assert end(trading) == ExitCode.OK
        end(place)
    folder = run_folder(tmp_path, 1)
    frames = list(read_frames(folder / "frames"))
    assert [frame.kind for frame in frames].count(Kind.OPENED) >= 2
    wanted = [Subscription(instrument_id="ACME.SIM", quotes="size")]
    decoded = of_the_venue(list(replay_frames(frames, "SIM", ["ACME.SIM"], wanted)))
    journal = [record for record in TailReader(folder / "journal") if isinstance(record, OF_A_VENUE)]
    here = of_the_venue(journal)
    orders = [event for event in decoded if isinstance(event, OrderEvent)]
    assert len(orders) > 10
    # A login's state and commands that did not leave make records of their own between those of the stream.
    stream = iter(here)
    assert [event for event in orders if event not in stream] == []
    # Of the market the strategy wanted less than everything, and got nothing else.
    stream = iter([event for event in decoded if isinstance(event, Quote)])
    quotes = [event for event in here if isinstance(event, Quote)]
    assert quotes
    assert [event for event in quotes if event not in stream] == []
    fills = {(event.client_order_id, event.execution_id) for event in orders if isinstance(event, OrderFilled)}
    booked = {(event.client_order_id, event.execution_id) for event in here if isinstance(event, OrderFilled)}
    assert fills <= booked


def test_record_keeps_the_frames_of_a_venue_beside_whoever_trades_there(tmp_path: Path) -> None:
    config_with_venue(tmp_path)
    with venue(tmp_path) as place, daemon(tmp_path) as trading:
        wait_for_fills(tmp_path, 1)
        result = tradingd_process("record", "session.toml", "--duration", "3s", "--out", "kept", cwd=tmp_path)
        assert result.returncode == 0, result
        assert "frames" in result.stderr
        assert tradingd("status", cwd=tmp_path).returncode == 0
        again = tradingd_process("record", "session.toml", "--duration", "1s", "--out", "kept", cwd=tmp_path)
        assert again.returncode == ExitCode.STORAGE
        assert end(trading) == ExitCode.OK
        end(place)
    wanted = [Subscription(instrument_id="ACME.SIM", quotes="size", book_levels=10, trades=True)]
    events = list(replay_frames(read_frames(tmp_path / "kept"), "SIM", ["ACME.SIM"], wanted))
    assert {Quote, Book} <= {type(event) for event in events}


def test_record_without_a_venue_leaves_nothing_behind(tmp_path: Path) -> None:
    config_with_venue(tmp_path)
    result = tradingd("record", tmp_path / "session.toml", "--out", tmp_path / "kept", cwd=tmp_path)
    assert (result.returncode, "no venue answers" in result.stderr) == (ExitCode.NOT_RUNNING, True)
    assert not (tmp_path / "kept").exists()
