"""The adapter against the simulated gateway over loopback: an order's life, streams, reconnects, comparisons."""

from __future__ import annotations

import anyio
import pytest

from core.commands import CancelAll, CancelOrder, ReplaceOrder
from core.enums import LiquiditySide, OrderType, Reason, Side, TimeInForce
from core.events import (
    Book,
    CancelRejected,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    Quote,
    ReplaceRejected,
    StatusChanged,
    Trade,
)
from core.order_store import FOREIGN_ORDER_ID
from core.strategy import Subscription
from core.units import NS_PER_SECOND
from tests.adapters.ib.bench import ES, Bench, buy, in_a_loop, order_id, sell

HOUR_NS = 3_600 * NS_PER_SECOND
pytestmark = pytest.mark.timeout(60)


def test_an_order_is_accepted_replaced_filled_and_what_is_left_canceled() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900, qty=5))
            (accepted,) = await bench.sink.until(OrderAccepted)
            assert (accepted.client_order_id, accepted.price, accepted.leaves_qty) == (order_id(1), 679_900, 5)
            bench.send(ReplaceOrder(1, order_id(1), 12, 680_025))
            (replaced,) = await bench.sink.until(OrderReplaced)
            assert (replaced.price, replaced.leaves_qty) == (680_025, 12)
            (fill,) = await bench.sink.until(OrderFilled)
            assert (fill.price, fill.qty, fill.leaves_qty, fill.side) == (680_025, 10, 2, Side.BUY)
            assert (fill.commission, fill.commission_currency, fill.liquidity_side) == (2_250_000_000, "USD", LiquiditySide.TAKER)
            bench.send(CancelOrder(1, order_id(1)))
            (canceled,) = await bench.sink.until(OrderCanceled)
            assert (canceled.qty, canceled.reason) == (2, Reason.REQUESTED)
            state = await bench.adapter.query(0)
            assert state.open_orders == ()
            assert [(each.execution_id, each.commission, each.qty) for each in state.executions] == [
                (fill.execution_id, fill.commission, 10)
            ]
            assert state.positions == {ES: 10, "AAPL.IB": 0}
        assert bench.trouble == []

    in_a_loop(test)


def test_kinds_of_orders_reach_the_exchange_as_they_were_meant() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            until = (bench.clock.now() // 10**9 + 3600) * 10**9
            bench.send(
                sell(1, None, order_type=OrderType.STOP, trigger_price=679_000),
                sell(2, 678_900, order_type=OrderType.STOP_LIMIT, trigger_price=679_000, qty=2),
                buy(3, 679_000, time_in_force=TimeInForce.DAY),
                buy(4, 679_025, time_in_force=TimeInForce.GTD, expire_ts=until),
                buy(5, 679_000, time_in_force=TimeInForce.IOC),
                buy(6, None, qty=3),
                buy(7, 679_000, qty=20, time_in_force=TimeInForce.FOK),
                buy(8, 2_500_000, qty=10, instrument_id="AAPL.IB", display_qty=5),
            )
            await bench.sink.until(OrderAccepted, 5)
            await bench.sink.until(OrderCanceled, 2)
            assert {(each.client_order_id, each.reason) for each in bench.sink.of(OrderCanceled)} == {
                (order_id(5), Reason.IOC),
                (order_id(7), Reason.FOK),
            }
            (fill,) = await bench.sink.until(OrderFilled)
            assert (fill.client_order_id, fill.price, fill.qty) == (order_id(6), 680_025, 3)
            known = {order.client_id: order for order in bench.venue.exchange.orders.values()}
            assert known["bench-1-4"].expire_ts == until
            assert known["bench-1-3"].time_in_force is TimeInForce.DAY
            assert known["bench-1-8"].display_qty == 5
            state = await bench.adapter.query(0)
            assert {(order.client_order_id, order.price) for order in state.open_orders} == {
                (order_id(1), None),
                (order_id(2), 678_900),
                (order_id(3), 679_000),
                (order_id(4), 679_025),
                (order_id(8), 2_500_000),
            }
            for count in (1, 2):
                # What the first one sells moves the last price away again.
                bench.act("print", listing=ES, side="SELL", price=679_000, qty=1)
                triggered = await bench.sink.until(OrderTriggered, count)
            assert {each.client_order_id for each in triggered} == {order_id(1), order_id(2)}

    in_a_loop(test)


def test_what_cannot_be_is_refused_with_its_reason() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(
                buy(1, post_only=True),
                buy(2, time_in_force=TimeInForce.GTD, expire_ts=5),
                sell(3, None, reduce_only=True),
                buy(4, 680_010),
                buy(5, 680_000, qty=100_000),
                CancelOrder(1, order_id(99)),
                ReplaceOrder(1, order_id(99), 1, 1),
            )
            rejected = {each.client_order_id: each.reason for each in await bench.sink.until(OrderRejected, 5)}
            assert rejected == {
                order_id(1): Reason.POST_ONLY,
                order_id(2): Reason.BAD_FIELD,
                order_id(3): Reason.REDUCE_ONLY,
                order_id(4): Reason.BAD_TICK,
                order_id(5): Reason.NONE,
            }
            assert [each.reason for each in await bench.sink.until(CancelRejected)] == [Reason.UNKNOWN_ORDER]
            assert [each.reason for each in await bench.sink.until(ReplaceRejected)] == [Reason.UNKNOWN_ORDER]
            assert bench.venue.exchange.orders == {}

    in_a_loop(test)


def test_a_reduce_only_order_is_bounded_by_the_position() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, None, qty=4))
            await bench.sink.until(OrderFilled)
            await bench.until(lambda: bench.adapter._session.holdings.reducible(ES, Side.SELL) == 4)
            bench.send(sell(2, 690_000, qty=3, reduce_only=True))
            await bench.sink.until(OrderAccepted, 1)
            bench.send(sell(3, None, qty=2, reduce_only=True))
            (rejected,) = await bench.sink.until(OrderRejected)
            assert (rejected.reason, rejected.text) == (Reason.REDUCE_ONLY, "1 units are left to reduce")
            bench.send(sell(4, None, qty=1, reduce_only=True))
            await bench.sink.until(OrderFilled, 2)
            assert bench.venue.ledger()["positions"][bench.opening().account] == {ES: 3}

    in_a_loop(test)


def test_quotes_prints_books_and_halts_come_as_events() -> None:
    async def test(bench: Bench) -> None:
        bench.adapter = bench.make_adapter(
            subscriptions=[Subscription(instrument_id=ES, quotes="size", trades=True, book_levels=3)]
        )
        async with bench.running():
            await bench.sink.until(Quote)
            bench.quote("SELL", 680_050, 7)
            bench.act("trade", listing=ES, side="BUY", qty=4)
            (print_,) = await bench.sink.until(Trade)
            assert (print_.price, print_.qty) == (680_025, 4)
            await bench.until(lambda: bench.sink.of(Quote)[-1].ask_qty == 6)
            quote = bench.sink.of(Quote)[-1]
            assert (quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty) == (680_000, 10, 680_025, 6)
            await bench.until(lambda: bench.sink.of(Book) and bench.sink.of(Book)[-1].asks == ((680_025, 6), (680_050, 7)))
            bench.act("halt", listing=ES)
            await bench.sink.until(StatusChanged)
            bench.act("open", listing=ES)
            await bench.sink.until(StatusChanged, 2)

    in_a_loop(test)


def test_a_lost_connection_is_told_and_the_account_looked_at_before_anything_leaves() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900, qty=2), buy(2, 679_950, qty=3))
            await bench.sink.until(OrderAccepted, 2)
            bench.served.cut_all()
            await bench.sink.until(GapDetected)
            bench.hit(2, 3)  # while nobody listens
            bench.send(buy(3))
            (rejected,) = await bench.sink.until(OrderRejected)
            assert rejected.reason is Reason.NOT_SENT
            await bench.until(lambda: len(bench.states) == 2)
            state = bench.states[1]
            assert [(order.client_order_id, order.leaves_qty) for order in state.open_orders] == [(order_id(1), 2)]
            assert [(fill.client_order_id, fill.qty) for fill in state.executions] == [(order_id(2), 3)]
            assert state.positions[ES] == 3
            bench.send(CancelAll(1, None))
            await bench.sink.until(OrderCanceled)
        assert bench.sink.of(OrderOutcomeUnknown) == []

    in_a_loop(test)


def test_what_another_process_left_open_is_taken_over_and_changed() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900, qty=2))
            await bench.sink.until(OrderAccepted)
        bench.adapter = bench.make_adapter()
        await bench.until(lambda: not bench.served.connections)
        async with bench.running():
            (order,) = bench.states[-1].open_orders
            assert (order.client_order_id, order.leaves_qty, order.price) == (order_id(1), 2, 679_900)
            bench.send(ReplaceOrder(1, order_id(1), 3, 679_925))
            await bench.sink.until(OrderReplaced)
            bench.send(CancelOrder(1, order_id(1)))
            await bench.sink.until(OrderCanceled)

    in_a_loop(test)


def test_fills_by_hand_are_foreign_and_foreign_orders_stand_in_the_answer() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            account = bench.opening().account
            bench.act("manual_order", account=account, listing=ES, side="BUY", qty=2)
            (fill,) = await bench.sink.until(OrderFilled)
            assert (fill.client_order_id, fill.qty) == (FOREIGN_ORDER_ID, 2)
            bench.act("manual_order", account=account, listing=ES, side="BUY", qty=1, price=679_000)
            state = await bench.adapter.query(0)
            (order,) = state.open_orders
            assert (order.client_order_id, order.leaves_qty, order.price) == (None, 1, 679_000)
            # Its number is none of ours: a cancel by number would meet another order.
            bench.adapter.adopt(order_id(77), order)
            bench.send(CancelOrder(1, order_id(77)))
            (rejected,) = await bench.sink.until(CancelRejected)
            assert rejected.reason is Reason.UNKNOWN_ORDER
            state = await bench.adapter.query(0)
            assert [each.client_order_id for each in state.open_orders] == [order_id(77)]

    in_a_loop(test)


@pytest.mark.parametrize("is_data_lost", [False, True])
def test_a_gateway_that_loses_its_servers_is_a_lost_connection_until_they_are_back(is_data_lost: bool) -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900, qty=2))
            await bench.sink.until(OrderAccepted)
            quotes = len(await bench.sink.until(Quote))
            bench.act("lose_servers")
            await bench.sink.until(GapDetected)
            bench.send(buy(2), CancelOrder(1, order_id(1)))
            assert (await bench.sink.until(OrderRejected))[0].reason is Reason.NOT_SENT
            assert (await bench.sink.until(CancelRejected))[0].reason is Reason.NOT_SENT
            bench.hit(1, 2)
            bench.act("restore_servers", is_data_lost=is_data_lost)
            await bench.until(lambda: len(bench.states) == 2)
            assert [(fill.client_order_id, fill.qty) for fill in bench.states[1].executions] == [(order_id(1), 2)]
            bench.quote("BUY", 680_000, 1)
            await bench.until(lambda: len(bench.sink.of(Quote)) > quotes)
            bench.send(buy(3, 679_000))
            await bench.sink.until(OrderAccepted, 2)

    in_a_loop(test)


def test_the_daily_reset_cuts_every_connection_and_the_orders_stay() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900))
            await bench.sink.until(OrderAccepted)
            bench.act("restart")
            await bench.until(lambda: len(bench.states) == 2)
            assert [order.client_order_id for order in bench.states[1].open_orders] == [order_id(1)]

    in_a_loop(test)


def test_a_gateway_that_counts_orders_from_the_beginning_again_takes_none() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 679_900), buy(2, None, qty=2))
            await bench.sink.until(OrderAccepted)
            await bench.sink.until(OrderFilled)
            bench.act("restart", counts_again=True)
            await bench.until(lambda: len(bench.states) == 2)
            bench.send(buy(3))
            (rejected,) = await bench.sink.until(OrderRejected)
            assert (rejected.reason, rejected.text) == (
                Reason.DUPLICATE_ID,
                "the gateway counts orders from 1 again, and 2 was used",
            )
            bench.send(sell(4, None, qty=2, reduce_only=True))
            await bench.sink.until(OrderFilled, 2)
            # What rests can still be taken out.
            bench.send(CancelOrder(1, order_id(1)))
            await bench.sink.until(OrderCanceled)

    in_a_loop(test)


def test_more_messages_than_the_gateway_takes_are_refused_here_and_cancels_wait() -> None:
    async def test(bench: Bench) -> None:
        bench.adapter = bench.make_adapter(settings={"heartbeat_s": 30.0, "silence_s": 60.0})
        async with bench.running():
            await anyio.sleep(2)
            bench.send(*(buy(counter, 679_000) for counter in range(1, 61)))
            accepted = await bench.sink.until(OrderAccepted, 30)
            rejected = await bench.sink.until(OrderRejected, 20)
            assert {each.reason for each in rejected} == {Reason.FULL}
            bench.send(CancelAll(1, None))
            await bench.sink.until(OrderCanceled, len(bench.sink.of(OrderAccepted)))
            assert len(accepted) + len(rejected) <= 60
        assert not any("100 Max rate" in each for each in bench.trouble)

    in_a_loop(test)


def test_books_of_a_clock_that_was_ahead_are_told_of_the_whole_day() -> None:
    """Fills bear our stamps as they come: once the clock is right again the next ones are older than those."""

    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, 680_025, qty=4))
            (fill,) = await bench.sink.until(OrderFilled)
            now = bench.clock.now()
            assert [each.execution_id for each in (await bench.adapter.query(now + HOUR_NS)).executions] == [fill.execution_id]
            await anyio.sleep(40)
            now = bench.clock.now()
            assert (await bench.adapter.query(now - 20 * NS_PER_SECOND)).executions == ()

    in_a_loop(test)


def test_books_that_are_still_ahead_of_a_clock_that_is_right_again_are_told_of_it_too() -> None:
    """Our stamps never go back: behind a clock that was an hour ahead they all are so, and no other clock is."""

    async def test(bench: Bench) -> None:
        bench.adapter = bench.make_adapter(now=lambda: bench.clock.now() + HOUR_NS, machine_clock=bench.clock.now)
        async with bench.running():
            bench.send(buy(1, 680_025, qty=4))
            (fill,) = await bench.sink.until(OrderFilled)
            await anyio.sleep(40)
            state = await bench.adapter.query(bench.clock.now() + HOUR_NS - 60 * NS_PER_SECOND)
            assert [each.execution_id for each in state.executions] == [fill.execution_id]

    in_a_loop(test)
