"""The adapter over the machine's own sockets and clock, as the daemon runs it: an order's life, a cut, a query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.oanda.opening import open_adapter
from core.commands import CancelOrder, OrderCommand, SubmitOrder
from core.enums import OrderType, Side
from core.events import AnyEvent, OrderAccepted, OrderCanceled, OrderFilled, Quote
from core.identifiers import make_order_id
from core.strategy import Subscription
from core.venue_adapter import VenueState
from core.venue_opening import Environment, VenueOpening
from daemon.trading.clock import SystemClock
from daemon.trading.venue_opening import venue_defaults
from daemon.venue_sim.loopback import serve
from sim.venues.oanda.opening import ACCOUNTS, BALANCE
from sim.venues.oanda.venue import OandaVenue
from tests.adapters.oanda.world import EURO, instruments
from tests.daemon.trading.test_router import approve

WAIT_S = 40.0
ACCOUNT, TOKEN = next(iter(ACCOUNTS.items()))


class Sink:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.events.append(event)

    def has(self, kind: type, order_id: int = 0) -> bool:
        return any(isinstance(event, kind) and (not order_id or event.client_order_id == order_id) for event in self.events)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def submit(order_id: int, price: int | None) -> OrderCommand:
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    return SubmitOrder(0, order_id, "s", EURO, Side.BUY, kind, 1_000, price)


def opening_at(address: str, clock: SystemClock) -> VenueOpening:
    return VenueOpening(
        venue="OANDA",
        environment=Environment.SIMULATOR,
        account=ACCOUNT,
        address=address,
        settings=venue_defaults("oanda"),
        secret=lambda part: TOKEN if part == "token" else "",
        instruments=instruments(EURO),
        subscriptions=[Subscription(instrument_id=EURO, quotes="packet")],
        order_id_prefix="t",
        now=clock.now,
        on_trouble=lambda _text: None,
        first_order_id=make_order_id(1, 1),
    )


def test_an_orders_life_and_a_cut() -> None:
    clock, sink, reconnects = SystemClock(), Sink(), list[VenueState]()
    # Without the limit on new connections: a process that stands still for a moment bunches them, and then an order is refused.
    venue = OandaVenue(clock.now(), seed=1, connections_per_s=0, keeps_week=False)
    venue.add_account(clock.now(), ACCOUNT, TOKEN, BALANCE)
    market, resting = make_order_id(1, 1), make_order_id(1, 2)

    async def story() -> None:
        async with serve(venue, clock) as served:
            adapter = open_adapter(opening_at(str(served), clock))
            await adapter.open()
            running = asyncio.get_running_loop().create_task(adapter.run(sink, reconnects.append))
            await until(lambda: sink.has(Quote))
            adapter.send(approve(submit(market, None)))
            adapter.send(approve(submit(resting, 100_000)))
            await until(lambda: sink.has(OrderFilled, market) and sink.has(OrderAccepted, resting))
            served.cut_all()
            await until(lambda: bool(reconnects))
            state = await adapter.query(0)
            assert [order.client_order_id for order in state.open_orders] == [resting]
            assert (state.positions, [fill.client_order_id for fill in state.executions]) == ({EURO: 1_000}, [market])
            adapter.send(approve(CancelOrder(0, resting)))
            await until(lambda: sink.has(OrderCanceled, resting))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await adapter.close()

    asyncio.run(asyncio.wait_for(story(), WAIT_S))
    assert [order.client_order_id for order in reconnects[0].open_orders] == [resting]
    assert len(venue.ledger()["fills"]) == 1
