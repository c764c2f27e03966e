"""Damaged lines and bodies through every decoder and what is made of them: nothing but the venue-protocol error comes out.

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

from adapters.http.request import Answer, Outcome
from adapters.oanda import outcomes, wire
from adapters.oanda.desk import Desk
from adapters.oanda.log import TransactionLog
from adapters.oanda.market import Market
from adapters.oanda.rules import difference, rules_of
from adapters.oanda.session import OandaSession
from core.errors import VenueProtocolError
from tests.adapters.oanda.world import instruments

MUTATIONS = 100_000
MUTATIONS_SLOW = 1_000_000
PIECES = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"null", b"NaN", b"1e999", b"-", b"0", b"9" * 25, b'""', b"true", b"\xff",
    b"0.000001", b'"-1"', b'"1e5"', b'"0"', b"[[", b'{"id":1}', b"\x00", b"Infinity", b'"9007199254740993"',
)  # fmt: skip
RULES = {key: rules_of(each, key.rpartition(".")[0]) for key, each in instruments().items()}
TIME = "2026-09-21T14:13:20.123456789Z"
CREATE = {
    "id": "7", "accountID": "a", "batchID": "7", "time": TIME, "type": "LIMIT_ORDER", "instrument": "EUR_USD", "units": "100",
    "price": "1.10000", "timeInForce": "GTC", "reason": "CLIENT_ORDER", "clientExtensions": {"id": "t-3-1"},
}  # fmt: skip
FILL = {
    "id": "8", "accountID": "a", "batchID": "8", "time": TIME, "type": "ORDER_FILL", "orderID": "7", "clientOrderID": "t-3-1",
    "instrument": "EUR_USD", "units": "60", "price": "1.10000", "fullVWAP": "1.10000", "commission": "0.0100",
    "pl": "0.0002", "quotePL": "0.0002", "financing": "-0.0001",
    "reason": "LIMIT_ORDER", "tradeOpened": {"tradeID": "8", "units": "40", "price": "1.10000"},
    "tradesClosed": [{"tradeID": "2", "units": "20", "price": "1.10001"}],
}  # fmt: skip
CANCEL = {
    "id": "9", "accountID": "a", "batchID": "9", "time": TIME, "type": "ORDER_CANCEL", "orderID": "7", "clientOrderID": "t-3-1",
    "reason": "TIME_IN_FORCE_EXPIRED",
}  # fmt: skip
FINANCING = {
    "id": "10", "accountID": "a", "batchID": "10", "time": TIME, "type": "DAILY_FINANCING", "financing": "-0.5100",
    "positionFinancings": [{"instrument": "EUR_USD", "financing": "-0.5000"}, {"instrument": "XAU_USD", "financing": "0.0200"}],
}  # fmt: skip
TRANSFER = {
    "id": "11", "accountID": "a", "batchID": "11", "time": TIME, "type": "TRANSFER_FUNDS", "amount": "-3.0000",
    "fundingReason": "ADJUSTMENT",
}  # fmt: skip
PRICE = {
    "type": "PRICE", "time": TIME, "instrument": "EUR_USD", "tradeable": True, "status": "tradeable",
    "bids": [{"price": "1.10000", "liquidity": 1000000}, {"price": "1.09999", "liquidity": "2000000"}],
    "asks": [{"price": "1.10002", "liquidity": 1000000}],
}  # fmt: skip
ACCOUNT = {
    "account": {
        "id": "a", "currency": "USD", "hedgingEnabled": False, "createdTime": TIME,
        "orders": [
            {"id": "7", "type": "LIMIT", "state": "PENDING", "instrument": "EUR_USD", "units": "-100", "price": "1.2",
             "clientExtensions": {"id": "t-3-1"}, "timeInForce": "GTD", "gtdTime": TIME},
            {"id": "9", "type": "STOP_LOSS", "state": "PENDING", "tradeID": "4", "price": "1.0"},
        ],
        "trades": [{"id": "4", "instrument": "EUR_USD", "currentUnits": "-5"}],
        "positions": [{"instrument": "EUR_USD", "long": {"units": "0"}, "short": {"units": "-5"}}],
    },
    "lastTransactionID": "9",
}  # fmt: skip
INSTRUMENTS = {
    "instruments": [
        {"name": "EUR_USD", "type": "CURRENCY", "displayPrecision": 5, "tradeUnitsPrecision": 0, "minimumTradeSize": "1",
         "maximumOrderUnits": "100000000", "marginRate": "0.02"}
    ],
    "lastTransactionID": "9",
}  # fmt: skip


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def session() -> OandaSession:
    made = OandaSession("a", Desk(venue="OANDA", rules=RULES, prefix="t", first_order_id=1 << 40), Market(RULES, None))
    made.log.begin(6)
    return made


def transaction(payload: bytes) -> None:
    found = session()
    found.begin(wire.body_of(wire.AccountAnswer, encoded(ACCOUNT | {"lastTransactionID": "6"})), is_first=True)
    found.transaction_line(1, payload)


def price(payload: bytes) -> None:
    session().price_line(1, payload)


def account(payload: bytes) -> None:
    found, answer = session(), wire.body_of(wire.AccountAnswer, payload)
    found.begin(answer, is_first=True)
    found.desk.venue_orders(answer.account)
    found.desk.positions(answer.account)


def listed(payload: bytes) -> None:
    for body in wire.body_of(wire.InstrumentsAnswer, payload).instruments:
        difference(RULES["EUR_USD.OANDA"], body)


def since(payload: bytes) -> None:
    found = session()
    found.caught_up(1, 6, wire.body_of(wire.TransactionsAnswer, payload))


def pages(payload: bytes) -> None:
    wire.body_of(wire.PagesAnswer, payload)


def deal(payload: bytes) -> None:
    for status in (200, 201, 400, 404, 429, 503):
        answer = Answer(status, {}, payload)
        for judge in (
            lambda answer: outcomes.judge_place(answer, "t-3-1"),
            lambda answer: outcomes.judge_replace(answer, "7"),
            lambda answer: outcomes.judge_cancel(answer, "7"),
        ):
            with suppress(VenueProtocolError):
                verdict = judge(answer)
                assert verdict.outcome is not Outcome.NOT_SENT_PROVEN
                if verdict.value is not None:
                    session().answered(1, verdict.value)


BEAT = b'{"type":"HEARTBEAT","lastTransactionID":"7","time":"x"}'
REJECTED = {**CREATE, "type": "LIMIT_ORDER_REJECT", "rejectReason": "X"}
DECODERS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "transaction": (transaction, (encoded(CREATE), encoded(FILL), encoded(CANCEL), BEAT)),
    "price": (price, (encoded(PRICE), b'{"type":"HEARTBEAT","time":"x"}')),
    "account": (account, (encoded(ACCOUNT),)),
    "instruments": (listed, (encoded(INSTRUMENTS),)),
    "since": (since, (encoded({"transactions": [CREATE, FILL, CANCEL, FINANCING, TRANSFER], "lastTransactionID": "11"}),)),
    "pages": (pages, (b'{"pages":["https://x/idrange?from=1&to=9"],"lastTransactionID":"9","count":9}',)),
    "deal": (
        deal,
        (
            encoded({"orderCreateTransaction": CREATE, "orderFillTransaction": FILL, "lastTransactionID": "8"}),
            encoded({"orderCancelTransaction": CANCEL, "orderCreateTransaction": {**CREATE, "replacesOrderID": "7"}}),
            encoded({"orderRejectTransaction": REJECTED, "errorCode": "X", "errorMessage": "x"}),
        ),
    ),
}  # fmt: skip


def damaged(draw: random.Random, payload: bytes) -> bytes:
    made = bytearray(payload)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(4):
            case 0:
                made[at : at + draw.randrange(1, 6)] = b""
            case 1:
                made[at:at] = draw.choice(PIECES)
            case 2:
                made[at : at + draw.randrange(1, 12)] = draw.choice(PIECES)
            case _:
                start = draw.randrange(len(made) + 1)
                made[at:at] = made[start : start + draw.randrange(1, 40)]
    return bytes(made)


def bombard(name: str, count: int) -> None:
    decoder, originals = DECODERS[name]
    for original in originals:
        decoder(original)
    seed = int(os.environ.get("TRADINGD_FUZZ_SEED", random.randrange(1 << 30)))
    draw = random.Random(seed)
    for number in range(count):
        payload = damaged(draw, draw.choice(originals))
        try:
            decoder(payload)
        except VenueProtocolError:
            continue
        except BaseException as error:
            raise AssertionError(f"TRADINGD_FUZZ_SEED={seed}, frame {number}: {payload!r}: {error!r}") from error


@pytest.mark.parametrize("name", DECODERS)
def test_damaged_frames(name: str) -> None:
    # Each damaged answer is judged eighteen times.
    bombard(name, MUTATIONS // 18 if name == "deal" else MUTATIONS if name == "price" else MUTATIONS // 2)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", DECODERS)
def test_a_million_damaged_frames(name: str) -> None:
    bombard(name, MUTATIONS_SLOW)


def test_the_log_is_bounded() -> None:
    log = TransactionLog()
    found = wire.body_of(wire.Transaction, encoded(CREATE))
    assert log.offer([found]) == []
    assert (log.is_behind, log.known_last) == (True, 7)
