"""What waits for the disk and what does not: by a disk whose every sync a test ends when it likes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderStatus, Reason, Side, TradingState
from core.errors import StorageError
from core.events import CancelAllRequested, OrderAccepted, OrderRejected, Quote, TradingStateSet
from core.strategy import Subscription
from core.trader import Trader
from daemon.trading.out_gate import OutGate
from daemon.trading.session import Session
from tests.daemon.trading.harness import INSTRUMENT, START, HandClock, open_session, quote, remembered


class Disk:
    """Runs a sync when it is told to."""

    def __init__(self) -> None:
        self.waiting: Callable[[], None] | None = None
        self._ended = anyio.Event()

    async def run(self, call: Callable[[], None]) -> None:
        self.waiting = call
        await self._ended.wait()

    async def end_sync(self) -> None:
        """The one under way, if there is one; what follows from it has happened when this returns."""
        await anyio.wait_all_tasks_blocked()
        call, self.waiting = self.waiting, None
        if call is not None:
            call()
            ended, self._ended = self._ended, anyio.Event()
            ended.set()
        await anyio.wait_all_tasks_blocked()


class Changing:
    """Buys one at every quote; cancels its newest order where the bid ends in 1, changes it where it ends in 2."""

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, quotes="size")]

    def on_quote(self, context: Any, quote: Quote) -> None:
        orders = [
            order for order in context.open_orders(INSTRUMENT) if not order.is_pending or order.status is OrderStatus.SUBMITTED
        ]
        if orders and quote.bid_price % 10 == 1:
            context.cancel(orders[-1])
        elif orders and quote.bid_price % 10 == 2:
            context.replace(orders[-1], 2, quote.bid_price - 5)
        else:
            context.submit(INSTRUMENT, Side.BUY, 1, quote.bid_price)


def add_changing(trader: Trader) -> None:
    trader.add_strategy("changing", Changing())


Story = Callable[[Session, Disk], Awaitable[None]]


@contextmanager
def opened(folder: Path, **more: Any) -> Iterator[Session]:
    session = open_session(folder, gate=OutGate(), **more)
    try:
        yield session
    finally:
        session.journal.abandon()
        session._folder.release()


def play(folder: Path, story: Story, **more: Any) -> None:
    async def told() -> None:
        with opened(folder, **more) as session:
            disk = Disk()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.sync_on, disk.run)
                await anyio.wait_all_tasks_blocked()
                try:
                    await story(session, disk)
                finally:
                    # A sync that nobody ends is waited for.
                    with anyio.CancelScope(shield=True):
                        await disk.end_sync()
                tasks.cancel_scope.cancel()

    anyio.run(told)


def ids(session: Session) -> list[int]:
    return [order.client_order_id for order in remembered(session).orders]


def cancel_everything(session: Session) -> None:
    session.apply(lambda now: [CancelAllRequested(now, now, "test")])


def test_new_orders_wait_for_the_disk_and_leave_in_their_order(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        await anyio.wait_all_tasks_blocked()
        session.process([quote(START + 1)])  # behind the sync that is under way
        assert ids(session) == []
        first, second = list(session.trader.orders.orders)
        await disk.end_sync()
        assert ids(session) == [first]
        await disk.end_sync()
        assert ids(session) == [first, second]

    play(tmp_path, story)


def test_a_cancel_of_another_order_overtakes_what_waits(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        await disk.end_sync()
        (resting,) = ids(session)
        session.process([OrderAccepted(START, START, resting, 10_000, 1)])
        session.process([quote(START + 1, 10_000), quote(START + 2, 10_001)])
        sent = remembered(session).sent
        # The newest is the one that waits: its cancel waits behind it. The one that rests is canceled at once.
        assert [type(command) for command in sent] == [SubmitOrder]
        await disk.end_sync()
        assert [type(command) for command in sent] == [SubmitOrder, SubmitOrder, CancelOrder]
        assert sent[2].client_order_id == sent[1].client_order_id
        session.process([OrderAccepted(START + 2, START + 2, sent[1].client_order_id, 10_000, 1)])
        session.process([quote(START + 3, 10_002)])
        assert type(sent[-1]) is ReplaceOrder, "a change of an order that is at the venue does not wait"
        session.process([quote(START + 4, 10_003)])
        assert type(sent[-1]) is ReplaceOrder
        await disk.end_sync()
        assert type(sent[-1]) is SubmitOrder

    play(tmp_path, story, wrap=add_changing)


def test_what_waits_while_everything_is_canceled_never_leaves(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        cancel_everything(session)
        assert [type(command) for command in remembered(session).sent] == [CancelAll]
        (order,) = session.trader.orders.orders.values()
        assert order.status is OrderStatus.REJECTED
        await disk.end_sync()
        assert ids(session) == []
        session.process([quote(START + 1)])
        await disk.end_sync()
        assert len(ids(session)) == 1

    play(tmp_path, story)


def test_a_halt_leaves_nothing_behind_that_could_still_leave(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        session.process([TradingStateSet(START, START, TradingState.HALTED, "test")])
        cancel_everything(session)
        await disk.end_sync()
        assert ids(session) == []

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("scope", "state"), [("", TradingState.REDUCING), ("buyer", TradingState.REDUCING), ("buyer", TradingState.HALTED)]
)
def test_where_trading_became_stricter_meanwhile_it_does_not_leave(tmp_path: Path, scope: str, state: TradingState) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        session.process([TradingStateSet(START, START, state, "test", scope)])
        await disk.end_sync()
        (order,) = session.trader.orders.orders.values()
        assert (remembered(session).sent, order.status) == ([], OrderStatus.REJECTED)

    play(tmp_path, story)


def test_once_it_is_shut_a_sync_that_ends_late_changes_nothing(tmp_path: Path) -> None:
    """After a bug nobody asks the Trader any more."""

    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        await anyio.wait_all_tasks_blocked()
        session.shut()
        events = session.events
        await disk.end_sync()
        assert (remembered(session).sent, session.events, session.storage_failure) == ([], events, None)

    play(tmp_path, story)


def test_an_order_that_was_given_up_meanwhile_does_not_come_to_life(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        (order_id,) = session.trader.orders.orders
        session.process([OrderRejected(START, START, order_id, Reason.UNKNOWN_ORDER)])
        await disk.end_sync()
        assert ids(session) == []

    play(tmp_path, story)


def test_after_a_stall_that_was_too_long_it_is_late(tmp_path: Path) -> None:
    async def story(session: Session, disk: Disk) -> None:
        assert isinstance(session.clock, HandClock)
        session.process([quote()])
        session.clock.ts += 2_000_000_001
        await disk.end_sync()
        (order,) = session.trader.orders.orders.values()
        assert (ids(session), order.status) == ([], OrderStatus.REJECTED)

    play(tmp_path, story)


def test_where_the_disk_refuses_nothing_that_waited_leaves_and_everything_is_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def story(session: Session, disk: Disk) -> None:
        session.process([quote()])
        monkeypatch.setattr(session.journal._files, "sync", refuse, raising=False)
        await disk.end_sync()

    with pytest.raises(BaseExceptionGroup) as caught:
        play(tmp_path, story)
    (error,) = caught.value.exceptions
    assert isinstance(error, StorageError)
    monkeypatch.undo()


def test_closing_waits_for_a_sync_that_is_under_way(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.process([quote()])
        job = session.journal.begin_sync()
        assert job is not None
        thread = threading.Timer(0.05, job.run)
        thread.start()
        session.journal.abandon()
        assert job.error is None, "the file was closed under the sync"
        thread.join()


DEEDS = st.lists(st.sampled_from(["quote", "cancel", "change", "sync", "sync", "accept", "everything", "late"]), max_size=40)


@settings(deadline=None)
@given(DEEDS)
def test_whatever_happens_nothing_leaves_before_the_disk_has_it_and_nothing_is_forgotten(deeds: list[str]) -> None:
    """Against the plainest account of it: when each order was decided, and up to where the disk was known to be good."""

    async def story(session: Session, disk: Disk) -> None:
        assert isinstance(session.clock, HandClock)
        decided: dict[int, int] = {}
        adapter = remembered(session)
        before = adapter.send

        def send(approved: Any) -> None:
            command = approved.command
            if isinstance(command, SubmitOrder):
                assert decided.get(command.client_order_id, session.journal.records_written) <= session.journal.records_durable
                assert command.client_order_id > canceled_up_to[0], "it was decided before everything was canceled"
            elif not isinstance(command, CancelAll):
                assert command.client_order_id in ids(session), "a cancel or change before its order"
            before(approved)

        adapter.send = send  # type: ignore[method-assign]  # what a venue would see
        canceled_up_to = [0]
        for number, deed in enumerate(deeds, start=1):
            session.clock.ts = ts = max(session.clock.ts, START) + 1_000
            match deed:
                case "quote" | "cancel" | "change":
                    session.process([quote(ts, 10_000 + 10 * number + ("quote", "cancel", "change").index(deed))])
                case "sync":
                    await disk.end_sync()
                case "accept":
                    session.process([OrderAccepted(ts, ts, order_id, 10_000, 1) for order_id in ids(session)[-1:]])
                case "everything":
                    canceled_up_to[0] = max(session.trader.orders.orders, default=0)
                    cancel_everything(session)
                case "late":
                    session.clock.ts += 3_000_000_000
            for order_id in session.trader.orders.orders:
                decided.setdefault(order_id, session.journal.records_written)
        for _ in range(3):
            await disk.end_sync()
        assert session.failure is None
        sent = ids(session)
        assert len(sent) == len(set(sent))
        for order_id, order in session.trader.orders.orders.items():
            assert (order_id in sent) is (order.status not in (OrderStatus.REJECTED, OrderStatus.DENIED)), order

    with TemporaryDirectory() as folder:
        play(Path(folder), story, wrap=add_changing)
