"""What ReferenceBook keeps, in plain Python: symbols, queues, positions, reports, and the views of them.

A queue is a list, a side is a dictionary of queues, the best price is `max` or `min` of its keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from native.book_types import (
    INT64_MAX,
    INT64_MIN,
    LEVEL_DTYPE,
    ORDER_VIEW_DTYPE,
    POSITION_MAX,
    QTY_SUM_MAX,
    BookArgumentError,
    BookCorruptError,
    BookSymbolError,
    Level,
    OrderView,
    Report,
    SelfTrade,
    Side,
    Status,
    Totals,
    require_range,
)

# Queues of a symbol, by number: resting buys and sells, then parked buy and sell stops keyed by trigger price.
QUEUES = 4
STOPS = 2


@dataclass(slots=True)
class Order:
    order_id: int
    owner: int
    price: int
    trigger_price: int
    qty: int
    display_qty: int
    expire_ts: int
    symbol: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    hidden: int = 0
    arrival: int = 0
    queue: int = -1  # which of its symbol's queues holds it; -1 while it is being matched

    @property
    def leaves(self) -> int:
        return self.qty + self.hidden

    @property
    def parked(self) -> bool:
        return self.queue >= STOPS


@dataclass(slots=True)
class Symbol:
    tick: int
    lot: int
    qty_min: int
    qty_max: int
    price_min: int
    price_max: int
    queues: list[dict[int, list[Order]]] = field(default_factory=lambda: [{} for _ in range(QUEUES)])
    status: int = Status.TRADING
    last_price: int | None = None
    traded: list[int] = field(default_factory=list)  # prices since stops were last looked at


class ReferenceStore:
    """State, and the steps that change it; ReferenceBook decides which."""

    def __init__(
        self, *, orders_max: int, levels_max: int, symbols_max: int = 1, owners_max: int = 0, stp_mode: int = SelfTrade.NONE
    ) -> None:
        self.orders_max = require_range("orders_max", orders_max, 1, 2**28)
        self.levels_max = require_range("levels_max", levels_max, 1, 2**28)
        self.symbols_max = require_range("symbols_max", symbols_max, 1, 2**24)
        self.owners_max = require_range("owners_max", owners_max, 0, 2**24)
        self.stp_mode = require_range("stp_mode", stp_mode, 0, SelfTrade.DECREMENT)
        self._symbols: list[Symbol] = []
        self._orders: dict[int, Order] = {}
        self._positions: dict[int, dict[int, int]] = {}
        self._arrivals = 0
        self._totals = [0] * len(Totals._fields)
        self._reports: list[Report] = []
        self._ts = 0
        self._quiet = False

    # ---- Symbols, status, positions ----

    def symbol_add(self, *, tick: int, lot: int, qty_min: int, qty_max: int, price_min: int, price_max: int) -> int:
        require_range("tick", tick, 1)
        require_range("lot", lot, 1)
        require_range("qty_min", qty_min, 0)
        require_range("qty_max", qty_max, max(1, qty_min))
        require_range("price_min", price_min)
        require_range("price_max", price_max, price_min)
        if len(self._symbols) == self.symbols_max:
            raise BookSymbolError(f"symbol_add: all {self.symbols_max} symbols are in use")
        qty_max = min(qty_max, QTY_SUM_MAX // (self.orders_max + 2))
        self._symbols.append(Symbol(tick, lot, max(1, qty_min), qty_max, price_min, price_max))
        return len(self._symbols) - 1

    def _symbol(self, symbol: int) -> Symbol:
        require_range("symbol", symbol, -(2**31), 2**31 - 1)
        if not 0 <= symbol < len(self._symbols):
            raise BookSymbolError(f"symbol {symbol} is not one of the book's {len(self._symbols)}")
        return self._symbols[symbol]

    def status_set(self, symbol: int, status: int) -> None:
        s = self._symbol(symbol)
        if status not in (Status.TRADING, Status.HALTED, Status.CLOSED) or s.status == Status.AUCTION:
            raise BookArgumentError(f"status_set: {status} is not possible now (an auction begins and ends by its own calls)")
        s.status = status

    def position(self, owner: int, symbol: int) -> int:
        return self._positions.get(owner, {}).get(symbol, 0)

    def position_set(self, owner: int, symbol: int, position: int) -> None:
        require_range("owner", owner)
        require_range("position", position, -POSITION_MAX, POSITION_MAX)
        self._symbol(symbol)
        if owner == 0 or not self._owner_known_or_room(owner):
            raise BookArgumentError(f"position_set: owner {owner} cannot be tracked")
        self._positions.setdefault(owner, {})[symbol] = position

    def _owner_known_or_room(self, owner: int) -> bool:
        return owner == 0 or owner in self._positions or len(self._positions) < self.owners_max

    def _position_add(self, owner: int, symbol: int, side: int, qty: int) -> None:
        if owner:
            moved = self.position(owner, symbol) + (qty if side == Side.BUY else -qty)
            self._positions[owner][symbol] = max(-POSITION_MAX, min(POSITION_MAX, moved))

    def _reducible(self, owner: int, symbol: int, side: int) -> int:
        position = self.position(owner, symbol)
        return max(0, -position) if side == Side.BUY else max(0, position)

    # ---- Queues ----

    def _prices(self, s: Symbol, queue: int) -> list[int]:
        """Best first: high for bids and sell stops, low for asks and buy stops."""
        return sorted(s.queues[queue], reverse=queue in (0, 3))

    def _best(self, s: Symbol, queue: int) -> int | None:
        prices = s.queues[queue]
        if not prices:
            return None
        return max(prices) if queue in (0, 3) else min(prices)

    def _in_priority(self, s: Symbol, queue: int) -> Iterator[Order]:
        for price in self._prices(s, queue):
            yield from list(s.queues[queue][price])

    def _key(self, order: Order) -> int:
        return order.trigger_price if order.parked else order.price

    def _level_room(self, symbol: int, queue: int, price: int) -> bool:
        used = sum(len(prices) for s in self._symbols for prices in s.queues)
        return used < self.levels_max or price in self._symbols[symbol].queues[queue]

    def _rest(self, order: Order, queue: int) -> None:
        total = order.leaves
        order.queue = queue
        order.qty = min(total, order.display_qty) if order.display_qty else total
        order.hidden = total - order.qty
        self._symbols[order.symbol].queues[queue].setdefault(self._key(order), []).append(order)

    def _unlink(self, order: Order) -> None:
        prices = self._symbols[order.symbol].queues[order.queue]
        key = self._key(order)
        prices[key].remove(order)
        if not prices[key]:
            del prices[key]
        order.queue = -1

    def _remove(self, order: Order) -> None:
        if order.queue >= 0:
            self._unlink(order)
        del self._orders[order.order_id]

    def _shrink(self, order: Order, qty: int) -> None:
        """Hidden quantity goes first; the order keeps its place."""
        from_hidden = min(qty, order.hidden)
        order.hidden -= from_hidden
        order.qty -= qty - from_hidden

    def _take(self, order: Order, qty: int) -> None:
        """The displayed peak is hit for qty; used up, the next peak goes to the back of the level."""
        order.qty -= qty
        if order.qty:
            return
        if not order.hidden:
            self._remove(order)
            return
        queue = order.queue
        self._unlink(order)
        self._rest(order, queue)

    # ---- Reports ----

    def _report(
        self, kind: int, reason: int, order: Order, price: int, qty: int, leaves: int, contra_id: int = 0, contra_leaves: int = 0
    ) -> None:
        row = (order.order_id, contra_id, price, qty, leaves, contra_leaves, order.symbol, int(kind), int(reason), order.side)
        self._reports.append(Report(self._ts, *row))

    def _refused(self, kind: int, reason: int, order_id: int, price: int, qty: int, order: Order | None) -> list[Report]:
        symbol, side, leaves = (order.symbol, order.side, order.leaves) if order else (-1, 0, 0)
        self._reports.append(Report(self._ts, order_id, 0, price, qty, leaves, 0, symbol, int(kind), int(reason), side))
        self._totals[5] += 1
        return self._done()

    def _begin(self, ts: int) -> None:
        self._ts = require_range("ts", ts)
        self._reports = []

    def _done(self) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports

    def _leave(self, order: Order, kind: int, reason: int) -> None:
        self._report(kind, reason, order, order.price, order.leaves, 0)
        self._totals[4] += 1
        self._remove(order)

    def _count_trade(self, s: Symbol, price: int, qty: int) -> None:
        self._totals[0] += 1
        self._totals[1] += qty
        self._totals[2] += qty * price
        s.last_price = price
        s.traded.append(price)

    # ---- Views ----

    def best(self, symbol: int, side: int) -> Level | None:
        levels = self.levels(symbol, require_range("side", side, 0, 1), 1)
        return levels[0] if levels else None

    def levels(self, symbol: int, side: int, depth: int = 2**31) -> list[Level]:
        s = self._symbol(symbol)
        queue = s.queues[require_range("side", side, 0, QUEUES - 1)]
        return [Level(p, sum(o.qty for o in queue[p]), len(queue[p])) for p in self._prices(s, side)[:depth]]

    def orders(self, symbol: int, side: int) -> list[OrderView]:
        s = self._symbol(symbol)
        return [self._view(o) for o in self._in_priority(s, require_range("side", side, 0, QUEUES - 1))]

    def levels_array(self, symbol: int, side: int, depth: int) -> np.ndarray:
        return np.array(self.levels(symbol, side, max(0, depth)), LEVEL_DTYPE)

    def orders_array(self, symbol: int, side: int) -> np.ndarray:
        return np.array(self.orders(symbol, side), ORDER_VIEW_DTYPE)

    @staticmethod
    def _view(o: Order) -> OrderView:
        return OrderView(o.order_id, o.owner, o.price, o.qty, o.leaves, o.symbol, o.side, o.order_type, o.time_in_force, o.flags)

    def order(self, order_id: int) -> OrderView | None:
        o = self._orders.get(order_id)
        return self._view(o) if o else None

    def queue_ahead(self, order_id: int) -> int:
        o = self._orders.get(order_id)
        if o is None or o.parked:
            return -1
        queue = self._symbols[o.symbol].queues[o.queue][o.price]
        return sum(other.qty for other in queue[: queue.index(o)])

    def level_qty(self, symbol: int, side: int, price: int) -> int:
        return sum(o.qty for o in self._symbol(symbol).queues[require_range("side", side, 0, 1)].get(price, ()))

    def live_orders(self) -> int:
        return len(self._orders)

    def last_price(self, symbol: int) -> int | None:
        return self._symbol(symbol).last_price

    def totals(self) -> Totals:
        wrapped = [(value - INT64_MIN) % 2**64 + INT64_MIN for value in self._totals]
        return Totals(*wrapped)

    def check(self) -> None:
        """Raises BookCorruptError where the queues, the id table or the prices disagree."""
        listed = [o for s in self._symbols for queue in s.queues for orders in queue.values() for o in orders]
        if sorted(o.order_id for o in listed) != sorted(self._orders) or any(o.qty <= 0 or o.hidden < 0 for o in listed):
            raise BookCorruptError("queues and id table disagree")
        for s in self._symbols:
            bid, ask = self._best(s, Side.BUY), self._best(s, Side.SELL)
            if s.status != Status.AUCTION and bid is not None and ask is not None and bid >= ask:
                raise BookCorruptError(f"crossed: {bid} >= {ask}")
            if any(not orders for queue in s.queues for orders in queue.values()) or (bid or 0) > INT64_MAX:
                raise BookCorruptError("an empty level is listed")
