"""Several venues behind one Adapter: who gets which command, one answer of all, and whose fault it is when there is none."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import anyio
import pytest

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import LiquiditySide, OrderType, Side
from core.errors import ConfigError, TransportError
from core.events import AnyEvent, GapDetected, OrderFilled
from core.venue_adapter import EventSink, OnReconnect, VenueBalance, VenueOrder, VenueState
from daemon.config.loader import LoadedConfig, load_config
from daemon.trading.connections import check_connections, open_connections
from daemon.trading.router import Router
from daemon.trading.wiring import build_bare_trader
from sim.virtual.agenda import Agenda
from sim.virtual.loop import VirtualLoop
from tests.daemon.session import ROOT
from tests.daemon.trading.harness import HandClock

FIVE = ROOT / "tests" / "daemon" / "venue_sim" / "five_venues.toml"


class Place:
    """A venue that remembers."""

    def __init__(self, name: str, error: str = "") -> None:
        self.name = name
        self.error = error
        self.sent: list[OrderCommand] = []
        self.adopted: list[int] = []
        self.is_open = False

    async def open(self) -> None:
        if self.error:
            raise TransportError(f"{self.name}: {self.error}")
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        await sink.put(GapDetected(1, 1, f"X.{self.name}"))
        on_reconnect(VenueState((), (), {}, frozenset((f"X.{self.name}",))))

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self.adopted.append(client_order_id)

    def send(self, approved: Approved) -> None:
        self.sent.append(approved.command)

    async def query(self, since_ts: int) -> VenueState:
        if self.error:
            raise TransportError(self.error)
        order = VenueOrder(since_ts, f"X.{self.name}", Side.BUY, 1, 1)
        fill = OrderFilled(len(self.name), 1, 5, f"X.{self.name}", "1", Side.BUY, 1, 1, 0, LiquiditySide.MAKER, 0, "USD")
        name = f"X.{self.name}"
        balances = (VenueBalance(self.name, "X", 5),)
        return VenueState((order,), (fill,), {name: 3}, frozenset((name,)), not_found_ns=len(self.name), balances=balances)


class Sink:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.offer(event)


def test_a_connection_that_has_waited_for_a_slow_venue_is_made_anew() -> None:
    """Nobody reads it while the others open, and a venue that hears nothing closes it."""

    class Slow(Place):
        def __init__(self, name: str, seconds: float) -> None:
            super().__init__(name)
            self.seconds = seconds
            self.opened: list[float] = []

        async def open(self) -> None:
            assert not self.is_open
            await anyio.sleep(self.seconds)
            await super().open()
            self.opened.append(anyio.current_time())

    places = [Slow("A", 0.1), Slow("B", 7.0), Slow("C", 6.0)]
    router = Router({place.name: place for place in places}, {}.get, [])
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(Agenda())) as runner:
        runner.run(router.open())
    assert [[round(at, 3) for at in place.opened] for place in places] == [[0.1, 7.1], [7.0], [6.0]]
    assert all(place.is_open for place in places)


def submit(instrument_id: str) -> SubmitOrder:
    return SubmitOrder(1, 7, "s", instrument_id, Side.BUY, OrderType.LIMIT, 1, 1)


def approve(command: OrderCommand) -> Approved:
    """As the gate does it for cancels; what is asked here is where a command goes, not whether it may."""
    approved = build_bare_trader(five()).risk.cancel(CancelAll(1, None))
    object.__setattr__(approved, "command", command)
    return approved


@pytest.fixture
def places() -> tuple[Place, Place]:
    return Place("A"), Place("BB")


@pytest.fixture
def router(places: tuple[Place, Place]) -> Router:
    return Router({place.name: place for place in places}, {7: "X.A", 8: "X.BB"}.get, ["X.A", "X.BB"])


def test_each_command_goes_to_the_venue_of_its_instrument_and_a_cancel_of_everything_to_all(
    router: Router, places: tuple[Place, Place]
) -> None:
    commands: list[OrderCommand] = [
        submit("X.A"),
        submit("Y.Z.BB"),
        CancelOrder(1, 7),
        ReplaceOrder(1, 8, 1, 1),
        CancelAll(1, "X.BB"),
        CancelAll(1, None),
    ]
    for command in commands:
        router.send(approve(command))
    first, second = places
    assert first.sent == [commands[0], commands[2], commands[5]]
    assert second.sent == [commands[1], commands[3], commands[4], commands[5]]
    router.adopt(9, VenueOrder(None, "X.BB", Side.BUY, 1, 1, "V1"))
    assert (first.adopted, second.adopted) == ([], [9])


def test_one_answer_of_all_and_the_names_of_those_that_give_none(router: Router, places: tuple[Place, Place]) -> None:
    state = anyio.run(router.query, 4)
    assert state.positions == {"X.A": 3, "X.BB": 3}
    assert state.instrument_ids == frozenset(("X.A", "X.BB"))
    assert state.balances == (VenueBalance("A", "X", 5), VenueBalance("BB", "X", 5))
    assert [order.instrument_id for order in state.open_orders] == ["X.A", "X.BB"]
    assert [fill.instrument_id for fill in state.executions] == ["X.A", "X.BB"]
    # The slowest to find an order decides how long all are waited for.
    assert state.not_found_ns == 2
    assert state.whole() is state
    places[1].error = "gone"
    partial_state = anyio.run(router.query, 4)
    assert (partial_state.positions, partial_state.instrument_ids) == ({"X.A": 3}, frozenset(("X.A",)))
    assert (partial_state.silent, partial_state.balances) == (("BB: gone",), (VenueBalance("A", "X", 5),))
    with pytest.raises(TransportError, match=r"^BB: gone$"):
        partial_state.whole()
    places[0].error = "gone too"
    with pytest.raises(TransportError, match=r"^A: gone too; BB: gone$"):
        anyio.run(router.query, 4)


def test_events_of_all_come_in_and_a_reconnect_is_about_one_venue(router: Router) -> None:
    sink, states = Sink(), []
    anyio.run(partial(router.run, sink, states.append))
    assert {event.instrument_id for event in sink.events if isinstance(event, GapDetected)} == {"X.A", "X.BB"}
    assert [state.instrument_ids for state in states] == [frozenset(("X.A",)), frozenset(("X.BB",))]


def test_where_one_venue_cannot_be_opened_none_stays_open(router: Router, places: tuple[Place, Place]) -> None:
    places[1].error = "nobody there"
    with pytest.raises(TransportError, match="BB: nobody there"):
        anyio.run(router.open)
    assert not places[0].is_open


def five(*overrides: str) -> LoadedConfig:
    text = [f"connections.{number}.address=unix:/tmp/nowhere-{number}" for number in range(5)]
    return load_config(FIVE, [*text, *overrides])


def test_a_configuration_with_five_venues_opens_five_connections() -> None:
    loaded = five()
    check_connections(loaded)
    opened = open_connections(loaded, build_bare_trader(loaded), HandClock(), None, print)
    assert isinstance(opened, Router)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("connections.4.venue=FIVER", "ACME.FIVE: no connection is for the venue FIVE; did you mean FIVER"),
        ("connections.4.venue=ONE", r"connections\[4\].venue: ONE is connected to twice"),
        ("connections.4.address=nowhere", r"connections\[4\].address: 'nowhere' is no address"),
        ("connections.4.address=8.8.8.8:80", "only this machine can be reached"),
    ],
)
def test_what_cannot_be_connected_is_named(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_connections(five(override))


def test_a_secret_that_is_not_there_is_named_with_its_connection(tmp_path: Path) -> None:
    loaded = five("connections.2.token=absent")
    with pytest.raises(ConfigError, match=r"connections\[2\]: there is no secret 'absent'"):
        open_connections(loaded, build_bare_trader(loaded), HandClock(), None, print)
