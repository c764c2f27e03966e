"""Holds what our Trader believes against the venue's ledger. Reads those two, nothing of the adapter."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

from core.trader import Trader

OURS = re.compile(r"([A-Za-z0-9_]+)-(\d+)-(\d+)(-r\d+)?\Z")


def differences(ledger: dict[str, Any], account: str, trader: Trader, prefix: str) -> list[str]:
    """Everything in which the two differ, in words."""
    found: list[str] = []
    orders = [row for row in ledger["orders"] if row["account"] == account]
    fills = [row for row in ledger["fills"] if row["account"] == account and not row["is_busted"]]
    names = Counter(row["client_order_id"] for row in orders)
    found += [f"{count} orders under the id {name}" for name, count in names.items() if count > 1]
    filled: dict[int, int] = defaultdict(int)
    fees, positions = 0, defaultdict(int)
    for row in fills:
        intent = intent_of(row["client_order_id"], prefix)
        signed = row["qty"] if row["side"] == "BUY" else -row["qty"]
        positions[row["instrument_id"]] += signed
        fees += row["fee"]
        if intent is None:
            found.append(f"a fill of {row['client_order_id']}, which is not ours")
        else:
            filled[intent] += row["qty"]
    ours = trader.orders.orders
    for order_id, order in ours.items():
        if order.filled_qty != filled.get(order_id, 0):
            found.append(f"{order_id}: {order.filled_qty} filled here, {filled.get(order_id, 0)} there ({order.status.name})")
    open_there = {intent_of(row["client_order_id"], prefix) for row in orders if row["is_open"]}
    open_here = {order_id for order_id, order in ours.items() if order.is_open}
    found += [f"{order_id} is open there and not here" for order_id in open_there - open_here]
    found += [f"{order_id} is {ours[order_id].status.name} here and not open there" for order_id in open_here - open_there]
    for key, held in trader.portfolio.by_instrument.items():
        if not held.qty == positions.get(key, 0) == ledger["positions"][account].get(key, 0):
            found.append(f"{key}: {held.qty} here, {ledger['positions'][account].get(key, 0)} there")
    if trader.portfolio.cash["USD"] != ledger["balances"][account]["USD"]:
        found.append(f"cash: {trader.portfolio.cash['USD']} here, {ledger['balances'][account]['USD']} there, fees {fees}")
    return found


def intent_of(client_order_id: str, prefix: str) -> int | None:
    """Our number behind an id on the wire, whatever its generation; read here by itself."""
    match = OURS.match(client_order_id)
    if match is None or match[1] != prefix:
        return None
    return (int(match[2]) << 32) + int(match[3])
