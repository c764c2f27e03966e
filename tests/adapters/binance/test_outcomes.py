"""The outcome rule for Binance, row by row of the fact sheet and of the documented codes."""

from __future__ import annotations

import pytest

from adapters.binance.endpoints import Product
from adapters.binance.outcomes import judge, read_signals, reason_of
from adapters.binance.rest_bodies import read_order
from adapters.http.request import Answer, Outcome, Signals, Throttle
from core.enums import Reason
from core.units import NS_PER_SECOND
from tests.adapters.binance.account_for_tests import encoded, order_body

SPOT, USDM = Product.SPOT, Product.USDM
YES, NO, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED_PROVEN, Outcome.UNKNOWN
HTML = b"<html><head><title>403 Forbidden</title></head></html>"


def error(code: int, text: str) -> bytes:
    return encoded({"code": code, "msg": text})


@pytest.mark.parametrize(
    ("status", "body", "spot", "usdm"),
    [
        (200, encoded(order_body()), YES, YES),
        (201, encoded(order_body()), UNKNOWN, UNKNOWN),
        (200, b"", UNKNOWN, UNKNOWN),
        (200, b"{}", UNKNOWN, UNKNOWN),
        (200, HTML, UNKNOWN, UNKNOWN),
        (200, error(-2011, "Unknown order sent."), NO, NO),  # a success's envelope around an error
        (200, error(-1007, "Timeout waiting for response from backend server."), UNKNOWN, UNKNOWN),
        (200, error(0, "fine"), UNKNOWN, UNKNOWN),
        # 5xx.
        (500, b"", UNKNOWN, UNKNOWN),
        (502, HTML, UNKNOWN, UNKNOWN),
        (504, HTML, UNKNOWN, UNKNOWN),
        (520, b"error code: 520", UNKNOWN, UNKNOWN),
        (503, error(-1000, "Unknown error, please check your request or try again later."), UNKNOWN, UNKNOWN),
        (503, b"Unknown error, please check your request or try again later.", UNKNOWN, UNKNOWN),
        (503, b"Service Unavailable.", UNKNOWN, NO),
        (503, error(-1000, "Service Unavailable."), UNKNOWN, NO),
        (503, b"Service Unavailable", UNKNOWN, UNKNOWN),  # not the documented words
        (503, b"<html>Service Unavailable.</html>", UNKNOWN, UNKNOWN),
        (503, error(-1001, "Internal error; unable to process your request. Please try again."), UNKNOWN, UNKNOWN),
        (503, error(-1008, "Request throttled by system-level protection."), UNKNOWN, UNKNOWN),
        # Unknown by their code.
        (400, error(-1000, "An unknown error occurred while processing the request."), UNKNOWN, UNKNOWN),
        (
            400,
            error(-1006, "An unexpected response was received from the message bus. Execution status unknown."),
            UNKNOWN,
            UNKNOWN,
        ),
        (408, error(-1007, "Timeout waiting for response from backend server. Send status unknown."), UNKNOWN, UNKNOWN),
        (400, error(-1007, "Timeout waiting for response from backend server. Send status unknown."), UNKNOWN, UNKNOWN),
        (400, error(-1008, "Server is currently overloaded with other requests."), UNKNOWN, UNKNOWN),
        (408, HTML, UNKNOWN, UNKNOWN),
        # The id is in use: by what we sent before.
        (400, error(-2010, "Duplicate order sent."), UNKNOWN, UNKNOWN),
        (400, error(-4116, "ClientOrderId is duplicated."), UNKNOWN, UNKNOWN),
        # Refused.
        (400, error(-2010, "Account has insufficient balance for requested action."), NO, NO),
        (400, error(-2010, "Order would immediately match and take."), NO, NO),
        (400, error(-1013, "Filter failure: LOT_SIZE"), NO, NO),
        (400, error(-1021, "Timestamp for this request is outside of the recvWindow."), NO, NO),
        (400, error(-1022, "Signature for this request is not valid."), NO, NO),
        (401, error(-2015, "Invalid API-key, IP, or permissions for action."), NO, NO),
        (400, error(-2011, "Unknown order sent."), NO, NO),
        (400, error(-2013, "Order does not exist."), NO, NO),
        (400, error(-2019, "Margin is insufficient."), NO, NO),
        (400, error(-2022, "ReduceOnly Order is rejected."), NO, NO),
        (
            400,
            error(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."),
            NO,
            NO,
        ),
        (400, error(-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."), NO, NO),
        # The firewall, the throttle, the ban: not executed.
        (403, HTML, NO, NO),
        (403, b"", NO, NO),
        (418, error(-1003, "Way too many requests; IP banned until 1700000000000."), NO, NO),
        (429, error(-1003, "Too many requests."), NO, NO),
        (429, b"", NO, NO),
        (429, error(-1015, "Too many new orders; current limit is 50 orders per TEN_SECONDS."), NO, NO),
        # What nobody documented.
        (400, error(-9999, "Something new."), UNKNOWN, UNKNOWN),
        (400, HTML, UNKNOWN, UNKNOWN),
        (404, HTML, UNKNOWN, UNKNOWN),
        (400, b'{"code":-2010,"msg":"x","code":-2010}', UNKNOWN, UNKNOWN),
        (400, b'{"code":"-2010","msg":"x"}', UNKNOWN, UNKNOWN),
        (302, b"", UNKNOWN, UNKNOWN),
        (409, error(-2021, "Order cancel-replace partially failed."), UNKNOWN, UNKNOWN),
        (400, error(-2012, "Batch cancel failure."), UNKNOWN, UNKNOWN),
    ],
)
def test_the_table(status: int, body: bytes, spot: Outcome, usdm: Outcome) -> None:
    verdicts = [judge(product, read_order, Answer(status, {}, body)) for product in (SPOT, USDM)]
    assert [verdict.outcome for verdict in verdicts] == [spot, usdm]
    assert all((verdict.value is not None) == (verdict.outcome is YES) for verdict in verdicts)


def test_no_code_and_status_together_is_taken_for_an_order_that_was_placed() -> None:
    """Every code there could be, under every status: never ACCEPTED, and proven only where it is documented so."""
    for status in range(200, 600):
        for code in (-1, -1000, -1007, -1021, -2010, -2013, -4116, -4999, -9999, 0, 200):
            for product in Product:
                verdict = judge(product, read_order, Answer(status, {}, error(code, "?")))
                assert verdict.outcome in (NO, UNKNOWN)
                if verdict.outcome is NO:
                    assert status in (403, 418, 429) or (code in (-1021, -2010, -2013) and (status == 200 or 400 <= status < 500))


@pytest.mark.parametrize(
    ("status", "headers", "body", "signals"),
    [
        (200, {}, b"", Signals()),
        (
            200,
            {"x-mbx-used-weight-1m": "17", "x-mbx-order-count-10s": "3", "x-mbx-order-count-1d": "44", "x-mbx-used-weight": "17"},
            b"",
            Signals((("orders_10s", 3), ("orders_1d", 44), ("weight", 17))),
        ),
        (200, {"x-mbx-used-weight-1m": "many", "x-mbx-order-count-1m": "-1"}, b"", Signals()),
        (200, {"x-mbx-used-weight-1m": "9" * 30}, b"", Signals()),
        (429, {"retry-after": "7"}, b"", Signals((), Throttle(retry_after_ns=7 * NS_PER_SECOND))),
        (429, {}, b"", Signals((), Throttle())),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", Signals((), Throttle())),
        (429, {}, error(-1015, "Too many new orders."), Signals((), Throttle(orders_only=True))),
        (418, {"retry-after": "120"}, error(-1015, ""), Signals((), Throttle(is_ban=True, retry_after_ns=120 * NS_PER_SECOND))),
    ],
)
def test_what_an_answer_says_of_budgets(status: int, headers: dict[str, str], body: bytes, signals: Signals) -> None:
    assert read_signals(Answer(status, headers, body)) == signals


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (-2010, "Order would immediately match and take.", Reason.POST_ONLY),
        (-1013, "Filter failure: PRICE_FILTER", Reason.BAD_TICK),
        (-1013, "Filter failure: MIN_NOTIONAL", Reason.BAD_QTY),
        (-2011, "Unknown order sent.", Reason.UNKNOWN_ORDER),
        (-2022, "ReduceOnly Order is rejected.", Reason.REDUCE_ONLY),
        (-5022, "", Reason.POST_ONLY),
        (-2010, "Account has insufficient balance for requested action.", Reason.NONE),
    ],
)
def test_refusals_in_our_words(code: int, text: str, reason: Reason) -> None:
    assert reason_of(code, text) is reason
