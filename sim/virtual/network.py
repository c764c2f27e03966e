"""A network in virtual time: names, listeners and TCP streams with latency, bandwidth, segments and everything that breaks them.

All chance is from one seed. What asyncio promises of a transport holds: bytes arrive in order, `connection_lost` is called once,
writing pauses above the high-water mark. What it does not promise happens: a stream arrives in other pieces than it was sent in,
a connection that broke may have delivered any beginning of what was under way, and one that is half open says nothing at all.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from sim.venues.faults import PPM, Random
from sim.virtual.agenda import NS_PER_S, Agenda, Entry
from sim.virtual.loop import ADDRESS_FAMILY, ADDRESS_KIND, ADDRESS_PROTOCOL, VirtualLoop

MS = 1_000_000
SEGMENT_BYTES = 1_448
KERNEL_BYTES = 1 << 18  # that both systems keep of what nobody has read, before the writer's transport has to
HIGH_WATER_BYTES = 1 << 16
CONNECT_NS_MAX = 127 * NS_PER_S  # after which a connect that nobody answers gives up, as Linux does
RETRANSMIT_NS_MAX = 60 * NS_PER_S  # after which unacknowledged bytes break a connection: venues do not wait for Linux's 924 s
PORT_FIRST = 40_000

OnWire = Callable[[int, int, str, bytes], None]  # (ns, connection, what, bytes)


@dataclass(slots=True)
class Conditions:
    """What the network is like, and how often in a million occasions it does what it should not.

    `cut_ppm`, `half_open_ppm` and `blip_ppm` are for each write; the others for each connect.
    """

    latency_ns: tuple[int, int] = (1 * MS, 40 * MS)
    jitter_ns: int = 5 * MS
    bytes_per_s: int = 10_000_000
    split_ppm: int = 20_000
    blip_ns: tuple[int, int] = (200 * MS, 4 * NS_PER_S)
    dns_ppm: int = 0
    refuse_ppm: int = 0
    hang_ppm: int = 0
    cut_ppm: int = 0
    half_open_ppm: int = 0
    blip_ppm: int = 0

    def calm(self) -> None:
        """From here on nothing goes wrong by itself."""
        self.dns_ppm = self.refuse_ppm = self.hang_ppm = self.cut_ppm = self.half_open_ppm = self.blip_ppm = 0


class Network:
    """`fired` counts what has gone wrong, by its name. `on_wire` hears of everything that is written and that arrives."""

    def __init__(self, agenda: Agenda, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.agenda = agenda
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.fired: dict[str, int] = {}
        self.on_wire: OnWire | None = None
        self.connections: dict[int, Connection] = {}
        self._listeners: dict[tuple[str, int], Server] = {}
        self._names: dict[str, str] = {}
        self._dead_names: set[str] = set()
        self._number = 0
        self._port = PORT_FIRST

    # Names.

    def name(self, name: str, address: str) -> None:
        """`name` resolves to `address`. Dotted addresses stand for themselves, and so does localhost for 127.0.0.1."""
        self._names[name] = address

    def address_of(self, host: str) -> str | None:
        if host in self._dead_names:
            return None
        if host in ("localhost", ""):
            return "127.0.0.1"
        return host if host.replace(".", "").isdecimal() else self._names.get(host)

    def fail_name(self, name: str, is_dead: bool = True) -> None:
        """Until it is said otherwise, nobody can resolve it."""
        (self._dead_names.add if is_dead else self._dead_names.discard)(name)

    async def resolve(self, loop: VirtualLoop, host: str, port: int) -> list[Any]:
        address = self.address_of(host)
        if address != host:
            await self._sleep(loop, self._latency())
            if address is None or self._happens("dns", self.conditions.dns_ppm):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(ADDRESS_FAMILY, ADDRESS_KIND, ADDRESS_PROTOCOL, "", (address, port))]

    # Connections.

    def listen(self, loop: VirtualLoop, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Server:
        """Raises OSError where somebody listens there already."""
        if not port:
            self._port += 1
            port = self._port
        address = self.address_of(host)
        assert address is not None, f"{host} is no name here"
        if (address, port) in self._listeners:
            raise OSError(98, f"error while attempting to bind on address {(address, port)!r}: address already in use")
        server = Server(self, loop, factory, address, port)
        self._listeners[address, port] = server
        return server

    def forget(self, server: Server) -> None:
        self._listeners.pop((server.address, server.port), None)

    async def connect(
        self, loop: VirtualLoop, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, is_tls: bool
    ) -> tuple[Transport, asyncio.BaseProtocol]:
        found = await self.resolve(loop, host, port)
        address = str(found[0][4][0])
        latency_ns = self._latency()
        if self._happens("hang", self.conditions.hang_ppm):
            await self._sleep(loop, CONNECT_NS_MAX)
            raise TimeoutError(110, f"Connect call failed {(address, port)!r}")
        await self._sleep(loop, 2 * latency_ns * (2 if is_tls else 1))
        server = self._listeners.get((address, port))
        if server is None or self._happens("refuse", self.conditions.refuse_ppm):
            raise ConnectionRefusedError(111, f"Connect call failed {(address, port)!r}")
        self._number += 1
        connection = Connection(self, self._number, latency_ns, loop, server.loop, (address, port))
        self.connections[self._number] = connection
        client, other = connection.client, connection.server
        server.accept(other)
        protocol = factory()
        client.set_protocol(protocol)
        protocol.connection_made(client)
        return client, protocol

    def cut(self, connection: Connection) -> None:
        """It breaks: each end hears of it at a time of its own, and of what was under way any beginning has arrived."""
        self._fire("cut")
        connection.break_off(self._latency() if self.random.below(2) else 0, self._latency())

    def cut_all(self, loop: VirtualLoop | None = None) -> None:
        """Every connection, or every one that ends in `loop`."""
        for connection in list(self.connections.values()):
            if loop is None or loop in (connection.client.loop, connection.server.loop):
                self.cut(connection)

    def mend(self) -> None:
        """What is between the two ends of half-open connections is back, and remembers none of them: both hear a reset."""
        for connection in list(self.connections.values()):
            if connection.is_silent:
                connection.is_silent = False
                connection.break_off(self._latency(), self._latency())

    def reboot(self) -> None:
        """A machine that had lost its power is back, and knows nothing of its connections: who writes on one hears a reset."""
        for connection in list(self.connections.values()):
            if connection.is_silent and (connection.client.is_dead or connection.server.is_dead):
                connection.is_silent = False
                connection.break_off(self._latency(), self._latency())

    def abandon(self, loop: VirtualLoop, *, is_silent: bool) -> None:
        """The process of `loop` is gone: its system closes its connections, or (`is_silent`) the machine is gone with them."""
        for connection in list(self.connections.values()):
            for end in (connection.client, connection.server):
                if end.loop is loop:
                    end.die(is_silent=is_silent)
        for server in [each for each in self._listeners.values() if each.loop is loop]:
            self.forget(server)

    def happens(self, what: str, ppm: int) -> bool:
        return self._happens(what, ppm)

    def _happens(self, what: str, ppm: int) -> bool:
        if not ppm or self.random.below(PPM) >= ppm:
            return False
        self._fire(what)
        return True

    def _fire(self, what: str) -> None:
        self.fired[what] = self.fired.get(what, 0) + 1

    def _latency(self) -> int:
        low, high = self.conditions.latency_ns
        return low + self.random.below(max(high - low, 1))

    async def _sleep(self, loop: VirtualLoop, ns: int) -> None:
        woken = loop.create_future()
        entry = self.agenda.after(ns, _wake, woken)
        try:
            await woken
        finally:
            entry.cancel()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


class Connection:
    """Both ends of one TCP connection. `is_silent`: half open; nothing arrives any more, and nobody is told."""

    def __init__(
        self,
        network: Network,
        number: int,
        latency_ns: int,
        client_loop: VirtualLoop,
        server_loop: VirtualLoop,
        address: tuple[str, int],
    ) -> None:
        self.network = network
        self.number = number
        self.latency_ns = latency_ns
        self.is_silent = False
        here = ("127.0.0.1", PORT_FIRST + number)
        self.client = Transport(self, client_loop, own=here, other=address, is_client=True)
        self.server = Transport(self, server_loop, own=address, other=here, is_client=False)
        self.client.peer, self.server.peer = self.server, self.client

    def break_off(self, client_ns: int, server_ns: int) -> None:
        agenda = self.network.agenda
        for end, ns in ((self.client, client_ns), (self.server, server_ns)):
            end.is_broken = True
            agenda.after(ns, end.lose, ConnectionResetError(104, "Connection reset by peer"))

    def forget(self) -> None:
        self.network.connections.pop(self.number, None)


class Transport(asyncio.Transport):
    """One end. Bytes that were written travel in order; `_unacknowledged` of them nobody has read."""

    def __init__(
        self, connection: Connection, loop: VirtualLoop, *, own: tuple[str, int], other: tuple[str, int], is_client: bool
    ) -> None:
        super().__init__(extra={"peername": other, "sockname": own})
        self.connection = connection
        self.loop = loop
        self.is_client = is_client
        self.is_broken = False  # what it writes from here on arrives nowhere
        self.peer: Transport
        self._protocol: asyncio.Protocol | None = None
        self._arrives_ns = 0
        self._unacknowledged = 0
        self._high, self._low = HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4
        self._is_writing_paused = False
        self._is_closing = False
        self._is_lost = False
        self._is_dead = False  # its process is gone
        self._has_written_end = False
        self._is_deaf = False  # nothing of what is still under way arrives
        self._is_reading_paused = False
        self._waiting: deque[bytes | None] = deque()  # arrived while reading was paused; None is the end
        self._given_up: Entry | None = None

    # Asyncio's side.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return not self._is_reading_paused and not self._is_closing

    def pause_reading(self) -> None:
        self._is_reading_paused = True

    def resume_reading(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self.loop.call_soon(self._take_waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else HIGH_WATER_BYTES if low is None else 4 * low
        self._low = low if low is not None else self._high // 4

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return max(self._unacknowledged - KERNEL_BYTES, 0)

    def can_write_eof(self) -> bool:
        return True

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write(self, data: Any) -> None:
        if self._has_written_end or self._is_lost or not data:
            return
        payload = bytes(data)
        network = self.connection.network
        conditions = network.conditions
        if network.on_wire is not None and not self._is_dead:
            network.on_wire(network.agenda.ns, self.connection.number, ">" if self.is_client else "<", payload)
        self._unacknowledged += len(payload)
        self._pause_if_full()
        if self.is_broken or self._is_dead:
            return
        self._send(payload)
        if conditions.cut_ppm and network.happens("cut", conditions.cut_ppm):
            # Here and now, so that of what was just written nothing or some has arrived.
            self.connection.break_off(network.random.below(60 * MS), network.random.below(60 * MS))
        elif conditions.half_open_ppm and network.happens("half open", conditions.half_open_ppm):
            self.connection.is_silent = True
        elif conditions.blip_ppm and network.happens("blip", conditions.blip_ppm):
            low, high = conditions.blip_ns
            delay_ns = low + network.random.below(high - low)
            for end in (self, self.peer):
                end._arrives_ns = max(end._arrives_ns, network.agenda.ns + delay_ns)

    def _send(self, payload: bytes) -> None:
        chance, conditions = self.connection.network.random, self.connection.network.conditions
        if conditions.split_ppm and len(payload) > 1 and chance.below(PPM) < conditions.split_ppm:
            place = 1 + chance.below(len(payload) - 1)
            self._put(payload[:place])
            self._put(payload[place:])
        elif len(payload) > 16 * SEGMENT_BYTES:
            for place in range(0, len(payload), 16 * SEGMENT_BYTES):
                self._put(payload[place : place + 16 * SEGMENT_BYTES])
        else:
            self._put(payload)

    def _put(self, payload: bytes | None) -> None:
        network = self.connection.network
        conditions = network.conditions
        now = network.agenda.ns
        size = len(payload) if payload is not None else 0
        delay_ns = self.connection.latency_ns + size * NS_PER_S // conditions.bytes_per_s
        if conditions.jitter_ns:
            delay_ns += network.random.below(conditions.jitter_ns)
        self._arrives_ns = max(self._arrives_ns, now + delay_ns)
        network.agenda.at(self._arrives_ns, self.peer._arrive, payload)

    def write_eof(self) -> None:
        if not self._has_written_end and not self._is_lost:
            self._has_written_end = True
            if not self.is_broken:
                self._put(None)

    @property
    def is_dead(self) -> bool:
        """Its process is gone."""
        return self._is_dead

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.write_eof()
            self.loop.call_soon(self._lost, None)

    def abort(self) -> None:
        """What was written before may arrive; then the other side hears that the connection was reset."""
        if self._is_lost:
            return
        self._is_closing = True
        if not self._has_written_end and not self.is_broken:
            self._reset_peer()
        self.is_broken = True
        self.loop.call_soon(self._lost, None)

    def _reset_peer(self) -> None:
        network = self.connection.network
        ns = max(self._arrives_ns, network.agenda.ns + self.connection.latency_ns)
        network.agenda.at(ns, self.peer.hear_reset)

    # The network's side.

    def die(self, *, is_silent: bool) -> None:
        """The process behind it is gone."""
        if self._is_dead:
            return
        self._is_dead = True
        if is_silent:
            self.connection.is_silent = True
        elif not self._has_written_end and not self.is_broken:
            if self.connection.network.random.below(4):
                self._put(None)
            else:
                self._reset_peer()
        self.is_broken = self._is_lost = self._is_closing = True

    def hear_reset(self) -> None:
        if not self.connection.is_silent:
            self.is_broken = True
            self.lose(ConnectionResetError(104, "Connection reset by peer"))

    def lose(self, error: OSError | None) -> None:
        """The connection has ended, as this end is told."""
        if not self._is_lost and not self._is_dead:
            self._is_closing = True
            self.loop.call_soon(self._lost, error)

    def _lost(self, error: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._waiting.clear()
        if self.peer._is_lost:
            self.connection.forget()
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _arrive(self, payload: bytes | None) -> None:
        sender, network = self.peer, self.connection.network
        if self.connection.is_silent:
            if sender._given_up is None:
                sender._given_up = network.agenda.after(RETRANSMIT_NS_MAX, sender._give_up)
            return
        if sender.is_broken and not sender._is_dead and not sender._has_written_end:
            # Of what was under way when it broke: a beginning.
            self._is_deaf = self._is_deaf or not network.random.below(2)
        if self._is_deaf:
            return
        if self._is_lost or self._is_closing:
            if payload is not None and not self._is_dead and not sender._is_dead:
                # Somebody writes to what has been closed here: the system answers with a reset.
                self._reset_peer()
            return
        if network.on_wire is not None and payload is not None:
            network.on_wire(network.agenda.ns, self.connection.number, "<-" if self.is_client else "->", payload)
        self._waiting.append(payload)
        if not self._is_reading_paused:
            self.loop.call_soon(self._take_waiting)

    def _take_waiting(self) -> None:
        while self._waiting and not self._is_reading_paused and not self._is_lost and not self._is_closing:
            payload = self._waiting.popleft()
            assert self._protocol is not None
            if payload is not None:
                self.peer._acknowledge(len(payload))
                self._receive(payload)
            elif not self._protocol.eof_received():
                self.close()

    def _receive(self, payload: bytes) -> None:
        protocol: Any = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(payload)
            return
        while payload:
            room: Any = protocol.get_buffer(len(payload))
            taken = min(len(room), len(payload))
            memoryview(room)[:taken] = payload[:taken]
            protocol.buffer_updated(taken)
            payload = payload[taken:]

    def _acknowledge(self, size: int) -> None:
        self._unacknowledged -= size
        if self._is_writing_paused and self.get_write_buffer_size() <= self._low and not self._is_lost:
            self._is_writing_paused = False
            if self._protocol is not None:
                self.loop.call_soon(self._protocol.resume_writing)

    def _pause_if_full(self) -> None:
        if not self._is_writing_paused and self.get_write_buffer_size() > self._high and self._protocol is not None:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def _give_up(self) -> None:
        self.is_broken = True
        self.lose(TimeoutError(110, "Connection timed out"))


class Server(asyncio.AbstractServer):
    """A listener. Connections come in while it is there; those that are there stay when it closes."""

    def __init__(
        self, network: Network, loop: VirtualLoop, factory: Callable[[], asyncio.BaseProtocol], address: str, port: int
    ) -> None:
        self.network = network
        self.loop = loop
        self.factory = factory
        self.address = address
        self.port = port
        self.sockets = (_Listening(address, port),)
        self._is_closed = False

    def accept(self, transport: Transport) -> None:
        """The protocol is made in the loop of whoever listens."""

        def begin() -> None:
            protocol = self.factory()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)

        self.loop.call_soon(begin)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.network.forget(self)

    async def wait_closed(self) -> None:
        return

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def is_serving(self) -> bool:
        return not self._is_closed

    async def start_serving(self) -> None:
        return

    async def serve_forever(self) -> None:
        await self.loop.create_future()


class _Listening:
    """As much of a listening socket as says where it listens."""

    def __init__(self, address: str, port: int) -> None:
        self._name = (address, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name
