"""One drill from the first process to the last look: the daemon trades, something happens, a kill ends it, an auditor judges."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from core.enums import InstrumentClass
from core.instruments import Instrument
from core.units import NS_PER_SECOND
from daemon.config.build import build_cash, build_instruments, build_limits
from daemon.config.loader import LoadedConfig
from daemon.drill.auditor import Books, Breach, Oracle, fills_of, is_ours, judge_books, judge_secrets, judge_state, read_books
from daemon.drill.simulated import Simulated
from daemon.drill.stage import ALERTS_FILE, Stage
from daemon.drill.venues import open_simulated
from daemon.drill.verdict import Notes
from daemon.drill.watcher import Watcher
from daemon.exit_codes import ExitCode
from daemon.timestamps import iso
from daemon.trading.clock import SystemClock
from daemon.trading.venue_opening import prefix_of
from daemon.venue_sim.loopback import Served, serve

POLL_S = 0.05
START_S_MAX = 60.0
TRADE_S_MAX = 40.0
WELL_S_MAX = 45.0
RECONCILE_AGAIN_S = 8.0
KILL_S = "20s"
SETTLE_S = 0.6  # behind a kill: what it missed would show
ORDERS_MIN = 3  # at a venue before anything goes wrong there
OUTPUT_CHARACTERS = 600


class Scene:
    """The venues, the daemon and the guardian of one drill. Made by `scene`."""

    def __init__(self, stage: Stage, served: Mapping[str, Served], instruments: Sequence[Instrument], clock: SystemClock) -> None:
        self.stage = stage
        self.served = dict(served)
        self.instruments = list(instruments)
        self.clock = clock
        self.notes = Notes()
        config = stage.loaded.config
        self.prefixes = {each.venue: each.order_id_prefix or prefix_of(config.run.name) for each in config.connections}
        self.accounts = {each.connection.venue: each.account for each in stage.simulated}
        limits = build_limits(stage.loaded, self.instruments)
        self.watcher = Watcher(stage.simulated, limits, self.prefixes)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.guardian: subprocess.Popen[bytes] | None = None
        self.killed_ts = 0
        self.unfinished = 0  # runs that the guardian ended: they have no signed end

    def broken(self, oracle: Oracle, text: str) -> None:
        self.notes.breaches.append(Breach(oracle, text))

    # The course of a drill.

    async def start(self, *, with_guardian: bool = True) -> bool:
        """Trading, and everything reachable; False where that did not come to be, which is a breach."""
        if with_guardian:
            self.guardian = self.stage.start_guardian()
        return await self.start_daemon()

    async def start_daemon(self) -> bool:
        self.daemon = daemon = self.stage.start_daemon()

        async def is_trading() -> bool:
            status = await self.stage.ask_daemon("/status")
            return daemon.poll() is not None or (status is not None and status["phase"] == "running")

        if not await self.until(is_trading, START_S_MAX) or daemon.poll() is not None:
            self.broken(Oracle.ALIVE, f"the daemon did not start: {self._last_words(daemon)}")
            return False
        return True

    async def trade(self, venue: str, fills_min: int = 1) -> bool:
        """Until orders of ours have been at `venue`, and some were filled."""

        async def has_traded() -> bool:
            orders, fills = self.counts(venue)
            return orders >= ORDERS_MIN and fills >= fills_min

        return await self.until(has_traded, TRADE_S_MAX)

    async def until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Whether it came true in time."""
        with anyio.move_on_after(seconds):
            while not await condition():
                await anyio.sleep(POLL_S)
            return True
        return False

    async def become_well(self, *, is_foreign: bool = False, may_halt: bool = False) -> None:
        """Until the daemon says that venue and books agree, and nothing is unknown; a breach where it never does, or has halted.

        `is_foreign`: there are fills that are not ours: halted with what differs named is as well as it can be.
        `may_halt`: there is another reason to.
        """
        seen: dict[str, Any] = {}
        asked_ts = 0

        async def is_well() -> bool:
            nonlocal asked_ts
            if self.seconds_since(asked_ts) >= RECONCILE_AGAIN_S:
                # Not by a shorter interval: what a comparison costs of a venue's budget is the user's to spend.
                await self.stage.ask_daemon("/reconcile", "POST", {"reason": "drill"})
                asked_ts = self.clock.now()
            status = await self.stage.ask_daemon("/status")
            orders = await self.stage.ask_daemon("/orders")
            if status is None or orders is None:
                return self.daemon is not None and self.daemon.poll() is not None
            seen.update(status["last_reconcile"], phase=status["phase"], state=status["trading_state"])
            seen["why"] = status["trading_state_reason"]
            seen["unknown"] = [order for order in orders["orders"] if order["status"] == "UNKNOWN"]
            agrees = not seen["differences"] or (is_foreign and seen["state"] == "HALTED")
            return status["phase"] == "running" and not seen["error"] and agrees and not seen["unknown"]

        is_fine = await self.until(is_well, WELL_S_MAX)
        if self.daemon is not None and self.daemon.poll() is not None:
            self.broken(Oracle.ALIVE, f"the daemon has ended: {self._last_words(self.daemon)}")
        elif not is_fine:
            self.broken(Oracle.LEDGER, f"{WELL_S_MAX:g} s later it is not well again: {json.dumps(seen)[:OUTPUT_CHARACTERS]}")
        elif seen["state"] != "ACTIVE" and (is_foreign or may_halt):
            self.notes.said.append(f"{seen['state']}: {seen['why']}")
        elif seen["state"] != "ACTIVE":
            self.broken(Oracle.LEDGER, f"it is {seen['state']}, though nothing calls for that: {seen['why']}")

    async def kill(self) -> None:
        """Everything off; from here on nothing may be accepted that adds risk."""
        code, text = await self.stage.run("kill", str(self.stage.config), "--reason", "drill", "--wait", KILL_S, "--json")
        if code != ExitCode.OK:
            self.broken(Oracle.KILL, f"the kill ended with {code}: {text[-OUTPUT_CHARACTERS:]}")
        await self.was_killed()

    async def was_killed(self) -> None:
        """Acknowledged just now: what is open then is not left to what comes later."""
        self.killed_ts = self.clock.now()
        await anyio.sleep(SETTLE_S)
        self.notes.breaches += self._judge_kill(self.ledgers())

    async def take_up(self) -> None:
        """Where the guardian had to kill the daemon: what it could not hear any more the next start takes up, halted."""
        if self.daemon is None or self.daemon.poll() != -signal.SIGKILL:
            return
        self.notes.said.append("the guardian killed a daemon that did not answer: it was started once more")
        self.unfinished += 1
        if await self.start_daemon():
            await self.become_well(is_foreign=True)
            await self.end()

    async def end(self) -> None:
        """The processes end in order. A daemon that could not have everything verified at its end says so: that is no silence."""
        fine = (ExitCode.OK, ExitCode.HALTED, ExitCode.INTERRUPTED, ExitCode.MISMATCH)
        for name, child in (("daemon", self.daemon), ("guardian", self.guardian)):
            if child is None:
                continue
            was_there = child.poll() is None
            code = await self.stage.end(child, signal.SIGTERM)
            if was_there and code == ExitCode.MISMATCH:
                self.notes.said.append(f"the {name} ended without having verified everything")
            if was_there and code not in fine:
                self.broken(Oracle.ALIVE, f"the {name} ended with {code}: {self._last_words(child)}")

    async def judge(self, *, ended_runs: int | None = None) -> Books:
        """All oracles, by what is left behind. `ended_runs`: so many of the newest runs must have a signed end; None: all."""
        await self.take_up()
        stage = self.stage
        ledgers = self.ledgers()
        books = read_books(stage.loaded, stage.folder / "state" / stage.name)
        found = judge_books(books, ledgers, self.accounts, self.prefixes)
        foreign = self._foreign_positions(ledgers)
        cash = build_cash(stage.loaded)
        reporting = [each.connection.venue for each in stage.simulated if each.profile.reports_cash]
        theirs = self._has_fills_of_others(ledgers)
        found += judge_state(books, ledgers, self.accounts, self.instruments, cash, foreign, reporting, is_cash_theirs=theirs)
        self.watcher.look()
        found += self.watcher.breaches(foreign)
        found += [each for each in self._judge_kill(ledgers) if each not in self.notes.breaches]
        found += judge_secrets(stage.folder, [value for name, value in stage.secrets.items() if not name.endswith("key")])
        self.notes.breaches += found
        runs = stage.runs()
        # The run that took up what the guardian ended is the newest.
        finished = runs[: len(runs) - 1 - self.unfinished] + runs[len(runs) - 1 :] if self.unfinished else runs
        must_have_ended = finished if ended_runs is None else finished[len(finished) - ended_runs :]
        for run in runs:
            code, text = await stage.run("audit", "verify", str(run))
            if code != ExitCode.OK and not (code == ExitCode.UNFINISHED and run not in must_have_ended):
                self.broken(Oracle.CHAIN, f"run {run.name}: audit verify ends with {code}: {text[-OUTPUT_CHARACTERS:]}")
        return books

    # What is there.

    def ledgers(self) -> dict[str, dict[str, Any]]:
        return {each.connection.venue: each.ledger() for each in self.stage.simulated}

    def counts(self, venue: str = "") -> tuple[int, int]:
        """Orders and fills of ours, at one venue or at all."""
        orders = fills = 0
        for name, ledger in self.ledgers().items():
            if venue in ("", name):
                orders += sum(
                    is_ours(each, self.prefixes[name]) for each in ledger["orders"] if each["account"] == self.accounts[name]
                )
                fills += sum(each["account"] == self.accounts[name] for each in ledger["fills"])
        return orders, fills

    def alerts(self) -> list[dict[str, Any]]:
        path = self.stage.folder / ALERTS_FILE
        if not path.exists():
            return []
        # The last line may be half written.
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def told_between(self, begin_ts: int, end_ts: int) -> bool:
        """Whether a warning, or worse, went out."""
        begin, end = iso(begin_ts), iso(end_ts)
        return any(begin <= each["time"] <= end for each in self.alerts() if each["severity"] != "info")

    def _foreign_positions(self, ledgers: Mapping[str, dict[str, Any]]) -> dict[str, int]:
        """What positions hold that no fill of ours has brought: the owner's orders, the venue's own, a bust, a split."""
        found: dict[str, int] = {}
        counted = {each.instrument_id for each in self.instruments if each.instrument_class is not InstrumentClass.SPOT}
        for name, ledger in ledgers.items():
            account = self.accounts[name]
            own: dict[str, int] = {}
            mine, theirs = fills_of(ledger, account, self.prefixes[name])
            for fill in mine:
                signed = fill["qty"] if fill["side"] == "BUY" else -fill["qty"]
                own[fill["instrument_id"]] = own.get(fill["instrument_id"], 0) + signed
            there = ledger["positions"].get(account, {})
            for key in (there.keys() | own.keys()) & counted:
                if others := there.get(key, 0) - own.get(key, 0):
                    found[key] = others
            for fill in theirs:
                # Of spot the owner may hold more than was ever traded here: only trades are told apart.
                if fill["instrument_id"] not in counted:
                    signed = fill["qty"] if fill["side"] == "BUY" else -fill["qty"]
                    found[fill["instrument_id"]] = found.get(fill["instrument_id"], 0) + signed
        return found

    def _has_fills_of_others(self, ledgers: Mapping[str, dict[str, Any]]) -> bool:
        """Or such as were taken back."""
        for name, ledger in ledgers.items():
            mine, others = fills_of(ledger, self.accounts[name], self.prefixes[name])
            if others or any(fill["is_busted"] for fill in mine):
                return True
        return False

    def _judge_kill(self, ledgers: Mapping[str, dict[str, Any]]) -> list[Breach]:
        if not self.killed_ts:
            return []
        found = []
        for name, ledger in ledgers.items():
            risky = [each for each in ledger["orders"] if each["account"] == self.accounts[name] and not each["reduce_only"]]
            late = [each["venue_order_id"] for each in risky if each["ts"] > self.killed_ts and each["origin"] == "client"]
            still = [each["venue_order_id"] for each in risky if each["is_open"]]
            if late:
                found.append(Breach(Oracle.KILL, f"{name} took {len(late)} orders after the kill was acknowledged: {late[:3]}"))
            if still:
                found.append(Breach(Oracle.KILL, f"{name} has {len(still)} orders open after the kill: {still[:3]}"))
        return found

    def _last_words(self, child: subprocess.Popen[bytes]) -> str:
        return " ".join(self.stage.output_of(child)[-OUTPUT_CHARACTERS:].split()) or f"it ended with {child.poll()}"

    def seconds_since(self, ts: int) -> float:
        return (self.clock.now() - ts) / NS_PER_SECOND


@asynccontextmanager
async def scene(loaded: LoadedConfig, folder: Path, runtime: Path, seed: int) -> AsyncIterator[Scene]:
    """Venues served, nothing started yet; nothing of it is left behind but the folder."""
    clock = SystemClock()
    instruments = build_instruments(loaded)
    simulated: list[Simulated] = [
        open_simulated(connection, instruments, seed=seed, ts=clock.now()) for connection in loaded.config.connections
    ]
    async with AsyncExitStack() as stack:
        served = {each.connection.venue: await stack.enter_async_context(serve(each.venue, clock)) for each in simulated}
        ports = {name: each.port for name, each in served.items()}
        stage = Stage(folder, runtime, loaded, simulated, ports)
        stack.callback(stage.close)
        made = Scene(stage, served, instruments, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.watcher.run)
            yield made
            tasks.cancel_scope.cancel()
