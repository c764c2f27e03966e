"""The guardian's switch against the simulated gateway: everything canceled, looked at, flattened within bounds."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from core.enums import Side
from core.errors import RefusedError, TransportError
from core.events import OrderAccepted, OrderFilled
from tests.adapters.ib.bench import AAPL, ES, Bench, buy, in_a_loop, order_id, sell

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("is_real", [False, True])
def test_a_kill_takes_out_every_order_and_closes_every_position(is_real: bool) -> None:
    async def test(bench: Bench) -> None:
        switch = bench.make_switch(first_order_id=order_id(1000))
        await switch.open()
        assert (switch.venue, await switch.open_orders(), await switch.positions()) == ("IB", (), {})
        async with bench.running():
            bench.quote("BUY", 2_499_900, 500, AAPL)
            bench.quote("SELL", 2_500_000, 500, AAPL)
            bench.send(buy(1, None, qty=4), sell(2, None, qty=100, instrument_id=AAPL), buy(3, 679_000, qty=2), sell(4, 690_000))
            await bench.sink.until(OrderFilled, 2)
            await bench.sink.until(OrderAccepted, 2)
            bench.act("manual_order", account=bench.opening().account, listing=ES, side="SELL", qty=1, price=690_025)
            orders = {(each.client_order_id, each.side, each.price, each.leaves_qty) for each in await switch.open_orders()}
            assert orders == {
                (order_id(3), Side.BUY, 679_000, 2),
                (order_id(4), Side.SELL, 690_000, 1),
                (None, Side.SELL, 690_025, 1),
            }
            assert await switch.positions() == {ES: 4, AAPL: -100}
            await switch.cancel_all()
            while await switch.open_orders():
                await anyio.sleep(0.01)
            await switch.flatten()
            while await switch.positions():
                await anyio.sleep(0.01)
            assert not await switch.refresh_dead_man(5.0)
        await switch.close()
        held = bench.venue.ledger()["positions"][bench.opening().account]
        assert {key: qty for key, qty in held.items() if qty} == {}
        assert [order["reduce_only"] for order in bench.venue.ledger()["orders"][-2:]] == [True, True]

    in_a_loop(test, is_real=is_real)


def test_flattening_twice_closes_once() -> None:
    async def test(bench: Bench) -> None:
        async with bench.running():
            bench.send(buy(1, None, qty=4))
            await bench.sink.until(OrderFilled)
        switch = bench.make_switch(first_order_id=order_id(1000))
        await switch.open()
        bench.act("close", listing=ES)  # what is sent now waits for the opening
        await switch.flatten()
        await bench.until(lambda: len(bench.venue.exchange.orders) == 2)
        await switch.flatten()
        await switch.flatten()
        assert [order.leaves_qty for order in await switch.open_orders()] == [4]
        bench.act("open", listing=ES)
        while await switch.positions():
            await anyio.sleep(0.01)
        await switch.close()
        assert [(order.side, order.qty) for order in bench.venue.exchange.orders.values()] == [(Side.BUY, 4), (Side.SELL, 4)]

    in_a_loop(test)


def test_a_connection_that_is_gone_is_said_and_opened_again() -> None:
    async def test(bench: Bench) -> None:
        switch = bench.make_switch()
        with pytest.raises(TransportError):
            await switch.open_orders()
        await switch.open()
        bench.served.cut_all()
        await anyio.sleep(1)
        with pytest.raises(TransportError):
            await switch.open_orders()
        await switch.open()
        assert await switch.open_orders() == ()
        bench.venue.faults.arm(41)
        await switch.close()

    in_a_loop(test)


def test_accounts_of_the_other_environment_are_refused() -> None:
    async def test(bench: Bench) -> None:
        bench.venue.faults.arm(69, 2)
        with pytest.raises(RefusedError, match="not logged in to account"):
            await bench.make_switch().open()
        with pytest.raises(RefusedError, match="not logged in to account"):
            await bench.adapter.open()

    in_a_loop(test)


def test_a_kill_needs_no_instrument_as_it_is_configured() -> None:
    async def test(bench: Bench) -> None:
        wrong = msgspec.structs.replace(bench.opening().instruments[ES], multiplier=5)
        switch = bench.make_switch(instruments={ES: wrong}, first_order_id=order_id(1000))
        await switch.open()
        assert bench.trouble == ["IB: instruments: ESZ6.IB: multiplier is 5 here and 50 at the venue"]
        bench.act("manual_order", account=bench.opening().account, listing=ES, side="BUY", qty=2)
        bench.act("manual_order", account=bench.opening().account, listing="MESZ6.IB", side="BUY", qty=2, price=100_000)
        assert await switch.positions() == {ES: 2}
        await switch.cancel_all()
        await switch.flatten()
        while await switch.positions():
            await anyio.sleep(0.01)
        assert await switch.open_orders() == ()

    in_a_loop(test)
