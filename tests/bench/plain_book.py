"""The peer of the matching benchmark: price-time matching in one plain-Python loop of dictionaries, deques and heaps.

As fast as such a loop gets: nothing is called that could be written in place, and a cancel only forgets the id; matching skips
forgotten ids when it meets them.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

FNV_START, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, 2**64 - 1

Trade = tuple[int, int, int, int]


def fnv_of(trades: list[Trade]) -> int:
    """FNV-1a over (maker, taker, price, qty), one step a word."""
    state = FNV_START
    for row in trades:
        for word in row:
            state = (state ^ (word & MASK)) * FNV_PRIME & MASK
    return state


def match(columns: list[list[int]]) -> list[Trade]:
    """Trades (maker, taker, price, qty) of the columns op, order_id, side, price, qty."""
    trades: list[Trade] = []
    left: dict[int, int] = {}  # id -> remaining quantity
    bids: dict[int, deque[int]] = {}
    asks: dict[int, deque[int]] = {}
    bid_heap: list[int] = []  # negated prices
    ask_heap: list[int] = []
    for op, order_id, side, price, quantity in zip(*columns, strict=True):
        if op:
            del left[order_id]
            continue
        qty = quantity
        if side:
            while bid_heap and (best := -bid_heap[0]) >= price and qty:
                queue = bids[best]
                while queue:
                    maker = queue[0]
                    maker_qty = left.get(maker)
                    if maker_qty is None:
                        queue.popleft()
                    elif maker_qty > qty:
                        left[maker] = maker_qty - qty
                        trades.append((maker, order_id, best, qty))
                        qty = 0
                        break
                    else:
                        trades.append((maker, order_id, best, maker_qty))
                        del left[maker]
                        queue.popleft()
                        qty -= maker_qty
                        if not qty:
                            break
                if not queue:
                    heappop(bid_heap)
                    del bids[best]
            if qty:
                left[order_id] = qty
                if price in asks:
                    asks[price].append(order_id)
                else:
                    asks[price] = deque((order_id,))
                    heappush(ask_heap, price)
        else:
            while ask_heap and (best := ask_heap[0]) <= price and qty:
                queue = asks[best]
                while queue:
                    maker = queue[0]
                    maker_qty = left.get(maker)
                    if maker_qty is None:
                        queue.popleft()
                    elif maker_qty > qty:
                        left[maker] = maker_qty - qty
                        trades.append((maker, order_id, best, qty))
                        qty = 0
                        break
                    else:
                        trades.append((maker, order_id, best, maker_qty))
                        del left[maker]
                        queue.popleft()
                        qty -= maker_qty
                        if not qty:
                            break
                if not queue:
                    heappop(ask_heap)
                    del asks[best]
            if qty:
                left[order_id] = qty
                if price in bids:
                    bids[price].append(order_id)
                else:
                    bids[price] = deque((order_id,))
                    heappush(bid_heap, -price)
    return trades
