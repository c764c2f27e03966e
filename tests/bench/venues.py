"""What a venue costs on this side: `python -m tests.bench.venues [--json] [--orders N]`. With ccxt installed, ccxt beside it.

Orders are placed one after another at the simulated venue on loopback, in a process of its own: signing, the request, reading and
judging the answer, recording. ccxt's `create_order` does the same with its own transport. Then an ORDER_TRADE_UPDATE is decoded
and turned into events, depth updates go into a book (venue_market.py), and best prices become approved orders. Times are the
fastest of each, for the machine may be shared; depth updates are done by turns with ccxt.pro, and medians compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.queues import Queue
from typing import Any

import httpx

from adapters.binance.codec import BinanceCodec
from adapters.binance.endpoints import ORDERS_1M, ORDERS_10S, RAW, WEIGHT, Product
from adapters.binance.outcomes import read_signals
from adapters.binance.signing import Signer
from adapters.binance.user_stream import OrderTradeUpdate, decode_user
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import Meter, SlidingWindow
from adapters.http.record import HttpRecord, Redactor
from adapters.http.request import Outcome
from core.commands import SubmitOrder
from core.enums import TimeInForce
from core.identifiers import make_order_id
from core.units import NS_PER_MINUTE
from daemon.trading.clock import SystemClock
from daemon.venue_sim.loopback import serve as serve_venue
from sim.venues.binance.faults import KNOWN
from sim.venues.binance.limits import Limits
from sim.venues.binance.markets import ClientSetup
from sim.venues.binance.markets import Product as Simulated
from sim.venues.binance.venue import BinanceVenue
from sim.venues.faults import Faults
from tests.adapters.binance.account_for_tests import (
    FILL,
    INSTRUMENTS,
    NOW,
    PREFIX,
    encoded,
    events,
    order_update,
    submit,
)
from tests.adapters.binance.plain_signer import KEY, SECRET, PlainSigner
from tests.adapters.http.requests_for_tests import Veiled
from tests.bench import venue_market

ORDERS = 1500
ROUNDS, EVENTS = 60, 300


def serve(port_to: Queue[int]) -> None:
    """The simulated venue, quiet and without limits, until killed."""

    async def main() -> None:
        least = dict.fromkeys(("weight_1m", "raw_5m", "orders_10s", "orders_long"), 10**9)
        limits = Limits(**least, orders_long_ns=NS_PER_MINUTE, orders_long_name="1m")
        setups = [ClientSetup(name="us", key=KEY, secret=SECRET, balances={"USDT": 10**15})]
        ts, faults = time.time_ns(), Faults(KNOWN, 1, {})
        venue = BinanceVenue(Simulated.USDM, ts, seed=1, faults=faults, setups=setups, limits=limits)
        venue.desk.crowd.is_quiet = True
        async with serve_venue(venue, SystemClock(), port=0) as served:
            port_to.put(served.port)
            await asyncio.sleep(1e9)

    asyncio.run(main())


def signer(origin: str) -> Signer:
    """ccxt where it is, as in earnest."""
    try:
        from adapters.binance.ccxt_signer import CcxtSigner
    except ImportError:
        return PlainSigner(origin)
    return CcxtSigner(api_key=KEY, secret=SECRET, spot_origin=origin, futures_origin=origin)


async def ours_by_httpx(origin: str, orders: int) -> list[float]:
    return await ours(origin, orders, Veiled())


async def ours_by_httpcore(origin: str, orders: int) -> list[float]:
    return await ours(origin, orders, httpx.AsyncHTTPTransport())


def order(number: int) -> SubmitOrder:
    """Too far from the market to be filled, and gone at once: none of them waits at the venue."""
    (rules,) = INSTRUMENTS[Product.USDM].values()
    fields = {"quantity": rules.parse_qty("0.002"), "price": rules.parse_price("48000.5"), "time_in_force": TimeInForce.IOC}
    return submit(Product.USDM, client_order_id=make_order_id(8, number + 1), **fields)


async def ours(origin: str, orders: int, wire: httpx.AsyncBaseTransport | None = None) -> list[float]:
    codec = BinanceCodec(Product.USDM, signer(origin), INSTRUMENTS[Product.USDM], PREFIX)
    meters: dict[str, Meter] = {name: SlidingWindow(10**9, NS_PER_MINUTE) for name in (WEIGHT, RAW, ORDERS_10S, ORDERS_1M)}
    records: list[HttpRecord] = []
    redactor = Redactor([KEY, SECRET])
    http = HttpTransport(
        "BINANCE", HttpSettings(), read_signals=read_signals, meters=meters, record=records.append, redactor=redactor, wire=wire
    )
    times = []
    for number in range(orders):
        began = time.perf_counter()
        sent = await http.send(codec.place(order(number), NOW))
        times.append(time.perf_counter() - began)
        assert sent.outcome is Outcome.ACCEPTED, sent
    await http.aclose()
    return times


MARKET = {
    **dict.fromkeys(("spot", "future", "option", "margin", "inverse"), False),
    **dict.fromkeys(("swap", "contract", "linear", "active"), True),
    "id": "BTCUSDT",
    "symbol": "BTC/USDT:USDT",
    "base": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "type": "swap",
    "contractSize": 1,
    "baseId": "BTC",
    "quoteId": "USDT",
    "settleId": "USDT",
    "precision": {"price": 0.1, "amount": 0.001},
    "limits": {"amount": {"min": 0.001}, "price": {}, "cost": {}, "market": {}},
    "info": {"orderTypes": ["LIMIT"]},
}


async def by_ccxt(origin: str, orders: int) -> list[float]:
    import ccxt.async_support as ccxt

    exchange = ccxt.binance({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "options": {"defaultType": "swap"}})
    for section in exchange.urls["api"]:
        exchange.urls["api"][section] = origin + "/fapi/v1"
    exchange.set_markets([MARKET])
    times = []
    for number in range(orders):
        began = time.perf_counter()
        named = {"newClientOrderId": f"ccxt-{number}", "timeInForce": "IOC"}
        await exchange.create_order("BTC/USDT:USDT", "limit", "buy", 0.002, 48000.5, named)
        times.append(time.perf_counter() - began)
    await exchange.close()
    return times


def decode_us() -> float:
    """µs for one update of the user-data stream, frame to events; the best of many short rounds."""
    frame = encoded(order_update(**FILL))
    book = events(Product.USDM)
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(EVENTS):
            message = decode_user(frame)
            assert isinstance(message, OrderTradeUpdate)
            book.order_update(message, NOW)
        best = min(best, time.perf_counter() - began)
    return best / EVENTS * 1e6


def placed_us(run: Callable[[str, int], Awaitable[list[float]]], origin: str, orders: int) -> dict[str, float]:
    async def measure() -> list[float]:
        return await run(origin, orders)

    began = time.process_time()
    times = sorted(asyncio.run(measure()))
    used = time.process_time() - began
    return {"fastest_us": times[0] * 1e6, "p50_us": times[len(times) // 2] * 1e6, "processor_us": used / orders * 1e6}


# As it is, through httpx's objects, and over httpx's own transport.
OURS = {"ours": ours, "ours by httpx": ours_by_httpx, "ours by httpcore": ours_by_httpcore}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.venues", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    port_from: Queue[int] = context.Queue()
    server = context.Process(target=serve, args=(port_from,), daemon=True)
    server.start()
    try:
        origin = f"http://127.0.0.1:{port_from.get(timeout=60)}"
        report: dict[str, Any] = {"update_us": decode_us()}
        for name, run in OURS.items():
            report[name] = placed_us(run, origin, arguments.orders)
        report["depth"] = venue_market.depth_beside_ccxt()
        report["quote_to_order"] = venue_market.bytes_to_approved_us()
        try:
            report["ccxt"] = placed_us(by_ccxt, origin, arguments.orders)
        except ImportError:
            report["ccxt"] = None
    finally:
        server.terminate()
        server.join()
    if arguments.json:
        json.dump(report, sys.stdout, indent=1)
        return 0
    print(f"one order update, frame to events: {report['update_us']:.1f} µs")
    depth = report["depth"]
    took = depth["ours"]["processor_us"]
    print(f"one depth update, bytes to book and event: {took:.1f} µs of the processor at the median, {1e6 / took:.0f}/s", end="")
    print(
        "" if depth["ccxt"] is None else f"; ccxt.pro {depth['ccxt']['processor_us']:.0f} µs, {depth['times']:.1f} times as long"
    )
    through = report["quote_to_order"]
    print(f"bookTicker bytes to approved order: {through['p50_us']:.0f} µs at the median, {through['p99_us']:.0f} at p99")
    for name in (*OURS, "ccxt"):
        if report[name] is None:
            print(f"{name}: not installed")
            continue
        print(
            f"{name}: one order {report[name]['fastest_us']:.0f} µs at best, {report[name]['p50_us']:.0f} at the median,", end=" "
        )
        print(f"{report[name]['processor_us']:.0f} of the processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
