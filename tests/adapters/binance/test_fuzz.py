"""Damaged frames and bodies through every decoder and what is made of them: nothing but the venue-protocol error comes out.

One seed is drawn for each test and printed; TRADINGD_FUZZ_SEED=… repeats it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from adapters.binance import rest_bodies as bodies
from adapters.binance import wire
from adapters.binance.cash_moves import balance_moved, income_moved
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import meters_of, symbol_rules
from adapters.binance.market_feed import MarketFeed
from adapters.binance.outcomes import judge, read_signals
from adapters.binance.user_stream import AlgoUpdate, BalanceUpdate, ExecutionReport, OrderTradeUpdate, decode_user
from adapters.binance.wire import decode as decode_market
from adapters.http.request import Answer, Outcome
from core.errors import RefusedError, VenueProtocolError
from core.strategy import Subscription
from tests.adapters.binance import test_wire as market
from tests.adapters.binance.account_for_tests import (
    FILL,
    INSTRUMENTS,
    NOW,
    STAMP_MS,
    WIRE_ID,
    codec,
    encoded,
    events,
    execution_report,
    order_body,
    order_update,
    submit,
)
from tests.adapters.binance.test_instrument_rules import symbol
from tests.adapters.binance.test_user_stream import FRAMES

SPOT, USDM = Product.SPOT, Product.USDM
MUTATIONS = 10_000
MUTATIONS_SLOW = 1_000_000
PIECES = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"null",
    b"NaN",
    b"1e999",
    b"-",
    b"0",
    b"9" * 25,
    b'""',
    b"\x00",
    b"\xff",
    b"\\u0000",
)

ALGO = {
    "caid": WIRE_ID,
    "aid": 9,
    "o": "STOP",
    "s": "BTCUSDT",
    "S": "SELL",
    "q": "0.25",
    "X": "NEW",
    "ai": "55",
    "tp": "6",
    "p": "0",
}
ALGO_BODY = {
    "algoId": 9,
    "clientAlgoId": WIRE_ID,
    "symbol": "BTCUSDT",
    "side": "SELL",
    "orderType": "STOP",
    "quantity": "0.25",
    "algoStatus": "NEW",
    "triggerPrice": "60000.0",
    "price": "0.0",
    "updateTime": STAMP_MS,
}
TRADE = {
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
INCOME = {
    "symbol": "BTCUSDT",
    "incomeType": "FUNDING_FEE",
    "income": "-0.01000000",
    "asset": "USDT",
    "info": "FUNDING_FEE",
    "time": STAMP_MS,
    "tranId": 427980082597228605,
    "tradeId": "",
}
POSITION = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.025", "updateTime": 1}


def user_stream(payload: bytes) -> None:
    message = decode_user(payload)
    match message:
        case ExecutionReport():
            events(SPOT).execution_report(message, NOW)
        case OrderTradeUpdate():
            events(USDM).order_update(message, NOW)
        case AlgoUpdate():
            events(USDM).algo_update(message, NOW)
        case BalanceUpdate():
            balance_moved("BINANCE", message, NOW)


def one_order(payload: bytes) -> None:
    body, book = bodies.read_order(payload), events(USDM)
    for make in (book.accepted, book.canceled, book.replaced):
        with suppress(VenueProtocolError):
            make(body, NOW)
    book.open_order(body)
    book.found(body, [], NOW)


def many_orders(payload: bytes) -> None:
    for body in bodies.read_orders(payload):
        events(SPOT).open_order(body)


def algo_orders(payload: bytes) -> None:
    for body in bodies.read_algo_orders(payload):
        events(USDM).open_algo_order(body)
        events(USDM).algo_accepted(body, NOW)


def executions(payload: bytes) -> None:
    order = bodies.read_order(encoded(order_body(executedQty="0.1")))
    events(USDM).executions(bodies.read_trades(payload), {77: order}, NOW)


def rules(payload: bytes) -> None:
    info = bodies.read_exchange_info(payload)
    meters_of(SPOT, info.rate_limits, share_percent=50, cancel_reserve_percent=10)
    for body in info.symbols:
        symbol_rules(SPOT, body, "BINANCE")


PLACE = codec(USDM).place(submit(USDM), NOW)


def verdicts(payload: bytes) -> None:
    """The judge never raises at all, and never takes a damaged body for another order's acceptance."""
    for status in (200, 400, 429, 503):
        answer = Answer(status, {"retry-after": payload[:5].decode("latin-1")}, payload)
        read_signals(answer)
        verdict = PLACE.judge(answer)
        assert verdict.outcome is not Outcome.NOT_SENT_PROVEN
        assert verdict.value is None or verdict.value.own_id == WIRE_ID
        judge(SPOT, bodies.read_done, answer)


def positions(payload: bytes) -> None:
    events(USDM).positions(bodies.read_positions(payload))


def payments(payload: bytes) -> None:
    for row in bodies.read_income(payload):
        income_moved("BINANCE", row, INSTRUMENTS[USDM], NOW)


FEED = MarketFeed(
    {"BTCUSDT": INSTRUMENTS[Product.USDM]["BTCUSDT"]},
    [Subscription(instrument_id="BTCUSDT-PERP.BINANCE", quotes="packet", book_levels=5, trades=True)],
    levels_max=5,
)


def live_feed(payload: bytes) -> None:
    """It raises nothing at all: what it cannot read it counts."""
    FEED.receive(1, payload)
    FEED.snapshot(1, "BTCUSDT", payload)
    FEED.listing("BTCUSDT").book.check()


def market_data(payload: bytes) -> None:
    with suppress(RefusedError):
        decode_market(payload)


def short_way(payload: bytes) -> None:
    """Depth updates read in one pass: the same message, or the same words of refusal, as by the long way."""
    outcomes: list[Any] = []
    for reach in (wire.STREAM_BYTES_MAX, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "STREAM_BYTES_MAX", reach)
            try:
                outcomes.append(wire.decode_raw(payload))
            except (VenueProtocolError, RefusedError) as error:
                outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1], payload


def small_bodies(payload: bytes) -> None:
    for read in (bodies.read_listen_key, bodies.read_countdown, bodies.read_key_permissions, bodies.read_futures_account):
        with suppress(VenueProtocolError):
            read(payload)


INFO = {
    "serverTime": 5,
    "rateLimits": [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50}],
    "symbols": [symbol()],
}
PERMISSIONS = {
    "ipRestrict": False,
    "enableReading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableSpotAndMarginTrading": True,
    "enableFutures": True,
}
REPORTS = [
    execution_report(),
    execution_report(**FILL),
    order_update(),
    order_update(**FILL),
    {"e": "ALGO_UPDATE", "E": 5, "T": STAMP_MS, "o": ALGO},
]
BALANCE = {"e": "balanceUpdate", "E": STAMP_MS, "a": "BTC", "d": "-100.00000000", "T": STAMP_MS}
MARKET = [market.SPOT_DEPTH, market.FUTURES_DEPTH, market.SPOT_TICKER, market.COIN_TICKER, market.SPOT_TRADE, market.SNAPSHOT]
COMBINED_SPOT_DEPTH = b'{"stream":"btcusdt@depth","data":' + market.SPOT_DEPTH + b"}"
KEY = {"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8"}
TARGETS: list[tuple[Callable[[bytes], None], list[Any]]] = [
    (user_stream, [*REPORTS, BALANCE, *(frame for frame, _ in FRAMES)]),
    (one_order, [order_body(), order_body(status="CANCELED"), order_body(origClientOrderId=WIRE_ID, transactTime=STAMP_MS)]),
    (many_orders, [[order_body(), order_body(side="SELL")]]),
    (algo_orders, [[ALGO_BODY]]),
    (executions, [[TRADE, {**TRADE, "id": 902}]]),
    (rules, [INFO]),
    (verdicts, [order_body(), {"code": -2010, "msg": "Duplicate order sent."}, {"code": 200, "msg": "done"}]),
    (positions, [[POSITION]]),
    (payments, [[INCOME, {**INCOME, "incomeType": "TRANSFER", "symbol": "", "tranId": "9689322392"}]]),
    (small_bodies, [KEY, {"symbol": "BTCUSDT", "countdownTime": "5"}, PERMISSIONS]),
    (market_data, [json.loads(frame) for frame in MARKET]),
    (short_way, [market.FUTURES_DEPTH, COMBINED_SPOT_DEPTH, market.SPOT_TICKER]),
    (live_feed, [json.loads(frame) for frame in (*MARKET, COMBINED_SPOT_DEPTH)]),
]
# Well-formed values where others belong: what gets past the JSON and must be stopped behind it.
ODD: tuple[Any, ...] = (
    "",
    "NaN",
    "-0.1",
    "1e999",
    "1e-999",
    "0.1234567890123456789",
    "9" * 40,
    "x" * 70,
    "\ud800",
    "BUY",
    "TRADE",
    "FILLED",
    "0",
    "td-7-3",
    -1,
    0,
    2**62,
    2**63,
    2**70,
    1e308,
    0.5,
    True,
    None,
    [],
    {},
    [[]],
    {"e": "executionReport"},
)


def odd(chance: random.Random, clean: bytes) -> bytes:
    """One value somewhere inside replaced, or taken out."""
    frame = json.loads(clean)
    at: Any = frame
    while True:
        keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return clean
        key = chance.choice(keys)
        if not isinstance(at[key], dict | list) or chance.random() < 0.1:
            break
        at = at[key]
    if chance.random() < 0.1:
        del at[key]
    else:
        at[key] = chance.choice(ODD)
    return encoded(frame)


def damaged(chance: random.Random, clean: bytes) -> bytes:
    payload = bytearray(clean)
    for _ in range(chance.randint(1, 3)):
        if not payload:
            break
        at = chance.randrange(len(payload))
        match chance.randrange(6):
            case 0:
                payload[at] = chance.randrange(256)
            case 1:
                del payload[at : at + chance.randint(1, 8)]
            case 2:
                payload[at:at] = chance.choice(PIECES)
            case 3:
                payload[at : at + 1] = chance.choice(PIECES)
            case 4:
                until = min(len(payload), at + chance.randint(1, 40))
                payload[at:at] = payload[at:until]  # a key or a member twice
            case _:
                del payload[at:]
    return bytes(payload)


def fuzz(run: Callable[[bytes], None], clean: list[Any], count: int) -> None:
    seed = int(os.environ.get("TRADINGD_FUZZ_SEED") or random.randrange(2**32))
    print(f"repeat with TRADINGD_FUZZ_SEED={seed}")
    chance = random.Random(seed)
    payloads = [frame if isinstance(frame, bytes) else encoded(frame) for frame in clean]
    for _ in range(count):
        payload = (damaged if chance.random() < 0.5 else odd)(chance, chance.choice(payloads))
        try:
            run(payload)
        except VenueProtocolError:
            continue
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} from {payload!r}") from error


@pytest.mark.parametrize(("run", "clean"), TARGETS, ids=[run.__name__ for run, _ in TARGETS])
def test_clean_frames_pass(run: Callable[[bytes], None], clean: list[Any]) -> None:
    """Or the damage would be done to what is refused anyway."""
    for frame in clean:
        run(frame if isinstance(frame, bytes) else encoded(frame))


@pytest.mark.parametrize(("run", "clean"), TARGETS, ids=[run.__name__ for run, _ in TARGETS])
def test_damage_raises_nothing_but_the_protocol_error(run: Callable[[bytes], None], clean: list[Any]) -> None:
    fuzz(run, clean, MUTATIONS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("run", "clean"), TARGETS, ids=[run.__name__ for run, _ in TARGETS])
def test_a_million_damaged_frames_of_each(run: Callable[[bytes], None], clean: list[Any]) -> None:
    fuzz(run, clean, MUTATIONS_SLOW)
