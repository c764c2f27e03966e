"""The house that quotes: a price that wanders, a spread by the hour, and orders in the book that stand for both. Pure.

Whoever deals gets the quoted price for any size up to what is quoted; the house quotes anew right behind each trade. An order
that waits is dealt in when the quote has come to its price, at the quote.
"""

from __future__ import annotations

import msgspec

from core.enums import MarketStatus, Reason, Side
from core.units import NS_PER_MS
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Listing, Order, Refused, State
from sim.venues.faults import Random
from sim.venues.oanda.calendar import is_open, spread_at
from sim.venues.oanda.pairs import Pair

STEP_NS = 250 * NS_PER_MS  # at most four prices a second for an instrument
LIQUIDITY = 10_000_000
MID_MIN = 100


class Quoted(msgspec.Struct):
    """`seen` counts quotes: a stream sends the newest that it has not sent."""

    mid: int
    bid: int = 0
    ask: int = 0
    size: int = LIQUIDITY
    ts: int = 0
    seen: int = 0
    orders: tuple[int, ...] = ()  # of the house, in the book
    is_fixed: bool = False  # somebody has set it: it does not wander


class Dealer:
    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        self._random = Random(seed)
        self.quotes = {name: Quoted(mid=_pair(listing).mid) for name, listing in exchange.listings.items()}
        self._next_ts = 0

    def next_ts(self) -> int:
        return self._next_ts

    def advance(self, ts: int) -> None:
        """Quote at each step that is due, the last one alone where many were missed."""
        if ts < self._next_ts:
            return
        self._next_ts = ts - ts % STEP_NS + STEP_NS
        for name, listing in self._exchange.listings.items():
            quoted = self.quotes[name]
            if listing.status is not MarketStatus.TRADING:
                continue
            if quoted.is_fixed:
                if quoted.orders and quoted.ask - quoted.bid == spread_at(ts, _pair(listing).spread):
                    continue
            else:
                step_max = _pair(listing).step_max
                step = self._random.below(2 * step_max + 1) - step_max
                if not step and quoted.seen:
                    continue
                quoted.mid = max(quoted.mid + step, MID_MIN)
            self.quote(ts, listing)

    def set_mid(self, ts: int, listing: Listing, mid: int) -> None:
        """The market is there now, and stays until it is set again."""
        quoted = self.quotes[listing.name]
        quoted.mid, quoted.is_fixed = mid, True
        self.quote(ts, listing)

    def set_size(self, ts: int, listing: Listing, size: int) -> None:
        """Deal in no more than so many units at once; 0: in nothing."""
        self.quotes[listing.name].size = size
        self.quote(ts, listing)

    def quote(self, ts: int, listing: Listing) -> None:
        """The house's orders leave and come back at the price of now; what rests and is crossed by them trades."""
        quoted = self.quotes[listing.name]
        self.withdraw(ts, listing)
        spread = spread_at(ts, _pair(listing).spread)
        quoted.bid = quoted.mid - spread // 2
        quoted.ask = quoted.bid + spread
        quoted.ts, quoted.seen = ts, quoted.seen + 1
        self._stand(ts, listing)
        # Stops look at these; both sides of the market are there by now.
        listing.mark = quoted.ask
        self._exchange.set_index(ts, listing, quoted.bid)
        self.refill(ts, listing)

    def fill_part(self, ts: int, order: Order, qty: int) -> None:
        """Deal in so much of a waiting order at its own price, and in nothing else. Raises Refused where that cannot be."""
        listing, price = order.listing, order.price
        if price is None or not 0 < qty <= order.leaves_qty or listing.status is not MarketStatus.TRADING:
            raise Refused(Reason.BAD_QTY, "so much of it does not wait")
        if order.state is not State.UNTRIGGERED:
            self._exchange.hit(ts, order, qty)
            return
        self.withdraw(ts, listing)
        is_buy = order.side is Side.BUY
        self._exchange.crowd_limit(ts, listing, Side.SELL if is_buy else Side.BUY, price, qty)
        if is_buy:
            self._exchange.set_mark(ts, listing, price)
        else:
            self._exchange.set_index(ts, listing, price)
        self.quote(ts, listing)

    def refill(self, ts: int, listing: Listing) -> None:
        """Behind a trade: the same prices, the whole size again."""
        quoted = self.quotes[listing.name]
        if any(self._exchange.crowd_leaves(number) != quoted.size for number in quoted.orders) or len(quoted.orders) < 2:
            self.withdraw(ts, listing)
            self._stand(ts, listing)

    def withdraw(self, ts: int, listing: Listing) -> None:
        quoted = self.quotes[listing.name]
        for number in quoted.orders:
            self._exchange.crowd_cancel(ts, number)
        quoted.orders = ()

    def follow_week(self, ts: int) -> None:
        """Open or closed, as the calendar says; a halt that somebody ordered is left as it is."""
        for listing in self._exchange.listings.values():
            if not is_open(ts) and listing.status is MarketStatus.TRADING:
                self.withdraw(ts, listing)
                self._exchange.close(ts, listing)
                self.quotes[listing.name].seen += 1
            elif is_open(ts) and listing.status is MarketStatus.CLOSED:
                self._exchange.open(ts, listing)
                self.quote(ts, listing)

    def _stand(self, ts: int, listing: Listing) -> None:
        quoted = self.quotes[listing.name]
        if listing.status is not MarketStatus.TRADING or not quoted.size:
            return
        orders = []
        for side, price in ((Side.SELL, quoted.ask), (Side.BUY, quoted.bid)):
            try:
                orders.append(self._exchange.crowd_limit(ts, listing, side, price, quoted.size))
            except Refused:
                continue  # a price beyond the instrument's: nobody quotes there
        quoted.orders = tuple(orders)


def _pair(listing: Listing) -> Pair:
    assert isinstance(listing.tag, Pair)
    return listing.tag
