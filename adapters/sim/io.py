"""The simulated venue's sockets: connect, send at once, receive, connect again. The only file here that touches the network."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable

import anyio

from adapters.sim.address import Address
from adapters.sim.link import Link
from adapters.sim.session import TradeSession
from adapters.sim.wire import Done, Logout, Request, Role, StateReply
from core.approved import Approved
from core.commands import CancelAll, CancelOrder, OrderCommand
from core.errors import RefusedError, TransportError, VenueProtocolError
from core.events import AnyEvent, OrderEvent
from core.strategy import Subscription
from core.units import NS_PER_SECOND
from core.venue_adapter import EventSink, OnReconnect, VenueOrder, VenueState
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT, OnFrame, no_frame

READ_BYTES = 1 << 16
OUT_BYTES_MAX = 1 << 22  # that the other side has not taken yet: beyond, it is gone
CONNECT_S_MAX = 5.0  # from connect to the answer of the login
QUERY_S_MAX = 5.0
REQUEST_S_MAX = 2.0  # of a switch
BACKOFF_S_FIRST = 0.05  # doubled with every try that fails, and with every connection that does not hold
BACKOFF_S_MAX = 5.0
HOLDS_S = 1.0  # a connection that has lived so long was a good one
LAST_ANSWERS_S = 0.02  # behind the end of the feed: how long what is still on its way is waited for
EARLY_EVENTS_MAX = 100_000  # that may come in between login and run

Now = Callable[[], int]  # ns UTC, never less than before


def no_trouble(_text: str) -> None:
    return


class Stream:
    """A connected socket that sends at once: what `send` was given has left when it returns, unless the other side is slow.

    Belongs to the running event loop. `out_bytes_max`: what the other side may leave lying before it counts as gone.
    """

    def __init__(self, raw: socket.socket, out_bytes_max: int = OUT_BYTES_MAX) -> None:
        raw.setblocking(False)
        if raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._raw = raw
        self._out_bytes_max = out_bytes_max
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._emptied = anyio.Event()
        self.is_open = True

    @property
    def bytes_waiting(self) -> int:
        return len(self._waiting)

    def send(self, data: bytes | bytearray) -> None:
        """Never waits, never raises: a connection that does not take it is closed, and `receive` says so."""
        if not self.is_open or not data:
            return
        sent = 0 if self._waiting else self._try(data)
        if sent == len(data) or not self.is_open:
            return
        if len(self._waiting) + len(data) - sent > self._out_bytes_max:
            self.close()
            return
        if not self._waiting:
            self._emptied = anyio.Event()
            self._loop.add_writer(self._raw, self._write_on)
        self._waiting += data[sent:]

    def _try(self, data: bytes | bytearray) -> int:
        """How much of it has left."""
        try:
            return self._raw.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _write_on(self) -> None:
        del self._waiting[: self._try(self._waiting)]
        if not self._waiting and self.is_open:
            self._loop.remove_writer(self._raw)
            self._emptied.set()

    async def flush(self) -> None:
        """Until the other side has taken everything; returns where it is gone, too."""
        while self._waiting:
            await self._emptied.wait()

    async def receive(self) -> bytes:
        """What has come in, at most READ_BYTES. Raises TransportError where the connection has ended."""
        while self.is_open:
            try:
                data = self._raw.recv(READ_BYTES)
            except BlockingIOError:
                await self._readable()
                continue
            except OSError as error:
                self.close()
                raise TransportError(f"the connection broke: {error.strerror or error}") from None
            if data:
                return data
            self.close()
        raise TransportError("the connection has ended")

    async def _readable(self) -> None:
        try:
            await anyio.wait_readable(self._raw)
        except (OSError, anyio.ClosedResourceError):
            self.close()

    def close(self) -> None:
        """Wakes whoever waits for it."""
        if not self.is_open:
            return
        self.is_open = False
        if self._waiting:
            self._loop.remove_writer(self._raw)
            self._waiting.clear()
        self._emptied.set()
        anyio.notify_closing(self._raw)
        self._raw.close()


async def connect(address: Address) -> Stream:
    """Raises TransportError where nobody listens."""
    family = socket.AF_UNIX if address.path else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    target: str | tuple[str, int] = address.path or ("127.0.0.1" if address.host == "localhost" else address.host, address.port)
    raw = socket.socket(family, socket.SOCK_STREAM)
    raw.setblocking(False)
    try:
        code = raw.connect_ex(target)
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(raw)
            code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "")
    except OSError as error:
        raw.close()
        raise TransportError(f"{address}: no venue answers: {errno.errorcode.get(error.errno or 0, error)}") from None
    except BaseException:
        raw.close()
        raise
    return Stream(raw)


class RequestLine:
    """One connection for requests that are answered one by one; nobody reads it in between, and it needs no heartbeats."""

    def __init__(self, address: Address, now: Now) -> None:
        self._address = address
        self._now = now
        self._stream: Stream | None = None
        self._link = Link(0)

    async def open(self, account: str, token: str) -> None:
        """Raises TransportError, RefusedError or VenueProtocolError."""
        self.close()
        try:
            with anyio.fail_after(CONNECT_S_MAX):
                stream = await connect(self._address)
                try:
                    await self._log_in(stream, account, token)
                except BaseException:
                    stream.close()
                    raise
        except TimeoutError:
            raise TransportError(f"{self._address}: no answer to the login within {CONNECT_S_MAX:g} s") from None
        self._stream = stream

    async def _log_in(self, stream: Stream, account: str, token: str) -> None:
        self._link = link = Link(self._now())
        stream.send(link.login(self._now(), account=account, token=token, role="switch"))
        while not link.is_logged_in:
            link.receive(self._now(), await stream.receive())

    async def tell(self, make: Callable[[int], Request]) -> int:
        """Send what `make` makes of a request number; returns that number once the bytes are on the wire."""
        stream = self._stream
        if stream is None or not stream.is_open:
            raise TransportError(f"{self._address}: there is no connection")
        request = self._link.next_request()
        stream.send(self._link.say(self._now(), make(request)))
        with anyio.move_on_after(REQUEST_S_MAX):
            await stream.flush()
        if not stream.is_open or stream.bytes_waiting:
            self.close()
            raise TransportError(f"{self._address}: the venue does not take what is sent")
        return request

    async def ask(self, make: Callable[[int], Request]) -> Done | StateReply:
        """As `tell`, and wait for the answer; answers to what was only told before are passed over."""
        request = await self.tell(make)
        stream = self._stream
        assert stream is not None
        try:
            with anyio.fail_after(REQUEST_S_MAX):
                while True:
                    for answer in self._link.receive(self._now(), await stream.receive()):
                        if isinstance(answer, Done | StateReply) and answer.request == request:
                            return answer
        except TimeoutError:
            self.close()
            raise TransportError(f"{self._address}: no answer within {REQUEST_S_MAX:g} s") from None
        except (TransportError, VenueProtocolError) as error:
            self.close()
            raise TransportError(f"{self._address}: {error}") from None

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.send(self._link.say(self._now(), Logout("the switch is let go")))
            stream.close()


class SimAdapter:
    """core.venue_adapter.Adapter for one account at one simulated venue.

    `now` is the daemon's clock. `on_frame` hears of every byte that comes or goes, the secret aside; `on_trouble` gets a sentence
    for each connection that is lost and each try that fails. Raises ConfigError for subscriptions that the venue cannot serve.
    """

    def __init__(
        self,
        *,
        venue: str,
        address: Address,
        account: str,
        token: str,
        instrument_ids: Iterable[str],
        subscriptions: Iterable[Subscription],
        now: Now,
        on_frame: OnFrame = no_frame,
        on_trouble: Callable[[str], None] = no_trouble,
        role: Role = "trade",
    ) -> None:
        self.venue = venue
        self._address = address
        self._now = now
        self._on_frame = on_frame
        self._on_trouble = on_trouble
        self._session = TradeSession(
            account=account, token=token, instrument_ids=instrument_ids, subscriptions=subscriptions, role=role
        )
        self._stream: Stream | None = None
        self._is_sending = False  # whether commands leave: a connection is there, and its state is known here
        self._is_running = False
        self._early: list[AnyEvent] = []  # came in before `run`
        self._answers: deque[AnyEvent] = deque()  # to commands that did not leave
        self._later: list[OrderCommand] | None = None  # cancels asked for in on_reconnect: they leave right behind it
        self._woken = anyio.Event()
        self._backoff_s = BACKOFF_S_FIRST
        self._connected_ts = 0
        self._has_sent = False
        self._told = ""  # the trouble that was told last

    # The Adapter.

    async def open(self) -> None:
        state = await self._connect()
        del state  # the daemon asks for what it needs to know
        self._is_sending = True

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        self._is_sending = False
        if stream is not None:
            self._say(stream, self._session.logout(self._now()))
            self._end(stream)

    async def run(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        self._is_running = True
        try:
            early, self._early = self._early, []
            await _give(sink, early)
            while True:
                if self._stream is None:
                    await self._connect_again(sink, on_reconnect)
                try:
                    if await self._pump(sink):
                        return
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
        elif self._is_sending and self._stream is not None and self._stream.is_open:
            self._has_sent = True
            self._say(self._stream, self._session.send(self._now(), command))
        else:
            self._answers += self._session.refuse(self._now(), command)
            self._wake()

    async def query(self, since_ts: int) -> VenueState:
        if not self._is_running and self._is_sending and not self._has_sent:
            try:
                return await self._ask(since_ts)
            except TransportError as error:
                # A slower venue was waited for, and this one has given us up meanwhile; nothing was sent that could be in doubt.
                self._tell(str(error))
                stream, self._stream = self._stream, None
                if stream is not None:
                    self._end(stream)
                self._keep(self._session.lost(self._now()))
                await self._connect()
        return await self._ask(since_ts)

    async def _ask(self, since_ts: int) -> VenueState:
        stream = self._stream
        if stream is None or not self._is_sending:
            raise TransportError(f"{self._address}: there is no connection")
        request, data = self._session.query(self._now(), since_ts, settles=not self._is_running)
        self._say(stream, data)
        with anyio.move_on_after(QUERY_S_MAX):
            while stream is self._stream and stream.is_open:
                reply = self._session.take_reply(request)
                if reply is not None:
                    return reply[1]
                if self._is_running:
                    await self._woken.wait()
                else:
                    await self._receive_early(stream, request)
            raise TransportError(f"{self._address}: the connection was lost before the answer")
        raise TransportError(f"{self._address}: no answer within {QUERY_S_MAX:g} s")

    async def _receive_early(self, stream: Stream, request: int) -> None:
        """Keep what comes in for `run`. With the answer to `request`, what was kept of orders is old: the state holds it."""
        events = self._receive(await stream.receive())
        if self._session.has_reply(request):
            self._early = [event for event in self._early if not isinstance(event, OrderEvent)]
        self._keep(events)

    # One connection.

    async def _connect(self) -> VenueState:
        """Connected and logged in. Raises TransportError, RefusedError or VenueProtocolError."""
        try:
            with anyio.fail_after(CONNECT_S_MAX):
                stream = await connect(self._address)
                try:
                    return await self._log_in(stream)
                except BaseException:
                    self._end(stream)
                    raise
        except TimeoutError:
            raise TransportError(f"{self._address}: no answer to the login within {CONNECT_S_MAX:g} s") from None

    async def _log_in(self, stream: Stream) -> VenueState:
        session, ts = self._session, self._now()
        self._on_frame(ts, OPENED, str(self._address).encode())
        kept = session.login_without_token(ts)
        stream.send(session.connected(ts))
        self._on_frame(ts, SENT, kept)
        while True:
            events = self._receive(await stream.receive())
            state = session.take_login_state()
            if state is not None:
                self._keep(events)
                self._stream, self._connected_ts = stream, ts
                return state

    def _receive(self, data: bytes) -> list[AnyEvent]:
        ts = self._now()
        self._on_frame(ts, RECEIVED, data)
        return self._session.receive(ts, data)

    def _say(self, stream: Stream, data: bytes) -> None:
        if data:
            self._on_frame(self._now(), SENT, data)
            stream.send(data)

    def _keep(self, events: list[AnyEvent]) -> None:
        if len(self._early) + len(events) > EARLY_EVENTS_MAX:
            raise TransportError(f"{self.venue}: more than {EARLY_EVENTS_MAX} events before anybody listens")
        self._early += events

    async def _pump(self, sink: EventSink) -> bool:
        """Bring events until the connection is lost, which raises; True where the feed has ended and nothing more comes."""
        stream, session = self._stream, self._session
        assert stream is not None
        while True:
            await self._give_answers(sink)
            data = b""
            with anyio.move_on_after(self._wait_s()) as waited:
                data = await stream.receive()
            if data:
                await _give(sink, self._receive(data))
                self._wake()
                # Where there is always more to read, the loop has its turn here.
                await anyio.sleep(0)
            elif waited.cancelled_caught and session.feed_ended is not None:
                return True
            ts = self._now()
            await _give(sink, session.market.due(ts))
            self._say(stream, session.tick(ts))

    def _wait_s(self) -> float:
        if self._session.feed_ended is not None:
            return LAST_ANSWERS_S
        return max(self._session.next_deadline() - self._now(), 0) / NS_PER_SECOND

    async def _lose(self, sink: EventSink, reason: str) -> None:
        stream, self._stream = self._stream, None
        self._is_sending = False
        self._tell(reason)
        if self._now() - self._connected_ts >= HOLDS_S * NS_PER_SECOND:
            self._backoff_s = BACKOFF_S_FIRST
        if stream is not None:
            self._end(stream)
        self._wake()
        await _give(sink, self._session.lost(self._now()))

    def _tell(self, trouble: str) -> None:
        """Once for each kind: a venue that is away for an hour is no news every five seconds."""
        if trouble != self._told:
            self._told = trouble
            self._on_trouble(f"{self.venue}: {trouble}")

    def _end(self, stream: Stream) -> None:
        stream.close()
        self._on_frame(self._now(), CLOSED, b"")

    async def _connect_again(self, sink: EventSink, on_reconnect: OnReconnect) -> None:
        """Until it has worked; commands are refused meanwhile."""
        while True:
            await self._refuse_for(sink, self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)
            try:
                state = await self._connect()
            except (TransportError, RefusedError, VenueProtocolError) as error:
                self._tell(str(error))
                continue
            break
        self._told = ""
        await self._give_answers(sink)
        self._later = []
        try:
            on_reconnect(state)
        finally:
            # Whatever becomes of the comparison: what it wants canceled is canceled.
            later, self._later = self._later, None
            assert self._stream is not None
            for command in later:
                self._say(self._stream, self._session.send(self._now(), command))
            self._is_sending = True
        early, self._early = self._early, []
        await _give(sink, early)

    async def _refuse_for(self, sink: EventSink, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while True:
                await self._give_answers(sink)
                await self._woken.wait()

    # What waits for whom.

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
