"""The daemon of one account: a start that is also recovery, the loop beside its feed and its control socket, an end in order.

Start: lock, fold what is there, a new run number, a journal that begins with that state, the venue's own word, then Started.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog

from core.bars import NEVER
from core.enums import TradingState
from core.errors import RefusedError, TradingdError, TransportError, VenueProtocolError
from core.events import (
    CancelAllRequested,
    MemoryRequested,
    Reconciled,
    Started,
    StateRestored,
    Stopping,
    TradingResumed,
    TradingStateSet,
)
from core.restore import capture
from core.trader import Trader
from core.units import NS_PER_SECOND, parse_duration_ns
from core.venue_adapter import Adapter, VenueState
from daemon.api.child import ApiChild
from daemon.api.settings import api_settings
from daemon.bars import make_bars
from daemon.config.effective import effective
from daemon.config.loader import LoadedConfig
from daemon.config.places import account_folder
from daemon.control.server import Handler, open_listener, serve
from daemon.control.server import Listener as OpenListener
from daemon.control.socket_path import prepare_folder, socket_of
from daemon.exit_codes import ExitCode
from daemon.frames.format import FOLDER as FRAMES_FOLDER
from daemon.frames.writer import FrameRecorder
from daemon.journal.anchor import Anchor, ToldAnchors
from daemon.journal.files import DISK, Files
from daemon.journal.format import JOURNAL_FOLDER, JournalHeader
from daemon.journal.opening import begin_journal, known_anchors, open_sealing
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from daemon.logging_setup import LogFile, start_logging
from daemon.run_file import LOG_FILE
from daemon.trading.answering import Answering
from daemon.trading.bar_sink import BarSink
from daemon.trading.clock import Clock, SystemClock
from daemon.trading.closing import BATCH_EVENTS_MAX, Closing
from daemon.trading.connecting import patiently
from daemon.trading.heart import Heart
from daemon.trading.inbox import Inbox
from daemon.trading.last_act import LastAct
from daemon.trading.listener import Alert, Listener, Severity
from daemon.trading.out_gate import OutGate
from daemon.trading.reconcile import executions_since, position_differences
from daemon.trading.reconciling import Reconciling
from daemon.trading.recovery import Recovered, recover
from daemon.trading.retention import retire_old_runs
from daemon.trading.session import SIGNAL_UID, Point, Session, no_point
from daemon.trading.state_folder import Latch, StateFolder
from daemon.trading.tasks import Task, Tasks
from daemon.trading.wiring import build_bare_trader, check_config, check_state, open_venues
from daemon.version import VERSION
from daemon.wiring import build_trader, is_execution_simulated

# How long a start asks a venue that is connected: a used-up minute of requests is over then, and a connection that was lost
# meanwhile is not opened again here.
FIRST_LOOK_S_MAX = 90.0
SEGMENT_BYTES_MAX = 1 << 24  # of a journal: behind a snapshot, a restart reads one segment

MakeClock = Callable[[int], Clock]
OpenAdapter = Callable[[LoadedConfig, Trader, Clock], Adapter]


async def in_thread(call: Callable[[], None]) -> None:
    """By the loop's own threads: a loop in virtual time has none, and makes the call here."""
    await asyncio.get_running_loop().run_in_executor(None, call)


def _scoped(action: str, strategy_id: str) -> str:
    """As the journal keeps it: of the account, or of one strategy."""
    return f"{action} {strategy_id}" if strategy_id else action


class Daemon:
    """Make it, then `await run()` once. `listeners` are told what it does.

    `on_seal` gets each seal of the journal; `refusal` says why trading may not be ACTIVE now, and nothing where it may.
    `point`, `files` and `make_clock` (it gets the least stamp) are for tests: places to die at, a disk that fails, another time.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        quiet: bool,
        open_adapter: OpenAdapter | None = None,
        listeners: Sequence[Listener] = (),
        on_seal: Callable[[Anchor], None] | None = None,
        refusal: Callable[[], str] = str,
        point: Point = no_point,
        files: Files = DISK,
        make_clock: MakeClock = SystemClock,
    ) -> None:
        check_config(loaded)
        self.loaded = loaded
        self.phase = "starting"
        self.recovered = Recovered(state=capture(build_bare_trader(loaded)))
        self.run_number = 0
        self.run_folder = Path()
        self._quiet = quiet
        self._open_adapter = open_adapter or self._open_venues
        self._recorder: FrameRecorder | None = None
        self._point = point
        self._files = files
        self._make_clock = make_clock
        self._error: TradingdError | None = None
        self._stop: tuple[str, int, str] | None = None  # action, who, why
        self._listeners = tuple(listeners)
        self._on_seal = on_seal
        self._refusal = refusal
        self.flattened = anyio.Event()
        self._tasks = Tasks(expected=self._expected, broken=self._broken, see_out=self._see_out)
        self._is_flattening = False
        self._is_verified = False
        self._foreign: tuple[str, ...] = ()
        self._log: Any = structlog.get_logger("daemon")
        self._settings = loaded.config.daemon
        self._stop_ns_max = parse_duration_ns(self._settings.stop_timeout)
        self._session: Session | None = None
        self._closing: Closing | None = None
        self._reconciling: Reconciling | None = None
        self._last_act: LastAct
        self._bar_sink: BarSink

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    @property
    def closing(self) -> Closing:
        assert self._closing is not None
        return self._closing

    @property
    def reconciling(self) -> Reconciling:
        assert self._reconciling is not None
        return self._reconciling

    @property
    def run_id(self) -> str:
        return f"{self.loaded.config.run.name}-{self.run_number}"

    # The whole run.

    async def run(self, handler_of: Callable[[Daemon], Handler]) -> ExitCode:
        """Trade until the end. Raises ConfigError, DataError and StorageError where it cannot even begin."""
        folder = StateFolder(account_folder(self.loaded), self._files)
        log_file: LogFile | None = None
        try:
            self._point("locked")
            self._say_phase("starting", "reading what the runs before it left")
            self._session, log_file = self._open(folder)
            self._reconciling = Reconciling(
                self._session,
                self._settings,
                alert=self.alert,
                halt=self.halt,
                is_stopping=lambda: self.phase == "stopping",
            )
            self._closing = Closing(self._session, self._reconciling.nudge)
            heart = Heart(
                self._session,
                self._settings,
                run_id=self.run_id,
                listeners=self._listeners,
                alert=self.alert,
            )
            self._session.on_latched = self._latched
            self._session.on_strategies = self._strategies_latched
            begun = anyio.current_time()
            wait_s = parse_duration_ns(self._settings.venue_wait) / NS_PER_SECOND
            await patiently(self._session.adapter.open, wait_s, self._say_waiting)
            self._say_phase("starting", "asking the venue")
            self._last_act = LastAct(self._session, self.run_id, self._stop_ns_max / NS_PER_SECOND, self.alert)
            await self._begin(min(begun + wait_s - anyio.current_time(), FIRST_LOOK_S_MAX))
            prepare_folder()
            listener = await open_listener(socket_of(self.run_id))
            await self._live(listener, handler_of(self), heart)
            await self._session.adapter.close()
            if self._recorder is not None:
                await self._recorder.close()
            return self._close()
        finally:
            if self._session is not None:
                # Closed by now, unless the start failed.
                self._session.journal.abandon()
            self._say_phase("ended", "")
            folder.release()
            if log_file is not None:
                log_file.abandon()

    async def _begin(self, wait_s: float) -> None:
        """The venue's own word, before anything new may leave. What runs before this one left open does not rest after a bug."""
        try:
            self._foreign = await patiently(self.reconciling.at_start, wait_s, self._say_waiting)
        except (Exception, SystemExit) as error:
            if not isinstance(error, TradingdError):
                self._broken(error)
                await self._see_out()
            raise
        self._point("reconciled")

    async def _live(self, listener: OpenListener, handler: Handler, heart: Heart) -> None:
        """All tasks, from the first to the last. Raises what has broken one of them, after everything was canceled."""
        answering = Answering(handler, lambda: not self.session.is_whole or self._tasks.bug is not None, self._answer_failed)
        endless: list[Task] = [partial(serve, listener, answering.answer), self._watch_signals, self.reconciling.run, heart.run]
        endless.append(partial(self.session.sync_on, in_thread))
        if self.loaded.config.api.enabled:
            endless.append(self._api().run)
        if self._recorder is not None:
            endless.append(self._recorder.run)
        await self._tasks.run(self._trade, endless=endless, others=(self._feed, self._retain))

    async def _trade(self) -> None:
        await self._tasks.guarded(self._loop)
        if self._tasks.bug is None:
            await self._end()

    def _expected(self, error: TradingdError) -> None:
        self._error = self._error or error
        self.stop("stop", SIGNAL_UID, str(error))

    def _broken(self, error: BaseException) -> None:
        self.phase = "stopping"
        self._last_act.begin(error)

    async def _see_out(self) -> None:
        await self._last_act.see_out()

    def _answer_failed(self, what: str, error: Exception, is_action: bool) -> None:
        """Where something was to be done and nobody knows whether it was, trading halts."""
        self._log.critical("a bug of tradingd", what=what, exc_info=error)
        self.alert("bug", Severity.CRITICAL, what)
        if is_action:
            self.halt(f"a bug of tradingd: {what}")

    def _open(self, folder: StateFolder) -> tuple[Session, LogFile]:
        """Everything up to the first record: reads first, then leaves its traces in an order that a crash cannot turn round."""
        loaded = self.loaded
        self.recovered = recover(folder, partial(build_bare_trader, loaded), self._say_records_read, known_anchors(loaded))
        check_state(loaded, self.recovered.state)
        if self.recovered.previous_run:
            folder.keep_run(self.recovered.previous_run)
        sealing = open_sealing(loaded)
        if self._on_seal is not None:
            sealing = replace(sealing, anchor=ToldAnchors(sealing.anchor, self._on_seal))
        clock = self._make_clock(self.recovered.ts + 1)
        self.run_number = folder.next_run()
        self._point("numbered")
        trader = build_trader(loaded, self.run_number)
        run_folder = self.run_folder = folder.make_run_folder(self.run_number)
        log_file = start_logging(run_folder / LOG_FILE, console=not self._quiet, is_prompt=True)
        self._listen_to_strategies(trader)
        if sealing.signer is None:
            self._log.warning("the journal is not signed", reason=sealing.unsigned_reason)
        header = JournalHeader(
            run_id=self.run_id,
            run_number=self.run_number,
            mode=loaded.config.run.mode,
            config=effective(loaded),
            instruments=list(trader.instruments.values()),
            order_run_number=self.run_number,
            tradingd=VERSION,
        )
        settings = JournalSettings(sync=Sync(self._settings.sync), segment_bytes_max=SEGMENT_BYTES_MAX)
        journal: JournalWriter = begin_journal(run_folder / JOURNAL_FOLDER, header, sealing, settings, self._files)
        self._point("begun")
        ts = clock.now()
        inbox = Inbox(clock, self._settings.inbox_events_max)
        restored = StateRestored(ts, ts, self.recovered.previous_run, self.recovered.state)
        # The venue's side of the ledger begins with what the Trader holds: the state goes in before the adapter is made.
        session = Session(
            trader,
            journal,
            folder,
            inbox,
            clock,
            snapshot_records=self._settings.snapshot_records,
            lag_ns_max=parse_duration_ns(self._settings.lag_max),
            order_age_ns_max=parse_duration_ns(self._settings.order_age_max),
            point=self._point,
            gate=OutGate(),
        )
        session.process([restored])
        journal.make_durable()
        self._point("restored")
        if self._settings.record_frames and loaded.config.connections:
            self._recorder = FrameRecorder(
                run_folder / FRAMES_FOLDER, bytes_max=self._settings.frames_bytes_max, on_trouble=self._not_recorded
            )
        session.adapter = self._open_adapter(loaded, trader, clock)
        subscriptions = [each for context in trader.contexts for each in context.subscriptions]
        is_simulated = not loaded.config.connections or is_execution_simulated(loaded)
        self._bar_sink = BarSink(inbox, clock, make_bars(loaded, subscriptions, is_simulated=is_simulated))
        for problem in self.recovered.problems:
            self._log.error("a record of the run before was refused", problem=problem)
        return session, log_file

    def _open_venues(self, loaded: LoadedConfig, trader: Trader, clock: Clock) -> Adapter:
        frames_of = None if self._recorder is None else self._recorder.of
        return open_venues(loaded, trader, clock, frames_of, self._connection_trouble)

    def _connection_trouble(self, text: str) -> None:
        self.alert("connection", Severity.WARNING, text)

    def _not_recorded(self, text: str) -> None:
        self.alert("not_recorded", Severity.WARNING, text)

    def _start_trading(self) -> None:
        session = self.session
        refusal = self._refusal()
        if refusal and session.trader.risk.trading_state is TradingState.ACTIVE:
            self.set_state("reduce", TradingState.REDUCING, refusal, SIGNAL_UID)
        session.apply(lambda now: [Started(now, now, self.run_id), Reconciled(now, now, self.reconciling.last.count)])
        if self._foreign:
            # Somebody else's orders, or a position that no fill explains: a person has to look.
            self.halt(f"at the start the venue says otherwise: {'; '.join(self._foreign)}")
        self._cancel_where_halted()
        self._say_phase("running", f"{self.run_id} {session.trader.risk.trading_state.name}")
        self._log.info(
            "ready",
            run_id=self.run_id,
            previous_run=self.recovered.previous_run,
            records_read=self.recovered.records_read,
            trading_state=session.trader.risk.trading_state.name,
        )

    # The tasks.

    async def _loop(self) -> None:
        """Await one event, then take a batch without awaiting."""
        session = self.session
        self._start_trading()
        loop, inbox = asyncio.get_running_loop(), session.inbox
        while self._stop is None and self._tasks.bug is None and session.storage_failure is None and session.failure is None:
            sleep_s = self._sleep_s_max()
            alarm = None if sleep_s is None else loop.call_later(sleep_s, inbox.wake)
            try:
                await inbox.wait()
            finally:
                if alarm is not None:
                    alarm.cancel()
            session.drain_inbox(BATCH_EVENTS_MAX)
            session.fire_timers()
            self._bar_sink.tell_due()
            await anyio.sleep(0)

    def _sleep_s_max(self) -> float | None:
        timer_due = self.session.timers.next_ts()
        due = self._bar_sink.next_due if timer_due is None else min(timer_due, self._bar_sink.next_due)
        return None if due == NEVER else max(due - self.session.clock.now(), 0) / NS_PER_SECOND

    def _reconnected(self, venue: VenueState) -> None:
        """What is no bug of ours ends the session in order; the feed goes on meanwhile, with the answers to its last orders."""
        try:
            self.reconciling.reconnected(venue)
            self._cancel_where_halted()
        except TradingdError as error:
            self._expected(error)

    def _cancel_where_halted(self) -> None:
        """What a venue kept while nobody could reach it does not rest through a halt."""
        session = self.session
        if session.trader.risk.trading_state is TradingState.HALTED and session.has_open_orders:
            session.apply(lambda now: [CancelAllRequested(now, now, "halted, and orders rest at a venue")])

    async def _feed(self) -> None:
        try:
            await self.session.adapter.run(self._bar_sink, self._reconnected)
        finally:
            self.closing.has_feed_ended = self._last_act.is_feed_dead = True
        self.stop("stop", SIGNAL_UID, "the feed has ended" if self._error is None else str(self._error))

    async def _retain(self) -> None:
        old = (self.run_number, self.recovered.previous_run)
        await retire_old_runs(self.loaded, *old, is_stopping=lambda: self.phase in ("stopping", "ended"), alert=self.alert)

    def _api(self) -> ApiChild:
        settings = api_settings(self.loaded, socket_of(self.run_id))
        return ApiChild(settings, self.session.journal.path.parent, partial(self.alert, "api_down", Severity.WARNING))

    def alert(self, kind: str, severity: Severity, text: str) -> None:
        """Tell whoever listens, and the log."""
        write = self._log.info if severity is Severity.INFO else self._log.warning
        write("alert", kind=kind, severity=severity.value, text=text)
        ts = self._session.clock.now() if self._session is not None else time.time_ns()
        alert = Alert(kind=kind, severity=severity, text=text, ts=ts)
        for listener in self._listeners:
            listener.alert(alert)

    def _latched(self, latch: Latch) -> None:
        severity = Severity.INFO if latch.state is TradingState.ACTIVE else Severity.CRITICAL
        self.alert("trading_state", severity, f"{self.run_id} {latch.state.name}: {latch.reason}")

    def _strategies_latched(self, states: Sequence[tuple[str, TradingState]]) -> None:
        text = ", ".join(f"{strategy_id} {state.name}" for strategy_id, state in states) or "all ACTIVE"
        self.alert("strategy_state", Severity.CRITICAL if states else Severity.INFO, f"{self.run_id}: {text}")

    def _say_phase(self, phase: str, text: str) -> None:
        self.phase = phase
        for listener in self._listeners:
            listener.phase(phase, text)

    def _say_waiting(self, reason: str) -> None:
        self._log.warning("waiting for a venue", reason=reason)
        self._say_phase("starting", f"waiting for a venue: {reason}")

    def _say_records_read(self, records: int) -> None:
        self._say_phase("starting", f"{records:,} records of the run before read")

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                self.stop("stop", SIGNAL_UID, signal.Signals(number).name)

    # What an operator, or the daemon itself, can ask for.

    def stop(self, action: str, uid: int, reason: str) -> None:
        if self._stop is None:
            self._stop = (action, uid, reason)
            self.session.inbox.wake()

    def halt(self, reason: str, uid: int = SIGNAL_UID) -> None:
        self.set_state("halt", TradingState.HALTED, reason, uid)

    def set_state(self, action: str, state: TradingState, reason: str, uid: int, strategy_id: str = "") -> None:
        """Stricter, never looser. `strategy_id` "": the account."""
        self._log.warning("trading state", action=action, state=state.name, uid=uid, reason=reason, strategy=strategy_id)
        self.session.control(
            _scoped(action, strategy_id), uid, reason, lambda now: [TradingStateSet(now, now, state, reason, strategy_id)]
        )

    def resume(self, reason: str, uid: int, state: TradingState = TradingState.ACTIVE, strategy_id: str = "") -> None:
        """The one way back to `state`. Raises StorageError where the kill latch cannot be cleared, RefusedError where trading may
        not be ACTIVE now; then nothing has changed.
        """
        refusal = self._refusal() if state is TradingState.ACTIVE else ""
        if refusal:
            raise RefusedError(refusal)
        self._log.warning("resumed", uid=uid, reason=reason, state=state.name, strategy=strategy_id)
        if self.session.kill.is_set and not strategy_id:
            # First: with the latch set, the next batch would halt again. A crash in between leaves HALTED, which is latched too.
            self.session.kill.clear()
        self.session.control(
            _scoped("resume", strategy_id), uid, reason, lambda now: [TradingResumed(now, now, reason, state, strategy_id)]
        )

    @property
    def is_flattening(self) -> bool:
        return self._is_flattening

    def start_flatten(self, reason: str, uid: int) -> None:
        """REDUCING, everything canceled, then every position closed at the market; `flattened` is set at its end.

        What is HALTED, the account or a strategy, becomes REDUCING in the same recorded step: that is what the reason is for.
        Raises RefusedError while the kill latch is set, StorageError where the journal refuses. It is the daemon's own task:
        whoever asked may go away.
        """
        session, reducing = self.session, TradingState.REDUCING
        if session.kill.is_set:
            raise RefusedError("the kill latch is set: `tradingd resume --to reducing --reason …` clears it; then flatten")
        states = session.trader.risk.states
        halted = [scope for scope in ("", *(name for name, _ in states.strategies())) if states.own(scope) is TradingState.HALTED]
        self._log.warning("flatten", uid=uid, reason=reason, halted=halted)
        self._is_flattening = True
        self.flattened = anyio.Event()
        session.control(
            "flatten",
            uid,
            reason,
            lambda now: [
                *(TradingResumed(now, now, reason, reducing, scope) for scope in halted),
                TradingStateSet(now, now, reducing, reason),
                CancelAllRequested(now, now, reason),
            ],
        )
        self._tasks.start(partial(self._flatten, reason))

    async def _flatten(self, reason: str) -> None:
        try:
            with anyio.move_on_after(self._stop_ns_max / NS_PER_SECOND):
                await self.closing.cancel_all(reason)
                await self.closing.close_positions(reason)
        finally:
            self._is_flattening = False
            self.flattened.set()
            self._log.warning("flattened", is_flat=self.closing.is_flat)

    # The end.

    async def _end(self) -> None:
        """Cancel, flatten where asked, verify; within `stop_timeout`, whatever happens outside."""
        self.closing.is_stopping = True
        error = self._error or self.session.storage_failure or self.session.failure
        action, uid, reason = self._stop or ("stop", SIGNAL_UID, str(error))
        self._say_phase("stopping", reason)
        self._log.warning("stopping", reason=reason, uid=uid)
        with anyio.move_on_after(self._stop_ns_max / NS_PER_SECOND, shield=True) as bound:
            await self._tasks.guarded(partial(self._end_in_order, action, uid, reason))
        if bound.cancelled_caught:
            self.alert("stop_overdue", Severity.CRITICAL, "the stop took too long; orders may be open at the venue")

    async def _end_in_order(self, action: str, uid: int, reason: str) -> None:
        session = self.session
        if session.storage_failure is None:
            session.control(
                action,
                uid,
                reason,
                lambda now: [
                    *([MemoryRequested(now, now)] if session.trader.memory.is_wanted and session.failure is None else []),
                    Stopping(now, now, reason, is_final=True),
                    CancelAllRequested(now, now, reason),
                ],
            )
        await self.closing.cancel_all(reason)
        if self._settings.flatten_on_stop and session.storage_failure is None and not await self.closing.close_positions(reason):
            self.alert("not_flat", Severity.CRITICAL, "positions are still open at the end")
        try:
            venue = (await session.adapter.query(executions_since(session.trader))).whole()
        except (TransportError, RefusedError, VenueProtocolError) as error:
            self.alert("not_verified", Severity.CRITICAL, f"the venue cannot be asked at the end: {error}")
            return
        # Between the venue's books and ours nothing is on its way any more, but for what has just come in.
        await self.closing.take_answers()
        differences = tuple(position_differences(session.trader, venue))
        left = self.reconciling.left_open(venue)
        if left or differences:
            what = "; ".join(differences) or "equal"
            self.alert("not_verified", Severity.CRITICAL, f"{len(left)} orders left at the venue; positions: {what}")
        self._is_verified = not left and not differences

    def _close(self) -> ExitCode:
        session = self.session
        error = self._error or session.storage_failure or session.failure
        if session.storage_failure is None:
            self._point("closing")
            session.snapshot()
            session.journal.close()
        else:
            session.journal.abandon()
        self._log.info("ended", error=str(error) if error else "", verified=self._is_verified)
        if error is not None:
            self.alert("failed", Severity.CRITICAL, f"{self.run_id} ended: {error}")
            raise error
        return ExitCode.OK if self._is_verified else ExitCode.MISMATCH

    def _listen_to_strategies(self, trader: Trader) -> None:
        log = structlog.get_logger("strategy")

        def listen(now: int, strategy_id: str, message: str, fields: dict[str, Any]) -> None:
            log.info(message, strategy=strategy_id, ts=now, **fields)

        for context in trader.contexts:
            context.listener = listen
