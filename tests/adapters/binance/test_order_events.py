"""Reports and bodies as core events, whole values compared; what cannot be is refused; what is not ours is named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.binance.endpoints import Product
from adapters.binance.order_events import ForeignFill, ForeignOrder, OrderFact
from adapters.binance.rest_bodies import read_algo_order, read_order, read_orders, read_positions, read_trades
from adapters.binance.user_stream import AlgoUpdate, ExecutionReport, OrderTradeUpdate, decode_user
from core.enums import LiquiditySide, Reason, Side
from core.errors import VenueProtocolError
from core.events import (
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderRestated,
    OrderTriggered,
)
from core.order_store import FOREIGN_ORDER_ID
from core.venue_adapter import VenueOrder
from tests.adapters.binance.account_for_tests import (
    FILL,
    NOW,
    ORDER_ID,
    STAMP,
    STAMP_MS,
    WIRE_ID,
    encoded,
    events,
    execution_report,
    order_body,
    order_update,
)

SPOT, USDM = Product.SPOT, Product.USDM


def spot_facts(**changes: Any) -> list[OrderFact]:
    message = decode_user(encoded({"subscriptionId": 0, "event": execution_report(**changes)}))
    assert isinstance(message, ExecutionReport)
    return events(SPOT).execution_report(message, NOW)


def futures_facts(**changes: Any) -> list[OrderFact]:
    message = decode_user(encoded(order_update(**changes)))
    assert isinstance(message, OrderTradeUpdate)
    return events(USDM).order_update(message, NOW)


STOP = {"o": "STOP_LOSS_LIMIT"}
HEAD = (STAMP, NOW, ORDER_ID)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, [OrderAccepted(*HEAD, 6183750, 25000, "77")]),
        ({"x": "CANCELED", "X": "CANCELED", "c": "web_1", "C": WIRE_ID}, [OrderCanceled(*HEAD, 25000, Reason.REQUESTED)]),
        ({"x": "CANCELED", "X": "CANCELED", "z": "0.1", "c": "x", "C": WIRE_ID}, [OrderCanceled(*HEAD, 15000, Reason.REQUESTED)]),
        ({"x": "EXPIRED", "X": "EXPIRED"}, [OrderExpired(*HEAD, 25000)]),
        ({"x": "REPLACED", "X": "NEW", "q": "0.2"}, [OrderReplaced(*HEAD, 6183750, 20000, 0)]),
        ({"x": "REJECTED", "X": "REJECTED", "r": "SOME_REASON"}, [OrderRejected(*HEAD, Reason.NONE, "SOME_REASON")]),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, [OrderExpired(*HEAD, 25000)]),
        ({"x": "TRADE_PREVENTION", "X": "NEW", "q": "0.2"}, [OrderRestated(*HEAD, 20000, Reason.SELF_TRADE)]),
        ({**STOP, "w": False}, [OrderAccepted(*HEAD, 6183750, 25000, "77")]),
        ({**STOP, "w": True}, [OrderTriggered(*HEAD)]),
        (
            FILL,
            [
                OrderFilled(
                    *HEAD,
                    "BTCUSDT.BINANCE",
                    "BTCUSDT-901-77",
                    Side.BUY,
                    6183750,
                    10000,
                    15000,
                    LiquiditySide.MAKER,
                    1234567,
                    "BNB",
                )
            ],
        ),
    ],
)
def test_spot_reports(changes: dict[str, Any], facts: list[OrderFact]) -> None:
    assert spot_facts(**changes) == facts


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, [OrderAccepted(*HEAD, 618375, 250, "77")]),
        ({"x": "CANCELED", "X": "CANCELED"}, [OrderCanceled(*HEAD, 250, Reason.REQUESTED)]),
        ({"x": "EXPIRED", "X": "EXPIRED", "f": "GTX"}, [OrderExpired(*HEAD, 250)]),
        ({"x": "EXPIRED", "X": "EXPIRED_IN_MATCH"}, [OrderExpired(*HEAD, 250)]),
        ({"x": "AMENDMENT", "p": "61000.1", "q": "0.3", "z": "0.1"}, [OrderReplaced(*HEAD, 610001, 200, 100)]),
        (
            {**FILL, "X": "FILLED", "z": "0.25", "m": False, "S": "SELL"},
            [
                OrderFilled(
                    *HEAD,
                    "BTCUSDT-PERP.BINANCE",
                    "BTCUSDT-901-77",
                    Side.SELL,
                    618375,
                    100,
                    0,
                    LiquiditySide.TAKER,
                    1234567,
                    "BNB",
                )
            ],
        ),
    ],
)
def test_futures_updates(changes: dict[str, Any], facts: list[OrderFact]) -> None:
    assert futures_facts(**changes) == facts


def test_the_same_fill_under_another_id_is_not_a_second_one() -> None:
    under = events(SPOT)

    def tell(**changes: Any) -> list[OrderFact]:
        message = decode_user(encoded({"subscriptionId": 0, "event": execution_report(**{**FILL, **changes})}))
        assert isinstance(message, ExecutionReport)
        return under.execution_report(message, NOW)

    first = tell()
    with pytest.raises(VenueProtocolError, match="trades 901 and 5901 both make it"):
        tell(t=5901)
    assert tell() == first  # under its own id it may come again: whoever books it knows it
    assert len(tell(t=902, z="0.2")) == len(tell(t=903, i=78)) == 1  # more is filled; another order
    # Two that change places are two.
    assert len(tell(t=905, z="0.25", l="0.01")) == len(tell(t=904, z="0.24", l="0.04")) == 1


@pytest.mark.parametrize("wire_id", ["autoclose-1596107620040000020", "adl_autoclose", "settlement_autoclose-1"])
def test_forced_orders_are_real_fills_of_somebody_else(wire_id: str) -> None:
    begun = futures_facts(c=wire_id, x="CALCULATED", X="NEW")
    fill = futures_facts(c=wire_id, **{**FILL, "x": "CALCULATED"})
    order = ForeignOrder("BTCUSDT", wire_id, "77", True, "CALCULATED NEW")
    filled = ForeignOrder("BTCUSDT", wire_id, "77", True, "CALCULATED PARTIALLY_FILLED")
    assert begun == [order]
    theirs = msgspec.structs.replace(
        fill_of(901, 100, 150, STAMP), client_order_id=FOREIGN_ORDER_ID, commission=1_234_567, commission_currency="BNB"
    )
    assert fill == [ForeignFill(filled, theirs)]


@pytest.mark.parametrize(
    ("changes", "is_fill"),
    [({"c": "web_abc"}, False), ({"c": "td-07-3"}, False), ({"c": "web_abc", **FILL}, True), ({"s": "ETHUSDT", **FILL}, False)],
)
def test_what_somebody_does_by_hand_is_named(changes: dict[str, Any], is_fill: bool) -> None:
    (fact,) = spot_facts(**changes)
    assert isinstance(fact, ForeignFill if is_fill else ForeignOrder)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"p": "61837.501"}, "has more than 2 decimals"),  # the tick became finer
        ({"p": "NaN"}, "is not a decimal number"),
        ({"p": "-1"}, "is negative"),
        ({"q": "1e999"}, "does not fit"),
        ({"S": "HOLD"}, "unknown side"),
        ({"X": "DREAMING"}, "unknown status"),
        ({"x": "DREAMING"}, "unknown execution type"),
        ({"T": 5}, "neither milliseconds nor microseconds"),
        ({**FILL, "l": "0"}, "a fill of 0 at"),
        ({**FILL, "L": "0"}, "a fill of 0.1 at 0 "),
        ({**FILL, "t": -1}, "trade id -1"),
        ({**FILL, "n": "x"}, "commission"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(VenueProtocolError, match=why):
        spot_facts(**changes)


def test_hedge_mode_is_refused() -> None:
    with pytest.raises(VenueProtocolError, match="hedge mode"):
        futures_facts(ps="LONG")


@pytest.mark.parametrize(
    ("commission", "units"), [("0.00000001", 1), ("0.000000019", 1), ("-0.0781901", -7819010), ("12.5", 1_250_000_000), ("0", 0)]
)
def test_fees_are_cut_to_our_money_and_never_lose_a_fill(commission: str, units: int) -> None:
    (fill,) = spot_facts(**{**FILL, "n": commission})
    assert isinstance(fill, OrderFilled)
    assert fill.commission == units


def algo(status: str, **changes: Any) -> AlgoUpdate:
    fields = {
        "caid": WIRE_ID,
        "aid": 9,
        "at": "CONDITIONAL",
        "o": "STOP_MARKET",
        "s": "BTCUSDT",
        "S": "SELL",
        "ps": "BOTH",
        "f": "GTC",
        "q": "0.25",
        "X": status,
        "ai": "",
        "tp": "60000",
        "p": "0",
    }
    message = decode_user(encoded({"e": "ALGO_UPDATE", "T": STAMP_MS, "E": STAMP_MS, "o": {**fields, **changes}}))
    assert isinstance(message, AlgoUpdate)
    return message


def test_a_conditional_order_becomes_another_and_keeps_our_id() -> None:
    book = events(USDM)
    told = [
        book.algo_update(algo("NEW"), NOW),
        book.algo_update(algo("TRIGGERING"), NOW),
        book.algo_update(algo("TRIGGERED", ai="555"), NOW),
        book.algo_update(algo("FINISHED", ai="555"), NOW),
    ]
    assert told == [[OrderAccepted(*HEAD, 0, 250, "a9")], [], [OrderTriggered(*HEAD)], []]
    update = decode_user(encoded(order_update(c="venue-made", i=555, p="0", S="SELL", **FILL)))
    assert isinstance(update, OrderTradeUpdate)
    (fill,) = book.order_update(update, NOW)
    assert isinstance(fill, OrderFilled)
    assert fill.client_order_id == ORDER_ID


@pytest.mark.parametrize(
    ("status", "fact"),
    [
        ("CANCELED", OrderCanceled(*HEAD, 250, Reason.REQUESTED)),
        ("EXPIRED", OrderExpired(*HEAD, 250)),
        ("REJECTED", OrderRejected(*HEAD, Reason.NONE, "margin")),
    ],
)
def test_how_a_conditional_order_ends(status: str, fact: OrderFact) -> None:
    assert events(USDM).algo_update(algo(status, rm="margin"), NOW) == [fact]


def test_a_conditional_order_of_somebody_else() -> None:
    assert events(USDM).algo_update(algo("NEW", caid="web"), NOW) == [
        ForeignOrder("BTCUSDT", "web", "9", False, "conditional NEW")
    ]


def body_of(**changes: Any) -> Any:
    return read_order(encoded(order_body(**changes)))


def test_answers_to_requests() -> None:
    book = events(USDM)
    assert book.accepted(body_of(), NOW) == [OrderAccepted(*HEAD, 618375, 250, "77")]
    # Filled already: the acknowledgement comes first all the same, the fill with its price comes by the stream.
    assert book.accepted(body_of(status="FILLED", executedQty="0.25"), NOW) == [OrderAccepted(*HEAD, 618375, 250, "77")]
    assert book.accepted(body_of(status="EXPIRED"), NOW) == [OrderAccepted(*HEAD, 618375, 250, "77"), OrderExpired(*HEAD, 250)]
    assert book.canceled(body_of(status="CANCELED", executedQty="0.05"), NOW) == [OrderCanceled(*HEAD, 200, Reason.REQUESTED)]
    assert book.canceled(body_of(), NOW) == []  # a cancel that was accepted, and did nothing
    assert book.replaced(body_of(price="1.0", origQty="0.3", executedQty="0.1"), NOW) == [OrderReplaced(*HEAD, 10, 200, 100)]
    assert book.replaced(body_of(status="CANCELED", executedQty="0.1"), NOW) == [OrderCanceled(*HEAD, 150, Reason.REQUESTED)]
    with pytest.raises(VenueProtocolError, match="not what was asked for"):
        book.accepted(body_of(clientOrderId="web"), NOW)


def trade(**changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT",
        "id": 901,
        "orderId": 77,
        "price": "61837.5",
        "qty": "0.1",
        "commission": "0.01",
        "commissionAsset": "USDT",
        "time": STAMP_MS,
        "side": "BUY",
        "maker": True,
    }
    return {**row, **changes}


def fill_of(trade_id: int, qty: int, leaves: int, stamp: int) -> OrderFilled:
    key = f"BTCUSDT-{trade_id}-77"
    where = ("BTCUSDT-PERP.BINANCE", key, Side.BUY, 618375, qty, leaves, LiquiditySide.MAKER, 1_000_000, "USDT")
    return OrderFilled(stamp, NOW, ORDER_ID, *where)


def test_executions_are_counted_back_from_what_the_order_executed() -> None:
    rows = [
        trade(id=902, qty="0.05", time=STAMP_MS + 1),
        trade(),
        trade(id=5, orderId=78),
        trade(id=6, orderId=79),
        trade(id=7, symbol="X"),
    ]
    trades = read_trades(encoded(rows))
    order, foreign = body_of(executedQty="0.15"), body_of(orderId=78, clientOrderId="web")
    fills, missing = events(USDM).executions(trades, {77: order, 78: foreign}, NOW)
    theirs = msgspec.structs.replace(fills[0], client_order_id=FOREIGN_ORDER_ID, execution_id="BTCUSDT-5-78", leaves_qty=250)
    ours = [fill_of(901, 100, 150, STAMP), fill_of(902, 50, 100, STAMP + 1_000_000)]
    assert sorted(fills, key=lambda fill: fill.execution_id) == [*sorted([*ours, theirs], key=lambda fill: fill.execution_id)]
    assert missing == [79]


def test_more_than_was_asked_for_is_told_as_what_it_is() -> None:
    (told,) = futures_facts(**{**FILL, "l": "0.1", "z": "0.3"})
    assert isinstance(told, OrderFilled)
    assert (told.qty, told.leaves_qty) == (100, 0)
    trades = read_trades(encoded([trade(qty="0.25"), trade(id=902, qty="0.05", time=STAMP_MS + 1)]))
    fills, missing = events(USDM).executions(trades, {77: body_of(executedQty="0.3", status="FILLED")}, NOW)
    assert (fills, missing) == ([fill_of(901, 250, 0, STAMP), fill_of(902, 50, 0, STAMP + 1_000_000)], [])


def test_a_lost_order_that_is_found() -> None:
    book = events(USDM)
    fill = fill_of(901, 100, 150, STAMP)
    accepted = OrderAccepted(*HEAD, 618375, 250, "77")
    assert book.found(body_of(), [], NOW) == [accepted]
    assert book.found(body_of(executedQty="0.1", status="PARTIALLY_FILLED"), [fill], NOW) == [accepted, fill]
    canceled = OrderCanceled(*HEAD, 150, Reason.REQUESTED)
    assert book.found(body_of(executedQty="0.1", status="CANCELED"), [fill], NOW) == [accepted, fill, canceled]
    assert book.found(body_of(status="EXPIRED"), [], NOW) == [accepted, OrderExpired(*HEAD, 250)]
    assert book.found(body_of(status="REJECTED"), [], NOW) == [OrderRejected(*HEAD, Reason.NONE, "REJECTED")]
    with pytest.raises(VenueProtocolError, match="its trades are not that"):
        book.found(body_of(executedQty="0.1"), [], NOW)


def test_what_the_venue_has_open() -> None:
    rows = [
        order_body(),
        order_body(symbol="X"),
        order_body(clientOrderId="web", side="SELL", price="0"),
        order_body(status="CANCELED"),
    ]
    found = [events(USDM).open_order(body) for body in read_orders(encoded(rows))]
    perpetual = "BTCUSDT-PERP.BINANCE"
    assert found == [
        VenueOrder(ORDER_ID, perpetual, Side.BUY, 618375, 250, "77"),
        None,
        VenueOrder(None, perpetual, Side.SELL, None, 250, "77"),
        None,
    ]


def test_conditional_orders_that_are_open() -> None:
    body = {
        "algoId": 9,
        "clientAlgoId": WIRE_ID,
        "symbol": "BTCUSDT",
        "side": "SELL",
        "orderType": "STOP_MARKET",
        "quantity": "0.25",
        "algoStatus": "NEW",
        "triggerPrice": "60000.0",
        "price": "0.0",
        "updateTime": STAMP_MS,
    }
    book = events(USDM)
    assert book.open_algo_order(read_algo_order(encoded(body))) == VenueOrder(
        ORDER_ID, "BTCUSDT-PERP.BINANCE", Side.SELL, None, 250, "a9"
    )
    assert book.algo_accepted(read_algo_order(encoded(body)), NOW) == [OrderAccepted(*HEAD, 0, 250, "a9")]


def test_positions_have_a_sign_and_one_way() -> None:
    rows = [
        {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.025", "updateTime": 1},
        {"symbol": "BTCUSDT", "positionSide": "LONG", "positionAmt": "0.000", "updateTime": 0},
        {"symbol": "OTHER", "positionSide": "LONG", "positionAmt": "5", "updateTime": 0},
    ]
    assert events(USDM).positions(read_positions(encoded(rows))) == {"BTCUSDT-PERP.BINANCE": -25}
    rows[1]["positionAmt"] = "0.001"
    with pytest.raises(VenueProtocolError, match="hedge mode"):
        events(USDM).positions(read_positions(encoded(rows)))
