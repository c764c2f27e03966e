"""The adapter at the simulated Binance in virtual time: random orders, faults on, then calm, and both sides' books held together.

The auditor reads the venue's ledger and what the adapter has told; it knows nothing of how either came about.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio

from adapters.binance.endpoints import Product
from adapters.binance.io import BinanceAdapter
from adapters.binance.opening import open_adapter
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import TransportError
from core.events import (
    CashMoved,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
)
from core.identifiers import format_order_id, make_order_id
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_adapter import VenueState
from core.venue_opening import Environment, VenueOpening
from daemon.trading.venue_opening import venue_defaults
from daemon.venue_sim.loopback import Served, serve
from sim.venues.binance.faults import KNOWN
from sim.venues.binance.markets import Product as Simulated
from sim.venues.binance.markets import default_markets
from sim.venues.binance.venue import BinanceVenue
from sim.venues.faults import Faults
from sim.virtual.agenda import Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.adapters.binance.account_for_tests import PREFIX
from tests.adapters.binance.bench_at_venue import KINDS, Sink
from tests.daemon.trading.test_router import approve

HOST, PORT = "127.0.0.1", 7010
NAMES = {Product.SPOT: "spot", Product.USDM: "usdm"}
TRADING_S, CALM_S = 25.0, 240.0
ENDS = (OrderRejected, OrderCanceled, OrderExpired)
# Of orders, answers, streams; all of them leave the adapter's books and the venue's equal once it is calm.
FAULTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 20, 22, 24, 25, 26, 27, 29, 35, 37, 39, 40, 41, 42, 43, 59, 61)


class _Clock:
    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda

    def now(self) -> int:
        return self._agenda.ns


class World:
    """`faults`: occasions in a million by number."""

    def __init__(self, product: Product, seed: int, faults: dict[int, int]) -> None:
        self.product = product
        self.chance = random.Random(seed)
        self.agenda = Agenda()
        self.network = Network(self.agenda, seed)
        self.here = VirtualLoop(self.agenda, self.network, "here")
        self.there = VirtualLoop(self.agenda, self.network, "there")
        self.faults = Faults(KNOWN, seed, faults)
        markets = [market for market in default_markets(Simulated(NAMES[product])) if market.symbol == "BTCUSDT"]
        self.rules = markets[0].rules
        self.venue = BinanceVenue(Simulated(NAMES[product]), self.agenda.ns, seed=seed, faults=self.faults)
        self.venue.desk.crowd.is_quiet = True  # everybody else does what `hit` says
        self.clock = _Clock(self.agenda)
        self.sink = Sink()
        self.states: list[VenueState] = []
        self.trouble: list[str] = []
        self.sent: list[int] = []
        self.served: Served | None = None

    def run(self) -> list[str]:
        """What is wrong in the end."""
        serving = self.there.create_task(self._serve())
        self.agenda.run_to(self.agenda.ns + 1)
        task = self.here.create_task(self._live())
        assert self.agenda.run_until(task.done, self.agenda.ns + 3_000 * NS_PER_SECOND), "it never ended"
        serving.cancel()
        self.agenda.run_to(self.agenda.ns + NS_PER_SECOND)
        return task.result()

    async def _serve(self) -> None:
        async with serve(self.venue, self.clock, HOST, PORT) as served:
            self.served = served
            await anyio.sleep_forever()

    async def _live(self) -> list[str]:
        adapter = open_adapter(self._opening())
        await self._open(adapter)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.run, self.sink, self.states.append)
            with anyio.move_on_after(TRADING_S):
                while True:
                    await anyio.sleep(self.chance.random() * 0.3)
                    self._trade(adapter)
            self.faults.is_quiet = True
            with anyio.move_on_after(CALM_S):
                while len(adapter._desk.unknown) or not adapter._user.session.may_place:
                    await anyio.sleep(1.0)
            await anyio.sleep(65.0)  # longer than the income history may go unasked
            state = await adapter.query(0)
            await anyio.sleep(1.0)
            wrong = self._audit(adapter, state)
            tasks.cancel_scope.cancel()
        await adapter.close()
        return wrong

    async def _open(self, adapter: BinanceAdapter) -> None:
        for _ in range(20):
            try:
                return await adapter.open()
            except TransportError:
                await anyio.sleep(1.0)
        raise AssertionError("the venue cannot be reached")

    def _opening(self) -> VenueOpening:
        kind = KINDS[self.product]
        return VenueOpening(
            venue="BINANCE",
            kind=kind,
            environment=Environment.SIMULATOR,
            account="us",
            address=f"{HOST}:{PORT}",
            settings=venue_defaults(kind),
            secret={"key": "us-key", "secret": "us-secret"}.__getitem__,
            instruments={self.rules.instrument_id: self.rules},
            subscriptions=(),
            order_id_prefix=PREFIX,
            now=self.clock.now,
            on_trouble=self.trouble.append,
        )

    # What a strategy does.

    def _trade(self, adapter: BinanceAdapter) -> None:
        chance, ts = self.chance, self.clock.now()
        open_ids = [order_id for order_id in self.sent if self._is_open(order_id)]
        match chance.randrange(8):
            case 0 | 1 | 2 | 3:
                self._place(adapter, ts)
            case 4 | 5 if open_ids:
                adapter.send(approve(CancelOrder(ts, chance.choice(open_ids))))
            case 6 if open_ids and self.product is Product.USDM:
                order_id = chance.choice(open_ids)
                adapter.send(
                    approve(ReplaceOrder(ts, order_id, chance.randint(1, 30), self._price(Side.BUY), self._filled(order_id)))
                )
            case 7 if chance.random() < 0.1:
                adapter.send(approve(CancelAll(ts, None)))
            case 7 if chance.random() < 0.3:
                self._move_cash()
        exchange = self.venue.desk.exchange
        ours = list(exchange.open_orders(exchange.accounts["us"]))
        if ours and chance.random() < 0.3 and self.served is not None:
            order = chance.choice(ours)
            self.served.act("hit", {"client_order_id": order.client_id, "qty": chance.randint(1, order.leaves_qty)})

    def _move_cash(self) -> None:
        assert self.served is not None
        if self.product is Product.USDM and self.chance.random() < 0.7:
            self.served.act("fund", {"symbol": "BTCUSDT", "rate_ppb": self.chance.randint(-300_000, 300_000)})
        else:
            amount = self.chance.choice((1, -1)) * self.chance.randint(1, 10**9)
            self.served.act("deposit", {"currency": "USDT", "amount": amount})

    def _place(self, adapter: BinanceAdapter, ts: int) -> None:
        order_id = make_order_id(3, len(self.sent) + 1)
        side = self.chance.choice((Side.BUY, Side.SELL))
        is_market = self.chance.random() < 0.1
        quantity = self.rules.parse_qty("0.001") * self.chance.randint(1, 30)
        self.sent.append(order_id)
        command = SubmitOrder(
            ts=ts,
            client_order_id=order_id,
            strategy_id="s",
            instrument_id=self.rules.instrument_id,
            side=side,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            quantity=quantity,
            price=None if is_market else self._price(side),
            time_in_force=TimeInForce.GTC,
        )
        adapter.send(approve(command))

    def _price(self, side: Side) -> int:
        offset = self.chance.randint(-10, 400) * self.rules.tick
        middle = self.rules.parse_price("50000")
        return middle - offset if side is Side.BUY else middle + offset

    # What is known here.

    def _told(self, order_id: int) -> list[OrderEvent]:
        return [event for event in self.sink.events if isinstance(event, OrderEvent) and event.client_order_id == order_id]

    def _is_open(self, order_id: int) -> bool:
        told = self._told(order_id)
        ended = any(isinstance(event, ENDS) or (isinstance(event, OrderFilled) and event.leaves_qty == 0) for event in told)
        return not ended and any(isinstance(event, OrderAccepted) for event in told)

    def _filled(self, order_id: int) -> int:
        return sum(event.qty for event in self._told(order_id) if isinstance(event, OrderFilled))

    # The auditor.

    def _audit(self, adapter: BinanceAdapter, last: VenueState) -> list[str]:
        ledger: dict[str, Any] = self.venue.ledger()
        orders = [order for order in ledger["orders"] if order["account"] == "us"]
        theirs = {
            f"BTCUSDT-{fill['trade_id']}-{fill['venue_order_id']}": fill for fill in ledger["fills"] if fill["account"] == "us"
        }
        wrong = []
        counted = Counter(order["client_order_id"] for order in orders)
        wrong += [f"{key} was placed {count} times" for key, count in counted.items() if count > 1]
        told = Counter(event.execution_id for event in self.sink.of(OrderFilled))
        wrong += [f"execution {key} was told {count} times" for key, count in told.items() if count > 1]
        known = set(told) | {fill.execution_id for state in (*self.states, last) for fill in state.executions}
        wrong += [f"execution {key} is not at the venue" for key in sorted(known - set(theirs))]
        wrong += [f"execution {key} was never told" for key in sorted(set(theirs) - known)]
        asked = {fill.execution_id: (fill.qty, fill.price, fill.commission) for fill in last.executions}
        wrong += [
            f"execution {key}: {asked.get(key)} for {fill}"
            for key, fill in theirs.items()
            if asked.get(key) != (fill["qty"], fill["price"], fill["fee"])
        ]
        wrong += self._audit_cash(ledger, last)
        at_venue = {order["client_order_id"]: order for order in orders}
        shown = {order.client_order_id: order.leaves_qty for order in last.open_orders}
        for order_id in self.sent:
            order = at_venue.get(format_order_id(order_id, PREFIX))
            is_open = order is not None and order["is_open"]
            if is_open != (order_id in shown):
                wrong.append(f"{order_id}: open there is {is_open}, and the last look says otherwise")
            if order is not None and is_open and shown[order_id] != order["qty"] - order["filled_qty"]:
                wrong.append(f"{order_id}: {shown[order_id]} left here, {order} there")
            ends = [event for event in self._told(order_id) if isinstance(event, ENDS)]
            if ends and is_open:
                wrong.append(f"{order_id} is called ended, {ends[0]!r}, and it is open")
            if any(isinstance(event, OrderRejected) for event in ends) and order is not None:
                wrong.append(f"{order_id} is called refused, and the venue has it: {order}")
        wrong += [f"{order_id} is unknown still" for order_id in adapter._desk.unknown.order_ids()]
        return wrong

    def _audit_cash(self, ledger: dict[str, Any], last: VenueState) -> list[str]:
        """What moved without a fill. Spot's is told by its stream alone: what is missed there is not found."""
        theirs = Counter(
            (each["currency"], each["amount"], each["ts"] // NS_PER_MS, each["instrument_id"])
            for each in ledger["cash"]
            if each["account"] == "us"
        )
        told = Counter(event.movement_id for event in self.sink.of(CashMoved))
        wrong = [f"movement {key} was told {count} times" for key, count in told.items() if count > 1]
        by_name = {event.movement_id: event for event in (*last.cash_moves, *self.sink.of(CashMoved))}
        ours = Counter((each.currency, each.amount, each.ts_event // NS_PER_MS, each.instrument_id) for each in by_name.values())
        wrong += [f"movement {key} is not at the venue" for key in ours - theirs]
        if self.product is Product.USDM or not self.faults.fired:
            wrong += [f"movement {key} is not known" for key in theirs - ours]
        return wrong


def faults_of(seed: int) -> dict[int, int]:
    """Some kinds of fault, at rates of their own; now and then none."""
    chance = random.Random(seed * 7 + 1)
    if chance.random() < 0.15:
        return {}
    return {number: chance.randint(5_000, 80_000) for number in chance.sample(FAULTS, chance.randint(1, 6))}


def audited(product: Product, seed: int, faults: dict[int, int] | None = None) -> list[str]:
    return World(product, seed, faults_of(seed) if faults is None else faults).run()
