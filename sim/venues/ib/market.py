"""Market data of the simulated gateway: lines, ticks, prints and depth of what a client asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from core.enums import MarketStatus, Side
from core.units import NS_PER_SECOND
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Listing, Print
from sim.venues.faults import Faults
from sim.venues.ib.client import Client, Subscribed
from sim.venues.ib.wire import frame

DEPTH_ROWS_MAX = 20
BAD_PRICES = ("nan", "inf", "1e999", "-5.0", "0.0000001", "0")
HALTED, LAST_SIZE, LAST = 49, 5, 4


class MarketData:
    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults

    def begin(self, ts: int, client: Client, asked: Subscribed) -> Iterator[bytes]:
        """What a subscription starts with."""
        rules = asked.listing.rules
        if asked.kind == "line":
            yield frame(58, 1, asked.request, client.data_type)
            yield frame(81, asked.request, rules.format_price(rules.tick), "9c0001", 3)
            yield self._halt(asked)
        if asked.kind != "prints":
            yield from self.update(ts, asked)

    def halted(self, asked: Subscribed) -> Iterator[bytes]:
        if asked.kind == "line":
            yield self._halt(asked)

    @staticmethod
    def _halt(asked: Subscribed) -> bytes:
        return frame(45, 6, asked.request, HALTED, 1 if asked.listing.status is MarketStatus.HALTED else 0)

    def update(self, ts: int, asked: Subscribed) -> Iterator[bytes]:
        """The book has changed."""
        if asked.kind == "depth":
            yield from self._depth(asked)
            return
        bid, ask = self._exchange.best(asked.listing)
        now = (bid.price, bid.qty, ask.price, ask.qty) if bid and ask else (0, 0, 0, 0)
        if bid is None or ask is None:
            now = (bid.price if bid else 0, bid.qty if bid else 0, ask.price if ask else 0, ask.qty if ask else 0)
        before = asked.last
        if now == before:
            return
        asked.last = now
        if before is not None and self._faults.fires(49):
            now = before
        if self._faults.fires(50):
            now = (now[2], now[3], now[0], now[1])
        if asked.kind == "ticks":
            yield self._tick(ts, asked, now)
        else:
            yield from self._line(asked, before, now)

    def _tick(self, ts: int, asked: Subscribed, now: tuple[int, int, int, int]) -> bytes:
        bid, ask = self._price(asked.listing, now[0], now[1]), self._price(asked.listing, now[2], now[3])
        if self._faults.fires(54):
            bid = BAD_PRICES[self._faults.random.below(len(BAD_PRICES))]
        sizes = self._size(asked.listing, now[1]), self._size(asked.listing, now[3])
        return frame(99, asked.request, 3, ts // NS_PER_SECOND, bid, ask, *sizes, 0)

    def _line(
        self, asked: Subscribed, before: tuple[int, int, int, int] | None, now: tuple[int, int, int, int]
    ) -> Iterator[bytes]:
        for side in (0, 1):
            price, qty = now[2 * side], now[2 * side + 1]
            was = (None, None) if before is None else (before[2 * side], before[2 * side + 1])
            size = self._size(asked.listing, qty)
            if price != was[0] or not qty:
                text = self._price(asked.listing, price, qty)
                if self._faults.fires(54):
                    text = BAD_PRICES[self._faults.random.below(len(BAD_PRICES))]
                yield frame(1, 6, asked.request, 1 + side, text, size, 1)
            if qty != was[1]:
                yield frame(2, 6, asked.request, 3 * side, size)

    def printed(self, ts: int, asked: Subscribed, trade: Print) -> Iterator[bytes]:
        price, size = self._price(trade.listing, trade.price, trade.qty), self._size(trade.listing, trade.qty)
        if asked.kind == "prints":
            yield frame(99, asked.request, 1, ts // NS_PER_SECOND, price, size, 0, "CME", "")
        elif asked.kind == "line":
            yield frame(1, 6, asked.request, LAST, price, size, 0)
            yield frame(2, 6, asked.request, LAST_SIZE, size)
            if asked.wants_volume:
                yield frame(46, 6, asked.request, 48, f"{price};{size};{ts // 1_000_000};{size};{price};true")

    def _depth(self, asked: Subscribed) -> Iterator[bytes]:
        if self._faults.fires(51):
            yield self._row(asked, len(asked.rows[0]) + 3, 1, Side.BUY, 0, 0)
        for side, levels in zip((Side.BUY, Side.SELL), self._exchange.levels(asked.listing, asked.count), strict=True):
            rows, wanted = asked.rows[side], [(level.price, level.qty) for level in levels]
            for at, (price, qty) in enumerate(wanted):
                while at < len(rows) and rows[at][0] != price and rows[at][0] not in {level[0] for level in wanted[at:]}:
                    del rows[at]
                    yield self._row(asked, at, 2, side, 0, 0)
                if at < len(rows) and rows[at][0] == price:
                    if rows[at][1] != qty:
                        yield self._row(asked, at, 1, side, price, qty)
                    rows[at] = (price, qty)
                else:
                    rows.insert(at, (price, qty))
                    yield self._row(asked, at, 0, side, price, qty)
            while len(rows) > len(wanted):
                rows.pop()
                yield self._row(asked, len(rows), 2, side, 0, 0)

    def _row(self, asked: Subscribed, at: int, operation: int, side: Side, price: int, qty: int) -> bytes:
        is_bid = 1 if side is Side.BUY else 0
        rules = asked.listing.rules
        return frame(
            13, 1, asked.request, at, "CME", operation, is_bid, rules.format_price(price), self._size(asked.listing, qty), 0
        )

    @staticmethod
    def _price(listing: Listing, price: int, qty: int) -> str:
        return listing.rules.format_price(price) if qty else "-1.0"

    @staticmethod
    def _size(listing: Listing, qty: int) -> str:
        text = listing.rules.format_qty(qty)
        return text.rstrip("0").rstrip(".") if "." in text else text
