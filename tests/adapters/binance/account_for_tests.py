"""An account's instruments, codec and the bodies a venue would answer with, for the tests of the Binance adapter."""

from __future__ import annotations

import json
from typing import Any

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import Product
from adapters.binance.order_events import OrderEvents
from core.commands import SubmitOrder
from core.enums import InstrumentClass, OrderType, Side, TimeInForce
from core.identifiers import format_order_id, make_order_id
from core.instruments import Instrument
from tests.adapters.binance.plain_signer import PlainSigner

PREFIX = "td"
STAMP_MS = 1_700_000_000_000
STAMP = STAMP_MS * 1_000_000
NOW = STAMP + 5_000_000
ORDER_ID = make_order_id(7, 3)
WIRE_ID = format_order_id(ORDER_ID, PREFIX)

SPOT = Instrument(
    instrument_id="BTCUSDT.BINANCE",
    instrument_class=InstrumentClass.SPOT,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=2,
    qty_scale=5,
)
PERPETUAL = Instrument(
    instrument_id="BTCUSDT-PERP.BINANCE",
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=3,
)
INSTRUMENTS = {Product.SPOT: {"BTCUSDT": SPOT}, Product.USDM: {"BTCUSDT": PERPETUAL}}


def codec(product: Product, origin: str = "http://venue.test") -> BinanceCodec:
    return BinanceCodec(product, PlainSigner(origin), INSTRUMENTS[product], PREFIX)


def events(product: Product) -> OrderEvents:
    return OrderEvents(INSTRUMENTS[product], PREFIX)


def submit(product: Product, **changes: Any) -> SubmitOrder:
    instrument = INSTRUMENTS[product]["BTCUSDT"]
    fields: dict[str, Any] = {
        "ts": NOW,
        "client_order_id": ORDER_ID,
        "strategy_id": "s",
        "instrument_id": instrument.instrument_id,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": instrument.parse_qty("0.25"),
        "price": instrument.parse_price("61837.5"),
        "time_in_force": TimeInForce.GTC,
    }
    return SubmitOrder(**{**fields, **changes})


def order_body(**changes: Any) -> dict[str, Any]:
    body = {
        "symbol": "BTCUSDT",
        "orderId": 77,
        "clientOrderId": WIRE_ID,
        "price": "61837.50",
        "origQty": "0.250",
        "executedQty": "0.000",
        "status": "NEW",
        "type": "LIMIT",
        "side": "BUY",
        "updateTime": STAMP_MS,
    }
    return {**body, **changes}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def execution_report(**changes: Any) -> dict[str, Any]:
    report = {
        "e": "executionReport",
        "E": STAMP_MS + 1,
        "s": "BTCUSDT",
        "c": WIRE_ID,
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.25000",
        "p": "61837.50",
        "P": "0.00",
        "F": "0.00",
        "g": -1,
        "C": "",
        "x": "NEW",
        "X": "NEW",
        "r": "NONE",
        "i": 77,
        "l": "0.00000",
        "z": "0.00000",
        "L": "0.00",
        "n": "0",
        "N": None,
        "T": STAMP_MS,
        "t": -1,
        "I": 8641984,
        "w": True,
        "m": False,
        "M": False,
        "O": STAMP_MS,
        "Z": "0.00",
        "Y": "0.00",
        "Q": "0.00",
        "W": STAMP_MS,
        "V": "NONE",
    }
    return {**report, **changes}


def order_update(**changes: Any) -> dict[str, Any]:
    fields = {
        "s": "BTCUSDT",
        "c": WIRE_ID,
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.250",
        "p": "61837.5",
        "ap": "0",
        "sp": "0",
        "x": "NEW",
        "X": "NEW",
        "i": 77,
        "l": "0",
        "z": "0",
        "L": "0",
        "N": "USDT",
        "n": "0",
        "T": STAMP_MS,
        "t": 0,
        "b": "0",
        "a": "9.91",
        "m": False,
        "R": False,
        "wt": "CONTRACT_PRICE",
        "ot": "LIMIT",
        "ps": "BOTH",
        "cp": False,
        "pP": False,
        "rp": "0",
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": STAMP_MS + 1, "T": STAMP_MS, "o": {**fields, **changes}}


FILL = {
    "x": "TRADE",
    "X": "PARTIALLY_FILLED",
    "l": "0.1",
    "z": "0.1",
    "L": "61837.5",
    "n": "0.01234567",
    "N": "BNB",
    "t": 901,
    "m": True,
}
