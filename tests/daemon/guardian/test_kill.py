"""The kill itself, over venues in memory: what waits for what, and what a venue that misbehaves can and cannot hold up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest

from core.errors import RefusedError, TransportError
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.kill import carry_out
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.report import KillRun
from daemon.guardian.settings import KillSettings
from daemon.guardian.venue_guard import VenueGuard
from daemon.kill_latch import KillLatch
from tests.daemon.guardian.fake_switch import FakeSwitch, order
from tests.daemon.trading.virtual_time import run_in_virtual_time

SECONDS_MAX = 30.0
SETTINGS = KillSettings(settle_s=0.02, venue_timeout_s=0.3, guard_interval_s=0.005, check_interval_s=0.01)


def guards_of(switches: Sequence[FakeSwitch], said: list[tuple[str, bool]] | None = None) -> list[VenueGuard]:
    heard = [] if said is None else said

    def say(venue: str, is_reachable: bool, _text: str) -> None:
        heard.append((venue, is_reachable))

    return [VenueGuard(switch, SETTINGS, say) for switch in switches]


def kill(
    folder: Path,
    switches: Sequence[FakeSwitch],
    *,
    flatten: bool = False,
    beside: Callable[[KillRun, LatchHand], Awaitable[None]] | None = None,
    seconds: float = SECONDS_MAX,
) -> KillRun:
    """A kill of an account whose daemon has never run, given up after `seconds`."""
    made: list[KillRun] = []

    async def main() -> None:
        latch = LatchHand(folder)
        guards = guards_of(switches)
        run = KillRun("test", "because", 7, tuple(s.venue for s in switches), flatten=flatten, started_ns=time.monotonic_ns())
        made.append(run)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                if beside is not None:
                    tasks.start_soon(beside, run, latch)
                await carry_out(run, latch, guards, DaemonHand("paper", folder), SETTINGS)
                tasks.cancel_scope.cancel()
        latch.close()

    run_in_virtual_time(main)
    return made[0]


@pytest.fixture(autouse=True)
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(tmp_path / "sockets"))


def test_everything_is_canceled_verified_and_latched(tmp_path: Path) -> None:
    switches = [FakeSwitch("A"), FakeSwitch("B", orders=0)]
    run = kill(tmp_path, switches)
    assert (run.is_verified, run.daemon, run.problems) == (True, "gone", [])
    assert [switch.orders for switch in switches] == [[], []]
    assert [switch.calls[0] for switch in switches] == ["cancel_all", "cancel_all"]
    assert set(run.stages) == {"flag", "fenced", "latch_durable", "acknowledged"}
    latch = KillLatch(tmp_path / "kill_latch")
    assert latch.record().text.endswith("uid 7: test: because")
    assert latch.is_set


def test_orders_that_can_only_reduce_may_stay(tmp_path: Path) -> None:
    switch = FakeSwitch(orders=1)
    switch.orders.append(order(9, reduce_only=True))
    run = kill(tmp_path, [switch])
    assert (run.is_verified, run.venues["SIM"].open_orders, run.venues["SIM"].can_add_risk) == (True, 1, 0)


def test_a_venue_that_does_not_cancel_is_told_again(tmp_path: Path) -> None:
    switch = FakeSwitch()
    switch.ignores_cancels = 2
    run = kill(tmp_path, [switch])
    assert (run.is_verified, run.venues["SIM"].cancel_rounds, switch.orders) == (True, 3, [])


def test_what_appears_is_canceled_too_and_the_settling_begins_anew(tmp_path: Path) -> None:
    switch = FakeSwitch(orders=1)
    switch.appears = [order(5), order(6)]
    run = kill(tmp_path, [switch])
    assert (run.is_verified, switch.orders, switch.appears) == (True, [], [])
    assert run.venues["SIM"].cancel_rounds > 1


@pytest.mark.parametrize("dead", ["hangs", "refuses", "raises"])
def test_a_dead_venue_delays_no_other_and_is_reported(tmp_path: Path, dead: str) -> None:
    bad, good = FakeSwitch("BAD"), FakeSwitch("GOOD")
    if dead == "hangs":
        bad.hangs = True
    elif dead == "refuses":
        bad.refuses_opens = 10**9
    else:
        # A bug in one venue's code.
        bad.refuses_opens = 10**9
        bad.failure = KeyError("a bug")
    run = kill(tmp_path, [bad, good], seconds=2.0)
    assert not run.is_verified
    assert run.venues["GOOD"].is_verified(flatten=False)
    report = run.venues["BAD"]
    assert (report.is_verified(flatten=False), bool(report.last_failure)) == (False, True)
    # Bounded: it is not hammered.
    assert report.failures < 12


def test_a_venue_that_comes_back_is_emptied(tmp_path: Path) -> None:
    switch = FakeSwitch()
    switch.refuses_opens = 3
    run = kill(tmp_path, [switch])
    assert (run.is_verified, switch.opens, run.venues["SIM"].failures) == (True, 4, 3)


@pytest.mark.parametrize("failure", [TransportError("gone"), RefusedError("no"), OSError("broken"), ValueError("a bug")])
def test_a_call_that_fails_is_made_on_a_new_connection(tmp_path: Path, failure: Exception) -> None:
    switch = FakeSwitch()
    switch.failure = failure
    run = kill(tmp_path, [switch])
    assert (run.is_verified, switch.opens, switch.orders) == (True, 2, [])


def test_flatten_closes_and_verifies(tmp_path: Path) -> None:
    switch = FakeSwitch()
    switch.held = {"ACME.SIM": 30, "FLAT.SIM": 0}
    run = kill(tmp_path, [switch], flatten=True)
    assert (run.is_verified, switch.held, run.venues["SIM"].positions) == (True, {}, {})
    # Closing orders only after nothing of ours could trade against them.
    assert switch.calls.index("flatten") > switch.calls.index("open_orders")


def test_a_resume_before_the_acknowledgement_is_void(tmp_path: Path) -> None:
    switch = FakeSwitch()
    switch.ignores_cancels = 2

    async def resume(run: KillRun, latch: LatchHand) -> None:
        await anyio.sleep(0.05)
        daemon = KillLatch(tmp_path / "kill_latch")
        daemon.clear()
        while not daemon.is_set:
            await anyio.sleep(0.001)

    run = kill(tmp_path, [switch], beside=resume)
    assert run.is_verified
    assert KillLatch(tmp_path / "kill_latch").is_set
    assert run.problems == ["the latch was cleared before the kill was acknowledged; it was set again"]


def test_a_disk_that_refuses_does_not_keep_the_venues_from_being_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdatasync", refuse)
    switch = FakeSwitch()
    run = kill(tmp_path, [switch])
    assert (run.is_verified, switch.orders) == (True, [])
    assert ["No space left" in problem for problem in run.problems] == [True]
    assert KillLatch(tmp_path / "kill_latch").is_set


def test_a_daemon_that_holds_the_lock_and_cannot_be_found_is_never_called_verified(tmp_path: Path) -> None:
    from daemon.journal.lock import WriterLock

    lock = WriterLock(tmp_path / "lock")
    settings = KillSettings(fence_after_s=0.05, settle_s=0.0)
    switch = FakeSwitch()

    async def main() -> KillRun:
        run = KillRun("test", "because", 7, ("SIM",), flatten=False, started_ns=time.monotonic_ns())
        with anyio.move_on_after(0.5):
            await carry_out(run, LatchHand(tmp_path), guards_of([switch]), DaemonHand("paper", tmp_path), settings)
        return run

    run = run_in_virtual_time(main)
    lock.release()
    assert (run.is_verified, run.fenced.is_set(), switch.orders) == (False, False, [])
    assert "end it by hand" in run.problems[0]


# A guard while all is well, and after a kill.


def test_a_connection_is_kept_warm_and_its_loss_is_said_once() -> None:
    switch, said = FakeSwitch(), []
    guard = guards_of([switch], said)[0]

    async def main() -> None:
        with anyio.fail_after(SECONDS_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guard.stay_warm)
                while switch.calls.count("open_orders") < 3:
                    await anyio.sleep(0.001)
                switch.refuses_opens = 2
                switch.failure = TransportError("gone")
                while said[-1:] != [("SIM", True)]:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()

    run_in_virtual_time(main)
    assert said == [("SIM", False), ("SIM", True)]
    # Nothing was canceled: it only looks.
    assert "cancel_all" not in switch.calls


def test_what_appears_after_a_kill_is_canceled_and_said() -> None:
    switch, found = FakeSwitch(orders=0), []
    guard = guards_of([switch])[0]

    async def main() -> None:
        with anyio.fail_after(SECONDS_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guard.keep_empty, lambda venue, count: found.append((venue, count)))
                while switch.calls.count("open_orders") < 2:
                    await anyio.sleep(0.001)
                switch.orders = [order(1), order(2), order(3, reduce_only=True)]
                while not found:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()

    run_in_virtual_time(main)
    assert (found, switch.orders) == ([("SIM", 2)], [order(3, reduce_only=True)])


def test_a_cancel_does_not_wait_for_a_question(tmp_path: Path) -> None:
    """A venue that takes cancels and answers no question: the cancel is out at once."""
    switch = FakeSwitch()

    async def hang() -> tuple[()]:
        await anyio.sleep_forever()
        return ()

    async def main() -> KillRun:
        guard = guards_of([switch])[0]
        run = KillRun("test", "because", 7, ("SIM",), flatten=False, started_ns=time.monotonic_ns())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guard.stay_warm)
            while not guard.is_open:
                await anyio.sleep(0.001)
            switch.open_orders = hang  # type: ignore[method-assign]  # from now on it hangs
            await anyio.sleep(0.02)
            tasks.start_soon(guard.empty, run)
            with anyio.fail_after(SECONDS_MAX):
                while run.venues["SIM"].cancels_sent_us is None:
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        return run

    # Less than the time that a question may take: it went out beside it.
    assert (run_in_virtual_time(main).venues["SIM"].cancel_rounds, switch.calls.count("cancel_all")) == (1, 1)


def test_a_dead_man_switch_that_a_venue_does_not_have_is_asked_for_once() -> None:
    switch = FakeSwitch()
    guard = guards_of([switch])[0]
    asked = []

    async def none(timeout_s: float) -> bool:
        asked.append(timeout_s)
        return False

    async def main() -> list[bool]:
        await guard.look()
        armed = await guard.refresh_dead_man(30.0)
        switch.refresh_dead_man = none  # type: ignore[method-assign]  # another venue, so to say
        return [armed, await guard.refresh_dead_man(30.0), await guard.refresh_dead_man(30.0)]

    assert run_in_virtual_time(main) == [True, False, False]
    assert (switch.dead_man, asked) == ([30.0], [30.0])
