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
        "client_ref": trader.clients.name_of(order.client_order_id),
        "strategy_id": order.strategy_id,
        "instrument_id": order.instrument_id,
        "side": order.side.name,
        "order_type": order.order_type.name,
        "time_in_force": order.time_in_force.name,
        "post_only": order.post_only,
        "reduce_only": order.reduce_only,
        "quantity": instrument.format_qty(order.quantity),
        "filled_qty": instrument.format_qty(order.filled_qty),
        "leaves_qty": instrument.format_qty(order.leaves_qty),
        "price": price(order.price),
        "trigger_price": price(order.trigger_price),
        "status": order.status.name,
        "created": iso(order.ts_created),
        "updated": iso(order.ts_updated),
    }


def fill_view(trader: Trader, fill: OrderFilled, number: int) -> dict[str, Any]:
    """`number` counts the fills of this run from 1: who has seen them all sees where one is missing."""
    instrument = trader.instruments[fill.instrument_id]
    order = trader.orders.get(fill.client_order_id)
    return {
        "number": number,
        "time": iso(fill.ts_init),
        "order_id": order_id_text(fill.client_order_id),
        "client_ref": trader.clients.name_of(fill.client_order_id),
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


def market_view(trader: Trader, instrument_id: str, levels: int) -> dict[str, Any]:
    """The market as the Trader knows it. `mid` has one decimal more than prices; null: that side is empty, or not known."""
    state = trader.states[instrument_id]
    instrument, quote, book = state.instrument, state.quote, state.book
    bid = quote.bid_price if quote is not None and quote.bid_qty else None
    ask = quote.ask_price if quote is not None and quote.ask_qty else None

    def price(value: int | None) -> str | None:
        return None if value is None else instrument.format_price(value)

    def side(pairs: tuple[tuple[int, int], ...]) -> list[list[str]]:
        return [[instrument.format_price(at), instrument.format_qty(qty)] for at, qty in pairs[:levels]]

    return {
        "instrument_id": instrument_id,
        "time": None if quote is None else iso(quote.ts_init),
        "venue_time": None if quote is None else iso(quote.ts_event),
        "bid": price(bid),
        "bid_qty": instrument.format_qty(quote.bid_qty) if quote is not None and bid is not None else None,
        "ask": price(ask),
        "ask_qty": instrument.format_qty(quote.ask_qty) if quote is not None and ask is not None else None,
        "mid": format_fixed((bid + ask) * 5, instrument.price_scale + 1) if bid is not None and ask is not None else None,
        "spread": price(ask - bid) if bid is not None and ask is not None else None,
        "levels_time": None if book is None else iso(book.ts_init),
        "bids": [] if book is None else side(book.bids),
        "asks": [] if book is None else side(book.asks),
        "status": state.status.name,
        "is_gapped": state.is_gapped,
    }


def positions_view(trader: Trader, strategy_id: str = "") -> dict[str, Any]:
    """The account's positions, those of each strategy, cash and what moved it without a fill; or those of one strategy alone."""
    lines = [("", key, position) for key, position in trader.portfolio.by_instrument.items() if not strategy_id]
    by_strategy = sorted(trader.portfolio.by_strategy.items())
    lines += [(*key, position) for key, position in by_strategy if not strategy_id or key[0] == strategy_id]
    positions = []
    for holder, key, position in lines:
        mark = trader.states[key].mark()
        average = position.average_price()
        positions.append(
            {
                "strategy_id": holder or None,
                "instrument_id": key,
                "quantity": position.instrument.format_qty(position.qty),
                "average_price": None if average is None else f"{average:.{position.instrument.price_scale + 2}f}",
                "realized_pnl": money(position.realized_pnl),
                "unrealized_pnl": None if mark is None else money(position.unrealized_pnl(*mark)),
                "fees": money(position.fees),
                "carry": money(position.carry),
                "currency": position.instrument.settlement_currency,
            }
        )
    if strategy_id:
        return {"positions": positions}
    return {
        "positions": positions,
        "cash": {key: money(amount) for key, amount in sorted(trader.portfolio.cash.items())},
        "cash_moved": [
            {"kind": kind.name.lower(), "currency": currency, "amount": money(amount)}
            for (kind, currency), amount in sorted(trader.cash.totals.items())
        ],
    }


def profit_view(trader: Trader, strategy_id: str = "") -> dict[str, dict[str, str]]:
    """By currency, since the first start: realised, unrealised at the middle where there is a market, fees, carry, and the sum.

    `strategy_id` "": the account's, with its equity.
    """
    portfolio = trader.portfolio
    lines = list(portfolio.by_instrument.items())
    if strategy_id:
        lines = [(key, position) for (owner, key), position in sorted(portfolio.by_strategy.items()) if owner == strategy_id]
    totals: dict[str, list[int]] = {}
    for key, position in lines:
        mark = trader.states[key].mark()
        line = totals.setdefault(position.instrument.settlement_currency, [0, 0, 0, 0])
        line[0] += position.realized_pnl
        line[1] += position.unrealized_pnl(*mark) if mark is not None else 0
        line[2] += position.fees
        line[3] += position.carry
    return {
        currency: {
            "realized_pnl": money(realized),
            "unrealized_pnl": money(unrealized),
            "fees": money(fees),
            "carry": money(carry),
            "net_pnl": money(realized + unrealized - fees + carry),
            **({} if strategy_id else {"equity": money(trader.equity(currency))}),
        }
        for currency, (realized, unrealized, fees, carry) in totals.items()
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
