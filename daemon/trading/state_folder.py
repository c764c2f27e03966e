"""The folder that holds one account's paper trading: lock, run number, latched trading state, and a folder for each run.

state/NAME/lock                 held while a daemon trades this account; a fencing token in it (daemon/journal/lock.py)
state/NAME/.run_number          the last run number given
state/NAME/trading_state.json   ACTIVE, REDUCING or HALTED, and why
state/NAME/kill_latch           set by a kill, cleared by a resume (daemon/kill_latch.py)
state/NAME/promotion.json       what may trade real money here, and why (daemon/promotion)
state/NAME/runs/000001/journal  one run's journal: begins with what the runs before it left
state/NAME/runs/000001/snapshot-000000123456.tds   what the journal's first 123,456 records come to
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.enums import TradingState
from core.errors import StorageError
from daemon.journal.files import DISK, Files, make_durable_folder
from daemon.journal.format import JOURNAL_FOLDER, segment_name
from daemon.journal.lock import LOCK_FILE, WriterLock
from daemon.journal.reader import segments_of
from daemon.kill_latch import LATCH_FILE as KILL_LATCH_FILE
from daemon.kill_latch import KillLatch
from daemon.run_number import next_run_number
from daemon.trading.durable_file import replace_file

LATCH_FILE = "trading_state.json"
STRANGE = "the state folder was copied or restored, or its lock deleted: see that nobody else trades this account, then resume"
RUNS_FOLDER = "runs"
OWN_FOLDERS = 3  # runs, the account's folder, and what daemon.state_folder names


@dataclass(frozen=True, slots=True)
class Latch:
    """The trading state that a restart keeps."""

    state: TradingState
    reason: str = ""
    ts: int = 0


class StateFolder:
    """Held by this process from here on. Raises StorageError where another daemon holds it, or the disk refuses."""

    def __init__(self, path: Path, files: Files = DISK) -> None:
        self.path = path
        self.files = files
        try:
            make_durable_folder(path / RUNS_FOLDER, OWN_FOLDERS, files)
        except OSError as error:
            raise StorageError(f"{path}: the state folder cannot be made: {error.strerror or error}") from error
        try:
            self._lock = WriterLock(path / LOCK_FILE, files)
        except StorageError as error:
            raise StorageError(f"{path}: another daemon trades this account, or the lock cannot be had: {error}") from error
        try:
            self.kill = KillLatch(path / KILL_LATCH_FILE, files)
        except StorageError:
            self._lock.release()
            raise
        try:
            # The names of lock and latch: a latch that a power cut takes away would come back clear.
            files.sync_folder(path)
            self._settle_lock()
        except OSError as error:
            self.release()
            raise StorageError(f"{path}: the state folder cannot be kept: {error.strerror or error}") from error
        except StorageError:
            self.release()
            raise

    def _settle_lock(self) -> None:
        """Where this may not be the only folder of the account any more, nothing is traded until a person has seen to it."""
        if not self._lock.is_strange:
            return
        before = self.read_latch()
        if self.run_numbers() and before.state is not TradingState.HALTED:
            # On the disk before the lock is taken for good: a crash in between finds the lock as strange as it was.
            self.write_latch(Latch(TradingState.HALTED, STRANGE, before.ts))
        self._lock.settle()

    def check_lock(self) -> None:
        """Raises StorageError where another daemon has taken the account over."""
        self._lock.check()

    def release(self) -> None:
        self.kill.close()
        self._lock.release()

    def next_run(self) -> int:
        """The number of a new run, durable before it is returned."""
        return next_run_number(self.path, self.files, max(self.run_numbers(), default=0))

    def run_folder(self, run_number: int) -> Path:
        return self.path / RUNS_FOLDER / f"{run_number:06d}"

    def make_run_folder(self, run_number: int) -> Path:
        folder = self.run_folder(run_number)
        try:
            make_durable_folder(folder, 1, self.files)
        except OSError as error:
            raise StorageError(f"{folder}: the run folder cannot be made: {error.strerror or error}") from error
        return folder

    def keep_run(self, run_number: int) -> None:
        """What a killed run has written may be in the system's memory alone: whoever goes on from it makes it durable first.

        Else a power cut could take away what the run after it stands on. Raises StorageError.
        """
        folder = self.run_folder(run_number)
        journal = folder / JOURNAL_FOLDER
        try:
            for segment in segments_of(journal):
                descriptor = self.files.open_to_append(journal / segment_name(segment))
                try:
                    self.files.sync(descriptor)
                finally:
                    self.files.close(descriptor)
            for each in (journal, folder):
                self.files.sync_folder(each)
        except OSError as error:
            raise StorageError(f"{journal}: cannot be kept: {error.strerror or error}") from error

    def run_numbers(self) -> list[int]:
        """Runs that have a folder, the newest first."""
        return sorted((int(entry.name) for entry in (self.path / RUNS_FOLDER).iterdir() if entry.name.isdigit()), reverse=True)

    def read_latch(self) -> Latch:
        return read_latch(self.path, self.files)

    def write_latch(self, latch: Latch) -> None:
        content = {"state": latch.state.name, "reason": latch.reason, "ts": latch.ts}
        replace_file(self.path / LATCH_FILE, json.dumps(content).encode() + b"\n", self.files)


def read_latch(account: Path, files: Files = DISK) -> Latch:
    """Of an account's folder; ACTIVE where there is none yet. Raises StorageError for a damaged one: it may have said HALTED."""
    path = account / LATCH_FILE
    try:
        content = json.loads(files.read(path))
        return Latch(TradingState[content["state"]], str(content["reason"]), int(content["ts"]))
    except FileNotFoundError:
        return Latch(TradingState.ACTIVE)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f'{path}: is damaged ({error}); write {{"state": "HALTED", "reason": "", "ts": 0}} to it') from error
