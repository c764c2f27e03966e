"""An order desk, and answers to what it asks."""

from __future__ import annotations

from typing import Any

from adapters.binance.desk import Ask, OrderDesk
from adapters.binance.endpoints import Product
from adapters.binance.unknown_orders import UnknownLimits, UnknownOrders
from adapters.http.outcome import answered
from adapters.http.request import Answer, Sent
from core.units import NS_PER_MS, NS_PER_SECOND
from tests.adapters.binance.account_for_tests import (
    codec,
    encoded,
    events,
    submit,
)

SPOT, USDM = Product.SPOT, Product.USDM
ERROR_NS = 10 * NS_PER_MS
PERP = "BTCUSDT-PERP.BINANCE"
COIN = "BTCUSDT.BINANCE"
BOUND = 5 * NS_PER_SECOND + 10 * NS_PER_SECOND + ERROR_NS + 2 * NS_PER_SECOND


def desk(product: Product = USDM) -> OrderDesk:
    instrument_id = submit(product).instrument_id
    return OrderDesk(codec(product), events(product), UnknownOrders(UnknownLimits()), {instrument_id: "BTCUSDT"})


def sent(ask: Ask, status: int, body: Any, at: int = 0) -> Sent[Any]:
    return answered(
        ask.request, Answer(status, {}, body if isinstance(body, bytes) else encoded(body)), sent_ns=at, answered_ns=at
    )
