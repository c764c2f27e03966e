"""The guardian: a process of its own that watches one daemon, kills where it must, and keeps what it killed dead.

One loop, a few small tasks. Nothing that the daemon, a venue, a disk or a place for alerts does wrong ends it; SIGTERM does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from core.errors import StorageError
from core.venue_switch import VenueSwitch
from daemon.control.server import open_listener, serve
from daemon.control.wire import Request
from daemon.exit_codes import ExitCode
from daemon.guardian.alerts import Alerter, plain
from daemon.guardian.beat_inbox import BeatInbox, Received
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.heads import Heads
from daemon.guardian.kill import carry_out, raise_flag
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.messages import Alerted, Beaten, Hello, Phased, Sealed
from daemon.guardian.places import guardian_socket
from daemon.guardian.process import WatchedProcess, watch_process
from daemon.guardian.report import KillRun
from daemon.guardian.settings import GuardianSettings
from daemon.guardian.venue_guard import VenueGuard
from daemon.guardian.watch import Phase, Trigger, Watch
from daemon.notify import Pulse
from daemon.trading.listener import Alert, Severity

TICK_S = 0.05
KILL_FILE_BYTES_MAX = 1_024
SIGNAL_UID = -1
REASON_CHARACTERS_MAX = 200
WAIT_S_MAX = 4.0  # of one request for a kill: below what the control socket allows
VERIFIED_LATE_S = 5.0  # then it is said which venue is not verified yet
EMPTY_GRACE_S = 1.0  # a daemon that halts or stops by itself gets so long to cancel
EMPTY_AGAIN_S = 0.25
DEAD_MAN_REFRESHES = 3  # in one period
LAST_WORDS_S = 2.0

OpenSwitches = Callable[[DaemonHand], Sequence[VenueSwitch]]


class Guardian:
    """Make it, then `await run()` once."""

    def __init__(
        self,
        settings: GuardianSettings,
        open_switches: OpenSwitches,
        alerter: Alerter,
        latch: LatchHand,
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse or Pulse(None)
        self._settings = settings
        self._alerter = alerter
        self._latch = latch
        self._hand = DaemonHand(settings.name, settings.account_folder, self._has_shown_halt)
        self._watch = Watch(settings.heartbeat_timeout_s, settings.stop_s_max, self._say)
        self._guards = [VenueGuard(switch, settings.kill, self._say_venue) for switch in open_switches(self._hand)]
        self._heads = Heads(
            settings.state_folder, settings.head_interval_s, partial(self._say, "heads_not_kept", Severity.CRITICAL)
        )
        self._process: WatchedProcess | None = None  # the daemon's
        self._run: KillRun | None = None  # the last kill
        self._kill_scope: anyio.CancelScope | None = None  # of the kill in force
        self._checking: set[str] = set()  # what the venues are being looked at for
        self._halt_checked = ""  # the run whose halt was looked at
        self._malformed = 0
        self._tasks: TaskGroup | None = None
        self._inbox: BeatInbox | None = None
        self._ended = anyio.Event()

    async def run(self) -> ExitCode:
        """Until SIGTERM or SIGINT. Raises StorageError where its sockets cannot be opened."""
        listener = await open_listener(guardian_socket(self._settings.name))
        self._inbox = BeatInbox(self._settings.name)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._watch_signals)
                tasks.start_soon(serve, listener, self._answer)
                tasks.start_soon(self._inbox.run, self._take)
                tasks.start_soon(self._alerter.run)
                tasks.start_soon(self._heads.run)
                for guard in self._guards:
                    tasks.start_soon(guard.stay_warm)
                tasks.start_soon(self._dead_man)
                self._find_daemon()
                self._look_at_latch()
                tasks.start_soon(self._tick)
                await self._ended.wait()
                tasks.cancel_scope.cancel()
            self._pulse.stop()
            self._say_farewell()
            with anyio.CancelScope(shield=True):
                await self._alerter.drain(LAST_WORDS_S)
                await self._heads.drain(LAST_WORDS_S)
                for guard in self._guards:
                    await guard.close()
        finally:
            self._inbox.close()
        return ExitCode.OK

    # What it hears.

    def _find_daemon(self) -> None:
        """One that ran before this guardian did."""
        card = self._hand.card()
        if card is None:
            return
        process = card.process()
        now = anyio.current_time()
        if process is not None:
            self._watch.found(card.phase, card.run_id, now)
            self._hold(process)
        elif card.phase != Phase.ENDED.value:
            why = f"{card.run_id or card.name} ended while it was {card.phase}, and no guardian saw it"
            self._say("daemon_died_unwatched", Severity.WARNING, why)
            self._check_empty("daemon_gone", why, self._settings.heartbeat_timeout_s)

    def _take(self, received: Received) -> None:
        now = anyio.current_time()
        message = received.message
        if message is None:
            self._malformed += 1
            self._say("malformed_datagram", Severity.WARNING, f"from process {received.pid}: nothing follows from it")
            return
        is_able = True
        match message:
            case Beaten():
                is_able = self._knows_latch(message.latch)
                self._meet(received.pid)
                self._heads.beat(message.beat, now)
                self._watch.hear_beat(message.beat, now)
                self._hand.run_id = message.beat.run_id
            case Phased():
                is_able = self._knows_latch(message.latch)
                self._meet(received.pid)
                self._watch.hear_phase(message, now)
                self._hand.run_id = message.run_id or self._hand.run_id
                self._phase_changed()
            case Alerted(alert=alert):
                self._alerter.tell(alert, "daemon")
            case Sealed(anchor=anchor):
                self._heads.seal(anchor)
            case Hello():
                # Answered as everything is.
                is_able = True
        assert self._inbox is not None
        self._inbox.answer(received, is_able)

    def _knows_latch(self, identity: tuple[int, int]) -> bool:
        if identity == self._latch.identity:
            return True
        text = f"the daemon looks at another kill latch than {self._latch.path}: was one of the two started in another folder?"
        self._say("other_latch", Severity.CRITICAL, text)
        return False

    def _meet(self, pid: int) -> None:
        if self._process is not None and self._process.pid == pid:
            return
        process = watch_process(pid)
        if process is not None:
            self._hold(process)

    def _hold(self, process: WatchedProcess) -> None:
        self._process = process
        assert self._tasks is not None
        self._tasks.start_soon(self._await_end, process)

    async def _await_end(self, process: WatchedProcess) -> None:
        try:
            await anyio.wait_readable(process.descriptor)
        finally:
            process.close()
        if self._process is not process:
            return
        self._process = None
        # What it said last may still wait in the socket.
        assert self._inbox is not None
        self._inbox.drain(self._take)
        self._act_on(self._watch.hear_end())

    def _phase_changed(self) -> None:
        if self._watch.phase is Phase.ENDED:
            self._check_empty("orders_after_stop", f"{self._watch.run_id} has ended and left orders open", EMPTY_GRACE_S)
            if self._tasks is not None and self._settings.dead_man_s:
                self._tasks.start_soon(self._disarm)

    # Time.

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_S)
            # Before the time is judged: after a pause of our own, what the daemon said meanwhile waits in the socket.
            assert self._inbox is not None
            self._inbox.drain(self._take)
            self._act_on(self._watch.tick(anyio.current_time()))
            self._look_at_latch()
            self._look_at_kill_file()
            self._look_at_halt()
            self._pulse.beat(self._line(), anyio.current_time())

    def _line(self) -> str:
        """Where things stand, for people who look at the service."""
        daemon = f"{self._watch.run_id or self._settings.name}: daemon {self._watch.phase.value}"
        return f"{daemon}, the kill latch is set" if self._latch.is_set else daemon

    def _act_on(self, trigger: Trigger | None) -> None:
        # While a kill is in force the venues are kept empty anyway, and a daemon that the fence has ended is no news.
        if trigger is not None and self._kill_scope is None:
            self.kill(trigger.kind, trigger.reason)

    def _look_at_latch(self) -> None:
        try:
            if self._latch.reopen_if_replaced():
                self._say("latch_replaced", Severity.CRITICAL, f"{self._latch.path} was replaced by another file")
        except StorageError as error:
            self._say("latch_not_durable", Severity.CRITICAL, str(error))
        is_in_force = self._kill_scope is not None
        if self._latch.is_set and not is_in_force:
            self.kill("latch", self._latch.text() or "the latch is set")
        elif is_in_force and self._run is not None and self._run.is_verified and not self._latch.is_set:
            assert self._kill_scope is not None
            self._kill_scope.cancel()
            self._kill_scope = None
            self._say("kill_cleared", Severity.WARNING, "the kill latch was cleared by a resume: trading may go on")

    def _look_at_kill_file(self) -> None:
        if self._kill_scope is not None:
            return
        try:
            # Not blocking: a pipe in its place would hold the guardian up.
            descriptor = os.open(self._settings.kill_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb", buffering=0) as file:
                words = file.read(KILL_FILE_BYTES_MAX) or b""
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            # Something is there, and it may be the file.
            words = f"cannot be read: {error.strerror or error}".encode()
        text = plain(words.decode("utf-8", "replace"))
        self.kill("file", f"{self._settings.kill_file.name}: {text}" if text else str(self._settings.kill_file.name))

    def _look_at_halt(self) -> None:
        """Where the daemon has halted by itself, the venues must come to be empty."""
        watch = self._watch
        if not watch.is_halted:
            self._halt_checked = ""
        elif self._halt_checked != watch.run_id and self._kill_scope is None:
            self._halt_checked = watch.run_id
            assert watch.beat is not None
            why = f"{watch.run_id} is HALTED and orders are still open: {watch.beat.trading_state_reason}"
            self._check_empty("breach", why, EMPTY_GRACE_S)

    def _check_empty(self, trigger: str, why: str, grace_s: float) -> None:
        if self._tasks is not None and trigger not in self._checking:
            self._checking.add(trigger)
            self._tasks.start_soon(self._checked_empty, trigger, why, grace_s)

    async def _checked_empty(self, trigger: str, why: str, grace_s: float) -> None:
        """Kill where a venue has orders that can add risk after the grace; a venue that cannot be asked is asked again."""
        phase = self._watch.phase
        try:
            await anyio.sleep(grace_s)
            left = list(self._guards)
            while left and self._kill_scope is None and not self._has_changed(trigger, phase):
                counts = await _looks(left)
                found = [f"{guard.venue} {count}" for guard, count in zip(left, counts, strict=True) if count]
                if found and await self._is_still_so(trigger, phase):
                    self.kill(trigger, f"{why} ({', '.join(found)})")
                    return
                left = [guard for guard, count in zip(left, counts, strict=True) if count != 0]
                if left:
                    await anyio.sleep(EMPTY_AGAIN_S)
        finally:
            self._checking.discard(trigger)

    def _has_changed(self, trigger: str, phase: Phase) -> bool:
        """Whether what was to be looked at is over: the daemon was resumed, has gone on to another phase, or is back."""
        assert self._inbox is not None
        # A daemon says that it starts before it sends anything: what is open may be a new one's own.
        self._inbox.drain(self._take)
        return not self._watch.is_halted if trigger == "breach" else self._watch.phase is not phase

    async def _is_still_so(self, trigger: str, phase: Phase) -> bool:
        """Orders were found. Whether they are left over: a daemon that was resumed meanwhile may have sent them."""
        beats = self._watch.beats
        while trigger == "breach" and self._watch.beats == beats and not self._has_changed(trigger, phase):
            # What it says after the question counts; one that says nothing more is killed for that.
            await anyio.sleep(TICK_S)
        return not self._has_changed(trigger, phase)

    async def _dead_man(self) -> None:
        """Armed while the daemon shows that it works; without that, and without us, the venue acts by itself."""
        period_s = self._settings.dead_man_s
        if not period_s:
            return
        while True:
            if self._watch.is_well:
                async with anyio.create_task_group() as tasks:
                    for guard in self._guards:
                        tasks.start_soon(guard.refresh_dead_man, period_s)
            await anyio.sleep(min(period_s / DEAD_MAN_REFRESHES, self._settings.kill.check_interval_s))

    async def _disarm(self) -> None:
        for guard in self._guards:
            await guard.refresh_dead_man(0)

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGUSR1:
                    self.kill("signal", "SIGUSR1")
                elif number != signal.SIGHUP:
                    self._ended.set()

    # Kills.

    def kill(
        self, trigger: str, reason: str, uid: int = SIGNAL_UID, *, flatten: bool = False, started_ns: int | None = None
    ) -> KillRun:
        """Begin one, or join the one that is going on; the flag is up when this returns."""
        started_ns = time.monotonic_ns() if started_ns is None else started_ns
        run = self._run
        if run is not None and self._kill_scope is not None and not run.is_verified and (run.flatten or not flatten):
            for guard in self._guards:
                guard.hurry()
            return run
        if self._kill_scope is not None:
            self._kill_scope.cancel()
        reason = plain(reason)[:REASON_CHARACTERS_MAX]
        run = KillRun(trigger, reason, uid, tuple(guard.venue for guard in self._guards), flatten=flatten, started_ns=started_ns)
        raise_flag(run, self._latch)
        self._run = run
        self._kill_scope = anyio.CancelScope()
        assert self._tasks is not None
        self._tasks.start_soon(self._in_force, run, self._kill_scope)
        return run

    async def _in_force(self, run: KillRun, scope: anyio.CancelScope) -> None:
        """The kill, and then its keeping, until it is resumed or a later one takes its place."""
        with scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._say_late, run)
                await carry_out(run, self._latch, self._guards, self._hand, self._settings.kill)
                tasks.cancel_scope.cancel()
            if self._kill_scope is not scope:
                return
            self._say("kill_verified", Severity.CRITICAL, f"{_words_of(run)}: every venue is empty, the daemon is {run.daemon}")
            async with anyio.create_task_group() as tasks:
                for guard in self._guards:
                    tasks.start_soon(guard.keep_empty, self._say_appeared)

    async def _say_late(self, run: KillRun) -> None:
        # Not before the first cancels are out: words come after deeds.
        await anyio.sleep(TICK_S)
        self._say("kill", Severity.CRITICAL, _words_of(run))
        while True:
            await anyio.sleep(VERIFIED_LATE_S)
            late = [report for report in run.venues.values() if not report.is_verified(flatten=run.flatten)]
            for report in late:
                found = f"orders {report.can_add_risk}, positions {report.positions}; {report.last_failure}"
                self._say("kill_unverified", Severity.CRITICAL, f"{report.venue}: not verified; {found}")
            if not run.fenced.is_set():
                self._say("kill_unverified", Severity.CRITICAL, f"the daemon: {'; '.join(run.problems) or run.daemon}")

    def _say_appeared(self, venue: str, count: int) -> None:
        self._say("order_after_kill", Severity.CRITICAL, f"{venue}: {count} orders appeared while the latch is set; canceled")

    def _has_shown_halt(self, run: KillRun) -> bool:
        beat = self._watch.beat
        return beat is not None and self._watch.is_halted and beat.ts > run.ts

    # What it says.

    def _say(self, kind: str, severity: Severity, text: str) -> None:
        self._alerter.tell(Alert(kind=kind, severity=severity, text=text, ts=time.time_ns()), "guardian")

    def _say_venue(self, venue: str, is_reachable: bool, text: str) -> None:
        if is_reachable:
            self._say("venue_back", Severity.INFO, f"{venue}: {text}")
        else:
            self._say("venue_unreachable", Severity.CRITICAL, f"{venue}: {text}")

    def _say_farewell(self) -> None:
        if self._run is not None and self._kill_scope is not None and not self._run.is_verified:
            self._say("guardian_stopped", Severity.CRITICAL, "a kill is not verified yet; the next guardian goes on with it")
        elif self._watch.phase in (Phase.RUNNING, Phase.STARTING, Phase.STOPPING):
            self._say("guardian_stopped", Severity.CRITICAL, f"{self._watch.run_id} goes on without a guardian")
        else:
            self._say("guardian_stopped", Severity.INFO, "no daemon is running")

    async def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        match (request.method, request.path):
            case ("GET", "/status"):
                return 200, self.status()
            case ("POST", "/kill"):
                return await self._answer_kill(request)
            case ("GET", "/kill"):
                return await self._answer_last_kill()
            case (_, "/status" | "/kill"):
                return 405, {"error": f"{request.path} does not take {request.method}"}
            case _:
                return 404, {"error": f"there is no {request.path} here; GET /status, /kill; POST /kill"}

    async def _answer_kill(self, request: Request) -> tuple[int, dict[str, Any]]:
        """At once, or when it is acknowledged, after `wait_s` at the latest.

        Nothing in the body keeps it from being done: what cannot be read is left out.
        """
        started_ns = time.monotonic_ns()
        reason, flatten = request.body.get("reason"), request.body.get("flatten")
        run = self.kill(
            "request",
            reason if isinstance(reason, str) and reason.strip() else "operator",
            request.uid,
            flatten=flatten is True,
            started_ns=started_ns,
        )
        wait_s = request.body.get("wait_s")
        if isinstance(wait_s, int | float) and wait_s > 0:
            with anyio.move_on_after(min(wait_s, WAIT_S_MAX)):
                await run.acknowledged.wait()
        return 200, {"account": self._settings.name, "kill": run.as_json()}

    async def _answer_last_kill(self) -> tuple[int, dict[str, Any]]:
        """Of the last kill, when it is acknowledged or after a while; None where there was none."""
        run = self._run
        if run is not None:
            with anyio.move_on_after(WAIT_S_MAX):
                await run.acknowledged.wait()
        return 200, {"account": self._settings.name, "kill": None if self._run is None else self._run.as_json()}

    def status(self) -> dict[str, Any]:
        watch, now = self._watch, anyio.current_time()
        return {
            "account": self._settings.name,
            "pid": os.getpid(),
            "daemon": {
                "phase": watch.phase.value,
                "run_id": watch.run_id,
                "pid": self._process.pid if self._process is not None else None,
                "beats": watch.beats,
                "beat_age_ms": None if watch.beat_at is None else int((now - watch.beat_at) * 1_000),
                "trading_state": None if watch.beat is None else watch.beat.trading_state,
            },
            "latch": {
                "path": str(self._latch.path),
                "is_set": self._latch.is_set,
                "in_force": self._kill_scope is not None,
                "text": self._latch.text(),
            },
            "venues": [
                {
                    "venue": guard.venue,
                    "is_open": guard.is_open,
                    "open_orders": guard.open_orders,
                    "last_failure": guard.last_failure,
                }
                for guard in self._guards
            ],
            "kill": None if self._run is None else self._run.as_json(),
            "heads": {"path": str(self._heads.path), "kept": self._heads.kept},
            "alerts": self._alerter.status(),
            "malformed_datagrams": self._malformed,
        }


async def _looks(guards: Sequence[VenueGuard]) -> list[int | None]:
    """What each venue has open, asked at the same time: one that is dead delays no other."""
    counts: list[int | None] = [None] * len(guards)

    async def look(place: int) -> None:
        counts[place] = await guards[place].look()

    async with anyio.create_task_group() as tasks:
        for place in range(len(guards)):
            tasks.start_soon(look, place)
    return counts


def _words_of(run: KillRun) -> str:
    return f"killed ({run.trigger}, uid {run.uid}): {run.reason}"
