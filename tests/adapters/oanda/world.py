"""The adapter against the simulated OANDA over its real HTTP shell, in virtual time: latency, timeouts and cuts cost nothing.

Every event goes through an order store as the Trader's does, so what an order cannot do fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from adapters.oanda.io import OandaAdapter
from adapters.oanda.opening import open_adapter, open_switch
from adapters.oanda.switch import OandaSwitch
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Side
from core.events import (
    AnyEvent,
    CancelRejected,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from core.identifiers import format_order_id, make_order_id
from core.instruments import Instrument
from core.market_state import MarketState
from core.order_store import FOREIGN_ORDER_ID, OrderStore
from core.orders import Order
from core.portfolio import Position
from core.strategy import Subscription
from core.venue_adapter import VenueState
from core.venue_opening import Environment, Role, VenueOpening
from daemon.trading.venue_opening import venue_defaults
from daemon.venue_sim.loopback import Served, serve
from sim.venues.oanda.account import AccountBook
from sim.venues.oanda.pairs import DEFAULT_PAIRS
from sim.venues.oanda.venue import OandaVenue
from sim.virtual.agenda import START_NS, Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Conditions, Network
from tests.daemon.trading.test_router import approve

T = TypeVar("T")

S = 10**9
MS = 10**6
ACCOUNT, OTHER = "101-001-1000001-001", "101-001-1000002-001"
TOKEN, OTHER_TOKEN = "token-of-the-test-1", "token-of-the-test-2"
EURO, POUND, YEN = "EUR_USD.OANDA", "GBP_USD.OANDA", "USD_JPY.OANDA"
PREFIX = "t"
RUN = 3
DAY_END_NS = 1_790_024_400 * S  # 17:00 in New York, a Monday in September
MID = 115_826  # the middle of EUR_USD, fixed
BALANCE = 100_000 * 10**8
WAIT_S = 120

HANDLERS: dict[type, str] = {
    OrderAccepted: "accepted",
    OrderRejected: "rejected",
    OrderFilled: "filled",
    OrderCanceled: "canceled",
    OrderExpired: "expired",
    OrderReplaced: "replaced",
    CancelRejected: "cancel_rejected",
    ReplaceRejected: "replace_rejected",
    OrderOutcomeUnknown: "lost",
}


def instruments(*names: str) -> dict[str, Instrument]:
    found = {pair.rules().instrument_id: pair.rules() for pair in DEFAULT_PAIRS}
    return {name: found[name] for name in names or (EURO, POUND)}


class World:
    """`begin` opens and runs the adapter. The EUR_USD quote stands still at MID, 14 points wide, unless a test moves it."""

    def __init__(
        self,
        *,
        subscriptions: list[Subscription] | None = None,
        settings: Mapping[str, Any] | None = None,
        role: Role = Role.TRADE,
        names: tuple[str, ...] = (),
        start_ns: int = START_NS,
        **venue: Any,
    ) -> None:
        self.agenda = Agenda(start_ns)
        self.network = Network(self.agenda, 1, Conditions())
        self.here = VirtualLoop(self.agenda, self.network, "here")
        self.there = VirtualLoop(self.agenda, self.network, "there")
        self.venue = OandaVenue(self.agenda.ns, **{"seed": 1, **venue})
        self.book: AccountBook = self.venue.add_account(self.agenda.ns, ACCOUNT, TOKEN, BALANCE)
        self.other: AccountBook = self.venue.add_account(self.agenda.ns, OTHER, OTHER_TOKEN, BALANCE)
        self.venue.act(self.agenda.ns, "mid", {"instrument": "EUR_USD", "price": MID})
        self.instruments = instruments(*names)
        self.subscriptions = [Subscription(instrument_id=EURO, quotes="packet")] if subscriptions is None else subscriptions
        self.settings = dict(settings or {})
        self.role = role
        self.events: list[AnyEvent] = []
        self.troubles: list[str] = []
        self.frames: list[tuple[int, str, bytes]] = []
        self.reconnects: list[VenueState] = []
        self.on_reconnected: Callable[[VenueState], None] = lambda _state: None
        states = {key: MarketState(each, Position(each)) for key, each in self.instruments.items()}
        self.store = OrderStore(states)
        self.counter = 0
        self.room = 10**9  # so many events are taken at once
        self.served: Served | None = None
        self._ready: asyncio.Future[int] = self.there.create_future()
        self._serving = self.there.create_task(self._serve())
        assert self.agenda.run_until(self._ready.done, self.agenda.ns + S)
        self.adapter: OandaAdapter | None = None
        self._running: asyncio.Task[None] | None = None

    async def _serve(self) -> None:
        async with serve(self.venue, self, "127.0.0.1", 0) as served:
            self.served = served
            self._ready.set_result(served.port)
            await asyncio.sleep(10**6)

    def now(self) -> int:
        return self.agenda.ns

    # The daemon's side.

    def opening(self, **more: Any) -> VenueOpening:
        values: dict[str, Any] = {
            "venue": "OANDA",
            "environment": Environment.SIMULATOR,
            "account": ACCOUNT,
            "address": f"127.0.0.1:{self._ready.result()}",
            "settings": venue_defaults("oanda") | self.settings,
            "secret": lambda part: TOKEN if part == "token" else "",
            "instruments": self.instruments,
            "subscriptions": self.subscriptions,
            "order_id_prefix": PREFIX,
            "now": self.now,
            "on_trouble": self.troubles.append,
            "on_frame": lambda ts, what, data: self.frames.append((ts, what, data)),
            "role": self.role,
            "first_order_id": make_order_id(RUN, 1),
        }
        return VenueOpening(**{**values, **more})

    def begin(self, **more: Any) -> OandaAdapter:
        self.adapter = open_adapter(self.opening(**more))
        self.run(self.adapter.open())
        self.start()
        return self.adapter

    def start(self) -> None:
        assert self.adapter is not None
        self._running = self.here.create_task(self.adapter.run(self, self._reconnected))
        self.run_for(3 * S)

    def _reconnected(self, state: VenueState) -> None:
        self.reconnects.append(state)
        self.on_reconnected(state)

    def switch(self, **more: Any) -> OandaSwitch:
        return open_switch(self.opening(**more))

    def run(self, work: Coroutine[Any, Any, T], seconds: int = WAIT_S) -> T:
        """To its end, in virtual time."""
        task = self.here.create_task(work)
        assert self.until(task.done, seconds), "it does not end"
        return task.result()

    def run_for(self, ns: int) -> None:
        self.agenda.run_to(self.agenda.ns + ns)
        self._check()

    def until(self, condition: Callable[[], bool], seconds: int = WAIT_S) -> bool:
        found = self.agenda.run_until(condition, self.agenda.ns + seconds * S)
        self._check()
        return found

    def _check(self) -> None:
        assert self.served is not None
        if self.served.failure is not None:
            raise self.served.failure
        if self._running is not None and self._running.done():
            self._running.result()

    def stop(self) -> None:
        """The daemon's process is gone; the venue stays."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            self.agenda.run_until(running.done, self.agenda.ns + S)
        adapter, self.adapter = self.adapter, None
        if adapter is not None:
            self.run(adapter.close())

    def end(self) -> None:
        """Everything is closed; the venue's own books hold."""
        try:
            self.stop()
            self.venue.engine.exchange.check()
        finally:
            self._serving.cancel()
            self.agenda.run_until(self._serving.done, self.agenda.ns + S)
            for loop in (self.here, self.there):
                loop.close()

    # EventSink.

    def offer(self, event: AnyEvent) -> bool:
        if self.room <= 0:
            return False
        self.room -= 1
        self._take(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        while self.room <= 0:
            await asyncio.sleep(0.01)
        self.room -= 1
        self._take(event)

    def _take(self, event: AnyEvent) -> None:
        self.events.append(event)
        if isinstance(event, OrderEvent) and event.client_order_id != FOREIGN_ORDER_ID:
            getattr(self.store, HANDLERS[type(event)])(event)

    # A strategy's hand.

    def submit(
        self,
        qty: int,
        price: int | None = None,
        side: Side = Side.BUY,
        *,
        order_type: OrderType | None = None,
        instrument_id: str = EURO,
        **more: Any,
    ) -> Order:
        self.counter += 1
        kind = order_type if order_type is not None else OrderType.MARKET if price is None else OrderType.LIMIT
        command = SubmitOrder(self.now(), make_order_id(RUN, self.counter), "s", instrument_id, side, kind, qty, price, **more)
        order = self.store.create(command)
        self.store.submitted(order)
        self._send(command)
        return order

    def cancel(self, order: Order) -> None:
        self.store.cancel_requested(order, self.now())
        self._send(CancelOrder(self.now(), order.client_order_id))

    def cancel_all(self, instrument_id: str | None = None) -> None:
        for order in self.store.open_orders(instrument_id):
            self.store.cancel_requested(order, self.now())
        self._send(CancelAll(self.now(), instrument_id))

    def replace(self, order: Order, qty: int, price: int) -> None:
        command = ReplaceOrder(self.now(), order.client_order_id, qty, price, order.filled_qty)
        self.store.replace_requested(order, command)
        self._send(command)

    def _send(self, command: OrderCommand) -> None:
        """In the daemon's loop, as its next turn."""
        assert self.adapter is not None
        self.here.call_soon(self.adapter.send, approve(command))

    def settle(self, order: Order, seconds: int = WAIT_S) -> Order:
        """Until it has an answer, and what came with that is here, too."""
        assert self.until(lambda: not order.is_pending, seconds), order
        self.run_for(300 * MS)
        return order

    def names_of(self, order: Order) -> list[str]:
        return [type(event).__name__ for event in self.events_of(order)]

    def events_of(self, order: Order) -> list[AnyEvent]:
        return [event for event in self.events if getattr(event, "client_order_id", None) == order.client_order_id]

    def text_of(self, order: Order) -> str:
        return format_order_id(order.client_order_id, PREFIX)

    def query(self, since_ts: int = 0) -> VenueState:
        assert self.adapter is not None
        return self.run(self.adapter.query(since_ts))

    # The venue's side.

    def act(self, name: str, **arguments: Any) -> None:
        assert self.served is not None
        self.served.act(name, arguments)

    def arm(self, number: int, times: int = 1) -> None:
        self.venue.faults.arm(number, times)

    def quote(self, mid: int) -> None:
        self.act("mid", instrument="EUR_USD", price=mid)

    # The auditor: the venue's ledger against what was told here.

    def audit(self) -> list[str]:
        ledger = self.venue.ledger()
        problems = []
        for account, order_ids in ((ACCOUNT, {self.text_of(order): order for order in self.store.orders.values()}),):
            sent = [row for row in ledger["orders"] if row["account"] == account and row["client_order_id"]]
            texts = [row["client_order_id"] for row in sent]
            problems += [f"{text} is there twice" for text in set(texts) if texts.count(text) > 1]
            for row in sent:
                order = order_ids.get(row["client_order_id"])
                if order is None:
                    problems.append(f"{row['client_order_id']} was never sent")
                elif order.filled_qty != row["filled_qty"] or order.is_open is not row["is_open"]:
                    problems.append(f"{row} there, {order!r} here")
            booked = sorted(
                (event.execution_id, event.qty, event.price, event.side.name)
                for event in {
                    (each.client_order_id, each.execution_id): each for each in self.events if isinstance(each, OrderFilled)
                }.values()
            )
            there = sorted(
                (row["trade_id"], row["qty"], row["price"], row["side"]) for row in ledger["fills"] if row["account"] == account
            )
            if booked != there:
                problems.append(f"fills {booked} here, {there} there")
        return problems
