"""The adapter and the switch on real sockets, against the venue's own shell in the same loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapters.sim import io, wire
from adapters.sim.address import Address
from adapters.sim.io import SimAdapter, Stream
from adapters.sim.switch import SimSwitch
from core.commands import CancelAll, OrderCommand
from core.enums import Reason
from core.errors import RefusedError, TransportError
from core.events import AnyEvent, CancelRejected, GapDetected, OrderAccepted, OrderCanceled, OrderRejected, Quote
from core.strategy import Subscription
from core.venue_adapter import VenueState
from daemon.trading.clock import SystemClock
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import Exchange, Settings
from daemon.venue_sim.ledger import LedgerFile
from daemon.venue_sim.shell import PEERS_MAX, Shell, open_listener
from tests.daemon.trading.test_router import approve
from tests.daemon.venue_sim.random_market import INSTRUMENT, RandomMarket
from tests.daemon.venue_sim.test_exchange import Calm, buy

SETTINGS = Settings(
    account="main", tokens={"trade": ("t",), "switch": ("s",), "watch": ("t",)}, instrument_ids=frozenset((INSTRUMENT,))
)
SECONDS_MAX = 30.0
pytestmark = pytest.mark.timeout(60)


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

    async def until(self, kind: type[AnyEvent], count: int = 1) -> list[Any]:
        """The events of this kind, once there are so many."""
        while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
            await self._came.wait()
        return found


class Bench:
    """A venue that can be taken away and given back, and whoever connects to it."""

    def __init__(self, folder: Path) -> None:
        self.address = Address(path=str(folder / "v"))
        self.clock = SystemClock()
        self.market = RandomMarket(Calm())
        self.exchange = Exchange(self.market, VenueAccount({INSTRUMENT: 0}), SETTINGS, lambda _line: None)
        self.sink = Sink()
        self.states: list[VenueState] = []
        self.frames: list[tuple[int, str, bytes]] = []
        self.trouble: list[str] = []
        self.adapter = self.make_adapter()

    def make_adapter(self, token: str = "t") -> SimAdapter:
        return SimAdapter(
            venue="SIM",
            address=self.address,
            account="main",
            token=token,
            instrument_ids=[INSTRUMENT],
            subscriptions=[Subscription(instrument_id=INSTRUMENT, quotes="size")],
            now=self.clock.now,
            on_frame=lambda ts, what, data: self.frames.append((ts, what, data)),
            on_trouble=self.trouble.append,
        )

    @asynccontextmanager
    async def venue(self) -> AsyncIterator[None]:
        """The process's part, in a task; at the end it is gone as by a kill."""
        listener, _ = open_listener(self.address)
        shell = Shell(self.exchange, LedgerFile(None), self.clock)
        async with anyio.create_task_group() as tasks:
            ready = anyio.Event()
            tasks.start_soon(shell.run, listener, ready.set)
            await ready.wait()
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        self.exchange.peers.clear()

    def send(self, *commands: OrderCommand) -> None:
        for command in commands:
            self.adapter.send(approve(command))


def in_a_loop(tmp_path: Path, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with anyio.fail_after(SECONDS_MAX):
            await test(Bench(tmp_path))

    anyio.run(bounded)


def test_orders_go_and_answers_come_and_a_query_says_the_same(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        async with bench.venue():
            await bench.adapter.open()
            assert (await bench.adapter.query(0)).positions == {INSTRUMENT: 0}
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.adapter.run, bench.sink, bench.states.append)
                bench.send(buy(1), buy(2))
                assert [event.client_order_id for event in await bench.sink.until(OrderAccepted, 2)] == [1, 2]
                await bench.sink.until(Quote)
                state = await bench.adapter.query(0)
                assert [order.client_order_id for order in state.open_orders] == [1, 2]
                tasks.cancel_scope.cancel()
            await bench.adapter.close()
        assert bench.trouble == []
        kinds = [what for _, what, _ in bench.frames]
        assert (kinds[0], kinds[1], kinds[-1]) == (io.OPENED, io.SENT, io.CLOSED)
        login = wire.decode_request(bench.frames[1][2][wire.LENGTH.size :])
        assert login == wire.Login(wire.VERSION, "main", "", "trade")

    in_a_loop(tmp_path, test)


def test_while_there_is_no_venue_nothing_leaves_and_everything_is_answered(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        def compare(state: VenueState) -> None:
            # Nothing new may leave before this is done; what is to be canceled leaves right behind it.
            bench.states.append(state)
            bench.send(buy(3), CancelAll(1, None))

        async with anyio.create_task_group() as tasks:
            async with bench.venue():
                await bench.adapter.open()
                tasks.start_soon(bench.adapter.run, bench.sink, compare)
                bench.send(buy(1))
                await bench.sink.until(OrderAccepted)
            await bench.sink.until(GapDetected)
            bench.send(buy(2), CancelAll(1, None))
            (refused,) = await bench.sink.until(OrderRejected)
            (kept,) = await bench.sink.until(CancelRejected)
            assert (refused.client_order_id, refused.reason) == (2, Reason.NOT_SENT)
            assert (kept.client_order_id, kept.reason) == (1, Reason.NOT_SENT)
            with pytest.raises(TransportError, match="there is no connection"):
                await bench.adapter.query(0)
            async with bench.venue():
                (canceled,) = await bench.sink.until(OrderCanceled)
                assert canceled.client_order_id == 1
                assert [order.client_order_id for order in bench.states[0].open_orders] == [1]
                refusals = await bench.sink.until(OrderRejected, 2)
                assert [event.client_order_id for event in refusals] == [2, 3]
                bench.send(buy(4))
                accepted = await bench.sink.until(OrderAccepted, 2)
                assert accepted[-1].client_order_id == 4
                assert sorted(bench.exchange.account.open) == [4]
            tasks.cancel_scope.cancel()
        assert len(bench.trouble) <= 4

    in_a_loop(tmp_path, test)


def test_a_venue_that_does_not_take_the_login_or_is_not_there(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(TransportError, match="no venue answers: ENOENT"):
            await bench.adapter.open()
        async with bench.venue():
            with pytest.raises(RefusedError, match="token"):
                await bench.make_adapter("wrong").open()
            switch = SimSwitch(venue="SIM", address=bench.address, account="main", token="t")
            with pytest.raises(RefusedError, match="token"):
                await switch.open()
            with pytest.raises(TransportError, match="there is no connection"):
                await switch.cancel_all()

    in_a_loop(tmp_path, test)


def test_a_venue_that_accepts_and_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "CONNECT_S_MAX", 0.05)

    async def test(bench: Bench) -> None:
        deaf, _ = open_listener(bench.address)
        with pytest.raises(TransportError, match="no answer to the login within"):
            await bench.adapter.open()
        deaf.close()

    in_a_loop(tmp_path, test)


def test_the_switch_works_beside_a_trader_and_finds_out_that_the_venue_is_gone(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        switch = SimSwitch(venue="SIM", address=bench.address, account="main", token="s")
        async with bench.venue():
            await switch.open()
            await bench.adapter.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.adapter.run, bench.sink, bench.states.append)
                bench.send(buy(1), buy(2))
                await bench.sink.until(OrderAccepted, 2)
                assert {order.client_order_id for order in await switch.open_orders()} == {1, 2}
                await switch.cancel_all()
                await bench.sink.until(OrderCanceled, 2)
                assert (await switch.open_orders(), await switch.positions()) == ((), {INSTRUMENT: 0})
                assert await switch.refresh_dead_man(1.5)
                await switch.flatten()
                tasks.cancel_scope.cancel()
        with pytest.raises(TransportError):
            await switch.positions()
        with pytest.raises(TransportError):
            await switch.cancel_all()
        async with bench.venue():
            await switch.open()
            assert await switch.positions() == {INSTRUMENT: 0}
            await switch.close()

    in_a_loop(tmp_path, test)


def test_the_shell_stands_whatever_connects(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        async with bench.venue():
            strangers = []
            for number in range(PEERS_MAX + 8):
                raw = socket.socket(socket.AF_UNIX)
                raw.setblocking(False)
                raw.connect(bench.address.path)
                strangers.append(raw)
                while len(bench.exchange.peers) < min(number + 1, PEERS_MAX):
                    await anyio.sleep(0.001)
            assert len(bench.exchange.peers) == PEERS_MAX
            for number, raw in enumerate(strangers[:PEERS_MAX]):
                raw.send(bytes((number, 0, 0, 0)) + b"\xc1" * number)
                if number % 2:
                    raw.close()
            # No message has no length, or is whole and means nothing: each of them is shown out.
            while bench.exchange.peers:
                await anyio.sleep(0.001)
            await bench.adapter.open()
            await bench.adapter.close()
            for raw in strangers:
                raw.close()

    in_a_loop(tmp_path, test)


def test_a_stream_sends_at_once_waits_for_the_slow_and_gives_the_deaf_up() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        stream = Stream(ours, out_bytes_max=1 << 20)
        stream.send(b"hello")
        assert theirs.recv(10) == b"hello"
        sent = b"x" * (1 << 20)
        stream.send(sent)
        assert stream.bytes_waiting > 0
        received = bytearray()

        def read() -> None:
            while len(received) < len(sent):
                received.extend(theirs.recv(1 << 16))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, read)
            await stream.flush()
        assert (bytes(received), stream.bytes_waiting) == (sent, 0)
        stream.send(sent)
        stream.send(sent)
        assert not stream.is_open
        with pytest.raises(TransportError):
            await stream.receive()
        await stream.flush()
        theirs.close()

    anyio.run(test)
