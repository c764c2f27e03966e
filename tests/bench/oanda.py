"""One order over loopback: our transport with oandapyV20's descriptions against oandapyV20's own client; and a fill's line decoded.

python -m tests.bench.oanda [ORDERS]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from statistics import median, quantiles
from unittest.mock import patch

import oandapyV20
from oandapyV20.endpoints import orders

from adapters.http.gate import GateLimits
from adapters.http.io import HttpSettings, HttpTransport
from adapters.http.meters import SlidingWindow
from adapters.http.request import Outcome, Request
from adapters.oanda.codec import REQUESTS, OandaCodec, order_body
from adapters.oanda.outcomes import signals_of
from adapters.oanda.rules import rules_of
from core.commands import SubmitOrder
from core.enums import OrderType, Side
from daemon.venue_sim.loopback import serve
from sim.venues.oanda.venue import OandaVenue
from tests.adapters.oanda.test_fuzz import FILL, encoded, session
from tests.adapters.oanda.world import EURO, instruments

ACCOUNT, TOKEN = "101-001-1000001-001", "token-of-the-bench"
MONDAY_NS = 1_790_000_000 * 10**9
MANY = 10**9
LINES = 20_000
RULES = rules_of(instruments()[EURO], "EUR_USD")


class Clock:
    def now(self) -> int:
        return MONDAY_NS + time.monotonic_ns() % 10**12


def venue_process(ready: Connection) -> None:
    async def main() -> None:
        venue = OandaVenue(MONDAY_NS, seed=1, requests_per_s=MANY, connections_per_s=0)
        venue.add_account(MONDAY_NS, ACCOUNT, TOKEN, 100_000 * 10**8)
        async with serve(venue, Clock()) as served:
            ready.send(str(served))
            await asyncio.Event().wait()

    asyncio.run(main())


def order(number: int) -> SubmitOrder:
    return SubmitOrder(0, number, "s", EURO, Side.BUY, OrderType.LIMIT, 100, 100_000)


async def ours(origin: str, count: int) -> list[int]:
    codec = OandaCodec(account=ACCOUNT, token=TOKEN, api=origin, stream=origin, deadline_s=10.0)
    http = HttpTransport(
        "OANDA",
        HttpSettings(gate=GateLimits()),
        read_signals=signals_of,
        meters={REQUESTS: SlidingWindow(MANY, 10**9)},
    )
    times = []
    for number in range(count):
        begin = time.perf_counter_ns()
        request = codec.place(order(number), RULES, f"o-1-{number}")
        assert isinstance(request, Request)
        sent = await http.send(request)
        times.append(time.perf_counter_ns() - begin)
        assert sent.outcome is Outcome.ACCEPTED, sent
    await http.aclose()
    return times


def theirs(origin: str, count: int) -> list[int]:
    times = []
    with patch.dict("oandapyV20.oandapyV20.TRADING_ENVIRONMENTS", {"practice": {"api": origin, "stream": origin}}):
        client = oandapyV20.API(access_token=TOKEN)
        for number in range(count):
            begin = time.perf_counter_ns()
            body = order_body(order(number), RULES, f"t-1-{number}")
            client.request(orders.OrderCreate(ACCOUNT, {"order": body}))
            times.append(time.perf_counter_ns() - begin)
    return times


def told(name: str, times: list[int]) -> None:
    warm = sorted(times[len(times) // 10 :])
    print(f"{name}: best {warm[0] / 1e6:.2f} ms, median {median(warm) / 1e6:.2f}, p99 {quantiles(warm, n=100)[98] / 1e6:.2f}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=venue_process, args=(there,), daemon=True)
    process.start()
    origin = f"http://{here.recv()}"
    told("our transport   ", asyncio.run(ours(origin, count)))
    told("oandapyV20's API", theirs(origin, count))
    process.kill()
    found, begin = session(), time.perf_counter_ns()
    for number in range(LINES):
        found.transaction_line(1, encoded({**FILL, "id": str(number + 7), "orderID": "999", "clientOrderID": ""}))
    print(
        f"a fill of the stream, line to event (its JSON made here, too): {(time.perf_counter_ns() - begin) / LINES / 1e3:.1f} us"
    )


if __name__ == "__main__":
    main()
