"""The books that `data check` rebuilds: two small protocols, and plain dict implementations that anyone can verify by reading.

The native book can stand in for either (wrap it to the protocol): then the same recorded data proves the native path.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from native.market_data import BUY, SELL

Level = tuple[int, int]  # price, quantity


class Best(NamedTuple):
    """Best bid and ask with their quantities; None: that side is empty."""

    bid: Level | None
    ask: Level | None

    @property
    def is_crossed(self) -> bool:
        return self.bid is not None and self.ask is not None and self.bid[0] >= self.ask[0]


class LevelBook(Protocol):
    """A level-2 book."""

    def clear(self) -> None: ...
    def set_level(self, side: int, price: int, qty: int) -> None:
        """The level's new total; 0 removes it, also where there is none."""
        ...

    def best(self) -> Best: ...


class Resting(NamedTuple):
    """An order in a book."""

    side: int
    price: int
    qty: int


class OrderBook(Protocol):
    """A level-3 book that follows a tape: it never matches anything itself. Callers ask `resting` before they act."""

    def add(self, order_id: int, side: int, price: int, qty: int) -> None:
        """A new id rests. Raises InputError where the book cannot let it rest, because it crosses."""
        ...

    def take(self, order_id: int, qty: int) -> None:
        """The order loses at most what is left of it, by cancellation or execution, and leaves at 0."""
        ...

    def resting(self, order_id: int) -> Resting | None: ...
    def is_head(self, order_id: int) -> bool:
        """Whether the order is the first of its level's queue."""
        ...

    def best(self) -> Best: ...


class DictLevelBook:
    """Price -> quantity in a dict for each side."""

    def __init__(self) -> None:
        self._sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._best: list[int | None] = [None, None]

    def clear(self) -> None:
        self._sides = ({}, {})
        self._best = [None, None]

    def set_level(self, side: int, price: int, qty: int) -> None:
        levels, best = self._sides[side], self._best[side]
        if qty:
            levels[price] = qty
            if best is None or (price > best if side == BUY else price < best):
                self._best[side] = price
        elif levels.pop(price, None) is not None and price == best:
            self._best[side] = (max if side == BUY else min)(levels, default=None)

    def qty(self, side: int, price: int) -> int:
        return self._sides[side].get(price, 0)

    def levels(self, side: int) -> list[Level]:
        """Best first."""
        return sorted(self._sides[side].items(), reverse=side == BUY)

    def best(self) -> Best:
        bid, ask = self._best
        bids, asks = self._sides
        return Best(None if bid is None else (bid, bids[bid]), None if ask is None else (ask, asks[ask]))


class DictOrderBook:
    """Orders in a dict, each level's queue as an insertion-ordered dict of ids."""

    def __init__(self) -> None:
        self._orders: dict[int, tuple[int, int]] = {}  # order id -> (side, price)
        self._queues: dict[tuple[int, int], dict[int, int]] = {}  # (side, price) -> order id -> quantity
        self._levels = DictLevelBook()

    def add(self, order_id: int, side: int, price: int, qty: int) -> None:
        assert order_id not in self._orders
        assert qty > 0
        self._orders[order_id] = (side, price)
        self._queues.setdefault((side, price), {})[order_id] = qty
        self._levels.set_level(side, price, self._levels.qty(side, price) + qty)

    def take(self, order_id: int, qty: int) -> None:
        side, price = self._orders[order_id]
        queue = self._queues[side, price]
        left = queue[order_id] - qty
        assert left >= 0
        if left:
            queue[order_id] = left
        else:
            del queue[order_id], self._orders[order_id]
            if not queue:
                del self._queues[side, price]
        self._levels.set_level(side, price, self._levels.qty(side, price) - qty)

    def resting(self, order_id: int) -> Resting | None:
        at = self._orders.get(order_id)
        return None if at is None else Resting(*at, self._queues[at][order_id])

    def is_head(self, order_id: int) -> bool:
        return next(iter(self._queues[self._orders[order_id]])) == order_id

    def best(self) -> Best:
        return self._levels.best()


def describe(best: Best) -> str:
    """For messages: `bid 61800 x 5, ask 61801 x 2`, in points and units."""
    parts = []
    for name, level in (("bid", best.bid), ("ask", best.ask)):
        parts.append(f"{name} none" if level is None else f"{name} {level[0]} x {level[1]}")
    return ", ".join(parts)


assert (BUY, SELL) == (0, 1)
