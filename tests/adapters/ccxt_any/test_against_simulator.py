"""The adapter through real ccxt and real sockets against the simulated Binance spot, with its faults; the ledger is the judge."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.ccxt_any.io import CcxtAdapter
from adapters.ccxt_any.opening import open_adapter, open_switch
from core.enums import OrderType, Side, TimeInForce
from core.events import (
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Quote,
    Trade,
)
from core.identifiers import make_order_id, parse_order_id
from core.strategy import Subscription
from core.units import NS_PER_DAY, NS_PER_SECOND
from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import serve
from sim.venues.binance.faults import KNOWN
from sim.venues.binance.limits import Limits
from sim.venues.binance.markets import Product
from sim.venues.binance.venue import BinanceVenue
from sim.venues.faults import Faults
from tests.adapters.ccxt_any.stage import WAIT_S, cancel, cancel_all, order_id, submit
from tests.adapters.ccxt_any.venue import INSTRUMENT, Sink, opening
from tests.daemon.trading.test_router import approve

SECRETS = {"key": "us-key", "secret": "us-secret"}
FAR, NEAR = "40000.00", "60000.00"  # the market is about 50,000
WANTED = [Subscription(instrument_id=INSTRUMENT, quotes="size", book_levels=5, trades=True)]


# A test looks every few milliseconds; what a limit does has a test of its own.
GENEROUS = Limits(
    weight_1m=10**7, raw_5m=10**7, orders_10s=10**6, orders_long=10**6, orders_long_ns=NS_PER_DAY, orders_long_name="1d"
)


class Run:
    def __init__(self, venue: BinanceVenue, clock: SystemClock, adapter: CcxtAdapter, sink: Sink, address: str) -> None:
        self.venue = venue
        self.clock = clock
        self.adapter = adapter
        self.sink = sink
        self.address = address

    def send(self, command: Any) -> None:
        self.adapter.send(approve(command))

    def act(self, name: str, **arguments: Any) -> None:
        self.venue.act(self.clock.now(), name, arguments)

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(WAIT_S):
            while not condition():
                await anyio.sleep(0.005)

    def ended(self, number: int) -> bool:
        return (
            any(event.client_order_id == order_id(number) for event in self.sink.of(OrderCanceled, OrderExpired, OrderRejected))
            or sum(event.qty for event in self.fills(number)) == 25_000
        )

    def fills(self, number: int) -> list[OrderFilled]:
        return [event for event in self.sink.of(OrderFilled) if event.client_order_id == order_id(number)]


def run(
    story: Callable[[Run], Awaitable[None]], *, faults: dict[int, int] | None = None, limits: Limits = GENEROUS, **settings: Any
) -> BinanceVenue:
    clock = SystemClock()
    venue = BinanceVenue(Product.SPOT, clock.now(), seed=7, faults=Faults(KNOWN, 7, faults or {}), limits=limits)
    sink = Sink()

    async def main() -> None:
        async with serve(venue, clock) as served:
            given = opening(
                address=str(served),
                subscriptions=WANTED,
                **{"poll_orders_s": 0.05, "poll_idle_s": 0.05, "poll_book_s": 0.1, "poll_trades_s": 0.1, **settings},
            )
            object.__setattr__(given, "secret", lambda part: SECRETS.get(part, ""))
            adapter = open_adapter(given)
            await adapter.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(adapter.run, sink, lambda state: None)
                await anyio.sleep(0)
                await story(Run(venue, clock, adapter, sink, str(served)))
                tasks.cancel_scope.cancel()
            await adapter.close()

    anyio.run(main)
    audit(venue, sink)
    return venue


def audit(venue: BinanceVenue, sink: Sink) -> None:
    """Our events against the venue's ledger: every order once, every execution of ours told once and as it was."""
    ledger = venue.ledger()
    texts = [order["client_order_id"] for order in ledger["orders"] if order["account"] == "us" and order["origin"] == "client"]
    assert len(texts) == len(set(texts)), "one id, two orders"
    there = sorted(
        (parse_order_id(fill["client_order_id"], "td"), fill["trade_id"], fill["side"], fill["price"], fill["qty"])
        for fill in ledger["fills"]
        if fill["account"] == "us" and fill["client_order_id"].startswith("td-7-")
    )
    here = sorted(
        (fill.client_order_id, fill.execution_id, fill.side.name, fill.price, fill.qty)
        for fill in sink.of(OrderFilled)
        if fill.client_order_id
    )
    assert here == there
    is_open = {order["client_order_id"]: order["is_open"] for order in ledger["orders"] if order["account"] == "us"}
    for event in sink.of(OrderCanceled, OrderExpired):
        assert is_open.get(f"td-7-{event.client_order_id & 0xFFFFFFFF}") is not True
    for event in sink.of(OrderRejected):
        assert f"td-7-{event.client_order_id & 0xFFFFFFFF}" not in is_open


def limit(number: int, price: str = FAR, side: Side = Side.BUY, **changes: Any) -> Any:
    from tests.adapters.binance.account_for_tests import SPOT

    return submit(number, price=SPOT.parse_price(price), side=side, **changes)


def test_an_orders_life_and_the_market() -> None:
    async def story(stage: Run) -> None:
        stage.send(limit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.act("hit", account="us", client_order_id="td-7-1", qty=10_000)
        await stage.until(lambda: stage.fills(1))
        stage.send(cancel(1))
        await stage.until(lambda: stage.sink.of(OrderCanceled))
        stage.send(limit(2, NEAR, time_in_force=TimeInForce.IOC))
        await stage.until(lambda: stage.ended(2))
        stage.send(submit(3, order_type=OrderType.MARKET, price=None, side=Side.SELL, time_in_force=TimeInForce.IOC))
        await stage.until(lambda: stage.ended(3))
        stage.send(limit(4, NEAR, post_only=True))
        await stage.until(lambda: stage.ended(4))
        await stage.until(lambda: len(stage.sink.of(Quote)) > 3)
        await stage.until(lambda: stage.sink.of(Trade))
        state = await stage.adapter.query(stage.clock.now() - 60 * NS_PER_SECOND)
        assert state.open_orders == ()
        assert {fill.execution_id for fill in state.executions} == {fill.execution_id for fill in stage.sink.of(OrderFilled)}

    run(story)


def test_what_the_account_holds_is_said_through_ccxt() -> None:
    """Bought with a fee in coins, and partly resting in an order."""

    async def story(stage: Run) -> None:
        us = stage.venue.desk.exchange.accounts["us"]
        us.balances["BTC"] = 0
        (nothing,) = (await stage.adapter.query(0)).balances
        assert (nothing.currency, nothing.total) == ("BTC", 0)
        stage.send(submit(1, order_type=OrderType.MARKET, price=None, time_in_force=TimeInForce.IOC))
        await stage.until(lambda: stage.ended(1))
        stage.send(limit(2, "70000.00", Side.SELL, quantity=20_000))
        await stage.until(lambda: stage.sink.of(OrderAccepted) and stage.venue.desk.books.locked(us, "BTC"))
        (held,) = (await stage.adapter.query(0)).balances
        assert held.total == us.balances["BTC"] == 25_000_000 - sum(fill.commission for fill in stage.fills(1))

    run(story, balances_settle_s=1e-6)


def test_everything_canceled_by_us_and_by_the_guardian() -> None:
    async def story(stage: Run) -> None:
        for number in (1, 2, 3):
            stage.send(limit(number))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 3)
        stage.send(cancel_all())
        await stage.until(lambda: len(stage.sink.of(OrderCanceled)) == 3)
        stage.send(limit(4))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 4)
        stage.act("manual_order", account="us", symbol="BTCUSDT", side="BUY", qty=10_000, price=4_000_000)
        given = opening(address=stage.address, first_order_id=make_order_id(9, 1))
        object.__setattr__(given, "secret", lambda part: SECRETS.get(part, ""))
        switch = open_switch(given)
        await switch.open()
        assert len(await switch.open_orders()) == 2
        await switch.cancel_all()
        assert await switch.open_orders() == ()
        await stage.until(lambda: len(stage.sink.of(OrderCanceled)) == 4)
        assert (await switch.positions())[INSTRUMENT] == 200_000
        await switch.flatten()
        await switch.close()
        await stage.until(lambda: any(fill["client_order_id"] == "td-9-1" for fill in stage.venue.ledger()["fills"]))

    run(story)


# Each with the order live or not: the adapter must find out, and never send a second one.
ORDER_FAULTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 37, 39]


@pytest.mark.parametrize("number", ORDER_FAULTS)
def test_a_fault_of_the_order_path_ends_in_what_the_ledger_says(number: int) -> None:
    async def story(stage: Run) -> None:
        stage.venue.faults.arm(number)
        stage.send(limit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted, OrderRejected))
        assert stage.venue.faults.fired == {number: 1}
        is_there = any(order["client_order_id"] == "td-7-1" for order in stage.venue.ledger()["orders"])
        assert bool(stage.sink.of(OrderAccepted)) is is_there
        # Whoever was told of it once is told the truth to the end.
        stage.send(limit(2))
        await stage.until(lambda: stage.ended(2) or len(stage.sink.of(OrderAccepted)) == 1 + is_there)
        stage.send(cancel_all())
        await stage.until(
            lambda: not [order for order in stage.venue.ledger()["orders"] if order["account"] == "us" and order["is_open"]]
        )

    run(story, not_found_s=1.0, deadline_s=20.0)


@pytest.mark.parametrize("number", [20, 26, 27, 29, 32, 40])
def test_a_fault_of_cancels_and_questions(number: int) -> None:
    async def story(stage: Run) -> None:
        stage.send(limit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.venue.faults.arm(number)
        if number == 32:
            stage.act("hit", account="us", client_order_id="td-7-1", qty=5_000)
        stage.send(cancel(1))
        deadline = time.monotonic() + WAIT_S
        while not stage.ended(1):
            assert time.monotonic() < deadline, stage.sink.of(OrderEvent)
            await anyio.sleep(0.2)
            if number == 29:  # accepted and never done: whoever wants it asks again
                stage.send(cancel(1))

    run(story, not_found_s=1.0, deadline_s=20.0)


def test_a_storm_of_faults_leaves_our_books_as_the_ledger() -> None:
    """Orders by the dozen while answers are lost, late, wrong and refused; then calm, and the two sides agree."""
    rates = dict.fromkeys((2, 3, 4, 5, 6, 8, 9, 14, 15, 20, 26, 39), 60_000)

    async def story(stage: Run) -> None:
        for number in range(1, 41):
            price = NEAR if number % 3 == 0 else FAR
            stage.send(
                limit(number, price, time_in_force=TimeInForce.IOC if number % 6 == 0 else TimeInForce.GTC, quantity=2_000)
            )
            if number % 4 == 0:
                stage.send(cancel(number - 1))
            await anyio.sleep(0.02)
        stage.venue.faults.is_quiet = True
        stage.send(cancel_all())

        def is_settled() -> bool:
            ledger = stage.venue.ledger()
            if any(order["account"] == "us" and order["is_open"] for order in ledger["orders"]):
                return False
            return not stage.adapter.tracker.is_working

        with anyio.fail_after(WAIT_S):
            while not is_settled():
                await anyio.sleep(0.2)
                for known in stage.adapter.tracker.open_in(None):
                    if known.is_acked and not known.is_cancel_asked:
                        stage.send(cancel(known.order_id & 0xFFFFFFFF))
        assert sum(stage.venue.faults.fired.values()) > 10
        assert stage.sink.of(OrderOutcomeUnknown)

    run(story, faults=rates, not_found_s=1.0, deadline_s=20.0)
