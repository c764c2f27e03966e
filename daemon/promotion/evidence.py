"""What one paper run proves: read from its journal alone, which is verified and replayed with the code that is here now."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.commands import SubmitOrder
from core.enums import TradingState
from core.errors import ConfigError, DataError, StrategyError
from core.events import (
    Event,
    LimitTripped,
    OrderDenied,
    OrderFilled,
    OrderOutcomeUnknown,
    Started,
    StateRestored,
    TradingResumed,
    TradingStateSet,
)
from core.units import NS_PER_MINUTE
from daemon.audit.verify import verify
from daemon.config.loader import load_effective
from daemon.journal.format import JournalHeader, Record
from daemon.journal.reader import JournalDamage, JournalReader
from daemon.promotion.identity import Identity, identity_of
from daemon.replay import replay
from daemon.wiring import why_no_evidence

SILENCE_NS_MAX = NS_PER_MINUTE  # between two events of a run that trades: what is longer was no trading


class PaperRun(msgspec.Struct, kw_only=True):
    """`why_not`: the run counts for nothing, and this is why. Times in ns."""

    folder: str
    run_id: str = ""
    journal_id: str = ""  # of the journal and of the key that signed it
    ts_first: int = 0
    ts_last: int = 0
    traded_ns: int = 0  # ACTIVE, with something happening at least once a minute
    orders: int = 0
    fills: int = 0
    denials: int = 0
    trips: int = 0
    unknown: int = 0  # times that an order's outcome was unknown
    failure: str = ""  # of a strategy or of tradingd: what ended or halted it
    why_not: str = ""


def read_paper_run(folder: Path, wanted: Identity, *, key: str | None, since_ts: int) -> PaperRun:
    """The run in `folder`, for a promotion of `wanted`. `key`: the public key of its journal, None: any. `since_ts`: not older.

    Whatever makes the run no evidence is said in `why_not`; nothing is raised for it.
    """
    run = PaperRun(folder=str(folder))
    try:
        run.why_not = _read(folder, run, wanted, key, since_ts)
    except (DataError, ConfigError, StrategyError, JournalDamage) as error:
        run.why_not = str(error)
    return run


def _read(folder: Path, run: PaperRun, wanted: Identity, key: str | None, since_ts: int) -> str:
    with JournalReader(folder, must_end=False) as reader:
        run.run_id = reader.header.run_id
        walk = Tally(run)
        for record in reader:
            walk.take(record)
        headers = [header for _record, header in reader.headers] or [reader.header]
    if run.ts_last < since_ts:
        return "it ended too long ago"
    for header in headers:
        found = _refusal(header, folder, wanted)
        if found:
            return found
    report = verify(folder, key=key)
    run.journal_id = f"{report.journal_id} {report.public_key}"
    if report.findings:
        return f"audit: {report.findings[0].damage.value}: {report.findings[0].message}"
    if not report.public_key:
        return "its journal is not signed"
    replayed = replay(folder, None)
    if not replayed.is_identical:
        return "the code that is here now does not give the same commands: see `tradingd replay`"
    run.failure = replayed.error
    return ""


def _refusal(header: JournalHeader, folder: Path, wanted: Identity) -> str:
    loaded = load_effective(header.config, folder)
    differences = wanted.differences(identity_of(loaded))
    return f"it traded something else: {differences[0]}" if differences else why_no_evidence(loaded)


class Tally:
    """Counts into a PaperRun, record by record."""

    def __init__(self, run: PaperRun) -> None:
        self._run = run
        self._state = TradingState.ACTIVE
        self._is_started = False

    def take(self, record: Record) -> None:
        run = self._run
        if isinstance(record, Event):
            self._pass(record.ts_init)
        match record:
            case StateRestored():
                self._state, self._is_started = record.state.trading_state, False
            case Started():
                self._is_started = True
            case SubmitOrder():
                run.orders += 1
            case OrderFilled():
                run.fills += 1
            case OrderDenied():
                run.denials += 1
            case OrderOutcomeUnknown():
                run.unknown += 1
            case LimitTripped():
                run.trips += 1
                if not record.strategy_id:
                    self._state = max(self._state, record.state)
            case TradingStateSet() if not record.strategy_id:
                self._state = max(self._state, record.state)
            case TradingResumed() if not record.strategy_id:
                self._state = record.state
            case _:
                pass

    def _pass(self, ts: int) -> None:
        run = self._run
        run.ts_first = run.ts_first or ts
        passed = ts - run.ts_last
        if self._is_started and self._state is TradingState.ACTIVE and run.ts_last and 0 < passed <= SILENCE_NS_MAX:
            run.traded_ns += passed
        run.ts_last = max(run.ts_last, ts)
