"""Starts the daemon again and again at a venue that outlives it, kills it each time, and holds our books against the venue's.

    python -m tests.daemon.trading.kill_runner FOLDER KILLS SEED

Prints one JSON object. Every life is a fork of this process, so that a thousand of them take minutes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from core.commands import SubmitOrder
from core.enums import Side, TradingState
from core.events import OrderFilled, StateRestored, TradingResumed, TradingStateSet
from core.trader import Trader
from daemon.audit.findings import Verdict
from daemon.audit.verify import verify
from daemon.config.loader import LoadedConfig, load_config
from daemon.control.server import Handler
from daemon.journal.tail import TailReader
from daemon.replay import replay
from daemon.trading.clock import Clock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from tests.daemon.session import CONFIG
from tests.daemon.trading.durable_venue import COMMISSION, INSTRUMENT, DurableVenue, Entry, FileLedger

POINTS = (
    "locked",
    "numbered",
    "begun",
    "restored",
    "reconciled",
    "stepped",
    "journaled",
    "sent",
    "latched",
    "snapshot",
    "closing",
)
ONCE = ("locked", "numbered", "begun", "restored", "reconciled", "closing")  # points that a life passes one time
LIFE_S_MAX = 0.25
CLOSING_AT_S = 0.2  # when the life that is to die while it ends is told to end
POINT_S_MAX = 10.0  # within which a point is come to; a machine may be busy
HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None
CASH = 100_000 * 10**8


def write_config(folder: Path) -> LoadedConfig:
    text = CONFIG.replace('class = "symmetric_maker"', 'class = "tests.daemon.trading.churner:Churner"').replace(
        '[strategies.params]\ninstrument_id = "ACME.SIM"\norder_qty = "10"\nposition_qty_max = "100"', ""
    )
    text = text.replace("position_qty_max = 200", "position_qty_max = 100000\norders_max = 100000").replace(
        "seed = 3", 'mode = "paper"'
    )
    path = folder / "kill.toml"
    path.write_text(f'{text}\n[daemon]\nstate_folder = "{folder}/state"\nsnapshot_records = 100\n')
    return load_config(path)


@dataclass(frozen=True)
class End:
    """`number` ends a life `seconds` after it began, or after it was ready."""

    seconds: float
    number: int = signal.SIGKILL
    is_from_ready: bool = False


def live(loaded: LoadedConfig, ledger: Path, seed: int, point: Callable[[str], None], ready: int) -> int:
    """One life of the daemon, to its end, on either kind of loop; a byte in `ready` says that it trades."""

    def open_venue(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> DurableVenue:
        return DurableVenue(FileLedger(ledger), clock, seed)

    daemon = Daemon(loaded, quiet=True, open_adapter=open_venue, point=point)

    def handler_of(made: Daemon) -> Handler:
        # An operator who resumes what the life before had halted, and halts and resumes again: latches on the way.
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, os.write, ready, b"r")
        loop.call_later(0.005, made.resume, "test", 0)
        loop.call_later(0.06, made.halt, "test", 0)
        loop.call_later(0.08, made.resume, "test", 0)
        return Control(made).answer

    return anyio.run(partial(daemon.run, handler_of), backend_options={"use_uvloop": HAS_UVLOOP and seed % 2 == 1})


def die_at(name: str, visit: int) -> Callable[[str], None]:
    left = [visit]

    def point(found: str) -> None:
        if found == name:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return point


def fork_life(loaded: LoadedConfig, ledger: Path, seed: int, point: Callable[[str], None], end: End) -> tuple[int, bool]:
    """The exit status of one life, and whether it ended by itself."""
    ready, says_ready = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = live(loaded, ledger, seed, point, says_ready)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            raise
        finally:
            os._exit(code)
    os.close(says_ready)
    if end.is_from_ready:
        # The pipe also wakes us where the child dies before.
        select.select([ready], [], [], POINT_S_MAX)
    found = end_after(child, end.seconds, end.number)
    os.close(ready)
    return found


def end_after(child: int, seconds: float, number: int) -> tuple[int, bool]:
    """Its exit status, and whether it ended by itself within `seconds`: else `number` ended it."""
    descriptor = os.pidfd_open(child)
    has_ended = bool(select.select([descriptor], [], [], seconds)[0])
    os.close(descriptor)
    if not has_ended:
        os.kill(child, number)
    return os.waitpid(child, 0)[1], has_ended


def audit(loaded: LoadedConfig, entries: list[Entry]) -> dict[str, Any]:
    """Read every journal, hold it against the venue's entries; nothing of the daemon's own arithmetic is used."""
    sent: Counter[int] = Counter()
    booked: Counter[str] = Counter()
    runs = sorted((Path(loaded.config.daemon.state_folder) / "session" / "runs").iterdir())
    different = []
    damaged = []
    loosened = []
    state = TradingState.ACTIVE
    for run in runs:
        journal = run / "journal"
        if not journal.is_dir() or not any(journal.glob("*.tdj")):
            continue
        for record in TailReader(journal):
            if isinstance(record, StateRestored) and record.state.trading_state < state:
                loosened.append(run.name)
            if isinstance(record, TradingStateSet | TradingResumed):
                state = record.state
            if isinstance(record, SubmitOrder):
                sent[record.client_order_id] += 1
            elif isinstance(record, OrderFilled):
                booked[record.execution_id] += 1
        if next(iter(TailReader(journal)), None) is None:
            continue  # it never began
        if verify(journal).verdict is Verdict.DAMAGED:
            damaged.append(run.name)
        if not replay(run, None).is_identical:
            different.append(run.name)
    taken = Counter(entry[1] for entry in entries if entry[0] == "order")
    executions = {entry[1] for entry in entries if entry[0] == "fill"}
    return {
        "runs": len(runs),
        "orders": len(taken),
        "fills": len(executions),
        "orders_duplicated": [key for key, count in (taken + sent).items() if max(taken[key], sent[key]) > 1],
        "orders_not_journaled": sorted(set(taken) - set(sent)),
        "fills_lost": sorted(executions - set(booked)),
        "fills_twice": sorted(key for key, count in booked.items() if count > 1),
        "fills_invented": sorted(set(booked) - executions),
        "replays_different": different,
        "journals_damaged": damaged,
        "halts_lost": loosened,
        **position_and_cash(entries),
    }


def position_and_cash(entries: list[Entry]) -> dict[str, int]:
    """What the venue's own entries come to."""
    sides: dict[int, int] = {}
    prices: dict[int, int] = {}
    position, cash = 0, CASH
    for entry in entries:
        if entry[0] == "order":
            sides[entry[1]], prices[entry[1]] = entry[2], entry[4]
        elif entry[0] == "replace":
            prices[entry[1]] = entry[3]
        elif entry[0] == "fill":
            signed = entry[3] if sides[entry[2]] == Side.BUY else -entry[3]
            position += signed
            cash -= signed * prices[entry[2]] * 10**6 + COMMISSION
    return {"position": position, "cash": cash}


def last_state(loaded: LoadedConfig) -> tuple[int, int]:
    """Position and cash that the next start would begin with."""
    from daemon.trading.recovery import recover
    from daemon.trading.state_folder import StateFolder
    from daemon.trading.wiring import build_bare_trader

    folder = StateFolder(Path(loaded.config.daemon.state_folder) / "session")
    state = recover(folder, partial(build_bare_trader, loaded)).state
    folder.release()
    positions = {p.instrument_id: p.qty for p in state.positions if not p.strategy_id}
    return positions.get(INSTRUMENT, 0), int(state.cash["USD"])


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    loaded = write_config(folder)
    ledger = folder / "venue.jsonl"
    draw = random.Random(seed)
    failures = []
    died = Counter[str]()
    for number in range(kills):
        # Every named point in turn, each at its first visits; between them, any instant.
        is_random = number % 2 == 1
        name = POINTS[number // 2 % len(POINTS)]
        visits = (1,) if name in ONCE else (1, 2) if name == "latched" else (1, 1, 2, 3)
        point = die_at("" if is_random else name, draw.choice(visits))
        if is_random:
            # Every fourth one in its first moments, the others while they trade.
            end = End(draw.uniform(0.005, LIFE_S_MAX), is_from_ready=number % 8 != 1)
        elif name == "closing":
            end = End(CLOSING_AT_S, signal.SIGTERM, is_from_ready=True)
        else:
            end = End(POINT_S_MAX)
        status, by_itself = fork_life(loaded, ledger, draw.randrange(1 << 30), point, end)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            died[name if by_itself else "random"] += 1
        elif not (end.number == signal.SIGTERM and status == 0):
            failures.append((number, name, status))
    end = End(2 * LIFE_S_MAX, signal.SIGTERM, is_from_ready=True)
    status, _ = fork_life(loaded, ledger, draw.randrange(1 << 30), lambda _name: None, end)
    if status:
        failures.append((kills, "the last life", status))
    found = audit(loaded, FileLedger(ledger).entries())
    position, cash = last_state(loaded)
    return {**found, "position_here": position, "cash_here": cash, "failures": failures, "died": dict(died)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
