"""The one transport that carries all HTTP: connections, deadlines, the gate, recording. Decides nothing by itself.

Our own HTTP/1.1 (http1.py) on the event loop's own connections: a request leaves in one piece, byte for byte as it was signed;
whether a byte was written is known and not guessed; an answer too many closes its connection; and no redirect, cookie, proxy of
the environment or retry can get between a request and its answer. General clients give none of the first three.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

import anyio
import msgspec

from adapters.http.clock_offset import ClockOffset
from adapters.http.content import decompress
from adapters.http.gate import Gate, GateLimits, Ticket
from adapters.http.http1 import AnswerReader, RawAnswer, request_bytes
from adapters.http.meters import NEVER, Meter
from adapters.http.outcome import answered, failed
from adapters.http.progress import Journey
from adapters.http.record import RECORD_BYTES_MAX, HttpRecord, Recorder, Redactor
from adapters.http.request import Answer, Intent, Progress, Request, Sent, Signals, T, Wire
from adapters.http.retry import RetryLimits, wait_before_retry
from core.errors import CapacityError, ConfigError, TransportError, VenueProtocolError
from core.units import NS_PER_SECOND

# Text that a cut could have split is left out of a record, or half a secret would stay in it.
RECORD_TAIL_BYTES = 2048


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. It closes itself when anything comes that nobody asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.idle_since = 0.0
        self._loop = loop
        self._is_lost = False
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._whole: asyncio.Future[RawAnswer] | None = None
        self._journey: Journey | None = None
        self._heard = 0.0

    @property
    def is_closed(self) -> bool:
        return self._is_lost or self._transport is None or self._transport.is_closing()

    async def exchange(self, data: bytes, reader: AnswerReader, journey: Journey, silence_s: float) -> RawAnswer:
        """Send `data` and read one answer. Raises TransportError or VenueProtocolError; the connection is closed then."""
        assert self._transport is not None
        assert self._whole is None
        if self._transport.is_closing():
            raise TransportError("the connection was closed before anything was written to it")
        self._reader, self._journey, self._whole = reader, journey, self._loop.create_future()
        self._heard = self._loop.time()
        watch = self._loop.call_later(silence_s, self._watch, silence_s, self._whole)
        try:
            journey.sending()
            self._transport.write(data)
            return await self._whole
        except BaseException:
            self.abort()
            raise
        finally:
            watch.cancel()
            self._reader = self._whole = self._journey = None
            if not (reader.may_stay_open and not reader.has_surplus):
                self.abort()

    def abort(self) -> None:
        self._is_lost = True
        if self._transport is not None:
            self._transport.abort()

    def _watch(self, silence_s: float, whole: asyncio.Future[RawAnswer]) -> None:
        left = self._heard + silence_s - self._loop.time()
        if whole is not self._whole or whole.done():
            return
        if left > 0:
            self._loop.call_later(left, self._watch, silence_s, whole)
        else:
            self._fail(TransportError(f"nothing was heard for {silence_s} s"))

    def _fail(self, error: TransportError | VenueProtocolError) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(error)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, and have their methods.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None or self._journey is None or self._whole is None or self._whole.done():
            # An answer that no request has asked for would be taken for the next one's.
            self.abort()
            return
        self._heard = self._loop.time()
        self._journey.reached(Progress.ANSWERING)
        try:
            reader.feed(data)
        except VenueProtocolError as error:
            self._fail(error)
            return
        if reader.has_head:
            self._journey.reached(Progress.HEAD)
        if reader.answer is not None:
            self._whole.set_result(reader.answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._reader is None or self._whole is None or self._whole.done():
            return
        if exc is not None:
            self._fail(TransportError(f"the connection broke: {type(exc).__name__}: {exc}"))
            return
        try:
            self._reader.end()
        except VenueProtocolError as error:
            self._fail(error)
            return
        if self._reader.answer is not None:
            self._whole.set_result(self._reader.answer)


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of each phase, seconds. The request's own deadline ends all of them."""

    connect_timeout_s: float = 3.0  # name, TCP and TLS together
    silence_timeout_s: float = 10.0  # without a byte, once the request has left
    connection_idle_s: float = 30.0  # shorter than the venue keeps it, or a request meets a connection that is being closed
    connections_max: int = 16
    gate: GateLimits = GateLimits()
    retry: RetryLimits = RetryLimits()


def _unrecorded(record: HttpRecord) -> None:
    """Where nobody asked for records."""


class HttpTransport:
    """One venue's HTTP. `read_signals` reads from any answer what it says of budgets; `meters` are those budgets.

    `venue_clock` gives the time that requests are signed with; without it the wall clock does.
    """

    def __init__(
        self,
        venue: str,
        settings: HttpSettings,
        *,
        read_signals: Callable[[Answer], Signals],
        meters: Mapping[str, Meter],
        venue_clock: ClockOffset | None = None,
        record: Recorder = _unrecorded,
        redactor: Redactor | None = None,
        ssl_context: ssl.SSLContext | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        # Or a cancel could wait for a connection though the gate let it through.
        assert settings.gate.in_flight_max <= settings.connections_max
        self._venue = venue
        self._settings = settings
        self._read_signals = read_signals
        self._gate = Gate(settings.gate, meters)
        self._clock = venue_clock
        self._record = record
        self._redactor = redactor or Redactor()
        self._now = monotonic_ns
        self._wall = wall_ns
        self._granted: dict[Ticket, anyio.Event] = {}
        self._numbers = 0
        self._ssl_context = ssl_context
        self._idle: dict[str, deque[_Connection]] = {}

    async def aclose(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def send(self, request: Request[T]) -> Sent[T]:
        """Send once and say what became of it; a query may go again after a failure that passes.

        Raises nothing for what networks and venues do. A caller that is cancelled while bytes are out gets no outcome: what it
        sent is UNKNOWN then, as after a crash.
        """
        deadline = self._now() + int(request.deadline_s * NS_PER_SECOND)
        attempts = 0
        while True:
            attempts += 1
            sent = await self._send_once(request, deadline)
            wait = wait_before_retry(self._settings.retry, request.intent, sent, attempts)
            if wait is None or self._now() + wait >= deadline:
                return msgspec.structs.replace(sent, attempts=attempts)
            await anyio.sleep(wait / NS_PER_SECOND)

    async def _send_once(self, request: Request[T], deadline: int) -> Sent[T]:
        now = self._now()
        try:
            ticket = self._gate.enter(request.intent, request.costs, now, deadline)
        except CapacityError as error:
            return self._unsent(request, str(error))
        if not await self._admit(ticket):
            return self._unsent(request, f"its deadline passed while it waited: {self._gate.why_waiting(ticket, self._now())}")
        was_sent = True
        try:
            sent = await self._exchange(request, deadline)
            was_sent = sent.progress >= Progress.SENDING
        finally:
            self._gate.leave(ticket, was_sent=was_sent)
            self._advance()
        return sent

    # Waiting.

    async def _admit(self, ticket: Ticket) -> bool:
        """Wait for the gate. Whoever waits wakes for all: there is no task beside the callers."""
        wake = self._advance()
        if not ticket.waits():
            return ticket.granted
        event = self._granted[ticket] = anyio.Event()
        try:
            while ticket.waits():
                until = min(wake, ticket.deadline)
                with anyio.move_on_after(max(0, until - self._now()) / NS_PER_SECOND):
                    await event.wait()
                if ticket.waits():
                    wake = self._advance()
        except BaseException:
            if ticket.granted:
                self._gate.leave(ticket, was_sent=False)
            else:
                self._gate.abandon(ticket)
            raise
        finally:
            del self._granted[ticket]
            self._advance()
        return ticket.granted

    def _advance(self) -> int:
        moved, wake = self._gate.advance(self._now())
        for ticket in moved:
            event = self._granted.get(ticket)
            if event is not None:
                event.set()
        return NEVER if wake >= NEVER else wake

    # One exchange.

    async def _exchange(self, request: Request[T], deadline: int) -> Sent[T]:
        self._numbers += 1
        number = self._numbers
        journey = Journey(self._now)
        now = self._now()
        wire = request.build(self._clock.venue_now(now) if self._clock is not None and self._clock.is_known else self._wall())
        self._record_request(request, number, wire)
        answer: Answer | None = None
        error = "the deadline passed"
        try:
            with anyio.move_on_after(max(0, deadline - now) / NS_PER_SECOND):
                answer = await self._answer(request, wire, journey)
        except (TransportError, VenueProtocolError) as caught:
            error = f"{caught}"
        except BaseException as caught:
            # Cancelled, or a bug: the caller learns nothing, the record says how far it got.
            self._failure(request, number, journey, f"abandoned: {type(caught).__name__}")
            raise
        if answer is None:
            return self._failure(request, number, journey, error)
        received = self._now()
        self._heed(request.intent, answer, received)
        sent = answered(request, answer, sent_ns=journey.sending_ns, answered_ns=received)
        self._record_answer(request, number, answer, sent)
        return sent

    async def _answer(self, request: Request[T], wire: Wire, journey: Journey) -> Answer:
        scheme, host, port = _origin_of(wire.origin)
        data = request_bytes(wire, wire.origin.partition("://")[2])
        connection = self._take_idle(wire.origin)
        if connection is None:
            journey.connecting()
            connection = await self._connect(scheme, host, port)
        reader = AnswerReader(request.answer_bytes_max)
        raw = await connection.exchange(data, reader, journey, self._settings.silence_timeout_s)
        if not connection.is_closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(wire.origin, deque()).append(connection)
        coding = raw.headers.get("content-encoding", "")
        return Answer(raw.status, raw.headers, decompress(raw.body, coding, bytes_max=request.answer_bytes_max))

    def _take_idle(self, origin: str) -> _Connection | None:
        """The connection used last, if it is still good; those that have waited too long are closed."""
        connections = self._idle.get(origin)
        if not connections:
            return None
        oldest = asyncio.get_running_loop().time() - self._settings.connection_idle_s
        while connections and (connections[0].is_closed or connections[0].idle_since < oldest):
            connections.popleft().abort()
        while connections:
            connection = connections.pop()
            if not connection.is_closed:
                return connection
        return None

    async def _connect(self, scheme: str, host: str, port: int) -> _Connection:
        loop = asyncio.get_running_loop()
        context = None
        if scheme == "https":
            if self._ssl_context is None:
                # Reading the certificates of the system takes a while: once, when the first is needed.
                self._ssl_context = ssl.create_default_context()
            context = self._ssl_context
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                _, connection = await loop.create_connection(lambda: _Connection(loop), host, port, ssl=context)
        except TimeoutError as error:
            raise TransportError(f"no connection to {host}:{port} within {self._settings.connect_timeout_s} s") from error
        except (OSError, UnicodeError) as error:
            raise TransportError(f"no connection to {host}:{port}: {type(error).__name__}: {error}") from error
        return connection

    def _heed(self, intent: Intent, answer: Answer, now: int) -> None:
        signals = self._read_signals(answer)
        for name, used in signals.used:
            self._gate.observe(name, used, now)
        if signals.throttle is not None:
            self._gate.throttled(signals.throttle, intent, now)
        else:
            self._gate.served()

    # Records.

    def _unsent(self, request: Request[T], reason: str) -> Sent[T]:
        self._numbers += 1
        return self._failure(request, self._numbers, Journey(self._now), reason)

    def _failure(self, request: Request[T], number: int, journey: Journey, error: str) -> Sent[T]:
        sent: Sent[T] = failed(journey.progress, self._redactor.text(error), sent_ns=journey.sending_ns)
        self._record(
            HttpRecord(
                number=number,
                ts=self._wall(),
                venue=self._venue,
                kind="failure",
                name=request.name,
                intent=request.intent,
                progress=sent.progress,
                outcome=sent.outcome,
                reason=sent.reason,
            )
        )
        return sent

    def _record_request(self, request: Request[T], number: int, wire: Wire) -> None:
        self._record(
            HttpRecord(
                number=number,
                ts=self._wall(),
                venue=self._venue,
                kind="request",
                name=request.name,
                intent=request.intent,
                method=wire.method,
                url=self._redactor.text(wire.origin + wire.target),
                headers=self._redactor.headers(wire.headers),
                body=self._cut(wire.body),
                body_bytes=len(wire.body),
            )
        )

    def _record_answer(self, request: Request[T], number: int, answer: Answer, sent: Sent[T]) -> None:
        self._record(
            HttpRecord(
                number=number,
                ts=self._wall(),
                venue=self._venue,
                kind="answer",
                name=request.name,
                intent=request.intent,
                status=answer.status,
                headers=self._redactor.headers(answer.headers.items()),
                body=self._cut(answer.body),
                body_bytes=len(answer.body),
                progress=Progress.WHOLE,
                outcome=sent.outcome,
                reason=self._redactor.text(sent.reason),
            )
        )

    def _cut(self, body: bytes) -> bytes:
        if len(body) <= RECORD_BYTES_MAX:
            return self._redactor.body(body)
        return self._redactor.body(body[:RECORD_BYTES_MAX])[:-RECORD_TAIL_BYTES]


@lru_cache(maxsize=64)
def _origin_of(origin: str) -> tuple[str, str, int]:
    """Scheme, host and port of "https://host" or "http://127.0.0.1:8080"."""
    scheme, _, address = origin.partition("://")
    host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdecimal() else (address, "", "")
    host = host.removeprefix("[").removesuffix("]")
    if scheme not in ("http", "https") or not host or "/" in address or "@" in address:
        raise ConfigError(f"{origin!r} is no origin: write for example https://api.example.com or http://127.0.0.1:8080")
    return scheme, host, int(port) if port else (443 if scheme == "https" else 80)
