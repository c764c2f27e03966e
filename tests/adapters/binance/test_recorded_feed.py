"""Recorded markets through the adapter's own feed: its book equals bookTicker at every update, and survives what a network does.

The oracle is read here from the raw lines by json and dictionaries. After each gap the feed is given a snapshot made of the
oracle's book, as the venue would give one.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from adapters.binance.book_sync import SyncState
from adapters.binance.market_feed import MarketFeed
from core.enums import InstrumentClass
from core.events import Book, GapDetected, Quote
from core.instruments import Instrument
from core.strategy import Subscription
from tests.data_path import market_data

ROOT = "crypto_l2/hftbacktest/"
SECOND = 1_000_000_000
Best = tuple[str, str, str, str]


def instrument(kind: InstrumentClass, qty_scale: int, tick: int) -> Instrument:
    return Instrument(
        instrument_id="BTCUSDT.BINANCE",
        instrument_class=kind,
        base_currency="BTC",
        quote_currency="USDT",
        settlement_currency="USDT",
        price_scale=2,
        qty_scale=qty_scale,
        tick=tick,
    )


MARKETS = {
    "usdm/btcusdt_20240808.gz": (instrument(InstrumentClass.PERPETUAL, 3, 10), 6546, 65122 + 967),
    "spot/btcusdt_20240808.gz": (instrument(InstrumentClass.SPOT, 8, 1), 3449, 28040),
}


@lru_cache(maxsize=1)
def frames(path: Path) -> tuple[tuple[int, bytes], ...]:
    with gzip.open(path) as file:
        return tuple((int(line[: line.index(b" ")]), line[line.index(b" ") + 1 :].strip()) for line in file)


def plain(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


class Oracle:
    """What the venue had: best prices by update id, and the whole book, from the recorded snapshot on."""

    def __init__(self, lines: tuple[tuple[int, bytes], ...]) -> None:
        self._best: dict[int, Best] = {}
        self.sides: dict[str, dict[str, str]] | None = None
        self.update_id = 0
        self._waiting: list[dict[str, object]] = []
        for _, line in lines:
            data = json.loads(line)
            data = data.get("data", data)
            if "B" in data and data.get("e") in (None, "bookTicker"):
                self._best[data["u"]] = tuple(plain(data[key]) for key in ("b", "B", "a", "A"))  # type: ignore[assignment]

        self._ids = sorted(self._best)

    def best(self, update_id: int) -> Best | None:
        """At that update: what bookTicker said last, for it speaks at every change of the best levels."""
        place = bisect_right(self._ids, update_id)
        return self._best[self._ids[place - 1]] if place else None

    def see(self, line: bytes) -> None:
        """One clean line, in order."""
        data = json.loads(line)
        data = data.get("data", data)
        if "lastUpdateId" in data:
            self.sides = {"b": {}, "a": {}}
            self.update_id = data["lastUpdateId"]
            self._put({"b": data["bids"], "a": data["asks"], "u": self.update_id})
            for diff in self._waiting:
                if diff["u"] > self.update_id:  # type: ignore[operator]
                    self._put(diff)
        elif data.get("e") == "depthUpdate":
            if self.sides is None:
                self._waiting.append(data)
            elif data["u"] > self.update_id:
                self._put(data)

    def _put(self, diff: dict[str, object]) -> None:
        assert self.sides is not None
        for side in ("b", "a"):
            for price, qty in diff[side]:  # type: ignore[attr-defined]
                if float(qty):
                    self.sides[side][plain(price)] = plain(qty)
                else:
                    self.sides[side].pop(plain(price), None)
        self.update_id = diff["u"]  # type: ignore[assignment]

    def snapshot(self) -> bytes:
        assert self.sides is not None
        bids = sorted(self.sides["b"].items(), key=lambda row: -float(row[0]))
        asks = sorted(self.sides["a"].items(), key=lambda row: float(row[0]))
        return json.dumps({"lastUpdateId": self.update_id, "bids": bids, "asks": asks}).encode()


def best_of(feed: MarketFeed, rules: Instrument) -> Best:
    bid, bid_qty, ask, ask_qty = feed.listing("BTCUSDT").book.best()
    texts = (rules.format_price(bid), rules.format_qty(bid_qty), rules.format_price(ask), rules.format_qty(ask_qty))
    return plain(texts[0]), plain(texts[1]), plain(texts[2]), plain(texts[3])


def feed_of(rules: Instrument) -> MarketFeed:
    wanted = Subscription(instrument_id=rules.instrument_id, quotes="packet", book_levels=10)
    return MarketFeed({"BTCUSDT": rules}, [wanted], levels_max=1000)


@pytest.mark.parametrize("name", MARKETS)
def test_the_live_book_equals_book_ticker_at_every_update(name: str) -> None:
    rules, comparable, tickers = MARKETS[name]
    lines = frames(market_data(ROOT + name))
    oracle, feed = Oracle(lines), feed_of(rules)
    session = feed.listing("BTCUSDT").session
    compared, books, quotes = 0, 0, 0
    for ts, line in lines:
        before = session.last_update_id
        # The recorder asked for the snapshot over REST, as the adapter does.
        is_snapshot = b"lastUpdateId" in line
        for event in feed.snapshot(ts, "BTCUSDT", line) if is_snapshot else feed.receive(ts, line):
            assert not isinstance(event, GapDetected)
            books += isinstance(event, Book)
            quotes += isinstance(event, Quote)
            if isinstance(event, Book):
                assert len(event.bids) == len(event.asks) == 10
        if session.state is SyncState.LIVE and session.last_update_id != before:
            compared += 1
            assert best_of(feed, rules) == oracle.best(session.last_update_id)
    # Of those that the recorded snapshot brings along, one is compared for all.
    assert comparable - 30 <= compared <= comparable
    assert (feed.unreadable, session.gaps) == (0, 0)
    assert books >= compared
    assert quotes > tickers * 0.9


def disturbed(lines: tuple[tuple[int, bytes], ...], chance: random.Random) -> Iterator[tuple[int, int, bytes]]:
    """(how many clean lines the venue has sent by then, ts, line): some lost, alone and in rows, some twice, some late."""
    late: list[tuple[int, int, bytes]] = []
    lost_until = 0
    for place, (ts, line) in enumerate(lines):
        fate = chance.random()
        if fate < 0.0004:
            lost_until = place + chance.choice((1, 3, 40))
        if place < lost_until:
            continue
        if fate > 0.998:
            late.append((place + chance.randrange(1, 12), ts, line))
            continue
        yield place, ts, line
        if 0.99 < fate < 0.995:
            yield place, ts, line
        for due, stamp, held in [each for each in late if each[0] <= place]:
            late.remove((due, stamp, held))
            yield place, stamp, held


@pytest.mark.parametrize("name", MARKETS)
def test_gaps_duplicates_and_reorderings_are_survived(name: str) -> None:
    rules = MARKETS[name][0]
    lines = frames(market_data(ROOT + name))
    seed = int(os.environ.get("TRADINGD_FEED_SEED") or random.randrange(2**32))
    print(f"repeat with TRADINGD_FEED_SEED={seed}")
    chance = random.Random(seed)
    oracle, feed = Oracle(lines), feed_of(rules)
    session = feed.listing("BTCUSDT").session
    seen = compared = gaps = 0
    asked_at = 0
    for place, ts, line in disturbed(lines, chance):
        while seen <= place:
            oracle.see(lines[seen][1])
            seen += 1
        before = session.last_update_id
        # The recorded snapshot is left out: the oracle gives others.
        events = [] if b"lastUpdateId" in line else feed.receive(ts, line)
        gaps += sum(isinstance(event, GapDetected) for event in events)
        if oracle.sides is not None and feed.needs_snapshot("BTCUSDT"):
            asked_at = asked_at or place + chance.randrange(200)
            if place >= asked_at:
                asked_at = 0
                feed.snapshot(ts, "BTCUSDT", oracle.snapshot())
        if session.state is SyncState.LIVE and session.last_update_id != before:
            compared += 1
            assert best_of(feed, rules) == oracle.best(session.last_update_id)
    assert gaps >= 3
    assert compared >= 100
    assert feed.unreadable == 0
