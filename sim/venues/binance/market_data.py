"""Public market data: REST answers, and the depth, trade and best-price streams with the venue's update ids. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from core.enums import Side
from core.units import NS_PER_MS, NS_PER_SECOND
from native.book_types import Level
from sim.venues.binance.desk import Desk
from sim.venues.binance.markets import Market, Product, status_of, symbol_info
from sim.venues.binance.orders import TRADE_ID_FIRST, money, ms
from sim.venues.binance.wire import ApiError, Params
from sim.venues.exchange.model import Print

LEVELS_MAX = 5000
LEVELS_SPARE = 32
TRADES_KEPT = 1000
UPDATE_ID_FIRST = 50_000_000_000
FUNDING_EVERY_NS = 8 * 3600 * NS_PER_SECOND
BEYOND_DOUBLE = 2**53
STANDARD = 1  # the kind of a futures symbol

Event = dict[str, Any]
Levels = tuple[dict[int, int], dict[int, int]]


class DepthStream:
    """The differences of one symbol at one speed; `speed_ns` 0: each at once."""

    def __init__(self, feed: BookFeed, speed_ns: int) -> None:
        self._feed = feed
        self._speed_ns = speed_ns
        self._pending: Levels = ({}, {})
        self._said = feed.update_id  # the last id that a message has told of
        self._held: Event | None = None
        self.next_ts: int | None = None

    def note(self, ts: int, side: Side, price: int, qty: int) -> None:
        self._pending[side][price] = qty
        if self.next_ts is None:
            self.next_ts = ts if not self._speed_ns else (ts // self._speed_ns + 1) * self._speed_ns

    def take(self, ts: int) -> list[Event]:
        """What is due at `ts`: an event, or what a fault makes of it."""
        if self.next_ts is None or self.next_ts > ts:
            return []
        self.next_ts = None
        event = self._event(ts)
        faults, held = self._feed.desk.faults, self._held
        if held is not None:
            self._held = None
            return [event, held]
        if faults.fires(51):
            kind = faults.random.below(3)
            if kind == 2:
                self._held = event
            return [] if kind != 1 else [event, event]
        return [event]

    def _event(self, ts: int) -> Event:
        feed, texts = self._feed, self._feed.texts
        bids, asks = ([[texts.price(price), texts.qty(qty)] for price, qty in side.items()] for side in self._pending)
        self._pending = ({}, {})
        first, last, before = self._said + 1, feed.update_id, self._said
        self._said = last
        faults = feed.desk.faults
        if faults.fires(50):
            bids.append([texts.price((feed.best_price(Side.SELL) or feed.market.fair) + 5 * feed.market.rules.tick), "1"])
        if faults.fires(54):
            bids.append([("NaN", "-1", "1e999", "Infinity", "0.0000000000001", "")[faults.random.below(6)], "1"])
        if faults.fires(56):
            last = BEYOND_DOUBLE * 1024 + 1
        event: Event = {"e": "depthUpdate", "E": ms(ts)}
        if feed.desk.product is Product.USDM:
            event["T"] = ms(ts)
        event["s"] = feed.market.symbol
        if feed.desk.product is Product.USDM:
            event |= {"ps": feed.market.symbol, "st": STANDARD}
        event |= {"U": first, "u": last}
        if feed.desk.product is Product.USDM:
            event["pu"] = before
        return event | {"b": bids, "a": asks}


class BookFeed:
    """One symbol's book as the world sees it: each change of a level has a number."""

    def __init__(self, desk: Desk, market: Market) -> None:
        self.desk = desk
        self.market = market
        self.texts = desk.texts[market.symbol]
        self.update_id = UPDATE_ID_FIRST
        self.streams: dict[int, DepthStream] = {}
        self._known: Levels = ({}, {})
        self._ticker: tuple[Any, ...] = ()
        self._old_ticker: Event | None = None
        self._old_snapshot: Event | None = None

    def stream(self, speed_ns: int) -> DepthStream:
        if speed_ns not in self.streams:
            self.streams[speed_ns] = DepthStream(self, speed_ns)
        return self.streams[speed_ns]

    def best_price(self, side: Side) -> int | None:
        level = self.desk.exchange.best(self.market.listing)[side]
        return None if level is None else level.price

    def sync(self, ts: int) -> None:
        """The book has changed: number the differences."""
        bids, asks = self._levels()
        now: Levels = ({level.price: level.qty for level in bids}, {level.price: level.qty for level in asks})
        for side in (Side.BUY, Side.SELL):
            before, after = self._known[side], now[side]
            for price in before:
                if price not in after:
                    self._change(ts, side, price, 0)
            for price, qty in after.items():
                if before.get(price) != qty:
                    self._change(ts, side, price, qty)
        self._known = now

    def _levels(self) -> tuple[list[Level], list[Level]]:
        """Every level up to LEVELS_MAX; asking for no more than there may be costs less."""
        depth = LEVELS_SPARE + max(len(side) for side in self._known)
        while True:
            depth = min(depth, LEVELS_MAX)
            bids, asks = self.desk.exchange.levels(self.market.listing, depth)
            if depth == LEVELS_MAX or max(len(bids), len(asks)) < depth:
                return bids, asks
            depth *= 4

    def _change(self, ts: int, side: Side, price: int, qty: int) -> None:
        self.update_id += 1
        for stream in self.streams.values():
            stream.note(ts, side, price, qty)

    def ticker(self, ts: int, *, is_heard: bool) -> Event | None:
        """The best prices where they have changed since the last question."""
        found = self.desk.exchange.best(self.market.listing)
        if found == self._ticker or None in found:
            return None
        self._ticker = found
        event, old = self.book_ticker(ts), self._old_ticker
        self._old_ticker = event
        if is_heard and old is not None and self.desk.faults.fires(49):
            return old | {name: event[name] for name in ("u", "E", "T") if name in event}
        return event

    def book_ticker(self, ts: int) -> Event:
        bid, ask = self.desk.exchange.best(self.market.listing)
        texts = self.texts
        event: Event = {"u": self.update_id, "s": self.market.symbol}
        event |= {"b": texts.price(bid.price if bid else 0), "B": texts.qty(bid.qty if bid else 0)}
        event |= {"a": texts.price(ask.price if ask else 0), "A": texts.qty(ask.qty if ask else 0)}
        if self.desk.product is Product.USDM:
            event = {"e": "bookTicker", **event, "T": ms(ts), "E": ms(ts), "st": STANDARD, "ps": self.market.symbol}
        return event

    def snapshot(self, ts: int, limit: int) -> Event:
        texts = self.texts
        bids, asks = self.desk.exchange.levels(self.market.listing, limit)
        found: Event = {"lastUpdateId": self.update_id}
        if self.desk.product is Product.USDM:
            found |= {"E": ms(ts), "T": ms(ts)}
        found |= {
            "bids": [[texts.price(level.price), texts.qty(level.qty)] for level in bids],
            "asks": [[texts.price(level.price), texts.qty(level.qty)] for level in asks],
        }
        old, self._old_snapshot = self._old_snapshot, found
        if old is not None and self.desk.faults.fires(53):
            return old
        return found


class MarketData:
    """All symbols. `meters` are told in exchangeInfo by the desk's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.feeds = {symbol: BookFeed(desk, market) for symbol, market in desk.markets.items()}
        self._trades: dict[str, deque[Event]] = {symbol: deque(maxlen=TRADES_KEPT) for symbol in desk.markets}

    def trade_event(self, ts: int, found: Print) -> Event:
        texts = self._desk.texts[found.listing.name]
        is_futures = self._desk.product is Product.USDM
        event: Event = {"e": "trade", "E": ms(ts)}
        if is_futures:
            event["T"] = ms(found.ts)
        event |= {
            "s": found.listing.name,
            "t": TRADE_ID_FIRST + found.trade_number,
            "p": texts.price(found.price),
            "q": texts.qty(found.qty),
        }
        if is_futures:
            event |= {"X": "MARKET"}
        else:
            event["T"] = ms(found.ts)
        event["m"] = found.taker_side is Side.SELL
        return event if is_futures else event | {"M": True}

    def aggregate_event(self, ts: int, found: Print) -> Event:
        texts, number = self._desk.texts[found.listing.name], TRADE_ID_FIRST + found.trade_number
        event: Event = {
            "e": "aggTrade",
            "E": ms(ts),
            "s": found.listing.name,
            "a": number,
            "p": texts.price(found.price),
            "q": texts.qty(found.qty),
            "f": number,
            "l": number,
            "T": ms(found.ts),
            "m": found.taker_side is Side.SELL,
        }
        return event | ({"st": STANDARD} if self._desk.product is Product.USDM else {"M": True})

    def keep(self, prints: Iterable[Print]) -> None:
        for found in prints:
            texts = self._desk.texts[found.listing.name]
            self._trades[found.listing.name].append(
                {
                    "id": TRADE_ID_FIRST + found.trade_number,
                    "price": texts.price(found.price),
                    "qty": texts.qty(found.qty),
                    "quoteQty": money(found.listing.rules.notional(found.price, found.qty)),
                    "time": ms(found.ts),
                    "isBuyerMaker": found.taker_side is Side.SELL,
                    **({"isBestMatch": True} if self._desk.product is Product.SPOT else {}),
                }
            )

    def mark_event(self, ts: int, market: Market) -> Event:
        texts, listing = self._desk.texts[market.symbol], market.listing
        return {
            "e": "markPriceUpdate",
            "E": ms(ts),
            "s": market.symbol,
            "p": texts.price(listing.mark),
            "i": texts.price(listing.index),
            "P": texts.price(listing.mark),
            "r": money(market.funding_rate_ppb // 10),
            "T": ms(next_funding(ts)),
            "st": STANDARD,
        }

    # REST.

    def ping(self, ts: int, params: Params) -> Any:
        return {}

    def time(self, ts: int, params: Params) -> Any:
        return {"serverTime": ms(ts)}

    def exchange_info(self, ts: int, params: Params) -> Any:
        desk = self._desk
        wanted = [desk.market(params)] if params.get("symbol") else list(desk.markets.values())
        found: Event = {"timezone": "UTC", "serverTime": ms(ts), "rateLimits": desk.meters.as_info(), "exchangeFilters": []}
        if desk.product is Product.USDM:
            found |= {
                "futuresType": "U_MARGINED",
                "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            }
        else:
            found["sors"] = []
        return found | {"symbols": [symbol_info(desk.product, market) for market in wanted]}

    def depth(self, ts: int, params: Params) -> Any:
        market, limit = self._desk.market(params), params.integer("limit", 100)
        if limit > LEVELS_MAX or (self._desk.product is Product.USDM and limit not in (5, 10, 20, 50, 100, 500, 1000)):
            raise ApiError(-4021 if self._desk.product is Product.USDM else -1100, f"{limit} is not valid depth limit.")
        return self.feeds[market.symbol].snapshot(ts, limit)

    def trades(self, ts: int, params: Params) -> Any:
        found = list(self._trades[self._desk.market(params).symbol])
        return found[-params.integer("limit", 500, 1000) :]

    def aggregate_trades(self, ts: int, params: Params) -> Any:
        rows = self.trades(ts, params)
        return [
            {
                "a": row["id"],
                "p": row["price"],
                "q": row["qty"],
                "f": row["id"],
                "l": row["id"],
                "T": row["time"],
                "m": row["isBuyerMaker"],
            }
            for row in rows
        ]

    def book_tickers(self, ts: int, params: Params) -> Any:
        rows = [self._ticker_row(ts, feed) for feed in self._feeds(params)]
        return rows[0] if params.get("symbol") else rows

    def _feeds(self, params: Params) -> list[BookFeed]:
        return [self.feeds[self._desk.market(params).symbol]] if params.get("symbol") else list(self.feeds.values())

    def _ticker_row(self, ts: int, feed: BookFeed) -> Event:
        event = feed.book_ticker(ts)
        row = {"symbol": event["s"], "bidPrice": event["b"], "bidQty": event["B"], "askPrice": event["a"], "askQty": event["A"]}
        return row | ({"time": ms(ts), "lastUpdateId": event["u"]} if "E" in event else {})

    def prices(self, ts: int, params: Params) -> Any:
        rows = [
            {"symbol": feed.market.symbol, "price": feed.texts.price(feed.market.listing.last)} for feed in self._feeds(params)
        ]
        return rows[0] if params.get("symbol") else rows

    def tickers(self, ts: int, params: Params) -> Any:
        """The last 24 h, as far as trades are kept."""
        rows = [self._day(ts, feed) for feed in self._feeds(params)]
        return rows[0] if params.get("symbol") else rows

    def _day(self, ts: int, feed: BookFeed) -> Event:
        texts, last, ticker = feed.texts, feed.market.listing.last, feed.book_ticker(ts)
        price, zero = texts.price(last), texts.qty(0)
        return {
            "symbol": feed.market.symbol,
            "priceChange": texts.price(0),
            "priceChangePercent": "0.000",
            "weightedAvgPrice": price,
            "prevClosePrice": price,
            "lastPrice": price,
            "lastQty": zero,
            "bidPrice": ticker["b"],
            "bidQty": ticker["B"],
            "askPrice": ticker["a"],
            "askQty": ticker["A"],
            "openPrice": price,
            "highPrice": price,
            "lowPrice": price,
            "volume": zero,
            "quoteVolume": "0.00000000",
            "openTime": ms(ts) - 86_400_000,
            "closeTime": ms(ts),
            "firstId": TRADE_ID_FIRST,
            "lastId": TRADE_ID_FIRST,
            "count": len(self._trades[feed.market.symbol]),
        }

    def premium_index(self, ts: int, params: Params) -> Any:
        rows = [
            {
                "symbol": feed.market.symbol,
                "markPrice": feed.texts.price(feed.market.listing.mark),
                "indexPrice": feed.texts.price(feed.market.listing.index),
                "estimatedSettlePrice": feed.texts.price(feed.market.listing.index),
                "lastFundingRate": money(feed.market.funding_rate_ppb // 10),
                "interestRate": "0.00010000",
                "nextFundingTime": ms(next_funding(ts)),
                "time": ms(ts),
            }
            for feed in self._feeds(params)
        ]
        return rows[0] if params.get("symbol") else rows

    def funding_rates(self, ts: int, params: Params) -> Any:
        last = ts // FUNDING_EVERY_NS * FUNDING_EVERY_NS
        return [
            {
                "symbol": feed.market.symbol,
                "fundingTime": ms(last),
                "fundingRate": money(feed.market.funding_rate_ppb // 10),
                "markPrice": feed.texts.price(feed.market.listing.mark),
            }
            for feed in self._feeds(params)
        ]

    def statuses(self) -> dict[str, str]:
        return {symbol: status_of(market) for symbol, market in self._desk.markets.items()}


def next_funding(ts: int) -> int:
    return (ts // FUNDING_EVERY_NS + 1) * FUNDING_EVERY_NS


def speed_of(product: Product, suffix: str) -> int | None:
    """ns of a depth stream's suffix ("", "100ms", …); None: there is none such."""
    known = (
        {"": 1000, "1000ms": 1000, "100ms": 100}
        if product is Product.SPOT
        else {"": 250, "0ms": 0, "100ms": 100, "250ms": 250, "500ms": 500}
    )
    found = known.get(suffix)
    return None if found is None else found * NS_PER_MS
