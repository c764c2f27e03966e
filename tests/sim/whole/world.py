"""A whole world from one seed: venues, a network, a machine and the daemon on it, everything that can go wrong, and the verdict.

A world is a list of deeds, each after a while of its own: kills, power cuts, cuts of the network, halts, what happens at venues.
Then it becomes calm, the daemon is given time to find out everything, and the auditor looks. The same seed is the same world;
with fewer steps it is the beginning of it.
"""

from __future__ import annotations

import hashlib
import importlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from core.enums import TradingState
from core.errors import ConfigError, RefusedError, StorageError, TransportError, VenueProtocolError
from daemon.config.loader import LoadedConfig, load_config
from daemon.exit_codes import ExitCode
from daemon.kill_latch import LATCH_FILE, KillLatch
from daemon.trading.reconciling import Reconciliation
from sim.venues.faults import Random
from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import MS, Conditions, Network
from tests.sim.whole import kit_alpaca, kit_binance, kit_ccxt, kit_deribit, kit_ib, kit_oanda, kit_sim
from tests.sim.whole.auditor import FOREVER, Kill, after_kill, audit, over_limit
from tests.sim.whole.books import read_books
from tests.sim.whole.cash_auditor import audit_cash, read_cash
from tests.sim.whole.disk import Disk
from tests.sim.whole.guard import Guard, dead_man_runs_out, guardian_kills
from tests.sim.whole.machine import Machine
from tests.sim.whole.process import Process, State
from tests.sim.whole.venue_kit import VenueKit
from tests.sim.whole.verdict import STEPS, Verdict, Violated

NAME = "whole"
DEED_NS = (50 * MS, 4 * NS_PER_S)
TRADING_NS_MAX = 40 * NS_PER_S  # for which a daemon that starts is waited for
LOOK_NS = NS_PER_S  # between two looks of the auditor at the venues' side of the wire
CALM_NS_MAX = 300 * NS_PER_S  # in which everything is found out
NUDGE_NS, NUDGE_NS_MAX = NS_PER_S // 5, 8 * NS_PER_S  # between two comparisons that a person asks for; doubled each time
SETTLED_NS = 3 * NS_PER_S  # for which it has to stay so
RESTART_NS = (10 * MS, 3 * NS_PER_S)
CLOCK_OFF_NS = (10 * NS_PER_S, 3_600 * NS_PER_S)  # how far somebody sets the clock wrong
CLOCK_WRONG_NS = (100 * MS, 20 * NS_PER_S)  # for how long
REFUSALS_MAX = 4  # of a disk that takes everything again behind them
DISK_FULL = 1 << 30  # refusals of one that does not
REPLAYED_OF = 16  # one seed of so many is replayed too, run by run
REASONS = ("a deed", "calm", "killed: ")  # for which somebody halts; every other halt is the daemon's own
SHM = Path("/dev/shm")

CONFIG = """
[run]
name = "whole"
mode = "paper"

[account.cash]
{cash}

[risk]
order_qty_max = "50"
order_notional_max = "1000000000"
position_qty_max = "1000000"
price_collar = "20%"
orders_max = 100000

[[strategies]]
id = "gambler"
class = "tests.sim.whole.gambler:Gambler"
params = {{ seed = {seed}, pause_ms = {pause_ms}, lots = {{ {lots} }} }}

[daemon]
reconcile_interval = "10s"
unknown_timeout = "8s"
heartbeat_interval = "1s"
venue_wait = "20s"
stop_timeout = "10s"
snapshot_records = {snapshot_records}
"""

# Modules that adapters read when they are opened and not before, and that want entropy then, by venue.
READ_LATE = {"BINANCE": "adapters.binance.ccxt_signer", "ALPACA": "adapters.alpaca.models", "CCXT": "ccxt.async_support"}

# Each world has one to three of these, of each venue one at most.
VENUES: dict[str, Callable[[Agenda, int], VenueKit]] = {
    "sim": kit_sim.SimKit,
    "deribit": kit_deribit.deribit,
    "oanda": kit_oanda.oanda,
    "alpaca": kit_alpaca.alpaca,
    "binance-spot": kit_binance.spot,
    "binance-usdm": kit_binance.usdm,
    "ib": kit_ib.ib,
    "ccxt-spot": kit_ccxt.spot,
    "ccxt-swap": kit_ccxt.swap,
}


class World:
    """Make it, then `run()` once, inside `open_world`."""

    def __init__(
        self, seed: int, folder: Path, *, steps: int, venues: tuple[str, ...], tell: Callable[[str], None] | None = None
    ) -> None:
        self.random = Random(seed)
        self.agenda = Agenda()
        self.machine = Machine(self.agenda, seed)
        self.verdict = Verdict(seed, steps)
        self._tell = tell
        self._folder = folder
        self._root = folder / "disk-0"
        self._roots = 0
        self._chance = random.Random(seed)
        self.network = Network(self.agenda, self.random.next(), self._conditions())
        self._digest = hashlib.blake2b(digest_size=16)
        self.network.on_wire = self._hear
        chosen = self._choose(venues)
        self.venues = [VENUES[name](self.agenda, self.random.next()) for name in chosen]
        self.verdict.venues = tuple(chosen)
        self._venue_loop = VirtualLoop(self.agenda, self.network, "venues")
        self._loaded = self._load_config()
        self.process: Process | None = None
        self._may_trade_again_ns = 0
        self._kills: list[Kill] = []
        self._is_calm = False
        self._doubtful_kills: list[tuple[Kill, int]] = []  # ended by a person at a time of the daemon's, and the disk refused
        self._guarded: Counter[str] = Counter()
        self._disk: Disk | None = None  # that of the life before, where the machine has gone on since
        self._clock_off_ns = 0  # for as long as somebody has set it wrong
        self._quieted: Process | None = None  # it was told to halt
        self._compared_by: Process | None = None
        self._compared_first: Reconciliation | None = None

    def _conditions(self) -> Conditions:
        draw = self.random
        worst = draw.below(3)  # of three worlds one has a network that holds

        def rate(ppm: int) -> int:
            return draw.below(ppm) if worst else 0

        return Conditions(
            latency_ns=(MS // 2, MS + draw.below(60 * MS)),
            split_ppm=draw.below(200_000),
            # A start takes dozens of requests and connections at some venues: where each hardly ever works, nobody ever trades.
            cut_ppm=rate(3_000),
            half_open_ppm=rate(300),
            blip_ppm=rate(3_000),
            dns_ppm=rate(30_000),
            refuse_ppm=rate(50_000),
            hang_ppm=rate(10_000),
        )

    def _choose(self, venues: tuple[str, ...]) -> list[str]:
        """One of three worlds has more than one venue."""
        left = list(venues)
        count = min(len(left), (1, 1, 2 + self.random.below(2))[self.random.below(3)])
        chosen: list[str] = []
        while left and len(chosen) < count:
            name = left.pop(self.random.below(len(left)))
            chosen.append(name)
            # Two products of one venue would be two connections to it.
            left = [other for other in left if other.partition("-")[0] != name.partition("-")[0]]
        return chosen

    def _hear(self, ns: int, connection: int, what: str, payload: bytes) -> None:
        self._digest.update(b"%d %d %s " % (ns, connection, what.encode()))
        self._digest.update(payload)

    # The story.

    def begin(self) -> None:
        """The venues listen, and the daemon starts."""
        for venue in self.venues:
            venue.start(self._venue_loop)
        self._root.mkdir()
        self.agenda.after(LOOK_NS, self._look)
        self._start()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
        self._venue_loop.abandon()

    def run(self) -> Verdict:
        self.begin()
        try:
            for _ in range(self.verdict.steps):
                if self.random.below(8):
                    self.let_trade()
                self._let_pass(self._between(*DEED_NS))
                self._deed()
            self._calm()
            self._finish()
        except Violated:
            self.say("violated")
        finally:
            self._count()
        return self.verdict

    def _violated(self, *found: str) -> None:
        """The story ends with the first thing that must not be."""
        if found:
            self.verdict.violations += found
            raise Violated

    def say(self, text: str) -> None:
        if self._tell is not None:
            self._tell(f"{(self.agenda.ns - self.agenda.start_ns) / NS_PER_S:10.3f} {text}")

    def _let_pass(self, ns: int) -> None:
        until = self.agenda.ns + ns
        while self.agenda.ns < until:
            self.agenda.run_until(self._is_down, until)
            if self._is_down():
                self._buried()
                self._start_later()
            elif self.agenda.ns < until:
                self.agenda.run_to(until)

    def let_trade(self) -> None:
        """Most deeds are for a daemon that trades: it is waited for, but not for ever."""
        until = self.agenda.ns + TRADING_NS_MAX
        while self.agenda.ns < until and not (self.process is not None and self.process.is_trading):
            self._let_pass(200 * MS)

    def _is_down(self) -> bool:
        return self.process is not None and self.process.state is not State.ALIVE

    def _between(self, low: int, high: int) -> int:
        return low + self.random.below(high - low)

    # The process.

    def _start(self) -> None:
        self.verdict.lives += 1
        self.say(f"life {self.verdict.lives} begins")
        self.network.reboot()
        loaded = self._config()
        self.process = Process(self.agenda, self.network, loaded, self._root, self._chance, self._disk)
        self._disk = self.process.disk
        self._heed_wrong_clock()
        if not self._is_calm and not self.random.below(8):
            self.process.disk.die_at_call = 1 + self.random.below(60)

    def _load_config(self) -> LoadedConfig:
        path = self._folder / "config.toml"
        pause_ms, snapshot_records = 50 + self.random.below(400), (100, 1_000, 100_000)[self.random.below(3)]
        cash = {key: amount for venue in self.venues for key, amount in venue.cash().items()}
        text = CONFIG.format(
            seed=self.verdict.seed,
            pause_ms=pause_ms,
            snapshot_records=snapshot_records,
            lots=", ".join(f'"{key}" = {lots}' for venue in self.venues for key, lots in venue.lots().items()),
            cash="\n".join(f'{key} = "{amount}"' for key, amount in cash.items()),
        )
        path.write_text(text + "".join(venue.config() for venue in self.venues))
        return load_config(path)

    def _config(self) -> LoadedConfig:
        """With its state on the disk that is there now."""
        daemon = self._loaded.config.daemon.model_copy(update={"state_folder": str(self._root / "state")})
        return replace(self._loaded, config=self._loaded.config.model_copy(update={"daemon": daemon}))

    def _start_later(self) -> None:
        """As systemd does: after a while."""
        self.process = None
        ns = self._between(*RESTART_NS)
        self.agenda.run_to(self.agenda.ns + ns)
        self._start()

    def _buried(self) -> None:
        """It is no more: whatever it was that ended it, it must be one of the things that may."""
        process = self.process
        assert process is not None
        self.say(f"it is {process.state.value}: {process.end!r}")
        self._judge_end(process)
        self.process = None

    def _judge_end(self, process: Process) -> None:
        self._violated(*(f"in the loop: {failure}" for failure in process.failures))
        reasons = REASONS if not process.disk.refused else (*REASONS, "the disk refuses")
        halts = [alert.text for alert in process.watcher.alerts if alert.kind == "trading_state" and "HALTED" in alert.text]
        self._violated(*(f"it halted by itself: {text}" for text in halts if not any(each in text for each in reasons)))
        self._violated(*(f"it told of a bug: {alert.text}" for alert in process.watcher.alerts if alert.kind == "bug"))
        if process.state is not State.ENDED:
            return
        if not process.has_been_live and (
            isinstance(process.end, TransportError)
            or (isinstance(process.end, RefusedError | VenueProtocolError) and not self._is_calm)
        ):
            return  # a venue could not be reached, or told it something impossible at the login
        if process.disk.refused and isinstance(process.end, StorageError):
            return
        if process.has_seen_wrong_clock and isinstance(process.end, ConfigError | RefusedError):
            return  # it says that the clocks are apart
        if process.end not in (ExitCode.OK, ExitCode.MISMATCH):
            self._violated(f"the daemon ended by itself: {process.end!r}")

    # Deeds.

    def _deed(self) -> None:
        deeds = self._deeds()
        name, deed = deeds[self.random.below(len(deeds))]
        self.say(name)
        deed()

    def _deeds(self) -> list[tuple[str, Callable[[], None]]]:
        process = self.process
        deeds: list[tuple[str, Callable[[], None]]] = [
            ("nothing", lambda: None),
            ("every connection is cut", self.network.cut_all),
            ("a connection is half open", self._half_open),
            ("the wall clock steps", self._step_clock),
            ("somebody sets the clock wrong", self._set_clock_wrong),
            ("something happens at a venue", self._venue_deed),
        ]
        if process is None or process.state is not State.ALIVE:
            return deeds
        deeds += [
            ("killed", process.kill),
            ("killed in the middle of a call", self._die_soon),
            ("the power is cut", self._cut_power),
            ("the disk refuses", self._refuse_disk),
            ("the loop stands still", lambda: process.loop.stall(self._between(10 * MS, 8 * NS_PER_S))),
        ]
        if process.is_trading:
            deeds += [
                ("told to stop", lambda: process.do(partial(process.daemon.stop, "stop", 0, "a deed"))),
                ("halted, and resumed later", self._halt),
                ("killed by latch, and resumed later", self._kill_latch),
                ("it hangs, and the guardian kills", self._guardian_kills),
                ("it hangs, and a dead-man switch runs out", lambda: self._under_guard(dead_man_runs_out)),
                ("asked to flatten", lambda: process.do(partial(self._flatten, process))),
            ]
        return deeds

    def _half_open(self) -> None:
        connections = list(self.network.connections.values())
        if connections:
            connections[self.random.below(len(connections))].is_silent = True

    def _step_clock(self) -> None:
        largest_ns = min(venue.clock_step_ns_max for venue in self.venues)
        self.machine.step_clock((-largest_ns, -NS_PER_S, NS_PER_S, largest_ns)[self.random.below(4)])

    def _set_clock_wrong(self) -> None:
        """By up to an hour, ahead or back; right again after a while."""
        if self._clock_off_ns:
            return
        self._clock_off_ns = self._between(*CLOCK_OFF_NS) * (1, -1)[self.random.below(2)]
        self.say(f"by {self._clock_off_ns / NS_PER_S:.1f} s")
        self.machine.step_clock(self._clock_off_ns)
        self._heed_wrong_clock()
        self.agenda.after(self._between(*CLOCK_WRONG_NS), self._set_clock_right)

    def _heed_wrong_clock(self) -> None:
        if self.process is not None and self._clock_off_ns:
            self.process.has_seen_wrong_clock = True

    def _set_clock_right(self) -> None:
        self.machine.step_clock(-self._clock_off_ns)
        self._clock_off_ns = 0

    def _refuse_disk(self) -> None:
        assert self.process is not None
        calls = (1 + self.random.below(REFUSALS_MAX), DISK_FULL)[self.random.below(2)]
        kinds = ((), ("sync",), ("write", "write_at", "create"))[self.random.below(3)]
        self.process.disk.refuse(calls, kinds)

    def _venue_deed(self) -> None:
        self.say(self.venues[self.random.below(len(self.venues))].act(self.random))

    def _die_soon(self) -> None:
        assert self.process is not None
        self.process.disk.die_at_call = self.process.disk.calls + 1 + self.random.below(30)

    def _cut_power(self) -> None:
        process = self.process
        assert process is not None
        for kill, ended_ts in self._doubtful_kills:
            kill.until_ns, kill.until_ts = self.agenda.ns, ended_ts
        self._doubtful_kills = []
        process.kill(is_power_cut=True)
        self._roots += 1
        target = self._folder / f"disk-{self._roots}"
        process.disk.cut_power(target)
        shutil.rmtree(self._root)
        self._root = target
        self._disk = None

    def _guardian_kills(self) -> None:
        assert self.process is not None
        self._set_latch(self.process)
        self._under_guard(guardian_kills)
        self.agenda.after(self._between(1 * NS_PER_S, 20 * NS_PER_S), self._resume)

    def _under_guard(self, deed: Callable[[Guard, Process, Sequence[VenueKit]], list[str]]) -> None:
        assert self.process is not None
        guard = Guard(self.agenda, self.network, self._config())
        try:
            self._violated(*deed(guard, self.process, self.venues))
        finally:
            self._guarded.update(guard.done)
            guard.die()

    def _halt(self) -> None:
        process = self.process
        assert process is not None
        process.do(lambda: self._refused_by_disk(lambda: process.daemon.halt("a deed", 0)))
        self.agenda.after(self._between(100 * MS, 10 * NS_PER_S), self._resume)

    def _kill_latch(self) -> None:
        """As another process sets it, with a descriptor of its own."""
        assert self.process is not None
        self._set_latch(self.process)
        self.agenda.after(self._between(1 * NS_PER_S, 20 * NS_PER_S), self._resume)

    def _set_latch(self, process: Process) -> None:
        ts = process.daemon.session.clock.now()
        # It is not this one that dies at some call of its own.
        process.disk.die_at_call = None
        process.disk.refuse(0)
        latch = KillLatch(process.daemon.session.kill.path.parent / LATCH_FILE, process.disk)
        latch.set("a deed", 0, ts)
        latch.close()
        self._kills.append(Kill(self.agenda.ns, ts))

    def _flatten(self, process: Process) -> None:
        daemon = process.daemon
        if daemon.phase == "running" and not daemon.session.kill.is_set and not daemon.is_flattening:
            self._refused_by_disk(lambda: daemon.start_flatten("a deed", 0))

    def _resume(self) -> None:
        """A person resumes, as soon as there is something to resume."""
        process = self.process
        if self._is_calm:
            return
        if process is None or not process.is_trading:
            self.agenda.after(NS_PER_S, self._resume)
        elif process.trading_state is not TradingState.ACTIVE or process.daemon.session.kill.is_set:
            process.do(lambda: self._refused_by_disk(lambda: self._resumed(process)))

    def _resumed(self, process: Process) -> None:
        open_kills = [kill for kill in self._kills if kill.until_ns is None]
        for kill in open_kills:
            # From here on: one that is killed in the middle of it may have taken it to the disk, or not.
            kill.until_ns, kill.until_ts = self.agenda.ns, process.daemon.session.trader.now
        try:
            process.daemon.resume("a deed", 0)
        except StorageError:
            # In effect as long as this machine has its power: then what it left on the disk is the one or the other.
            self._doubtful_kills = [(kill, kill.until_ts) for kill in open_kills]
            for kill in open_kills:
                kill.until_ns, kill.until_ts = None, FOREVER
            raise
        self._doubtful_kills = []

    def _refused_by_disk(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StorageError as error:
            self.say(f"refused: {error}")

    # The auditor's looks at the wire's other end.

    def _look(self) -> None:
        for venue in self.venues:
            found = over_limit(venue.ledger(), venue.limits)
            self._violated(*(f"over a limit at {venue.venue}: {each}" for each in found))
        self.agenda.after(LOOK_NS, self._look)

    # The end.

    def _calm(self) -> None:
        """Nothing goes wrong any more, the strategy does nothing new, and everything must be found out."""
        self.say("calm")
        self._is_calm = True
        self.network.conditions.calm()
        self.network.mend()
        for venue in self.venues:
            venue.calm()
        if self.process is not None:
            self.process.disk.die_at_call = None
            self.process.disk.refuse(0)
        self._set_clock_right()
        until = self.agenda.ns + CALM_NS_MAX
        since: int | None = None
        asked_ns, pause_ns = 0, NUDGE_NS
        while since is None or self.agenda.ns - since < SETTLED_NS:
            if self.agenda.ns >= until:
                self._violated(f"after {CALM_NS_MAX // NS_PER_S} s of calm: {self._unsettled()}")
            self._let_pass(200 * MS)
            self._quieten()
            since = None if self._unsettled() else since if since is not None else self.agenda.ns
            is_due = self.agenda.ns >= asked_ns + pause_ns
            if since is None and is_due and self.process is not None and self.process.is_trading:
                asked_ns, pause_ns = self.agenda.ns, min(2 * pause_ns, NUDGE_NS_MAX)
                self.process.do(self.process.daemon.reconciling.nudge)

    def _quieten(self) -> None:
        """What a person does at the end of a day: first nothing new, then a look."""
        process = self.process
        if process is None or not process.is_trading:
            return
        if process.trading_state is not TradingState.HALTED and process is not self._quieted:
            # Only now: while it was halted a person's resume may still have been on its way to it. REDUCING still trades.
            self._quieted = process
            process.do(lambda: self._refused_by_disk(lambda: process.daemon.halt("calm", 0)))

    def _unsettled(self) -> str:
        """What is still under way; empty where nothing is."""
        process = self.process
        if process is None or not process.is_trading:
            return "the daemon does not trade"
        session = process.daemon.session
        if process.trading_state is not TradingState.HALTED:
            return "it is not halted"
        open_orders = session.trader.orders.open_orders()
        if process.loop.stalled_until_ns > self.agenda.ns:
            return "the loop stands still"
        if open_orders:
            return f"open: {open_orders[:3]!r}"
        last = process.daemon.reconciling.last
        if process is not self._compared_by or last is self._compared_first:
            self._compared_by, self._compared_first = process, last
            return "it has not reconciled since"
        return last.error or "; ".join(last.differences)

    def _finish(self) -> None:
        process = self.process
        assert process is not None
        self._let_pass(max(venue.rest_ns for venue in self.venues))
        self._audit(process)
        process.do(partial(process.daemon.stop, "stop", 0, "the end"))
        self.agenda.run_until(lambda: process.state is not State.ALIVE, self.agenda.ns + 60 * NS_PER_S)
        if process.end is not ExitCode.OK:
            self._violated(f"the last stop came to {process.state.value} {process.end!r}")
        self._buried()

    def _audit(self, process: Process) -> None:
        runs = process.daemon.run_folder.parent
        trader = process.daemon.session.trader
        process.daemon.session.journal.flush()
        books = read_books(runs, trader, replays=self.verdict.seed % REPLAYED_OF == 0)
        ledgers = {venue.venue: venue.ledger() for venue in self.venues}
        violations = audit(ledgers, books)
        cash = {key: amount for venue in self.venues for key, amount in venue.cash().items()}
        accounts = {venue.venue: venue.account for venue in self.venues}
        if not books.damaged:
            violations += audit_cash(ledgers, accounts, read_cash(runs, trader, cash))
        for kill in self._kills:
            for ledger in ledgers.values():
                violations += after_kill(ledger, books, kill)
        self.verdict.orders = len(books.sent)
        self.verdict.fills = len(books.fills)
        self._violated(*violations)

    def _count(self) -> None:
        verdict = self.verdict
        verdict.events = self.agenda.steps
        verdict.digest = self._digest.hexdigest()
        verdict.ns = self.agenda.ns - self.agenda.start_ns
        verdict.fired = self.network.fired | self._guarded
        for venue in self.venues:
            verdict.fired |= venue.fired()
        self.end()


@contextmanager
def open_world(
    seed: int, *, steps: int = STEPS, venues: tuple[str, ...] = tuple(VENUES), tell: Callable[[str], None] | None = None
) -> Iterator[World]:
    """A world on a folder of its own, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="tradingd-sim-", dir=SHM if SHM.is_dir() else None) as folder:
        world = World(seed, Path(folder), steps=steps, venues=venues, tell=tell)
        for venue in world.venues:
            # What a library asks of the entropy when it is read for the first time is not the world's.
            importlib.import_module(READ_LATE.get(venue.venue, __name__))
        secrets = {f"TRADINGD_SECRET_{key}": value for venue in world.venues for key, value in venue.secrets().items()}
        with (
            world.machine.running(log=None if tell is None else world.say),
            patch.dict("os.environ", {"TRADINGD_STATE_DIR": f"{folder}/key", **secrets}),
            patch("adapters.sim.io.connect", kit_sim.connect),
        ):
            yield world


def run_world(
    seed: int, *, steps: int = STEPS, venues: tuple[str, ...] = tuple(VENUES), tell: Callable[[str], None] | None = None
) -> Verdict:
    with open_world(seed, steps=steps, venues=venues, tell=tell) as world:
        return world.run()
