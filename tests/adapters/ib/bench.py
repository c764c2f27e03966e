"""A simulated gateway on loopback and an adapter at it, with what both say kept; and instruments as they are configured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from adapters.ib.io import IbAdapter
from adapters.ib.opening import open_adapter, open_switch
from adapters.ib.switch import IbSwitch
from core.commands import OrderCommand, SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.events import AnyEvent
from core.identifiers import make_order_id
from core.strategy import Subscription
from core.venue_adapter import VenueState
from core.venue_opening import Environment, Role, VenueOpening
from daemon.trading.clock import SystemClock
from daemon.trading.venue_opening import venue_defaults
from daemon.venue_sim.loopback import Served, serve
from sim.venues.ib.opening import ACCOUNTS, INSTRUMENTS, SYMBOLS, open_venue
from sim.venues.ib.venue import IbVenue
from sim.virtual.agenda import Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.daemon.trading.test_router import approve

SECONDS_MAX = 120.0
ES, AAPL = "ESZ6.IB", "AAPL.IB"
PREFIX = "bench"
# Short waits where a test waits for a bound to pass.
QUICK = {
    "answer_timeout_s": 0.5,
    "commission_wait_s": 0.2,
    "heartbeat_s": 0.2,
    "silence_s": 1.0,
    "request_timeout_s": 3.0,
    "reset_quiet_s": 0,
}


def order_id(counter: int) -> int:
    return make_order_id(1, counter)


def buy(counter: int, price: int | None = 680_000, qty: int = 1, **more: Any) -> SubmitOrder:
    return submit(counter, Side.BUY, price, qty, **more)


def sell(counter: int, price: int | None = 690_000, qty: int = 1, **more: Any) -> SubmitOrder:
    return submit(counter, Side.SELL, price, qty, **more)


def submit(counter: int, side: Side, price: int | None, qty: int, **more: Any) -> SubmitOrder:
    kind = more.pop("order_type", OrderType.MARKET if price is None else OrderType.LIMIT)
    return SubmitOrder(
        ts=1,
        client_order_id=order_id(counter),
        strategy_id="s",
        instrument_id=more.pop("instrument_id", ES),
        side=side,
        order_type=kind,
        quantity=qty,
        price=price,
        time_in_force=more.pop("time_in_force", TimeInForce.GTC),
        **more,
    )


class Sink:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self._came = anyio.Event()

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        self._came.set()
        self._came = anyio.Event()
        return True

    async def put(self, event: AnyEvent) -> None:
        self.offer(event)

    def of(self, *kinds: type[AnyEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    async def until(self, kind: type[AnyEvent], count: int = 1) -> list[Any]:
        """The events of this kind, once there are so many."""
        while len(found := self.of(kind)) < count:
            await self._came.wait()
        return found


class Bench:
    def __init__(self, served: Served, venue: IbVenue, clock: Any) -> None:
        self.served = served
        self.venue = venue
        self.clock = clock
        self.sink = Sink()
        self.states: list[VenueState] = []
        self.trouble: list[str] = []
        self.frames: list[tuple[str, bytes]] = []
        self.adapter = self.make_adapter()

    def opening(self, *, settings: Mapping[str, Any] | None = None, **changes: Any) -> VenueOpening:
        fields: dict[str, Any] = {
            "venue": "IB",
            "environment": Environment.SIMULATOR,
            "account": ACCOUNTS[0],
            "address": f"{self.served.host}:{self.served.port}",
            "settings": venue_defaults("ib") | QUICK | dict(settings or {}),
            "secret": lambda _part: "",
            "instruments": {key: INSTRUMENTS[key] for key in (ES, AAPL)},
            "symbols": {},
            "subscriptions": [Subscription(instrument_id=ES, quotes="size", trades=True)],
            "order_id_prefix": PREFIX,
            "now": self.clock.now,
            "on_trouble": self.trouble.append,
            "on_frame": lambda _ts, what, data: self.frames.append((what, data)),
            "role": Role.TRADE,
        }
        return VenueOpening(**(fields | changes))

    def make_adapter(self, **changes: Any) -> IbAdapter:
        return open_adapter(self.opening(**changes))

    def make_switch(self, **changes: Any) -> IbSwitch:
        return open_switch(self.opening(**changes))

    def send(self, *commands: OrderCommand) -> None:
        for command in commands:
            self.adapter.send(approve(command))

    def act(self, name: str, **arguments: Any) -> None:
        self.served.act(name, arguments)

    def quote(self, side: str, price: int, qty: int = 10, listing: str = ES) -> None:
        self.act("quote", listing=listing, side=side, price=price, qty=qty)

    def hit(self, counter: int, qty: int) -> None:
        """Somebody trades against our order."""
        (order,) = self.venue.exchange.by_client_id(self.venue.exchange.accounts[ACCOUNTS[0]], f"{PREFIX}-1-{counter}")
        self.act("hit", venue_order_id=str(order.tag.perm_id), qty=qty)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await anyio.sleep(0.005)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The adapter open, asked once, and run."""
        await self.adapter.open()
        self.states.append(await self.adapter.query(0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.adapter.run, self.sink, self.states.append)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        await self.adapter.close()


class VirtualClock:
    """ns UTC of the agenda, never twice the same."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda

    def now(self) -> int:
        return self._agenda.ns


def in_a_loop(
    test: Callable[[Bench], Awaitable[None]],
    *,
    faults: Mapping[int, int] | None = None,
    is_real: bool = False,
    version_max: int = 178,
) -> None:
    """Ten contracts on each side of 6800.00 to 6800.25, and nobody who moves. `is_real`: on sockets and by the clock."""

    async def main(clock: Any) -> None:
        venue = open_venue(seed=1, faults=dict(faults or {}), ts=clock.now(), is_alone=True, version_max=version_max)
        async with serve(venue, clock) as served:
            bench = Bench(served, venue, clock)
            bench.quote("BUY", 680_000)
            bench.quote("SELL", 680_025)
            with anyio.fail_after(SECONDS_MAX):
                await test(bench)

    if is_real:
        anyio.run(main, SystemClock())
        return
    agenda = Agenda()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda, Network(agenda, seed=1))) as runner:
        runner.run(main(VirtualClock(agenda)))


__all__ = ["AAPL", "ACCOUNTS", "ES", "SYMBOLS", "Bench", "Sink", "buy", "in_a_loop", "order_id", "sell"]
