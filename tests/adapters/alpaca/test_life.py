"""The adapter against the simulator over loopback: orders, streams, reconnects, comparison, the guardian's switch."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from adapters.alpaca.opening import check, open_adapter
from core.enums import MarketStatus, OrderStatus, OrderType, Reason, Side, TimeInForce
from core.errors import ConfigError, RefusedError, TransportError
from core.events import (
    CancelRejected,
    CashMoved,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderRejected,
    OrderReplaced,
    Quote,
    ReplaceRejected,
    StatusChanged,
    Trade,
)
from core.strategy import Subscription
from core.venue_opening import Environment, Role
from daemon.trading.reconcile import ForeignPolicy, look
from sim.venues.alpaca.settings import listing_rules
from tests.adapters.alpaca.world import ACCOUNT, KEY, SETTINGS, World, run


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_an_order_rests_is_replaced_and_canceled(is_real: bool) -> None:
    async def test(world: World) -> None:
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.do(lambda context: context.replace(world.order(), 7, 2_010_000))
        await world.until(lambda: world.heard(OrderReplaced))
        assert (world.order().price, world.order().leaves_qty, world.order().status) == (2_010_000, 7, OrderStatus.ACCEPTED)
        assert world.differences() == []
        world.do(lambda context: context.replace(world.order(), 3, 2_020_000))
        await world.until(lambda: len(world.heard(OrderReplaced)) == 2)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert [event.reason for event in world.heard(OrderCanceled)] == [Reason.REQUESTED]
        assert world.differences() == []
        assert await world.reconcile() == []

    run(test, is_real=is_real)


def test_market_orders_fill_and_every_cent_is_the_same_here_and_there() -> None:
    async def test(world: World) -> None:
        world.buy(25, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        world.submit(Side.SELL, 25, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        assert world.differences() == []
        assert await world.reconcile() == []

    run(test)


def test_money_that_moves_without_a_fill_is_booked_once_by_stream_and_comparison() -> None:
    async def test(world: World) -> None:
        world.buy(25, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        world.submit(Side.SELL, 10, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        before = world.trader.portfolio.cash["USD"]
        for name, arguments in (
            ("dividend", {"symbol": "AAPL", "cash": 2_600}),
            ("interest", {"account": "main", "cents": -321}),
            ("deposit", {"account": "main", "dollars": 500}),
            ("night", {}),
            ("journal", {"account": "second", "to": "main", "dollars": 7}),
        ):
            world.served.act(name, arguments)
        await world.until(lambda: not world.differences())
        assert await world.reconcile() == []
        assert world.differences() == []
        moved = {event.movement_id: event for event in world.events if isinstance(event, CashMoved)}.values()
        kinds = [each.kind.name for each in sorted(moved, key=lambda each: each.ts_event)]
        assert kinds == ["DIVIDEND", "INTEREST", "TRANSFER", "COMMISSION", "COMMISSION", "TRANSFER"]
        # 15 shares at 26 cents, and what the regulators take of ten that were sold: a cent or more each.
        assert world.trader.portfolio.cash["USD"] - before < (390 - 321 + 50_700 - 1) * 10**6
        # What is taken back is taken back here, whether it was heard of by the stream or not.
        world.served.act("undo", {"account": "main"})
        await world.until(world.differences)
        await world.until(lambda: not world.differences())

    run(test)


def test_money_that_moved_before_the_account_began_is_in_its_cash_already() -> None:
    async def test(world: World) -> None:
        world.served.act("deposit", {"account": "main", "dollars": 500})
        await anyio.sleep(0.01)
        world.trader.foreign.begun_ts = world.clock.now()
        world.adapter = open_adapter(world.opening())
        await world.adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.adapter.run, world, world.on_reconnect)
            state = await world.adapter.query(world.begun)
            assert [move.amount for move in state.cash_moves] == [500 * 10**8]
            assert await world.reconcile() == []
            world.served.act("deposit", {"account": "main", "dollars": 3})
            await world.until(lambda: [event.amount for event in world.events if isinstance(event, CashMoved)] == [3 * 10**8])
            tasks.cancel_scope.cancel()
        await world.adapter.close()

    run(test, is_running=False)


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
def test_what_cannot_be_filled_at_once_is_canceled(time_in_force: TimeInForce) -> None:
    async def test(world: World) -> None:
        world.buy(10, 1_500_000, time_in_force=time_in_force)
        await world.until(lambda: not world.order().is_open)
        expected = Reason.IOC if time_in_force is TimeInForce.IOC else Reason.FOK
        assert [event.reason for event in world.heard(OrderCanceled)] == [expected]
        assert world.differences() == []

    run(test)


def test_refusals_of_the_venue_and_of_the_adapter() -> None:
    async def test(world: World) -> None:
        world.buy(900_000, 2_000_000)  # more than the account can pay
        world.buy(1, 2_000_000, post_only=True)
        world.buy(1, 2_000_000, time_in_force=TimeInForce.GTD, expire_ts=1 << 62)
        world.buy(1, 2_000_000)
        await world.until(lambda: len(world.heard(OrderRejected)) == 3)
        texts = [event.text for event in world.heard(OrderRejected)]
        assert any("buying power" in text for text in texts)
        assert any("post-only" in text for text in texts)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        assert world.differences() == []

    run(test)


def test_a_stop_waits_and_becomes_a_trade() -> None:
    async def test(world: World) -> None:
        world.buy(5, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        trigger = world.bid // 100 * 100 - 50_000
        world.submit(Side.SELL, 5, None, order_type=OrderType.STOP, trigger_price=trigger, time_in_force=TimeInForce.GTC)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.served.act("fair", {"symbol": "AAPL", "price": trigger - 50_000})
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        assert world.differences() == []

    run(test)


def test_cancel_all_by_the_bulk_call_and_by_instrument() -> None:
    async def test(world: World) -> None:
        for price in (2_000_000, 2_010_000, 2_020_000):
            world.buy(1, price)
        await world.until(lambda: len(world.heard(OrderAccepted)) >= 3)
        world.do(lambda context: context.cancel_all())
        await world.until(lambda: not world.trader.orders.open_orders())
        assert world.differences() == []

    run(test)


def test_a_cancel_that_comes_before_the_answer_waits_for_the_venues_id() -> None:
    async def test(world: World) -> None:
        world.buy(1, 2_000_000)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)
        assert world.heard(CancelRejected) == []
        assert world.differences() == []

    run(test)


def test_an_order_with_fills_is_not_replaced() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {"withdraws": True})
        world.buy(10, 2_300_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        ticket = next(iter(world.venue.engine.open_tickets("main")))
        world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 4})
        await world.until(lambda: world.order().status is OrderStatus.PARTIALLY_FILLED)
        # The print of it tells what the market is: the book has one side.
        await world.until(lambda: any(isinstance(event, Trade) for event in world.events))
        world.do(lambda context: context.replace(world.order(), 9, 2_290_000))
        await world.until(lambda: world.heard(ReplaceRejected))
        assert world.differences() == []

    run(test)


def test_market_data_is_what_the_venue_has() -> None:
    async def test(world: World) -> None:
        quotes = await world.until(lambda: [event for event in world.events if isinstance(event, Quote)][5:])
        assert all(0 < quote.bid_price < quote.ask_price and quote.bid_price % 100 == 0 for quote in quotes)
        trades = await world.until(lambda: [event for event in world.events if isinstance(event, Trade)])
        assert trades[0].instrument_id == KEY
        assert StatusChanged in {type(event) for event in world.events}
        world.served.act("halt", {"symbol": "AAPL"})
        halted = await world.until(
            lambda: [e for e in world.events if isinstance(e, StatusChanged) and e.status is MarketStatus.HALTED]
        )
        assert halted[0].instrument_id == KEY
        world.served.act("resume", {"symbol": "AAPL"})

    run(test)


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_a_cut_of_everything_is_a_gap_and_then_the_account_as_it_is(is_real: bool) -> None:
    async def test(world: World) -> None:
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.served.act("quiet", {"withdraws": True})
        world.served.cut_all()
        # Filled while nobody listens.
        ticket = next(iter(world.venue.engine.open_tickets("main")))
        world.served.act("hit", {"account": "main", "id": ticket.id, "qty": 10})
        await world.until(lambda: world.states)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        assert any(isinstance(event, GapDetected) for event in world.events)
        await world.settled()
        assert any("ALPACA" in trouble for trouble in world.troubles)

    run(test, is_real=is_real)


def test_what_is_to_be_sent_while_the_stream_is_away_is_refused_and_cancels_go() -> None:
    async def test(world: World) -> None:
        world.buy(10, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        world.served.act("cut", {"which": "trades"})
        await world.until(lambda: any("ended" in trouble for trouble in world.troubles))
        world.buy(1, 2_000_000)
        assert [event.reason for event in world.heard(OrderRejected)] == [Reason.NOT_SENT]
        world.do(lambda context: context.cancel(world.order(0)))
        await world.until(lambda: world.order(0).status is OrderStatus.CANCELED)
        await world.settled()

    run(test)


def test_orders_and_fills_by_hand_are_foreign() -> None:
    async def test(world: World) -> None:
        fields = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "qty": "3", "limit_price": "100"}
        world.served.act("manual_order", {"account": "main"} | fields)
        problems = await world.reconcile()
        assert len(problems) == 1
        assert "not ours" in problems[0]

    run(test)


@pytest.mark.parametrize("is_real", [False, True], ids=["virtual", "sockets"])
def test_the_guardians_switch(is_real: bool) -> None:
    async def test(world: World) -> None:
        world.buy(20, None)
        await world.until(lambda: world.order().status is OrderStatus.FILLED)
        for price in (2_000_000, 2_010_000):
            world.buy(1, price)
        await world.until(lambda: len(world.trader.orders.open_orders()) == 2 and world.order().status is OrderStatus.ACCEPTED)
        switch = world.switch()
        await switch.open()
        assert len(await switch.open_orders()) == 2
        assert (await switch.positions())[KEY] == 20
        assert await switch.refresh_dead_man(5.0) is False
        await switch.cancel_all()
        while await switch.open_orders():
            await anyio.sleep(0.02)
        await switch.flatten()
        while (await switch.positions())[KEY]:
            await anyio.sleep(0.02)
        await switch.close()
        await world.until(lambda: not world.trader.orders.open_orders())

    run(test, is_real=is_real)


def test_the_switch_cancels_one_by_one_where_the_bulk_call_leaves_some() -> None:
    async def test(world: World) -> None:
        for price in (2_000_000, 2_010_000, 2_020_000, 2_030_000):
            world.buy(1, price)
        await world.until(lambda: len(world.venue.engine.open_tickets("main")) == 4)
        world.venue.faults.arm(16)
        switch = world.switch()
        await switch.open()
        await switch.cancel_all()
        await world.until(lambda: not world.trader.orders.open_orders())
        await switch.close()

    run(test)


def test_no_secret_is_in_what_is_recorded() -> None:
    async def test(world: World) -> None:
        world.buy(1, 2_000_000)
        await world.until(lambda: world.order().status is OrderStatus.ACCEPTED)
        kept = b"".join(data for _, _, data in world.frames)
        assert b"limit_price" in kept
        assert ACCOUNT.secret.encode() not in kept
        assert ACCOUNT.key.encode() not in kept

    run(test)


def test_orders_beyond_the_budget_are_not_sent_and_cancels_still_go() -> None:
    async def test(world: World) -> None:
        for number in range(4):
            world.buy(1, 2_000_000 + 100 * number)
        await world.until(lambda: len(world.heard(OrderAccepted)) + len(world.heard(OrderRejected)) == 4)
        rejected = world.heard(OrderRejected)
        assert [(event.client_order_id & 0xFF, event.reason) for event in rejected] == [(4, Reason.NOT_SENT)]
        assert "used up" in rejected[0].text
        world.do(lambda context: context.cancel_all())
        await world.until(lambda: not world.trader.orders.open_orders())
        assert world.differences() == []

    run(test, orders_per_min=3)


def test_an_order_that_waits_for_the_venue_to_want_orders_is_withdrawn_by_its_cancel() -> None:
    async def test(world: World) -> None:
        world.venue.faults.arm(37)
        world.buy(1, 2_000_000)
        await world.until(lambda: world.heard(OrderRejected))  # and for a second the venue wants none
        world.buy(1, 2_010_000)
        assert world.order().status is OrderStatus.SUBMITTED
        await anyio.sleep(0.05)
        world.do(lambda context: context.cancel(world.order()))
        await world.until(lambda: not world.order().is_open)
        assert [event.reason for event in world.heard(OrderRejected)] == [Reason.FULL, Reason.NOT_SENT]
        assert world.venue.ledger()["orders"] == []

    run(test)


def test_another_process_goes_on_where_the_first_one_was_killed() -> None:
    async def test(world: World) -> None:
        world.served.act("quiet", {})
        world.buy(10, 2_000_000)
        world.buy(8, 1_990_000)
        await world.until(lambda: len(world.heard(OrderAccepted)) == 2)
        world.do(lambda context: context.replace(world.order(1), 6, 1_980_000))
        await world.until(lambda: world.heard(OrderReplaced))
        tickets = {ticket.client_id: ticket for ticket in world.venue.engine.open_tickets("main")}
        world.served.act("hit", {"account": "main", "id": tickets["t-1-1"].id, "qty": 3})
        await world.until(lambda: world.order(0).filled_qty == 3)
        # Killed: the first adapter hears and says nothing any more.
        first, world.adapter = world.adapter, open_adapter(world.opening())
        await first.close()
        world.served.act("hit", {"account": "main", "id": tickets["t-1-1"].id, "qty": 7})
        world.served.act("hit", {"account": "main", "id": tickets["t-1-2-r1"].id, "qty": 2})
        await world.adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.adapter.run, world, world.on_reconnect)
            assert await world.reconcile() == []
            assert (world.order(0).status, world.order(1).filled_qty) == (OrderStatus.FILLED, 2)
            assert world.differences() == []
            world.do(lambda context: context.cancel(world.order(1)))
            await world.until(lambda: world.order(1).status is OrderStatus.CANCELED)
            assert world.differences() == []
            tasks.cancel_scope.cancel()
        await world.adapter.close()

    run(test)


def test_a_foreign_order_that_was_adopted_can_be_canceled() -> None:
    async def test(world: World) -> None:
        fields = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "qty": "3", "limit_price": "100"}
        world.served.act("manual_order", {"account": "main"} | fields)
        found = look(world.trader, await world.adapter.query(world.begun), world.clock.now(), ForeignPolicy.ADOPT)
        for event in found.events:
            world.step(event)
        for order_id, order in found.adopted:
            world.adapter.adopt(order_id, order)
        assert world.order().leaves_qty == 3
        world.do(lambda _context: world.trader.foreign.context.cancel(world.order()))
        await world.until(lambda: world.order().status is OrderStatus.CANCELED)

    run(test)


def test_whoever_only_watches_gets_the_market_and_nothing_else() -> None:
    async def test(world: World) -> None:
        watcher = open_adapter(world.opening(role=Role.WATCH))
        await watcher.open()
        with pytest.raises(TransportError, match="only watches"):
            await watcher.query(0)
        assert sum(listener.is_data for listener in world.venue._streams.listeners) == 2
        assert sum(not listener.is_data for listener in world.venue._streams.listeners) == 1
        await watcher.close()

    run(test, msgspec.structs.replace(SETTINGS, data_connections_max=2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secret": lambda _part: "PKWRONG0000000000"}, "not authorized"),
        ({"instruments": {"NONE.ALPACA": listing_rules("NONE")}, "subscriptions": []}, "Alpaca has no NONE"),
        ({"instruments": {"AAPL.ALPACA": msgspec.structs.replace(listing_rules("AAPL"), multiplier=2)}}, "multiplier is 2 here"),
        ({"account": "PA000000000"}, "account PA000000000 is configured"),
    ],
)
def test_what_does_not_open(changes: dict[str, Any], words: str) -> None:
    async def test(world: World) -> None:
        adapter = open_adapter(world.opening(**changes))
        with pytest.raises((ConfigError, RefusedError), match=words):
            await adapter.open()
        await adapter.close()

    run(test, is_running=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": ""}, "address"),
        ({"environment": Environment.LIVE, "address": ""}, None),
        ({"environment": Environment.LIVE}, "only environment simulator has one"),
        ({"settings": {"feed": "none"}}, "settings"),
        ({"subscriptions": [Subscription(instrument_id=KEY, book_levels=5)]}, "publishes no book"),
        ({"subscriptions": [Subscription(instrument_id=KEY, bars_ns=5)]}, "one minute"),
        ({"symbols": {KEY: "not a symbol"}}, "no symbol of a US equity"),
    ],
)
def test_configurations(changes: dict[str, Any], words: str | None) -> None:
    async def test(world: World) -> None:
        if words is None:
            check(world.opening(**changes))
        else:
            with pytest.raises(ConfigError, match=words):
                check(world.opening(**changes))

    run(test, is_running=False)
