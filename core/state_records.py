"""What a Trader has come to, as plain tuples for its digest: the same for two that took the same events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.units import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from core.trader import Trader


def state_records(trader: Trader) -> list[tuple[Any, ...]]:
    """Trading state, cash, positions of the account and of each strategy, every order remembered, and what the desks remember."""
    portfolio, states = trader.portfolio, trader.risk.states
    records: list[tuple[Any, ...]] = [
        ("trader", int(trader.risk.trading_state), trader.order_counter, trader.timer_counter),
        ("cash", *sorted(portfolio.cash.items())),
    ]
    records += [("strategy_state", name, int(state)) for name, state in states.strategies()]
    if trader.account_risk is not None:
        records += trader.account_risk.records()
    positions = [(("", key), p) for key, p in sorted(portfolio.by_instrument.items())]
    # One that was only looked at is no position: reading must not change the digest.
    positions += [(key, p) for key, p in sorted(portfolio.by_strategy.items()) if p.is_used]
    for key, p in positions:
        # Nothing stands where nothing was carried: digests of runs from before there was such a thing stay what they are.
        carry = (p.carry,) if p.carry else ()
        records.append(("position", *key, p.qty, p.value_open, p.realized_pnl, p.fees, p.buy_qty, p.sell_qty, *carry))
    for o in trader.orders.orders.values():
        # A denied order may hold anything there.
        price = o.price if type(o.price) is int and INT64_MIN <= o.price <= INT64_MAX else None
        quantities = (o.filled_qty, o.filled_value, o.leaves_qty, o.reserved_qty)
        records.append(("order", o.client_order_id, int(o.status), *quantities, price))
    records += trader.foreign.records() + trader.memory.records() + trader.cash.records()
    return records + trader.clients.records()
