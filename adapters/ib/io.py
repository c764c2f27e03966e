"""The gateway's socket: connect, send at once, receive, connect again. The only file here that touches the network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio

from adapters.ib.session import IbSession, Stage
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand
from core.errors import CapacityError, ConfigError, RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, OrderEvent
from core.units import NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT, OnFrame

OUT_BYTES_MAX = 1 << 20  # that the gateway has not taken yet: beyond, it is gone
IN_BYTES_MAX = 1 << 22  # that nobody here has looked at yet: beyond, the socket is not read
BACKOFF_S_FIRST = 0.1  # doubled with every try that fails, and with every connection that does not hold
BACKOFF_S_MAX = 10.0
HOLDS_S = 5.0  # a connection that has lived so long was a good one
EARLY_EVENTS_MAX = 100_000  # that may come in between login and run
QUESTION_S_MAX = 5.0  # of a switch
QUERY_TURNS = 3  # a question may have to wait for those before it

Now = Callable[[], int]  # ns UTC, never less than before


class Socket:
    """The library's connection, with what it leaves out: a bound both ways, and an end that is told to who waits."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        # What the library's own client would make of the bytes is made by our wire.
        self._connection.hasData.clear()
        self._connection.disconnected.clear()
        self._connection.hasData += self._came
        self._connection.disconnected += self._ended
        self._data = bytearray()
        self._woken = anyio.Event()
        self._reason = ""
        self._is_paused = False
        self._is_nudged = False
        self.is_open = False

    async def connect(self, host: str, port: int) -> None:
        """Raises TransportError where nobody listens."""
        try:
            # As the library's own connectAsync does it, in the loop that runs: ib_insync takes the thread's, which may be none.
            loop = asyncio.get_running_loop()
            self._connection.transport, _ = await loop.create_connection(lambda: self._connection, host, port)
        except OSError as error:
            raise TransportError(f"{host}:{port}: no gateway answers: {error.strerror or error}") from None
        self.is_open = True

    def send(self, data: bytes) -> None:
        """Never waits, never raises: a connection that does not take it is closed, and `receive` says so."""
        if not self.is_open or not data:
            return
        self._connection.sendMsg(data)
        transport: asyncio.Transport | None = self._connection.transport
        if transport is None or transport.get_write_buffer_size() > OUT_BYTES_MAX:
            self.close()

    async def receive(self) -> bytes:
        """What has come in; nothing where it was nudged. Raises TransportError where the connection has ended."""
        while True:
            if self._is_nudged and self.is_open:
                self._is_nudged = False
                return b""
            if self._data:
                data = bytes(self._data)
                self._data.clear()
                if self._is_paused and self._connection.transport is not None:
                    self._is_paused = False
                    self._connection.transport.resume_reading()
                return data
            if not self.is_open:
                raise TransportError(f"the connection has ended{self._reason}")
            await self._woken.wait()

    def _came(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > IN_BYTES_MAX and not self._is_paused and self._connection.transport is not None:
            self._is_paused = True
            self._connection.transport.pause_reading()
        self._wake()

    def _ended(self, reason: str) -> None:
        self._reason = f": {reason}" if reason else ""
        self.is_open = False
        self._wake()

    def nudge(self) -> None:
        """Who waits in `receive` is to look at what is due now."""
        self._is_nudged = True
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
        self._woken = anyio.Event()

    def close(self) -> None:
        """At once: nothing that was not sent is worth waiting for."""
        self.is_open = False
        transport: asyncio.Transport | None = self._connection.transport
        if transport is not None:
            # What lies in the kernel leaves; abort where it does not.
            self._connection.disconnect()
            if transport.get_write_buffer_size():
                transport.abort()
        self._wake()


class Line:
    """One connection for questions that are asked one by one; nobody reads it in between."""

    def __init__(self, venue: str, host: str, port: int, connect_timeout_s: float, now: Now, on_frame: OnFrame) -> None:
        self._venue = venue
        self._host, self._port = host, port
        self._connect_timeout_s = connect_timeout_s
        self._now = now
        self._on_frame = on_frame
        self._socket: Socket | None = None

    async def open(self, connection: Any) -> None:
        """Raises TransportError."""
        self.close()
        self._socket = await open_socket(connection, self._host, self._port, self._connect_timeout_s)
        self._on_frame(self._now(), OPENED, f"{self._host}:{self._port}".encode())

    def send(self, frame: bytes) -> None:
        """Raises TransportError where there is no connection."""
        if self._socket is None or not self._socket.is_open:
            raise TransportError(f"{self._venue}: there is no connection to the gateway")
        self._on_frame(self._now(), SENT, frame)
        self._socket.send(frame)

    async def ask(self, frame: bytes) -> AsyncIterator[bytes]:
        """What comes in behind the question, as long as the caller wants more. Raises TransportError where it stops too early."""
        self.send(frame)
        socket = self._socket
        assert socket is not None
        due = anyio.current_time() + QUESTION_S_MAX
        while True:
            data = b""
            with anyio.move_on_after(due - anyio.current_time()):
                data = await self._receive(socket)
            if not data:
                self.close()
                raise TransportError(f"{self._venue}: no answer within {QUESTION_S_MAX:g} s")
            self._on_frame(self._now(), RECEIVED, data)
            yield data

    async def _receive(self, socket: Socket) -> bytes:
        try:
            return await socket.receive()
        except TransportError as error:
            self.close()
            raise TransportError(f"{self._venue}: {error}") from None

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
            self._on_frame(self._now(), CLOSED, b"")


async def open_socket(connection: Any, host: str, port: int, timeout_s: float) -> Socket:
    """Raises TransportError."""
    socket = Socket(connection)
    with anyio.move_on_after(timeout_s):
        await socket.connect(host, port)
    if not socket.is_open:
        raise TransportError(f"{host}:{port}: no connection within {timeout_s:g} s")
    return socket


class IbAdapter:
    """core.venue_adapter.Adapter for one account at one gateway.

    `on_frame` hears of every byte that comes or goes (none of them is a secret); `on_trouble` gets a sentence for each connection
    that is lost, each try that fails, and whatever of the account a person should know.
    """

    def __init__(
        self,
        *,
        venue: str,
        session: IbSession,
        host: str,
        port: int,
        connect_timeout_s: float,
        request_timeout_s: float,
        now: Now,
        wall: Callable[[], int],
        on_frame: OnFrame,
        on_trouble: Callable[[str], None],
    ) -> None:
        self.venue = venue
        self._wall = wall
        self._session = session
        self._host, self._port = host, port
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._now = now
        self._on_frame = on_frame
        self._on_trouble = on_trouble
        self._socket: Socket | None = None
        self._is_sending = False  # whether commands leave: a connection is there, and its state is known here
        self._is_running = False
        self._early: list[AnyEvent] = []  # came in before `run`
        self._answers: deque[AnyEvent] = deque()  # to commands that did not leave
        self._later: list[OrderCommand] | None = None  # cancels asked for in on_reconnect: they leave right behind it
        self._woken = anyio.Event()
        self._backoff_s = BACKOFF_S_FIRST
        self._connected_ts = 0
        self._told = ""  # the trouble that was told last

    # The Adapter.

    async def open(self) -> None:
        """Raises ConfigError too, where the venue's instruments are not the configured ones."""
        await self._connect()  # what it shows the daemon asks for again
        self._is_sending = True

    async def close(self) -> None:
        socket, self._socket = self._socket, None
        self._is_sending = False
        if socket is not None:
            self._end(socket)

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._is_running = True
        try:
            early, self._early = self._early, []
            await _give(sink, early)
            while True:
                if self._socket is None:
                    await self._connect_again(sink, on_reconnect)
                try:
                    await self._pump(sink, on_reconnect)
                except (TransportError, RefusedError, VenueProtocolError) as error:
                    await self._lose(sink, str(error))
        finally:
            self._is_running = False

    def adopt(self, client_order_id: int, order: VenueOrder) -> None:
        self._session.adopt(client_order_id, order)

    def send(self, approved: Approved) -> None:
        command = approved.command
        if self._later is not None and isinstance(command, CancelOrder | CancelAll):
            self._later.append(command)
        elif self._is_sending and self._socket is not None and self._socket.is_open:
            self._answer(self._session.send(self._now(), command))
            self._flush(self._socket)
            self._socket.nudge()
        else:
            self._answer(self._session.refuse(self._now(), command))

    async def query(self, since_ts: int) -> VenueState:
        socket = self._socket
        if socket is None or not self._is_sending:
            raise TransportError(f"{self.venue}: there is no connection to the gateway")
        try:
            number = self._session.query(self._now(), since_ts)
        except CapacityError as error:
            raise TransportError(f"{self.venue}: {error}") from None
        self._flush(socket)
        socket.nudge()
        with anyio.move_on_after(QUERY_TURNS * self._request_timeout_s):
            while socket is self._socket and socket.is_open:
                state = self._session.looks.take(number)
                if state is not None:
                    return state
                if self._session.looks.failed(number):
                    raise TransportError(f"{self.venue}: the gateway did not say where things stand")
                if self._is_running:
                    await self._woken.wait()
                else:
                    await self._step_early(socket, number)
            raise TransportError(f"{self.venue}: the connection was lost before the answer")
        raise TransportError(f"{self.venue}: no answer within {QUERY_TURNS * self._request_timeout_s:g} s")

    async def _step_early(self, socket: Socket, number: int) -> None:
        """Keep what comes in for `run`. With the answer, what was kept of orders is old: the state holds it."""
        events = await self._step(socket)
        if self._session.looks.has(number):
            self._early = [event for event in self._early if not isinstance(event, OrderEvent)]
            events = [event for event in events if not isinstance(event, OrderEvent)]
        self._keep(events)

    # One connection.

    async def _connect(self) -> VenueState:
        """Connected and logged in. Raises TransportError, RefusedError, VenueProtocolError or ConfigError."""
        session = self._session
        ts = self._now()
        greeting = session.connected(ts, ahead_ns=ts - self._wall())
        socket = await open_socket(session.wire.client.conn, self._host, self._port, self._connect_timeout_s)
        self._on_frame(self._now(), OPENED, f"{self._host}:{self._port}".encode())
        try:
            self._say(socket, greeting)
            while True:
                self._keep(await self._step(socket))
                state = session.take_login_state()
                if state is not None:
                    break
                if session.stage is Stage.READY:
                    raise VenueProtocolError("a login that ends without a look at the account")
        except BaseException:
            self._end(socket)
            raise
        self._socket, self._connected_ts = socket, self._now()
        return state

    async def _step(self, socket: Socket) -> list[AnyEvent]:
        """Wait for what comes or is due next; its events."""
        session = self._session
        data = b""
        with anyio.move_on_after(max(session.next_deadline - self._now(), 0) / NS_PER_SECOND):
            data = await socket.receive()
        ts = self._now()
        events: list[AnyEvent] = []
        if data:
            self._on_frame(ts, RECEIVED, data)
            events += session.receive(ts, data)
        events += session.tick(ts)
        self._flush(socket)
        self._tell_all()
        return events

    def _flush(self, socket: Socket) -> None:
        for frame in self._session.take_out():
            self._say(socket, frame)

    def _say(self, socket: Socket, data: bytes) -> None:
        self._on_frame(self._now(), SENT, data)
        socket.send(data)

    def _keep(self, events: list[AnyEvent]) -> None:
        if len(self._early) + len(events) > EARLY_EVENTS_MAX:
            raise TransportError(f"{self.venue}: more than {EARLY_EVENTS_MAX} events before anybody listens")
        self._early += events

    async def _pump(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Bring events until the connection is lost, which raises."""
        socket = self._socket
        assert socket is not None
        while True:
            await self._give_answers(sink)
            await _give(sink, await self._step(socket))
            state = self._session.take_restored_state()
            if state is not None:
                self._compare(state, on_reconnect)
            self._wake()
            # Where there is always more to read, the loop has its turn here.
            await anyio.sleep(0)

    def _compare(self, state: VenueState, on_reconnect: OnReconnect) -> None:
        self._later, self._is_sending = [], False
        try:
            on_reconnect(state)
        finally:
            # Whatever becomes of the comparison: what it wants canceled is canceled.
            later, self._later = self._later, None
            assert self._socket is not None
            for command in later:
                self._answer(self._session.send(self._now(), command))
            self._flush(self._socket)
            self._is_sending = True

    async def _lose(self, sink: EventSink, reason: str) -> None:
        socket, self._socket = self._socket, None
        self._is_sending = False
        self._tell_all()
        self._tell(reason)
        if self._now() - self._connected_ts >= HOLDS_S * NS_PER_SECOND:
            self._backoff_s = BACKOFF_S_FIRST
        if socket is not None:
            self._end(socket)
        self._wake()
        await _give(sink, self._session.lost(self._now()))

    def _tell_all(self) -> None:
        for trouble in self._session.troubles:
            self._on_trouble(f"{self.venue}: {trouble}")
        self._session.troubles.clear()

    def _tell(self, trouble: str) -> None:
        """Once for each kind: a gateway that is away for an hour is no news every ten seconds."""
        if trouble != self._told:
            self._told = trouble
            self._on_trouble(f"{self.venue}: {trouble}")

    def _end(self, socket: Socket) -> None:
        socket.close()
        self._on_frame(self._now(), CLOSED, b"")

    async def _connect_again(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Until it has worked; commands are refused meanwhile."""
        while True:
            await self._refuse_for(sink, self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)
            try:
                state = await self._connect()
            except (TransportError, RefusedError, VenueProtocolError, ConfigError) as error:
                # What came in on the way in is of a connection that never was one.
                self._early.clear()
                self._session.lost(self._now())
                self._tell(str(error))
                continue
            break
        self._told = ""
        await self._give_answers(sink)
        # What came in on the way in is older than the state that it ended with.
        early, self._early = self._early, []
        await _give(sink, early)
        self._compare(state, on_reconnect)

    async def _refuse_for(self, sink: EventSink, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while True:
                await self._give_answers(sink)
                await self._woken.wait()

    # What waits for whom.

    def _answer(self, events: list[AnyEvent]) -> None:
        if events:
            self._answers += events
            self._wake()

    async def _give_answers(self, sink: EventSink) -> None:
        while self._answers:
            # It leaves the queue when it is in: whoever waits here may be called away.
            if not sink.offer(self._answers[0]):
                await sink.put(self._answers[0])
            self._answers.popleft()

    def _wake(self) -> None:
        """Whoever waits looks again: something has come in, or does not leave, or the connection is lost."""
        self._woken.set()
        self._woken = anyio.Event()


async def _give(sink: EventSink, events: Iterable[AnyEvent]) -> None:
    for event in events:
        if not sink.offer(event):
            await sink.put(event)
