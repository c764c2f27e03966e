"""The journal keeps every record, and every cut, flip, repeat or move of bytes is found and placed."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.commands import CancelAll, CancelOrder, SetTimer, SubmitOrder
from core.enums import InstrumentClass, LiquiditySide, OrderType, Reason, Side, TradingState
from core.errors import StorageError
from core.events import Book, OrderDenied, OrderFilled, OrderRejected, Quote, Started, TradingStateSet
from core.instruments import Instrument
from daemon.journal.format import JournalHeader, Record
from daemon.journal.reader import JournalDamage, JournalReader
from daemon.journal.writer import JournalWriter

INSTRUMENT = Instrument(
    instrument_id="ACME.SIM",
    instrument_class=InstrumentClass.EQUITY,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)
HEADER = JournalHeader(run_id="demo-1", run_number=1, mode="backtest", config={"run": {"name": "demo"}}, instruments=[INSTRUMENT])
RECORDS: list[Record] = [
    Started(1, 1, "demo-1"),
    Quote(2, 3, "ACME.SIM", 9_999, 5, 10_001, 7),
    SubmitOrder(3, 1 << 32 | 1, "maker", "ACME.SIM", Side.BUY, OrderType.LIMIT, 5, 9_999, post_only=True),
    OrderFilled(4, 5, 1 << 32 | 1, "ACME.SIM", "9", Side.BUY, 9_999, 5, 0, LiquiditySide.MAKER, -10, "USD"),
    OrderRejected(5, 6, 1 << 32 | 2, Reason.POST_ONLY, "would cross"),
    OrderDenied(6, 6, 1 << 32 | 3, "maker", "ACME.SIM", "order_qty_max", 9, 5),
    Book(6, 7, "ACME.SIM", ((9_999, 5),), ()),
    SetTimer(7, 1, 50),
    CancelOrder(8, 1 << 32 | 1),
    TradingStateSet(9, 9, TradingState.HALTED, "operator"),
    CancelAll(9, None),
]


def write(path: Path, records: list[Record], *, frame: int = 3) -> None:
    writer = JournalWriter(path, HEADER)
    for index, record in enumerate(records):
        writer.append(record)
        if index % frame == frame - 1:
            writer.flush()
    writer.close()


def test_every_record_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    with JournalReader(path) as reader:
        assert reader.header == HEADER
        assert list(reader) == RECORDS


def test_a_full_batch_leaves_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(path, HEADER)
    for _ in range(3_000):
        writer.append(RECORDS[1])
        writer.flush_if_full()
    assert writer.records_written == 2_048
    writer.close()
    with JournalReader(path) as reader:
        assert list(reader) == [RECORDS[1]] * 3_000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_byte_and_any_cut_is_found_and_what_comes_before_is_kept(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    write(path, RECORDS)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), "place")
    if data.draw(st.booleans(), "cut"):
        damaged = whole[:place]
    else:
        flip = data.draw(st.integers(1, 255), "flip")
        damaged = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    path.write_bytes(damaged)
    read: list[Record] = []
    with pytest.raises(JournalDamage) as caught:
        read_into(read, path)
    assert read == RECORDS[: len(read)]
    assert caught.value.records == len(read)
    assert caught.value.offset <= place


def read_into(records: list[Record], path: Path) -> None:
    with JournalReader(path) as reader:
        for record in reader:
            records.append(record)


def test_a_journal_whose_writer_died_between_frames_is_read_by_recovery(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[: frame_starts(whole)[-1]])
    with JournalReader(path, must_end=False) as reader:
        assert list(reader) == RECORDS
    with (
        pytest.raises(JournalDamage, match=f"after {len(RECORDS)} good records: the end is missing"),
        JournalReader(path) as reader,
    ):
        list(reader)
    path.write_bytes(whole + b"x")
    with pytest.raises(JournalDamage, match="something follows the end"), JournalReader(path) as reader:
        list(reader)


def frame_starts(whole: bytes) -> list[int]:
    starts = []
    offset = 12
    while offset < len(whole):
        starts.append(offset)
        offset += 8 + int.from_bytes(whole[offset : offset + 4], "little")
    return starts


def test_a_frame_left_out_or_moved_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    whole = path.read_bytes()
    starts = [*frame_starts(whole), len(whole)]
    second = whole[starts[1] : starts[2]]
    third = whole[starts[2] : starts[3]]
    for damaged in (
        whole[: starts[1]] + whole[starts[2] :],
        whole[: starts[1]] + third + second + whole[starts[3] :],
        whole[: starts[2]] + second + whole[starts[2] :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(JournalDamage, match="checksum"), JournalReader(path) as reader:
            list(reader)


def test_a_file_of_something_else_and_another_version(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"hello")
    with pytest.raises(JournalDamage, match=r"byte 0, after 0 good records: this is no journal of tradingd"):
        JournalReader(path)
    path.write_bytes(b"TRADINGD\x07\x00\x00\x00")
    with pytest.raises(JournalDamage, match=r"journal version 7 is not 1"):
        JournalReader(path)


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(path, HEADER)
    writer._file = FullDisk()
    writer.append(RECORDS[0])
    with pytest.raises(StorageError, match=r"journal: the journal cannot be written: No space left on device"):
        writer.flush()
    writer.abandon()


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, RECORDS)
    with pytest.raises(StorageError, match="cannot be created: File exists"):
        JournalWriter(path, HEADER)
