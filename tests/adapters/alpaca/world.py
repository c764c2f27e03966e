"""A daemon's core around the adapter, against the simulator behind its shell: Trader, strategy by hand, comparison, audit."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from adapters.alpaca.opening import open_adapter, open_switch
from core.approved import Approved
from core.enums import MarketStatus, OrderType, Side, TimeInForce
from core.errors import StateError
from core.events import AnyEvent, OrderEvent, OrderFilled, StatusChanged, VenueCompared
from core.order_store import FOREIGN_ORDER_ID
from core.orders import Order
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Context, Subscription
from core.trader import Trader
from core.venue_adapter import Adapter, VenueState
from core.venue_opening import Environment, VenueOpening
from core.venue_switch import VenueSwitch
from daemon.trading.clock import Clock, SystemClock
from daemon.trading.reconcile import ForeignPolicy, Kind, look
from daemon.venue_sim.loopback import Served, serve
from sim.venues.alpaca.settings import DEFAULT, AlpacaSimSettings, listing_rules
from sim.venues.alpaca.venue import AlpacaVenue
from sim.virtual.agenda import Agenda
from sim.virtual.clock import VirtualClock
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.adapters.alpaca.auditor import differences

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = tomllib.loads((ROOT / "config" / "venues" / "alpaca.toml").read_text(encoding="utf-8"))
FAST = {
    "request_deadline_s": 1.0,
    "unknown_bound_s": 0.5,
    "activities_late_s": 5.0,
    "money_interval_s": 0.1,
    "requests_per_min": 5_000,
    "orders_per_min": 4_000,
}
KEY = "AAPL.ALPACA"
PREFIX = "t"
ACCOUNT = DEFAULT.accounts[0]
BOUND_S = 60.0
PATIENT_S = 20.0  # on sockets: the machine may stall
PAUSE_S = 0.01
LIMITS = InstrumentLimits(
    order_qty_max=10**6, order_notional_max=10**18, position_qty_max=10**6, price_collar_ppm=900_000, market_age_ns_max=0
)
SETTINGS = msgspec.structs.replace(DEFAULT, requests_per_min=5_000, late_answer_ns=2_000_000_000)


class Hand:
    """A strategy that does what a test tells it to."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.todo: list[Callable[[Context], Any]] = []
        self.heard: list[AnyEvent] = []
        self.context: Context | None = None

    def subscriptions(self) -> list[Subscription]:
        return [self._subscription]

    def on_status(self, context: Context, status: StatusChanged) -> None:
        self.context = context
        todo, self.todo = self.todo, []
        for deed in todo:
            deed(context)

    def on_order(self, context: Context, order: Order, event: AnyEvent) -> None:
        self.heard.append(event)


class World:
    def __init__(self, served: Served, venue: AlpacaVenue, clock: Clock, **settings: Any) -> None:
        self.served = served
        self.venue = venue
        self.clock = clock
        self.troubles: list[str] = []
        self.frames: list[tuple[int, str, bytes]] = []
        self.settings = DEFAULTS | FAST | settings
        subscription = Subscription(instrument_id=KEY, quotes="size", trades=True)
        self.hand = Hand(subscription)
        self.trader = Trader(
            instruments=[listing_rules("AAPL"), listing_rules("SPY")],
            cash={"USD": ACCOUNT.cash * 10**8},
            limits={KEY: LIMITS, "SPY.ALPACA": LIMITS},
            rate=RateLimit(orders_max=10**6),
            run_number=1,
        )
        self.trader.add_strategy("hand", self.hand)
        self.begun = self.clock.now()
        self.events: list[AnyEvent] = []
        self.states: list[VenueState] = []
        self.foreign: list[OrderFilled] = []
        self.is_tolerant = False
        self.state_errors: list[str] = []
        self.adapter: Adapter = open_adapter(self.opening())

    def opening(self, **changes: Any) -> VenueOpening:
        secrets = {"key": ACCOUNT.key, "secret": ACCOUNT.secret}
        fields: dict[str, Any] = {
            "venue": "ALPACA",
            "environment": Environment.SIMULATOR,
            "account": "main",
            "address": str(self.served),
            "settings": self.settings,
            "secret": lambda part: secrets.get(part, ""),
            "instruments": dict(self.trader.instruments),
            "subscriptions": self.hand.subscriptions(),
            "order_id_prefix": PREFIX,
            "now": self.clock.now,
            "on_trouble": self.troubles.append,
            "on_frame": lambda ts, what, data: self.frames.append((ts, what, data)),
            "first_order_id": 1 << 40,
        }
        return VenueOpening(**(fields | changes))

    def switch(self) -> VenueSwitch:
        return open_switch(self.opening())

    # The sink, and the loop.

    def offer(self, event: AnyEvent) -> bool:
        self.step(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.step(event)

    def step(self, event: AnyEvent) -> None:
        stamped = msgspec.structs.replace(event, ts_init=self.clock.now())
        self.events.append(stamped)
        if isinstance(stamped, OrderFilled) and stamped.client_order_id == FOREIGN_ORDER_ID:
            self.foreign.append(stamped)  # the daemon halts, or adopts it
            return
        try:
            commands = self.trader.step(stamped)
        except StateError as error:
            # The daemon keeps such an event, tells of it and goes on.
            if not self.is_tolerant:
                raise
            self.state_errors.append(str(error))
            return
        for command in commands:
            if isinstance(command, Approved):
                self.adapter.send(command)

    def do(self, deed: Callable[[Context], Any]) -> None:
        self.hand.todo.append(deed)
        self.step(StatusChanged(0, 0, KEY, MarketStatus.TRADING))

    def on_reconnect(self, state: VenueState) -> None:
        self.states.append(state)
        self._apply(look(self.trader, state, self.clock.now(), ForeignPolicy.HALT).without(Kind.GONE, Kind.POSITION).events)

    def _apply(self, events: Sequence[AnyEvent]) -> None:
        for event in events:
            self.step(event)
        self.step(VenueCompared(0, 0, len(events), 0))

    async def reconcile(self) -> list[str]:
        """As the daemon does: only what two looks show in the same way counts; what a person has to look at."""
        first = look(self.trader, await self.adapter.query(self.begun), self.clock.now(), ForeignPolicy.HALT)
        await anyio.sleep(0.2)
        second = look(self.trader, await self.adapter.query(self.begun), self.clock.now(), ForeignPolicy.HALT).lasting(first)
        self._apply(second.events)
        return list(second.problems)

    # What a test wants.

    def buy(self, qty: int, price: int | None, **more: Any) -> None:
        self.submit(Side.BUY, qty, price, **more)

    def submit(self, side: Side, qty: int, price: int | None, **more: Any) -> None:
        order_type = more.pop("order_type", OrderType.MARKET if price is None else OrderType.LIMIT)
        more.setdefault("time_in_force", TimeInForce.DAY)
        self.do(lambda context: context.submit(KEY, side, qty, price, order_type=order_type, **more))

    def order(self, number: int = -1) -> Order:
        return list(self.trader.orders.orders.values())[number]

    def heard(self, kind: type[OrderEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], Any]) -> Any:
        while not (found := condition()):
            await anyio.sleep(PAUSE_S)
        return found

    def differences(self) -> list[str]:
        return differences(self.venue.ledger(), "main", self.trader, PREFIX)

    async def settled(self, bound_s: float = BOUND_S / 4) -> None:
        """Until ours is the venue's ledger; what still differs at the end is in the failure."""
        try:
            with anyio.fail_after(bound_s):
                while self.differences():
                    await self.reconcile()
                    await anyio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(self.differences(), self.troubles, self.events[-20:]) from None

    @property
    def bid(self) -> int:
        return self.venue.engine.best(self.venue.engine.exchange.listings["AAPL"])["bid"]

    @property
    def ask(self) -> int:
        return self.venue.engine.best(self.venue.engine.exchange.listings["AAPL"])["ask"]


@asynccontextmanager
async def world(sim: AlpacaSimSettings, clock: Clock, *, is_running: bool = True, **settings: Any) -> AsyncIterator[World]:
    """Connected and running, unless `is_running` is False."""
    venue = AlpacaVenue(sim, seed=7, ts=clock.now())
    async with serve(venue, clock) as served:
        made = World(served, venue, clock, **settings)
        if not is_running:
            yield made
            return
        await made.adapter.open()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(made.adapter.run, made, made.on_reconnect)
                await made.until(lambda: made.trader.states[KEY].quote)
                yield made
                tasks.cancel_scope.cancel()
        finally:
            await made.adapter.close()


def run(
    test: Callable[[World], Awaitable[None]], sim: AlpacaSimSettings = SETTINGS, *, is_real: bool = False, **options: Any
) -> None:
    """In virtual time; `is_real`: on sockets and by the clock."""

    async def bounded(clock: Clock) -> None:
        with anyio.fail_after(BOUND_S):
            async with world(sim, clock, **options) as made:
                try:
                    await test(made)
                except BaseException:
                    # What a failure prints.
                    print(*made.troubles, *made.trader.orders.orders.values(), *made.events[-10:], sep="\n")
                    raise

    if is_real:
        options.setdefault("request_deadline_s", PATIENT_S)
        asyncio.run(bounded(SystemClock()))
        return
    agenda = Agenda()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(agenda, Network(agenda, seed=1))) as runner:
        runner.run(bounded(VirtualClock(agenda)))
