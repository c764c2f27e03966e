"""Orders' lives at the simulated OANDA, from command to event, over HTTP and streams, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.enums import LiquiditySide, OrderStatus, OrderType, Reason, Side, TimeInForce
from core.events import OrderAccepted, OrderCanceled, OrderFilled, OrderRejected, OrderReplaced
from tests.adapters.oanda.world import ACCOUNT, BALANCE, DAY_END_NS, EURO, MID, MS, POUND, YEN, S, World

ASK, BID = MID + 7, MID - 7


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.begin()
    yield made
    problems = made.audit()
    made.end()
    assert problems == []


def test_a_market_order_is_filled_at_the_quote(world: World) -> None:
    order = world.settle(world.submit(1_000))
    accepted, filled = world.events_of(order)
    assert isinstance(accepted, OrderAccepted)
    assert isinstance(filled, OrderFilled)
    assert (accepted.leaves_qty, accepted.venue_order_id) == (1_000, "3")
    assert (filled.execution_id, filled.side, filled.price, filled.qty, filled.leaves_qty) == ("4", Side.BUY, ASK, 1_000, 0)
    assert (filled.liquidity_side, filled.commission, filled.commission_currency) == (LiquiditySide.TAKER, 0, "USD")
    assert world.query().positions == {EURO: 1_000, POUND: 0}


def test_a_limit_order_rests_is_replaced_and_is_filled_at_its_price_or_better(world: World) -> None:
    order = world.settle(world.submit(2_000, BID - 100))
    assert order.status is OrderStatus.ACCEPTED
    world.replace(order, 1_500, BID - 50)
    world.settle(order)
    # The replacement has a number of its own, and goes by our id all the same.
    (open_order,) = world.query().open_orders
    assert (open_order.client_order_id, open_order.price, open_order.leaves_qty) == (order.client_order_id, BID - 50, 1_500)
    assert open_order.venue_order_id == "5"
    world.quote(MID - 100)
    assert world.until(lambda: order.status is OrderStatus.FILLED)
    assert world.names_of(order) == ["OrderAccepted", "OrderReplaced", "OrderFilled"]
    replaced, filled = world.events_of(order)[1:]
    assert isinstance(replaced, OrderReplaced)
    assert isinstance(filled, OrderFilled)
    assert (replaced.price, replaced.leaves_qty) == (BID - 50, 1_500)
    # The quote has gone through the price: the dealer fills at the quote.
    assert (filled.price, filled.qty, filled.liquidity_side) == (ASK - 100, 1_500, LiquiditySide.MAKER)


def test_a_cancel(world: World) -> None:
    order = world.settle(world.submit(2_000, BID - 100))
    world.cancel(order)
    world.settle(order)
    canceled = world.events_of(order)[-1]
    assert isinstance(canceled, OrderCanceled)
    assert (canceled.qty, canceled.reason, order.status) == (2_000, Reason.REQUESTED, OrderStatus.CANCELED)


def test_a_cancel_right_behind_its_order_waits_for_the_orders_number(world: World) -> None:
    order = world.submit(2_000, BID - 100)
    world.cancel(order)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    assert world.names_of(order) == ["OrderAccepted", "OrderCanceled"]


def test_a_cancel_right_behind_a_replace_takes_the_replacement(world: World) -> None:
    order = world.settle(world.submit(2_000, BID - 100))
    world.replace(order, 1_000, BID - 90)
    world.cancel(order)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    assert world.names_of(order) == ["OrderAccepted", "OrderReplaced", "OrderCanceled"]


def test_cancel_all_of_one_instrument(world: World) -> None:
    orders = [world.submit(1_000, BID - 100 - place) for place in range(3)]
    other = world.submit(1_000, 100_000, instrument_id=POUND)
    assert world.until(lambda: all(order.accepted for order in (*orders, other)))
    world.cancel_all(EURO)
    assert world.until(lambda: all(order.status is OrderStatus.CANCELED for order in orders))
    assert other.status is OrderStatus.ACCEPTED
    world.cancel_all()
    assert world.until(lambda: other.status is OrderStatus.CANCELED)


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
def test_a_limit_order_that_may_not_rest(world: World, time_in_force: TimeInForce) -> None:
    taken = world.settle(world.submit(1_000, ASK, time_in_force=time_in_force))
    assert taken.status is OrderStatus.FILLED
    missed = world.settle(world.submit(1_000, ASK - 1, time_in_force=time_in_force))
    canceled = world.events_of(missed)[-1]
    assert isinstance(canceled, OrderCanceled)
    assert canceled.reason is (Reason.IOC if time_in_force is TimeInForce.IOC else Reason.FOK)


def test_a_fill_or_kill_larger_than_what_is_quoted(world: World) -> None:
    world.act("size", instrument="EUR_USD", units=500)
    order = world.settle(world.submit(1_000, time_in_force=TimeInForce.FOK))
    canceled = world.events_of(order)[-1]
    assert isinstance(canceled, OrderCanceled)
    assert (canceled.qty, canceled.reason) == (1_000, Reason.FOK)


@pytest.mark.parametrize("tells_rest", [False, True])
def test_what_is_left_of_a_market_order_ends(tells_rest: bool) -> None:
    world = World(tells_rest=tells_rest)
    world.begin()
    world.act("size", instrument="EUR_USD", units=400)
    order = world.submit(1_000)
    assert world.until(lambda: order.status is OrderStatus.CANCELED)
    assert world.names_of(order) == ["OrderAccepted", "OrderFilled", "OrderCanceled"]
    filled, canceled = world.events_of(order)[1:]
    assert isinstance(filled, OrderFilled)
    assert isinstance(canceled, OrderCanceled)
    assert (filled.qty, filled.leaves_qty, canceled.qty, canceled.reason) == (400, 600, 600, Reason.IOC)
    assert world.audit() == []
    world.end()


def test_a_partial_fill_goes_on_under_another_number(world: World) -> None:
    order = world.settle(world.submit(2_000, BID - 100))
    world.act("hit", account=ACCOUNT, client_id=world.text_of(order), units=700)
    assert world.until(lambda: order.filled_qty == 700)
    world.run_for(2 * S)
    (open_order,) = world.query().open_orders
    assert (open_order.client_order_id, open_order.leaves_qty, order.leaves_qty) == (order.client_order_id, 1_300, 1_300)
    # What remains is replaced by its new number.
    world.replace(order, 1_000, BID - 80)
    world.settle(order)
    assert (order.leaves_qty, order.price, order.filled_qty) == (1_000, BID - 80, 700)
    world.cancel(order)
    world.settle(order)
    assert world.names_of(order) == ["OrderAccepted", "OrderFilled", "OrderReplaced", "OrderCanceled"]


def test_a_replace_that_meets_a_fill_is_refused(world: World) -> None:
    order = world.settle(world.submit(2_000, BID - 100))
    world.replace(order, 2_000, BID - 90)
    # Before the request is there the order is filled: its number has ended, and nothing else may be filled.
    world.act("hit", account=ACCOUNT, client_id=world.text_of(order), units=2_000)
    assert world.until(lambda: order.status is OrderStatus.FILLED)
    world.run_for(2 * S)
    assert order.filled_qty == 2_000
    assert "OrderReplaced" not in world.names_of(order)


def test_stops(world: World) -> None:
    buy = world.settle(world.submit(1_000, order_type=OrderType.STOP, trigger_price=ASK + 50))
    sell = world.settle(world.submit(1_000, side=Side.SELL, order_type=OrderType.STOP, trigger_price=BID - 300))
    found = {order.client_order_id: order for order in world.query().open_orders}
    assert found[buy.client_order_id].price is None
    world.quote(MID + 60)
    assert world.until(lambda: buy.status is OrderStatus.FILLED)
    assert world.names_of(buy) == ["OrderAccepted", "OrderFilled"]
    assert sell.status is OrderStatus.ACCEPTED


def test_a_stop_with_a_bound(world: World) -> None:
    kind = OrderType.STOP_LIMIT
    within = world.settle(world.submit(1_000, ASK + 60, order_type=kind, trigger_price=ASK + 50, time_in_force=TimeInForce.IOC))
    beyond = world.settle(world.submit(1_000, ASK + 55, order_type=kind, trigger_price=ASK + 50, time_in_force=TimeInForce.FOK))
    world.quote(MID + 58)
    assert world.until(lambda: not within.is_open and not beyond.is_open)
    assert (within.status, beyond.status) == (OrderStatus.FILLED, OrderStatus.CANCELED)
    refused = world.settle(world.submit(1_000, ASK + 60, order_type=kind, trigger_price=ASK + 50))
    rejected = world.events_of(refused)[-1]
    assert isinstance(rejected, OrderRejected)
    assert rejected.reason is Reason.BAD_FIELD


def test_orders_that_end_by_themselves() -> None:
    world = World(start_ns=DAY_END_NS - 60 * S)
    world.begin()
    till = world.now() + 20 * S
    dated = world.settle(world.submit(1_000, BID - 900, time_in_force=TimeInForce.GTD, expire_ts=till))
    day = world.settle(world.submit(1_000, BID - 900, time_in_force=TimeInForce.DAY))
    world.replace(dated, 900, BID - 901)
    world.settle(dated)
    assert world.until(lambda: dated.status is OrderStatus.EXPIRED)
    assert till <= world.now() <= till + S
    assert day.status is OrderStatus.ACCEPTED
    assert world.until(lambda: day.status is OrderStatus.EXPIRED)
    assert DAY_END_NS <= world.now() <= DAY_END_NS + S
    assert world.audit() == []
    world.end()


def test_reduce_only(world: World) -> None:
    world.settle(world.submit(1_000))
    order = world.settle(world.submit(1_000, side=Side.SELL, reduce_only=True))
    assert order.status is OrderStatus.FILLED
    nothing = world.settle(world.submit(1_000, side=Side.SELL, reduce_only=True))
    assert nothing.status is OrderStatus.REJECTED
    assert world.query().positions[EURO] == 0


def test_what_oanda_has_no_word_for_is_refused_before_it_is_sent(world: World) -> None:
    frames = len(world.frames)
    refused = [
        world.submit(1_000, BID, post_only=True),
        world.submit(1_000, BID, display_qty=100),
        world.submit(1_000, BID, time_in_force=TimeInForce.OPG),
        world.submit(1_000, time_in_force=TimeInForce.DAY),
        world.submit(1_000, order_type=OrderType.STOP, trigger_price=ASK, time_in_force=TimeInForce.IOC),
    ]
    world.run_for(S)
    assert [order.status for order in refused] == [OrderStatus.REJECTED] * 5
    assert not [frame for frame in world.frames[frames:] if frame[1] == "sent"]


def test_refusals_by_the_venue(world: World) -> None:
    halted = world.settle(world.submit(200_000_000))
    rejected = world.events_of(halted)[-1]
    assert isinstance(rejected, OrderRejected)
    assert (rejected.reason, rejected.text) == (Reason.BAD_QTY, "UNITS_LIMIT_EXCEEDED")
    # A 201 that holds the order and its end: it was refused.
    poor = world.settle(world.submit(9_000_000))
    rejected = world.events_of(poor)[-1]
    assert isinstance(rejected, OrderRejected)
    assert (rejected.reason, rejected.text) == (Reason.NONE, "INSUFFICIENT_MARGIN")
    world.act("halt", instrument="EUR_USD")
    closed = world.settle(world.submit(1_000))
    rejected = world.events_of(closed)[-1]
    assert isinstance(rejected, OrderRejected)
    assert (rejected.reason, rejected.text) == (Reason.CLOSED, "MARKET_HALTED")
    past = world.settle(world.submit(1_000, BID, time_in_force=TimeInForce.GTD, expire_ts=world.now() - S))
    assert past.status is OrderStatus.REJECTED


def test_trades_by_hand_come_as_foreign_fills(world: World) -> None:
    world.act("manual_order", account=ACCOUNT, instrument="EUR_USD", units=-300)
    assert world.until(lambda: any(isinstance(event, OrderFilled) for event in world.events))
    (fill,) = [event for event in world.events if isinstance(event, OrderFilled)]
    assert (fill.client_order_id, fill.side, fill.qty, fill.price) == (0, Side.SELL, 300, BID)
    world.act("manual_limit", account=ACCOUNT, instrument="EUR_USD", units=500, price=BID - 40)
    (order,) = world.query().open_orders
    assert (order.client_order_id, order.side, order.leaves_qty, order.price) == (None, Side.BUY, 500, BID - 40)


def test_a_margin_closeout_is_a_foreign_fill_and_is_told(world: World) -> None:
    world.settle(world.submit(2_000_000))
    world.quote(MID - 5_000)
    assert world.until(lambda: world.query().positions[EURO] == 0)
    fill = [event for event in world.events if isinstance(event, OrderFilled)][-1]
    assert (fill.client_order_id, fill.side, fill.qty) == (0, Side.SELL, 2_000_000)


def test_yen_has_other_decimals() -> None:
    world = World(names=(EURO, YEN))
    world.begin()
    order = world.settle(world.submit(1_000, instrument_id=YEN))
    filled = world.events_of(order)[-1]
    assert isinstance(filled, OrderFilled)
    assert 150_000 < filled.price < 155_000
    assert world.audit() == []
    world.end()


def test_the_books_are_those_of_the_venue_after_a_day_of_trading(world: World) -> None:
    for place in range(60):
        side = Side.BUY if place % 3 else Side.SELL
        world.submit(100 + place, MID + (place * 7 % 40) - 20, side)
        world.run_for(150 * MS)
        if place % 5 == 0:
            world.quote(MID + place % 11 - 5)
    world.cancel_all()
    assert world.until(lambda: not world.store.open_orders())
    fills = [event for event in world.events if isinstance(event, OrderFilled)]
    signed = [fill.qty if fill.side is Side.BUY else -fill.qty for fill in fills]
    assert len(fills) > 20
    assert sum(signed) == world.query().positions[EURO]
    # A point of one unit is 10^-5 dollars. What was realized is what was got, less what is still in the position.
    spent = sum(qty * fill.price * 1_000 for qty, fill in zip(signed, fills, strict=True))
    held = world.book.account.holding(world.venue.engine.exchange.listings["EUR_USD"])
    # OANDA books whole ten-thousandths of a dollar for each fill.
    difference = world.venue.ledger()["balances"][ACCOUNT]["USD"] - BALANCE - (held.value_open - spent)
    assert abs(difference) <= len(fills) * 10**4 // 2
