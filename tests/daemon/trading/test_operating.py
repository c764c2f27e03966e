"""What an operator can do to a running daemon, in an incident above all, and what nobody can do at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.enums import OrderStatus, Side, TradingState
from core.events import CancelAllRequested, ControlRequested, TradingResumed, TradingStateSet
from daemon.control.wire import Request
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from daemon.trading.control import ACTIONS
from tests.daemon.session import CONFIG, tradingd, write_config
from tests.daemon.trading.daemon_harness import Running, play
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING
from tests.daemon.trading.test_paper import ask as asked
from tests.daemon.trading.test_paper import paper

Patch = pytest.MonkeyPatch


async def ask(run: Running, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await run.control.answer(Request("POST" if path in ACTIONS else "GET", path, body, 1_000))
    assert isinstance(answer, tuple)
    return answer


async def hold_one(run: Running) -> None:
    """A position of one, and one more order that rests."""
    for _ in range(2):
        count = len(run.trader.orders.orders)
        run.venue.tell(BUY_ONE)
        await run.until(lambda count=count: len(run.trader.orders.orders) > count and run.trader.orders.open_orders())
    await run.until(lambda: len(run.venue.orders) == 2)
    name = next(iter(run.venue.orders))
    run.venue.fill(name, 1)
    run.venue.tell(NOTHING)
    await run.until(lambda: run.trader.portfolio.by_instrument[INSTRUMENT].qty == 1)


def check_replay(run: Running) -> None:
    assert run.end is ExitCode.OK, run.end
    assert replay(run.daemon.session.journal.path.parent, None).is_identical


def test_flatten_out_of_a_halt_is_one_recorded_step(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await hold_one(run)
        await ask(run, "/halt", reason="an incident")
        assert (await ask(run, "/flatten"))[0] == 409
        assert (await ask(run, "/flatten", reason=" "))[0] == 409
        assert run.trader.risk.trading_state is TradingState.HALTED
        status, reply = await ask(run, "/flatten", reason="close it")
        assert (status, reply["flat"], reply["trading_state"]) == (200, True, "REDUCING")
        assert run.venue.position == 0
        assert run.daemon.session.latched.state is TradingState.REDUCING
        # Nothing new leaves.
        count = len(run.trader.orders.orders)
        run.venue.tell(BUY_ONE)
        await run.until(lambda: len(run.trader.orders.orders) > count)
        assert run.trader.orders.orders[max(run.trader.orders.orders)].status is OrderStatus.DENIED

    run = play(tmp_path, monkeypatch, story)
    records = run.records()
    (at,) = [number for number, record in enumerate(records) if getattr(record, "action", "") == "flatten"]
    what = [record for record in records[at:] if isinstance(record, ControlRequested | TradingResumed | TradingStateSet)]
    assert isinstance(records[at], ControlRequested)
    assert [(type(record).__name__, record.reason) for record in what[:3]] == [
        ("ControlRequested", "close it"),
        ("TradingResumed", "close it"),
        ("TradingStateSet", "close it"),
    ]
    assert any(isinstance(record, CancelAllRequested) for record in records[at:])
    check_replay(run)


def test_flatten_closes_what_a_halted_strategy_holds(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await hold_one(run)
        await ask(run, "/halt", reason="this one", strategy_id="obedient")
        assert (await ask(run, "/flatten"))[1]["flat"]
        assert run.trader.risk.states.own("obedient") is TradingState.REDUCING
        assert run.venue.position == 0

    check_replay(play(tmp_path, monkeypatch, story))


def test_a_kill_latch_that_is_set_refuses_and_says_what_to_do(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await hold_one(run)
        run.daemon.session.kill.set("a kill", 0, 1)
        run.venue.tell(NOTHING)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)
        status, reply = await ask(run, "/flatten", reason="close it")
        assert (status, "resume --to reducing" in reply["error"]) == (409, True)
        assert run.venue.position == 1
        assert (await ask(run, "/resume", reason="seen to", to="reducing"))[1]["trading_state"] == "REDUCING"
        assert not run.daemon.session.kill.is_set
        assert (await ask(run, "/flatten", reason="close it"))[1]["flat"]

    check_replay(play(tmp_path, monkeypatch, story))


def test_resume_goes_as_far_as_it_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        status, reply = await ask(run, "/resume", reason="why", to="reducing")
        assert (status, "looser" in reply["error"]) == (409, True)
        await ask(run, "/halt")
        assert (await ask(run, "/resume", reason=" ", to="reducing"))[0] == 400
        assert (await ask(run, "/resume", reason="why", to="everything"))[0] == 400
        assert (await ask(run, "/resume", reason="why", to="reducing"))[1]["trading_state"] == "REDUCING"
        assert run.daemon.session.latched.state is TradingState.REDUCING
        assert (await ask(run, "/resume", reason="why"))[1]["trading_state"] == "ACTIVE"

    check_replay(play(tmp_path, monkeypatch, story))


def test_one_strategy_is_halted_and_stays_so_over_a_restart(tmp_path: Path, monkeypatch: Patch) -> None:
    async def halted(run: Running) -> None:
        await hold_one(run)
        status, reply = await ask(run, "/halt", reason="odd", strategy_id="obedient")
        assert (status, reply["trading_state"], reply["strategy_state"]) == (200, "ACTIVE", "HALTED")
        await run.until(lambda: not run.venue.orders)
        # It is on the disk before anybody is told.
        (at,) = [number for number, record in enumerate(run.records(), 1) if isinstance(record, TradingStateSet)]
        assert run.daemon.session.journal.records_durable >= at
        assert (await ask(run, "/reduce", strategy_id="obedient"))[0] == 409
        assert (await ask(run, "/halt", strategy_id="nobody"))[0] == 404
        assert (await ask(run, "/halt", strategy_id=["obedient"]))[0] == 404
        assert (await ask(run, "/flatten", strategy_id="obedient"))[0] == 400

    async def again(run: Running) -> None:
        (shown,) = (await ask(run, "/strategies"))[1]["strategies"]
        assert (shown["strategy_id"], shown["trading_state_own"], shown["trading_state_account"]) == (
            "obedient",
            "HALTED",
            "ACTIVE",
        )
        assert shown["instruments"][0]["position"] == "1"
        assert shown["profit"]["USD"]["fees"] == "0.00000100"
        count = len(run.trader.orders.orders)
        run.venue.tell(BUY_ONE)
        await run.until(lambda: len(run.trader.orders.orders) > count)
        assert run.trader.orders.open_orders() == []
        assert (await ask(run, "/resume", reason="seen to", strategy_id="obedient"))[1]["strategy_state"] == "ACTIVE"

    first = play(tmp_path, monkeypatch, halted)
    assert "strategy_state" in first.watcher.kinds()
    check_replay(first)

    def with_position(clock: Any) -> Any:
        from tests.daemon.trading.scripted_venue import ScriptedVenue

        venue = ScriptedVenue(clock)
        venue.position = 1
        return venue

    check_replay(play(tmp_path, monkeypatch, again, make_venue=with_position))


BODIES = (
    {},
    {"reason": "x"},
    {"reason": "x", "to": "active"},
    {"reason": "x", "to": "reducing", "strategy_id": "obedient"},
    {"reason": "x", "order_qty_max": 10**9, "risk": {"order_qty_max": "999999"}, "limits": {INSTRUMENT: 10**9}},
)


def test_no_command_raises_a_limit(tmp_path: Path, monkeypatch: Patch) -> None:
    """Every action there is, with everything that a body may hold: the limits are those of the configuration afterwards."""

    async def story(run: Running) -> None:
        await hold_one(run)
        gate = run.trader.risk
        before = (dict(gate.limits), gate.rate, msgspec.to_builtins(list(gate.limits.values())))
        for path in ACTIONS:
            if path == "/stop":
                continue
            for body in BODIES:
                await ask(run, path, **body)
        assert (dict(gate.limits), gate.rate, msgspec.to_builtins(list(gate.limits.values()))) == before
        assert run.trader.instruments[INSTRUMENT].qty_max >= 1
        # And an order past one is denied as before.
        await ask(run, "/resume", reason="x")
        await ask(run, "/resume", reason="x", strategy_id="obedient")
        context = run.trader.contexts[0]
        order = context.submit(INSTRUMENT, Side.BUY, before[0][INSTRUMENT].order_qty_max + 1, 10_000)
        assert order.status is OrderStatus.DENIED

    play(tmp_path, monkeypatch, story)


def test_the_verbs_from_outside(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)
    with paper(tmp_path):
        found = tradingd("reconcile", cwd=tmp_path)
        assert (found.returncode, "agree" in found.stdout) == (ExitCode.OK, True), found
        assert asked(tmp_path, "reconcile")["differences"] == []
        shown = tradingd("strategies", cwd=tmp_path)
        assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["strategy", "state"], ["maker", "ACTIVE"]]
        assert tradingd("halt", "--strategy", "maker", cwd=tmp_path).stdout.split()[1:] == ["HALTED:", "operator"]
        assert asked(tmp_path, "strategies")["strategies"][0]["trading_state_own"] == "HALTED"
        assert "account ACTIVE" in tradingd("resume", "--strategy", "maker", "--reason", "why", cwd=tmp_path).stdout
        assert tradingd("halt", "--strategy", "nobody", cwd=tmp_path).returncode == ExitCode.REFUSED
        assert asked(tmp_path, "halt")["trading_state"] == "HALTED"
        assert tradingd("flatten", cwd=tmp_path).returncode == ExitCode.REFUSED
        found = tradingd("correct", "ACME.SIM", "--price", "0", "--qty", "-1", "--reason", "a test", cwd=tmp_path)
        assert (found.returncode, "is the venue's; nothing was changed" in found.stderr) == (ExitCode.REFUSED, True), found
        assert asked(tmp_path, "resume", "--to", "reducing", "--reason", "why")["trading_state"] == "REDUCING"
        assert asked(tmp_path, "flatten", "--reason", "close it")["flat"]
