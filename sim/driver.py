"""The backtest's loop: the venue's events into the Trader, its commands back to the venue. No clock, no I/O, no await.

`advance` takes a bounded number of wake-ups, so that whoever calls it can look after other things in between; how the run is cut
into calls never changes its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from core.approved import Approved
from core.bars import Bars
from core.commands import AnyCommand, CancelTimer, SetTimer, SubmitOrder
from core.context import OutCommand
from core.enums import OrderStatus, TradingState
from core.events import (
    AnyEvent,
    AnyOrderEvent,
    CashMoved,
    LimitTripped,
    OrderEvent,
    OrderFilled,
    Quote,
    Started,
    Stopping,
    TradingStateSet,
)
from core.orders import TERMINAL
from core.trader import Trader
from core.units import NS_PER_SECOND
from sim.recorder import NEVER, Recorder

# After a halt, and after the strategies' last word, cancels may need this long (simulated) to be answered.
DRAIN_NS_MAX = 10 * NS_PER_SECOND
DRAIN_WAKEUPS_MAX = 100_000


class Venue(Protocol):
    """What the loop needs of a venue: an execution engine, timers, and the market, all in simulated time."""

    def advance(self, until_ts: int) -> Sequence[AnyEvent]:
        """The events of the next wake-up, oldest first; empty at `until_ts`, at the data's end, or to let others run."""

    def send(self, approved: Approved) -> None: ...

    def schedule(self, command: SetTimer | CancelTimer) -> None: ...

    def best(self, instrument_id: str) -> tuple[int, int] | None:
        """Best bid and ask in points as we can see them now, for statistics; None where a side is empty."""

    has_quiet_market: bool  # the market moves without an event for each move: statistics stop the clock to look at it

    @property
    def now(self) -> int:
        """The local clock, ns UTC."""

    @property
    def done(self) -> bool:
        """The data has ended; `advance` still brings the answers to what is in flight."""


class Phase(Enum):
    READY = "ready"
    RUNNING = "running"
    ENDED = "ended"


class Journal(Protocol):
    """Where every event and command goes."""

    @property
    def append(self) -> Callable[[AnyEvent | AnyCommand], None]: ...

    def flush_if_full(self) -> None: ...


class Driver:
    """One run of one Trader against one venue."""

    def __init__(
        self,
        trader: Trader,
        venue: Venue,
        recorder: Recorder,
        *,
        run_id: str,
        ts_start: int,
        journal: Journal | None = None,
        bars: Bars | None = None,
    ) -> None:
        self.trader = trader
        self.venue = venue
        self.recorder = recorder
        self.run_id = run_id
        self.ts_start = ts_start
        self.journal = journal
        self._bars = Bars(()) if bars is None else bars  # made of what the venue sends
        self.phase = Phase.READY
        self.events = 0
        self.wakeups = 0
        self.halted_for: str | None = None  # by `halt`, or by a limit of the account: nothing new will leave any more
        self.has_tripped = False  # by a limit of the account
        self.tripped: list[LimitTripped] = []
        self.current: AnyEvent | None = None  # the last event given to the Trader: what an error happened on

    def start(self) -> None:
        """The strategies' on_start."""
        assert self.phase is Phase.READY
        self.phase = Phase.RUNNING
        self._apply(Started(self.ts_start, self.ts_start, self.run_id))

    def advance(self, wakeups_max: int, until_ts: int) -> int:
        """At most so many wake-ups and samples, none later than `until_ts` (ns UTC); returns how many there were.

        Fewer than asked for: go on unless `venue.done`, `has_tripped`, or `venue.now` has come to `until_ts`. Raises
        StrategyError, StateError, and what the venue's source raises.
        """
        assert self.phase is Phase.RUNNING
        venue_advance = self.venue.advance
        journal = self.journal
        recorder = self.recorder
        bars = self._bars
        has_bars = bars.are_wanted
        is_quiet = self.venue.has_quiet_market
        for wakeups in range(wakeups_max):
            due = recorder.due if is_quiet else NEVER
            events = venue_advance(min(until_ts, due, bars.next_due))
            if not events:
                if self.venue.now >= bars.next_due and not self.venue.done:
                    events = bars.due(self.venue.now)
                elif self.venue.now < due or self.venue.done:
                    return wakeups
                else:
                    recorder.observe(due)
                    continue
            self.wakeups += 1
            self.events += len(events)
            for event in events:
                if has_bars:
                    self._apply_bars(event)
                self._apply(event)
            if journal is not None:
                journal.flush_if_full()
            if self.has_tripped:
                # At this very wake-up, so that where the caller cuts the run changes nothing.
                return wakeups + 1
        return wakeups_max

    def halt(self, reason: str) -> None:
        """Set HALTED: everything is cancelled, nothing new leaves. `drain` waits for the answers."""
        self.halted_for = reason
        ts = max(self.trader.now, self.venue.now)
        self._apply(TradingStateSet(ts, ts, TradingState.HALTED, reason))

    def drain(self) -> None:
        """Run on until no order is open, or the bound on that is reached."""
        venue = self.venue
        until_ts = max(self.trader.now, venue.now) + DRAIN_NS_MAX
        for _ in range(DRAIN_WAKEUPS_MAX):
            if not self.has_open_orders:
                return
            was_done = venue.done
            if not self.advance(1, until_ts) and (was_done or venue.now >= until_ts):
                return

    def finish(self, reason: str) -> None:
        """The strategies' on_stop, the answers to what they asked for, and the last sample."""
        ts = max(self.trader.now, self.venue.now)
        self._apply(Stopping(ts, ts, reason))
        self.drain()
        self.phase = Phase.ENDED
        self.recorder.finish(max(self.trader.now, self.venue.now))

    def abandon(self) -> None:
        """End here, in the middle: after an error, what was recorded so far is closed as it stands."""
        self.phase = Phase.ENDED
        self.recorder.finish(self.trader.now)

    @property
    def has_open_orders(self) -> bool:
        return any(state.open_orders for state in self.trader.states.values())

    def _apply_bars(self, event: AnyEvent) -> None:
        """Those that `event` ends, before it."""
        for bar in self._bars.receive(event.ts_init, event):
            self.events += 1
            self._apply(bar)

    def _apply(self, event: AnyEvent) -> None:
        self.current = event
        recorder = self.recorder
        trader = self.trader
        if event.ts_init > recorder.due:
            recorder.observe(event.ts_init - 1)
        journal = self.journal
        if journal is not None:
            journal.append(event)
        try:
            if type(event) is Quote:
                out = trader.step(event)
            elif isinstance(event, OrderEvent):
                out = self._step_order(event)
            else:
                if type(event) is CashMoved:
                    recorder.cash_moved(event)
                out = trader.step(event)
        finally:
            # Also when a strategy raised while it heard of it.
            if trader.tripped:
                self._record_trips()
        if trader.denied:
            self._record_denials()
        if out:
            self._dispatch(out)

    def _step_order(self, event: AnyOrderEvent) -> Sequence[OutCommand]:
        trader = self.trader
        booked = trader.portfolio.fills_booked
        order = trader.orders.get(event.client_order_id)
        was_open = order is not None and order.status not in TERMINAL
        try:
            return trader.step(event)
        finally:
            # Also when a strategy raised while it heard of it: what was booked is recorded, so that the ledger stays whole.
            if order is not None and trader.portfolio.fills_booked != booked:
                assert type(event) is OrderFilled
                self.recorder.fill(order, event)
            if order is not None and was_open and order.status in TERMINAL:
                self.recorder.order_closed(order)

    def _record_denials(self) -> None:
        for denied in self.trader.denied:
            if self.journal is not None:
                self.journal.append(denied)
            order = self.trader.orders.get(denied.client_order_id)
            # A denied replace leaves the order as it was.
            if order is not None and order.status is OrderStatus.DENIED:
                self.recorder.order_closed(order)

    def _record_trips(self) -> None:
        for tripped in self.trader.tripped:
            self.tripped.append(tripped)
            if self.journal is not None:
                self.journal.append(tripped)
            if not tripped.strategy_id and tripped.state is TradingState.HALTED:
                self.has_tripped = True
                self.halted_for = self.halted_for or f"{tripped.limit}: {tripped.value} is past {tripped.bound}"

    def _dispatch(self, out: Sequence[OutCommand]) -> None:
        journal = self.journal
        venue = self.venue
        for command in out:
            if type(command) is Approved:
                inner = command.command
                if journal is not None:
                    journal.append(inner)
                if type(inner) is SubmitOrder:
                    self.recorder.order_sent(inner.instrument_id)
                venue.send(command)
            else:
                assert isinstance(command, SetTimer | CancelTimer)
                if journal is not None:
                    journal.append(command)
                venue.schedule(command)
