"""The guardian's switch against a venue on loopback: kills that work, kills that need more than one try, and what it reports."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import pytest

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import SymbolRules, meters_of
from adapters.binance.outcomes import read_signals
from adapters.binance.switch import BinanceSwitch, whole_lots
from adapters.http.clock_offset import ClockOffset
from adapters.http.io import HttpSettings, HttpTransport
from core.enums import MarketStatus, Side
from core.errors import ConfigError, RefusedError, TransportError
from core.identifiers import make_order_id
from core.venue_adapter import VenueOrder
from core.venue_switch import VenueSwitch
from tests.adapters.binance.account_for_tests import INSTRUMENTS, ORDER_ID, PREFIX, STAMP_MS, encoded, order_body
from tests.adapters.binance.plain_signer import PlainSigner
from tests.adapters.http.loopback import Conversation, http_answer, serving

SPOT, USDM = Product.SPOT, Product.USDM
PERP = "BTCUSDT-PERP.BINANCE"
DONE = {"code": 200, "msg": "done"}
TIME = {"serverTime": STAMP_MS}
Answers = dict[str, Any]


def rules(product: Product) -> dict[str, SymbolRules]:
    return {
        symbol: SymbolRules(symbol=symbol, instrument=instrument, status=MarketStatus.TRADING, market_qty_max=400)
        for symbol, instrument in INSTRUMENTS[product].items()
    }


def at_switch(
    product: Product, answers: Answers, work: Callable[[BinanceSwitch], Awaitable[Any]]
) -> tuple[Any, list[tuple[str, dict[str, str]]]]:
    """What `work` returned, and each request as ("METHOD path", parameters). An answer is a body, or (status, body)."""
    seen: list[tuple[str, dict[str, str]]] = []

    async def script(conversation: Conversation) -> None:
        while data := await conversation.request():
            head, _, body = data.partition(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            path, _, query = target.partition("?")
            params = dict(parse_qsl(body.decode() or query))
            wanted = {name: value for name, value in params.items() if name not in ("timestamp", "recvWindow", "signature")}
            key = f"{method} {path.rpartition('/')[2]}"
            seen.append((key, wanted))
            answer = answers[f"{key} {wanted['symbol']}"] if f"{key} {wanted.get('symbol')}" in answers else answers[key]
            status, value = answer if isinstance(answer, tuple) else (200, answer)
            await conversation.send(http_answer(status, value if isinstance(value, bytes) else encoded(value)))

    async def run() -> Any:
        async with serving(script) as server:
            codec = BinanceCodec(product, PlainSigner(server.origin), INSTRUMENTS[product], PREFIX, deadline_s=5.0)
            meters = meters_of(product, [], share_percent=50, cancel_reserve_percent=10)
            http = HttpTransport("BINANCE", HttpSettings(), read_signals=read_signals, meters=meters)
            ids = (make_order_id(9, counter) for counter in itertools.count(1))
            switch = BinanceSwitch("BINANCE", codec, http, ClockOffset(), rules(product), PREFIX, ids)
            as_protocol: VenueSwitch = switch
            assert as_protocol.venue == "BINANCE"
            try:
                return await work(switch)
            finally:
                await switch.close()

    return anyio.run(run), seen


def names(seen: list[tuple[str, dict[str, str]]]) -> list[str]:
    return [f"{key} {params['symbol']}" if "symbol" in params else key for key, params in seen]


def test_opening_reads_the_clock_and_tries_the_key() -> None:
    answers = {"GET time": TIME, "GET openOrders": [], "GET exchangeInfo": (400, {"code": -1121, "msg": "Invalid symbol."})}
    _, seen = at_switch(USDM, answers, BinanceSwitch.open)
    assert names(seen) == ["GET time"] * 3 + ["GET openOrders BTCUSDT", "GET exchangeInfo"]


def test_a_key_that_is_not_taken_is_refused() -> None:
    answers = {
        "GET time": TIME,
        "GET openOrders": (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
    }
    with pytest.raises(RefusedError, match="open orders: -2015"):
        at_switch(USDM, answers, BinanceSwitch.open)
    with pytest.raises(TransportError):
        at_switch(USDM, {"GET time": (503, b"")}, BinanceSwitch.open)


OTHER = order_body(symbol="ETHUSDT", clientOrderId="web", orderId=5)
CONDITIONAL = {
    "algoId": 9,
    "clientAlgoId": "web",
    "symbol": "ETHUSDT",
    "side": "SELL",
    "orderType": "STOP",
    "quantity": "1.5",
    "algoStatus": "NEW",
    "triggerPrice": "1",
    "price": "0",
    "updateTime": 1,
}


def test_a_kill_reaches_both_services_and_instruments_that_nobody_configured() -> None:
    answers = {
        "DELETE allOpenOrders": DONE,
        "DELETE algoOpenOrders": DONE,
        "GET openOrders": [OTHER],
        "GET openAlgoOrders": [CONDITIONAL],
    }
    _, seen = at_switch(USDM, answers, BinanceSwitch.cancel_all)
    assert sorted(names(seen)[:2]) == ["DELETE algoOpenOrders BTCUSDT", "DELETE allOpenOrders BTCUSDT"]
    assert names(seen)[2:4] == ["GET openOrders", "GET openAlgoOrders"]
    assert sorted(names(seen)[4:]) == ["DELETE algoOpenOrders ETHUSDT", "DELETE allOpenOrders ETHUSDT"]


@pytest.mark.parametrize("bulk", [(503, b""), (400, {"code": -2012, "msg": "Batch cancel failure."}), (200, b"<html>")])
def test_a_bulk_cancel_that_is_not_proven_is_followed_order_by_order(bulk: tuple[int, Any]) -> None:
    answers = {
        "DELETE allOpenOrders": bulk,
        "DELETE algoOpenOrders": DONE,
        "GET openOrders": [order_body(), order_body(orderId=78)],
        "GET openAlgoOrders": [{**CONDITIONAL, "symbol": "BTCUSDT"}],
        "DELETE order": (400, {"code": -2011, "msg": "Unknown order sent."}),
        "DELETE algoOrder": {"algoId": 9, "clientAlgoId": "web", "code": "200", "msg": "success"},
    }
    _, seen = at_switch(USDM, answers, BinanceSwitch.cancel_all)
    single = [params for key, params in seen if key in ("DELETE order", "DELETE algoOrder")]
    assert sorted(single, key=str) == [
        {"algoId": "9"},
        {"symbol": "BTCUSDT", "orderId": "77"},
        {"symbol": "BTCUSDT", "orderId": "78"},
    ]


def test_a_kill_that_the_venue_refuses_says_so() -> None:
    answers = {
        "DELETE allOpenOrders": (503, b""),
        "DELETE algoOpenOrders": DONE,
        "GET openOrders": [order_body()],
        "GET openAlgoOrders": [],
        "DELETE order": (403, b"<html>"),
    }
    with pytest.raises(TransportError, match=r"1 of 1 cancels were not taken, the first: .*firewall"):
        at_switch(USDM, answers, BinanceSwitch.cancel_all)


def test_spot_has_nothing_to_cancel() -> None:
    nothing = (400, {"code": -2011, "msg": "Unknown order sent."})
    _, seen = at_switch(SPOT, {"DELETE openOrders": nothing, "GET openOrders": []}, BinanceSwitch.cancel_all)
    assert names(seen) == ["DELETE openOrders BTCUSDT", "GET openOrders"]


def test_every_open_order_is_reported() -> None:
    finer = order_body(orderId=80, price="61837.55")  # does not fit our tick any more
    answers = {"GET openOrders": [order_body(), OTHER, finer], "GET openAlgoOrders": [CONDITIONAL]}
    orders, _ = at_switch(USDM, answers, BinanceSwitch.open_orders)
    assert orders == (
        VenueOrder(ORDER_ID, PERP, Side.BUY, 618375, 250, "77"),
        VenueOrder(None, "ETHUSDT.BINANCE", Side.BUY, None, 25_000_000, "5"),
        VenueOrder(None, "BTCUSDT.BINANCE", Side.BUY, None, 25_000_000, "80"),
        VenueOrder(None, "ETHUSDT.BINANCE", Side.SELL, None, 150_000_000, "a9"),
    )


def position(amount: str, side: str = "BOTH") -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "positionSide": side, "positionAmt": amount, "updateTime": 1}


def account(**balances: tuple[str, str]) -> dict[str, Any]:
    rows = [{"asset": asset, "free": free, "locked": locked} for asset, (free, locked) in balances.items()]
    return {"canTrade": True, "canWithdraw": False, "updateTime": 1, "accountType": "SPOT", "balances": rows}


@pytest.mark.parametrize(
    ("product", "answers", "held"),
    [
        (USDM, {"GET positionRisk": [position("-0.025")]}, {PERP: -25}),
        (USDM, {"GET positionRisk": []}, {PERP: 0}),
        (SPOT, {"GET account": account(BTC=("0.10000999", "0.00000001"), USDT=("5", "0"))}, {"BTCUSDT.BINANCE": 10_001}),
        (SPOT, {"GET account": account()}, {"BTCUSDT.BINANCE": 0}),
    ],
)
def test_positions(product: Product, answers: Answers, held: dict[str, int]) -> None:
    assert at_switch(product, answers, BinanceSwitch.positions)[0] == held


def test_positions_that_cannot_be_read_are_not_zero() -> None:
    for rows in ([position("0.0255")], [position("1", "LONG")], [{"symbol": "BTCUSDT"}]):
        with pytest.raises(TransportError):
            at_switch(USDM, {"GET positionRisk": rows}, BinanceSwitch.positions)


@pytest.mark.parametrize(
    ("amount", "side", "parts"),
    [
        ("1.000", "SELL", ["0.4", "0.4", "0.2"]),
        ("-0.250", "BUY", ["0.25"]),
        ("0.801", "SELL", ["0.4", "0.4", "0.001"]),
        ("0.000", "", []),
    ],
)
def test_a_position_is_closed_in_pieces_that_the_venue_takes(amount: str, side: str, parts: list[str]) -> None:
    answers = {
        "GET positionRisk": [position(amount)],
        "POST order": (200, b""),
    }  # no answer is UNKNOWN, and nothing is sent again
    _, seen = at_switch(USDM, answers, BinanceSwitch.flatten)
    orders = [params for key, params in seen if key == "POST order"]
    assert sorted((each["quantity"] for each in orders), reverse=True) == parts
    assert all((each["side"], each["type"], each["reduceOnly"]) == (side, "MARKET", "true") for each in orders)
    assert len({each["newClientOrderId"] for each in orders}) == len(parts)


def test_flatten_says_what_could_not_be_closed() -> None:
    answers = {
        "GET positionRisk": [position("0.250")],
        "POST order": (400, {"code": -2022, "msg": "ReduceOnly Order is rejected."}),
    }
    at_switch(USDM, answers, BinanceSwitch.flatten)  # nothing left to reduce is what was wanted
    with pytest.raises(TransportError, match="Margin is insufficient"):
        at_switch(
            USDM, {**answers, "POST order": (400, {"code": -2019, "msg": "Margin is insufficient."})}, BinanceSwitch.flatten
        )


def test_spot_sells_what_it_holds() -> None:
    answers = {"GET account": account(BTC=("0.00350", "0")), "POST order": (200, b"")}
    _, seen = at_switch(SPOT, answers, BinanceSwitch.flatten)
    orders = [params for key, params in seen if key == "POST order"]
    assert [(each["side"], each["type"], each["quantity"]) for each in orders] == [("SELL", "MARKET", "0.0035")]


def test_the_dead_man_switch() -> None:
    def refresh(seconds: float) -> Callable[[BinanceSwitch], Awaitable[bool]]:
        return lambda switch: switch.refresh_dead_man(seconds)

    armed = {"POST countdownCancelAll": {"symbol": "BTCUSDT", "countdownTime": "30000"}}
    taken, seen = at_switch(USDM, armed, refresh(30.0))
    assert (taken, seen) == (True, [("POST countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": "30000"})])
    with pytest.raises(TransportError, match="was not taken"):
        at_switch(USDM, armed, refresh(0.0))
    assert at_switch(SPOT, {}, refresh(30.0)) == (False, [])


def test_two_spot_instruments_of_one_base_are_refused() -> None:
    twice = {**rules(SPOT), "BTCUSDC": rules(SPOT)["BTCUSDT"]}
    codec = BinanceCodec(SPOT, PlainSigner(), INSTRUMENTS[SPOT], PREFIX)
    http = HttpTransport("BINANCE", HttpSettings(), read_signals=read_signals, meters={})
    with pytest.raises(ConfigError, match="two spot instruments of one base currency"):
        BinanceSwitch("BINANCE", codec, http, ClockOffset(), twice, PREFIX, iter(()))


def test_what_could_be_sold_of_a_balance() -> None:
    spot = INSTRUMENTS[SPOT]["BTCUSDT"]
    assert [whole_lots(spot, amount) for amount in (0, 999, 1000, 1999, 123_456_789)] == [0, 0, 1, 1, 123_456]


@pytest.mark.parametrize(("symbol", "second_look"), [("BTCUSDT", "openOrders BTCUSDT"), ("DOGEUSDT", "openOrders")])
def test_the_whole_account_is_looked_at_now_and_then_or_as_long_as_others_have_orders(symbol: str, second_look: str) -> None:
    answers = {"GET openOrders": [order_body(symbol=symbol)], "GET openAlgoOrders": []}

    async def look_twice(switch: BinanceSwitch) -> None:
        for _ in range(2):
            assert len(await switch.open_orders()) == 1

    _, seen = at_switch(USDM, answers, look_twice)
    orders = [name.removeprefix("GET ") for name in names(seen) if name.startswith("GET openOrders")]
    assert orders == ["openOrders", second_look]
