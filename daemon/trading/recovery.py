"""What the runs before this one left: the newest good snapshot and the journal behind it. Reads only, so it may be done again.

A run counts from the moment its journal has a first record, StateRestored: before that it cannot have sent anything, and the run
before it is what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from core.enums import TradingState
from core.errors import DataError
from core.events import StateRestored
from core.restore import capture
from core.trader import Trader
from core.trader_state import TraderState
from daemon.config.loader import load_effective
from daemon.journal.anchor import Anchors
from daemon.journal.format import JOURNAL_FOLDER, Record
from daemon.journal.reader import JournalDamage, JournalReader, segments_of
from daemon.journal.reopen import find_end, refuse_cut
from daemon.journal.tail import BEGINNING, Place, TailReader
from daemon.trading.fold import Fold
from daemon.trading.snapshot import read_snapshot, snapshots_of
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader

PROGRESS_RECORDS = 20_000  # read between two signs of progress

OnProgress = Callable[[int], None]


def no_progress(_records: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """`previous_run` 0: nothing traded here before. `records_read` is what the restart had to read."""

    state: TraderState
    previous_run: int = 0
    ts: int = 0  # of the last event
    records_read: int = 0
    snapshot_records: int = 0
    problems: tuple[str, ...] = ()


def recover(
    folder: StateFolder,
    make_trader: Callable[[], Trader],
    on_progress: OnProgress = no_progress,
    anchors: Anchors | None = None,
) -> Recovered:
    """Fold what is there; the latched trading state wins where it is stricter, and a kill latch that is set is HALTED.

    `make_trader` gives the empty state of an account that never traded. Runs before are folded under their own configuration,
    which is in their journals. `on_progress` hears now and then how many records have been read. Raises JournalDamage where a
    journal has more wrong with it than an unfinished end, StorageError for a damaged latch, and where `anchors` know more of the
    journal than is there.
    """
    latch = folder.read_latch()
    found: Recovered | None = None
    for run_number in folder.run_numbers():
        journal = folder.run_folder(run_number) / JOURNAL_FOLDER
        if anchors is not None and journal.is_dir() and segments_of(journal):
            refuse_cut(find_end(journal, folder.files), journal, anchors)
        found = recover_run(folder.run_folder(run_number), run_number, on_progress)
        if found is not None:
            break
    if found is None:
        found = Recovered(state=capture(make_trader()))
    killed = TradingState.HALTED if folder.kill.is_set else TradingState.ACTIVE
    state = _with_trading_state(found.state, max(found.state.trading_state, latch.state, killed))
    return Recovered(
        state=state,
        previous_run=found.previous_run,
        ts=max(found.ts, latch.ts),
        records_read=found.records_read,
        snapshot_records=found.snapshot_records,
        problems=found.problems,
    )


def _with_trading_state(state: TraderState, trading_state: TradingState) -> TraderState:
    return msgspec.structs.replace(state, trading_state=trading_state)


def recover_run(run_folder: Path, run_number: int, on_progress: OnProgress = no_progress) -> Recovered | None:
    """None where the run never began."""
    journal = run_folder / JOURNAL_FOLDER
    if not journal.is_dir() or not segments_of(journal) or next(iter(TailReader(journal)), None) is None:
        return None
    header = JournalReader(journal, must_end=False).header
    loaded = load_effective(header.config, journal)

    def fold(place: Place, start: StateRestored | None) -> Recovered:
        return _fold(journal, run_number, partial(build_bare_trader, loaded), place, start, on_progress)

    for path in snapshots_of(run_folder):
        snapshot = read_snapshot(path)
        if snapshot is None:
            continue
        # The snapshot is a state as a run begins with one: the fold starts from it in the same way.
        start = StateRestored(snapshot.ts, snapshot.ts, run_number, snapshot.state)
        try:
            return fold(snapshot.place, start)
        except JournalDamage:
            # The journal beside it is another one, or ends before it. From its beginning it says itself what is wrong.
            continue
    return fold(BEGINNING, None)


def _fold(
    journal: Path,
    run_number: int,
    make_trader: Callable[[], Trader],
    place: Place,
    start: StateRestored | None,
    on_progress: OnProgress,
) -> Recovered:
    reader = TailReader(journal, place)
    fold = Fold(make_trader)
    records: Iterator[Record] = iter(reader)
    if start is not None:
        fold.apply(start)
    else:
        first = next(records)
        if not isinstance(first, StateRestored):
            raise DataError(f"the journal of a run begins with {type(first).__name__}, not with a state", file=str(journal))
        records = chain((first,), records)
    for record in records:
        fold.apply(record)
        if fold.records % PROGRESS_RECORDS == 0:
            on_progress(fold.records)
    return Recovered(
        state=fold.state(),
        previous_run=run_number,
        ts=fold.ts,
        records_read=fold.records - (start is not None),
        snapshot_records=place.records,
        problems=tuple(fold.problems),
    )
