"""The adapter at the simulated Binance on loopback: whole lives of orders, streams, and what both sides know at the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from adapters.binance.endpoints import Product
from adapters.binance.inquiry import without
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
    OrderTriggered,
    Quote,
    StatusChanged,
    Trade,
)
from core.identifiers import format_order_id, make_order_id
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_adapter import VenueBalance, VenueState
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


def test_what_is_said_of_instruments_that_moved_meanwhile_is_left_out() -> None:
    markets = [market.rules for market in default_markets(Simulated.SPOT)]
    btc, eth = ("BTCUSDT.BINANCE", "ETHUSDT.BINANCE")
    held = tuple(VenueBalance("BINANCE", currency, 1) for currency in ("BTC", "ETH", "BNB"))
    state = VenueState((), (), {btc: 1, eth: 2}, frozenset((btc, eth)), balances=held)
    assert without(state, (), markets) is state
    rest = VenueState((), (), {eth: 2}, frozenset((eth,)), balances=held[1:])
    assert without(state, (btc,), markets) == rest


def test_spot_says_what_the_account_holds_of_what_is_traded() -> None:
    """What rests in orders is in it, a fee that was taken in coins is not, and what is not there is 0."""

    async def work(bench: Bench, venue: BinanceVenue) -> None:
        balances = venue.desk.exchange.accounts["us"].balances
        balances.update(BTC=0, SHIB=10**20)
        async with bench.adapter() as adapter:
            bench.served.act("quiet", {"is_quiet": True})
            assert (await adapter.query(0)).balances == (VenueBalance("BINANCE", "BTC", 0),)
            bench.send(adapter, order(SPOT, 1, order_type=OrderType.MARKET, price=None, quantity=2_000))
            await bench.until(lambda: [fill for fill in about(bench, 1, OrderFilled) if fill.leaves_qty == 0])
            fees = sum(fill.commission for fill in about(bench, 1, OrderFilled))
            assert fees == 2_000
            held = (VenueBalance("BINANCE", "BTC", 2_000_000 - fees),)
            assert (await adapter.query(0)).balances == held
            price = order(SPOT, 2).price * 2
            bench.send(adapter, order(SPOT, 2, side=Side.SELL, quantity=1_000, price=price))
            await bench.until(lambda: about(bench, 2, OrderAccepted))
            assert venue.desk.books.locked(venue.desk.exchange.accounts["us"], "BTC") == 1_000_000
            assert (await adapter.query(0)).balances == held

    rehearse(SPOT, work)


@BOTH
def test_a_kill_leaves_nothing_open_and_nothing_held(product: Product) -> None:
    async def work(bench: Bench, venue: BinanceVenue) -> None:
        bench.served.act("quiet", {"is_quiet": True})
        async with bench.adapter() as adapter, bench.switch() as switch:
            few = 20 if product is SPOT else 5
            bench.send(adapter, *(order(product, number) for number in range(1, 6)))
            bench.send(adapter, order(product, 6, order_type=OrderType.MARKET, price=None, quantity=few))
            if product is USDM:
                # Conditional orders are with another service.
                bench.send(adapter, order(product, 7, order_type=OrderType.STOP, price=None, trigger_price=530_000))
            await bench.until(lambda: len(bench.sink.of(OrderAccepted)) >= 6 and about(bench, 6, OrderFilled))
            manual = {"account": "us", "symbol": "BTCUSDT", "side": "BUY", "qty": few, "price": order(product, 1).price}
            bench.served.act("manual_order", manual)
            if product is USDM:
                await bench.until(lambda: about(bench, 7, OrderAccepted))
            assert len(await switch.open_orders()) == (7 if product is USDM else 6)
            await switch.cancel_all()
            assert await switch.open_orders() == ()
            held = await switch.positions()
            assert all(held.values())
            await switch.flatten()
            if product is USDM:
                await bench.until(lambda: not venue.desk.exchange.accounts["us"].qty(venue.desk.markets["BTCUSDT"].listing))
                assert set((await switch.positions()).values()) == {0}
                assert await switch.refresh_dead_man(30.0)
            for number in range(1, 6):
                await bench.until(lambda number=number: about(bench, number, OrderCanceled))

    rehearse(product, work)


@BOTH
def test_changed_rules_stop_new_orders_of_the_instrument(product: Product) -> None:
    async def work(bench: Bench, venue: BinanceVenue) -> None:
        async with bench.adapter(rules_refresh_s=1.0) as adapter:
            bench.served.act("rules", {"symbol": "BTCUSDT", "tick": 10, "lot": 1})
            await bench.until(lambda: any("tick is" in text for text in bench.trouble))
            bench.send(adapter, order(product, 1))
            (refused,) = await bench.until(lambda: about(bench, 1, OrderRejected))
            assert "the venue's rules have changed: tick is" in refused.text
            bench.served.act("halt", {"symbol": "BTCUSDT"})
            await bench.events(StatusChanged)

    rehearse(product, work)


def test_a_stop_of_the_futures_triggers_and_fills() -> None:
    async def work(bench: Bench, venue: BinanceVenue) -> None:
        async with bench.adapter() as adapter:
            bench.served.act("quiet", {"is_quiet": True})
            bench.send(adapter, order(USDM, 1, order_type=OrderType.STOP, price=None, quantity=5, trigger_price=510_000))
            await bench.until(lambda: about(bench, 1, OrderAccepted))
            bench.served.act("print", {"symbol": "BTCUSDT", "side": "BUY", "price": 510_000, "qty": 1})
            await bench.until(lambda: [each for each in about(bench, 1, OrderFilled) if each.leaves_qty == 0])
            assert len(about(bench, 1, OrderTriggered)) == 1

    rehearse(USDM, work)


@BOTH
def test_a_forced_or_manual_trade_is_somebody_elses_fill(product: Product) -> None:
    async def work(bench: Bench, venue: BinanceVenue) -> None:
        async with bench.adapter() as adapter:
            bench.served.act("manual_order", {"account": "us", "symbol": "BTCUSDT", "side": "BUY", "qty": 8})
            (fill, *_) = await bench.events(OrderFilled)
            assert (fill.client_order_id, fill.side) == (0, Side.BUY)
            if product is USDM:
                bench.served.act("adl", {"account": "us", "symbol": "BTCUSDT", "qty": 8})
                await bench.until(lambda: [each for each in bench.sink.of(OrderFilled) if each.side is Side.SELL])
                await bench.until(lambda: any("closed a position: adl_autoclose" in text for text in bench.trouble))
            asked = {each.execution_id: each.client_order_id for each in (await adapter.query(0)).executions}
            assert asked == {each.execution_id: 0 for each in bench.sink.of(OrderFilled)}

    rehearse(product, work)
