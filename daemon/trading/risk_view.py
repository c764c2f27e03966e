"""What one strategy or client may do and how much of it is used, as plain data in the units of each limit."""

from __future__ import annotations

from typing import Any

from core.account_risk import LossWatch
from core.enums import Side
from core.market_state import MarketState
from core.risk_watch import NO_LIMIT, Share
from core.trader import Trader
from core.units import format_fixed
from daemon.config.text_types import PPM_SCALE
from daemon.trading.views import money


def risk_view(trader: Trader, strategy_id: str, now: int) -> dict[str, Any]:
    """Limits that are null are not configured; what is used counts open orders as filled, as the risk gate does."""
    states = trader.risk.states
    shares = [
        share
        for state in trader.states.values()
        if state.watch is not None and (share := state.watch.shares.get(strategy_id)) is not None
    ]
    return {
        "strategy_id": strategy_id,
        "trading_state": states.of(strategy_id).name,
        "trading_state_own": states.own(strategy_id).name,
        "trading_state_account": states.account.name,
        "instruments": [_instrument(trader, strategy_id, key, state) for key, state in trader.states.items()],
        "budget": _budget(trader, strategy_id, shares, now),
        "losses": [_losses(watch) for watch in _watches(trader) if watch.strategy_id == strategy_id],
    }


def _instrument(trader: Trader, strategy_id: str, key: str, state: MarketState) -> dict[str, Any]:
    instrument, limits = state.instrument, trader.risk.limits.get(key)
    qty = instrument.format_qty
    reserved = {Side.BUY: 0, Side.SELL: 0}
    orders = trader.orders.open_orders(key, strategy_id)
    for order in orders:
        reserved[order.side] += order.reserved_qty
    own = trader.portfolio.by_strategy.get((strategy_id, key))
    share = None if state.watch is None else state.watch.shares.get(strategy_id)
    is_bound = share is not None and share.position_max != NO_LIMIT
    return {
        "instrument_id": key,
        "position": qty(0 if own is None else own.qty),
        "open_buy_qty": qty(reserved[Side.BUY]),
        "open_sell_qty": qty(reserved[Side.SELL]),
        "open_orders": len(orders),
        "position_qty_max": qty(share.position_max) if share is not None and is_bound else None,
        "account": {
            "position": qty(state.position.qty),
            "open_buy_qty": qty(state.open_buy_qty),
            "open_sell_qty": qty(state.open_sell_qty),
            "open_orders": state.open_orders,
        },
        "limits": None
        if limits is None
        else {
            "order_qty_max": qty(limits.order_qty_max),
            "order_notional_max": money(limits.order_notional_max),
            "position_qty_max": qty(limits.position_qty_max),
            "price_collar": f"{format_fixed(limits.price_collar_ppm, PPM_SCALE - 2)}%",
            "open_orders_max": limits.open_orders_max or None,
            "market_age_ns_max": limits.market_age_ns_max or None,
        },
    }


def _budget(trader: Trader, strategy_id: str, shares: list[Share], now: int) -> dict[str, Any] | None:
    found = next((share.budget for share in shares if share.budget is not None), None)
    if found is None:
        return None
    capital: dict[str, int] = {}
    for share in found.shares:
        currency = share.watch.of.currency
        capital[currency] = capital.get(currency, 0) + (share.capital() or 0)
    window = found.window
    return {
        "open_orders": len(trader.orders.open_orders(None, strategy_id)),
        "open_orders_max": found.open_orders_max,
        "orders_in_window": None if window is None else window.count(now),
        "orders_max": None if window is None else window.events_max,
        "orders_window_ns": None if window is None else window.window_ns,
        "capital": {currency: money(amount) for currency, amount in capital.items()},
        "capital_max": None if found.capital_max is None else money(found.capital_max),
    }


def _watches(trader: Trader) -> list[LossWatch]:
    return [] if trader.account_risk is None else list(trader.account_risk.watches)


def _losses(watch: LossWatch) -> dict[str, Any]:
    limits = watch.limits

    def text(value: int | None) -> str | None:
        return None if value is None else money(value)

    return {
        "equity": text(watch.equity),
        "day_equity": money(watch.day_equity),
        "week_equity": money(watch.week_equity),
        "peak_equity": money(watch.peak_equity),
        "daily_loss_max": text(limits.daily_loss_max),
        "weekly_loss_max": text(limits.weekly_loss_max),
        "drawdown_max": None if limits.drawdown_ppm_max is None else f"{format_fixed(limits.drawdown_ppm_max, PPM_SCALE - 2)}%",
    }
