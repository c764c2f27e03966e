"""One instrument's book from book.INSTRUMENT.raw: joined by change ids, or not at all.

The first message after a subscription is a snapshot; each later one is applied only where its prev_change_id is the change_id
before it. Anything else (a gap, a repeat, a message from the past, an impossible level, a crossed book) ends the book: it is
unknown until the snapshot of a new subscription.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from adapters.deribit.exact import ScaledNumbers
from adapters.deribit.instruments import VenueInstrument
from adapters.deribit.wire import Book, Levels, PlainLevels
from core.errors import VenueProtocolError
from core.events import Book as BookEvent
from core.events import Quote
from core.units import NS_PER_MS

# Price and quantity, best first: bids, asks.
Sides = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


class _Side:
    """Prices in order and what is there."""

    __slots__ = ("prices", "qty")

    def __init__(self) -> None:
        self.prices: list[int] = []
        self.qty: dict[int, int] = {}

    def put(self, price: int, qty: int) -> None:
        if price not in self.qty:
            insort(self.prices, price)
        self.qty[price] = qty

    def remove(self, price: int) -> None:
        if self.qty.pop(price, None) is not None:
            del self.prices[bisect_left(self.prices, price)]


class DeribitBook:
    """`change_id` None: there is no book. `receive` says whether what came was applied."""

    def __init__(self, venue: VenueInstrument) -> None:
        self.instrument_id = venue.instrument.instrument_id
        self.change_id: int | None = None
        self.ts_event = 0
        self._price = ScaledNumbers(venue.instrument.price_scale, 1 if venue.instrument.price_min > 0 else -(1 << 63))
        self._qty = ScaledNumbers(venue.instrument.qty_scale, 0)
        self._bids = _Side()
        self._asks = _Side()

    def clear(self) -> None:
        self.change_id = None
        self._bids, self._asks = _Side(), _Side()

    def receive(self, message: Book) -> None:
        """Apply it. Raises VenueProtocolError where it does not follow, or breaks the book; then there is no book any more."""
        try:
            if message.type == "snapshot":
                self.clear()
            elif self.change_id is None or message.prev_change_id != self.change_id:
                raise VenueProtocolError(
                    f"{message.instrument_name}: prev_change_id {message.prev_change_id} after {self.change_id}"
                )
            self._apply(self._bids, message.bids)
            self._apply(self._asks, message.asks)
            if self._bids.prices and self._asks.prices and self._bids.prices[-1] >= self._asks.prices[0]:
                raise VenueProtocolError(
                    f"{message.instrument_name}: bid {self._bids.prices[-1]} and ask {self._asks.prices[0]} are crossed"
                )
        except VenueProtocolError:
            self.clear()
            raise
        self.change_id = message.change_id
        self.ts_event = message.timestamp * NS_PER_MS

    def _apply(self, side: _Side, levels: Levels) -> None:
        price_of, qty_of = self._price, self._qty
        for action, price_text, qty_text in levels:
            price, qty = price_of[bytes(price_text)], qty_of[bytes(qty_text)]
            if action == "delete":
                side.remove(price)
            elif qty:
                side.put(price, qty)
            else:
                raise VenueProtocolError(f"{self.instrument_id}: {action} at {price} with amount 0")

    def quote(self, ts: int) -> Quote:
        """The best prices, stamped ts_init = `ts`."""
        bids, asks = self._bids, self._asks
        bid = bids.prices[-1] if bids.prices else 0
        ask = asks.prices[0] if asks.prices else 0
        return Quote(self.ts_event, ts, self.instrument_id, bid, bids.qty.get(bid, 0), ask, asks.qty.get(ask, 0))

    def best(self) -> tuple[int, int, int, int]:
        """bid, its quantity, ask, its quantity; quantity 0 where a side is empty."""
        quote = self.quote(0)
        return quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty

    def levels(self, ts: int, depth: int) -> BookEvent:
        """The best `depth` levels of each side, stamped ts_init = `ts`."""
        bids, asks = self.sides(depth)
        return BookEvent(self.ts_event, ts, self.instrument_id, bids, asks)

    def sides(self, depth: int) -> Sides:
        return (
            tuple((price, self._bids.qty[price]) for price in self._bids.prices[: -depth - 1 : -1]),
            tuple((price, self._asks.qty[price]) for price in self._asks.prices[:depth]),
        )

    def read_sides(self, bids: PlainLevels, asks: PlainLevels) -> Sides:
        """Levels of an answer, in this book's units. Raises VenueProtocolError."""
        price_of, qty_of = self._price, self._qty
        read = [tuple((price_of[bytes(price)], qty_of[bytes(qty)]) for price, qty in side) for side in (bids, asks)]
        return read[0], read[1]
