"""The adapter at the simulated Binance on loopback: whole lives of orders, streams, and what both sides know at the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.binance.endpoints import Product
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.events import (
    Book,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    Quote,
    Trade,
)
from core.identifiers import format_order_id, make_order_id
from core.instruments import Instrument
from core.strategy import Subscription
from sim.venues.binance.markets import Product as Simulated
from sim.venues.binance.markets import default_markets
from sim.venues.binance.opening import open_venue
from sim.venues.binance.venue import BinanceVenue
from tests.adapters.binance.account_for_tests import PREFIX
from tests.adapters.binance.bench_at_venue import Bench, at_venue

SPOT, USDM = Product.SPOT, Product.USDM
BOTH = pytest.mark.parametrize("product", [SPOT, USDM])
pytestmark = pytest.mark.timeout(90)
KEYS = {"key": "us-key", "secret": "us-secret"}
NAMES = {SPOT: "spot", USDM: "usdm"}
Work = Callable[[Bench, BinanceVenue], Awaitable[None]]


def instruments(product: Product) -> list[Instrument]:
    return [market.rules for market in default_markets(Simulated(NAMES[product])) if market.symbol == "BTCUSDT"]


def rehearse(product: Product, work: Work, *, seed: int = 3, faults: dict[int, int] | None = None) -> None:
    async def run() -> None:
        venue = open_venue(seed=seed, faults=faults or {}, ts=time.time_ns(), product=NAMES[product])
        async with at_venue(venue, product, secrets=KEYS, instruments=instruments(product)) as bench:
            await work(bench, venue)

    anyio.run(run)


def order(product: Product, number: int, **changes: Any) -> SubmitOrder:
    """A small buy far below the market, where nothing fills it."""
    (rules,) = instruments(product)
    fields: dict[str, Any] = {
        "ts": 0,
        "client_order_id": make_order_id(7, number),
        "strategy_id": "s",
        "instrument_id": rules.instrument_id,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": rules.parse_qty("0.02"),
        "price": rules.parse_price("48000"),
        "time_in_force": TimeInForce.GTC,
    }
    return SubmitOrder(**{**fields, **changes})


def about(bench: Bench, number: int, *kinds: type[Any]) -> list[Any]:
    return [event for event in bench.sink.of(*kinds) if event.client_order_id == make_order_id(7, number)]


@BOTH
def test_the_market_comes_as_subscribed(product: Product) -> None:
    (rules,) = instruments(product)
    wanted = [Subscription(instrument_id=rules.instrument_id, quotes="size", book_levels=5, trades=True)]

    async def work(bench: Bench, venue: BinanceVenue) -> None:
        async with bench.adapter(subscriptions=wanted) as adapter:
            quotes, books, prints = (await bench.events(Quote, 20), await bench.events(Book, 5), await bench.events(Trade, 2))
            assert all(0 < quote.bid_price < quote.ask_price for quote in quotes)
            assert all(len(book.bids) == len(book.asks) == 5 for book in books)
            assert {each.instrument_id for each in (*quotes, *books, *prints)} == {rules.instrument_id}
            assert bench.sink.of(GapDetected) == []
            # The venue cuts every stream: a gap is told, and the market comes back.
            bench.served.act("cut")
            await bench.events(GapDetected)
            count = len(bench.sink.of(Book))
            await bench.events(Book, count + 3)
            await bench.until(lambda: adapter._user.session.may_place)
            assert adapter._feed.unreadable == 0

    rehearse(product, work)


@BOTH
def test_orders_live_and_end(product: Product) -> None:
    async def work(bench: Bench, venue: BinanceVenue) -> None:
        async with bench.adapter() as adapter:
            bench.served.act("quiet", {"is_quiet": True})
            bench.send(adapter, order(product, 1), order(product, 2, post_only=True))
            await bench.events(OrderAccepted, 2)
            if product is USDM:
                change = ReplaceOrder(0, make_order_id(7, 1), order(product, 1).quantity // 2, order(product, 1).price - 10)
                bench.send(adapter, change)
                (replaced, *_) = await bench.events(OrderReplaced)
                assert (replaced.leaves_qty, replaced.filled_qty) == (change.quantity, 0)
            bench.send(adapter, CancelOrder(0, make_order_id(7, 1)))
            await bench.until(lambda: about(bench, 1, OrderCanceled))
            part_qty, few = order(product, 2).quantity // 4, 20 if product is SPOT else 5
            bench.served.act("hit", {"client_order_id": format_order_id(make_order_id(7, 2), PREFIX), "qty": part_qty})
            (part,) = await bench.until(lambda: about(bench, 2, OrderFilled))
            assert (part.qty, part.leaves_qty) == (part_qty, order(product, 2).quantity - part_qty)
            bench.send(adapter, order(product, 3, order_type=OrderType.MARKET, price=None, quantity=few))
            await bench.until(lambda: [fill for fill in about(bench, 3, OrderFilled) if fill.leaves_qty == 0])
            bench.send(adapter, order(product, 4, time_in_force=TimeInForce.FOK))
            ended = await bench.until(lambda: about(bench, 4, OrderExpired, OrderRejected))
            assert isinstance(ended[0], OrderExpired if product is SPOT else OrderRejected)
            bench.send(adapter, CancelAll(0, None))
            await bench.until(lambda: about(bench, 2, OrderCanceled))
            state = await adapter.query(0)
            assert state.open_orders == ()
            assert {each.execution_id for each in state.executions} == {each.execution_id for each in bench.sink.of(OrderFilled)}
            assert sum(each.qty for each in bench.sink.of(OrderFilled)) == part_qty + few
            if product is USDM:
                assert list(state.positions.values()) == [part_qty + few]

    rehearse(product, work)
