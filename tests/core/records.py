"""Instruments, orders and events that the tests of core are built from, each with ordinary values that a test may change."""

from __future__ import annotations

from typing import Any

from core.commands import SubmitOrder
from core.enums import InstrumentClass, LiquiditySide, OrderType, Reason, Side
from core.events import (
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderReplaced,
    OrderRestated,
    Quote,
)
from core.identifiers import make_order_id
from core.instruments import Instrument
from core.market_state import MarketState
from core.order_store import OrderStore
from core.portfolio import Position

EQUITY = Instrument(
    instrument_id="AAPL.XNAS",
    instrument_class=InstrumentClass.EQUITY,
    base_currency="AAPL",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)
PERPETUAL = Instrument(
    instrument_id="BTCUSDT-PERP.BINANCE",
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=3,
    maker_fee_rate=200_000,
    taker_fee_rate=500_000,
)
INVERSE = Instrument(
    instrument_id="BTCUSD-PERP.BINANCE",
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USD",
    settlement_currency="BTC",
    price_scale=1,
    qty_scale=0,
    multiplier=100,
    is_inverse=True,
)
SPOT = Instrument(
    instrument_id="BTCUSDT.BINANCE",
    instrument_class=InstrumentClass.SPOT,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=8,
    qty_scale=8,  # the scales add up to more than MONEY_SCALE: notionals are rounded
)
CRUDE = Instrument(
    instrument_id="CL.NYMEX",
    instrument_class=InstrumentClass.FUTURE,
    base_currency="CL",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
    multiplier=1000,
    price_min=-(10**6),  # it traded at -37.63 on 2020-04-20
)


def order_id(counter: int) -> int:
    return make_order_id(1, counter)


def submit(counter: int = 1, quantity: Any = 10, price: Any = 10_000, **changes: Any) -> SubmitOrder:
    fields: dict[str, Any] = {
        "ts": 0,
        "client_order_id": order_id(counter),
        "strategy_id": "maker",
        "instrument_id": EQUITY.instrument_id,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": quantity,
        "price": price,
    }
    return SubmitOrder(**{**fields, **changes})


def accepted(counter: int = 1, ts: int = 1, price: int = 10_000, leaves_qty: int = 10) -> OrderAccepted:
    return OrderAccepted(ts, ts, order_id(counter), price, leaves_qty)


def filled(
    counter: int = 1,
    qty: int = 4,
    leaves_qty: int = 0,
    execution_id: str = "e1",
    ts: int = 2,
    price: int = 10_000,
    side: Side = Side.BUY,
    instrument_id: str = EQUITY.instrument_id,
    commission: int = 0,
    commission_currency: str = "USD",
) -> OrderFilled:
    return OrderFilled(
        ts,
        ts,
        order_id(counter),
        instrument_id,
        execution_id,
        side,
        price,
        qty,
        leaves_qty,
        LiquiditySide.MAKER,
        commission,
        commission_currency,
    )


def canceled(counter: int = 1, qty: int = 0, ts: int = 3, reason: Reason = Reason.REQUESTED) -> OrderCanceled:
    return OrderCanceled(ts, ts, order_id(counter), qty, reason)


def replaced(counter: int = 1, price: int = 10_000, leaves_qty: int = 5, ts: int = 3) -> OrderReplaced:
    return OrderReplaced(ts, ts, order_id(counter), price, leaves_qty)


def restated(counter: int = 1, leaves_qty: int = 5, ts: int = 3) -> OrderRestated:
    return OrderRestated(ts, ts, order_id(counter), leaves_qty, Reason.SELF_TRADE)


def quote(bid: int = 9_999, ask: int = 10_001, ts: int = 1, instrument_id: str = EQUITY.instrument_id, qty: int = 1_000) -> Quote:
    return Quote(ts, ts, instrument_id, bid, qty, ask, qty)


def store_of(*instruments: Instrument, **options: int) -> tuple[OrderStore, dict[str, MarketState]]:
    states = {i.instrument_id: MarketState(i, Position(i)) for i in instruments or (EQUITY,)}
    return OrderStore(states, **options), states
