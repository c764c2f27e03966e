"""Random worlds for the book: one seed makes a configuration and a stream of operations on all message types.

Operations are tuples (method name, positional arguments, keyword arguments) that NativeBook and ReferenceBook both answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from native.book_types import OrderType, OrderView, SelfTrade, Status, TimeInForce

Operation = tuple[str, tuple[Any, ...], dict[str, Any]]


class World:
    """Configuration and operations of one seed. Small tables, few prices and few ids, so that everything meets everything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        draw = self.random
        self.config = {
            "orders_max": draw.choice([4, 30, 200, 200, 200]),
            "levels_max": draw.choice([5, 30, 400, 400, 400]),
            "symbols_max": draw.choice([1, 2, 3]),
            "owners_max": draw.choice([0, 2, 4, 4]),
            "stp_mode": draw.choice(list(SelfTrade)),
        }
        self.symbols = [self._symbol() for _ in range(self.config["symbols_max"])]
        self.special_share = draw.choice([0.1, 0.5, 0.9])
        # Some worlds have two busy owners who meet themselves and hold reduce-only orders all the time.
        self.busy_owners = draw.random() < 0.4 and self.config["owners_max"] >= 2
        self.auction_share = draw.choice([0.0, 0.01, 0.03])
        self.ids_used = 0
        self.live: Sequence[OrderView] = ()
        self.id_stride = draw.choice([1, 1, 4096, 2**40 + 1])
        self.now = 0
        self.auctions: set[int] = set()
        self.closed: set[int] = set()

    def _symbol(self) -> dict[str, int]:
        draw = self.random
        tick = draw.choice([1, 1, 5, 100])
        lot = draw.choice([1, 1, 10])
        base = draw.choice([1000, 1000, 0, -50, 2**62, -(2**62)]) // tick * tick
        width = draw.choice([6, 20, 20, 2**40])
        return {
            "tick": tick,
            "lot": lot,
            "qty_min": lot,
            "qty_max": 60 * lot,
            "price_min": base - draw.choice([0, 3]),
            "price_max": base + width * tick,
        }

    def price(self, symbol: int) -> int:
        rules, draw = self.symbols[symbol], self.random
        if draw.random() < 0.02:
            return draw.choice([0, -1, rules["price_max"] + rules["tick"], rules["price_min"] - 1, 2**63 - 1, -(2**63)])
        width = (rules["price_max"] - rules["price_min"]) // rules["tick"]
        step = draw.randrange(width + 1) if width < 100 or draw.random() < 0.2 else draw.choice([1, 2, 70, 5000, 2**30])
        price = (rules["price_min"] // rules["tick"] + step) * rules["tick"]
        return price + (1 if rules["tick"] > 1 and draw.random() < 0.01 else 0)

    def qty(self, symbol: int) -> int:
        draw = self.random
        if draw.random() < 0.02:
            return draw.choice([0, -5, 61 * self.symbols[symbol]["lot"], 7, 2**63 - 1])
        return draw.choice([1, 2, 5, 10, draw.randint(1, 60)]) * self.symbols[symbol]["lot"]

    def new_id(self) -> int:
        draw = self.random
        if draw.random() < 0.03:
            return draw.choice([0, -3, 2**63 - 1, *(view.order_id for view in self.live)])
        self.ids_used += 1
        return self.ids_used * self.id_stride

    def known_order(self) -> tuple[int, int, int]:
        """Id, remaining quantity and price of a live order, or now and then of none."""
        if not self.live or self.random.random() < 0.05:
            return self.random.choice([0, -3, 2**63 - 1, self.id_stride]), 5, 1000
        view = self.random.choice(self.live)
        return view.order_id, view.leaves_qty, view.price

    def part_of(self, qty: int, symbol: int) -> int:
        return self.random.choice([1, qty, qty // 2, qty - 1, qty + 1, self.qty(symbol)])

    def _replace(self, symbol: int) -> Operation:
        order_id, qty, price = self.known_order()
        lot = self.symbols[symbol]["lot"]
        new_qty = self.random.choice([qty, qty, qty + lot, max(lot, qty - lot), self.qty(symbol)])
        return "replace", (self.now, order_id, new_qty, self.random.choice([price, self.price(symbol)])), {}

    def owner(self) -> int:
        return self.random.choice([0, 7, 7, -9] if self.busy_owners else [0, 7, 7, -9, 11, 2**60])

    def _submit(self, symbol: int) -> Operation:
        draw = self.random
        order: dict[str, Any] = {
            "order_id": self.new_id(),
            "side": draw.randint(0, 1),
            "qty": self.qty(symbol),
            "price": self.price(symbol),
            "symbol": symbol,
        }
        if draw.random() < self.special_share:
            weights = [50, 10, 15, 15]
            order["order_type"] = draw.choices(list(OrderType), weights)[0]
            usual = [10, 4, 4, 3, 3, 20 if symbol in self.auctions else 1]
            order["time_in_force"] = draw.choices(list(TimeInForce), usual)[0]
            reduce_only = 60 if self.busy_owners else 10
            order["flags"] = draw.choices([0, 1, 2, 4, 5, 6, 3, 8], [50, 6, 6, reduce_only, 2, 2, 1, 1])[0]
            order["owner"] = self.owner()
            if draw.random() < (0.05 if self.busy_owners else 0.3):
                order["display_qty"] = draw.choice([1, 2, 10, 100, -1]) * self.symbols[symbol]["lot"]
            order["trigger_price"] = self.price(symbol)
            if draw.random() < 0.5 or order["time_in_force"] == TimeInForce.GTD:
                order["expire_ts"] = self.now + draw.randint(-1, 40)
            if draw.random() < 0.005:
                order[draw.choice(["side", "order_type", "time_in_force"])] = draw.randint(2, 255)
        return "submit", (self.now,), order

    def _batch(self) -> Operation:
        rows = []
        for _ in range(self.random.randint(1, 12)):
            op = self.random.choices([0, 1, 5], [60, 40, 1])[0]
            order_id = self.known_order()[0] if op == 1 else self.new_id()
            rows.append((self.now, op, order_id, self.random.randint(0, 1), self.price(0), self.qty(0)))
        return "batch", (rows,), {}

    def _auction(self, symbol: int) -> Operation:
        if symbol in self.auctions:
            self.auctions.discard(symbol)
            return "uncross", (self.now, symbol, self.price(symbol)), {}
        self.auctions.add(symbol)
        return "auction_begin", (symbol,), {}

    def operation(self, live: Sequence[OrderView]) -> Operation:
        """The next operation on a book whose live orders these are."""
        draw = self.random
        self.live = live
        self.now += draw.randint(0, 3)
        symbol = draw.randrange(len(self.symbols))
        if draw.random() < self.auction_share or (symbol in self.auctions and draw.random() < 0.05):
            return self._auction(symbol)
        if symbol in self.closed and draw.random() < 0.2:
            self.closed.discard(symbol)
            return "status_set", (symbol, Status.TRADING), {}
        roll = draw.random()
        if roll < 0.60:
            return self._submit(symbol)
        if roll < 0.66:
            return draw.choice(["cancel", "cancel_fast"]), (self.now, self.known_order()[0]), {}
        if roll < 0.76:
            return self._replace(symbol)
        if roll < 0.82:
            order_id, qty, _ = self.known_order()
            return draw.choice(["execute_resting", "reduce"]), (self.now, order_id, self.part_of(qty, symbol)), {}
        if roll < 0.88:
            return "limit", (self.now, self.new_id(), draw.randint(0, 1), self.price(0), self.qty(0)), {}
        if roll < 0.93:
            return self._batch()
        if roll < 0.95:
            return "advance", (self.now,), {}
        if roll < 0.97:
            owner = draw.choice([7, -9] if self.busy_owners else [7, -9, 11])
            return "position_set", (owner, symbol, draw.randint(-80, 80) * self.symbols[symbol]["lot"]), {}
        return self._rare(symbol)

    def _rare(self, symbol: int) -> Operation:
        draw = self.random
        roll = draw.random()
        if roll < 0.2:
            return "end_of_day", (self.now, draw.choice([-1, symbol])), {}
        if roll < 0.4:
            scope = {"owner": self.owner(), "symbol": draw.choice([-1, symbol]), "side": draw.choice([-1, 0, 1])}
            return "mass_cancel", (self.now,), scope
        self.closed.add(symbol)
        return "status_set", (symbol, draw.choice([Status.TRADING, Status.CLOSED, Status.HALTED])), {}
