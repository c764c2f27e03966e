"""The adapter's session and the simulated venue in virtual time: latency, cuts, a Trader with a random strategy, all from one
seed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw, json

from adapters.deribit.instruments import read_instrument
from adapters.deribit.session import DeribitSession, Phase
from adapters.deribit.settings import DeribitSettings, Fact, Output
from adapters.deribit.wire import InstrumentResult, decode_result
from core.approved import Approved
from core.commands import CancelTimer, SetTimer
from core.enums import OrderType, Side, TimeInForce
from core.events import AnyEvent, OrderFilled, Started, TimerFired
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.risk import InstrumentLimits, RateLimit
from core.strategy import Subscription
from core.trader import Trader
from core.venue_adapter import VenueState
from daemon.trading.reconcile import ForeignPolicy, look
from sim.venues.deribit.faults import KNOWN
from sim.venues.deribit.markets import default_markets
from sim.venues.deribit.venue import DeribitVenue
from sim.venues.faults import Faults

MS = 1_000_000
S = 1_000 * MS
T0 = 1_790_000_000 * S
NAMES = ("BTC-PERPETUAL", "ETH_USDC-PERPETUAL")
PREFIX = "t"
CASH = {"BTC": 100 * 10**8, "USDC": 10**7 * 10**8}


def settings_of(**more: Any) -> DeribitSettings:
    values: dict[str, Any] = {
        "client_id": "id",
        "client_secret": "secret",
        "instrument_names": NAMES,
        "order_id_prefix": PREFIX,
        "is_testnet": True,
    }
    return DeribitSettings(**{**values, **more})


def instruments() -> list[Instrument]:
    """As configured: what the venue says of them, read once."""
    found = []
    for name, market in default_markets().items():
        if name in NAMES:
            venue = read_instrument(decode_result(InstrumentResult, Raw(json.encode(market.as_json()))))
            assert venue is not None
            found.append(venue.instrument)
    return found


class Gambler:
    """Does something at random at every timer; `stop` ends it."""

    def __init__(self, seed: int, pause_ns: int = 300 * MS) -> None:
        self.random = random.Random(seed)
        self.pause_ns = pause_ns
        self.is_stopped = False
        self.keys = [f"{name}.DERIBIT" for name in NAMES]

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=key, quotes="price") for key in self.keys]

    def on_start(self, context: Any) -> None:
        context.set_timer("go", context.now + self.pause_ns)

    def on_timer(self, context: Any, name: str) -> None:
        context.set_timer(name, context.now + self.random.randrange(self.pause_ns // 10, self.pause_ns * 2))
        if not self.is_stopped:
            self.act(context)

    def act(self, context: Any) -> None:
        draw = self.random
        orders = context.open_orders()
        choice = draw.random()
        if choice < 0.25 and orders:
            context.cancel(draw.choice(orders))
            return
        if choice < 0.4 and orders:
            order = draw.choice(orders)
            quote = context.quote(order.instrument_id)
            if order.price is not None and quote is not None:
                context.replace(order, self.quantity(context, order.instrument_id), self.price(context, order, quote))
            return
        key = draw.choice(self.keys)
        quote = context.quote(key)
        if quote is None or not quote.bid_qty or not quote.ask_qty or len(orders) > 12:
            return
        self.submit(context, key, quote)

    def quantity(self, context: Any, key: str) -> int:
        return context.instrument(key).lot * self.random.randrange(1, 20)

    def price(self, context: Any, order: Any, quote: Any) -> int:
        tick = context.instrument(order.instrument_id).tick
        base = quote.bid_price if order.side is Side.BUY else quote.ask_price
        return max(tick, base + self.random.randrange(-6, 4) * tick * (1 if order.side is Side.BUY else -1))

    def submit(self, context: Any, key: str, quote: Any) -> None:
        draw = self.random
        side = draw.choice((Side.BUY, Side.SELL))
        tick = context.instrument(key).tick
        kind = draw.random()
        base = quote.bid_price if side is Side.BUY else quote.ask_price
        away = draw.randrange(-3, 8) * tick
        price = base - away if side is Side.BUY else base + away
        quantity = self.quantity(context, key)
        if kind < 0.1:
            context.submit(key, side, quantity, order_type=OrderType.MARKET)
        elif kind < 0.2:
            tif = draw.choice((TimeInForce.IOC, TimeInForce.FOK))
            context.submit(key, side, quantity, price, time_in_force=tif)
        elif kind < 0.3:
            trigger = base + 5 * tick if side is Side.BUY else base - 5 * tick
            context.submit(key, side, quantity, order_type=OrderType.STOP, trigger_price=trigger)
        elif kind < 0.6:
            context.submit(key, side, quantity, price, post_only=True)
        else:
            context.submit(key, side, quantity, price, time_in_force=draw.choice((TimeInForce.GTC, TimeInForce.DAY)))


@dataclass(order=True)
class Due:
    ts: int
    number: int
    act: Callable[[], None] = field(compare=False)


class World:
    def __init__(
        self,
        seed: int = 0,
        *,
        faults: Faults | None = None,
        cuts_ppm: int = 0,
        strategy: Any = None,
        session_settings: DeribitSettings | None = None,
        latency_ms: tuple[int, int] = (1, 40),
    ) -> None:
        self.random = random.Random(seed)
        self.now = T0
        self.faults = faults or Faults(KNOWN, seed)
        self.venue = DeribitVenue(T0, faults=self.faults)
        self._connections = 0
        self.account = self.venue.add_account("us", "id", "secret", CASH)
        self.settings = session_settings or settings_of()
        self.session = DeribitSession(self.settings, T0)
        self.strategy = strategy or Gambler(seed)
        limits = InstrumentLimits(
            order_qty_max=10**6, order_notional_max=10**18, position_qty_max=10**7, price_collar_ppm=200_000
        )
        known = instruments()
        self.trader = Trader(
            instruments=known,
            cash=dict(CASH),
            limits={each.instrument_id: limits for each in known},
            rate=RateLimit(orders_max=10**6),
            run_number=1,
        )
        self.context = self.trader.add_strategy("s", self.strategy)
        self.events: list[AnyEvent] = []
        self.facts: list[Fact] = []
        self.frames: list[tuple[str, int, bytes]] = []  # (direction, ts, payload), for transcripts
        self.keeps_frames = False
        self.foreign: list[str] = []
        self.foreign_fills: list[OrderFilled] = []
        self.approved: list[Approved] = []
        self.states: dict[int, VenueState | None] = {}
        self.reconnects = 0
        self.refused = ""
        self.connection: int | None = None
        self._latency_ms = latency_ms
        self._heap: list[Due] = []
        self._number = 0
        self._lines = {"up": 0, "down": 0}  # when the last frame arrives: frames do not overtake each other
        self._timers: dict[int, int] = {}
        self.cuts_ppm = cuts_ppm
        self.is_calm = False

    # Time.

    def at(self, ts: int, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, Due(max(ts, self.now), self._number, act))

    def run(self, duration_ns: int) -> None:
        until = self.now + duration_ns
        while True:
            due = [self.venue.next_ts()]
            session_ts = self.session.next_ts()
            if session_ts is not None:
                due.append(session_ts)
            if self._heap:
                due.append(self._heap[0].ts)
            ts = max(min(due), self.now)
            if ts > until:
                self.now = until
                return
            self.now = ts
            if self._heap and self._heap[0].ts <= ts:
                heapq.heappop(self._heap).act()
            elif session_ts is not None and session_ts <= ts:
                self.take(self.session.tick(ts))
            self.venue.advance(self.now)
            self.deliver()

    def run_until(self, condition: Callable[[], bool], bound_ns: int = 300 * S) -> None:
        end = self.now + bound_ns
        while not condition():
            assert self.now < end, "the condition never came true"
            self.run(100 * MS)

    # The network.

    def latency(self) -> int:
        return self.random.randrange(self._latency_ms[0] * MS, self._latency_ms[1] * MS)

    def new_connection(self) -> int:
        """The venue's number of one more connection, the guardian's too."""
        self._connections += 1
        self.venue.connected(self.now, self._connections)
        return self._connections

    def connect(self) -> None:
        self.connection = self.new_connection()
        self._lines = {"up": 0, "down": 0}
        self.take(self.session.connected(self.now, f"nonce{self.now}"))

    def deliver(self) -> None:
        for frame in self.venue.take():
            connection = frame.connection
            arrival = max(frame.ts, self.now) + self.latency()
            if frame.ts <= self.now:
                arrival = self._lines["down"] = max(self._lines["down"], arrival)
            if frame.freezes:
                continue  # nobody notices
            if frame.payload is None:
                self.at(arrival, lambda connection=connection: self.lose(connection))
            else:
                payload = frame.payload.encode() if isinstance(frame.payload, str) else frame.payload
                self.at(arrival, lambda connection=connection, payload=payload: self.arrive(connection, payload))

    def arrive(self, connection: int, payload: bytes) -> None:
        if connection == self.connection:
            if self.keeps_frames:
                self.frames.append(("<", self.now, payload))
            self.take(self.session.receive(self.now, payload))

    def cut(self) -> None:
        """The connection breaks: of what is under way, some arrives and the rest never does."""
        connection = self.connection
        if connection is not None:
            ts = self.now + self.random.randrange(0, 60 * MS)
            self.at(ts, lambda: self.venue.disconnected(self.now, connection))
            self.lose(connection)

    def lose(self, connection: int) -> None:
        if connection != self.connection:
            return
        self.connection = None
        self.take(self.session.disconnected(self.now))
        if not self.refused:
            self.at(self.now + self.random.randrange(100 * MS, 5 * S), self.connect)

    # What the session says.

    def take(self, output: Output) -> None:
        self.facts += output.facts
        self.refused = self.refused or output.refused
        for payload in output.frames:
            self.post(payload)
        for event in output.events:
            if isinstance(event, OrderFilled) and event.client_order_id == FOREIGN_ORDER_ID:
                self.foreign_fills.append(event)
            else:
                self.step(event)
        self.states.update((number, state) for number, state, _ in output.states)
        if output.reconnected is not None:
            self.reconnects += 1
            self.reconcile(output.reconnected)
        if output.close and self.connection is not None:
            connection = self.connection
            self.at(self.now, lambda: self.venue.disconnected(self.now, connection))
            self.at(self.now, lambda: self.lose(connection))

    def reconcile(self, state: VenueState) -> None:
        found = look(self.trader, state, self.now, ForeignPolicy.HALT)
        self.foreign += found.problems
        for event in found.events:
            self.step(event)

    def ask(self, since_ts: int) -> VenueState:
        """What the venue says; the session must be ready."""
        self.states.clear()
        number, output = self.session.query(self.now, since_ts)
        self.take(output)
        self.run_until(lambda: number in self.states)
        state = self.states[number]
        assert state is not None
        return state

    def restart(self) -> None:
        """The process dies at once, and another one with the same Trader takes over: it asks the venue before it trades."""
        connection = self.connection
        self.connection = None
        if connection is not None:
            ts = self.now + self.random.randrange(0, 60 * MS)
            self.at(ts, lambda: self.venue.disconnected(self.now, connection))
        self.session = DeribitSession(self.settings, self.now)
        self.strategy.is_stopped = True  # a daemon that starts trades nothing before it has reconciled
        self.run(self.random.randrange(10 * MS, 500 * MS))
        if self.connection is None:
            self.connect()
        self.run_until(lambda: self.session.phase is Phase.READY)
        self.reconcile(self.ask(T0))
        self.strategy.is_stopped = False

    def post(self, payload: bytes) -> None:
        connection = self.connection
        assert connection is not None
        if self.keeps_frames:
            self.frames.append((">", self.now, payload))
        arrival = self._lines["up"] = max(self._lines["up"], self.now + self.latency())

        def reach() -> None:
            # On a connection that broke meanwhile, what was under way may still arrive.
            if self.connection == connection or self.random.random() < 0.5:
                self.venue.receive(self.now, connection, payload)

        self.at(arrival, reach)
        if self.cuts_ppm and not self.is_calm and self.random.randrange(1_000_000) < self.cuts_ppm:
            self.at(self.now + self.random.randrange(0, 50 * MS), self.cut)

    # The Trader.

    def start(self) -> None:
        self.step(Started(self.now, self.now, "run"))

    def step(self, event: AnyEvent) -> None:
        self.events.append(event)
        for command in self.trader.step(msgspec.structs.replace(event, ts_init=self.now)):
            if isinstance(command, Approved):
                self.approved.append(command)
                self.at(self.now, lambda command=command: self.take(self.session.send(self.now, command)))
            elif isinstance(command, SetTimer):
                self._timers[command.timer_id] = command.at
                self.at(command.at, lambda command=command: self.fire(command))
            elif isinstance(command, CancelTimer):
                self._timers.pop(command.timer_id, None)

    def fire(self, command: SetTimer) -> None:
        if self._timers.pop(command.timer_id, None) == command.at:
            self.step(TimerFired(self.now, self.now, command.timer_id))

    # The crowd.

    def open_market(self) -> None:
        for name in NAMES:
            market = self.venue.markets[name]
            tick = market.rules.tick
            for away in range(1, 8):
                self.venue.crowd(self.now, name, Side.BUY, market.mark - away * tick, market.rules.lot * 50)
                self.venue.crowd(self.now, name, Side.SELL, market.mark + away * tick, market.rules.lot * 50)
        self.deliver()

    def churn(self) -> None:
        """The crowd moves: some trade, some quote anew."""
        if self.is_calm:
            return
        name = self.random.choice(NAMES)
        market = self.venue.markets[name]
        tick, lot = market.rules.tick, market.rules.lot
        bids, asks = market.published
        side = self.random.choice((Side.BUY, Side.SELL))
        if self.random.random() < 0.5:
            self.venue.crowd(self.now, name, side, None, lot * self.random.randrange(1, 80))
        middle = (max(bids, default=market.mark) + min(asks, default=market.mark)) // 2 // tick * tick
        away = self.random.randrange(1, 8) * tick
        price = middle - away if side is Side.BUY else middle + away
        self.venue.crowd(self.now, name, side, price, lot * self.random.randrange(10, 60))
        if self.random.random() < 0.05:
            self.venue.crowd_cancel_all(self.now, name)
            self.open_market()
        kind = self.random.random()
        if kind < 0.03:
            self.venue.fund(self.now, name, self.random.randrange(-400_000, 400_000))
        elif kind < 0.04:
            self.venue.settle_session(self.now)
        elif kind < 0.045:
            amount = self.random.randrange(-(10**6), 10**6)
            self.venue.act(self.now, "adjust", {"account": "us", "currency": "BTC", "amount": amount})
        self.deliver()
        self.at(self.now + self.random.randrange(20 * MS, 600 * MS), self.churn)

    def begin(self) -> None:
        """A market, a login, a Trader at work."""
        self.open_market()
        self.connect()
        self.run_until(lambda: self.session.phase is Phase.READY)
        self.start()
        self.at(self.now, self.churn)

    def calm(self) -> None:
        """Nothing goes wrong any more, and nothing new is begun: what is unknown must become known."""
        self.is_calm = self.faults.is_quiet = True
        self.strategy.is_stopped = True

    def fills(self) -> list[OrderFilled]:
        return [event for event in self.events if isinstance(event, OrderFilled)]
