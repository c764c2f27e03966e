"""A small Binance: a book that changes one level per update id, told as diffs and snapshots, for tests of the session."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

MS = 1_700_000_000_000
Book = tuple[dict[int, int], dict[int, int]]
BestLevels = tuple[tuple[int, int] | None, tuple[int, int] | None]


def best_of(book: Book) -> BestLevels:
    """Best bid and ask with their quantities."""
    bids, asks = book
    return (
        (max(bids), bids[max(bids)]) if bids else None,
        (min(asks), asks[min(asks)]) if asks else None,
    )


@dataclass
class VenueStream:
    """`history[u]` is the whole book after update u. Futures skip ids between diffs, as the venue does; spot never does.

    `tickers` gathers a bookTicker frame for each update that changed the best prices or sizes.
    """

    seed: int
    futures: bool
    depth: int = 5
    update_id: int = 1000
    previous: int = 1000
    history: dict[int, Book] = field(default_factory=dict)
    tickers: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._book: Book = (
            {100 - step: step + 1 for step in range(self.depth)},
            {101 + step: step + 1 for step in range(self.depth)},
        )
        self._middle = 100
        self._remember()

    def _remember(self) -> None:
        self.history[self.update_id] = (dict(self._book[0]), dict(self._book[1]))

    def _set(self, side: int, price: int, qty: int, changed: tuple[set[int], set[int]]) -> None:
        before = best_of(self._book)
        self.update_id += 1
        if qty:
            self._book[side][price] = qty
        else:
            self._book[side].pop(price, None)
        changed[side].add(price)
        self._remember()
        now = best_of(self._book)
        if now != before:
            (bid, bid_qty), (ask, ask_qty) = (level or (0, 0) for level in now)
            ticker = {"u": self.update_id, "s": "DEMO", "b": f"{bid}.0", "B": str(bid_qty), "a": f"{ask}.0", "A": str(ask_qty)}
            self.tickers.append(json.dumps(ticker, separators=(",", ":")).encode())

    def diff(self) -> bytes:
        """Some updates and the frame that tells them. The market drifts; no update ever leaves the book crossed."""
        if self.futures:
            for _ in range(self._random.randrange(3)):
                self.update_id += 1  # an update that leaves the book as it is: told in no diff
                self._remember()
        first = self.update_id + 1
        changed: tuple[set[int], set[int]] = (set(), set())
        self._middle += self._random.randrange(-2, 3)
        for _ in range(self._random.randrange(1, 5)):
            side = self._random.randrange(2)
            price = self._middle + self._random.randrange(-5, 3) * (1 - 2 * side)
            qty = self._random.randrange(4)
            others = self._book[1 - side]
            for other in [other for other in others if qty and (price >= other if side == 0 else price <= other)]:
                self._set(1 - side, other, 0, changed)
            self._set(side, price, qty, changed)
        data: dict[str, object] = {"e": "depthUpdate", "E": MS + self.update_id, "s": "DEMO", "U": first, "u": self.update_id}
        if self.futures:
            data |= {"T": MS + self.update_id, "pu": self.previous}
        for side, name in ((0, "b"), (1, "a")):
            data[name] = [[f"{price}.0", str(self._book[side].get(price, 0))] for price in sorted(changed[side])]
        self.previous = self.update_id
        return json.dumps({"stream": "demo@depth@100ms", "data": data}, separators=(",", ":")).encode()

    def snapshot(self) -> bytes:
        """REST /depth as of now."""
        bids, asks = self._book
        return json.dumps(
            {
                "lastUpdateId": self.update_id,
                "bids": [[f"{price}.0", str(bids[price])] for price in sorted(bids, reverse=True)],
                "asks": [[f"{price}.0", str(asks[price])] for price in sorted(asks)],
            },
            separators=(",", ":"),
        ).encode()
