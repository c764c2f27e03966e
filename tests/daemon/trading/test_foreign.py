"""Orders and fills at the venue that are not ours: each policy, while the daemon trades, over a restart, in fold and replay."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.enums import LiquiditySide, OrderStatus, Side, TradingState
from core.errors import StateError
from core.events import ForeignFilled, ForeignOrderFound, OrderFilled, Quote
from core.identifiers import COUNTER_MAX, make_order_id
from core.order_store import FOREIGN, FOREIGN_ORDER_ID
from core.restore import capture
from core.trader_state import TraderState
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from daemon.trading.clock import Clock
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.wiring import build_bare_trader
from tests.core.account import STOCK, Desk
from tests.daemon.trading.daemon_harness import Running, load, play
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING, PRICE, ScriptedVenue

ADOPT, IGNORE, HALT = (f'daemon.foreign_orders="{name}"' for name in ("adopt", "ignore", "halt"))


def position(run: Running) -> tuple[int, int]:
    """The account's, and that of what is foreign."""
    portfolio = run.trader.portfolio
    foreign = portfolio.by_strategy.get((FOREIGN, INSTRUMENT))
    return portfolio.by_instrument[INSTRUMENT].qty, 0 if foreign is None else foreign.qty


def left_behind(folder: Path) -> TraderState:
    """What the next start would begin with."""
    loaded = load(folder)
    state = StateFolder(folder / "state" / "session")
    try:
        return recover(state, partial(build_bare_trader, loaded)).state
    finally:
        state.release()


def check(run: Running, folder: Path) -> None:
    assert run.end is ExitCode.OK, run.end
    found = replay(run.daemon.session.journal.path.parent, None)
    assert (found.is_identical, found.difference, found.error) == (True, None, "")
    assert left_behind(folder) == capture(run.trader)
    # And without its snapshots: the fold of every record.
    for snapshot in run.daemon.session.journal.path.parent.glob("snapshot-*"):
        snapshot.unlink()
    assert left_behind(folder) == capture(run.trader)


@pytest.mark.parametrize("named", [None, make_order_id(999, 1)], ids=["without an id", "with an id of nobody we know"])
def test_an_adopted_order_counts_is_filled_and_is_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: int | None
) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        name = run.venue.rest_by_hand(Side.BUY, 5, client_order_id=named)
        await run.daemon.reconciling.ask()
        (order,) = run.trader.orders.open_orders()
        assert (order.strategy_id, order.leaves_qty, order.status) == (FOREIGN, 5, OrderStatus.ACCEPTED)
        assert order.client_order_id == make_order_id(1, COUNTER_MAX)
        assert run.trader.states[INSTRUMENT].open_buy_qty == 5
        assert run.venue.adopted == {name: order.client_order_id}
        run.venue.fill(name, 2)
        await run.until(lambda: order.filled_qty == 2)
        assert position(run) == (2, 2)
        assert run.trader.states[INSTRUMENT].open_buy_qty == 3
        # A second comparison finds nothing more, and no second order.
        assert (await run.daemon.reconciling.ask()).facts == ()
        run.daemon.halt("a test")
        await run.until(lambda: order.status is OrderStatus.CANCELED)
        assert run.venue.orders == {}

    run = play(tmp_path, monkeypatch, story, ADOPT)
    assert run.watcher.kinds().count("foreign") == 1
    check(run, tmp_path)


def test_an_adopted_order_is_known_again_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venues: list[ScriptedVenue] = []

    def same_venue(clock: Clock) -> ScriptedVenue:
        if not venues:
            venues.append(ScriptedVenue(clock))
        venues[0].clock = clock
        return venues[0]

    async def adopt(run: Running) -> None:
        run.venue.rest_by_hand(Side.SELL, 4, PRICE + 50)
        await run.daemon.reconciling.ask()
        assert len(run.trader.orders.open_orders()) == 1
        # The daemon dies: nothing is canceled.
        run.venue.loses_orders = True

    async def go_on(run: Running) -> None:
        (order,) = run.trader.orders.open_orders()
        assert (order.strategy_id, order.leaves_qty) == (FOREIGN, 4)
        assert order.client_order_id == make_order_id(1, COUNTER_MAX)
        assert run.venue.adopted == {"hand1": order.client_order_id}
        assert run.trader.states[INSTRUMENT].open_sell_qty == 4

    first = play(tmp_path, monkeypatch, adopt, ADOPT, 'daemon.stop_timeout="100ms"', make_venue=same_venue)
    assert first.end is ExitCode.MISMATCH
    venues[0].loses_orders = False
    venues[0].adopted.clear()
    second = play(tmp_path, monkeypatch, go_on, ADOPT, make_venue=same_venue)
    check(second, tmp_path)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_an_adopted_fill_is_booked_once_to_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        fill = run.venue.trade_by_hand(Side.BUY, 3, is_streamed=is_streamed)
        await run.daemon.reconciling.ask()
        assert position(run) == (3, 3)
        run.venue.say(fill)
        await run.daemon.reconciling.ask()
        assert position(run) == (3, 3)
        # What was adopted is closed like everything else.
        run.venue.tell(NOTHING)
        run.daemon.start_flatten("a test", 0)
        await run.until(lambda: not run.daemon.is_flattening)
        assert position(run) == (0, 0)
        assert run.venue.position == 0

    run = play(tmp_path, monkeypatch, story, ADOPT)
    assert [record.is_adopted for record in run.records() if isinstance(record, ForeignFilled)] == [True]
    check(run, tmp_path)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_fill_that_is_ignored_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_streamed: bool) -> None:
    """Our books do not change, the venue's position differs by it from then on, and that is no difference."""

    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        run.venue.rest_by_hand(Side.BUY, 5)
        run.venue.trade_by_hand(Side.SELL, 3, is_streamed=is_streamed)
        found = await run.daemon.reconciling.ask()
        assert found.differences == ()
        assert position(run) == (0, 0)
        assert run.trader.states[INSTRUMENT].open_buy_qty == 0
        assert run.trader.foreign.set_aside == {INSTRUMENT: -3}
        assert (await run.daemon.reconciling.ask()).differences == ()
        assert run.trader.risk.trading_state is TradingState.ACTIVE
        # What nobody has traded is one still.
        run.venue.position += 1
        assert "set aside" in (await run.daemon.reconciling.ask()).differences[0]
        assert run.trader.risk.trading_state is TradingState.HALTED
        run.venue.position -= 1
        # Somebody else's: a bulk cancel of the venue's own may take it, ours does not ask for it.
        run.venue.loses_orders = True

    run = play(tmp_path, monkeypatch, story, IGNORE)
    assert [record.is_adopted for record in run.records() if isinstance(record, ForeignFilled)] == [False]
    check(run, tmp_path)


def test_by_default_what_is_not_ours_halts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(NOTHING)
        run.venue.trade_by_hand(Side.BUY, 1)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)
        assert "is of no order of ours" in run.daemon.session.latched.reason
        assert position(run) == (0, 0)

    run = play(tmp_path, monkeypatch, story)
    assert run.end is ExitCode.MISMATCH, "the positions differ at the end"
    assert "foreign" in run.watcher.kinds()


def test_more_than_an_order_asked_for_halts_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.venue.orders)
        (name,) = run.venue.orders
        fill = run.venue.fill(name, run.venue.orders[name].leaves_qty)
        await run.until(lambda: position(run)[0])
        before = position(run)
        run.venue.say(fill)  # once more: known
        run.venue.fill_again(fill, qty=2)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)
        assert "is of an order of ours that asked for less" in run.daemon.session.latched.reason
        assert (position(run), run.daemon.session.failure) == (before, None)
        assert (await run.daemon.reconciling.ask()).differences != ()

    run = play(tmp_path, monkeypatch, story)
    assert run.end is ExitCode.MISMATCH, "the positions differ at the end"


def test_what_halted_under_one_policy_is_taken_over_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out of a halt for a trade by hand: start again with `adopt`."""
    venues: list[ScriptedVenue] = []

    def same_venue(clock: Clock) -> ScriptedVenue:
        if not venues:
            venues.append(ScriptedVenue(clock))
        venues[0].clock = clock
        return venues[0]

    async def halted(run: Running) -> None:
        run.venue.trade_by_hand(Side.BUY, 2)
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.trader.risk.trading_state is TradingState.HALTED)

    async def adopted(run: Running) -> None:
        assert position(run) == (2, 2)
        assert run.daemon.reconciling.last.differences == ()
        run.daemon.resume("seen to", 0)
        assert run.trader.risk.trading_state is TradingState.ACTIVE

    play(tmp_path, monkeypatch, halted, make_venue=same_venue)
    check(play(tmp_path, monkeypatch, adopted, ADOPT, make_venue=same_venue), tmp_path)


def test_what_was_done_before_the_account_began_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_history(clock: Clock) -> ScriptedVenue:
        venue = ScriptedVenue(clock)
        now = clock.now() - 10 * 10**9
        for side in (Side.BUY, Side.SELL):
            venue.executions.append(
                OrderFilled(now, now, 0, INSTRUMENT, f"old{side}", side, PRICE, 5, 0, LiquiditySide.TAKER, 0, "USD")
            )
        return venue

    async def story(run: Running) -> None:
        assert (await run.daemon.reconciling.ask()).facts == ()
        assert run.trader.portfolio.fills_booked == 0

    check(play(tmp_path, monkeypatch, story, ADOPT, make_venue=with_history), tmp_path)


@pytest.mark.parametrize("policy", [HALT, IGNORE, ADOPT])
def test_an_order_of_ours_that_is_open_there_and_closed_here_halts_under_each_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """It may have come to life after it was given up; a halt cancels it where it is."""

    async def story(run: Running) -> None:
        run.venue.tell(BUY_ONE)
        await run.until(lambda: [order.status for order in run.trader.orders.open_orders()] == [OrderStatus.ACCEPTED])
        run.venue.tell(NOTHING)
        (name,) = run.venue.orders
        order = run.venue.orders[name]
        run.venue.drop(name)
        await run.daemon.reconciling.ask()
        assert run.trader.orders.open_orders() == []
        run.venue.orders[name] = order
        found = await run.daemon.reconciling.ask()
        assert found.differences == (f"order {order.client_order_id} is open there, and CANCELED here",)
        assert run.trader.risk.trading_state is TradingState.HALTED
        await run.until(lambda: not run.venue.orders)

    check(play(tmp_path, monkeypatch, story, policy), tmp_path)


@settings(max_examples=60, deadline=None, print_blob=True)
@given(
    fills=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    known=st.integers(0, 6),
    twice=st.booleans(),
)
def test_fills_of_an_adopted_order_in_any_order_come_to_the_same(
    fills: list[int], order: random.Random, known: int, twice: bool
) -> None:
    """`known` of them had happened, and were booked by themselves, before the order was adopted."""
    trader = Desk().trader
    total, left, events = sum(fills), sum(fills), []
    order_id = make_order_id(trader.run_number, COUNTER_MAX)
    for number, qty in enumerate(fills):
        left -= qty
        events.append(
            OrderFilled(number + 1, 50, order_id, STOCK, f"x{number}", Side.BUY, 10_000, qty, left, LiquiditySide.MAKER, 0, "USD")
        )
    known = min(known, len(fills) - 1)
    for fill in events[:known]:
        trader.step(
            ForeignFilled(
                fill.ts_event, 50, STOCK, fill.execution_id, Side.BUY, 10_000, fill.qty, LiquiditySide.MAKER, 0, "USD", True
            )
        )
    trader.step(ForeignOrderFound(50, 50, order_id, STOCK, Side.BUY, 10_000, sum(fills[known:]), "v1"))
    shuffled = events * (2 if twice else 1)
    order.shuffle(shuffled)
    for fill in shuffled:
        trader.step(fill)
    held = trader.orders.orders[order_id]
    state = trader.states[STOCK]
    assert state.position.qty == total
    assert (held.status, held.leaves_qty, held.reserved_qty) == (OrderStatus.FILLED, 0, 0)
    assert (state.open_buy_qty, state.open_orders) == (0, 0)
    assert held.filled_qty == sum(fills[known:])


def test_what_cannot_be_adopted_is_refused_and_changes_nothing() -> None:
    trader = Desk().trader
    before = capture(trader)
    impossible = [
        ForeignOrderFound(1, 1, 7, "NONE.SIM", Side.BUY, 1, 1, "v"),
        ForeignOrderFound(1, 1, 7, STOCK, Side.BUY, 1, 0, "v"),
        ForeignFilled(1, 1, STOCK, "x", Side.BUY, 1, 0, LiquiditySide.MAKER, 0, "USD", True),
        ForeignFilled(1, 1, "NONE.SIM", "x", Side.BUY, 1, 1, LiquiditySide.MAKER, 0, "USD", True),
    ]
    for event in impossible:
        with pytest.raises(StateError):
            trader.step(event)
    assert capture(trader) == before
    trader.step(Quote(2, 2, STOCK, 10, 1, 11, 1))
    assert FOREIGN_ORDER_ID == 0
