"""The synchronous middle of the daemon: events into journal and Trader, its commands into the journal and out to the venue.

The order of things, for each batch: every event, what the Trader made of it, one journal write, and then it leaves; but a new
order waits until its id is on the disk (policy `before_send`), which another thread sees to, and cancels of other orders overtake
it. The kill latch is looked at before each batch, and again before each order that leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
import msgspec

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.context import OutCommand
from core.enums import Reason, TradingState
from core.errors import StateError, StorageError, StrategyError
from core.events import (
    AnyEvent,
    ControlRequested,
    Heartbeat,
    MemoryRequested,
    OrderFilled,
    OrderRejected,
    ReplaceRejected,
    TradingResumed,
    TradingStateSet,
)
from core.orders import Order
from core.restore import capture
from core.trader import Trader
from core.units import NS_PER_SECOND
from core.venue_adapter import Adapter
from daemon.journal.writer import JournalWriter, SyncJob
from daemon.kill_latch import KillLatch
from daemon.trading.clock import Clock
from daemon.trading.inbox import Inbox
from daemon.trading.out_gate import OutGate
from daemon.trading.snapshot import Snapshot, write_snapshot
from daemon.trading.state_folder import Latch, StateFolder
from daemon.trading.timers import Timers

FILLS_SHOWN_MAX = 1_000
SIGNAL_UID = -1

# Called with a name at each point where a crash would find something half done; tests die there.
Point = Callable[[str], None]


def no_point(_name: str) -> None:
    return


def _unheard(_what: object) -> None:
    return


def _is_reducing(command: OutCommand) -> bool:
    return isinstance(command, Approved) and isinstance(command.command, SubmitOrder) and command.command.reduce_only


def _as_it_is(fill: OrderFilled) -> Sequence[AnyEvent]:
    return (fill,)


class Session:
    """One run of one Trader against one adapter, which is set once the Trader knows what it holds and before anything leaves."""

    def __init__(
        self,
        trader: Trader,
        journal: JournalWriter,
        folder: StateFolder,
        inbox: Inbox,
        clock: Clock,
        *,
        snapshot_records: int,
        lag_ns_max: int = NS_PER_SECOND,
        order_age_ns_max: int = 2 * NS_PER_SECOND,
        point: Point = no_point,
        gate: OutGate | None = None,
    ) -> None:
        self._adapter: Adapter | None = None
        self.trader = trader
        self.journal = journal
        self.inbox = inbox
        self.clock = clock
        self.timers = Timers()
        self.failure: StrategyError | StateError | None = None  # the first one; it halted the session
        self.storage_failure: StorageError | None = None
        self.fills: deque[OrderFilled] = deque(maxlen=FILLS_SHOWN_MAX)
        self.events = 0
        self.commands = 0
        self.orders_sent = 0
        self.fills_count = 0
        self.waited_ns = 0  # in the inbox: the first event of the last batch
        self._lag_ns_max = lag_ns_max
        self._order_age_ns_max = order_age_ns_max
        self._gate = gate  # None: whatever needs the disk waits for it here
        self.lag_ns = 0  # of the last event: from its stamp to its step
        self.lag_ns_max = 0
        self.halt_reason = ""
        self.on_beat: Callable[[Heartbeat], None] = _unheard  # called when one has gone the whole way
        self.on_batch: Callable[[Sequence[AnyEvent]], None] = _unheard  # called with each batch once its commands have left
        self.on_latched: Callable[[Latch], None] = _unheard  # called with each trading state that the disk has taken
        self.on_strategies: Callable[[Sequence[tuple[str, TradingState]]], None] = _unheard  # those that are not ACTIVE
        # Called with an execution that no order of ours explains: what it becomes is taken in its place.
        self.on_foreign_fill: Callable[[OrderFilled], Sequence[AnyEvent]] = _as_it_is
        # False from where a batch begins to where it has ended in order: an exception that escapes in between is a bug of ours,
        # and nothing of Trader and journal can be trusted any more.
        self.is_whole = True
        self._kill = folder.kill
        self._unsent: list[OrderRejected | ReplaceRejected] = []  # what was held back at the last moment, as the answers it gets
        self._folder = folder
        self._snapshot_records = snapshot_records
        self._snapshot_at = 0
        self._latched = folder.read_latch()
        self._strategies = trader.risk.states.strategies()  # whose own state is not ACTIVE
        self._point = point
        self._taken: anyio.Event | None = None  # somebody waits for the next batch

    # Events.

    async def batch_taken(self) -> None:
        """Until the next batch has been taken, whatever is in it."""
        self._taken = self._taken or anyio.Event()
        await self._taken.wait()

    def process(self, events: Sequence[AnyEvent], *, waits_for_disk: bool = False) -> None:
        """Take a batch; with `waits_for_disk` its orders have left when this returns.

        Raises StorageError where the journal or the latch refuses; then none of the batch's orders left.
        """
        if self._taken is not None:
            # Whoever waits runs only when this batch has gone the whole way.
            self._taken.set()
            self._taken = None
        if self.storage_failure is not None:
            self._drain(events)
            return
        self.is_whole = False
        out: list[OutCommand] = []
        try:
            if self._kill.is_set and self.trader.now and self.trader.risk.trading_state is not TradingState.HALTED:
                self._take(self._halt_event(f"killed: {self._kill.record().text}"), out)
            for event in self._explained(events):
                self._take(event, out)
                if self.failure is not None and self.trader.risk.trading_state is not TradingState.HALTED:
                    # An order state or a strategy that cannot be trusted: halt first, account for it after.
                    self._take(self._halt_event(f"{type(self.failure).__name__}: {self.failure}"), out)
            self._point("stepped")
            self._journal(out, waits_for_disk)
            self._point("journaled")
        except StorageError as error:
            self._refused(error, out)
            raise
        self._leave(out)
        self._latch()
        self._snapshot_if_due()
        self.is_whole = True
        self.on_batch(events)
        for event in events:
            if isinstance(event, Heartbeat):
                self.on_beat(event)
        self._take_unsent()

    def _explained(self, events: Sequence[AnyEvent]) -> Iterator[AnyEvent]:
        """The events, with what is not ours as the policy takes it."""
        store = self.trader.orders
        orders = store.orders
        for event in events:
            if type(event) is OrderFilled and (event.client_order_id not in orders or store.exceeds(event)):
                yield from self.on_foreign_fill(event)
            else:
                yield event

    def _take(self, event: AnyEvent, out: list[OutCommand]) -> None:
        trader, append = self.trader, self.journal.append
        append(event)
        self.events += 1
        self.lag_ns = self.clock.now() - event.ts_init
        self.lag_ns_max = max(self.lag_ns_max, self.lag_ns)
        booked = trader.portfolio.fills_booked
        try:
            made = trader.step(event)
            denials = trader.denied
        except (StrategyError, StateError) as error:
            # What the step had decided was withdrawn; the replay raises at the same event.
            self.failure = self.failure or error
            made, denials = (), []
        for tripped in trader.tripped:
            append(tripped)
            if not tripped.strategy_id:
                self.halt_reason = f"{tripped.limit}: {tripped.value} is past {tripped.bound}"
        for denied in denials:
            append(denied)
        if isinstance(event, OrderFilled) and trader.portfolio.fills_booked != booked:
            self.fills.append(event)
            self.fills_count += 1
        if isinstance(event, TradingStateSet | TradingResumed) and not event.strategy_id:
            self.halt_reason = event.reason
        if type(event) is MemoryRequested:
            for saved in trader.memory.saved:
                append(saved)
        for command in made:
            append(command.command if isinstance(command, Approved) else command)
        out += made

    def _journal(self, out: Sequence[OutCommand], waits_for_disk: bool) -> None:
        kinds = {type(command.command) for command in out if isinstance(command, Approved)}
        if SubmitOrder in kinds and (self._gate is None or waits_for_disk or any(map(_is_reducing, out))):
            # What closes a position follows a cancel of everything, and must not be taken back by the next one.
            self.journal.make_durable()
        else:
            self.journal.flush()
        if SubmitOrder in kinds or ReplaceOrder in kinds:
            # Whoever has taken the account over meanwhile trades it; two must not.
            self._folder.check_lock()

    def _leave(self, out: Sequence[OutCommand]) -> None:
        gate = self._gate
        if gate is not None and self.journal.is_durable and not gate.is_empty:
            self._release(gate)
        for command in out:
            if gate is None or not isinstance(command, Approved):
                self._send(command)
                continue
            if type(command.command) is CancelAll:
                self._recall(gate, command.command)
            if gate.must_hold(command.command) and not self.journal.is_durable:
                gate.hold(command, self.journal.records_written)
            else:
                self._send(command)

    def _recall(self, gate: OutGate, command: CancelAll) -> None:
        """What waits for the disk is not at the venue yet, where everything is canceled now: it never leaves."""
        now = self.trader.now
        for recalled in gate.recall(command.instrument_id, self._instrument_of):
            if isinstance(recalled, SubmitOrder):
                self._unsent.append(OrderRejected(now, now, recalled.client_order_id, Reason.NOT_SENT))

    def _instrument_of(self, client_order_id: int) -> str | None:
        order = self.trader.orders.get(client_order_id)
        return None if order is None else order.instrument_id

    def _order_of(self, command: OrderCommand) -> Order | None:
        assert not isinstance(command, CancelAll), "it waits for nothing"
        return self.trader.orders.get(command.client_order_id)

    def _release(self, gate: OutGate) -> None:
        durable = self.journal.records_written if self.journal.is_durable else self.journal.records_durable
        for approved in gate.release(durable):
            order = self._order_of(approved.command)
            # One that was given up meanwhile, because no venue knows it, must not come to life; nor what follows one that stayed.
            if order is None or not order.is_open or self._has_stayed(order.client_order_id):
                continue
            # Trading became stricter while it waited: the state that counts is the one in which it would leave.
            is_active = self.trader.risk.states.of(order.strategy_id) is TradingState.ACTIVE
            if not is_active and self._is_held_back(approved.command, Reason.NOT_SENT):
                continue
            try:
                # Whoever has taken the account over meanwhile trades it. Asked for each: a process may be stopped in between.
                self._folder.check_lock()
            except StorageError as error:
                self._refused(error)
                raise
            self._send(approved)

    def _has_stayed(self, client_order_id: int) -> bool:
        return any(event.client_order_id == client_order_id for event in self._unsent)

    async def sync_on(self, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Until cancelled: have the disk take what orders wait for, by `run` in another thread, and let these leave.

        Raises StorageError where the disk refuses; then nothing that waited leaves.
        """
        gate = self._gate
        assert gate is not None
        while not gate.is_shut:
            await gate.wanted.wait()
            job = self.journal.begin_sync()
            # Whoever closes the journal waits for it.
            with anyio.CancelScope(shield=True):
                if job is not None:
                    await run(job.run)
            if not gate.is_shut:
                self._synced(gate, job)
        # The Trader is not to be asked any more, and what ended the session is told by whoever shut it.
        await anyio.sleep_forever()

    def _synced(self, gate: OutGate, job: SyncJob | None) -> None:
        try:
            if job is not None:
                self.journal.end_sync(job)
        except StorageError as error:
            self._refused(error)
            raise
        self._point("synced")
        self._release(gate)
        self._take_unsent()

    def shut(self) -> None:
        """Nothing that waits for the disk leaves any more."""
        if self._gate is not None:
            self._gate.shut()

    def _refused(self, error: StorageError, out: Sequence[OutCommand] = ()) -> None:
        self.storage_failure = error
        self.shut()
        self._emergency(out)
        self.is_whole = True

    def _take_unsent(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self.process(unsent)

    def _send(self, command: OutCommand) -> None:
        if isinstance(command, Approved):
            reason = self._why_held_back(command.command)
            if reason is not None and self._is_held_back(command.command, reason):
                return
            self.commands += 1
            self.orders_sent += type(command.command) is SubmitOrder
            self.adapter.send(command)
            self._point("sent")
        else:
            self.timers.schedule(command)

    def _why_held_back(self, command: OrderCommand) -> Reason | None:
        """What has happened since it was decided: a kill, or a disk or a loop that stood still for so long."""
        if self._kill.is_set:
            return Reason.KILLED
        return Reason.LATE if self.clock.now() - command.ts > self._order_age_ns_max else None

    def _is_held_back(self, command: OrderCommand, reason: Reason) -> bool:
        """Cancels, and what only shrinks a position, leave all the same."""
        now = self.trader.now
        if isinstance(command, SubmitOrder) and not command.reduce_only:
            self._unsent.append(OrderRejected(now, now, command.client_order_id, reason))
            return True
        if isinstance(command, ReplaceOrder):
            order = self.trader.orders.get(command.client_order_id)
            if order is None or not order.reduce_only:
                self._unsent.append(ReplaceRejected(now, now, command.client_order_id, reason))
                return True
        return False

    def fire_timers(self) -> None:
        """Those due by the stamp that they get: while older events wait in the inbox, the strategies' time is theirs."""
        due = self.timers.pop_due(self._now())
        if due:
            self.process(due)

    def drain_inbox(self, events_max: int) -> int:
        """Process what has come in, at most so much; returns how much."""
        events = self.inbox.take(events_max)
        if events:
            self.process(self._up_to_date(events))
        return len(events)

    def _up_to_date(self, events: Sequence[AnyEvent]) -> Sequence[AnyEvent]:
        """What has waited for longer than `lag_ns_max` is stamped anew, and all behind it: now is now, whatever came in before.

        Else strategies and the risk gate would take the market of before a stall for that of now. The venue's stamp stays.
        """
        clock, now = self.clock.now(), self.trader.now
        self.waited_ns = clock - events[0].ts_init
        if self.waited_ns <= self._lag_ns_max:
            if events[0].ts_init >= now:
                return events
            clock = now
        return [msgspec.structs.replace(event, ts_init=max(event.ts_init, clock)) for event in events]

    def _now(self) -> int:
        """The stamp of an event of our own. It overtakes what waits in the inbox, so it is not later: time never goes back."""
        now = max(self.clock.now(), self.trader.now)
        oldest = self.inbox.oldest_ts()
        return now if oldest is None else max(self.trader.now, min(now, oldest))

    # Control.

    def control(self, action: str, uid: int, reason: str, make_events: Callable[[int], Sequence[AnyEvent]]) -> None:
        """Record who asked for what and why, and take the events that follow from it, at once."""
        now = self._now()
        self.process([ControlRequested(now, now, action, uid, reason), *make_events(now)])
        self.inbox.wake()

    def apply(self, make_events: Callable[[int], Sequence[AnyEvent]], *, waits_for_disk: bool = False) -> None:
        """Events of the daemon's own, stamped now; see `process`."""
        self.process(make_events(self._now()), waits_for_disk=waits_for_disk)

    def _halt_event(self, reason: str) -> TradingStateSet:
        now = self.trader.now
        return TradingStateSet(now, now, TradingState.HALTED, reason)

    # What must not be lost.

    def _latch(self) -> None:
        """Keep the trading state on the disk wherever it has changed; that of a strategy is kept by the journal."""
        states = self.trader.risk.states
        strategies = states.strategies() if states.is_restricted or self._strategies else []
        has_changed = states.account is not self._latched.state
        if not has_changed and strategies == self._strategies:
            return
        latch = Latch(states.account, self.halt_reason, self.trader.now)
        try:
            self.journal.make_durable()
            if has_changed:
                self._folder.write_latch(latch)
        except StorageError as error:
            self._refused(error)
            raise
        if strategies != self._strategies:
            self._strategies = strategies
            self.on_strategies(strategies)
        if has_changed:
            self._latched = latch
            self.on_latched(latch)
            self._point("latched")

    def write_latch(self, latch: Latch) -> None:
        """Without the Trader: for where it cannot be asked. Raises StorageError."""
        self._folder.write_latch(latch)
        self._latched = latch
        self.on_latched(latch)

    @property
    def kill(self) -> KillLatch:
        return self._kill

    @property
    def latched(self) -> Latch:
        return self._latched

    def _snapshot_if_due(self) -> None:
        if self.journal.records_written - self._snapshot_at < self._snapshot_records or self.failure is not None:
            return
        self.snapshot()

    def snapshot(self) -> None:
        self.journal.make_durable()
        place = self.journal.place
        write_snapshot(
            self.journal.path.parent,
            Snapshot(place=place, ts=self.trader.now, state=capture(self.trader)),
            self._folder.files,
        )
        self._snapshot_at = place.records
        self._point("snapshot")

    def _emergency(self, out: Sequence[OutCommand]) -> None:
        """The journal is gone: no new order leaves, cancels do, and everything is canceled. The next start asks the venue."""
        if self._adapter is None:
            return  # the run's first record was refused: nobody has been spoken to yet
        for command in out:
            if isinstance(command, Approved) and isinstance(command.command, CancelOrder | CancelAll):
                self.adapter.send(command)
        self._drain([self._halt_event(f"the disk refuses: {self.storage_failure}")])

    def _drain(self, events: Sequence[AnyEvent]) -> None:
        """Take events without a journal: only cancels leave."""
        for event in events:
            try:
                made = self.trader.step(event)
            except (StrategyError, StateError) as error:
                self.failure = self.failure or error
                continue
            for command in made:
                if isinstance(command, Approved) and isinstance(command.command, CancelOrder | CancelAll):
                    self.adapter.send(command)

    @property
    def adapter(self) -> Adapter:
        assert self._adapter is not None
        return self._adapter

    @adapter.setter
    def adapter(self, adapter: Adapter) -> None:
        self._adapter = adapter

    @property
    def has_open_orders(self) -> bool:
        return any(state.open_orders for state in self.trader.states.values())
