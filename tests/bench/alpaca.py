"""What Alpaca costs on this side, alpaca-py beside it: `python -m tests.bench.alpaca [--json] [--orders N]`.

Orders are placed one after another at a server on loopback, in a process of its own, which answers each with the same order: ours
by codec and transport, judging and recording included, theirs by TradingClient.submit_order. Then a frame of quotes of the market
data stream becomes events here and models there. Fastest and median of each, for the machine may be shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from multiprocessing.queues import Queue
from typing import Any

import msgspec

from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.hours import Hours
from adapters.alpaca.market import MarketSession
from adapters.alpaca.outcomes import read_signals
from adapters.alpaca.parts import open_meters
from adapters.alpaca.settings import AlpacaSettings, endpoints_of
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.record import Redactor
from adapters.http.request import Outcome
from core.commands import SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.strategy import Subscription
from core.venue_opening import Environment
from sim.venues.alpaca.settings import listing_rules
from sim.venues.alpaca.streams import stamp_ext
from tests.adapters.alpaca.world import DEFAULTS

ORDERS = 1_000
FRAMES, QUOTES = 2_000, 10  # quotes in a frame
KEY = "AAPL.ALPACA"
SETTINGS = msgspec.convert(DEFAULTS | {"requests_per_min": 100_000, "orders_per_min": 90_000}, AlpacaSettings)
ANSWER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "t-1-1",
    "created_at": "2026-11-20T15:00:00.1Z",
    "updated_at": "2026-11-20T15:00:00.1Z",
    "submitted_at": "2026-11-20T15:00:00.1Z",
    "asset_class": "us_equity",
    "asset_id": "904837e3-3b76-47ec-b432-046db621571b",
    "status": "pending_new",
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "order_type": "limit",
    "order_class": "",
    "time_in_force": "day",
    "qty": "10",
    "filled_qty": "0",
    "limit_price": "200",
    "extended_hours": False,
}
BODY = json.dumps(ANSWER).encode()
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
QUOTE = {"T": "q", "S": "AAPL", "bx": "V", "bp": 161.28, "bs": 3, "ax": "V", "ap": 161.29, "as": 2, "c": ["R"], "z": "C"}


def serve(port_to: Queue[int]) -> None:
    """Answers every request with the same order."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            writer.write(REPLY)

    async def main() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        port_to.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def ours(address: str, orders: int) -> list[float]:
    endpoints = endpoints_of(SETTINGS, Environment.SIMULATOR, address)
    instruments = {KEY: listing_rules("AAPL")}
    codec = AlpacaCodec(
        SETTINGS, endpoints, key="PKABCDEF", secret="secret", prefix="t", instruments=instruments, symbols={KEY: "AAPL"}
    )
    kept: list[Any] = []
    http = HttpTransport(
        "ALPACA",
        HttpSettings(),
        read_signals=read_signals,
        meters=open_meters(SETTINGS),
        record=kept.append,
        redactor=Redactor(("PKABCDEF", "secret")),
    )
    order_id = (1 << 32) + 1
    command = SubmitOrder(1, order_id, "s", KEY, Side.BUY, OrderType.LIMIT, 10, 2_000_000, None, TimeInForce.DAY)
    times = []
    for _ in range(orders):
        began = time.perf_counter()
        sent = await http.send(codec.place(command))
        times.append(time.perf_counter() - began)
        assert sent.outcome is Outcome.ACCEPTED, sent.reason
        kept.clear()
    await http.aclose()
    return times


def theirs(address: str, orders: int) -> list[float]:
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide
    from alpaca.trading.enums import TimeInForce as TheirTime
    from alpaca.trading.requests import LimitOrderRequest

    client = TradingClient("PKABCDEF", "secret", url_override=f"http://{address}")
    times = []
    for _ in range(orders):
        began = time.perf_counter()
        order = LimitOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TheirTime.DAY, limit_price=200, client_order_id="t-1-1"
        )
        client.submit_order(order)
        times.append(time.perf_counter() - began)
    return times


def frame() -> bytes:
    at = stamp_ext(1_795_192_168_486_099_638)
    return msgspec.msgpack.encode([QUOTE | {"t": at, "bs": number} for number in range(1, QUOTES + 1)])


def quotes_here() -> float:
    """Seconds for one quote, frame to event; the best of several rounds."""
    session = MarketSession(
        SETTINGS,
        key="PKABCDEF",
        secret="secret",
        instruments={KEY: listing_rules("AAPL")},
        symbols={KEY: "AAPL"},
        subscriptions=[Subscription(instrument_id=KEY, quotes="packet")],
        hours=Hours(is_extended=False),
    )
    payload = frame()
    return best(lambda: session.receive(1, payload))


def quotes_there() -> float:
    import msgpack
    from alpaca.data.live.stock import StockDataStream

    stream = StockDataStream("PKABCDEF", "secret")
    payload = frame()

    def decode() -> None:
        for message in msgpack.unpackb(payload):
            stream._cast(message)

    return best(decode)


def best(call: Any) -> float:
    found = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(FRAMES // 5):
            call()
        found.append((time.perf_counter() - began) / (FRAMES // 5 * QUOTES))
    return min(found)


def summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"fastest_us": ordered[0] * 1e6, "p50_us": ordered[len(ordered) // 2] * 1e6}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.alpaca", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    port_from: Queue[int] = context.Queue()
    server = context.Process(target=serve, args=(port_from,), daemon=True)
    server.start()
    try:
        address = f"127.0.0.1:{port_from.get(timeout=60)}"
        report: dict[str, Any] = {
            "ours": summary(asyncio.run(ours(address, arguments.orders))),
            "alpaca-py": summary(theirs(address, arguments.orders)),
            "quote_us": quotes_here() * 1e6,
            "alpaca-py quote_us": quotes_there() * 1e6,
        }
    finally:
        server.terminate()
        server.join()
    if arguments.json:
        json.dump(report, sys.stdout, indent=1)
        return 0
    for name in ("ours", "alpaca-py"):
        found = report[name]
        print(f"{name}: one order {found['fastest_us']:.0f} µs at best, {found['p50_us']:.0f} at the median")
    print(f"one quote: {report['quote_us']:.1f} µs here, {report['alpaca-py quote_us']:.1f} by alpaca-py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
