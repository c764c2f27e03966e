"""The network in virtual time: streams arrive whole and in order unless something is broken, and then as TCP breaks them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import MS, Conditions, Connection, Network

PORT = 7000


class Place:
    """One agenda, one network, a loop for a client and one for a server that keeps what it gets."""

    def __init__(self, seed: int = 1, conditions: Conditions | None = None) -> None:
        self.agenda = Agenda()
        self.network = Network(self.agenda, seed, conditions)
        self.here = VirtualLoop(self.agenda, self.network, "here")
        self.there = VirtualLoop(self.agenda, self.network, "there")
        self.got = bytearray()
        self.ends: list[str] = []
        self.network.name("venue.example", "10.0.0.1")

    def run(self, main: Awaitable[Any], seconds: float = 5_000) -> Any:
        task = self.here.create_task(_await(main))
        assert self.agenda.run_until(task.done, self.agenda.ns + int(seconds * NS_PER_S)), "it never ended"
        return task.result()

    def run_there(self, main: Awaitable[Any]) -> asyncio.Task[Any]:
        task = self.there.create_task(_await(main))
        self.agenda.run_to(self.agenda.ns + 1)
        return task

    def listen(self, answer: Callable[[bytes], bytes] = bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(1 << 16):
                    self.got += data
                    writer.write(answer(data))
                self.ends.append("end")
            except OSError as error:
                self.ends.append(type(error).__name__)
            writer.close()

        self.run_there(asyncio.start_server(serve, "10.0.0.1", PORT))

    def connection(self) -> Connection:
        return next(iter(self.network.connections.values()))


async def _await(main: Awaitable[Any]) -> Any:
    return await main


async def connect(host: str = "venue.example") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, PORT)


@given(st.lists(st.binary(min_size=1, max_size=60_000), max_size=6), st.integers(0, 1000))
def test_a_stream_arrives_as_it_was_sent_however_it_is_cut_into_pieces(pieces: list[bytes], seed: int) -> None:
    place = Place(seed, Conditions(split_ppm=500_000))
    place.listen()

    async def main() -> bytes:
        reader, writer = await connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        writer.write_eof()
        return await reader.read()

    sent = b"".join(pieces)
    assert place.run(main()) == sent
    assert bytes(place.got) == sent
    assert place.ends == ["end"]


@given(st.integers(0, 1000), st.integers(0, 300))
def test_what_a_broken_connection_delivers_is_a_beginning(seed: int, cut_ms: int) -> None:
    place = Place(seed)
    place.listen(lambda _data: b"")
    sent = b"".join(b"%06d " % number for number in range(100))

    async def main() -> str:
        reader, writer = await connect()
        place.agenda.after(cut_ms * MS, place.network.cut, place.connection())
        try:
            for number in range(100):
                writer.write(sent[number * 7 : number * 7 + 7])
                await asyncio.sleep(0.002)
            await reader.read()
        except OSError as error:
            return type(error).__name__
        return "the end"

    assert place.run(main()) in ("ConnectionResetError", "BrokenPipeError", "the end")
    place.agenda.run_to(place.agenda.ns + NS_PER_S)
    assert sent.startswith(bytes(place.got))
    assert place.network.connections == {}


def test_the_same_seed_gives_the_same_bytes_at_the_same_time() -> None:
    def trace(seed: int) -> str:
        place = Place(seed, Conditions(cut_ppm=20_000, half_open_ppm=10_000, blip_ppm=50_000, refuse_ppm=100_000, dns_ppm=50_000))
        digest = hashlib.blake2b()
        place.network.on_wire = lambda *what: digest.update(repr(what).encode())
        place.listen(lambda data: data * 2)

        async def main() -> None:
            for _ in range(20):
                with anyio.move_on_after(3):
                    try:
                        reader, writer = await connect()
                        for number in range(10):
                            writer.write(b"%d" % number * 300)
                            digest.update(await reader.read(5_000))
                        writer.close()
                    except OSError as error:
                        digest.update(repr(error).encode())
                digest.update(str(place.agenda.ns).encode())

        place.run(main())
        return digest.hexdigest()

    assert trace(5) == trace(5)
    assert trace(5) != trace(6)


def test_who_does_not_read_holds_up_who_writes() -> None:
    place = Place()
    place.run_there(_deaf_server())

    async def main() -> bool:
        _, writer = await connect()
        writer.write(bytes(1 << 21))
        with anyio.move_on_after(60) as scope:
            await writer.drain()
        return scope.cancelled_caught

    assert place.run(main())


async def _deaf_server() -> Any:
    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()

    return await asyncio.get_running_loop().create_server(Deaf, "10.0.0.1", PORT)


def test_a_half_open_connection_says_nothing_until_the_system_gives_up() -> None:
    place = Place()
    place.listen()

    async def main() -> tuple[bool, str]:
        reader, writer = await connect()
        writer.write(b"one")
        assert await reader.read(10) == b"one"
        place.connection().is_silent = True
        writer.write(b"two")
        with anyio.move_on_after(60) as scope:
            await reader.read(10)
        try:
            await reader.read(10)
        except OSError as error:
            return scope.cancelled_caught, type(error).__name__
        return scope.cancelled_caught, "nothing"

    assert place.run(main()) == (True, "TimeoutError")
    assert bytes(place.got) == b"one"


def test_a_network_that_is_mended_resets_what_was_half_open() -> None:
    place = Place()
    place.listen()

    async def main() -> str:
        reader, _writer = await connect()
        place.connection().is_silent = True
        place.agenda.after(NS_PER_S, place.network.mend)
        try:
            return str(await reader.read(10))
        except OSError as error:
            return type(error).__name__

    assert place.run(main(), 10) == "ConnectionResetError"
    place.agenda.run_to(place.agenda.ns + NS_PER_S)
    assert place.ends == ["ConnectionResetError"]
    assert place.network.connections == {}


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda network: network.fail_name("venue.example"), socket.gaierror),
        (lambda network: setattr(network.conditions, "refuse_ppm", 1_000_000), ConnectionRefusedError),
        (lambda network: setattr(network.conditions, "hang_ppm", 1_000_000), TimeoutError),
    ],
)
def test_connects_that_fail(spoil: Callable[[Network], None], error: type[Exception]) -> None:
    place = Place()
    place.listen()
    spoil(place.network)
    with pytest.raises(error):
        place.run(connect())


def test_nobody_listens_and_nobody_is_called_that() -> None:
    place = Place()
    with pytest.raises(ConnectionRefusedError):
        place.run(connect())
    with pytest.raises(socket.gaierror):
        place.run(connect("nobody.example"))


@pytest.mark.parametrize(("is_silent", "ends"), [(False, {"end", "ConnectionResetError"}), (True, set())])
def test_a_process_that_is_killed_is_heard_of_unless_its_machine_is_gone(is_silent: bool, ends: set[str]) -> None:
    found: set[str] = set()
    for seed in range(20):
        place = Place(seed)
        place.listen()

        async def main() -> None:
            _, writer = await connect()
            writer.write(b"the last words")
            await asyncio.sleep(100)
            raise AssertionError("it lives on")

        task = place.here.create_task(main())
        place.agenda.run_to(place.agenda.ns + NS_PER_S)
        place.network.abandon(place.here, is_silent=is_silent)
        place.here.abandon()
        assert task.done()
        place.agenda.run_to(place.agenda.ns + NS_PER_S)
        assert bytes(place.got) == b"the last words"
        found |= set(place.ends)
    assert found == ends


def test_a_machine_that_is_back_after_a_power_cut_resets_what_it_does_not_know() -> None:
    place = Place()
    place.listen()
    task = place.here.create_task(connect())
    place.agenda.run_to(place.agenda.ns + NS_PER_S)
    assert task.done()
    place.network.abandon(place.here, is_silent=True)
    place.here.abandon()
    place.agenda.run_to(place.agenda.ns + 50 * NS_PER_S)
    assert place.ends == []
    place.network.reboot()
    place.agenda.run_to(place.agenda.ns + NS_PER_S)
    assert place.ends == ["ConnectionResetError"]
    assert place.network.connections == {}


def test_closing_sends_what_was_written_before() -> None:
    place = Place()
    place.listen()

    async def main() -> None:
        _, writer = await connect()
        writer.write(b"x" * 100_000)
        writer.close()
        await writer.wait_closed()

    place.run(main())
    place.agenda.run_to(place.agenda.ns + NS_PER_S)
    assert len(place.got) == 100_000


def test_writing_to_what_has_been_closed_is_answered_by_a_reset() -> None:
    place = Place()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    place.run_there(asyncio.start_server(serve, "10.0.0.1", PORT))

    async def main() -> str:
        reader, writer = await connect()
        await asyncio.sleep(1)
        try:
            for _ in range(3):
                writer.write(b"is anybody there")
                await writer.drain()
                await asyncio.sleep(1)
            return str(len(await reader.read()))
        except OSError as error:
            return type(error).__name__

    assert place.run(main()) == "ConnectionResetError"


def test_anyios_connections_run_on_it_unchanged() -> None:
    place = Place()
    place.listen()

    async def main() -> Sequence[bytes]:
        stream = await anyio.connect_tcp("venue.example", PORT)
        async with stream:
            await stream.send(b"hello")
            got = [await stream.receive()]
            await stream.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        return got

    assert place.run(main()) == [b"hello"]
