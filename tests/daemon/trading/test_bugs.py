"""Faults put into every part of the running daemon: whatever breaks, no order is left resting, and nothing dies in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.commands import CancelAll
from core.enums import OrderStatus, Reason, Side, TradingState
from core.errors import StateError, StrategyError
from core.events import Heartbeat, OrderCanceled
from core.order_store import OrderStore
from daemon.control.client import ask
from daemon.control.socket_path import socket_of
from daemon.exit_codes import ExitCode
from daemon.trading.clock import Clock
from tests.daemon.session import CONFIG, environment, write_config
from tests.daemon.trading.daemon_harness import Running, play
from tests.daemon.trading.scripted_venue import BUY_ONE, NOTHING, ScriptedVenue

Patch = pytest.MonkeyPatch


class Bug(Exception):
    pass


async def one_resting_order(run: Running) -> None:
    run.venue.tell(BUY_ONE)
    await run.until(lambda: run.venue.orders and run.trader.orders.open_orders())
    run.venue.tell(NOTHING)


def check_end(run: Running, folder: Path, text: str, kind: type[BaseException] = Bug) -> None:
    """Nothing rests, the halt is on the disk, somebody was told, and the bug itself comes out."""
    assert run.venue.orders == {}
    latch = json.loads((folder / "state" / "session" / "trading_state.json").read_text())
    assert (latch["state"], text in latch["reason"]) == ("HALTED", True), latch
    assert isinstance(run.end, kind), run.end
    assert text in str(run.end)
    assert "bug" in run.watcher.kinds()
    assert CancelAll in [type(command) for command in run.venue.sent]


def check_next_start(folder: Path, monkeypatch: Patch) -> None:
    """The daemon comes up again, HALTED, and its books are the venue's."""

    async def story(run: Running) -> None:
        assert run.trader.risk.trading_state is TradingState.HALTED
        assert run.trader.orders.open_orders() == []
        assert run.daemon.reconciling.last.differences == ()

    assert play(folder, monkeypatch, story).end is ExitCode.OK


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: Any, **_named: Any) -> Any:
        raise error

    return fail


def test_in_the_trader(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setitem(run.trader._handlers, Heartbeat, raising(Bug("in the Trader")))
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "in the Trader")
    monkeypatch.undo()
    check_next_start(tmp_path, monkeypatch)


def test_an_assertion_in_the_order_store_at_an_event_of_the_venue(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr(OrderStore, "filled", raising(AssertionError("what cannot be")))
        run.venue.fill(next(iter(run.venue.orders)), 1)
        run.venue.rest_by_hand(Side.BUY, 1)
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "what cannot be", AssertionError)


def test_in_the_encoder_of_the_journal(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr(run.daemon.session.journal, "_encoded", raising(Bug("in the encoder")))
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "in the encoder")
    monkeypatch.undo()
    check_next_start(tmp_path, monkeypatch)


def test_in_the_heart(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr("daemon.trading.heart.Heartbeat", raising(Bug("in the heart")))
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "in the heart")


def test_in_the_reconciliation(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr("daemon.trading.reconciling.look", raising(Bug("in the look")))
        run.daemon.reconciling.nudge()
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "in the look")


@pytest.mark.parametrize("error", [Bug("exit"), SystemExit("exit")])
def test_in_a_strategy_that_calls_exit(tmp_path: Path, monkeypatch: Patch, error: BaseException) -> None:
    """What a strategy raises is its own fault (exit code 5), and so is sys.exit(), which would end the process as it stands."""

    async def story(run: Running) -> None:
        await one_resting_order(run)
        run.trader.contexts[0].on_order = raising(error)
        run.venue.fill(next(iter(run.venue.orders)), 1)
        run.venue.tell(BUY_ONE)
        await run.ended()

    run = play(tmp_path, monkeypatch, story)
    assert run.venue.orders == {}
    assert json.loads((tmp_path / "state" / "session" / "trading_state.json").read_text())["state"] == "HALTED"
    assert isinstance(run.end, StrategyError)


def test_in_a_task_that_calls_exit(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr("daemon.trading.heart.Heartbeat", raising(SystemExit(3)))
        await run.ended()

    check_end(play(tmp_path, monkeypatch, story), tmp_path, "has called sys.exit(3)", AssertionError)


class DyingVenue(ScriptedVenue):
    """Its stream breaks off with a bug of the adapter; a new one works, and only a stream carries what is sent."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.dies = False
        self.runs = 0
        self._unsent: list[Any] = []

    async def run(self, sink: Any, on_reconnect: Any) -> None:
        self.runs += 1
        while True:
            unsent, self._unsent = self._unsent, []
            for approved in unsent:
                super().send(approved)
            events, self._events = self._events, []
            for event in events:
                await sink.put(event)
            if self.dies and self.runs == 1:
                raise Bug("in the adapter")
            await anyio.sleep(0.001)

    def send(self, approved: Any) -> None:
        self._unsent.append(approved)


def test_in_the_adapter_whose_feed_carries_the_cancels(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        assert isinstance(run.venue, DyingVenue)
        run.venue.dies = True
        await run.ended()
        assert run.venue.runs == 2

    check_end(play(tmp_path, monkeypatch, story, make_venue=DyingVenue), tmp_path, "in the adapter")


def test_a_venue_that_refuses_even_that_is_told_of(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        monkeypatch.setattr(run.venue, "send", raising(Bug("in send")))
        run.venue.tell(BUY_ONE)
        await run.ended()

    run = play(tmp_path, monkeypatch, story, 'daemon.stop_timeout="200ms"')
    assert isinstance(run.end, Bug)
    assert len(run.venue.orders) == 1
    assert "not_verified" in run.watcher.kinds()
    assert json.loads((tmp_path / "state" / "session" / "trading_state.json").read_text())["state"] == "HALTED"


def test_a_task_that_ends_by_itself_is_a_bug(tmp_path: Path, monkeypatch: Patch) -> None:
    may_end = anyio.Event()

    async def until_told(_self: Any) -> None:
        await may_end.wait()

    monkeypatch.setattr("daemon.trading.reconciling.Reconciling.run", until_told)

    async def story(run: Running) -> None:
        may_end.set()
        await run.ended()

    run = play(tmp_path, monkeypatch, story)
    assert isinstance(run.end, AssertionError)
    assert "has ended by itself" in str(run.end)


def test_an_event_that_cannot_be_halts_and_sees_everything_out(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await one_resting_order(run)
        now = run.daemon.session.clock.now()
        run.venue.say(OrderCanceled(now, now, 77, 1, Reason.REQUESTED))
        await run.ended()

    run = play(tmp_path, monkeypatch, story)
    assert isinstance(run.end, StateError)
    assert run.venue.orders == {}
    assert [order.status for order in run.trader.orders.orders.values()] == [OrderStatus.CANCELED]


@pytest.mark.parametrize(
    ("method", "path", "state"), [("GET", "/status", TradingState.ACTIVE), ("POST", "/reduce", TradingState.HALTED)]
)
def test_in_an_answer(tmp_path: Path, monkeypatch: Patch, method: str, path: str, state: TradingState) -> None:
    """It costs that answer. Nobody knows what came of an action: then trading halts, and the daemon stays."""

    async def story(run: Running) -> None:
        await one_resting_order(run)
        socket = socket_of(run.daemon.run_id)
        asking = partial(ask, socket, method, path, {"reason": "a test"} if method == "POST" else None)
        with monkeypatch.context() as broken:
            broken.setattr("daemon.trading.daemon.Daemon.set_state", _unless_halting(run))
            broken.setattr("daemon.trading.control.Control._view", raising(Bug("in a view")))
            status, content = await anyio.to_thread.run_sync(asking)
        assert (status, "a bug of tradingd" in content["error"]) == (500, True)
        assert run.trader.risk.trading_state is state
        status, _ = await anyio.to_thread.run_sync(partial(ask, socket, "GET", "/status"))
        assert status == 200
        assert run.daemon.phase == "running"

    run = play(tmp_path, monkeypatch, story, by_the_clock=True)
    assert run.end is ExitCode.OK
    assert "bug" in run.watcher.kinds()


def _unless_halting(run: Running) -> Callable[..., None]:
    before = run.daemon.set_state

    def set_state(_self: Any, action: str, *arguments: Any) -> None:
        if action != "halt":
            raise Bug("in an action")
        before(action, *arguments)

    return set_state


BROKEN = """
import core.trader
from core.events import Heartbeat

def broken(self, event):
    if event.number == 5:
        raise AssertionError("what cannot be")

core.trader.Trader._on_heartbeat = broken
import sys
from daemon.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_from_outside_it_is_a_traceback_and_exit_code_1(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)
    (tmp_path / "broken.py").write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, "broken.py", "paper", "session.toml"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "AssertionError: what cannot be" in done.stderr) == (ExitCode.INTERNAL, True), done.stderr
    latch = json.loads((tmp_path / "state" / "session" / "trading_state.json").read_text())
    assert latch["state"] == "HALTED"
