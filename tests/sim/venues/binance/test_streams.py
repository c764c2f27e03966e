"""Market streams of the simulated Binance: a book kept by the documented rules equals the venue's own; subscriptions; limits."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from sim.venues.binance.markets import Product
from tests.sim.venues.binance.signed import Binance, S, Spot, Usdm


class KeptBook:
    """A client's copy, by the rules of the venue's documentation and nothing else."""

    def __init__(self, snapshot: dict[str, Any], *, is_futures: bool) -> None:
        self.last = snapshot["lastUpdateId"]
        self.sides = [{row[0]: row[1] for row in snapshot[side]} for side in ("bids", "asks")]
        self.is_futures = is_futures
        self.is_first = True

    def apply(self, event: dict[str, Any]) -> None:
        if event["u"] < self.last or (not self.is_futures and event["u"] <= self.last):
            return
        if self.is_futures and not self.is_first:
            assert event["pu"] == self.last, event
        elif self.is_futures:
            assert event["U"] <= self.last <= event["u"] or event["U"] == self.last + 1, event
        else:
            assert event["U"] <= self.last + 1, event
        self.is_first, self.last = False, event["u"]
        for side, name in zip(self.sides, ("b", "a"), strict=True):
            for price, qty in event[name]:
                if not qty.strip("0."):
                    side.pop(price, None)
                else:
                    side[price] = qty


def venue_of(product: Product, **more: Any) -> Spot | Usdm:
    return Spot(**more) if product is Product.SPOT else Usdm(**more)


def depth(venue: Binance, product: Product) -> dict[str, Any]:
    path = "/api/v3/depth" if product is Product.SPOT else "/fapi/v1/depth"
    body: dict[str, Any] = venue.http("GET", path, symbol="BTCUSDT", limit=1000, signed=False)[1]
    return body


@pytest.mark.parametrize("product", list(Product))
@pytest.mark.parametrize("speed", ["", "@100ms"])
def test_a_book_kept_by_the_rules_is_the_venues(product: Product, speed: str) -> None:
    chance = random.Random(4)
    venue = venue_of(product, is_quiet=False)
    stream = venue.socket(f"/stream?streams=btcusdt@depth{speed}")
    venue.wait(chance.randrange(3 * S))
    book = KeptBook(depth(venue, product), is_futures=product is Product.USDM)
    for step in range(60):
        venue.wait(chance.randrange(S))
        if step % 3 == 0:
            venue.order("BUY", "0.01", str(48_000 + 10 * chance.randrange(250)), newClientOrderId=f"o{step}")
        for frame in venue.heard(stream):
            assert frame["stream"] == f"btcusdt@depth{speed}"
            book.apply(frame["data"])
    venue.act("quiet")
    venue.wait(2 * S)
    for frame in venue.heard(stream):
        book.apply(frame["data"])
    truth = depth(venue, product)
    assert book.last == truth["lastUpdateId"]
    assert book.sides == [{row[0]: row[1] for row in truth[side]} for side in ("bids", "asks")]
    bids, asks = ([float(price) for price in side] for side in book.sides)
    assert max(bids) < min(asks)


@pytest.mark.parametrize("product", list(Product))
def test_prints_and_best_prices(product: Product) -> None:
    venue = venue_of(product)
    stream = venue.socket("/ws/btcusdt@trade/btcusdt@bookTicker")
    venue.say(stream, {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 7})
    assert venue.heard(stream) == [{"result": None, "id": 7}]
    venue.act("trade", symbol="BTCUSDT", side="SELL", qty=3)
    venue.wait(S)
    told = venue.heard(stream)
    [trade] = [event for event in told if event.get("e") == "trade"]
    [aggregate] = [event for event in told if event.get("e") == "aggTrade"]
    assert (trade["m"], trade["t"], trade["p"]) == (True, aggregate["a"], aggregate["p"])
    tickers = [event for event in told if "B" in event]
    assert len(tickers) == 1
    assert ("e" in tickers[0]) is (product is Product.USDM)
    path = "/api/v3/trades" if product is Product.SPOT else "/fapi/v1/trades"
    row = venue.http("GET", path, symbol="BTCUSDT", signed=False)[1][-1]
    assert (row["id"], row["price"]) == (trade["t"], trade["p"])
    venue.say(stream, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 8})
    venue.say(stream, {"method": "LIST_SUBSCRIPTIONS", "id": 9})
    assert venue.heard(stream)[-1] == {"result": ["btcusdt@bookTicker", "btcusdt@aggTrade"], "id": 9}


def test_the_mark_is_told_each_second() -> None:
    venue = Usdm(is_quiet=False)
    stream = venue.socket("/market/stream?streams=btcusdt@markPrice@1s")
    venue.wait(5 * S)
    events = [frame["data"] for frame in venue.heard(stream)]
    stamps = [event["E"] for event in events]
    assert [later - earlier for earlier, later in itertools.pairwise(stamps)] == [1000] * (len(stamps) - 1)
    assert len(stamps) >= 5
    assert {event["r"] for event in events} == {"0.00010000"}


def test_too_many_messages_end_a_connection() -> None:
    venue = Spot()
    stream = venue.socket("/ws/btcusdt@trade")
    for number in range(6):
        venue.say(stream, {"method": "LIST_SUBSCRIPTIONS", "id": number})
    assert venue.heard(stream)[-1] is None


def test_a_connection_lives_a_day() -> None:
    venue = Usdm()
    stream = venue.socket("/ws/btcusdt@nothing")
    venue.wait(86_400 * S)
    assert venue.heard(stream) == [None]


def test_the_same_seed_is_the_same_venue() -> None:
    def story(seed: int) -> list[Any]:
        venue = Usdm(seed=seed, is_quiet=False)
        stream = venue.socket("/stream?streams=btcusdt@depth@100ms/btcusdt@trade")
        venue.wait(20 * S)
        return venue.raw[stream]

    assert story(3) == story(3)
    assert story(3) != story(4)


def test_unknown_paths_are_no_websockets() -> None:
    venue = Spot()
    with pytest.raises(AssertionError):
        venue.socket("/nothing")
