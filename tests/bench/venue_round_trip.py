"""An order's way to a simulated venue in another process and back: from `send` to the acceptance in the sink, p50 and p99.

    python -m tests.bench.venue_round_trip [--orders N] [--tcp] [--json]

The venue answers without simulated latency; what is measured is the adapter, two crossings of the wire and the venue's process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from adapters.sim.address import parse_address
from adapters.sim.io import SimAdapter
from core.approved import Approved
from core.commands import CancelAll, SubmitOrder
from core.enums import OrderType, Side
from core.events import AnyEvent, OrderEvent, Quote
from core.strategy import Subscription
from core.venue_adapter import VenueState
from daemon.config.loader import load_config
from daemon.trading.clock import SystemClock
from daemon.trading.wiring import build_bare_trader
from tests.daemon.session import CONFIG, ROOT

KEY = "ACME.SIM"
WARM_UP = 200


class Watching:
    """A sink that notes when the answer to one order was there."""

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.events: dict[int, int] = {}
        self.answered = anyio.Event()
        self.market_events = 0

    def offer(self, event: AnyEvent) -> bool:
        if isinstance(event, OrderEvent):
            self.events.setdefault(event.client_order_id, time.perf_counter_ns())
            self.answered.set()
        else:
            self.market_events += 1
            self.quote = event if isinstance(event, Quote) else self.quote
        return True

    async def put(self, event: AnyEvent) -> None:
        self.offer(event)


def nothing(_state: VenueState) -> None:
    return


async def measure(adapter: SimAdapter, approved: Approved, orders: int) -> dict[str, Any]:
    sink, taken, left = Watching(), [], []
    await adapter.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.run, sink, nothing)
        while sink.quote is None:
            await anyio.sleep(0.01)
        for number in range(1, orders + WARM_UP + 1):
            # Far from the market: it rests, and nothing else happens to it.
            order = SubmitOrder(time.time_ns(), number, "bench", KEY, Side.BUY, OrderType.LIMIT, 1, sink.quote.bid_price - 500)
            object.__setattr__(approved, "command", order)
            sink.answered = anyio.Event()
            start = time.perf_counter_ns()
            adapter.send(approved)
            sent = time.perf_counter_ns()
            await sink.answered.wait()
            if number > WARM_UP:
                taken.append(sink.events[number] - start)
                left.append(sent - start)
            if number % 500 == 0:
                object.__setattr__(approved, "command", CancelAll(time.time_ns(), None))
                adapter.send(approved)
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    await adapter.close()
    return {"orders": orders, "market_events": sink.market_events, "round_trip_us": spread(taken), "send_us": spread(left)}


def spread(times: list[int]) -> dict[str, float]:
    ordered = sorted(times)
    places = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    return {name: ordered[place] / 1_000 for name, place in places.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.venue_round_trip", description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--tcp", action="store_true", help="over loopback TCP instead of a unix socket")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "session.toml"
        config.write_text(CONFIG.replace('model = "lognormal"\nentry = "250us"\nresponse = "250us"', INSTANT))
        listen = "127.0.0.1:0" if options.tcp else f"unix:{folder}/venue"
        command = [sys.executable, "-m", "daemon.cli.main", "venue-sim", "sim", "--config", str(config), "--listen", listen]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        venue = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert venue.stdout is not None
            address = parse_address(json.loads(venue.stdout.readline())["listening"])
            approved = build_bare_trader(load_config(config)).risk.cancel(CancelAll(0, None))
            adapter = SimAdapter(
                venue="SIM",
                address=address,
                account="main",
                token="",
                instrument_ids=[KEY],
                subscriptions=[Subscription(instrument_id=KEY, quotes="size")],
                now=SystemClock().now,
            )
            result = anyio.run(partial(measure, adapter, approved, options.orders), backend_options={"use_uvloop": True})
        finally:
            venue.terminate()
            venue.wait(10)
    if options.json:
        print(json.dumps(result))
    else:
        for name in ("round_trip_us", "send_us"):
            print(f"{name:14}", "  ".join(f"{key} {value:,.1f}" for key, value in result[name].items()))
    return 0


INSTANT = 'model = "constant"\nentry = "0us"\nresponse = "0us"'

if __name__ == "__main__":
    sys.exit(main())
