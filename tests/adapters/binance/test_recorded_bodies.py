"""Recorded answers and user events of the venue: each decodes, or is refused with a reason that is written down here."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.binance import rest_bodies as bodies
from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import meters_of, symbol_rules
from adapters.binance.user_stream import decode_user
from adapters.binance.wire import Skipped
from core.errors import VenueProtocolError
from tests.data_path import market_data

ARCHIVE = "wire/binance_net_unittests.tar.gz"
ROOT = "Binance.Net.UnitTests/"


def recorded(prefix: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(market_data(ARCHIVE)) as archive:
        for member in archive.getmembers():
            if member.name.startswith(ROOT + prefix) and member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                yield member.name.removeprefix(ROOT), file.read()


# The body of each recorded endpoint that this adapter uses, with what it must come out as.
READERS: dict[str, Callable[[bytes], Any]] = {
    "Spot/Trading/PlaceOrder": bodies.read_order,
    "Spot/Trading/GetOrder": bodies.read_order,
    "Spot/Trading/CancelOrder": bodies.read_order,
    "Spot/Trading/GetOpenOrders": bodies.read_orders,
    "Spot/Trading/GetOrders": bodies.read_orders,
    "Spot/Trading/CancelAllOrders": bodies.read_orders,
    "Spot/Trading/GetUserTrades": bodies.read_trades,
    "Spot/Account/GetAccountInfo": bodies.read_spot_account,
    "Spot/Account/GetAPIKeyPermissions": bodies.read_key_permissions,
    "Spot/ExchangeData/GetServerTime": bodies.read_server_time,
    "UsdFutures/Trading/PlaceOrder": bodies.read_order,
    "UsdFutures/Trading/EditOrder": bodies.read_order,
    "UsdFutures/Trading/GetOrder": bodies.read_order,
    "UsdFutures/Trading/CancelOrder": bodies.read_order,
    "UsdFutures/Trading/GetOpenOrders": bodies.read_orders,
    "UsdFutures/Trading/GetOrders": bodies.read_orders,
    "UsdFutures/Trading/GetForcedOrders": bodies.read_orders,
    "UsdFutures/Trading/CancelAllOrders": bodies.read_done,
    "UsdFutures/Trading/CancelAllConditionalOrders": bodies.read_done,
    "UsdFutures/Trading/CancelAllOrdersAfterTimeout": bodies.read_countdown,
    "UsdFutures/Trading/PlaceConditionalOrder": bodies.read_algo_order,
    "UsdFutures/Trading/GetConditionalOrder": bodies.read_algo_order,
    "UsdFutures/Trading/GetOpenConditionalOrders": bodies.read_algo_orders,
    "UsdFutures/Trading/CancelConditionalOrder": bodies.read_algo_canceled,
    "UsdFutures/Trading/GetUserTrades": bodies.read_trades,
    "UsdFutures/Trading/GetPositions": bodies.read_positions,
    "UsdFutures/Account/GetAccountInfoV3": bodies.read_futures_account,
    "UsdFutures/Account/GetIncomeHistory": bodies.read_income,
    "UsdFutures/Account/StartUserStream": bodies.read_listen_key,
    "UsdFutures/Account/KeepAliveUserStream": bodies.read_done,
    "UsdFutures/Account/StopUserStream": bodies.read_done,
    "UsdFutures/ExchangeData/GetServerTime": bodies.read_server_time,
    "UsdFutures/ExchangeData/GetExchangeInfo": bodies.read_exchange_info,
}
# What is refused, and why.
REFUSED: dict[str, tuple[Callable[[bytes], Any], str]] = {
    # The recording has one order answered and one refused in one list: no batches are sent, and half an answer is none.
    "UsdFutures/Trading/PlaceMultipleOrders": (bodies.read_orders, "missing required field `symbol`"),
    "UsdFutures/Trading/CancelMultipleOrders": (bodies.read_orders, "missing required field `symbol`"),
    # A rate limit without any field was left in it by whoever recorded it.
    "Spot/ExchangeData/GetExchangeInfo": (bodies.read_exchange_info, "missing required field `rateLimitType`"),
}


def test_recorded_answers_decode_or_are_refused_by_name() -> None:
    seen, refused = set(), {}
    for name, text in recorded("Endpoints/"):
        key = name.removeprefix("Endpoints/").removesuffix(".txt")
        # Method, path, whether it is signed, and then the body as it came.
        body = text.replace(b"\r\n", b"\n").split(b"\n", 3)[-1]
        if key in READERS:
            READERS[key](body)
            seen.add(key)
        elif key in REFUSED:
            read, reason = REFUSED[key]
            with pytest.raises(VenueProtocolError, match=re.escape(reason)):
                read(body)
            refused[key] = reason
    assert seen == READERS.keys()
    assert refused.keys() == REFUSED.keys()


EVENTS = {
    "Spot/Account/AccountPosition": "AccountPosition",
    "Spot/Account/Balance": "BalanceUpdate",
    "Spot/Account/Liability": "Skipped: event USER_LIABILITY_CHANGE",
    "Spot/Account/MarginCall": "Skipped: event MARGIN_LEVEL_STATUS_CHANGE",
    "Spot/Account/OcoOrder": "Skipped: event listStatus",
    "Spot/Account/Order": "ExecutionReport",
    "UsdFutures/AccountUpdate": "AccountUpdate",
    "UsdFutures/AlgoOrderUpdate": "AlgoUpdate",
    "UsdFutures/ConditionalTrigger": "TriggerRejected",
    "UsdFutures/GridUpdate": "Skipped: event GRID_UPDATE",
    "UsdFutures/Leverage": "Skipped: event ACCOUNT_CONFIG_UPDATE",
    "UsdFutures/MarginUpdate": "MarginCall",
    "UsdFutures/MultiAssetMode": "Skipped: event ACCOUNT_CONFIG_UPDATE",
    "UsdFutures/OrderUpdate": "OrderTradeUpdate",
    "UsdFutures/StrategyUpdate": "Skipped: event STRATEGY_UPDATE",
    "UsdFutures/TradeUpdate": "Skipped: event TRADE_LITE",
}


def test_recorded_user_events() -> None:
    found = {}
    for name, text in recorded("Subscriptions/"):
        key = name.removeprefix("Subscriptions/").removesuffix(".txt")
        if key not in EVENTS:
            continue
        frame = re.split(rb"^=\s*$", text, maxsplit=1, flags=re.MULTILINE)[1]
        message = decode_user(frame)
        kind = type(message).__name__
        found[key] = f"{kind}: {message.reason}" if isinstance(message, Skipped) else kind
        for line in text.splitlines():
            if line.startswith(b"< "):
                assert type(decode_user(line[2:].replace(b"|1|", b"1"))).__name__ == "Reply"
    assert found == EVENTS


def test_the_recorded_rules_of_a_perpetual() -> None:
    ((_, text),) = [(name, text) for name, text in recorded("Endpoints/UsdFutures/ExchangeData/GetExchangeInfo")]
    info = bodies.read_exchange_info(text.replace(b"\r\n", b"\n").split(b"\n", 3)[-1])
    rules = symbol_rules(Product.USDM, info.symbols[0], "BINANCE")
    instrument = rules.instrument
    assert (instrument.instrument_id, instrument.price_scale, instrument.tick) == ("BLZUSDT-PERP.BINANCE", 4, 1)
    assert (instrument.qty_scale, instrument.lot, instrument.qty_min, instrument.qty_max) == (0, 1, 1, 10_000_000)
    assert (instrument.price_min, instrument.price_max) == (1, 3_000_000)
    assert (rules.market_qty_max, rules.notional_min) == (590_119, 500_000_000)
    meters = meters_of(Product.USDM, info.rate_limits, share_percent=50, cancel_reserve_percent=10)
    assert {name: meter.limit for name, meter in meters.items()} == {
        "weight": 1200,
        "raw": 30_500,
        "orders_10s": 150,
        "orders_1m": 600,
    }
