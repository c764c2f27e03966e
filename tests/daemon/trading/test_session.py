"""The synchronous middle: what is durable before what leaves, and what happens when a strategy or the disk fails."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import pytest

from core.commands import CancelAll, SubmitOrder
from core.enums import OrderStatus, TradingState
from core.errors import StorageError, StrategyError
from core.events import ControlRequested, OrderAccepted, TradingResumed, TradingStateSet
from daemon.trading.recovery import recover
from daemon.trading.session import Session
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.daemon.trading.harness import START, Buyer, HandClock, load, open_session, quote, remembered


def end(session: Session) -> None:
    session.journal.abandon()
    session._folder.release()


def test_a_new_order_is_on_the_disk_before_it_leaves(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.process([quote(), quote(START + 1)])
    assert len(remembered(session).orders) == 2
    assert remembered(session).durable_at_send == [True, True]
    end(session)


def test_a_batch_is_one_write_and_everything_leaves_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(tmp_path)
    written: list[int] = []
    monkeypatch.setattr(session.journal._files, "write", _counting(session, written), raising=False)
    session.process([quote(START + ts) for ts in range(10)])
    assert len(written) == 1
    assert written == [0], "nothing had left when it was written"
    end(session)


def _counting(session: Session, written: list[int]):  # type: ignore[no-untyped-def] # mirrors a disk call of its own type
    before = session.journal._files.write

    def write(descriptor: int, data: bytes) -> int:
        written.append(len(remembered(session).sent))
        return before(descriptor, data)

    return write


def test_a_disk_that_refuses_lets_no_order_out_and_cancels_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(tmp_path)
    session.process([quote()])
    before = list(remembered(session).sent)

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(session.journal._files, "sync", refuse, raising=False)
    with pytest.raises(StorageError, match="Input/output error"):
        session.process([quote(START + 1)])
    after = remembered(session).sent[len(before) :]
    assert [type(command) for command in after] == [CancelAll]
    assert session.trader.risk.trading_state is TradingState.HALTED
    end(session)


def test_a_strategy_that_raises_halts_the_account(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.process([quote()])
    order = remembered(session).orders[0]
    strategy = session.trader.contexts[-1].strategy
    assert isinstance(strategy, Buyer)
    strategy.fails_at = 9_990
    session.process([quote(START + 1, 9_990), OrderAccepted(START + 2, START + 2, order.client_order_id, 10_000, 1)])
    assert isinstance(session.failure, StrategyError)
    # The order of the failed step never left; everything that was open is being canceled; what came behind it was taken.
    assert remembered(session).orders == [order]
    assert isinstance(remembered(session).sent[-1], CancelAll)
    found = session.trader.orders.get(order.client_order_id)
    assert found is not None
    assert (found.status, found.accepted) == (OrderStatus.PENDING_CANCEL, True)
    assert session._folder.read_latch().state is TradingState.HALTED
    end(session)


def test_a_halt_is_latched_and_only_a_resume_loosens_it(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    folder = session._folder

    def set_to(state: TradingState) -> None:
        session.control("test", 0, "why", lambda now: [TradingStateSet(now, now, state, "why")])

    set_to(TradingState.REDUCING)
    assert folder.read_latch().state is TradingState.REDUCING
    set_to(TradingState.HALTED)
    set_to(TradingState.ACTIVE)
    assert (folder.read_latch().state, folder.read_latch().reason) == (TradingState.HALTED, "why")
    session.process([quote()])
    assert remembered(session).orders == []
    end(session)
    again = StateFolder(folder.path)
    assert recover(again, partial(build_bare_trader, load(tmp_path))).state.trading_state is TradingState.HALTED
    again.release()


def test_a_resume_needs_a_reason_of_its_own(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    session.control("halt", 0, "x", lambda now: [TradingStateSet(now, now, TradingState.HALTED, "x")])
    session.control("resume", 0, "seen to", lambda now: [TradingResumed(now, now, "seen to")])
    assert session._folder.read_latch().state is TradingState.ACTIVE
    session.process([quote()])
    assert len(remembered(session).orders) == 1
    end(session)


def test_an_operator_overtakes_what_waits_and_time_does_not_go_back(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    clock = session.clock
    assert isinstance(clock, HandClock)
    clock.ts = START + 10
    session.inbox.offer(quote())
    clock.ts = START + 50
    session.control("halt", 1_000, "now", lambda now: [TradingStateSet(now, now, TradingState.HALTED, "now")])
    assert session.trader.now == START + 10
    assert session.drain_inbox(10) == 1
    assert not [command for command in remembered(session).sent if isinstance(command, SubmitOrder)]
    end(session)


def test_who_asked_and_why_is_in_the_journal(tmp_path: Path) -> None:
    from daemon.journal.tail import TailReader

    session = open_session(tmp_path)
    session.control("halt", 1_000, "look at it", lambda now: [TradingStateSet(now, now, TradingState.HALTED, "look at it")])
    end(session)
    records = [record for record in TailReader(session.journal.path) if isinstance(record, ControlRequested)]
    assert records == [ControlRequested(START, START, "halt", 1_000, "look at it")]


def test_a_second_daemon_for_one_account_is_refused(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    with pytest.raises(StorageError, match="another daemon trades this account"):
        StateFolder(session._folder.path)
    end(session)


def test_a_damaged_latch_is_refused_because_it_may_have_said_halted(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    (session._folder.path / "trading_state.json").write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        session._folder.read_latch()
    end(session)


def test_what_the_disk_held_up_for_too_long_does_not_leave_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(tmp_path)
    clock = session.clock
    assert isinstance(clock, HandClock)
    before = session.journal._files.sync

    def slow(descriptor: int) -> None:
        clock.ts += 2_000_000_001
        before(descriptor)

    monkeypatch.setattr(session.journal._files, "sync", slow, raising=False)
    session.process([quote()])
    assert remembered(session).sent == []
    (order,) = session.trader.orders.orders.values()
    assert order.status is OrderStatus.REJECTED
    monkeypatch.undo()
    session.process([quote(clock.ts)])
    assert len(remembered(session).orders) == 1
    end(session)
