"""What an answer of any exchange proves: raw status and text first, ccxt's class second."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.ccxt_any.exchange import make_exchange
from adapters.ccxt_any.outcomes import outcome_of, read_signals, reason_of
from adapters.http.request import Answer, Outcome, Signals, Throttle
from core.enums import Reason
from core.venue_opening import Environment

NO, UNKNOWN = Outcome.REJECTED_PROVEN, Outcome.UNKNOWN


def names_of(exchange_name: str, status: int, body: bytes) -> tuple[str, ...]:
    """ccxt's own reading of an answer: the names of the error's class and its ancestors; () for no error."""
    from ccxt.base.errors import BaseError

    async def no_door(*arguments: Any) -> Any:
        raise AssertionError

    exchange = make_exchange(
        exchange_name, no_door, environment=Environment.LIVE, address="", credentials={}, options={}, wall_ms=lambda: 0
    )
    text = body.decode()
    try:
        exchange.handle_errors(status, "", "https://x/y", "POST", {}, text, exchange.parse_json(text), {}, None)
        exchange.handle_http_status_code(status, "", "https://x/y", "POST", text)
    except BaseError as error:
        return tuple(each.__name__ for each in type(error).__mro__)
    return ()


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def binance(code: int, text: str) -> bytes:
    return body({"code": code, "msg": text})


@pytest.mark.parametrize(
    ("exchange", "status", "answer", "outcome"),
    [
        # The table of what ccxt hides.
        ("binance", 503, binance(-1000, "Unknown error, please check your request or try again later."), UNKNOWN),
        ("binance", 500, b"", UNKNOWN),
        ("binance", 502, b"<html>", UNKNOWN),
        ("binance", 520, b"error code: 520", UNKNOWN),
        ("binanceusdm", 503, b"Service Unavailable.", UNKNOWN),  # a definite failure there; a question costs little
        ("binance", 400, binance(-1007, "Timeout waiting for response from backend server."), UNKNOWN),
        ("binance", 504, b"<html>", UNKNOWN),
        ("binance", 400, binance(-1006, "An unexpected response was received from the message bus."), UNKNOWN),
        ("binance", 400, binance(-1008, "Server is currently overloaded with other requests."), UNKNOWN),
        ("binance", 400, binance(-2010, "Duplicate order sent."), UNKNOWN),
        ("binance", 400, binance(-4116, "ClientOrderId is duplicated."), UNKNOWN),
        ("binance", 403, b"<html>", UNKNOWN),
        ("binance", 418, binance(-1003, "banned"), NO),
        ("binance", 429, binance(-1003, "slower"), NO),
        ("binance", 400, binance(-2010, "Account has insufficient balance for requested action."), NO),
        ("binance", 400, binance(-1013, "Filter failure: LOT_SIZE"), NO),
        ("binance", 400, binance(-1021, "Timestamp for this request is outside of the recvWindow."), NO),
        ("binance", 400, binance(-2011, "Unknown order sent."), NO),
        ("binance", 400, binance(-9999, "what nobody has documented"), UNKNOWN),
        ("binance", 408, b"<html>", UNKNOWN),
        ("binance", 409, binance(-2021, "Order cancel-replace partially failed."), UNKNOWN),
        # Exchanges that say everything with a success.
        ("kraken", 200, body({"error": ["EOrder:Insufficient funds"]}), NO),
        ("kraken", 200, body({"error": ["EAPI:Invalid nonce"]}), NO),
        ("kraken", 200, body({"error": ["EOrder:Unknown order"]}), NO),
        ("kraken", 200, body({"error": ["EGeneral:Internal error"]}), UNKNOWN),
        ("kraken", 200, body({"error": ["EService:Unavailable"]}), UNKNOWN),
        ("kraken", 200, body({"error": ["EService:Busy"]}), UNKNOWN),
        ("kraken", 200, body({"error": ["EGeneral:Temporary lockout"]}), UNKNOWN),
        ("kraken", 200, body({"error": ["ENew:Never seen"]}), UNKNOWN),
        ("bybit", 200, body({"retCode": 10001, "retMsg": "params error", "result": {}}), NO),
        ("bybit", 200, body({"retCode": 10016, "retMsg": "Server error.", "result": {}}), UNKNOWN),
        ("bybit", 200, body({"retCode": 110007, "retMsg": "ab not enough for new order", "result": {}}), NO),
        ("bybit", 200, body({"retCode": 110072, "retMsg": "OrderLinkedID is duplicate", "result": {}}), UNKNOWN),
        ("okx", 200, body({"code": "1", "data": [{"sCode": "51008", "sMsg": "Insufficient balance"}], "msg": ""}), NO),
        (
            "okx",
            200,
            body({"code": "1", "data": [{"sCode": "51016", "sMsg": "Client order ID already exists"}], "msg": ""}),
            UNKNOWN,
        ),
        ("okx", 200, body({"code": "50026", "data": [], "msg": "System error. Try again later"}), UNKNOWN),
        ("okx", 200, body({"code": "50004", "data": [], "msg": "Endpoint request timeout"}), UNKNOWN),
        ("okx", 200, body({"code": "50001", "data": [], "msg": "Service temporarily unavailable"}), UNKNOWN),
        ("kucoin", 200, body({"code": "200004", "msg": "Balance insufficient!"}), NO),
        ("kucoin", 500, body({"code": "500000", "msg": "Internal Server Error"}), UNKNOWN),
        ("bitstamp", 400, body({"status": "error", "reason": {"__all__": ["You need 10 USD to open that order."]}}), UNKNOWN),
    ],
)
def test_the_table(exchange: str, status: int, answer: bytes, outcome: Outcome) -> None:
    names = names_of(exchange, status, answer)
    assert names, "ccxt sees no error in it"
    assert outcome_of(status, answer, names) is outcome, names


@pytest.mark.parametrize("status", [100, 302, 500, 501, 503, 599])
def test_only_success_and_refusal_can_prove_a_refusal(status: int) -> None:
    assert outcome_of(status, b"no", ("InsufficientFunds", "ExchangeError")) is UNKNOWN


def test_reasons() -> None:
    assert reason_of(("OrderImmediatelyFillable", "InvalidOrder")) is Reason.POST_ONLY
    assert reason_of(("OrderNotFound", "InvalidOrder")) is Reason.UNKNOWN_ORDER
    assert reason_of(("InvalidOrder", "ExchangeError")) is Reason.BAD_FIELD
    assert reason_of(("InsufficientFunds", "ExchangeError")) is Reason.NONE


def test_a_throttle_is_heeded() -> None:
    assert read_signals(Answer(200, {"retry-after": "5"}, b"")) == Signals()
    assert read_signals(Answer(429, {"retry-after": "5"}, b"")) == Signals(throttle=Throttle(retry_after_ns=5_000_000_000))
    assert read_signals(Answer(429, {"retry-after": "soon"}, b"")) == Signals(throttle=Throttle())
    assert read_signals(Answer(418, {}, b"")) == Signals(throttle=Throttle(is_ban=True))
