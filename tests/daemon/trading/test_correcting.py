"""What a person puts right: positions that no execution explains, executions that no order of ours does; and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.enums import Side, TradingState
from core.errors import RefusedError
from core.events import ControlRequested, ForeignFilled, PositionCorrected
from core.order_store import FOREIGN
from daemon.audit.record_text import describe
from daemon.control.wire import Request
from daemon.exit_codes import ExitCode
from daemon.trading.control import Control
from daemon.trading.correcting import Correcting, Wanted
from tests.daemon.trading.daemon_harness import Running, play
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING, PRICE
from tests.daemon.trading.test_foreign import check

MINE = "obedient"


def held(run: Running, strategy_id: str) -> int:
    position = run.trader.portfolio.by_strategy.get((strategy_id, INSTRUMENT))
    return 0 if position is None else position.qty


def holds(run: Running, qty: int) -> bool:
    return held(run, MINE) == qty


async def buy(run: Running, count: int) -> None:
    for number in range(1, count + 1):
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.venue.orders)
        run.venue.tell(NOTHING)
        run.venue.fill(next(iter(run.venue.orders)), 1)
        await run.until(partial(holds, run, number))


async def ask(run: Running, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await Control(run.daemon).answer(Request("POST", "/correct", {"instrument_id": INSTRUMENT, **body}, 501))
    assert isinstance(answer, tuple)
    return answer


def refused(run: Running, **wanted: str) -> str:
    with pytest.raises(RefusedError) as found:
        Correcting(run.daemon.session, run.daemon.reconciling).check(Wanted(**{"instrument_id": INSTRUMENT, **wanted}))
    return str(found.value)


def test_a_split_is_taken_over_and_trading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        await buy(run, 3)
        cash, cost = dict(run.trader.portfolio.cash), run.trader.portfolio.by_instrument[INSTRUMENT].value_open
        run.venue.position = 6
        assert (await run.daemon.reconciling.ask()).differences
        assert run.trader.risk.trading_state is TradingState.HALTED
        code, content = await ask(run, price="0", reason="two for one")
        assert (code, content["corrected"]) == (200, f"{INSTRUMENT}: 3 became 6, at 0.00")
        assert (held(run, MINE), held(run, FOREIGN)) == (6, 0)
        # Nothing was paid and nothing earned: twice as many at half the price.
        assert run.trader.portfolio.cash == cash
        assert run.trader.portfolio.by_instrument[INSTRUMENT].value_open == cost
        assert (await run.daemon.reconciling.ask()).differences == ()
        run.daemon.resume("put right", 501)
        assert run.trader.risk.trading_state is TradingState.ACTIVE

    run = play(tmp_path, monkeypatch, story)
    records = run.records()
    at = next(number for number, record in enumerate(records) if isinstance(record, PositionCorrected))
    asked = records[at - 1]
    assert isinstance(asked, ControlRequested)
    assert (asked.action, asked.uid, asked.reason) == ("correct", 501, "two for one")
    assert "put right by a person: BUY 3 at 0.00" in describe(records[at], run.trader.instruments[INSTRUMENT])
    check(run, tmp_path)


def test_an_expiry_takes_what_each_holds_and_a_delivery_nobody_held_is_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(run: Running) -> None:
        await buy(run, 2)
        run.venue.position = 0
        await run.daemon.reconciling.ask()
        assert (await ask(run, price="101.00", reason="expired"))[0] == 200
        assert run.trader.portfolio.by_instrument[INSTRUMENT].qty == held(run, MINE) == 0
        assert run.trader.portfolio.by_instrument[INSTRUMENT].realized_pnl == 2 * 100 * 10**6
        run.venue.position = -4
        await run.daemon.reconciling.ask()
        assert (await ask(run, price="100.00", reason="assigned"))[0] == 200
        assert (held(run, MINE), held(run, FOREIGN)) == (0, -4)
        run.venue.position = -5
        await run.daemon.reconciling.ask()
        assert (await ask(run, price="100.00", qty="-1", strategy_id=MINE, reason="its own"))[0] == 200
        assert (held(run, MINE), held(run, FOREIGN)) == (-1, -4)

    check(play(tmp_path, monkeypatch, story), tmp_path)


def test_an_overfill_is_booked_because_a_person_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        await buy(run, 1)
        more = run.venue.fill_again(run.venue.executions[0], 2)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)
        assert len((await run.daemon.reconciling.ask()).differences) == 2  # the execution, and the position
        # By its position alone it could be put right, but the execution would be found again for ever.
        code, content = await ask(run, execution_id=more.execution_id, reason="seen on the venue's page")
        assert code == 200, content
        assert content["corrected"] == f"{INSTRUMENT}: execution {more.execution_id}, BUY 2 at 100.00, booked to {FOREIGN}"
        assert (held(run, MINE), held(run, FOREIGN)) == (1, 2)
        assert (await run.daemon.reconciling.ask()).differences == ()
        # A second time is once.
        code, content = await ask(run, execution_id=more.execution_id, reason="again")
        assert (code, content["error"]) == (
            409,
            f"execution {more.execution_id} of {INSTRUMENT} is booked already; nothing was changed",
        )
        run.venue.say(more)
        assert (await run.daemon.reconciling.ask()).differences == ()
        run.daemon.resume("put right", 501)
        # And it can be closed like everything else.
        run.venue.tell(NOTHING)
        run.daemon.start_flatten("a test", 0)
        await run.until(lambda: not run.daemon.is_flattening)
        assert run.venue.position == 0

    run = play(tmp_path, monkeypatch, story)
    assert [record.is_adopted for record in run.records() if isinstance(record, ForeignFilled)] == [True]
    check(run, tmp_path)


def test_a_trade_by_hand_is_booked_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        fill = run.venue.trade_by_hand(Side.SELL, 3)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)
        assert (await ask(run, execution_id=fill.execution_id, reason="that was me"))[0] == 200
        assert held(run, FOREIGN) == -3
        assert (await run.daemon.reconciling.ask()).differences == ()

    check(play(tmp_path, monkeypatch, story), tmp_path)


def test_what_is_refused_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        await buy(run, 1)
        assert "HALTED: halt first" in refused(run, price="1")
        run.daemon.halt("a test")
        before = run.trader.portfolio.cash | {"qty": run.trader.portfolio.by_instrument[INSTRUMENT].qty}
        assert f"there are {INSTRUMENT}" in refused(run, instrument_id="NONE.SIM", price="1")
        assert "say nothing else" in refused(run, execution_id="x1", price="1")
        assert refused(run, price="dear").startswith("price: ")
        assert refused(run, price="1.001").startswith("price: ")
        assert "no value at -1" in refused(run, price="-1")
        assert refused(run, price="1", qty="half").startswith("qty: ")
        assert "0 corrects nothing" in refused(run, price="1", qty="0")
        for body, what in (
            ({"price": "1", "reason": "r"}, "is the venue's"),
            ({"price": "1", "qty": "2", "reason": "r"}, "is the venue's"),
            ({"execution_id": "none", "reason": "r"}, "is not among the executions"),
            ({"execution_id": run.venue.executions[0].execution_id, "reason": "r"}, "is booked already"),
        ):
            code, content = await ask(run, **body)
            assert code == 409
            assert what in content["error"]
        assert (await ask(run, price="1"))[0] == 400
        assert (await ask(run, price=1, reason="r"))[0] == 400
        assert (await ask(run, price="1", reason="r", strategy_id="nobody"))[0] == 404
        run.venue.position = 5
        code, content = await ask(run, price="1", qty="-4", reason="r")
        assert (code, content["error"]) == (
            409,
            f"the venue's position in {INSTRUMENT} differs by 4, not by -4; nothing was changed",
        )
        run.venue.is_reachable = False
        code, content = await ask(run, price="1", reason="r")
        assert code == 409
        assert "cannot be asked" in content["error"]
        run.venue.is_reachable = True
        run.venue.position = 1
        assert run.trader.portfolio.cash | {"qty": run.trader.portfolio.by_instrument[INSTRUMENT].qty} == before

    run = play(tmp_path, monkeypatch, story)
    assert run.end is ExitCode.OK
    assert not any(isinstance(record, PositionCorrected | ForeignFilled) for record in run.records())


@pytest.mark.parametrize("in_look", [1, 2])
def test_a_fill_that_comes_while_the_venue_is_asked_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_look: int
) -> None:
    """What the venue said of the position may be older than the fill: nothing is guessed."""

    async def story(run: Running) -> None:
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.venue.orders)
        run.venue.tell(NOTHING)
        await run.until(lambda: run.trader.states[INSTRUMENT].open_orders)
        name = next(iter(run.venue.orders))
        run.venue.loses_orders = True  # the cancel of the halt as well
        run.daemon.halt("a test")
        run.venue.position = 7
        query, looks = run.venue.query, list[Any]()

        async def query_and_fill(since_ts: int) -> Any:
            state = await query(since_ts)
            looks.append(state)
            if name in run.venue.orders and len(looks) == in_look:
                run.venue.fill(name, 1)
                run.venue.position = 8
                await run.until(lambda: not run.venue._events)
            return state

        monkeypatch.setattr(run.venue, "query", query_and_fill)
        texts = []
        for _ in range(3):
            code, content = await ask(run, price=f"{PRICE // 100}", reason="r")
            texts.append((code, content.get("error", content.get("corrected"))))
            if code == 200:
                break
        # Whatever it refused on the way: what it booked in the end is what the venue holds.
        assert texts[-1][0] == 200, texts
        assert run.trader.portfolio.by_instrument[INSTRUMENT].qty == run.venue.position == 8

    check(play(tmp_path, monkeypatch, story), tmp_path)
