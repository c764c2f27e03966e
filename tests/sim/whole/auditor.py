"""Holds the venues' ledgers against our journals and books, and knows nothing of how either came about.

Plain types in, sentences out: no code is shared with the daemon, the adapters or the simulators. An empty list is what must come.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

OWN_ID = re.compile(r".+-([0-9]+)-([0-9]+)(?:-r[0-9]+)?", re.ASCII)
SHOWN_MAX = 5  # of each kind of finding
ON_WIRE_NS_MAX = 120 * 10**9  # for which an order that has left may be on its way
FOREVER = 1 << 62


@dataclass
class Books:
    """What we say, in plain types. Order ids are "RUN-COUNTER"; `sent` has the stamp at which each order was decided on.

    `fills`: every execution that a journal has: instrument, execution id, side, qty, price. `booked`: how many moved the books.
    """

    sent: dict[str, int] = field(default_factory=dict)
    sent_twice: list[str] = field(default_factory=list)
    fills: list[tuple[str, str, str, int, int]] = field(default_factory=list)  # instrument, execution, side, qty, price
    booked: int = 0
    open_orders: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # instrument, side, left
    unknown: list[str] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


@dataclass
class Kill:
    """In effect from `since` to `until`: `_ns` by the world's time, `_ts` by the daemon's stamps, whose clock may be wrong."""

    since_ns: int
    since_ts: int
    until_ns: int | None = None
    until_ts: int = FOREVER


def own_id(text: str) -> str:
    """ "RUN-COUNTER" of "prefix-RUN-COUNTER" and of "prefix-RUN-COUNTER-rN", what replaced it; "" for an id that is not ours."""
    found = OWN_ID.fullmatch(text)
    return f"{found[1]}-{found[2]}" if found is not None else ""


def audit(ledgers: dict[str, dict[str, Any]], books: Books) -> list[str]:
    """Everything that is to be equal once nothing is on its way any more; `ledgers` by the account's name and the venue's."""
    orders = [order for ledger in ledgers.values() for order in ledger["orders"]]
    fills = [fill for ledger in ledgers.values() for fill in ledger["fills"] if not fill["is_busted"]]
    return [
        *_named("is on no journal, and at the venue", _unmeant(orders, books)),
        *_named("is at the venue more than once", _twice(orders)),
        *_named("was sent more than once", books.sent_twice),
        *_named("fills", _different_fills(fills, books)),
        *_named("open orders", _different_orders(orders, books)),
        *_named("position", _different_positions(ledgers, books)),
        *_named("nobody knows what became of", books.unknown),
        *_named("journal", books.damaged),
    ]


def _named(what: str, found: list[str]) -> list[str]:
    more = [f"{what}: and {len(found) - SHOWN_MAX} more"] if len(found) > SHOWN_MAX else []
    return [f"{what}: {each}" for each in found[:SHOWN_MAX]] + more


def _unmeant(orders: list[dict[str, Any]], books: Books) -> list[str]:
    return [
        f"{order['client_order_id']}"
        for order in orders
        if order["origin"] == "client" and own_id(order["client_order_id"]) not in books.sent
    ]


def _twice(orders: list[dict[str, Any]]) -> list[str]:
    counted = Counter(order["client_order_id"] for order in orders if order["origin"] == "client")
    return [f"{key} ({count} times)" for key, count in sorted(counted.items()) if count > 1]


def _different_fills(fills: list[dict[str, Any]], books: Books) -> list[str]:
    theirs = Counter((fill["instrument_id"], fill["trade_id"], fill["side"], fill["qty"], fill["price"]) for fill in fills)
    ours = Counter(books.fills)
    found = [f"{key} is theirs and not ours" for key in sorted((theirs - ours).elements())]
    found += [f"{key} is ours and not theirs" for key in sorted((ours - theirs).elements())]
    return found + ([f"{books.booked} booked here, {len(fills)} there"] if books.booked != len(fills) else [])


def _different_orders(orders: list[dict[str, Any]], books: Books) -> list[str]:
    theirs = {
        own_id(order["client_order_id"]) or order["venue_order_id"]: (
            order["instrument_id"],
            order["side"],
            order["qty"] - order["filled_qty"],
        )
        for order in orders
        if order["is_open"]
    }
    return [
        f"{key}: theirs {theirs.get(key)}, ours {books.open_orders.get(key)}"
        for key in sorted({**theirs, **books.open_orders})
        if theirs.get(key) != books.open_orders.get(key)
    ]


def _different_positions(ledgers: dict[str, dict[str, Any]], books: Books) -> list[str]:
    found = []
    for ledger in ledgers.values():
        for account, positions in ledger["positions"].items():
            for instrument_id, qty in sorted(positions.items()):
                filled = sum(
                    fill["qty"] if fill["side"] == "BUY" else -fill["qty"]
                    for fill in ledger["fills"]
                    if (fill["account"], fill["instrument_id"]) == (account, instrument_id) and not fill["is_busted"]
                )
                ours = books.positions.get(instrument_id, 0)
                if not qty == filled == ours:
                    found.append(f"{instrument_id}: theirs {qty}, by their fills {filled}, ours {ours}")
    return found


def over_limit(ledger: dict[str, Any], limits: dict[str, int]) -> list[str]:
    """At one moment, on the venue's side of the wire: what is held, and what could come to it if everything open were filled."""
    found = []
    for account, positions in ledger["positions"].items():
        for instrument_id, limit in limits.items():
            held = positions.get(instrument_id, 0)
            mine = [
                order
                for order in ledger["orders"]
                if order["is_open"]
                and (order["account"], order["instrument_id"]) == (account, instrument_id)
                and not order["reduce_only"]
            ]
            longest = held + sum(order["qty"] - order["filled_qty"] for order in mine if order["side"] == "BUY")
            shortest = held - sum(order["qty"] - order["filled_qty"] for order in mine if order["side"] == "SELL")
            if max(longest, -shortest) > limit:
                found.append(
                    f"{instrument_id}: {held} held, from {shortest} to {longest} with what is open; the limit is {limit}"
                )
    return found


def after_kill(ledger: dict[str, Any], books: Books, kill: Kill) -> list[str]:
    """Orders that a kill in effect must have stopped.

    What left before it may arrive for ON_WIRE_NS_MAX; what was decided on after it may not arrive at all.
    """
    found = []
    until_ns = kill.until_ns or FOREVER
    for order in ledger["orders"]:
        if order["origin"] != "client" or order["reduce_only"]:
            continue
        decided_ts = books.sent.get(own_id(order["client_order_id"]), 0)
        if kill.since_ts < decided_ts < kill.until_ts or kill.since_ns + ON_WIRE_NS_MAX < order["ts"] < until_ns:
            found.append(f"{order['client_order_id']}: {kill}, decided on at {decided_ts}, taken at {order['ts']}")
    return _named("taken after a kill", found)
