"""What market data costs at a venue: depth updates a second beside ccxt.pro, and bytes in to approved command.

The frames are Binance's recorded USDⓈ-M perpetual where it is there, else made up. ccxt.pro is given the same bytes and does with
them what it does for `watch_order_book`: its JSON parser (orjson where it is installed), handle_message, its own book.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from adapters.binance.book_sync import SyncState
from adapters.binance.market_feed import MarketFeed
from core.approved import Approved
from core.commands import SubmitOrder
from core.enums import Reason
from core.events import OrderAccepted, OrderCanceled, Quote, Started
from core.strategy import Subscription
from core.trader import Trader
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig
from daemon.wiring import build_trader
from tests.adapters.binance.venue_stream import VenueStream
from tests.bench.soak import percentile
from tests.bench.trading import configuration
from tests.data_path import ROOT as DATA

RECORDING = DATA / "crypto_l2" / "hftbacktest" / "usdm" / "btcusdt_20240808.gz"
KEY = "BTCUSDT-PERP.BINANCE"
DEPTH_ROUNDS = 9
LEVELS = 10
QUOTES_MAX = 20_000


@cache
def frames() -> tuple[bytes, ...]:
    """In the order they came."""
    if RECORDING.is_file():
        with gzip.open(RECORDING) as file:
            return tuple(line.split(b" ", 1)[1].strip() for line in file)
    stream = VenueStream(1, True)
    made = [stream.snapshot(), *(stream.diff() for _ in range(3_000))]
    return tuple(frame.replace(b'"DEMO"', b'"BTCUSDT"') for frame in (*made, *stream.tickers))


def config() -> LoadedConfig:
    return configuration(Path("unused"), "none", "tests.bench.resubmit:Resubmitter")


def feed_of(loaded: LoadedConfig, *, levels: int) -> MarketFeed:
    (rules,) = [each for each in build_instruments(loaded) if each.instrument_id == KEY]
    wanted = Subscription(instrument_id=KEY, quotes="size", book_levels=levels)
    return MarketFeed({"BTCUSDT": rules}, [wanted], levels_max=1000)


class Round(NamedTuple):
    """What one depth update cost, µs: by the clock, and of the processor, which others on the machine disturb less."""

    wall: float
    processor: float


@contextmanager
def measured(updates: int, rounds: list[Round]) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    rounds.append(Round(wall / updates * 1e6, processor / updates * 1e6))


def depth_beside_ccxt() -> dict[str, Any]:
    """Both sides by turns, medians; `ccxt` and `times` are None where it is not installed. `times`: of the processor's."""
    ours: list[Round] = []
    theirs: list[Round] = []
    for _ in range(DEPTH_ROUNDS):
        depth(ours)
        with suppress(ImportError):
            depth_by_ccxt(theirs)
    times = median(one.processor / other.processor for one, other in zip(theirs, ours, strict=True)) if theirs else None
    return {"ours": _median(ours), "ccxt": _median(theirs) if theirs else None, "times": times}


def _median(rounds: list[Round]) -> dict[str, float]:
    return {"wall_us": median(each.wall for each in rounds), "processor_us": median(each.processor for each in rounds)}


def depth(rounds: list[Round]) -> None:
    """A depth update's bytes to the book, and an event with the ten best levels of each side."""
    updates, snapshot = depth_frames()
    # A book as large as the venue gives, so that the updates land in the middle of something.
    start = {**snapshot, "lastUpdateId": json.loads(updates[0])["data"]["u"]}
    feed = feed_of(config(), levels=LEVELS)
    feed.snapshot(1, "BTCUSDT", json.dumps({key: start[key] for key in ("lastUpdateId", "bids", "asks")}).encode())
    events = 0
    with measured(len(updates), rounds):
        for number, frame in enumerate(updates):
            events += len(feed.receive(number, frame))
    assert feed.listing("BTCUSDT").session.state is SyncState.LIVE
    assert feed.listing("BTCUSDT").session.frames["depth update"] == events == len(updates)


def depth_by_ccxt(rounds: list[Round]) -> None:
    """The same by ccxt.pro, with the JSON parser that it takes; raises ImportError where it is not installed."""
    import ccxt.pro
    from ccxt.async_support.base.ws.client import json_parser

    from tests.bench.venues import MARKET

    updates, snapshot = depth_frames()

    class Client:
        url = "wss://fstream.binance.com/public/ws"

        def __init__(self) -> None:
            self.subscriptions: dict[str, Any] = {}

        def resolve(self, *_all: Any) -> None:
            """Somebody would be woken here."""

        def reject(self, error: Exception, *_all: Any) -> None:
            raise error

    async def measure() -> None:
        exchange = ccxt.pro.binanceusdm({"newUpdates": False})
        exchange.set_markets([MARKET])
        book = exchange.order_book({}, 1000)
        exchange.orderbooks[MARKET["symbol"]] = book
        sides = {side: [[float(price), float(qty)] for price, qty in snapshot.get(side, [])] for side in ("bids", "asks")}
        book.reset({**sides, "timestamp": 0, "nonce": json.loads(updates[0])["data"]["pu"]})
        client = Client()
        with measured(len(updates), rounds):
            for frame in updates:
                exchange.handle_message(client, json_parser.loads(frame))
        assert book["nonce"] == json.loads(updates[-1])["data"]["u"]
        await exchange.close()

    asyncio.run(measure())


@cache
def depth_frames() -> tuple[list[bytes], dict[str, Any]]:
    """The updates, and the snapshot where there is one."""
    updates = [frame for frame in frames() if b"depthUpdate" in frame]
    return updates, json.loads(next((frame for frame in frames() if b"lastUpdateId" in frame), b"{}"))


def bytes_to_approved_us() -> dict[str, float]:
    """µs from the bytes of a bookTicker to the approved new order that it led to: adapter, Trader, strategy and risk gate."""
    loaded = config()
    feed, trader = feed_of(loaded, levels=0), build_trader(loaded, 1)
    tickers = [frame for frame in frames() if b'"B":' in frame][:QUOTES_MAX]
    ts = 1_722_999_999_000_000_000
    trader.step(Started(ts, ts, "bench"))
    times: list[float] = []
    for number, frame in enumerate(tickers):
        ts = 1_723_000_000_000_000_000 + number * 5_000_000
        began = time.perf_counter()
        approved = False
        for event in feed.receive(ts, frame):
            commands = trader.step(event)
            approved |= any(isinstance(each, Approved) and isinstance(each.command, SubmitOrder) for each in commands)
            assert isinstance(event, Quote)
        if approved:
            times.append((time.perf_counter() - began) * 1e6)
        _end_orders(trader, ts)
    assert len(times) > len(tickers) // 4
    return {"p50_us": percentile(sorted(times), 0.5), "p99_us": percentile(sorted(times), 0.99), "commands": float(len(times))}


def _end_orders(trader: Trader, ts: int) -> None:
    """The venue takes each order and each cancel at once."""
    for order in trader.orders.open_orders():
        trader.step(OrderAccepted(ts, ts, order.client_order_id, order.price or 0, order.quantity, ""))
        trader.step(OrderCanceled(ts, ts, order.client_order_id, order.quantity, Reason.REQUESTED))
