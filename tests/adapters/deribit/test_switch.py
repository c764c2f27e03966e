"""The guardian's connection against the simulated venue: everything canceled and closed, the daemon's connection untouched."""

from __future__ import annotations

from collections.abc import Callable

from adapters.deribit.settings import Output
from adapters.deribit.switch import DeribitSwitch
from core.enums import OrderStatus, OrderType, Side
from core.venue_adapter import VenueOrder, VenueState
from tests.adapters.deribit.auditor import differences
from tests.adapters.deribit.hand import BTC, HandWorld
from tests.adapters.deribit.world import MS, PREFIX, S, settings_of

BID, ASK = 4_999_950, 5_000_050


class Guardian:
    """A second connection to the world's venue, without latency."""

    def __init__(self, world: HandWorld) -> None:
        self.world = world
        self.switch = DeribitSwitch(settings_of(), world.now)
        self.states: dict[int, VenueState | None] = {}
        self.facts: list[str] = []
        self.connection = world.new_connection()
        self.is_open = True
        deliver = world.deliver

        def both() -> None:
            mine = [frame for frame in world.venue._outgoing if frame.connection == self.connection]
            world.venue._outgoing = [frame for frame in world.venue._outgoing if frame.connection != self.connection]
            deliver()
            for frame in mine:
                if frame.payload is None:
                    self.is_open = False
                else:
                    payload = frame.payload.encode() if isinstance(frame.payload, str) else frame.payload
                    self.take(self.switch.receive(world.now, payload))

        world.deliver = both
        self.take(self.switch.connected(world.now, "nonce"))
        self.wait(lambda: self.switch.is_ready)

    def take(self, output: Output) -> None:
        self.states.update((number, state) for number, state, _ in output.states)
        self.facts += [fact.text for fact in output.facts]
        for frame in output.frames:
            self.world.at(
                self.world.now + MS, lambda frame=frame: self.world.venue.receive(self.world.now, self.connection, frame)
            )

    def wait(self, condition: Callable[[], bool]) -> None:
        for _ in range(100):
            if condition():
                return
            self.world.run(50 * MS)
            self.take(self.switch.tick(self.world.now))
        raise AssertionError("the condition never came true")

    def ask(self) -> VenueState:
        number, output = self.switch.ask(self.world.now)
        self.take(output)
        self.wait(lambda: number in self.states)
        state = self.states[number]
        assert state is not None
        return state


def test_the_switch_sees_cancels_and_flattens() -> None:
    world = HandWorld()
    world.begin()
    held = world.submit(BTC, Side.BUY, 30, ASK)
    resting = world.submit(BTC, Side.BUY, 10, BID - 100)
    stop = world.submit(BTC, Side.SELL, 10, order_type=OrderType.STOP, trigger_price=BID - 1_000)
    guardian = Guardian(world)
    state = guardian.ask()
    assert state.positions == {BTC: 30}
    assert state.open_orders == (
        VenueOrder(resting.client_order_id, BTC, Side.BUY, BID - 100, 10, state.open_orders[0].venue_order_id),
        VenueOrder(stop.client_order_id, BTC, Side.SELL, None, 10, state.open_orders[1].venue_order_id),
    )
    guardian.take(guardian.switch.cancel_all(world.now))
    world.run(S)
    assert (held.status, resting.status, stop.status) == (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.CANCELED)
    guardian.take(guardian.switch.flatten(world.now, state.positions))
    world.run(S)
    after = guardian.ask()
    assert (after.open_orders, after.positions) == ((), {})
    assert guardian.facts == []
    # The daemon is told that somebody else traded on its account, and its own orders stay right.
    assert world.fact_kinds() == ["foreign_order", "foreign_fill"]
    assert [text for text in differences(world.venue.books, world.account, world.trader, PREFIX) if "t-1" in text] == []


def test_the_switch_going_takes_no_order_with_it() -> None:
    world = HandWorld()
    world.begin()
    order = world.submit(BTC, Side.BUY, 10, BID - 100)
    guardian = Guardian(world)
    world.venue.disconnected(world.now, guardian.connection)
    world.run(S)
    assert order.status is OrderStatus.ACCEPTED


def test_what_cannot_be_asked_is_said() -> None:
    world = HandWorld()
    world.begin()
    guardian = Guardian(world)
    number, output = guardian.switch.ask(world.now)
    assert output.frames != []
    lost = guardian.switch.disconnected(world.now)
    assert lost.states == [(number, None, "the connection was lost")]
