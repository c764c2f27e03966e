"""A journal that another writer continued replays as a whole; one that its anchor knows more of is not gone on from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from core.errors import StorageError
from core.events import StateRestored
from daemon.exit_codes import ExitCode
from daemon.journal.format import JournalHeader, Record, parse_frame
from daemon.journal.reader import JournalReader
from daemon.journal.tail import TailReader
from daemon.journal.writer import JournalWriter
from daemon.replay import replay
from tests.daemon.trading.daemon_harness import Running, play
from tests.daemon.trading.scripted_venue import BUY_ONE, NOTHING

Patch = pytest.MonkeyPatch


async def one_order(run: Running) -> None:
    count = len(run.trader.orders.orders)
    run.venue.tell(BUY_ONE)
    await run.until(lambda: len(run.trader.orders.orders) > count)
    run.venue.tell(NOTHING)


def recorded(folder: Path, monkeypatch: Patch, *settings: str) -> tuple[JournalHeader, list[Record]]:
    run = play(folder, monkeypatch, one_order, *settings)
    assert run.end is ExitCode.OK, run.end
    path = run.daemon.session.journal.path
    with JournalReader(path) as reader:
        return reader.header, list(TailReader(path))


def continued(folder: Path, parts: list[tuple[JournalHeader, list[Record]]]) -> Path:
    """One journal, each part written by a writer of its own under its own configuration."""
    for number, (header, records) in enumerate(parts):
        named = msgspec.structs.replace(header, run_id=parts[0][0].run_id)
        writer = JournalWriter(folder / "journal", named, reopen=number > 0)
        for record in records:
            writer.append(record)
        writer.close()
    return folder / "journal"


def test_a_journal_that_was_continued_replays_under_each_configuration(tmp_path: Path, monkeypatch: Patch) -> None:
    first = recorded(tmp_path, monkeypatch)
    second = recorded(tmp_path, monkeypatch, "risk.order_qty_max=1")
    assert first[0].config != second[0].config
    assert isinstance(second[1][0], StateRestored)
    found = replay(continued(tmp_path / "whole", [first, second, second]), None)
    assert (found.is_identical, found.difference, found.ending) == (True, None, "")
    alone = [replay(continued(tmp_path / name, [part]), None).commands for name, part in (("a", first), ("b", second))]
    assert found.commands == alone[0] + 2 * alone[1]


def test_a_continuation_without_a_state_is_where_the_replay_stops(tmp_path: Path, monkeypatch: Patch) -> None:
    first = recorded(tmp_path, monkeypatch)
    header, records = recorded(tmp_path, monkeypatch, "risk.order_qty_max=1")
    found = replay(continued(tmp_path / "whole", [first, (header, records[1:])]), None)
    assert "no state follows" in found.ending
    assert found.difference is None


def test_a_start_refuses_a_journal_of_which_the_anchor_knows_more(tmp_path: Path, monkeypatch: Patch) -> None:
    anchor = f'audit.anchor="{tmp_path}/anchors"'
    run = play(tmp_path, monkeypatch, one_order, anchor)
    assert run.end is ExitCode.OK, run.end
    segment = run.daemon.session.journal.path / "000001.tdj"
    whole = segment.read_bytes()
    for snapshot in run.daemon.session.journal.path.parent.glob("snapshot-*"):
        snapshot.unlink()

    async def nothing(run: Running) -> None:
        await run.ended()

    # Cut at a frame: by itself that looks like a journal whose writer died.
    offset, ends = 12, []
    while offset < len(whole):
        frame = parse_frame(whole, offset)
        assert not isinstance(frame, str)
        offset = frame.end
        ends.append(offset)
    segment.write_bytes(whole[: ends[-3]])
    with pytest.raises(BaseExceptionGroup) as found:
        play(tmp_path, monkeypatch, nothing, anchor, must_trade=False)
    assert found.group_contains(StorageError, match="its end was cut off")
    segment.write_bytes(whole)
    assert play(tmp_path, monkeypatch, one_order, anchor).end is ExitCode.OK
