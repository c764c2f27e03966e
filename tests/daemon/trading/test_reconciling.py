"""Reconciliation while the daemon trades: what streams have lost is found, and nothing is concluded about what is on its way."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from core.enums import OrderStatus, Reason, Side, TradingState
from core.events import CashMoved, OrderCanceled, OrderDenied, OrderFilled, OrderOutcomeUnknown, VenueCompared
from core.venue_adapter import VenueState
from daemon.exit_codes import ExitCode
from daemon.replay import replay
from daemon.trading.clock import Clock
from tests.daemon.trading.daemon_harness import Running, play
from tests.daemon.trading.scripted_venue import BUY_ONE, INSTRUMENT, NOTHING, SELL_ONE, ScriptedVenue

Folder = Path
Patch = pytest.MonkeyPatch


async def one_order(run: Running, what: int = BUY_ONE) -> int:
    """The id of an order that has been sent."""
    before = len(run.trader.orders.orders)
    run.venue.tell(what)
    await run.until(lambda: len(run.trader.orders.orders) > before)
    run.venue.tell(NOTHING)
    return max(run.trader.orders.orders)


async def accepted(run: Running, what: int = BUY_ONE) -> int:
    order_id = await one_order(run, what)
    await run.until(lambda: run.trader.orders.orders[order_id].status is OrderStatus.ACCEPTED)
    return order_id


def status_of(run: Running, order_id: int) -> OrderStatus:
    return run.trader.orders.orders[order_id].status


def check_replay(run: Running) -> None:
    assert run.end is ExitCode.OK, run.end
    found = replay(run.daemon.session.journal.path.parent, None)
    assert (found.is_identical, found.difference) == (True, None)


def test_a_fill_that_the_stream_lost_is_booked_once(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.loses_fills = True
        lost = run.venue.fill(f"v{order_id}", 1)
        found = await run.daemon.reconciling.ask()
        assert found.facts == (f"execution x1 of order {order_id} was not booked",)
        assert (status_of(run, order_id), run.trader.portfolio.by_instrument["ACME.SIM"].qty) == (OrderStatus.FILLED, 1)
        # It comes after all.
        run.venue.say(lost)
        await run.until(lambda: run.trader.duplicate_fills == 1)
        assert run.trader.portfolio.by_instrument["ACME.SIM"].qty == 1
        assert (await run.daemon.reconciling.ask()).facts == ()

    run = play(tmp_path, monkeypatch, story)
    assert len([record for record in run.records() if isinstance(record, OrderFilled)]) == 2
    assert run.trader.risk.trading_state is TradingState.ACTIVE
    check_replay(run)


def test_money_that_the_stream_lost_is_booked_once(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        before = run.trader.portfolio.cash["USD"]
        lost = run.venue.move_cash(-700, is_streamed=False)
        run.venue.move_cash(-9, ts=1)  # what the stream says happens now, whatever a venue dates it
        await run.until(lambda: run.trader.cash.booked == 1)
        assert run.trader.portfolio.cash["USD"] == before - 9
        found = await run.daemon.reconciling.ask()
        assert found.facts == ("movement m1 of SIM, funding in USD, was not booked",)
        assert run.trader.portfolio.cash["USD"] == before - 709
        # It comes after all.
        run.venue.say(lost)
        await run.until(lambda: run.trader.cash.duplicates == 1)
        assert (await run.daemon.reconciling.ask()).facts == ()
        # What is agreed on is not asked for again.
        assert run.trader.foreign.agreed_fill_ts == lost.ts_event

    run = play(tmp_path, monkeypatch, story)
    moved = [record.movement_id for record in run.records() if isinstance(record, CashMoved)]
    assert moved == ["m2", "m1", "m1"]
    assert run.trader.portfolio.by_instrument["ACME.SIM"].carry == -709
    check_replay(run)


def test_money_that_is_older_than_the_account_is_in_the_cash_that_it_began_with(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.move_cash(-700, is_streamed=False, ts=run.trader.foreign.begun_ts - 1)
        run.venue.move_cash(-30, is_streamed=False, ts=run.trader.foreign.begun_ts)
        found = await run.daemon.reconciling.ask()
        assert found.facts == ("movement m2 of SIM, funding in USD, was not booked",)

    check_replay(play(tmp_path, monkeypatch, story))


def test_an_order_that_the_venue_lost_is_ended_by_a_record(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.drop(f"v{order_id}")
        found = await run.daemon.reconciling.ask()
        assert found.facts == (f"order {order_id}, ACCEPTED here, is not at the venue",)
        assert status_of(run, order_id) is OrderStatus.CANCELED
        assert run.trader.states["ACME.SIM"].open_buy_qty == 0

    run = play(tmp_path, monkeypatch, story)
    reasons = [record.reason for record in run.records() if isinstance(record, OrderCanceled)]
    assert reasons == [Reason.UNKNOWN_ORDER]
    check_replay(run)


def test_an_order_is_left_alone_that_something_happened_to_between_the_looks(tmp_path: Folder, monkeypatch: Patch) -> None:
    """The venue has filled it, and says so only after the first look; its executions do not list it yet."""

    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.loses_fills = True
        late = run.venue.fill(f"v{order_id}", 1)
        run.venue.executions.remove(late)
        run.venue.position = 0
        looks = run.venue.queries

        async def say_late() -> None:
            await run.until(lambda: run.venue.queries > looks)
            run.venue.executions.append(late)
            run.venue.position = 1
            run.venue.say(late)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say_late)
            found = await run.daemon.reconciling.ask()
        assert found.facts == ()
        assert status_of(run, order_id) is OrderStatus.FILLED

    run = play(tmp_path, monkeypatch, story)
    assert not [record for record in run.records() if isinstance(record, OrderCanceled)]
    check_replay(run)


def test_an_order_on_its_way_is_never_taken_for_gone(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.loses_orders = True
        order_id = await one_order(run)
        await run.until(lambda: run.daemon.session.orders_sent == 1)
        for _ in range(3):
            assert (await run.daemon.reconciling.ask()).facts == ()
        assert status_of(run, order_id) is OrderStatus.SUBMITTED
        run.venue.loses_orders = False

    run = play(
        tmp_path,
        monkeypatch,
        story,
        'daemon.stop_timeout="300ms"',
        make_venue=partial(ScriptedVenue, not_found_ns=3_600 * 10**9),
    )
    # It is not at the venue when the daemon ends, and nobody can say that it never will be.
    assert run.end is ExitCode.MISMATCH
    assert "stop_overdue" in run.watcher.kinds()


def test_a_cancel_at_the_end_whose_answer_is_lost_is_asked_for(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await accepted(run)
        run.venue.loses_answers = True

    check_replay(play(tmp_path, monkeypatch, story, 'daemon.stop_timeout="60s"'))


def test_a_lost_answer_is_asked_for_until_a_fact_ends_it(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.loses_answers = True
        order_id = await one_order(run)
        await run.until(lambda: "order_unknown" in run.watcher.kinds())
        await run.until(lambda: status_of(run, order_id) is OrderStatus.ACCEPTED)
        run.venue.loses_answers = False

    run = play(tmp_path, monkeypatch, story, 'daemon.unknown_timeout="50ms"')
    assert run.watcher.kinds().count("order_unknown") == 1
    check_replay(run)


def test_an_order_that_never_arrived_is_unknown_and_then_ended(tmp_path: Folder, monkeypatch: Patch) -> None:
    """It counts in full and blocks another of its kind, until the venue would have it if it had arrived."""

    async def story(run: Running) -> None:
        run.venue.loses_orders = True
        order_id = await one_order(run)
        await run.until(lambda: status_of(run, order_id) is OrderStatus.UNKNOWN)
        assert run.trader.states["ACME.SIM"].open_buy_qty == 1
        again = await one_order(run)
        assert status_of(run, again) is OrderStatus.DENIED
        other_side = await one_order(run, SELL_ONE)
        assert status_of(run, other_side) is not OrderStatus.DENIED
        await run.until(lambda: status_of(run, order_id) is OrderStatus.CANCELED)
        assert run.trader.states["ACME.SIM"].open_buy_qty == 0
        run.venue.loses_orders = False
        await accepted(run)

    run = play(
        tmp_path,
        monkeypatch,
        story,
        'daemon.unknown_timeout="30ms"',
        make_venue=partial(ScriptedVenue, not_found_ns=800_000_000),
    )
    records = run.records()
    assert [record.limit for record in records if isinstance(record, OrderDenied)] == ["order_unknown"]
    lost = [type(record) for record in records if isinstance(record, OrderOutcomeUnknown | OrderCanceled)]
    assert lost[0] is OrderOutcomeUnknown
    assert OrderCanceled in lost
    check_replay(run)


def test_a_position_that_no_fill_explains_halts(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        await accepted(run)
        run.venue.position += 3
        await run.daemon.reconciling.ask()
        assert run.trader.risk.trading_state is TradingState.HALTED
        assert "3 at the venue" in run.daemon.session.latched.reason
        run.venue.position -= 3

    run = play(tmp_path, monkeypatch, story)
    check_replay(run)


def test_a_venue_that_cannot_be_asked_is_told_of_once_and_asked_again(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        run.venue.is_reachable = False
        found = await run.daemon.reconciling.ask()
        assert "cannot be reached" in found.error
        await run.daemon.reconciling.ask()
        run.venue.is_reachable = True
        assert (await run.daemon.reconciling.ask()).error == ""

    run = play(tmp_path, monkeypatch, story)
    assert run.watcher.kinds().count("not_reconciled") == 1
    check_replay(run)


def test_what_is_open_in_a_halt_is_canceled_again(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.loses_orders = True  # the cancel never arrives
        run.daemon.halt("a test")
        run.venue.loses_orders = False
        assert f"v{order_id}" in run.venue.orders
        await run.daemon.reconciling.ask()
        await run.until(lambda: status_of(run, order_id) is OrderStatus.CANCELED)

    check_replay(play(tmp_path, monkeypatch, story))


def test_every_comparison_is_in_the_journal(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.fill(f"v{order_id}", 1)
        await run.until(lambda: status_of(run, order_id) is OrderStatus.FILLED)
        await run.daemon.reconciling.ask()
        assert run.trader.foreign.agreed_fill_ts == run.venue.executions[-1].ts_event

    run = play(tmp_path, monkeypatch, story)
    found = [(record.facts, record.differences) for record in run.records() if isinstance(record, VenueCompared)]
    assert found == [(0, 0), (0, 0)]


def test_the_timer_does_it_too(tmp_path: Folder, monkeypatch: Patch) -> None:
    async def story(run: Running) -> None:
        order_id = await accepted(run)
        run.venue.drop(f"v{order_id}")
        await run.until(lambda: status_of(run, order_id) is OrderStatus.CANCELED)

    check_replay(play(tmp_path, monkeypatch, story, 'daemon.reconcile_interval="30ms"'))


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_same_difference_twice_is_needed_for_a_halt(tmp_path: Folder, monkeypatch: Patch, side: Side) -> None:
    """A fill that the positions show and the executions do not yet."""

    async def story(run: Running) -> None:
        what = BUY_ONE if side is Side.BUY else SELL_ONE
        order_id = await accepted(run, what)
        run.venue.loses_fills = True
        late = run.venue.fill(f"v{order_id}", 1)
        run.venue.executions.remove(late)
        looks = run.venue.queries

        async def list_late() -> None:
            await run.until(lambda: run.venue.queries > looks)
            run.venue.executions.append(late)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(list_late)
            await run.daemon.reconciling.ask()
        await run.daemon.reconciling.ask()
        assert status_of(run, order_id) is OrderStatus.FILLED
        assert run.trader.risk.trading_state is TradingState.ACTIVE

    check_replay(play(tmp_path, monkeypatch, story))


def test_an_account_that_began_under_a_clock_that_was_ahead_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executions are asked for from when it began, which is the venue's to say."""

    def venue_of_the_right_time(clock: Clock) -> ScriptedVenue:
        venue = ScriptedVenue(clock)
        venue.behind_ns = 3_600 * 10**9
        return venue

    async def story(run: Running) -> None:
        assert run.trader.foreign.begun_ts <= run.venue.clock.now() - run.venue.behind_ns
        run.venue.tell(BUY_ONE)
        await run.until(lambda: run.venue.orders)
        run.venue.loses_fills = True
        run.venue.fill(next(iter(run.venue.orders)), 1)
        run.venue.tell(NOTHING)
        assert (await run.daemon.reconciling.ask()).differences == ()
        assert run.trader.portfolio.by_instrument[INSTRUMENT].qty == 1

    assert play(tmp_path, monkeypatch, story, make_venue=venue_of_the_right_time).end is ExitCode.OK


def test_one_venues_word_ends_nothing_of_what_is_said_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(run: Running) -> None:
        reconciling = run.daemon.reconciling
        run.venue.is_reachable = False
        error = (await reconciling.ask()).error
        assert "cannot be reached" in error
        # Another one is back, and agrees.
        reconciling.reconnected(VenueState((), (), {}, frozenset(("OTHER.THERE",))))
        assert (reconciling.last.error, reconciling.shown) == (error, None)
        run.venue.is_reachable = True
        run.venue.position = 3
        (difference,) = (await reconciling.ask()).differences
        reconciling.reconnected(VenueState((), (), {}, frozenset(("OTHER.THERE",))))
        assert reconciling.last.differences == (difference,)
        run.venue.position = 0
        found = await reconciling.ask()
        assert (found.error, found.differences) == ("", ())

    assert play(tmp_path, monkeypatch, story).end is ExitCode.OK
