"""Recovery reads what is there: at every byte that a crash can leave, with snapshots and without, twice like once."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from core.enums import LiquiditySide, OrderStatus, Reason, Side
from core.errors import ConfigError
from core.events import OrderAccepted, OrderCanceled, OrderFilled
from core.restore import capture
from core.trader_state import TraderState
from daemon.config.loader import load_config
from daemon.journal.format import Kind, parse_frame
from daemon.journal.reader import JournalDamage
from daemon.journal.tail import BEGINNING, TailReader
from daemon.trading.recovery import Recovered, recover
from daemon.trading.session import Session
from daemon.trading.snapshot import read_snapshot, snapshots_of
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader, check_state
from tests.daemon.trading.harness import INSTRUMENT, START, load, open_session, quote, remembered


def recovered(folder: Path) -> Recovered:
    state = StateFolder(folder / "state" / "session")
    try:
        return recover(state, partial(build_bare_trader, load(folder)))
    finally:
        state.release()


def trade(session: Session, times: int, first: int = 0) -> None:
    """Orders that are accepted, filled in part, and every third one canceled."""
    for number in range(first, first + times):
        ts = START + 10 * number
        session.process([quote(ts)])
        order = remembered(session).orders[-1]
        order_id = order.client_order_id
        fill = OrderFilled(
            ts + 1, ts + 1, order_id, INSTRUMENT, f"x{number}", Side.BUY, 10_000, 1, 0, LiquiditySide.MAKER, 7, "USD"
        )
        session.process([OrderAccepted(ts, ts, order_id, 10_000, 1)])
        session.process([OrderCanceled(ts + 1, ts + 1, order_id, 1, Reason.REQUESTED)] if number % 3 == 0 else [fill])


def end(session: Session) -> TraderState:
    state = capture(session.trader)
    session.journal.abandon()
    session._folder.release()
    return state


def test_the_fold_of_the_journal_is_the_state_of_the_trader(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 20)
    session.process([quote(START + 500)])
    state = end(session)
    found = recovered(tmp_path)
    assert found.state == state
    assert [order.status for order in found.state.orders][-1] is OrderStatus.SUBMITTED
    assert found.state.fills_booked == 13
    assert recovered(tmp_path) == found, "reading changes nothing"


def test_a_snapshot_saves_reading_what_it_stands_for(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 20)
    session.snapshot()
    trade(session, 5, first=20)
    state = end(session)
    found = recovered(tmp_path)
    assert found.state == state
    assert found.snapshot_records > 50
    assert found.records_read == 5 * 4


def test_a_damaged_snapshot_is_passed_over(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 5)
    session.snapshot()
    trade(session, 5, first=5)
    session.snapshot()
    state = end(session)
    newest, older = snapshots_of(session.journal.path.parent)
    data = bytearray(newest.read_bytes())
    data[60] ^= 1
    newest.write_bytes(data)
    assert read_snapshot(newest) is None
    found = recovered(tmp_path)
    assert (found.state, found.snapshot_records) == (state, int(older.stem.removeprefix("snapshot-")))
    older.unlink()
    assert (recovered(tmp_path).state, recovered(tmp_path).snapshot_records) == (state, 0)


def test_a_snapshot_of_another_journal_is_passed_over(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 5)
    session.snapshot()
    end(session)
    (stray,) = snapshots_of(session.journal.path.parent)
    other = open_session(tmp_path, run_number=2)
    trade(other, 2)
    state = end(other)
    shutil.copy(stray, other.journal.path.parent / stray.name)
    assert recovered(tmp_path).state == state


def test_recovery_at_every_byte_is_that_of_the_frames_before(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 4)
    end(session)
    segment = session.journal.path / "000001.tdj"
    whole = segment.read_bytes()
    ends, offset = [], 12
    while offset < len(whole):
        frame = parse_frame(whole, offset)
        assert not isinstance(frame, str)
        offset = frame.end
        ends.append((offset, frame.kind))
    states: dict[int, Recovered] = {}
    folder, make_trader = StateFolder(tmp_path / "state" / "session"), partial(build_bare_trader, load(tmp_path))
    for cut in range(len(whole), 0, -1):
        segment.write_bytes(whole[:cut])
        complete = max((end for end, _ in ends if end <= cut), default=0)
        found = recover(folder, make_trader)
        if complete not in states:
            states[complete] = found
        assert found == states[complete], f"cut at byte {cut} of {len(whole)}"
    folder.release()
    with_records = [end for end, kind in ends if kind is Kind.RECORDS]
    # Before the first record the run never began.
    assert all((found.previous_run == 0) is (at < with_records[0]) for at, found in states.items())
    assert len({str(found.state) for found in states.values()}) > 8


def test_more_than_an_unfinished_end_is_refused(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 6)
    end(session)
    segment = session.journal.path / "000001.tdj"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalDamage):
        recovered(tmp_path)


def test_the_tail_goes_on_through_segments(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.journal.settings = type(session.journal.settings)(sync=session.journal.settings.sync, segment_bytes_max=2_000)
    trade(session, 3)
    session.snapshot()
    place = session.journal.place
    trade(session, 20, first=3)
    state = end(session)
    everything = list(TailReader(session.journal.path, BEGINNING))
    assert list(TailReader(session.journal.path, place)) == everything[place.records :]
    assert place.segment < session.journal.place.segment
    assert recovered(tmp_path).state == state


def test_an_instrument_that_the_account_has_traded_must_stay_configured(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    trade(session, 2)
    state = end(session)
    text = (tmp_path / "session.toml").read_text().replace("ACME.SIM", "OTHER.SIM")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "session.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"has traded ACME\.SIM"):
        check_state(load_config(tmp_path / "other" / "session.toml"), state)
