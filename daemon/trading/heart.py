"""The heartbeats of the daemon, each of which goes the whole way, and what they show: a loop that is behind, a moved clock."""

from __future__ import annotations

import os
from collections.abc import Sequence

import anyio

from core.events import Heartbeat, MemoryRequested
from core.units import NS_PER_SECOND, parse_duration_ns
from daemon.config.models import Daemon as Settings
from daemon.trading.clock import WallWatch
from daemon.trading.listener import Beat, Listener, Severity, Tell
from daemon.trading.session import Session


class Heart:
    def __init__(
        self,
        session: Session,
        settings: Settings,
        *,
        run_id: str,
        listeners: Sequence[Listener],
        alert: Tell,
    ) -> None:
        self._session, self._alert = session, alert
        self._wall = WallWatch()
        self._run_id = run_id
        self._listeners = tuple(listeners)
        self._interval_s = parse_duration_ns(settings.heartbeat_interval) / NS_PER_SECOND
        self._save_s = parse_duration_ns(settings.memory_interval) / NS_PER_SECOND
        self._lag_ns_max = parse_duration_ns(settings.lag_max)
        self._step_ns_max = parse_duration_ns(settings.clock_step_max)
        self._is_behind = False
        session.on_beat = self._beat

    async def run(self) -> None:
        """Until cancelled."""
        session, number, save_due_s = self._session, 0, anyio.current_time() + self._save_s
        while True:
            number += 1
            now = session.clock.now()
            await session.inbox.put(Heartbeat(now, now, number))
            due_s = anyio.current_time() + self._interval_s
            await anyio.sleep(self._interval_s)
            # A loop that stood still, or was stopped, wakes this task late.
            self._watch_lag(int((anyio.current_time() - due_s) * NS_PER_SECOND))
            self._watch_clock()
            if anyio.current_time() >= save_due_s:
                save_due_s = anyio.current_time() + self._save_s
                await self._ask_memory()

    async def _ask_memory(self) -> None:
        session = self._session
        if session.trader.memory.is_wanted:
            now = session.clock.now()
            await session.inbox.put(MemoryRequested(now, now))

    def _watch_clock(self) -> None:
        """Time goes on in either case: forward with the wall clock, and past it where that was set back."""
        stepped_ns = self._wall.stepped_ns()
        if abs(stepped_ns) > self._step_ns_max:
            way = "forward" if stepped_ns > 0 else "back"
            ahead_ns = self._wall.ahead_ns(self._session.clock)
            ahead = f"; ours stays {ahead_ns / NS_PER_SECOND:.3f} s ahead of it" if ahead_ns > self._step_ns_max else ""
            text = f"the machine's clock was moved {way} by {abs(stepped_ns) / NS_PER_SECOND:.3f} s{ahead}"
            self._alert("clock_step", Severity.CRITICAL, text)

    def _watch_lag(self, lag_ns: int) -> None:
        """Told of once, until it has caught up."""
        is_behind = lag_ns > self._lag_ns_max
        if is_behind and not self._is_behind:
            text = f"the loop stood still, or is behind what comes in, by {lag_ns / NS_PER_SECOND:.3f} s"
            self._alert("lag", Severity.WARNING, text)
        self._is_behind = is_behind

    def _beat(self, event: Heartbeat) -> None:
        session = self._session
        place, inbox, now = session.journal.place, session.inbox, session.clock.now()
        beat = Beat(
            run_id=self._run_id,
            pid=os.getpid(),
            number=event.number,
            ts=now,
            lag_ns=now - event.ts_event,
            events=session.events,
            orders_sent=session.orders_sent,
            open_orders=sum(state.open_orders for state in session.trader.states.values()),
            queue_depth=len(inbox),
            conflated=inbox.conflated,
            trading_state=session.trader.risk.trading_state.name,
            trading_state_reason=session.latched.reason,
            journal_id=session.journal.journal_id,
            records=place.records,
            head=place.hash.hex(),
            records_durable=session.journal.records_durable,
        )
        for listener in self._listeners:
            listener.beat(beat)
        self._watch_lag(beat.lag_ns)
