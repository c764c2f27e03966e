"""A small Binance: a book that changes one level per update id, told as diffs and snapshots, for tests of the session."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

MS = 1_700_000_000_000
Book = tuple[dict[int, int], dict[int, int]]


@dataclass
class VenueStream:
    """`history[u]` is the whole book after update u. Futures skip ids between diffs, as the venue does; spot never does."""

    seed: int
    futures: bool
    update_id: int = 1000
    previous: int = 1000
    history: dict[int, Book] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._book: Book = ({100 - step: step + 1 for step in range(5)}, {101 + step: step + 1 for step in range(5)})
        self._remember()

    def _remember(self) -> None:
        self.history[self.update_id] = (dict(self._book[0]), dict(self._book[1]))

    def diff(self) -> bytes:
        """Some updates and the frame that tells them."""
        if self.futures:
            for _ in range(self._random.randrange(3)):
                self.update_id += 1  # an update that leaves the book as it is: told in no diff
                self._remember()
        first = self.update_id + 1
        changed: tuple[set[int], set[int]] = (set(), set())
        for _ in range(self._random.randrange(1, 5)):
            self.update_id += 1
            side = self._random.randrange(2)
            price = (90 if side == 0 else 101) + self._random.randrange(11)
            qty = self._random.randrange(4)
            if qty:
                self._book[side][price] = qty
            else:
                self._book[side].pop(price, None)
            changed[side].add(price)
            self._remember()
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
