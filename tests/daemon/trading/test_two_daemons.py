"""Two daemons for one account: whatever was done to the lock, one of them at most sends orders."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from core.enums import TradingState
from core.errors import StorageError, TradingdError
from core.identifiers import COUNTER_BITS
from core.trader import Trader
from daemon.config.loader import LoadedConfig
from daemon.control.server import Handler
from daemon.exit_codes import ExitCode, exit_code_of
from daemon.trading.clock import Clock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.state_folder import STRANGE, Latch, StateFolder
from tests.daemon.session import environment
from tests.daemon.trading.durable_venue import DurableVenue, FileLedger
from tests.daemon.trading.kill_runner import write_config

SECONDS_MAX = 60.0


def state_of(loaded: LoadedConfig) -> Path:
    return Path(loaded.config.daemon.state_folder) / "session"


def orders_by_run(ledger: Path) -> dict[int, int]:
    """How many orders and replaces of each run the venue has taken."""
    found: dict[int, int] = {}
    for entry in FileLedger(ledger).entries() if ledger.exists() else []:
        if entry[0] in ("order", "replace"):
            run = entry[1] >> COUNTER_BITS
            found[run] = found.get(run, 0) + 1
    return found


def trade(loaded: LoadedConfig, ledger: Path, seconds: float | None, resumes: bool) -> int:
    """One life; `seconds` None: until it ends by itself."""

    def open_venue(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> DurableVenue:
        return DurableVenue(FileLedger(ledger), clock, 1)

    def handler_of(made: Daemon) -> Handler:
        loop = asyncio.get_running_loop()
        if resumes:
            loop.call_soon(made.resume, "a test", 0)
        if seconds is not None:
            loop.call_later(seconds, made.stop, "stop", 0, "the life is over")
        return Control(made).answer

    daemon = Daemon(loaded, quiet=True, open_adapter=open_venue)
    try:
        return anyio.run(partial(daemon.run, handler_of))
    except TradingdError as error:
        return exit_code_of(error)


def fork(life: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = life()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def wait_until(child: int, is_so: Callable[[], bool]) -> None:
    """Look again and again while the child lives."""
    descriptor = os.pidfd_open(child)
    end = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        assert not select.select([descriptor], [], [], 0.005)[0], "it has ended"
    os.close(descriptor)


def code_of(child: int) -> int:
    descriptor = os.pidfd_open(child)
    has_ended = bool(select.select([descriptor], [], [], SECONDS_MAX)[0])
    os.close(descriptor)
    if not has_ended:
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedConfig:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", environment(tmp_path)["TRADINGD_RUNTIME_DIR"])
    return write_config(tmp_path)


def test_a_stopped_daemon_that_goes_on_after_another_took_over_sends_no_order(loaded: LoadedConfig, tmp_path: Path) -> None:
    ledger = tmp_path / "venue.jsonl"
    first = fork(lambda: trade(loaded, ledger, None, resumes=False))
    wait_until(first, lambda: orders_by_run(ledger).get(1, 0) >= 3)
    os.kill(first, signal.SIGSTOP)
    os.waitpid(first, os.WUNTRACED)
    with pytest.raises(StorageError, match="another daemon trades this account"):
        StateFolder(state_of(loaded))
    # Somebody knows better, deletes the lock and starts a second one.
    (state_of(loaded) / "lock").unlink()
    before = orders_by_run(ledger)
    assert trade(loaded, ledger, 0.1, resumes=False) == ExitCode.OK
    assert orders_by_run(ledger) == before, "HALTED until a person says that the first one is gone"
    assert trade(loaded, ledger, 0.2, resumes=True) == ExitCode.OK
    after = orders_by_run(ledger)
    assert after.get(3, 0) > 0
    os.kill(first, signal.SIGCONT)
    assert code_of(first) == ExitCode.STORAGE
    assert orders_by_run(ledger) == after, "nor a replace"


def test_a_copy_of_the_state_folder_does_not_trade(loaded: LoadedConfig, tmp_path: Path) -> None:
    ledger = tmp_path / "venue.jsonl"
    assert trade(loaded, ledger, 0.2, resumes=False) == ExitCode.OK
    before = orders_by_run(ledger)
    original, copy = state_of(loaded), tmp_path / "elsewhere" / "session"
    shutil.copytree(original, copy)
    daemon = loaded.config.daemon.model_copy(update={"state_folder": str(copy.parent)})
    copied = type(loaded)(loaded.config.model_copy(update={"daemon": daemon}), loaded.file, loaded.instruments)
    for _ in range(2):
        assert trade(copied, ledger, 0.1, resumes=False) == ExitCode.OK
        assert orders_by_run(ledger) == before
    assert trade(loaded, ledger, 0.2, resumes=False) == ExitCode.OK
    assert orders_by_run(ledger)[2] > 0, "the one that was copied trades on"


def test_only_what_is_strange_about_a_lock_halts(tmp_path: Path) -> None:
    path = tmp_path / "state" / "account"
    folder = StateFolder(path)
    assert folder.read_latch() == Latch(TradingState.ACTIVE), "an account that is new"
    folder.make_run_folder(folder.next_run())
    folder.release()
    for _ in range(2):
        folder = StateFolder(path)
        assert folder.read_latch() == Latch(TradingState.ACTIVE)
        folder.release()
    # A folder that is only called otherwise is the same one.
    path = path.rename(tmp_path / "state" / "renamed")
    folder = StateFolder(path)
    assert folder.read_latch() == Latch(TradingState.ACTIVE)
    folder.release()
    (path / "lock").unlink()
    for _ in range(2):
        folder = StateFolder(path)
        assert folder.read_latch() == Latch(TradingState.HALTED, STRANGE)
        folder.write_latch(Latch(TradingState.HALTED, STRANGE))
        folder.release()
