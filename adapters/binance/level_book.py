"""One instrument's book of price levels in plain integers: what a snapshot and its updates come to. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort

from core.enums import Side


class LevelBook:
    """Quantities by price; each side's prices sorted, the lowest first."""

    __slots__ = ("_prices", "_qty")

    def __init__(self) -> None:
        self._qty: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._prices: tuple[list[int], list[int]] = ([], [])

    def clear(self) -> None:
        for side in (Side.BUY, Side.SELL):
            self._qty[side].clear()
            self._prices[side].clear()

    def set(self, side: int, price: int, qty: int) -> None:
        """`qty` 0 takes the level away."""
        held = self._qty[side]
        if qty:
            if price not in held:
                insort(self._prices[side], price)
            held[price] = qty
        elif held.pop(price, None) is not None:
            prices = self._prices[side]
            del prices[bisect_left(prices, price)]

    def best(self) -> tuple[int, int, int, int]:
        """Bid price and quantity, ask price and quantity; an empty side is 0, 0."""
        bids, asks = self._prices
        bid, ask = bids[-1] if bids else 0, asks[0] if asks else 0
        return bid, self._qty[0].get(bid, 0), ask, self._qty[1].get(ask, 0)

    def levels(self, count: int) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """The best `count` bids and asks, best first."""
        bids, asks = self._qty
        return (
            tuple((price, bids[price]) for price in self._prices[0][: -count - 1 : -1]),
            tuple((price, asks[price]) for price in self._prices[1][:count]),
        )

    def sizes(self) -> tuple[int, int]:
        return len(self._prices[0]), len(self._prices[1])
