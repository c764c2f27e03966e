"""User-data frames: each kind and envelope, each refusal by name."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.binance.user_stream import (
    AccountPosition,
    AccountUpdate,
    AccountUpdateFields,
    BalanceRow,
    BalanceUpdate,
    FuturesBalanceRow,
    MarginCall,
    MarginCallRow,
    PositionRow,
    Reply,
    StreamEnded,
    TriggerRejected,
    TriggerRejectedFields,
    UserMessage,
    decode_user,
)
from adapters.binance.wire import Skipped
from core.errors import VenueProtocolError
from tests.adapters.binance.account_for_tests import encoded, execution_report, order_update

FRAMES: list[tuple[dict[str, Any], UserMessage]] = [
    (
        {"e": "outboundAccountPosition", "E": 5, "u": 4, "B": [{"a": "ETH", "f": "10000.0", "l": "0.0"}]},
        AccountPosition(5, 4, [BalanceRow("ETH", "10000.0", "0.0")]),
    ),
    ({"e": "balanceUpdate", "E": 5, "a": "BTC", "d": "-100.0", "T": 10**12}, BalanceUpdate(5, "BTC", "-100.0", 10**12)),
    (
        {
            "e": "ACCOUNT_UPDATE",
            "E": 5,
            "T": 4,
            "a": {
                "m": "FUNDING_FEE",
                "B": [{"a": "USDT", "wb": "1.5", "cw": "1.0", "bc": "-0.1"}],
                "P": [{"s": "BTCUSDT", "pa": "-10", "ep": "1", "cr": "0", "ps": "BOTH"}],
            },
        },
        AccountUpdate(
            5,
            4,
            AccountUpdateFields(
                "FUNDING_FEE", [FuturesBalanceRow("USDT", "1.5", "1.0", "-0.1")], [PositionRow("BTCUSDT", "-10", "1", "BOTH")]
            ),
        ),
    ),
    (
        {"e": "MARGIN_CALL", "E": 5, "cw": "3", "p": [{"s": "ETHUSDT", "ps": "BOTH", "pa": "1.3", "mt": "CROSSED", "mm": "1.6"}]},
        MarginCall(5, [MarginCallRow("ETHUSDT", "BOTH", "1.3", "1.6")]),
    ),
    (
        {"e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "E": 5, "T": 4, "or": {"s": "ETHUSDT", "i": 7, "r": "FOK"}},
        TriggerRejected(5, 4, TriggerRejectedFields("ETHUSDT", 7, "FOK")),
    ),
    ({"e": "listenKeyExpired", "E": "1736996475556", "listenKey": "WsCMN0a4"}, StreamEnded("listenKeyExpired")),
    ({"e": "eventStreamTerminated", "E": 5}, StreamEnded("eventStreamTerminated")),
    ({"e": "serverShutdown", "E": 5}, StreamEnded("serverShutdown")),
    ({"e": "TRADE_LITE", "E": 5, "s": "BTCUSDT"}, Skipped("event TRADE_LITE")),
    ({"e": "externalLockUpdate", "E": 5}, Skipped("event externalLockUpdate")),
]


@pytest.mark.parametrize(("event", "message"), FRAMES)
def test_events_bare_and_in_their_envelopes(event: dict[str, Any], message: UserMessage) -> None:
    wrapped = [event, {"subscriptionId": 0, "event": event}, {"event": event}, {"stream": "pqia91ma", "data": event}]
    assert [decode_user(encoded(frame)) for frame in wrapped] == [message] * 4


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        ({"id": "u1", "status": 200, "result": {"subscriptionId": 3}, "rateLimits": []}, Reply("u1", 200, 3)),
        ({"id": 7, "result": None}, Reply("7", 200)),
        (
            {"id": "u1", "status": 400, "error": {"code": -2015, "msg": "Invalid API-key"}},
            Reply("u1", 400, None, -2015, "Invalid API-key"),
        ),
        ({"id": None, "status": 400, "error": {"code": -1000, "msg": "?"}}, Reply("None", 400, None, -1000, "?")),
    ],
)
def test_replies(frame: dict[str, Any], reply: Reply) -> None:
    assert decode_user(encoded(frame)) == reply


def without(report: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key != name}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "Expecting value"),
        (b"[]", "Expected `object`"),
        (b"{}", "neither an event nor a reply"),
        (b'{"id":1}', "neither yes nor no"),
        (b'{"id":1,"status":500,"result":null}', "neither yes nor no"),
        (b'{"e":"newThing","E":1}', "unknown event 'newThing'"),
        (b'{"event":{"x":1}}', "missing required field `e`"),
        (b'{"event":[]}', "Expected `object`"),
        (encoded(without(execution_report(), "i")), "missing required field `i`"),
        (encoded(execution_report(i=-5)), ">= 0"),
        (encoded(execution_report(i=2**63)), "Integer|out of range|<="),
        (encoded(execution_report(i="77")), "Expected `int`"),
        (encoded(execution_report(p=61837.5)), "Expected `str`"),
        (encoded(execution_report(w="true")), "Expected `bool`"),
        (encoded(execution_report(c="x" * 65)), "length <= 64"),
        (encoded(execution_report()).replace(b'"i": 77', b'"i": 77, "i": 78'), "duplicate keys"),
        (encoded(order_update()).replace(b'"t": 0', b'"t": NaN'), "NaN is not a number"),
        (encoded({"e": "executionReport", "E": [[]] * 1}), "missing required|Expected"),
        (b'{"e":"serverShutdown","deep":' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper"),
    ],
)
def test_what_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(VenueProtocolError, match=why):
        decode_user(payload)
