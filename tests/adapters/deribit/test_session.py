"""The session step by step: what leaves before what, what is refused, what each strange thing of the venue becomes."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from adapters.deribit.session import DeribitSession, Phase
from core.enums import OrderStatus, OrderType, Reason, Side, TimeInForce
from core.events import (
    CancelRejected,
    GapDetected,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
    StatusChanged,
)
from core.identifiers import format_order_id, make_order_id
from core.units import NS_PER_DAY
from sim.venues.deribit.engine import NewOrder
from sim.venues.deribit.faults import KNOWN
from sim.venues.faults import Faults
from tests.adapters.deribit.auditor import differences
from tests.adapters.deribit.frames import FRAMES
from tests.adapters.deribit.hand import BTC, HandWorld
from tests.adapters.deribit.test_wire import mutated
from tests.adapters.deribit.world import MS, PREFIX, T0, S, settings_of

BID, ASK = 4_999_950, 5_000_050


def ready(**more: Any) -> HandWorld:
    world = HandWorld(**more)
    world.begin()
    return world


def methods(world: HandWorld) -> list[str]:
    return [json.loads(payload)["method"] for direction, _, payload in world.frames if direction == ">"]


def agree(world: HandWorld) -> None:
    assert differences(world.venue.books, world.account, world.trader, PREFIX) == []


# Login.


def test_nothing_private_before_auth_and_no_order_before_the_truth() -> None:
    world = HandWorld()
    world.keeps_frames = True
    world.begin()
    order = world.submit(BTC, Side.BUY, 10, BID)
    assert methods(world)[:14] == [
        "public/auth",
        "public/set_heartbeat",
        "private/enable_cancel_on_disconnect",
        "public/get_instrument",
        "public/get_instrument",
        "private/subscribe",
        "public/test",
        "private/get_positions",
        "private/get_user_trades_by_currency_and_time",
        "private/get_user_trades_by_currency_and_time",
        "private/get_open_orders",
        "private/get_positions",
        "private/get_transaction_log",  # no order waits for it
        "private/buy",
    ]
    assert order.status is OrderStatus.ACCEPTED
    # Orders of a process before this one may be under way: the first truth waits for the longest valid_until.
    asked_at = next(ts for direction, ts, payload in world.frames if b"get_positions" in payload and direction == ">")
    assert asked_at - T0 > world.settings.order_valid_ns


def refused_by(settings: Any, change: Any = None) -> str:
    world = HandWorld(session_settings=settings)
    if change is not None:
        change(world)
    world.connect()
    world.run(20 * S)
    assert world.session.phase is Phase.DOWN
    return world.refused


def test_a_key_that_may_withdraw_is_refused() -> None:
    def allow(world: HandWorld) -> None:
        world.venue.keys["id"].scope = "account:read_write trade:read_write wallet:read_write"

    assert "may withdraw" in refused_by(settings_of(), allow)


def test_a_key_that_may_not_trade_is_refused() -> None:
    def forbid(world: HandWorld) -> None:
        world.venue.keys["id"].scope = "account:read trade:read wallet:none"

    assert "may not trade" in refused_by(settings_of(), forbid)


def test_the_wrong_environment_is_refused() -> None:
    assert "this is the test venue" in refused_by(settings_of(is_testnet=False))


@pytest.mark.parametrize("sign", [True, False])
def test_a_wrong_secret_is_refused(sign: bool) -> None:
    assert "13004" in refused_by(settings_of(client_secret="guess", sign=sign))


def test_the_secret_itself_logs_in_too_and_shows_only_there() -> None:
    world = ready(session_settings=settings_of(sign=False))
    assert world.session.phase is Phase.READY
    assert "secret" not in repr(world.facts)


def test_a_token_is_refreshed_before_it_ends() -> None:
    world = ready()
    world.keeps_frames = True
    world.rest(3_600 * S)
    refreshes = [payload for _, _, payload in world.frames if b'"refresh_token"' in payload and b'"grant_type"' in payload]
    assert len(refreshes) == 5
    assert world.session.phase is Phase.READY
    assert (world.reconnects, world.facts) == (0, [])


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_refresh_that_is_lost_costs_neither_the_connection_nor_an_order(lost: str) -> None:
    """With the answer the next refresh token is lost: the one that is known is refused then, and the credentials are shown."""
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID)
    world.keeps_frames = True
    receive, arrive = world.venue.receive, world.arrive
    dropped: list[bytes] = []

    def is_first(what: str, payload: bytes, mark: bytes) -> bool:
        is_it = what == lost and mark in payload and not dropped
        dropped.extend([payload] if is_it else [])
        return is_it

    def deaf(ts: int, number: int, payload: str | bytes) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        if not is_first("request", data, b'"refresh_token"'):
            receive(ts, number, payload)

    def mute(connection: int, payload: bytes) -> None:
        if not is_first("answer", payload, b'"access_token"'):
            arrive(connection, payload)

    world.venue.receive = deaf  # type: ignore[method-assign]
    world.arrive = mute  # type: ignore[method-assign]
    world.rest(1_800 * S)
    assert len(dropped) == 1
    assert (world.session.phase, world.reconnects, order.status) == (Phase.READY, 0, OrderStatus.ACCEPTED)
    grants = [json.loads(payload)["params"]["grant_type"] for way, _, payload in world.frames if b"public/auth" in payload]
    second = "refresh_token" if lost == "request" else "client_signature"
    assert grants[:2] == ["refresh_token", "refresh_token"]
    assert second in grants[1:3]
    agree(world)


def test_heartbeats_are_answered_for_hours_without_an_order() -> None:
    world = ready()
    world.keeps_frames = True
    world.rest(600 * S)
    assert methods(world).count("public/test") in (59, 60)
    assert world.reconnects == 0


def test_a_silent_connection_is_closed() -> None:
    world = ready()
    assert world.connection is not None
    world.venue.connections[world.connection].is_half_open = True
    world.run(14 * S)
    assert world.reconnects == 0
    world.run(26 * S)
    assert (world.session.phase, world.reconnects) == (Phase.READY, 1)


def test_logout_leaves_orders_open() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID)
    world.take(world.session.logout(world.now))
    world.run(100 * MS)
    assert [each.state for each in world.venue.books.orders if each.label] == ["open"]
    assert order.is_open


# Orders without a connection.


def test_what_is_sent_without_a_connection_is_refused() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID)
    submitted = world.approved[-1]
    world.do(lambda context: context.replace(order, 20, BID))
    replaced = world.approved[-1]
    world.cut()
    world.do(lambda context: context.cancel(order), settle_ns=50 * MS)
    assert world.session.phase is Phase.DOWN
    now, order_id = world.now, order.client_order_id
    last = next(event for event in reversed(world.events) if isinstance(event, CancelRejected))
    assert (last.client_order_id, last.reason) == (order_id, Reason.NOT_SENT)
    assert world.session.send(now, submitted).events == [OrderRejected(now, now, order_id, Reason.NOT_SENT)]
    assert world.session.send(now, replaced).events == [ReplaceRejected(now, now, order_id, Reason.NOT_SENT)]
    world.run(60 * S)
    assert order.status is OrderStatus.CANCELED
    agree(world)


def test_cancel_on_disconnect_is_seen_after_the_reconnect() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID)
    world.cut()
    world.run_until(lambda: world.session.phase is Phase.READY)
    assert (world.reconnects, order.status) == (1, OrderStatus.CANCELED)
    assert [each.cancel_reason for each in world.venue.books.orders if each.label] == ["cancel_on_disconnect"]
    agree(world)


# Unknown outcomes.


def test_an_order_that_never_arrived_is_proven_so_and_not_before_its_valid_until() -> None:
    world = ready()
    world.mute_venue(3 * S)
    sent = world.now
    order = world.submit(BTC, Side.BUY, 10, BID)
    world.run(6 * S)
    assert order.status is OrderStatus.UNKNOWN
    world.run_until(lambda: not order.is_open)
    assert order.status is OrderStatus.REJECTED
    proven = world.events_of(order)[-1]
    assert isinstance(proven, OrderRejected)
    assert "not found twice" in proven.text
    bound_ns = world.settings.order_valid_ns + world.settings.server_clock_error_ms * MS
    assert proven.ts_event - sent > bound_ns
    agree(world)


@pytest.mark.parametrize("number", [2, 3, 9, 10, 14, 15])
def test_an_order_that_lives_although_its_answer_is_lost_is_found(number: int) -> None:
    world = ready()
    if number == 14:
        world.faults.random.below = lambda _bound: 1
    world.faults.arm(number)
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    world.run(120 * S)
    # Where the connection went with it, cancel-on-disconnect took the order too.
    expected = OrderStatus.CANCELED if number in (2, 3) else OrderStatus.ACCEPTED
    assert (order.status, world.faults.fired) == (expected, {number: 1})
    assert len([each for each in world.venue.books.orders if each.label]) == 1
    agree(world)


@pytest.mark.parametrize("price", [BID - 100, ASK])
def test_an_order_that_the_query_by_label_denies_is_found_all_the_same(price: int) -> None:
    world = ready()
    world.faults.arm(9)
    world.faults.arm(20, times=10)
    assert world.connection is not None
    world.venue.connections[world.connection].is_mute = True
    order = world.submit(BTC, Side.BUY, 10, price)
    world.run(20 * S)
    assert order.status is (OrderStatus.FILLED if price == ASK else OrderStatus.ACCEPTED)
    assert world.faults.fired[20] >= 2
    agree(world)


def test_an_edit_whose_answer_is_lost_is_what_the_venue_shows() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 20, BID - 100)
    world.faults.arm(9)
    world.do(lambda context: context.replace(order, 50, BID - 200), settle_ns=20 * S)
    assert (order.status, order.price, order.leaves_qty) == (OrderStatus.ACCEPTED, BID - 200, 50)
    world.mute_venue(3 * S)
    world.do(lambda context: context.replace(order, 70, BID - 300), settle_ns=20 * S)
    assert (order.status, order.price, order.leaves_qty) == (OrderStatus.ACCEPTED, BID - 200, 50)
    assert isinstance(world.events_of(order)[-1], OrderReplaced)
    agree(world)


@pytest.mark.parametrize("seed", range(6))
def test_the_refusal_of_an_edit_says_nothing_of_an_order_that_was_never_acknowledged(seed: int) -> None:
    """Both are on their way; the order may never have come to life, and then there was nothing to edit."""
    world = ready(faults=Faults(KNOWN, seed))
    world.faults.arm(14)

    def both(context: Any) -> Any:
        order = context.submit(BTC, Side.BUY, 20, BID - 100)
        context.replace(order, 50, BID - 200)
        return order

    order = world.do(both, settle_ns=20 * S)
    is_live = bool(world.venue.books.orders and world.venue.books.orders[-1].label)
    names = world.names_of(order)
    assert order.status is (OrderStatus.ACCEPTED if is_live else OrderStatus.REJECTED), names
    assert is_live or names == ["OrderOutcomeUnknown", "ReplaceRejected", "OrderRejected"]
    agree(world)


def test_a_cancel_whose_answer_is_lost_and_one_that_never_arrived() -> None:
    world = ready()
    first, second = world.submit(BTC, Side.BUY, 10, BID - 100), world.submit(BTC, Side.BUY, 10, BID - 200)
    world.faults.arm(9)
    world.do(lambda context: context.cancel(first), settle_ns=20 * S)
    world.mute_venue(3 * S)
    world.do(lambda context: context.cancel(second), settle_ns=20 * S)
    assert (first.status, second.status) == (OrderStatus.CANCELED, OrderStatus.ACCEPTED)
    agree(world)


def test_an_order_refused_for_being_late_is_unknown_until_it_is_proven() -> None:
    """timed_out (13888) is documented for valid_until, and could mean less: the code alone proves nothing here."""
    world = ready(session_settings=settings_of(order_valid_ns=2 * MS))
    order = world.submit(BTC, Side.BUY, 10, BID, time_in_force=TimeInForce.GTC)
    world.run(20 * S)
    assert world.names_of(order) == ["OrderOutcomeUnknown", "OrderRejected"]
    agree(world)


# Refusals.


def test_refusals_of_the_venue_and_of_our_own() -> None:
    world = ready()
    crossing = world.submit(BTC, Side.BUY, 10, ASK, post_only=True)
    off_tick = world.submit(BTC, Side.BUY, 10, BID + 1)
    odd_lot = world.submit(BTC, Side.BUY, 15, BID)
    not_there = world.submit(BTC, Side.BUY, 10, BID, time_in_force=TimeInForce.GTD, expire_ts=world.now + S)
    reasons = [event.reason for event in world.events if isinstance(event, OrderRejected)]
    rejected = [order for order in (crossing, off_tick, odd_lot, not_there) if order.status is OrderStatus.REJECTED]
    assert reasons[0] is Reason.POST_ONLY
    assert len(rejected) == len(reasons)
    agree(world)


def test_a_reject_of_a_rare_kind_is_a_reject() -> None:
    world = ready()
    world.keeps_frames = True
    order = world.submit(BTC, Side.SELL, 10, BID, reduce_only=True, time_in_force=TimeInForce.IOC)
    assert (world.names_of(order), order.status) == (["OrderRejected"], OrderStatus.REJECTED)
    assert any(b'"code":11030' in payload for _, _, payload in world.frames)
    # Nobody asks what became of it.
    assert methods(world) == ["private/sell"]
    agree(world)


def test_post_only_may_be_repriced_where_that_is_asked_for() -> None:
    world = ready(session_settings=settings_of(reprice_post_only=True))
    order = world.submit(BTC, Side.BUY, 10, ASK, post_only=True)
    assert (order.status, order.price) == (OrderStatus.ACCEPTED, ASK - 50)
    agree(world)


# Life of orders.


def test_fills_commissions_and_position() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 30, ASK)
    assert (order.status, world.trader.portfolio.by_instrument[BTC].qty) == (OrderStatus.FILLED, 30)
    (fill,) = world.fills()
    assert (fill.price, fill.qty, fill.leaves_qty, fill.commission, fill.commission_currency) == (ASK, 30, 0, 30, "BTC")
    agree(world)


def test_a_stop_goes_on_under_a_second_id_and_one_label() -> None:
    world = ready()
    stop = world.submit(BTC, Side.BUY, 30, order_type=OrderType.STOP, trigger_price=ASK + 50)
    assert stop.status is OrderStatus.ACCEPTED
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.BUY, None, 700)
    world.run(S)
    assert world.names_of(stop) == ["OrderAccepted", "OrderTriggered", "OrderFilled"]
    assert [(order.state, order.trigger_order_id != "") for order in world.venue.books.orders if order.label] == [
        ("triggered", False),
        ("filled", True),
    ]
    assert world.facts == []
    agree(world)


def test_a_day_order_expires_at_eight() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID - 100, time_in_force=TimeInForce.DAY)
    world.rest(NS_PER_DAY)
    assert isinstance(world.events_of(order)[-1], OrderExpired)
    assert (order.status, world.reconnects) == (OrderStatus.EXPIRED, 0)
    agree(world)


def test_an_edit_that_would_take_ends_a_post_only_order() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID - 100, post_only=True)
    world.do(lambda context: context.replace(order, 10, ASK))
    end = world.events_of(order)[-1]
    assert isinstance(end, OrderCanceled)
    assert end.reason is Reason.POST_ONLY
    agree(world)


# Strange things.


def test_two_orders_under_one_label_are_told_and_a_cancel_takes_both() -> None:
    world = ready()
    world.faults.arm(13)
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    assert world.fact_kinds() == ["duplicate_label"]
    state = world.ask(world.now)
    assert [(each.client_order_id, each.venue_order_id != "") for each in state.open_orders] == [
        (order.client_order_id, True),
        (None, True),
    ]
    world.do(lambda context: context.cancel(order), settle_ns=2 * S)
    assert [each.state for each in world.venue.books.orders if each.label] == ["cancelled", "cancelled"]


def test_a_query_answers_with_one_moment() -> None:
    world = ready()
    world.submit(BTC, Side.BUY, 30, ASK)
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    state = world.ask(T0)
    assert [(each.client_order_id, each.price, each.leaves_qty) for each in state.open_orders] == [
        (order.client_order_id, BID - 100, 10)
    ]
    assert [(fill.qty, fill.leaves_qty) for fill in state.executions] == [(30, 0)]
    assert state.positions == {BTC: 30, "ETH_USDC-PERPETUAL.DERIBIT": 0}


def test_manual_trades_cancels_and_liquidations_are_told() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    world.venue.manual_cancel(world.now, next(each for each in world.venue.books.orders if each.label))
    wanted = NewOrder(side=Side.BUY, amount=20, price=None, order_type="market", time_in_force="good_til_cancelled")
    world.venue.manual_order(world.now, world.account, "BTC-PERPETUAL", wanted)
    world.run(S)
    world.venue.liquidate(world.now, world.account, "BTC-PERPETUAL", 10)
    world.run(S)
    assert order.status is OrderStatus.CANCELED
    assert world.fact_kinds() == ["foreign_order", "foreign_fill", "foreign_order", "forced_fill"]
    assert [(fill.side, fill.qty, fill.client_order_id) for fill in world.foreign_fills] == [
        (Side.BUY, 20, 0),
        (Side.SELL, 10, 0),
    ]
    assert [(fill.qty, fill.client_order_id) for fill in world.ask(T0).executions] == [(20, 0), (10, 0)]


def test_a_foreign_order_that_is_adopted_goes_by_its_id() -> None:
    world = ready()
    wanted = NewOrder(side=Side.BUY, amount=50, price=BID, order_type="limit", time_in_force="good_til_cancelled", label="mine")
    world.venue.manual_order(world.now, world.account, "BTC-PERPETUAL", wanted)
    world.run(S)
    (found,) = world.ask(world.now).open_orders
    assert (found.client_order_id, found.leaves_qty, found.price) == (None, 50, BID)
    order_id = make_order_id(1, 4_000_000)
    world.session.adopt(order_id, found)
    (adopted,) = world.ask(world.now).open_orders
    assert adopted == msgspec.structs.replace(found, client_order_id=order_id)
    taken: list[Any] = []
    world.step = taken.append
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.SELL, None, 520)
    world.run(S)
    fills = [event for event in taken if isinstance(event, OrderFilled)]
    assert [(fill.client_order_id, fill.qty, fill.leaves_qty) for fill in fills] == [(order_id, 20, 30)]
    assert world.foreign_fills == []


def test_an_order_of_an_earlier_run_that_a_stream_tells_of_first_is_one_order() -> None:
    """It was on its way when that run died: nobody here had heard of it when it came."""
    world = ready()
    earlier = make_order_id(5, 9)
    wanted = NewOrder(
        side=Side.BUY,
        amount=50,
        price=BID,
        order_type="limit",
        time_in_force="good_til_cancelled",
        label=format_order_id(earlier, PREFIX),
    )
    world.venue.manual_order(world.now, world.account, "BTC-PERPETUAL", wanted)
    world.run(S)
    assert world.fact_kinds() == ["foreign_order"]
    world.cut()
    world.run_until(lambda: world.session.phase is Phase.READY)
    assert [(order.client_order_id, order.leaves_qty) for order in world.ask(world.now).open_orders] == [(earlier, 50)]


def test_maintenance_halts_and_ends() -> None:
    world = ready()
    world.venue.maintain(world.now, True)
    world.run(S)
    order = world.submit(BTC, Side.BUY, 10, BID)
    world.venue.maintain(world.now, False)
    world.run(20 * S)
    statuses = [event.status.name for event in world.events if isinstance(event, StatusChanged)]
    assert statuses == ["HALTED", "HALTED", "TRADING", "TRADING"]
    assert order.status is OrderStatus.DENIED
    agree(world)


def test_a_restart_that_forgot_an_order() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    world.venue.restart(world.now, orders_lost=1)
    world.run_until(lambda: world.session.phase is Phase.READY and world.reconnects == 1)
    assert order.status is OrderStatus.CANCELED
    agree(world)


def test_a_stream_that_says_nothing_is_found_out_by_the_slow_look() -> None:
    world = ready()
    filled, canceled = world.submit(BTC, Side.BUY, 30, BID), world.submit(BTC, Side.BUY, 10, BID - 200)
    assert world.connection is not None
    world.venue.connections[world.connection].is_mute = True
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.SELL, None, 600)
    world.venue.manual_cancel(world.now, next(each for each in world.venue.books.orders if each.label == "t-1-2"))
    world.run(60 * S)
    assert (filled.status, canceled.status) == (OrderStatus.FILLED, OrderStatus.CANCELED)
    assert (world.reconnects, world.fact_kinds()) == (1, ["stream"])
    agree(world)


def test_a_book_whose_stream_has_died_is_found_out_too() -> None:
    world = ready()
    assert world.connection is not None
    world.venue.connections[world.connection].is_mute = True
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.BUY, BID - 500, 100)
    world.run(60 * S)
    assert (world.reconnects, world.fact_kinds()) == (1, ["stream"])


def test_an_order_that_reopens_is_told_and_not_believed() -> None:
    world = ready()
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    world.faults.arm(34)
    world.do(lambda context: context.cancel(order))
    assert (order.status, world.fact_kinds()) == (OrderStatus.CANCELED, ["reopened"])


def test_a_fill_under_a_second_id_is_not_booked() -> None:
    world = ready()
    world.faults.arm(23)
    world.submit(BTC, Side.BUY, 30, ASK)
    world.run(5 * S)
    assert (len(world.fills()), world.fact_kinds()) == (1, ["suspect_fill"])
    agree(world)


@pytest.mark.parametrize("number", [50, 51, 54, 55, 56])
def test_a_book_that_breaks_is_a_gap_and_is_subscribed_to_again(number: int) -> None:
    world = ready()
    if number == 51:
        world.faults.random.below = lambda _bound: 0
    world.faults.arm(number)
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.BUY, BID - 500, 100)
    world.run(100 * MS)
    world.venue.crowd(world.now, "BTC-PERPETUAL", Side.BUY, BID - 550, 100)
    world.run(5 * S)
    gaps = [event.instrument_id for event in world.events if isinstance(event, GapDetected)]
    assert (gaps, world.reconnects) == ([BTC], 0)
    bids, asks = world.venue.markets["BTC-PERPETUAL"].published
    levels = world.session.market.books["BTC-PERPETUAL"].levels(0, 1_000)
    assert (dict(levels.bids), dict(levels.asks)) == (bids, asks)


def test_a_private_frame_that_cannot_be_read_is_a_reconnect() -> None:
    world = ready()
    world.submit(BTC, Side.BUY, 30, ASK)
    bad = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"user.changes.any.any.raw","data":{"orders":[{}]}}}'
    world.take(world.session.receive(world.now, bad))
    world.run(60 * S)
    assert world.reconnects == 1
    agree(world)


# Nothing raises.


def test_no_frame_whatever_makes_the_session_raise() -> None:
    world = ready()
    draw = random.Random(5)
    frames = list(FRAMES.values())
    session: DeribitSession = world.session
    for number in range(20_000):
        payload = mutated(draw, frames[number % len(frames)])
        output = session.receive(world.now, payload)
        assert output.refused == "" or "venue" in output.refused


def test_faults_that_this_venue_cannot_show_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot show fault 17"):
        Faults(KNOWN, 1, {17: 5})
