"""The adapter and the switch against the simulated venue behind the loopback shell, all in one loop, in virtual time or not."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from adapters.deribit.io import DeribitAdapter, DeribitGuardianSwitch
from adapters.deribit.opening import open_adapter, open_switch
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import InstrumentClass, OrderType, Side, TimeInForce
from core.events import AnyEvent, Quote
from core.identifiers import make_order_id
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_adapter import VenueState
from core.venue_opening import Environment, Role, VenueOpening
from daemon.trading.clock import Clock, SystemClock
from daemon.trading.venue_opening import CONFIG_FOLDER
from daemon.venue_sim.loopback import Served, serve
from sim.venues.deribit.opening import KEYS, open_venue
from sim.venues.deribit.venue import DeribitVenue
from sim.virtual.agenda import Agenda
from sim.virtual.clock import VirtualClock
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.daemon.trading.test_router import approve

BTC = "BTC-PERPETUAL.DERIBIT"
INSTRUMENT = Instrument(
    instrument_id=BTC,
    instrument_class=InstrumentClass.PERPETUAL,
    base_currency="BTC",
    quote_currency="USD",
    settlement_currency="BTC",
    price_scale=2,
    qty_scale=0,
    tick=50,
    lot=10,
    qty_min=10,
    is_inverse=True,
    taker_fee_rate=500_000,
)
SECONDS_MAX = 40.0
# Nobody waits for a venue on the other side of the world.
QUICK = {
    "order_valid_ms": 1_500,
    "server_clock_error_ms": 100,
    "answer_ms": 2_000,
    "look_interval_ms": 1_000,
    "stream_late_ms_max": 1_500,
    "reconnect_first_ms": 10,
    "refused_wait_ms": 200,
}
DEFAULTS = tomllib.loads((CONFIG_FOLDER / "venues" / "deribit.toml").read_text(encoding="utf-8"))
ADDRESS_NOBODY = "127.0.0.1:9"


class Sink:
    """Takes everything; `is_full`: nothing that must not be dropped, until it is let go of."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.is_full = False
        self._came = anyio.Event()

    def offer(self, event: AnyEvent) -> bool:
        if self.is_full:
            return False
        self.events.append(event)
        self._came.set()
        self._came = anyio.Event()
        return True

    async def put(self, event: AnyEvent) -> None:
        while not self.offer(event):
            await anyio.sleep(0.001)

    async def until(self, kind: type[AnyEvent], count: int = 1, order_id: int = 0) -> list[Any]:
        """The events of this kind, once there are so many."""
        while len(found := self.of(kind, order_id)) < count:
            await self._came.wait()
        return found

    def of(self, kind: type[AnyEvent], order_id: int = 0) -> list[Any]:
        return [
            event for event in self.events if isinstance(event, kind) and order_id in (0, getattr(event, "client_order_id", 0))
        ]


class Bench:
    """`served` while the venue is there. Order ids are made here, one behind the other."""

    def __init__(self, clock: Clock | None = None, seed: int = 1) -> None:
        self.clock = SystemClock() if clock is None else clock
        self.venue: DeribitVenue = open_venue(seed=seed, faults={}, ts=self.clock.now())
        self.sink = Sink()
        self.states: list[VenueState] = []
        self.trouble: list[str] = []
        self.frames: list[tuple[int, str, bytes]] = []
        self.address = ADDRESS_NOBODY
        self.served: Served
        self._orders = 0

    def opening(self, **changed: Any) -> VenueOpening:
        values: dict[str, Any] = {
            "venue": "DERIBIT",
            "environment": Environment.SIMULATOR,
            "account": "main",
            "address": self.address,
            "settings": {**DEFAULTS, **QUICK, **changed.pop("settings", {})},
            "secret": lambda part: KEYS["main"][part],
            "instruments": {BTC: INSTRUMENT},
            "subscriptions": [Subscription(instrument_id=BTC, quotes="size", book_levels=5, trades=True)],
            "order_id_prefix": "bench",
            "now": self.clock.now,
            "on_trouble": self.trouble.append,
            "on_frame": lambda ts, what, data: self.frames.append((ts, what, data)),
        }
        return VenueOpening(**{**values, **changed})

    def adapter(self, **changed: Any) -> DeribitAdapter:
        return open_adapter(self.opening(**changed))

    def watcher(self) -> DeribitAdapter:
        return self.adapter(role=Role.WATCH, secret=_no_secret)

    def switch(self) -> DeribitGuardianSwitch:
        return open_switch(self.opening(secret=lambda part: KEYS["main"][f"guardian_{part}"]))

    @asynccontextmanager
    async def running(self, adapter: DeribitAdapter) -> AsyncIterator[None]:
        """Open, and its events come to the sink."""
        await adapter.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.run, self.sink, self.states.append)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        await adapter.close()

    # Orders.

    def new_id(self) -> int:
        self._orders += 1
        return make_order_id(1, self._orders)

    def submit(self, adapter: DeribitAdapter, side: Side, qty: int, price: int | None, **more: Any) -> int:
        order_id = self.new_id()
        command = SubmitOrder(
            ts=self.clock.now(),
            client_order_id=order_id,
            strategy_id="s",
            instrument_id=BTC,
            side=side,
            order_type=OrderType.LIMIT if price is not None else OrderType.MARKET,
            quantity=qty,
            price=price,
            **more,
        )
        adapter.send(approve(command))
        return order_id

    def rest(self, adapter: DeribitAdapter, qty: int = 20) -> int:
        """A bid far below the market."""
        return self.submit(adapter, Side.BUY, qty, self.quote().bid_price - 10_000)

    def take(self, adapter: DeribitAdapter, side: Side = Side.BUY, qty: int = 10) -> int:
        quote = self.quote()
        price = quote.ask_price + 500 if side is Side.BUY else quote.bid_price - 500
        return self.submit(adapter, side, qty, price, time_in_force=TimeInForce.IOC)

    def quote(self) -> Quote:
        found: Quote = self.sink.of(Quote)[-1]
        return found

    def send(self, adapter: DeribitAdapter, command: OrderCommand) -> None:
        adapter.send(approve(command))

    def cancel(self, order_id: int) -> CancelOrder:
        return CancelOrder(ts=self.clock.now(), client_order_id=order_id)

    def cancel_all(self) -> CancelAll:
        return CancelAll(ts=self.clock.now(), instrument_id=None)

    def replace(self, order_id: int, qty: int, price: int) -> ReplaceOrder:
        return ReplaceOrder(ts=self.clock.now(), client_order_id=order_id, quantity=qty, price=price, filled_qty=0)

    # The venue.

    def orders_there(self, *, is_open: bool = True) -> list[Mapping[str, Any]]:
        return [each for each in self.venue.ledger()["orders"] if each["account"] == "main" and (each["is_open"] or not is_open)]

    def position_there(self) -> int:
        found: int = self.venue.ledger()["positions"]["main"].get(BTC, 0)
        return found


def _no_secret(part: str) -> str:
    raise AssertionError(f"nobody needs the {part} to watch")


def in_a_loop(test: Callable[[Bench], Awaitable[None]], *, is_served: bool = True, is_real: bool = False) -> Bench:
    """Run `test` with the venue behind a port, in virtual time; `is_real`: on sockets and by the clock."""
    agenda = Agenda()
    bench = Bench(SystemClock() if is_real else VirtualClock(agenda))

    async def bounded() -> None:
        with anyio.fail_after(SECONDS_MAX):
            async with serve(bench.venue, bench.clock) as served:
                bench.served = served
                if is_served:
                    bench.address = str(served)
                await test(bench)

    if is_real:
        anyio.run(bounded)
        return bench
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda, Network(agenda, seed=1))) as runner:
        runner.run(bounded())
    return bench


async def until(condition: Callable[[], Any]) -> None:
    """Until it is true; the whole test is bounded."""
    while not condition():
        await anyio.sleep(0.002)
