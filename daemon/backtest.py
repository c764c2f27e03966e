"""A backtest inside the daemon: the driver's loop in short slices; between them status and halt are answered."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import structlog

from core.errors import StorageError, StrategyError, TradingdError
from core.events import LimitTripped
from core.units import NS_PER_MS, NS_PER_SECOND, parse_duration_ns
from daemon.config.effective import config_digest, effective
from daemon.config.loader import LoadedConfig
from daemon.control.server import Listener, open_listener, serve
from daemon.control.socket_path import prepare_folder, socket_of
from daemon.control.wire import Request
from daemon.exit_codes import ExitCode, exit_code_of
from daemon.journal.format import JOURNAL_FOLDER, JournalHeader
from daemon.journal.opening import Sealing, begin_journal, open_sealing
from daemon.journal.writer import JournalSettings, JournalWriter, Sync
from daemon.ledger_check import check_ledger
from daemon.logging_setup import start_logging
from daemon.progress import Display, choose_display
from daemon.run_file import LOG_FILE
from daemon.run_folder import ROWS_PER_PART, RunFolder
from daemon.strategy_failure import with_place
from daemon.timestamps import iso
from daemon.version import VERSION
from daemon.wiring import Wired
from sim.driver import Driver
from sim.recorder import Recorder
from sim.report import live_numbers, statistics

SLICE_NS = 10 * NS_PER_MS  # of real time, between two looks at the socket
WAKEUPS_PER_LOOK = 16  # between two looks at the clock
PACED_SLEEP_S = 0.02
FOREVER = (1 << 63) - 1
STDERR = 2
RUN_SCHEMA = 1


@dataclass(slots=True)
class Outcome:
    """How a run ended: `run` is the content of run.json."""

    run: dict[str, Any]
    exit_code: ExitCode
    error: TradingdError | None
    folder: Path


@dataclass(slots=True)
class _StopRequest:
    """Set by the socket or a signal, seen by the loop. `status` is what run.json will say."""

    status: str = ""
    reason: str = ""
    signals: int = 0
    pending: bool = field(default=False)

    def ask(self, status: str, reason: str) -> None:
        if not self.pending:
            self.status, self.reason, self.pending = status, reason, True


class Backtest:
    """One run, from a checked configuration to its folder. Make it, then `await run()` once."""

    def __init__(
        self,
        loaded: LoadedConfig,
        wired: Wired,
        *,
        run_id: str,
        run_number: int,
        input_digest: str,
        out: Path,
        quiet: bool,
    ) -> None:
        self.loaded = loaded
        self.run_id = run_id
        self.run_number = run_number
        self.input_digest = input_digest
        self._quiet = quiet
        self._wired = wired
        sealing = open_sealing(loaded) if loaded.config.run.journal else None
        self.folder = RunFolder(out)
        self._stop = _StopRequest()
        config = loaded.config
        trader = self._wired.trader
        self.recorder = Recorder(
            trader,
            self._wired.venue.best,
            self._wired.ts_start,
            parse_duration_ns(config.report.equity_interval),
            config.report.equity_samples_max,
        )
        self._log: Any = structlog.get_logger("backtest")
        self._journal: JournalWriter | None = None
        try:
            self.log_file = start_logging(self.folder.path / LOG_FILE, console=not quiet)
            if sealing is not None:
                self._journal = self._open_journal(sealing)
        except StorageError:
            self.folder.discard()
            raise
        self.driver = Driver(
            trader,
            self._wired.venue,
            self.recorder,
            run_id=run_id,
            ts_start=self._wired.ts_start,
            journal=self._journal,
            bars=self._wired.bars,
        )
        self._pace = None if config.run.pace == "full" else float(config.run.pace.removesuffix("x"))
        self._wall_start_ns = 0

    def _open_journal(self, sealing: Sealing) -> JournalWriter:
        if sealing.signer is None:
            self._log.warning("the journal is not signed", reason=sealing.unsigned_reason)
        header = JournalHeader(
            run_id=self.run_id,
            run_number=self.run_number,
            mode=self.loaded.config.run.mode,
            config=effective(self.loaded),
            instruments=list(self._wired.trader.instruments.values()),
            order_run_number=self._wired.trader.run_number,
            tradingd=VERSION,
        )
        # Never synced: a backtest that the power cut ended is run again.
        return begin_journal(self.folder.path / JOURNAL_FOLDER, header, sealing, JournalSettings(sync=Sync.NONE))

    async def run(self) -> Outcome:
        """Run to the end, a halt, a signal or an error; the run folder is complete when this returns.

        Raises StorageError where the folder cannot be written: then nothing of it is left.
        """
        display = choose_display(
            quiet=self._quiet, interval_ns=parse_duration_ns(self.loaded.config.report.progress_interval), source=self.status
        )
        try:
            prepare_folder()
            listener = await open_listener(socket_of(self.run_id))
            self._listen_to_strategies()
            self._wall_start_ns = time.perf_counter_ns()
            with self._signals():
                error = await self._run_answering(listener, display)
            return self._finish(error)
        except (StorageError, KeyboardInterrupt):
            self._give_up()
            raise
        except Exception as bug:
            # What led to a bug of ours is worth keeping; the folder's name says that it is no whole run.
            if self._journal is not None:
                self._journal.flush()
            bug.add_note(f"the run up to here is in {self.folder.path}")
            raise

    async def _run_answering(self, listener: Listener, display: Display) -> TradingdError | None:
        """The loop and the socket's server side by side; what ended the loop early, where it is no fault of tradingd."""
        failure: BaseException | None = None
        error: TradingdError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, self.answer)
            try:
                error = await self._run_driver(display)
            except (StorageError, KeyboardInterrupt) as raised:
                # Out of the group first, so that it travels on as itself and not inside an ExceptionGroup.
                failure = raised
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return error

    async def _run_driver(self, display: Display) -> TradingdError | None:
        display.start()
        try:
            await self._loop(display)
        except StorageError:
            raise
        except StrategyError as error:
            self.driver.abandon()
            return with_place(error, self.driver.trader)
        except TradingdError as error:
            self.driver.abandon()
            return error
        finally:
            display.stop()
        return None

    async def _loop(self, display: Display) -> None:
        driver = self.driver
        venue = driver.venue
        driver.start()
        self._log.info("run started", run_id=self.run_id, folder=str(self.folder.final))
        while not self._stop.pending and not venue.done and not driver.has_tripped:
            until_ts = self._until_ts()
            slice_end = time.perf_counter_ns() + SLICE_NS
            idle = False
            while not idle and time.perf_counter_ns() < slice_end and not venue.done and not driver.has_tripped:
                # Fewer wake-ups than asked for: the moment has come, or a chunk of data has ended.
                idle = driver.advance(WAKEUPS_PER_LOOK, until_ts) < WAKEUPS_PER_LOOK and venue.now >= until_ts
            self._keep_rows()
            display.update()
            await anyio.sleep(PACED_SLEEP_S if idle else 0)
        if driver.has_tripped:
            assert driver.halted_for is not None
            self._stop.ask("halted", driver.halted_for)
        if self._stop.pending:
            self._log.warning("run halted", by=self._stop.status, reason=self._stop.reason)
            if not driver.has_tripped:
                driver.halt(self._stop.reason)
            driver.drain()
        driver.finish(self._stop.reason or "end of data")

    def _until_ts(self) -> int:
        """Where simulated time may be by now: real time since the start, times the pace."""
        if self._pace is None:
            return FOREVER
        elapsed_ns = time.perf_counter_ns() - self._wall_start_ns
        return self.driver.ts_start + int(elapsed_ns * self._pace)

    def _keep_rows(self) -> None:
        if self.recorder.rows_waiting >= ROWS_PER_PART:
            self.folder.add_fills(self.recorder.take_fills())
            self.folder.add_orders(self.recorder.take_orders())
            self.folder.add_cash(self.recorder.take_cash())

    # Control.

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the run in order; a second one, where a strategy never returns, breaks it off."""

        def handle(number: int, _frame: object) -> None:
            self._stop.signals += 1
            if self._stop.signals > 1:
                raise KeyboardInterrupt
            self._stop.ask("interrupted", signal.Signals(number).name)
            if not self._quiet:
                # Straight to the descriptor: a handler may have interrupted a write to sys.stderr.
                os.write(STDERR, b"tradingd: stopping in order; a second signal breaks off\n")

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        """The control socket's requests."""
        match (request.method, request.path):
            case ("GET", "/status"):
                return 200, self.status()
            case ("POST", "/halt"):
                reason = request.body.get("reason", "operator")
                if not isinstance(reason, str) or len(reason) > 200:
                    return 400, {"error": "reason must be text of at most 200 characters"}
                if request.body.get("strategy_id"):
                    return 400, {"error": "a backtest is halted as a whole"}
                self._stop.ask("halted", reason)
                return 200, {"run_id": self.run_id, "halting": True, "reason": self._stop.reason}
            case (_, "/status" | "/halt"):
                return 405, {"error": f"{request.path} does not take {request.method}"}
            case _:
                return 404, {"error": f"there is no {request.path} here; try GET /status or POST /halt"}

    def status(self) -> dict[str, Any]:
        driver = self.driver
        return {
            "run_id": self.run_id,
            "name": self.loaded.config.run.name,
            "mode": self.loaded.config.run.mode,
            "phase": driver.phase.value,
            "halting": self._stop.pending,
            "progress": round(self._wired.fraction(), 6),
            "sim_time": iso(driver.trader.now),
            "wall_s": round((time.perf_counter_ns() - self._wall_start_ns) / NS_PER_SECOND, 3),
            "events": driver.events,
            "wakeups": driver.wakeups,
            **live_numbers(driver.trader, self.recorder),
        }

    def _listen_to_strategies(self) -> None:
        log = structlog.get_logger("strategy")

        def listen(now: int, strategy_id: str, message: str, fields: dict[str, Any]) -> None:
            log.info(message, strategy=strategy_id, sim_ts=now, **fields)

        for context in self.driver.trader.contexts:
            context.listener = listen

    # The end.

    def _finish(self, error: TradingdError | None) -> Outcome:
        wall_ns = time.perf_counter_ns() - self._wall_start_ns
        journal_records = None
        if self._journal is not None:
            self._journal.close()
            journal_records = self._journal.records_written
            self._journal = None
        self.folder.add_fills(self.recorder.take_fills())
        self.folder.add_orders(self.recorder.take_orders())
        self.folder.add_cash(self.recorder.take_cash())
        self.folder.write_equity(self.recorder.samples)
        self.folder.close_tables()
        run = self._record(error, wall_ns, journal_records)
        self._log.info("run ended", status=run["status"], ledger_check=run["ledger_check"])
        self.log_file.close()
        folder = self.folder.publish(run)
        return Outcome(run, self._exit_code(error, run), error, folder)

    def _exit_code(self, error: TradingdError | None, run: dict[str, Any]) -> ExitCode:
        if error is not None:
            return exit_code_of(error)
        if run["ledger_check"] != "ok":
            return ExitCode.MISMATCH
        return {"halted": ExitCode.HALTED, "interrupted": ExitCode.INTERRUPTED}.get(self._stop.status, ExitCode.OK)

    def _record(self, error: TradingdError | None, wall_ns: int, journal_records: int | None) -> dict[str, Any]:
        """The content of run.json. What is above "wall_s" of two equal runs differs in run_id and folder only."""
        loaded, driver, trader = self.loaded, self.driver, self.driver.trader
        config = loaded.config
        numbers = statistics(
            trader,
            self.recorder,
            trading_day_ns=parse_duration_ns(config.report.trading_day),
            trading_days_per_year=config.report.trading_days_per_year,
        )
        totals = self._wired.totals()
        return {
            "schema": RUN_SCHEMA,
            "tradingd": VERSION,
            "run_id": self.run_id,
            "run_number": self.run_number,
            "name": config.run.name,
            "mode": config.run.mode,
            "status": "failed" if error is not None else self._stop.status or "complete",
            "status_reason": str(error) if error is not None else self._stop.reason,
            "error": None if error is None else {"type": type(error).__name__, "message": str(error)},
            "strategy": ", ".join(table.class_ for table in config.strategies),
            "strategies": effective(loaded)["strategies"],
            "instruments": list(trader.instruments),
            "seed": config.run.seed,
            "sim_start": iso(driver.ts_start),
            "sim_end": iso(trader.now),
            "sim_s": (trader.now - driver.ts_start) / NS_PER_SECOND,
            "rows": totals["rows"],
            "events": driver.events,
            "wakeups": driver.wakeups,
            **numbers,
            "venue": totals,
            "trading_state": trader.risk.trading_state.name,
            "trips": [_trip(tripped) for tripped in driver.tripped],
            "duplicate_fills": trader.duplicate_fills,
            "journal_records": journal_records,
            "ledger_check": check_ledger(trader, self.folder.path / "fills.parquet", self._wired.cash_start),
            "commands": trader.commands_digest.count,
            "commands_digest": trader.commands_digest.hexdigest(),
            "state_digest": trader.state_digest(),
            "config_digest": config_digest(loaded),
            "input_digest": self.input_digest,
            "wall_s": round(wall_ns / NS_PER_SECOND, 6),
            "folder": str(self.folder.final),
        }

    def _give_up(self) -> None:
        """After a full disk, or where a person broke the run off, nothing of it stays."""
        if self._journal is not None:
            self._journal.abandon()
        self.log_file.abandon()
        self.folder.discard()


def _trip(tripped: LimitTripped) -> dict[str, Any]:
    """A limit that was passed, as run.json holds it; numbers in the units of docs/RISK.md. strategy_id "": the account."""
    return {
        "ts": iso(tripped.ts_init),
        "strategy_id": tripped.strategy_id,
        "state": tripped.state.name,
        "limit": tripped.limit,
        "value": tripped.value,
        "bound": tripped.bound,
        "inputs": dict(tripped.inputs),
    }
