"""Holds what our side believes against the venue's ledger. Reads the ledger and the Trader's books, nothing of the adapter."""

from __future__ import annotations

from collections import Counter, defaultdict

from core.enums import Side
from core.trader import Trader
from sim.venues.deribit.ledger import Account, Ledger

OPEN = ("open", "untriggered")


def differences(ledger: Ledger, account: Account, trader: Trader, prefix: str) -> list[str]:
    """Everything in which the two differ, in words."""
    found: list[str] = []
    orders = [order for order in ledger.orders if order.account is account]
    fills = [fill for fill in ledger.fills if fill.order.account is account]
    # A stop that was triggered goes on as a second order under its label: that is one intent.
    intents = Counter(order.label for order in orders if not order.trigger_order_id)
    found += [f"{count} orders for the intent {label}" for label, count in intents.items() if count > 1]
    by_label: dict[str, int] = defaultdict(int)
    fees: dict[str, int] = defaultdict(int)
    position: dict[str, int] = defaultdict(int)
    for fill in fills:
        by_label[fill.order.label] += fill.amount
        fees[fill.fee_currency] += fill.fee
        position[f"{fill.order.market.name}.DERIBIT"] += fill.amount if fill.order.side is Side.BUY else -fill.amount
    ours = {
        f"{prefix}-{order.client_order_id >> 32}-{order.client_order_id & 0xFFFFFFFF}": order
        for order in trader.orders.orders.values()
    }
    for label, order in ours.items():
        if order.filled_qty != by_label.get(label, 0):
            found.append(f"{label}: {order.filled_qty} filled here, {by_label.get(label, 0)} there ({order.status.name})")
    open_there = {order.label for order in orders if order.state in OPEN}
    open_here = {label for label, order in ours.items() if order.is_open}
    found += [
        f"{label} is open there and {ours[label].status.name} here" for label in sorted(open_there - open_here) if label in ours
    ]
    found += [f"{label} is {ours[label].status.name} here and not open there" for label in sorted(open_here - open_there)]
    for key, held in trader.portfolio.by_instrument.items():
        if held.qty != position.get(key, 0):
            found.append(f"{key}: position {held.qty} here, {position.get(key, 0)} there")
    if trader.portfolio.fills_booked != len(fills):
        found.append(f"{trader.portfolio.fills_booked} fills booked here, {len(fills)} there")
    # Cash and what open positions were opened at, together: which fills closed what depends on their order, this does not.
    # Both round to 10^-8 of the coin, what a fill closes and what it gains: two units for each fill.
    here, there = dict(trader.portfolio.cash), dict(account.cash)
    for key, instrument in trader.instruments.items():
        currency, sign = instrument.settlement_currency, 1 if instrument.is_inverse else -1
        here[currency] += sign * trader.portfolio.by_instrument[key].value_open
        there[currency] += sign * account.holding(key.rpartition(".")[0]).value_open
    found += [
        f"{currency}: {here[currency]} here, {there[currency]} there"
        for currency in there
        if abs(here[currency] - there[currency]) > 2 * len(fills)
    ]
    return found
