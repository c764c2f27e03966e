"""An adapter at a simulated venue on loopback, with somebody who listens: what the tests of the whole stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from adapters.binance.endpoints import Product
from adapters.binance.io import BinanceAdapter
from adapters.binance.opening import open_adapter, open_switch
from adapters.binance.switch import BinanceSwitch
from core.commands import OrderCommand
from core.events import AnyEvent
from core.identifiers import make_order_id
from core.instruments import Instrument
from core.strategy import Subscription
from core.venue_adapter import VenueState
from core.venue_opening import Environment, Role, VenueOpening
from daemon.trading.clock import SystemClock
from daemon.trading.venue_opening import venue_defaults
from daemon.venue_sim.loopback import Served, serve
from sim.venues.protocol import SimVenue
from tests.adapters.binance.account_for_tests import INSTRUMENTS, PREFIX
from tests.adapters.binance.plain_signer import KEY, SECRET
from tests.daemon.trading.test_router import approve

T = TypeVar("T")
WAIT_S = 30.0  # for what must happen; the machine may be loaded
KINDS = {Product.SPOT: "binance-spot", Product.USDM: "binance-usdm"}
QUICK = {"rules_refresh_s": 3600.0, "connect_timeout_s": 20.0, "request_deadline_s": 20.0}


class Sink:
    """Takes everything; `room` False: nothing but by `put`."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.offer(event)

    def of(self, *kinds: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kinds)]


class Bench:
    def __init__(self, product: Product, served: Served, secrets: dict[str, str], instruments: Sequence[Instrument]) -> None:
        self.product = product
        self.served = served
        self.sink = Sink()
        self.states: list[VenueState] = []
        self.trouble: list[str] = []
        self.frames: list[tuple[int, str, bytes]] = []
        self.clock = SystemClock()
        self._secrets = secrets
        self._instruments = {each.instrument_id: each for each in instruments}

    def opening(
        self,
        *,
        subscriptions: Sequence[Subscription] = (),
        role: Role = Role.TRADE,
        secrets: dict[str, str] | None = None,
        **settings: Any,
    ) -> VenueOpening:
        held = self._secrets if secrets is None else secrets
        return VenueOpening(
            venue="BINANCE",
            kind=KINDS[self.product],
            environment=Environment.SIMULATOR,
            account="main",
            address=f"127.0.0.1:{self.served.port}",
            settings={**venue_defaults(KINDS[self.product]), **QUICK, **settings},
            secret=lambda part: held.get(part, ""),
            instruments=self._instruments,
            subscriptions=subscriptions,
            order_id_prefix=PREFIX,
            now=self.clock.now,
            on_trouble=self.trouble.append,
            on_frame=lambda ts, what, data: self.frames.append((ts, what, data)),
            role=role,
            first_order_id=make_order_id(1 << 29, 1),
        )

    @asynccontextmanager
    async def adapter(self, **changes: Any) -> AsyncIterator[BinanceAdapter]:
        """Open, and running; closed at the end."""
        adapter = open_adapter(self.opening(**changes))
        await adapter.open()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(adapter.run, self.sink, self.states.append)
                yield adapter
                tasks.cancel_scope.cancel()
        finally:
            await adapter.close()

    @asynccontextmanager
    async def switch(self, **changes: Any) -> AsyncIterator[BinanceSwitch]:
        switch = open_switch(self.opening(**changes))
        await switch.open()
        try:
            yield switch
        finally:
            await switch.close()

    def send(self, adapter: BinanceAdapter, *commands: OrderCommand) -> None:
        for command in commands:
            adapter.send(approve(command))

    async def until(self, is_so: Callable[[], T]) -> T:
        with anyio.move_on_after(WAIT_S):
            while not (found := is_so()):
                await anyio.sleep(0.005)
            return found
        last = "\n".join(map(repr, self.sink.events[-20:]))
        raise AssertionError(f"it did not happen within {WAIT_S} s; trouble: {self.trouble}; the last events:\n{last}")

    async def events(self, kind: type[T], count: int = 1) -> list[T]:
        """Events of this kind, once there are so many."""
        return await self.until(lambda: found if len(found := self.sink.of(kind)) >= count else [])


@asynccontextmanager
async def at_venue(
    venue: SimVenue,
    product: Product,
    *,
    secrets: dict[str, str] | None = None,
    instruments: Sequence[Instrument] | None = None,
) -> AsyncIterator[Bench]:
    async with serve(venue, SystemClock(), port=0) as served:
        held = {"key": KEY, "secret": SECRET} if secrets is None else secrets
        yield Bench(product, served, held, list(INSTRUMENTS[product].values()) if instruments is None else instruments)
        assert served.failure is None


def run(work: Callable[[], Any]) -> None:
    anyio.run(work)
