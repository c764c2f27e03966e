"""alpaca-py as the codec of order requests: its models check what belongs together and name the members.

The only file that imports it, and only opening.py brings this file in when a connection is opened: it brings pandas along.

Its models make floats of prices and quantities. So each number goes through the model for its checks, and what leaves is our own
text in the member that the model gave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from alpaca.trading.enums import OrderSide, PositionIntent, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
)
from pydantic import ValidationError

from core.enums import OrderType
from core.errors import RefusedError

NUMBERS = ("qty", "limit_price", "stop_price")

_MODELS: dict[OrderType, Any] = {
    OrderType.LIMIT: LimitOrderRequest,
    OrderType.MARKET: MarketOrderRequest,
    OrderType.STOP: StopOrderRequest,
    OrderType.STOP_LIMIT: StopLimitOrderRequest,
}


def order_body(
    order_type: OrderType,
    *,
    symbol: str,
    side: str,
    time_in_force: str,
    client_order_id: str,
    numbers: Mapping[str, str],
    intent: str | None,
) -> dict[str, Any]:
    """Members of POST /v2/orders. Raises RefusedError for what the venue's own library would not send."""
    try:
        model = _MODELS[order_type](
            symbol=symbol,
            side=OrderSide(side),
            time_in_force=TimeInForce(time_in_force),
            client_order_id=client_order_id,
            position_intent=None if intent is None else PositionIntent(intent),
            **{name: float(text) for name, text in numbers.items()},
        )
    except ValidationError as error:
        raise RefusedError(f"alpaca-py: {error.errors()[0]['msg']}") from None
    return _with_texts(model.to_request_fields(), numbers)


def replace_body(client_order_id: str, numbers: Mapping[str, str]) -> dict[str, Any]:
    """Members of PATCH /v2/orders/ID. Raises RefusedError."""
    plain: dict[str, Any] = {name: float(text) for name, text in numbers.items() if name != "qty"}
    if "qty" in numbers:
        plain["qty"] = int(numbers["qty"])
    try:
        model = ReplaceOrderRequest(client_order_id=client_order_id, **plain)
    except ValidationError as error:
        raise RefusedError(f"alpaca-py: {error.errors()[0]['msg']}") from None
    return _with_texts(model.to_request_fields(), numbers)


def _with_texts(body: dict[str, Any], numbers: Mapping[str, str]) -> dict[str, Any]:
    missing = set(numbers) - body.keys()
    if missing:
        raise RefusedError(f"alpaca-py left out {', '.join(sorted(missing))}")
    return body | dict(numbers)


def encode(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)
