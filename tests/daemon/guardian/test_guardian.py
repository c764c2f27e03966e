"""The guardian over venues in memory and a daemon that is only datagrams: what it does about what it hears."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from daemon.guardian.alerts import Alerter
from daemon.guardian.card import Card, write_card
from daemon.guardian.guardian import Guardian
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.messages import Alerted, Beaten, Message, Phased, Sealed, encode
from daemon.guardian.places import CARD_FILE, beat_socket
from daemon.guardian.settings import GuardianSettings, KillSettings
from daemon.journal.anchor import Anchor
from daemon.kill_latch import KillLatch
from daemon.trading.listener import Alert, Severity
from tests.daemon.guardian.fake_switch import FakeSwitch, order
from tests.daemon.guardian.test_alerts import Kept
from tests.daemon.guardian.test_watch import beat
from tests.daemon.session import sockets_of
from tests.daemon.trading.virtual_time import run_in_virtual_time

SECONDS_MAX = 40.0
KILL = KillSettings(fence_after_s=0.2, settle_s=0.02, venue_timeout_s=0.5, guard_interval_s=0.01, check_interval_s=0.05)


class Scene:
    """A guardian that runs, and what a test can do to it."""

    def __init__(self, folder: Path, switches: list[FakeSwitch], **settings: Any) -> None:
        self.account = folder / "state" / "paper"
        self.switches = switches
        self.said = Kept()
        self.latch = LatchHand(self.account)
        fields: dict[str, Any] = {
            "name": "paper",
            "account_folder": self.account,
            "state_folder": folder / "guardian",
            "kill_file": self.account / "KILL",
            "is_required": False,
            "heartbeat_timeout_s": 60.0,
            "lost_after_s": 5.0,
            "dead_man_s": 0.0,
            "head_interval_s": 10.0,
            "stop_s_max": 5.0,
            "kill": KILL,
        }
        alerter = Alerter("paper", [self.said], repeat_after_s=300.0, per_minute_max=100)
        self.guardian = Guardian(GuardianSettings(**{**fields, **settings}), lambda _hand: switches, alerter, self.latch)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def say(self, message: Message) -> None:
        self._socket.sendto(encode(message), str(beat_socket("paper")))

    def phase(self, phase: str) -> None:
        self.say(Phased(phase=phase, text="", run_id="paper-1", latch=self.latch.identity, stop_s_max=5.0))

    def beat(self, number: int, **changed: Any) -> None:
        self.say(Beaten(beat=beat(number, **changed), latch=self.latch.identity))

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(SECONDS_MAX):
            while not condition():
                await anyio.sleep(0.005)

    def kinds(self) -> list[str]:
        return [content["kind"] for content in self.said.got]

    @property
    def kill(self) -> dict[str, Any]:
        return self.guardian.status()["kill"] or {}


def play(scene: Scene, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.guardian.run)
            await scene.until(beat_socket("paper").is_socket)
            await act(scene)
            tasks.cancel_scope.cancel()

    run_in_virtual_time(main)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    sockets = sockets_of(tmp_path)
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(sockets))
    sockets.mkdir(mode=0o700)
    yield tmp_path
    for path in sockets.glob("*"):
        path.unlink()
    sockets.rmdir()


def test_a_halt_that_leaves_orders_open_is_a_breach(folder: Path) -> None:
    switch = FakeSwitch()
    switch.orders.append(order(9, reduce_only=True))

    async def act(scene: Scene) -> None:
        for number in range(1, 1_000):
            scene.beat(number, trading_state="HALTED", trading_state_reason="daily_loss_max: 5 is past 4")
            await anyio.sleep(0.02)
            if scene.kill.get("verified"):
                break
        assert (scene.kill["trigger"], switch.orders) == ("breach", [order(9, reduce_only=True)])
        assert "daily_loss_max: 5 is past 4 (SIM 3)" in scene.kill["reason"]

    play(Scene(folder, [switch]), act)


def test_a_halt_that_leaves_nothing_but_reduce_only_orders_is_none(folder: Path) -> None:
    switch = FakeSwitch(orders=0)
    switch.orders.append(order(9, reduce_only=True))

    async def act(scene: Scene) -> None:
        scene.beat(1, trading_state="HALTED")
        asked = len(switch.calls)
        # It has looked, more than once.
        await scene.until(lambda: scene.guardian.status()["daemon"]["trading_state"] == "HALTED")
        await scene.until(lambda: len(switch.calls) > asked + 30)
        assert (scene.kill, scene.latch.is_set) == ({}, False)

    play(Scene(folder, [switch]), act)


def test_a_resume_while_the_venues_are_looked_at_is_no_breach(folder: Path) -> None:
    """Orders are open, and by the time that is known they are those of a daemon that may trade again."""
    switch = FakeSwitch()

    async def act(scene: Scene) -> None:
        scene.beat(1, trading_state="HALTED")
        # The grace is over, and it has looked.
        with anyio.move_on_after(1.5):
            await scene.until(lambda: scene.kill)
        for number in range(2, 20):
            scene.beat(number)
            await anyio.sleep(0.02)
        assert (scene.kill, scene.latch.is_set, len(switch.orders)) == ({}, False, 3)

    play(Scene(folder, [switch]), act)


def test_an_orderly_end_that_leaves_orders_open_is_a_trigger(folder: Path) -> None:
    switch = FakeSwitch(orders=2)

    async def act(scene: Scene) -> None:
        scene.beat(1)
        scene.phase("stopping")
        scene.phase("ended")
        await scene.until(lambda: scene.kill.get("verified"))
        assert (scene.kill["trigger"], switch.orders) == ("orders_after_stop", [])

    play(Scene(folder, [switch]), act)


@pytest.mark.parametrize("orders", [0, 2])
def test_a_daemon_that_died_unwatched_has_its_orders_looked_at(folder: Path, orders: int) -> None:
    switch = FakeSwitch(orders=orders)
    scene = Scene(folder, [switch], heartbeat_timeout_s=0.2)
    dead = Card(name="paper", pid=1 << 22, started=1, boot="x", state_folder="", config="", phase="running", run_id="paper-7")
    write_card(scene.account / CARD_FILE, dead)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: "daemon_died_unwatched" in scene.kinds())
        if orders:
            await scene.until(lambda: scene.kill.get("verified"))
            assert (scene.kill["trigger"], switch.orders) == ("daemon_gone", [])
        else:
            asked = len(switch.calls)
            await scene.until(lambda: len(switch.calls) > asked + 10)
            assert (scene.kill, scene.latch.is_set) == ({}, False)

    play(scene, act)


def test_a_flatten_on_top_of_a_kill_that_hangs_takes_its_place(folder: Path) -> None:
    dead, good = FakeSwitch("DEAD"), FakeSwitch("GOOD")
    dead.refuses_opens = 10**9
    good.held = {"ACME.SIM": 5}

    async def act(scene: Scene) -> None:
        first = scene.guardian.kill("request", "first")
        assert scene.guardian.kill("request", "again") is first
        await scene.until(lambda: scene.kill["venues"][1]["verified"])
        second = scene.guardian.kill("request", "and flatten", flatten=True)
        assert second is not first
        await scene.until(lambda: scene.kill["venues"][1]["flat_us"] is not None)
        assert (good.held, scene.kill["verified"]) == ({}, False)
        # What asks for less now joins it.
        assert scene.guardian.kill("request", "third") is second
        dead.refuses_opens = 0
        await scene.until(lambda: scene.kill["verified"])

    play(Scene(folder, [dead, good]), act)


def test_a_resume_ends_the_guarding_and_a_second_kill_begins_anew(folder: Path) -> None:
    switch = FakeSwitch()

    async def act(scene: Scene) -> None:
        daemon = KillLatch(scene.latch.path)
        for number in (1, 2):
            run = scene.guardian.kill("request", f"number {number}")
            assert daemon.is_set
            await scene.until(lambda: scene.kill["verified"])
            assert run.is_verified
            switch.orders = [order(number)]
            await scene.until(lambda: not switch.orders)
            daemon.clear()
            await scene.until(lambda: not scene.guardian.status()["latch"]["in_force"])
        # Nobody guards now: what is open is the daemon's own business again.
        switch.orders = [order(7)]
        asked = switch.calls.count("open_orders")
        await scene.until(lambda: switch.calls.count("open_orders") > asked + 3)
        assert switch.orders == [order(7)]
        await scene.until(lambda: scene.kinds().count("kill_cleared") == 2)
        assert scene.kinds().count("kill_verified") == 2

    play(Scene(folder, [switch]), act)


def test_the_dead_man_switch_is_armed_by_heartbeats_and_disarmed_by_an_orderly_end(folder: Path) -> None:
    switch = FakeSwitch(orders=0)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(switch.calls) > 5)
        assert switch.dead_man == []
        for number in range(1, 5):
            scene.beat(number)
            count = len(switch.dead_man)
            await scene.until(lambda count=count: len(switch.dead_man) > count)
        assert set(switch.dead_man) == {0.2}
        scene.phase("stopping")
        scene.phase("ended")
        await scene.until(lambda: switch.dead_man[-1] == 0)

    play(Scene(folder, [switch], dead_man_s=0.2), act)


def test_without_heartbeats_the_dead_man_switch_is_left_to_go_off(folder: Path) -> None:
    switch = FakeSwitch(orders=0)

    async def act(scene: Scene) -> None:
        scene.beat(1)
        await scene.until(lambda: scene.kill.get("trigger") == "heartbeat_lost")
        await scene.until(lambda: scene.kill["verified"])
        count = len(switch.dead_man)
        asked = len(switch.calls)
        await scene.until(lambda: len(switch.calls) > asked + 30)
        assert len(switch.dead_man) == count

    play(Scene(folder, [switch], dead_man_s=0.2, heartbeat_timeout_s=0.5), act)


def test_a_daemon_with_another_latch_gets_no_answer_that_counts(folder: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.say(Beaten(beat=beat(1), latch=(1, 2)))
        await scene.until(lambda: "other_latch" in scene.kinds())

    play(Scene(folder, [FakeSwitch(orders=0)]), act)


def test_a_latch_that_is_taken_away_is_no_resume(folder: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.guardian.kill("request", "x")
        await scene.until(lambda: scene.kill["verified"])
        os.unlink(scene.latch.path)
        await scene.until(lambda: "latch_replaced" in scene.kinds())
        assert KillLatch(scene.latch.path).is_set
        assert scene.guardian.status()["latch"]["in_force"]

    play(Scene(folder, [FakeSwitch()]), act)


@pytest.mark.parametrize("kind", ["pipe", "folder", "unreadable text"])
def test_whatever_stands_in_the_place_of_the_kill_file_kills(folder: Path, kind: str) -> None:
    async def act(scene: Scene) -> None:
        path = scene.account / "KILL"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"\xff\x00\x1b[2Jodd\n" * 1_000)
        await scene.until(lambda: scene.kill.get("verified"))
        assert scene.kill["trigger"] == "file"
        assert scene.kill["reason"].isprintable()

    play(Scene(folder, [FakeSwitch()]), act)


def test_a_guardian_that_finds_the_latch_set_keeps_what_it_says(folder: Path) -> None:
    scene = Scene(folder, [FakeSwitch()])
    scene.latch.raise_flag("the first reason", 7, 1_767_623_400_000_000_000)

    async def act(scene: Scene) -> None:
        await scene.until(lambda: scene.kill.get("verified"))
        assert scene.kill["trigger"] == "latch"
        assert scene.latch.text() == "2026-01-05T14:30:00.000000000Z uid 7: the first reason"

    play(scene, act)


def test_messages_that_are_whole_and_make_no_sense_do_not_end_it(folder: Path) -> None:
    seed = int(os.environ.get("TRADINGD_TEST_SEED", "1"))
    draw = random.Random(seed)
    numbers = (0, 1, -1, 1 << 62, -(1 << 63), (1 << 64) - 1)
    texts = ("", "paper-1", "paper-2", "../../x-3", "\x1b[2J\u202e", "x" * 5_000, "0" * 64, "HALTED")
    floats = (0.0, -1.0, 1e308, float("inf"), float("nan"))

    def nonsense() -> Message:
        def number() -> int:
            return draw.choice(numbers)

        def text() -> str:
            return draw.choice(texts)

        kind = draw.randrange(4)
        if kind == 0:
            ints = ("pid", "ts", "lag_ns", "events", "orders_sent", "open_orders", "records", "records_durable")
            changed: dict[str, Any] = {name: number() for name in ints}
            changed |= {name: text() for name in ("run_id", "trading_state", "trading_state_reason", "journal_id", "head")}
            return Beaten(beat=beat(1, **changed), latch=(number(), number()))
        if kind == 1:
            phase = draw.choice((*texts, "starting", "stopping", "unknown"))
            latch = (number(), number())
            return Phased(phase=phase, text=text(), run_id=text(), latch=latch, stop_s_max=draw.choice(floats))
        if kind == 2:
            return Alerted(alert=Alert(kind=text(), severity=draw.choice(list(Severity)), text=text(), ts=number()))
        anchor = Anchor(
            journal_id=text(),
            run_id=text(),
            public_key="",
            segment=number(),
            frame=number(),
            records=number(),
            before="",
            seal="",
        )
        return Sealed(anchor=anchor)

    async def act(scene: Scene) -> None:
        for _ in range(400):
            scene.say(nonsense())
            # Room for the next one: both ends are in this thread.
            await anyio.sleep(0.001)
        await anyio.sleep(0.1)
        run = scene.guardian.kill("request", "after all that")
        await scene.until(lambda: run.is_verified or scene.kill.get("verified"))

    play(Scene(folder, [FakeSwitch(orders=0)]), act)


def test_alerts_of_the_daemon_go_out_under_its_name(folder: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.say(Alerted(alert=Alert(kind="not_flat", severity=Severity.CRITICAL, text="30 ACME are open", ts=1)))
        await scene.until(lambda: scene.said.got)
        assert [(c["source"], c["kind"], c["text"]) for c in scene.said.got] == [("daemon", "not_flat", "30 ACME are open")]

    play(Scene(folder, [FakeSwitch(orders=0)]), act)
