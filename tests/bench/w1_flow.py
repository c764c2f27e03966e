"""Workload W1: a deterministic flow of limit orders and cancels, with its exact result; any seed, size, walk and quantity.

    generator  xorshift64*, seeded through splitmix64; u() is its upper 53 bits, below(k) = u() % k
    mid        starts at `base`; before each message, if below(walk) == 0, moves by one (up if below(2)), within base +- 1900
    kind       r = below(100): r < 55 add, r < 95 cancel, else marketable; the first 2000 are adds, and so is a cancel of nothing
    add        side = below(2), d geometric with p = 1/10 redrawn above 49, price mid -+ (1 + d), qty 1 + below(100)
    marketable side = below(2), price ten beyond the opposite best (mid if empty), qty 1 + below(max_qty)
    cancel     one of the live orders, uniformly, from an array kept by swapping the last one into a hole

Ids count from 1. File: int64 little-endian magic, rows, 6, then the columns ts_ns, op (0 new, 1 cancel), id, side, price, qty.
"""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x314B524F57
MASK = 2**64 - 1
FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
COLUMNS = ("ts", "op", "order_id", "side", "price", "qty")
BOOK_BUILDING = 2000


class WorkloadError(ValueError):
    """A file that is not a workload."""


class Flow(NamedTuple):
    """columns: the six int64 vectors by name. result: what a right engine ends with."""

    columns: dict[str, np.ndarray]
    result: dict[str, Any]


class Random:
    def __init__(self, seed: int) -> None:
        z = (seed + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        self.state = (z ^ (z >> 31)) or 1

    def below(self, k: int) -> int:
        s = self.state
        s ^= s >> 12
        s ^= (s << 25) & MASK
        s ^= s >> 27
        self.state = s
        return ((s * 2685821657736338717 & MASK) >> 11) % k


class Market:
    """The book that the flow looks at: queues as insertion-ordered dictionaries, best prices by heaps with dead entries."""

    def __init__(self) -> None:
        self.queues: tuple[dict[int, dict[int, int]], dict[int, dict[int, int]]] = ({}, {})
        self.heaps: tuple[list[int], list[int]] = ([], [])
        self.places: dict[int, tuple[int, int]] = {}
        self.trades = self.volume = self.notional = 0
        self.fnv = FNV_START
        self.live: list[int] = []
        self.live_index: dict[int, int] = {}
        self.feed_events = 0

    def best(self, side: int) -> int | None:
        heap, queues = self.heaps[side], self.queues[side]
        while heap:
            price = heap[0] if side else -heap[0]
            if price in queues:
                return price
            heapq.heappop(heap)
        return None

    def forget(self, order_id: int) -> None:
        hole, last = self.live_index.pop(order_id), self.live.pop()
        if last != order_id:
            self.live[hole] = last
            self.live_index[last] = hole

    def trade(self, maker: int, taker: int, price: int, qty: int) -> None:
        self.trades += 1
        self.volume += qty
        self.notional += qty * price
        for word in (maker, taker, price, qty):
            self.fnv = (self.fnv ^ word) * FNV_PRIME & MASK
        self.feed_events += 1

    def new(self, order_id: int, side: int, price: int, qty: int) -> None:
        opposite = 1 - side
        filled = []
        while qty and (best := self.best(opposite)) is not None and (best >= price if side else best <= price):
            queue = self.queues[opposite][best]
            maker, maker_qty = next(iter(queue.items()))
            traded = min(qty, maker_qty)
            qty -= traded
            self.trade(maker, order_id, best, traded)
            if traded < maker_qty:
                queue[maker] = maker_qty - traded
                continue
            del queue[maker], self.places[maker]
            filled.append(maker)
            if not queue:
                del self.queues[opposite][best]
        for maker in filled:
            self.forget(maker)
        if qty:
            if price not in self.queues[side]:
                self.queues[side][price] = {}
                heapq.heappush(self.heaps[side], price if side else -price)
            self.queues[side][price][order_id] = qty
            self.places[order_id] = (side, price)
            self.live_index[order_id] = len(self.live)
            self.live.append(order_id)
            self.feed_events += 1

    def cancel(self, order_id: int) -> None:
        side, price = self.places.pop(order_id)
        queue = self.queues[side][price]
        del queue[order_id]
        if not queue:
            del self.queues[side][price]
        self.forget(order_id)
        self.feed_events += 1


def make(messages: int = 1_000_000, seed: int = 20240601, base: int = 2048, max_qty: int = 100, walk: int = 100) -> Flow:
    """The flow of these parameters. About 6 µs a message."""
    random, market = Random(seed), Market()
    below = random.below
    mid, next_id = base, 0
    rows: list[tuple[int, int, int, int, int, int]] = []
    adds = cancels = marketable = live_max = live_sum = 0
    lowest = highest = base
    for index in range(messages):
        if below(walk) == 0:
            mid += 1 if below(2) else -1
            mid = max(base - 1900, min(base + 1900, mid))
        roll = below(100)
        if index >= BOOK_BUILDING and 55 <= roll < 95 and market.live:
            cancels += 1
            order_id = market.live[below(len(market.live))]
            market.cancel(order_id)
            rows.append((index * 1000, 1, order_id, -1, 0, 0))
        else:
            next_id += 1
            side = below(2)
            if index < BOOK_BUILDING or roll < 95:
                adds += 1
                distance = 50
                while distance > 49:
                    distance = 0
                    while below(10):
                        distance += 1
                price = mid + 1 + distance if side else mid - 1 - distance
                qty = 1 + below(100)
            else:
                marketable += 1
                opposite = market.best(1 - side)
                price = (mid if opposite is None else opposite) + (-10 if side else 10)
                qty = 1 + below(max_qty)
            market.new(next_id, side, price, qty)
            lowest, highest = min(lowest, price), max(highest, price)
            rows.append((index * 1000, 0, next_id, side, price, qty))
        live_max = max(live_max, len(market.live))
        live_sum += len(market.live)
    result = {
        "n": messages,
        "seed": seed,
        "base": base,
        "mq": max_qty,
        "adds": adds,
        "cancels": cancels,
        "marketable": marketable,
        "orders": next_id,
        "trades": market.trades,
        "volume": market.volume,
        "notional": market.notional,
        "fnv": f"{market.fnv:016x}",
        "live": len(market.live),
        "live_qty": sum(qty for queues in market.queues for queue in queues.values() for qty in queue.values()),
        "max_live": live_max,
        "mean_live": live_sum / messages,
        "best_bid": market.best(0),
        "best_ask": market.best(1),
        "levels": [len(market.queues[0]), len(market.queues[1])],
        "min_price": lowest,
        "max_price": highest,
        "mbo_events": market.feed_events,
    }
    table = np.ascontiguousarray(np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS)).T)
    return Flow(dict(zip(COLUMNS, table, strict=True)), result)


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a workload file; raises WorkloadError that says what is wrong with it."""
    raw = np.fromfile(path, dtype="<i8")
    if len(raw) < 3 or raw[0] != MAGIC or raw[2] != len(COLUMNS):
        raise WorkloadError(f"{path}: not a workload file (magic, rows, 6 and then six columns of int64 are expected)")
    rows = int(raw[1])
    if rows <= 0 or path.stat().st_size != 8 * (3 + rows * len(COLUMNS)):
        raise WorkloadError(f"{path}: says {rows} rows, but its {path.stat().st_size} bytes hold another number")
    return dict(zip(COLUMNS, raw[3:].reshape(len(COLUMNS), rows).astype(np.int64), strict=True))


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    """A file that `read` gives back."""
    header = np.array([MAGIC, len(columns["ts"]), len(COLUMNS)], dtype="<i8")
    np.concatenate([header, *(columns[name].astype("<i8") for name in COLUMNS)]).tofile(path)
