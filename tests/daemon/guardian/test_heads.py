"""The guardian's heads against a journal: every cut and every rewrite of the tail shows, and a power cut is not taken for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.audit.anchors import AnchorCheck
from daemon.audit.findings import Report
from daemon.audit.verify import verify_segments
from daemon.guardian.heads import WAITING_MAX, Heads
from daemon.journal.anchor import Anchors, Head, read_anchors
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from daemon.trading.listener import Beat
from tests.daemon.guardian.test_watch import beat
from tests.daemon.journal_records import HEADER, RECORDS, SIGNER, segments_in

JOURNAL_ID = "5" * 32


def journal(folder: Path, count: int, *, changed_from: int | None = None, is_ended: bool = False) -> tuple[bytes, list[Head]]:
    """A journal of a live session, a frame for each record, and a head after each; durable up to the last even one."""
    writer = JournalWriter(folder, HEADER, settings=JournalSettings(sync=Sync.BEFORE_SEND), signer=SIGNER, journal_id=JOURNAL_ID)
    heads = []
    for number in range(count):
        is_changed = changed_from is not None and number >= changed_from
        writer.append(RECORDS[(number + is_changed) % len(RECORDS)])
        writer.flush()
        if number % 2:
            writer.make_durable()
        heads.append(
            Head(
                head=writer.place.hash.hex(),
                journal_id=JOURNAL_ID,
                run_id="demo-1",
                records=writer.place.records,
                records_durable=writer.records_durable,
                ts=number,
            )
        )
    if is_ended:
        writer.close()
    else:
        # As a crash leaves it.
        writer.abandon()
    return segments_in(folder)[1], heads


def check(data: bytes, heads: list[Head]) -> Report:
    return verify_segments([(1, data)], key=SIGNER.public_key, anchors=AnchorCheck(Anchors([], [], [], heads), "heads"))


def found(report: Report) -> list[tuple[str, int | None]]:
    return [(finding.damage.value, finding.record) for finding in report.findings]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[Head]]:
    """The bytes of a journal of 20 records after each record, and its heads."""
    folder = tmp_path_factory.mktemp("heads")
    data, heads = journal(folder / "whole", 20)
    lengths = [len(journal(folder / str(count), count)[0]) for count in range(21)]
    return [data[:length] for length in lengths], heads


def test_an_untouched_journal_agrees_with_every_head(made: tuple[list[bytes], list[Head]], tmp_path: Path) -> None:
    data, heads = made
    report = check(data[20], heads)
    assert (found(report), report.heads, report.notes) == ([], 20, [])
    ended, ended_heads = journal(tmp_path / "ended", 20, is_ended=True)
    assert (found(check(ended, ended_heads)), check(ended, ended_heads).verdict.value) == ([], "whole")


@given(kept=st.integers(0, 20), seen=st.integers(1, 20))
def test_a_cut_shows_where_the_disk_had_more(made: tuple[list[bytes], list[Head]], kept: int, seen: int) -> None:
    data, heads = made
    report = check(data[kept], heads[:seen])
    durable = heads[seen - 1].records_durable
    assert durable == seen - seen % 2
    if kept < durable:
        assert found(report) == [("cut", kept)]
    elif kept < seen:
        # The last record had not been on the disk: a power cut may have taken it.
        assert found(report) == []
        assert "a power cut loses them" in report.notes[-1]
    else:
        assert (found(report), report.heads, report.notes) == ([], seen, [])


@given(changed_from=st.integers(0, 19), seen=st.integers(1, 20))
def test_a_rewrite_with_the_very_key_shows_from_the_next_head_on(
    made: tuple[list[bytes], list[Head]], tmp_path_factory: pytest.TempPathFactory, changed_from: int, seen: int
) -> None:
    _data, heads = made
    forged, _ = journal(tmp_path_factory.mktemp("forged") / "journal", 20, changed_from=changed_from)
    after = [head for head in heads if head.records >= seen]
    first = max(seen, changed_from + 1)
    assert found(check(forged, after)) == [("rewritten", first)]


def test_heads_of_other_journals_say_nothing_and_unknown_ones_are_named(made: tuple[list[bytes], list[Head]]) -> None:
    data, heads = made
    other = Head(head="00", journal_id="6" * 32, run_id="demo-1", records=5, records_durable=5, ts=0)
    assert found(check(data[20], [*heads, other])) == []
    assert found(check(data[20], [other])) == [("anchor", None)]


# The file.


def kept_by(heads: Heads, tell: Callable[[], None]) -> None:
    async def main() -> None:
        tell()
        await heads.drain(30.0)

    anyio.run(main)


def beats(count: int) -> list[Beat]:
    return [beat(number, head=f"{number:064x}", records_durable=number) for number in range(1, count + 1)]


def test_one_head_is_kept_in_an_interval_and_the_first_of_a_journal_always(tmp_path: Path) -> None:
    heads = Heads(tmp_path / "new", 10.0, lambda text: None)

    def tell() -> None:
        for number, each in enumerate(beats(41)):
            heads.beat(each, 100.0 + number / 2)
        heads.beat(beat(1, journal_id="b", run_id="paper-2"), 121.0)

    kept_by(heads, tell)
    read = read_anchors(heads.path)
    assert [(head.journal_id, head.records) for head in read.heads] == [("a", 10), ("a", 210), ("a", 410), ("b", 10)]
    assert (read.damaged, read.unfinished, read.anchors) == ([], [], [])


def test_a_line_that_a_crash_cut_short_is_no_damage(tmp_path: Path) -> None:
    heads = Heads(tmp_path, 0.0, lambda text: None)
    kept_by(heads, lambda: [heads.beat(each, float(place)) for place, each in enumerate(beats(3))] and None)
    whole = heads.path.read_bytes()
    end_of_second = whole.index(b"\n", whole.index(b"\n") + 1)
    for size in range(end_of_second + 2, len(whole) - 1):
        heads.path.write_bytes(whole[:size])
        read = read_anchors(heads.path)
        assert (len(read.heads), read.damaged, len(read.unfinished)) == (2, [], 1)


def test_a_disk_that_refuses_is_said_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "taken").write_text("")
    heads = Heads(tmp_path / "taken", 0.0, said.append)
    kept_by(heads, lambda: heads.beat(beats(1)[0], 1.0))
    assert (len(said), heads.kept) == (1, 0)
    (tmp_path / "taken").unlink()
    kept_by(heads, lambda: heads.beat(beats(2)[1], 2.0))
    assert (len(said), heads.kept) == (1, 1)


def test_what_waits_for_a_disk_that_hangs_is_bounded(tmp_path: Path) -> None:
    said: list[str] = []
    heads = Heads(tmp_path, 0.0, said.append)

    def tell() -> None:
        for number, each in enumerate(beats(WAITING_MAX + 3)):
            heads.beat(each, float(number))

    kept_by(heads, tell)
    assert (len(said), heads.kept) == (3, WAITING_MAX)
