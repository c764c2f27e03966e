"""A strategy that does what a test tells it, when the test tells it; and the world it does it in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.deribit.session import Phase
from core.events import AnyEvent
from core.orders import Order
from core.strategy import Subscription
from tests.adapters.deribit.world import MS, NAMES, S, World

BTC = "BTC-PERPETUAL.DERIBIT"
PAUSE_NS = 20 * MS


class Hand:
    """`do` is called at the next timer, once."""

    def __init__(self) -> None:
        self.is_stopped = False
        self.pause_ns = PAUSE_NS
        self.todo: list[Callable[[Any], None]] = []
        self.done: list[Any] = []

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=f"{name}.DERIBIT", quotes="price") for name in NAMES]

    def on_start(self, context: Any) -> None:
        context.set_timer("go", context.now + self.pause_ns)

    def on_timer(self, context: Any, name: str) -> None:
        context.set_timer(name, context.now + self.pause_ns)
        todo, self.todo = self.todo, []
        for act in todo:
            self.done.append(act(context))


class HandWorld(World):
    """Without a crowd that moves: what happens is what the test does. `do` gives back what the act gave."""

    def __init__(self, **more: Any) -> None:
        self.hand = Hand()
        super().__init__(strategy=self.hand, latency_ms=(5, 6), **more)

    def begin(self) -> None:
        self.open_market()
        self.connect()
        self.run_until(lambda: self.session.phase is Phase.READY)
        self.start()
        self.run(100 * MS)

    def do(self, act: Callable[[Any], Any], settle_ns: int = 200 * MS) -> Any:
        self.hand.todo.append(act)
        self.run(settle_ns)
        return self.hand.done[-1]

    def rest(self, duration_ns: int) -> None:
        """A long time in which the strategy does nothing, and hardly wakes."""
        self.hand.pause_ns = 3_600 * S
        self.run(duration_ns)

    def submit(self, *arguments: Any, **more: Any) -> Order:
        order: Order = self.do(lambda context: context.submit(*arguments, **more))
        return order

    def events_of(self, order: Order) -> list[AnyEvent]:
        return [event for event in self.events if getattr(event, "client_order_id", None) == order.client_order_id]

    def names_of(self, order: Order) -> list[str]:
        return [type(event).__name__ for event in self.events_of(order)]

    def fact_kinds(self) -> list[str]:
        return [fact.kind.value for fact in self.facts]

    def mute_venue(self, duration_ns: int = 10 * S) -> None:
        """Nothing of what is sent reaches the venue for a while; the connection stays."""
        until = self.now + duration_ns
        receive = self.venue.receive

        def deaf(ts: int, number: int, payload: bytes) -> None:
            if ts >= until:
                self.venue.receive = receive
                receive(ts, number, payload)

        self.venue.receive = deaf
