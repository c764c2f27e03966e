"""What a running session shows over its control socket, as plain data. Prices, quantities and money are decimal text."""

from __future__ import annotations

from typing import Any

from core.events import OrderFilled
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.instruments import MONEY_SCALE
from core.orders import Order
from core.trader import Trader
from core.units import format_fixed
from daemon.timestamps import iso


def money(value: int) -> str:
    return format_fixed(value, MONEY_SCALE)


def order_id_text(client_order_id: int) -> str:
    return f"{client_order_id >> COUNTER_BITS}-{client_order_id & COUNTER_MAX}"


def order_view(trader: Trader, order: Order) -> dict[str, Any]:
    instrument = trader.instruments[order.instrument_id]

    def price(value: int | None) -> str | None:
        return None if value is None else instrument.format_price(value)

    return {
        "order_id": order_id_text(order.client_order_id),
        "client_order_id": order.client_order_id,
        "strategy_id": order.strategy_id,
        "instrument_id": order.instrument_id,
        "side": order.side.name,
        "order_type": order.order_type.name,
        "quantity": instrument.format_qty(order.quantity),
        "filled_qty": instrument.format_qty(order.filled_qty),
        "leaves_qty": instrument.format_qty(order.leaves_qty),
        "price": price(order.price),
        "trigger_price": price(order.trigger_price),
        "status": order.status.name,
        "created": iso(order.ts_created),
        "updated": iso(order.ts_updated),
    }


def fill_view(trader: Trader, fill: OrderFilled) -> dict[str, Any]:
    instrument = trader.instruments[fill.instrument_id]
    order = trader.orders.get(fill.client_order_id)
    return {
        "time": iso(fill.ts_init),
        "order_id": order_id_text(fill.client_order_id),
        "strategy_id": None if order is None else order.strategy_id,
        "instrument_id": fill.instrument_id,
        "execution_id": fill.execution_id,
        "side": fill.side.name,
        "quantity": instrument.format_qty(fill.qty),
        "price": instrument.format_price(fill.price),
        "liquidity_side": fill.liquidity_side.name,
        "commission": money(fill.commission),
        "commission_currency": fill.commission_currency,
    }


def positions_view(trader: Trader) -> dict[str, Any]:
    """The account's positions, those of each strategy, and cash."""
    lines = [("", key, position) for key, position in trader.portfolio.by_instrument.items()]
    lines += [(*key, position) for key, position in sorted(trader.portfolio.by_strategy.items())]
    positions = []
    for strategy_id, key, position in lines:
        mark = trader.states[key].mark()
        average = position.average_price()
        positions.append(
            {
                "strategy_id": strategy_id or None,
                "instrument_id": key,
                "quantity": position.instrument.format_qty(position.qty),
                "average_price": None if average is None else round(average, position.instrument.price_scale + 2),
                "realized_pnl": money(position.realized_pnl),
                "unrealized_pnl": None if mark is None else money(position.unrealized_pnl(*mark)),
                "fees": money(position.fees),
                "currency": position.instrument.settlement_currency,
            }
        )
    return {"positions": positions, "cash": {key: money(amount) for key, amount in sorted(trader.portfolio.cash.items())}}


def profit_view(trader: Trader) -> dict[str, dict[str, str]]:
    """By currency, since the first start: realised, unrealised at the middle where there is a market, fees, and the sum."""
    totals: dict[str, list[int]] = {}
    for key, position in trader.portfolio.by_instrument.items():
        mark = trader.states[key].mark()
        line = totals.setdefault(position.instrument.settlement_currency, [0, 0, 0])
        line[0] += position.realized_pnl
        line[1] += position.unrealized_pnl(*mark) if mark is not None else 0
        line[2] += position.fees
    return {
        currency: {
            "realized_pnl": money(realized),
            "unrealized_pnl": money(unrealized),
            "fees": money(fees),
            "net_pnl": money(realized + unrealized - fees),
            "equity": money(trader.equity(currency)),
        }
        for currency, (realized, unrealized, fees) in totals.items()
    }


def instruments_view(trader: Trader) -> dict[str, Any]:
    shown = {}
    for key, state in trader.states.items():
        instrument, mark = state.instrument, state.mark()
        shown[key] = {
            "bid": None if mark is None else instrument.format_price(mark[0]),
            "ask": None if mark is None else instrument.format_price(mark[1]),
            "position": instrument.format_qty(state.position.qty),
            "open_orders": state.open_orders,
        }
    return shown
