"""One client's connection as the gateway sees it: its version, its subscriptions, and how fast it talks. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from core.units import NS_PER_SECOND
from sim.venues.exchange.model import Listing
from sim.venues.ib.wire import Inbound

MESSAGES_PER_SECOND = 50


class Subscribed(msgspec.Struct):
    """One market data request. `kind`: line, ticks, prints, depth. `rows` is what the client's book looks like."""

    request: int
    kind: str
    listing: Listing
    count: int = 0
    wants_volume: bool = False
    last: tuple[int, int, int, int] | None = None
    rows: tuple[list[tuple[int, int]], list[tuple[int, int]]] = msgspec.field(default_factory=lambda: ([], []))


class Client:
    def __init__(self, number: int) -> None:
        self.number = number
        self.inbound = Inbound()
        self.version = 0
        self.client_id = -1
        self.heard_ts = 0
        self.is_started = False
        self.is_frozen = False  # it is there and says nothing
        self.wants_positions = False
        self.account_updates = ""
        self.data_type = 1
        self.market: dict[int, Subscribed] = {}
        self._sent: deque[int] = deque(maxlen=MESSAGES_PER_SECOND)

    def is_too_fast(self, ts: int) -> bool:
        """Count a message; whether it is one too many within a second."""
        is_full = len(self._sent) == MESSAGES_PER_SECOND
        oldest = self._sent[0] if is_full else 0
        self._sent.append(ts)
        return is_full and ts - oldest < NS_PER_SECOND
