"""What an event costs on its way through the daemon: `python -m tests.bench.trading [--json] [--folder DIR]`.

The daemon of paper and live sessions, whole: inbox, journal, step, disk, send. Its feed is the best prices of Binance's recorded
USD-M perpetual (absent: a random walk with as many changes), its strategy a maker that moves its orders with every one, or one
that sends new ones; its venue is a stand-in that accepts at once. Measured is the time from an event's stamp in the inbox to the
command that it led to in the adapter's hands. Paced, the events come at ten times their recorded rate; saturated, so that 32 of
them always wait.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import Reason
from core.events import AnyEvent, OrderAccepted, OrderCanceled, OrderReplaced, Quote
from core.strategy import Subscription
from core.trader import Trader
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from daemon.config.build import build_instruments
from daemon.config.loader import LoadedConfig, load_config
from daemon.control.server import Handler
from daemon.trading.clock import Clock
from daemon.trading.control import Control
from daemon.trading.daemon import Daemon
from daemon.trading.market import open_market
from tests.bench.soak import percentile
from tests.data_path import ROOT as DATA

ROOT = Path(__file__).resolve().parents[2]
RECORDED_PER_S = 192.0  # changes of the best prices and sizes in that recording
TIMES = 10.0
FOREVER = 1 << 62
# The maker moves its orders, which does not wait for the disk; a new order does.
WAYS = {"maker": "symmetric_maker", "new orders": "tests.bench.resubmit:Resubmitter"}
WAITING_MAX = 32  # saturated: what the inbox holds


class StandIn:
    """An adapter whose feed is a list, and whose venue takes everything and answers at once. `waits_ns`: from stamp to send."""

    def __init__(self, quotes: Sequence[Quote], per_s: float | None, clock: Clock) -> None:
        self._quotes = quotes
        self._per_s = per_s
        self._clock = clock
        self._open: dict[int, VenueOrder] = {}
        self._answers: list[AnyEvent] = []
        self.waits_ns: list[int] = []
        self.sent: Counter[str] = Counter()
        self.seconds = 0.0
        self.inbox: Sized = ()

    async def open(self) -> None:
        """It is here."""

    async def close(self) -> None:
        """It holds nothing."""

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        raise AssertionError("every order here is ours")

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        quotes, self._quotes = self._quotes, ()
        if not quotes:
            # The feed has ended; what is asked for now is the answers to the last commands.
            await self._answer(sink)
            return
        started = time.perf_counter()
        for number, quote in enumerate(quotes):
            if self._per_s is not None:
                ahead = started + number / self._per_s - time.perf_counter()
                if ahead > 0:
                    await self._answer(sink)
                    await anyio.sleep(ahead)
            sink.offer(quote)
            while self._per_s is None and len(self.inbox) >= WAITING_MAX:
                # The loop never runs dry, and nothing is conflated.
                await self._answer(sink)
                await anyio.sleep(0)
        await self._answer(sink)
        self.seconds = time.perf_counter() - started

    async def _answer(self, sink: EventSink) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            await sink.put(answer)

    def send(self, approved: Approved) -> None:
        command, now = approved.command, self._clock.now()
        self.waits_ns.append(now - command.ts)
        self.sent[type(command).__name__] += 1
        match command:
            case SubmitOrder(client_order_id=order_id, price=price, quantity=quantity):
                self._open[order_id] = VenueOrder(order_id, command.instrument_id, command.side, price, quantity)
                self._answers.append(OrderAccepted(now, now, order_id, price or 0, quantity))
            case ReplaceOrder(client_order_id=order_id, price=price, quantity=quantity):
                order = self._open[order_id]
                self._open[order_id] = VenueOrder(order_id, order.instrument_id, order.side, price, quantity)
                self._answers.append(OrderReplaced(now, now, order_id, price or 0, quantity))
            case CancelOrder(client_order_id=order_id):
                self._cancel(order_id, now)
            case CancelAll():
                for order_id in list(self._open):
                    self._cancel(order_id, now)

    def _cancel(self, order_id: int, now: int) -> None:
        order = self._open.pop(order_id, None)
        if order is not None:
            self._answers.append(OrderCanceled(now, now, order_id, order.leaves_qty, Reason.REQUESTED))

    async def query(self, since_ts: int) -> VenueState:
        return VenueState(tuple(self._open.values()), (), {})


def configuration(folder: Path, sync: str, strategy: str = "symmetric_maker") -> LoadedConfig:
    os.environ.setdefault("TRADINGD_DATA", str(DATA))
    overrides = {
        "run.mode": '"paper"',
        "risk.orders_max": "1000000",
        "strategies.0.class": json.dumps(strategy),
        "strategies.0.params.requote_interval_ms": "0",
        "daemon.state_folder": json.dumps(str(folder / "state")),
        "daemon.sync": json.dumps(sync),
    }
    return load_config(ROOT / "config" / "backtest-binance-usdm.toml", [f"{key}={value}" for key, value in overrides.items()])


def recorded_quotes(loaded: LoadedConfig, count: int) -> list[Quote]:
    """The first so many changes of the best prices; of a random walk where the recording is not at hand."""
    instruments = build_instruments(loaded)
    instrument = instruments[0]
    if not (DATA / "crypto_l2").is_dir():
        draw, bid = random.Random(1), instrument.parse_price("61000")
        quotes = []
        for number in range(count):
            bid += draw.choice((-1, 0, 1)) * instrument.tick
            sizes = draw.randint(1, 9_000), draw.randint(1, 9_000)
            quotes.append(Quote(number, number, instrument.instrument_id, bid, sizes[0], bid + instrument.tick, sizes[1]))
        return quotes
    wanted = [Subscription(instrument_id=instrument.instrument_id, quotes="size")]
    market = open_market(loaded, instruments, wanted, now=1, life=1, marks={}, positions={})
    found: list[Quote] = []
    while len(found) < count and not market.done:
        found += [event for event in market.advance(FOREVER) if isinstance(event, Quote)]
    return found[:count]


def measure(folder: Path, sync: str, strategy: str, quotes: Sequence[Quote], per_s: float | None) -> dict[str, Any]:
    """One run of the daemon over `quotes`."""
    made: list[StandIn] = []

    def open_stand_in(_loaded: LoadedConfig, _trader: Trader, clock: Clock) -> StandIn:
        made.append(StandIn(quotes, per_s, clock))
        return made[0]

    daemon = Daemon(configuration(folder, sync, strategy), quiet=True, open_adapter=open_stand_in)

    def handler_of(started: Daemon) -> Handler:
        made[0].inbox = started.session.inbox
        return Control(started).answer

    async def run() -> None:
        await daemon.run(handler_of)

    use_uvloop = importlib.util.find_spec("uvloop") is not None
    anyio.run(partial(run), backend_options={"use_uvloop": use_uvloop})
    venue, session = made[0], daemon.session
    waits_us = [wait / 1e3 for wait in venue.waits_ns]
    return {
        "events": session.events,
        "events_per_s": round(session.events / venue.seconds),
        "commands": sum(venue.sent.values()),
        "commands_by_kind": dict(venue.sent),
        "p50_us": round(percentile(waits_us, 0.5), 1),
        "p99_us": round(percentile(waits_us, 0.99), 1),
        "max_us": round(max(waits_us, default=0.0), 1),
        "conflated": session.inbox.conflated,
        "journal_bytes": session.journal.bytes_written,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; absent: the temporary directory")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, tempfile.TemporaryDirectory() as sockets:
        os.environ["TRADINGD_RUNTIME_DIR"] = sockets
        os.chmod(sockets, 0o700)
        os.environ["TRADINGD_STATE_DIR"] = f"{folder}/keys"
        quotes = recorded_quotes(configuration(Path(folder), "none"), arguments.events)
        for pace, per_s in (("paced", RECORDED_PER_S * TIMES), ("saturated", None)):
            for way, strategy in WAYS.items():
                for sync in ("none", "before_send"):
                    name = f"{pace}, {way}, {sync}"
                    place = Path(folder) / name.replace(", ", "-").replace(" ", "-")
                    place.mkdir()
                    results[name] = measure(place, sync, strategy, quotes, per_s)
    if arguments.json:
        print(json.dumps({"results": results}))
        return
    print(f"{len(quotes):,} quotes, {RECORDED_PER_S * TIMES:,.0f} a second where paced; event to command in microseconds")
    print(f"{'':36}{'p50':>9}{'p99':>10}{'max':>11}{'events/s':>11}{'commands':>10}{'conflated':>11}")
    for name, row in results.items():
        print(
            f"{name:36}{row['p50_us']:9,.1f}{row['p99_us']:10,.1f}{row['max_us']:11,.1f}{row['events_per_s']:11,}"
            f"{row['commands']:10,}{row['conflated']:11,}"
        )


if __name__ == "__main__":
    sys.exit(main())
