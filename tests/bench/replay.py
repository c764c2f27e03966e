"""Replay speed: `python -m tests.bench.replay TAPE.npy [--mbo FEED.bin] [--json]`.

The tape holds int64 rows (ts ns, kind 0 level update | 1 trade, side, price, quantity); each row is a packet of its own, received
when it happened. Measured: doing nothing; waking on every best-price change; and a market maker in plain Python that quotes one
bid and one ask of 1 at the best prices, post-only, position at most 10, every 100 ms and every 10 ms, a strategy through Trader
and risk gate. "venue only" is the same maker without Trader, "on change" the same as a strategy that subscribes to price changes,
at most one in 10 ms: what a user would write. --mbo adds order-by-order replay of a feed in the layout of a workload file
(ts us, op 0 add | 1 delete | 2 execute, id, side, price, quantity).
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.approved import Approved
from core.commands import CancelTimer, SetTimer
from core.enums import InstrumentClass, OrderStatus, Side
from core.events import OrderFilled, Started
from core.instruments import Instrument
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Context, Subscription
from core.trader import Trader
from core.units import NS_PER_MS, NS_PER_SECOND
from native import venue as native
from native.market_data import ADD, DELETE, EXECUTE, FLAG_LAST, MD_ROW
from sim.venue import InstrumentSettings, SimulatedVenue, VenueSettings
from tests.bench import w1_flow

INSTRUMENT = Instrument(
    instrument_id="TAPE.BENCH",
    instrument_class=InstrumentClass.FUTURE,
    base_currency="TAPE",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=0,
    qty_scale=0,
)
POSITION_MAX = 10
REPEATS = 3
OPEN = (OrderStatus.SUBMITTED, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_REPLACE)


def load_tape(path: Path) -> npt.NDArray[Any]:
    """The tape as rows of dtype MD_ROW, each a packet of its own."""
    raw = np.load(path)
    rows = np.zeros(len(raw), dtype=MD_ROW)
    rows["ts_event"] = rows["ts_init"] = raw[:, 0]
    rows["kind"], rows["side"], rows["price"], rows["qty"] = raw[:, 1], raw[:, 2], raw[:, 3], raw[:, 4]
    rows["flags"] = FLAG_LAST
    return rows


class DirectMaker:
    """The market maker straight on NativeVenue: its state is one order id and price per side."""

    def __init__(self, venue: native.NativeVenue) -> None:
        self.venue = venue
        self.position = 0
        self.fills = 0
        self.counter = 0
        self.price = [0, 0]
        self.order_id = [0, 0]

    def quote(self, side: int, price: int, is_wanted: bool) -> None:
        resting = self.order_id[side]
        if resting and is_wanted and self.price[side] == price:
            return
        if resting:
            self.venue.cancel(resting)
            self.order_id[side] = 0
        if is_wanted:
            self.counter += 1
            self.venue.submit_limit(0, self.counter, side, price, 1, 0, 1)
            self.order_id[side], self.price[side] = self.counter, price

    def run(self, rows: npt.NDArray[Any]) -> None:
        venue = self.venue
        venue.feed(rows)
        venue.finish()
        run = venue.run
        while not venue.is_done:
            for _ts_init, _ts_event, kind, _index, order_id, a, b, c, d, _e in run():
                if kind == native.QUOTE:
                    if b:
                        self.quote(0, a, self.position < POSITION_MAX)
                    if d:
                        self.quote(1, c, self.position > -POSITION_MAX)
                elif kind == native.FILL:
                    side = d >> 1
                    self.position += -b if side else b
                    self.fills += 1
                    if self.order_id[side] == order_id:
                        self.order_id[side] = 0
                elif kind == native.REJECTED:
                    for side in (0, 1):
                        if self.order_id[side] == order_id:
                            self.order_id[side] = 0


BUY, SELL, REJECTED = Side.BUY, Side.SELL, OrderStatus.REJECTED


class BenchMaker:
    """The same market maker as a strategy."""

    def __init__(self, interval_ns: int, quotes: str = "packet") -> None:
        self.interval_ns = interval_ns
        self.quotes = quotes
        self.orders: list[Order | None] = [None, None]
        self.position = 0
        self.prices: tuple[int, int] | None = None  # quoted at; None: look again

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT.instrument_id, quotes=self.quotes, interval_ns=self.interval_ns)]

    def on_quote(self, context: Context, quote: Any) -> None:
        prices = (quote.bid_price, quote.ask_price)
        if prices == self.prices:
            bid, ask = self.orders
            if (bid is None or bid.status is not REJECTED) and (ask is None or ask.status is not REJECTED):
                return
        self.prices = prices
        if quote.bid_qty:
            self._quote(context, BUY, quote.bid_price, self.position < POSITION_MAX)
        if quote.ask_qty:
            self._quote(context, SELL, quote.ask_price, self.position > -POSITION_MAX)

    def on_fill(self, _context: Context, _order: Order, fill: OrderFilled) -> None:
        self.position += fill.qty if fill.side is BUY else -fill.qty
        self.prices = None

    def _quote(self, context: Context, side: Side, price: int, is_wanted: bool) -> None:
        order = self.orders[side]
        if order is not None and order.status in OPEN:
            if is_wanted and order.price == price:
                return
            context.cancel(order)
        self.orders[side] = context.submit(INSTRUMENT.instrument_id, side, 1, price, post_only=True) if is_wanted else None


def measure(work: Callable[[], dict[str, int]], rows: int) -> dict[str, float]:
    """Best of REPEATS, and what the work counted."""
    best = float("inf")
    counts: dict[str, int] = {}
    for _ in range(REPEATS):
        gc.collect()
        gc.disable()
        started = time.perf_counter()
        counts = work()
        best = min(best, time.perf_counter() - started)
        gc.enable()
    return {"ns_per_row": best / rows * 1e9, "wall_s": best, **counts}


def counted(venue: native.NativeVenue, position: int = 0) -> dict[str, int]:
    totals = venue.totals()
    return {name: totals[name] for name in ("wakeups", "events", "orders", "cancels", "fills")} | {"position": position}


def quiet(rows: npt.NDArray[Any], wake: int) -> dict[str, int]:
    venue = native.NativeVenue()
    venue.add_instrument(wake=wake)
    venue.feed(rows)
    venue.finish()
    while not venue.is_done:
        venue.run()
    return counted(venue)


def direct(rows: npt.NDArray[Any], interval_ns: int) -> dict[str, int]:
    venue = native.NativeVenue()
    venue.add_instrument(wake=native.WAKE_BOOK, wake_interval_ns=interval_ns, queue_model=native.QUEUE_POWER, queue_power=2.0)
    maker = DirectMaker(venue)
    maker.run(rows)
    return counted(venue, maker.position)


def order_by_order(rows: npt.NDArray[Any]) -> dict[str, int]:
    venue = native.NativeVenue()
    venue.add_instrument(fidelity=native.L3, orders_max=1 << 14)
    venue.feed(rows)
    venue.finish()
    while not venue.is_done:
        venue.run()
    return counted(venue)


def through_trader(rows: npt.NDArray[Any], interval_ns: int, quotes: str = "packet") -> dict[str, int]:
    maker = BenchMaker(interval_ns, quotes)
    each = InstrumentSettings(instrument=INSTRUMENT, subscriptions=tuple(maker.subscriptions()), wakes_on_orders=False)
    venue = SimulatedVenue([each], VenueSettings())
    limits = InstrumentLimits(
        order_qty_max=1, order_notional_max=10**18, position_qty_max=POSITION_MAX + 2, price_collar_ppm=500_000
    )
    trader = Trader(
        instruments=[INSTRUMENT],
        cash={"USD": 0},
        limits={INSTRUMENT.instrument_id: limits},
        rate=RateLimit(orders_max=10**6, window_ns=NS_PER_SECOND),
        run_number=1,
    )
    trader.add_strategy("maker", maker)
    venue.feed(rows)
    venue.finish()
    step, advance, send = trader.step, venue.advance, venue.send
    step(Started(0, 0, "bench"))
    while events := advance():
        for event in events:
            for command in step(event):
                if type(command) is Approved:
                    send(command)
                else:
                    assert isinstance(command, SetTimer | CancelTimer)
                    venue.schedule(command)
    return counted(venue.native, maker.position)


def load_feed(path: Path) -> npt.NDArray[Any]:
    """The order-by-order feed as rows."""
    columns = w1_flow.read(path)
    rows = np.zeros(len(columns["ts"]), dtype=MD_ROW)
    rows["ts_event"] = rows["ts_init"] = columns["ts"] * 1000
    rows["kind"] = np.array([ADD, DELETE, EXECUTE], dtype=np.uint8)[columns["op"]]
    rows["side"] = columns["side"]
    rows["price"] = columns["price"]
    rows["qty"] = columns["qty"]
    rows["order_id"] = columns["order_id"]
    rows["flags"] = FLAG_LAST
    return rows


def cases_of(tape: npt.NDArray[Any], feed: npt.NDArray[Any] | None) -> list[dict[str, Any]]:
    """Each case measured, with the rows it went over."""
    fast, slow = 10 * NS_PER_MS, 100 * NS_PER_MS
    works: dict[str, Callable[[], dict[str, int]]] = {
        "do nothing": lambda: quiet(tape, 0),
        "wake on best price": lambda: quiet(tape, native.WAKE_BEST),
        "maker 100 ms": lambda: through_trader(tape, slow),
        "maker 10 ms": lambda: through_trader(tape, fast),
        "maker 10 ms, on change": lambda: through_trader(tape, fast, "price"),
        "maker 100 ms, venue only": lambda: direct(tape, slow),
        "maker 10 ms, venue only": lambda: direct(tape, fast),
    }
    cases = [{"case": name, "rows": len(tape), **measure(work, len(tape))} for name, work in works.items()]
    if feed is not None:
        cases.append({"case": "level 3 do nothing", "rows": len(feed), **measure(lambda: order_by_order(feed), len(feed))})
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", type=Path)
    parser.add_argument("--mbo", type=Path, help="an order-by-order feed, for level-3 replay")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cases = cases_of(load_tape(arguments.tape), load_feed(arguments.mbo) if arguments.mbo else None)
    if arguments.json:
        print(json.dumps({"cases": cases}))
        return
    print(f"{'':26}{'rows':>11}{'ns/row':>9}{'wakeups':>10}{'orders':>9}{'cancels':>9}{'fills':>8}{'position':>9}")
    for case in cases:
        widths = (("wakeups", 10), ("orders", 9), ("cancels", 9), ("fills", 8))
        counts = "".join(f"{case[name]:{width},}" for name, width in widths)
        print(f"{case['case']:26}{case['rows']:11,}{case['ns_per_row']:9.1f}{counts}{case['position']:9}")


if __name__ == "__main__":
    main()
