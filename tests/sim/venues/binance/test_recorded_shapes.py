"""The simulator's answers and events have the fields of the recorded ones, each of the same kind; what differs is listed here."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from sim.venues.binance.markets import Product
from tests.data_path import market_data
from tests.sim.venues.binance.test_adapter_codec import busy

ARCHIVE = "wire/nautilus_adapters_A.tar.gz"
ROOT = "crates/adapters/binance/test_data/"
KINDS = {str: "text", int: "number", float: "number", bool: "flag", type(None): "null", list: "list", dict: "object"}
# Of the documentation, and not in the recordings, which leave out what their reader had no use for.
REPORT = "+F +I +M +Q +V +W +Y +g"
UPDATE = "+o.gtd +o.pm -o.AP -o.cr"  # the last two are a trailing stop's
EXPECTED = {
    "spot/user_data_json/execution_report_new": REPORT,
    "spot/user_data_json/execution_report_canceled": REPORT,
    "spot/user_data_json/execution_report_trade": REPORT,
    "futures/user_data_json/order_update_new": UPDATE,
    "futures/user_data_json/order_update_trade": UPDATE,
    "futures/user_data_json/order_update_calculated": UPDATE,
    "futures/http_json/account_info_v2": "+positions.breakEvenPrice",
    "futures/http_json/order_response": "+cumQty -time",  # recorded of a query, here the answer to placing
    "futures/http_json/position_risk": (  # recorded of the second version, here the third
        "+adl +askNotional +bidNotional +initialMargin +maintMargin +marginAsset +openOrderInitialMargin +positionInitialMargin "
        "-maxNotionalValue"
    ),
    "futures/market_data_json/trade_stream": "+X",
}


def differences(recorded: Any, ours: Any, path: str = "") -> set[str]:
    recorded, ours = (each[0] if isinstance(each, list) else each for each in (recorded, ours))
    found = {f"-{path}{name}" for name in recorded if name not in ours} | {
        f"+{path}{name}" for name in ours if name not in recorded
    }
    for name in (name for name in recorded if name in ours):
        left, right = recorded[name], ours[name]
        if KINDS[type(left)] != KINDS[type(right)]:
            found.add(f"{path}{name}: {KINDS[type(left)]}, here {KINDS[type(right)]}")
        elif isinstance(left, dict) or (isinstance(left, list) and left and right and isinstance(left[0], dict)):
            found |= differences(left, right, f"{path}{name}.")
    return found


def compare(samples: dict[str, Any]) -> None:
    with tarfile.open(market_data(ARCHIVE)) as archive:
        for name, ours in samples.items():
            file = archive.extractfile(f"{ROOT}{name}.json")
            assert file is not None
            assert differences(json.load(file), ours) == set(EXPECTED.get(name, "").split()), name


def finder(venue: Any, line: int) -> Callable[..., Any]:
    events = [frame.get("event", frame) for frame in venue.frames[line]]

    def find(kind: str, what: str = "") -> Any:
        """The first event of a kind; `what` is its execution type, or a conditional order's status."""
        for event in events:
            fields = event["o"] if isinstance(event.get("o"), dict) else event
            if event.get("e") == kind and what in ("", fields.get("x"), fields.get("X")):
                return event
        raise AssertionError(f"no {kind} {what}")

    return find


def test_spot_has_the_recorded_shapes() -> None:
    venue, user, _ = busy(Product.SPOT)
    event = finder(venue, user)

    def answer(method: str, path: str, **params: Any) -> Any:
        return venue.http(method, f"/api/v3/{path}", params)[1]

    rest, events = "spot/http_json/", "spot/user_data_json/"
    samples = {
        f"{events}execution_report_new": event("executionReport", "NEW"),
        f"{events}execution_report_canceled": event("executionReport", "CANCELED"),
        f"{events}execution_report_trade": event("executionReport", "TRADE"),
        f"{events}account_position": event("outboundAccountPosition"),
        f"{rest}account_response": answer("GET", "account"),
        f"{rest}account_trades_response": answer("GET", "myTrades", symbol="BTCUSDT"),
        f"{rest}all_orders_response": answer("GET", "allOrders", symbol="BTCUSDT"),
        f"{rest}open_orders_response": answer("GET", "openOrders"),
        f"{rest}order_response": answer("GET", "order", symbol="BTCUSDT", origClientOrderId="a1"),
        f"{rest}depth_response": answer("GET", "depth", symbol="BTCUSDT"),
        f"{rest}exchange_info_response": answer("GET", "exchangeInfo"),
        f"{rest}ticker_24hr_response": answer("GET", "ticker/24hr", symbol="BTCUSDT"),
        f"{rest}book_ticker_response": answer("GET", "ticker/bookTicker", symbol="BTCUSDT"),
        f"{rest}trades_response": answer("GET", "trades", symbol="BTCUSDT"),
        f"{rest}new_order_full_response": venue.order("BUY", "0.01", None, newOrderRespType="FULL")[1],
    }
    venue.order("BUY", "0.01", "48000", newClientOrderId="last")
    samples[f"{rest}cancel_order_response"] = answer("DELETE", "order", symbol="BTCUSDT", origClientOrderId="last")
    samples[f"{rest}cancel_open_orders_response"] = answer("DELETE", "openOrders", symbol="BTCUSDT")
    compare(samples)


def test_futures_have_the_recorded_shapes() -> None:
    venue, user, market = busy(Product.USDM)
    event = finder(venue, user)
    venue.order("BUY", "0.010", None)

    def answer(path: str, **params: Any) -> Any:
        return venue.http("GET", f"/fapi/{path}", params)[1]

    def frame(kind: str) -> Any:
        return next(each["data"] for each in venue.frames[market] if each["data"]["e"] == kind)

    rest, events, streams = "futures/http_json/", "futures/user_data_json/", "futures/market_data_json/"
    marked = venue.venue.market_data.mark_event(venue.ts, venue.venue.desk.markets["BTCUSDT"])
    compare(
        {
            f"{events}order_update_new": event("ORDER_TRADE_UPDATE", "NEW"),
            f"{events}order_update_trade": event("ORDER_TRADE_UPDATE", "TRADE"),
            f"{events}order_update_calculated": event("ORDER_TRADE_UPDATE", "CALCULATED"),
            f"{events}account_update": event("ACCOUNT_UPDATE"),
            f"{events}algo_update_new": event("ALGO_UPDATE", "NEW"),
            f"{events}algo_update_canceled": event("ALGO_UPDATE", "CANCELED"),
            f"{events}trade_lite": event("TRADE_LITE"),
            f"{rest}account_info_v2": answer("v2/account"),
            f"{rest}balance": answer("v2/balance"),
            f"{rest}order_response": venue.order("BUY", "0.010", "49000", newClientOrderId="last")[1],
            f"{rest}position_risk": answer("v3/positionRisk"),
            f"{streams}agg_trade_stream": frame("aggTrade"),
            f"{streams}book_ticker_stream": frame("bookTicker"),
            f"{streams}depth_update_stream": frame("depthUpdate"),
            f"{streams}trade_stream": frame("trade"),
            f"{streams}mark_price_stream": marked,
        }
    )


def test_a_difference_is_seen() -> None:
    assert differences({"a": "1", "b": [{"c": 1}]}, {"a": 1, "b": [{"d": 1}]}) == {"a: text, here number", "-b.c", "+b.d"}
    with pytest.raises(AssertionError, match="server_time"):
        compare({"spot/http_json/server_time_response": {"serverTime": "5"}})
