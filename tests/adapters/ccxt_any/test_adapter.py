"""The adapter of any exchange against a small one behind an httpx mock: an order's life, unknown outcomes, an exchange away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from core.commands import ReplaceOrder
from core.enums import OrderType, Reason, Side, TimeInForce
from core.events import (
    Book,
    CancelRejected,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    Quote,
    ReplaceRejected,
    Trade,
)
from core.strategy import Subscription
from core.venue_adapter import VenueOrder
from core.venue_opening import Role
from tests.adapters.ccxt_any.stage import Stage, cancel, cancel_all, order_id, play, submit
from tests.adapters.ccxt_any.venue import INSTRUMENT, KEY, PREFIX, SECRET, Exchange, away, error


def facts(stage: Stage) -> list[tuple[Any, ...]]:
    """The order events, without stamps: what a strategy is told."""
    found: list[tuple[Any, ...]] = []
    for event in stage.sink.of(OrderEvent):
        name = type(event).__name__.removeprefix("Order")
        match event:
            case OrderFilled():
                found.append((name, event.client_order_id, event.execution_id, event.qty, event.leaves_qty))
            case OrderAccepted():
                found.append((name, event.client_order_id, event.price, event.leaves_qty, event.venue_order_id))
            case OrderCanceled() | OrderRejected() | CancelRejected() | ReplaceRejected():
                found.append((name, event.client_order_id, event.reason))
            case _:
                found.append((name, event.client_order_id))
    return found


def test_an_order_is_placed_filled_in_parts_and_done() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.fill(1, 10_000, fee="0.00012345")
        await stage.until(lambda: len(stage.sink.of(OrderFilled)) == 1)
        stage.exchange.fill(1, 15_000, maker=False)
        await stage.until(lambda: len(stage.sink.of(OrderFilled)) == 2)
        await stage.looks()

    stage = play(story)
    assert facts(stage) == [
        ("Accepted", order_id(), 10_000, 25_000, "1"),
        ("Filled", order_id(), "1000", 10_000, 15_000),
        ("Filled", order_id(), "1001", 15_000, 0),
    ]
    (placed,) = [params for name, params in stage.exchange.seen if name == "POST order"]
    assert {key: placed[key] for key in ("symbol", "side", "type", "quantity", "price", "timeInForce", "newClientOrderId")} == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.25",
        "price": "100",
        "timeInForce": "GTC",
        "newClientOrderId": "td-7-1",
    }
    first, second = stage.sink.of(OrderFilled)
    assert (first.commission, first.commission_currency, first.liquidity_side) == (12_345, "BNB", 0)
    assert (second.commission, second.liquidity_side) == (1_000_000, 1)


def test_a_cancel_is_told_when_the_order_is_gone_and_its_fills_come_first() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))

        def fill_then_cancel(exchange: Exchange, params: dict[str, str]) -> None:
            exchange.fill(1, 5_000)

        stage.exchange.faults["DELETE order"] = [fill_then_cancel]
        stage.send(cancel())
        await stage.until(lambda: stage.sink.of(OrderCanceled))
        await stage.looks()

    assert facts(play(story))[1:] == [
        ("Filled", order_id(), "1000", 5_000, 20_000),
        ("Canceled", order_id(), Reason.REQUESTED),
    ]


def test_an_end_waits_for_executions_that_are_listed_late() -> None:
    late: list[dict[str, Any]] = []

    async def story(stage: Stage) -> None:
        exchange = stage.exchange
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        exchange.fill(1, 5_000)
        late.append(exchange.trades.pop())
        exchange.orders[1]["status"] = "EXPIRED"
        await stage.looks(5)
        assert not stage.sink.of(OrderFilled, OrderExpired)
        exchange.trades += late
        await stage.until(lambda: stage.sink.of(OrderExpired))

    assert facts(play(story))[1:] == [("Filled", order_id(), "1000", 5_000, 20_000), ("Expired", order_id())]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"time_in_force": TimeInForce.IOC}, {"timeInForce": "IOC", "type": "LIMIT"}),
        ({"time_in_force": TimeInForce.FOK}, {"timeInForce": "FOK", "type": "LIMIT"}),
        ({"post_only": True}, {"type": "LIMIT_MAKER"}),
        ({"order_type": OrderType.MARKET, "price": None, "time_in_force": TimeInForce.IOC}, {"type": "MARKET"}),
        ({"side": Side.SELL, "reduce_only": True}, {"side": "SELL"}),
    ],
)
def test_what_an_order_is_on_the_wire(changes: dict[str, Any], expected: dict[str, str]) -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit(**changes))
        await stage.until(lambda: stage.sink.of(OrderAccepted))

    (placed,) = [params for name, params in play(story).exchange.seen if name == "POST order"]
    assert {key: placed.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": OrderType.STOP, "price": None, "trigger_price": 10_000},
        {"order_type": OrderType.STOP_LIMIT, "trigger_price": 10_000},
        {"display_qty": 1},
        {"time_in_force": TimeInForce.DAY},
        {"time_in_force": TimeInForce.GTD, "expire_ts": 1},
        {"time_in_force": TimeInForce.IOC, "post_only": True},
        {"reduce_only": True},
    ],
)
def test_what_there_is_no_sure_word_for_is_refused_and_nothing_is_sent(changes: dict[str, Any]) -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit(**changes))
        await stage.looks()

    stage = play(story)
    assert facts(stage) == [("Rejected", order_id(), Reason.BAD_FIELD)]
    assert not [name for name, _ in stage.exchange.seen if name == "POST order"]


def test_a_change_is_refused() -> None:
    async def story(stage: Stage) -> None:
        stage.send(ReplaceOrder(ts=0, client_order_id=order_id(), quantity=1, price=1))
        await stage.until(lambda: stage.sink.of(ReplaceRejected))

    assert facts(play(story)) == [("ReplaceRejected", order_id(), Reason.BAD_FIELD)]


def lost_behind(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
    """The order is placed, and its answer is lost."""
    exchange.place(params)
    raise httpx.ReadError("cut")


def lost_before(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
    raise httpx.ReadError("cut")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda exchange, params: error(400, -2010, "Account has insufficient balance for requested action."), Reason.NONE),
        (lambda exchange, params: error(400, -1013, "Filter failure: LOT_SIZE"), Reason.BAD_FIELD),
        (lambda exchange, params: error(400, -1022, "Signature for this request is not valid."), Reason.NONE),
        (lambda exchange, params: error(429, -1003, "Too many requests."), Reason.FULL),
    ],
)
def test_a_proven_refusal_is_one(fault: Callable[..., Any], reason: Reason) -> None:
    async def story(stage: Stage) -> None:
        stage.exchange.faults["POST order"] = [fault]
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderRejected))

    stage = play(story)
    assert facts(stage) == [("Rejected", order_id(), reason)]


def test_what_did_not_leave_is_refused_as_not_sent() -> None:
    def unreachable(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        raise httpx.ConnectError("no route")

    async def story(stage: Stage) -> None:
        stage.exchange.faults["POST order"] = [unreachable]
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderRejected))

    assert facts(play(story)) == [("Rejected", order_id(), Reason.NOT_SENT)]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: error(503, -1000, "Unknown error, please check your request or try again later."),
        lambda: httpx.Response(500),
        lambda: httpx.Response(502, html="<html>"),
        lambda: httpx.Response(504, html="<html>"),
        lambda: httpx.Response(408, html="<html>"),
        lambda: error(400, -1007, "Timeout waiting for response from backend server."),
        lambda: error(400, -1006, "An unexpected response was received from the message bus."),
        lambda: error(400, -2010, "Duplicate order sent."),
        lambda: httpx.Response(403, html="<html>Forbidden</html>"),
        lambda: httpx.Response(200),
        lambda: httpx.Response(200, json=[]),
        lambda: httpx.Response(200, json={}),
        lambda: httpx.Response(200, json={"orderId": 1, "clientOrderId": "td-7-99", "symbol": "BTCUSDT", "status": "NEW"}),
        lambda: httpx.Response(200, content=b'{"orderId":1,"orderId":2}'),
        lambda: httpx.Response(200, content=b'{"orderId":1,"price":NaN}'),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_an_unknown_order_is_found_or_proven_not_to_be(answer: Callable[[], httpx.Response], is_there: bool) -> None:
    def fault(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        if is_there:
            exchange.place(params)
        return answer()

    async def story(stage: Stage) -> None:
        stage.exchange.faults["POST order"] = [fault]
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted, OrderRejected))
        await stage.looks()

    stage = play(story)
    expected = ("Accepted", order_id(), 10_000, 25_000, "1") if is_there else ("Rejected", order_id(), Reason.UNKNOWN_ORDER)
    assert facts(stage) == [("OutcomeUnknown", order_id()), expected]
    assert sum(name == "POST order" for name, _ in stage.exchange.seen) == 1


def test_an_order_that_was_filled_while_it_was_unknown() -> None:
    def fault(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        exchange.place(params)
        exchange.fill(1, 25_000)
        raise httpx.ReadTimeout("late")

    async def story(stage: Stage) -> None:
        stage.exchange.faults["POST order"] = [fault]
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderFilled))
        await stage.looks()

    assert facts(play(story)) == [
        ("OutcomeUnknown", order_id()),
        ("Accepted", order_id(), 10_000, 25_000, "1"),
        ("Filled", order_id(), "1000", 25_000, 0),
    ]


def test_an_order_that_is_not_shown_for_a_while_is_not_given_up() -> None:
    """Lists that lag: accepted, then in no list and no answer, then there again."""

    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.hidden = {1}
        await stage.looks(2)
        stage.exchange.hidden = set()
        await stage.looks(3)

    stage = play(story, not_found_s=5.0)
    assert facts(stage) == [("Accepted", order_id(), 10_000, 25_000, "1")]


def test_an_order_that_the_exchange_forgot_is_canceled_in_the_end() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        del stage.exchange.orders[1]
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    troubles: list[str] = []
    assert facts(play(story, troubles=troubles))[1:] == [("Canceled", order_id(), Reason.UNKNOWN_ORDER)]
    assert any("in none of its lists now" in line for line in troubles)


def test_a_cancel_whose_answer_was_lost_is_settled_by_what_is_open() -> None:
    def lost(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        raise httpx.ReadError("cut")

    async def never_done(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.faults["DELETE order"] = [lost]
        stage.send(cancel())
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 2)

    def done(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
        exchange.cancel(params)
        raise httpx.ReadError("cut")

    async def was_done(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.faults["DELETE order"] = [done]
        stage.send(cancel())
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    accepted = ("Accepted", order_id(), 10_000, 25_000, "1")
    assert facts(play(never_done)) == [accepted, ("OutcomeUnknown", order_id()), accepted]
    assert facts(play(was_done)) == [accepted, ("OutcomeUnknown", order_id()), ("Canceled", order_id(), Reason.REQUESTED)]


def test_a_cancel_that_comes_too_late_is_refused_and_the_fill_is_told() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        stage.exchange.always["GET myTrades"] = lambda exchange, params: httpx.Response(200, json=[])
        stage.exchange.fill(1, 25_000)
        stage.send(cancel())
        await stage.until(lambda: stage.sink.of(CancelRejected))
        del stage.exchange.always["GET myTrades"]
        await stage.until(lambda: stage.sink.of(OrderFilled))
        await stage.looks()

    assert facts(play(story))[1:] == [
        ("CancelRejected", order_id(), Reason.UNKNOWN_ORDER),
        ("Filled", order_id(), "1000", 25_000, 0),
    ]


def test_a_cancel_before_the_order_is_acknowledged_follows_it() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit())
        stage.send(cancel())
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    assert facts(play(story)) == [
        ("Accepted", order_id(), 10_000, 25_000, "1"),
        ("Canceled", order_id(), Reason.REQUESTED),
    ]


@pytest.mark.parametrize("instrument_id", [None, INSTRUMENT])
def test_everything_is_canceled_by_the_exchanges_own_call(instrument_id: str | None) -> None:
    async def story(stage: Stage) -> None:
        for number in (1, 2, 3):
            stage.send(submit(number))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 3)
        stage.send(cancel_all(instrument_id))
        await stage.until(lambda: len(stage.sink.of(OrderCanceled)) == 3)

    stage = play(story)
    assert [name for name, _ in stage.exchange.seen if name.startswith("DELETE")] == ["DELETE openOrders"]


def test_where_the_bulk_call_is_refused_each_order_is_canceled() -> None:
    async def story(stage: Stage) -> None:
        for number in (1, 2):
            stage.send(submit(number))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 2)
        stage.exchange.faults["DELETE openOrders"] = [lambda exchange, params: error(400, -1102, "Mandatory parameter")]
        stage.send(cancel_all())
        await stage.until(lambda: len(stage.sink.of(OrderCanceled)) == 2)

    names = [name for name, _ in play(story).exchange.seen if name.startswith("DELETE")]
    assert sorted(names) == ["DELETE openOrders", "DELETE order", "DELETE order"]


def test_where_ccxt_itself_refuses_the_bulk_call_each_order_is_canceled() -> None:
    async def story(stage: Stage) -> None:
        for number in (1, 2):
            stage.send(submit(number))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 2)
        exchange = stage.adapter._account.exchange

        async def wants_more(symbol: str) -> None:
            from ccxt.base.errors import ArgumentsRequired

            raise ArgumentsRequired("a marginMode, too")

        exchange.cancel_all_orders = wants_more
        stage.send(cancel_all())
        await stage.until(lambda: len(stage.sink.of(OrderCanceled)) == 2)

    names = [name for name, _ in play(story).exchange.seen if name.startswith("DELETE")]
    assert names == ["DELETE order", "DELETE order"]


def test_somebody_elses_orders_and_fills_are_told_as_foreign() -> None:
    async def story(stage: Stage) -> None:
        stage.exchange.place(
            {"symbol": "BTCUSDT", "newClientOrderId": "by-hand", "quantity": "1", "price": "90", "type": "LIMIT", "side": "SELL"}
        )
        await stage.looks()
        stage.exchange.fill(1, 40_000)
        await stage.until(lambda: stage.sink.of(OrderFilled))
        state = await stage.adapter.query(0)
        assert state.open_orders == (VenueOrder(None, INSTRUMENT, Side.SELL, 9_000, 60_000, "1"),)
        stage.adapter.adopt(order_id(99), state.open_orders[0])
        stage.exchange.fill(1, 10_000)
        await stage.until(lambda: len(stage.sink.of(OrderFilled)) == 2)
        assert (await stage.adapter.query(0)).open_orders[0].client_order_id == order_id(99)
        stage.send(cancel(99))
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    assert facts(play(story)) == [
        ("Filled", 0, "1000", 40_000, 0),
        ("Filled", order_id(99), "1001", 10_000, 50_000),
        ("Canceled", order_id(99), Reason.REQUESTED),
    ]


def test_a_query_says_what_is_open_and_what_was_executed_in_between() -> None:
    async def story(stage: Stage) -> None:
        stage.send(submit(1))
        stage.send(submit(2, side=Side.SELL))
        await stage.until(lambda: len(stage.sink.of(OrderAccepted)) == 2)
        stage.exchange.fill(1, 5_000)
        stage.exchange.fill(1, 6_000)
        state = await stage.adapter.query(0)
        by_id = {order.client_order_id: order.leaves_qty for order in state.open_orders}
        assert by_id == {order_id(1): 14_000, order_id(2): 25_000}
        assert [(fill.client_order_id, fill.qty, fill.leaves_qty) for fill in state.executions] == [
            (order_id(1), 5_000, 20_000),
            (order_id(1), 6_000, 14_000),
        ]
        assert state.positions == {}
        assert state.instrument_ids == {INSTRUMENT}
        assert state.not_found_ns == 200_000_000

    play(story)


def test_orders_of_an_earlier_run_are_known_again() -> None:
    exchange = Exchange()
    exchange.place(
        {"symbol": "BTCUSDT", "newClientOrderId": f"{PREFIX}-6-4", "quantity": "1", "price": "90", "type": "LIMIT", "side": "BUY"}
    )
    exchange.fill(1, 10_000)

    async def story(stage: Stage) -> None:
        stage.exchange.fill(1, 20_000)
        await stage.until(lambda: stage.sink.of(OrderFilled))
        stage.send(cancel_all())
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    earlier = (6 << 32) | 4
    assert facts(play(story, exchange)) == [
        ("Filled", earlier, "1001", 20_000, 70_000),
        ("Canceled", earlier, Reason.REQUESTED),
    ]


def test_an_exchange_that_is_away_takes_no_commands_and_is_compared_before_it_does() -> None:
    troubles: list[str] = []

    async def story(stage: Stage) -> None:
        stage.send(submit(1))
        await stage.until(lambda: stage.sink.of(OrderAccepted))
        with away(stage.exchange):
            await stage.until(lambda: stage.sink.of(GapDetected))
            stage.send(submit(2))
            stage.send(cancel(1))
            await stage.until(lambda: stage.sink.of(CancelRejected))
            stage.exchange.fill(1, 5_000)
        stage.on_reconnect = lambda state: stage.send(cancel(1))
        await stage.until(lambda: stage.states)
        (state,) = stage.states
        assert [(order.client_order_id, order.leaves_qty) for order in state.open_orders] == [(order_id(1), 20_000)]
        assert [fill.qty for fill in state.executions] == [5_000]
        await stage.until(lambda: stage.sink.of(OrderCanceled))

    stage = play(story, troubles=troubles)
    assert facts(stage) == [
        ("Accepted", order_id(1), 10_000, 25_000, "1"),
        ("Rejected", order_id(2), Reason.NOT_SENT),
        ("CancelRejected", order_id(1), Reason.NOT_SENT),
        ("Filled", order_id(1), "1000", 5_000, 20_000),
        ("Canceled", order_id(1), Reason.REQUESTED),
    ]
    assert any("no route" in line for line in troubles)
    assert len(troubles) < 10, "one line for each kind"


def test_books_and_prints_become_market_events() -> None:
    wanted = [Subscription(instrument_id=INSTRUMENT, quotes="size", book_levels=2, trades=True)]

    async def story(stage: Stage) -> None:
        stage.exchange.print(1, "100.75", "0.5")
        await stage.until(lambda: stage.sink.of(Book))
        await stage.until(lambda: any(name in ("GET aggTrades", "GET trades") for name, _ in stage.exchange.seen))
        await stage.looks(2)
        stage.exchange.print(2, "100.5", "0.25")
        stage.exchange.book["bids"] = [["9.5", "1"], ["100.00", "2"], ["100.10", "0"]]
        await stage.until(lambda: stage.sink.of(Trade))
        await stage.until(lambda: stage.sink.events[-1] if stage.sink.of(Quote)[-1].bid_price == 10_000 else None)

    stage = play(story, subscriptions=wanted)
    book, quote = stage.sink.of(Book)[0], stage.sink.of(Quote)[0]
    assert (book.bids, book.asks) == (((10_050, 200_000), (9_950, 100_000)), ((10_100, 350_000),))
    assert (quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty) == (10_050, 200_000, 10_100, 350_000)
    assert stage.sink.of(Book)[-1].bids == ((10_000, 200_000), (950, 100_000))
    (trade,) = stage.sink.of(Trade)
    assert (trade.price, trade.qty, trade.trade_id) == (10_050, 25_000, 2)


@pytest.mark.parametrize(
    "book",
    [
        {"lastUpdateId": 1, "bids": [["100.555", "1"]], "asks": []},
        {"lastUpdateId": 1, "bids": [["-1", "1"]], "asks": []},
        {"lastUpdateId": 1, "bids": [["101", "1"]], "asks": [["100", "1"]]},
        {"lastUpdateId": 1, "bids": [["1e999", "1"]], "asks": []},
        {"lastUpdateId": 1, "bids": [["100", "NaN"]], "asks": []},
        {"lastUpdateId": 1, "bids": "none", "asks": []},
        {"lastUpdateId": 1, "bids": [["100"]], "asks": []},
        {"lastUpdateId": 1, "bids": [[None, None]], "asks": []},
        {},
        [],
    ],
)
def test_a_book_that_cannot_be_is_no_book_and_in_the_end_a_gap(book: Any) -> None:
    troubles: list[str] = []

    async def story(stage: Stage) -> None:
        await stage.until(lambda: stage.sink.of(Quote))
        stage.exchange.book = book
        await stage.until(lambda: stage.sink.of(GapDetected))

    wanted = [Subscription(instrument_id=INSTRUMENT, quotes="price")]
    stage = play(story, subscriptions=wanted, troubles=troubles)
    assert {quote.bid_price for quote in stage.sink.of(Quote)} == {10_050}
    assert any("book of BTC/USDT" in line for line in troubles)


def test_watching_needs_no_key_and_asks_nothing_of_the_account() -> None:
    async def story(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sink.of(Quote)) > 1)
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderRejected))

    stage = play(story, role=Role.WATCH)
    assert facts(stage) == [("Rejected", order_id(), Reason.NOT_SENT)]
    assert {name for name, params in stage.exchange.seen if "signature" in params} == set()


def test_no_secret_is_in_any_frame_or_line() -> None:
    frames: list[tuple[int, str, bytes]] = []
    troubles: list[str] = []

    async def story(stage: Stage) -> None:
        stage.send(submit())
        await stage.until(lambda: stage.sink.of(OrderAccepted))

    play(story, on_frame=lambda ts, what, data: frames.append((ts, what, data)), troubles=troubles)
    text = repr(frames) + repr(troubles)
    assert KEY not in text
    assert SECRET not in text
    assert {what for _, what, _ in frames} == {"sent", "received"}
    assert any(b"POST http://127.0.0.1:9/api/v3/order" in data for _, _, data in frames)
