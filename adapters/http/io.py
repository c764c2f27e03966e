"""The one transport that carries all HTTP: connections, deadlines, the gate, recording. Decides nothing by itself.

httpcore, the engine inside httpx, is used without httpx around it: no redirects, cookies, proxies of the environment or retries
can get between a request and its answer, the target leaves byte for byte as it was signed, and the network stream can be our own,
which knows whether a byte was written and whether anything came behind an answer.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

import anyio
import httpcore
import msgspec

from adapters.http.clock_offset import ClockOffset
from adapters.http.content import ACCEPT_ENCODING, decompress
from adapters.http.gate import Gate, GateLimits, Ticket
from adapters.http.meters import NEVER, Meter
from adapters.http.outcome import answered, failed
from adapters.http.progress import Journey
from adapters.http.record import RECORD_BYTES_MAX, HttpRecord, Recorder, Redactor
from adapters.http.request import Answer, Intent, Progress, Request, Sent, Signals, T, Wire
from adapters.http.retry import RetryLimits, wait_before_retry
from core.errors import CapacityError, VenueProtocolError
from core.units import NS_PER_SECOND

# Text that a cut could have split is left out of a record, or half a secret would stay in it.
RECORD_TAIL_BYTES = 2048

# What the library raises when the network or the peer fails. Anything else is a bug, and passes through.
NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    EOFError,
    UnicodeError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
# Raised before a connection is ready to be written to, or about a request that the library refuses to write.
UNSENT_ERRORS = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    httpcore.UnsupportedProtocol,
    httpcore.LocalProtocolError,
)

_JOURNEY: ContextVar[Journey] = ContextVar("journey")


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that tells the request under way what becomes of it."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        journey = _JOURNEY.get()
        journey.reading()
        data = await self._inner.read(max_bytes, timeout)
        journey.received += data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _JOURNEY.get().writing()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        _JOURNEY.get().connecting()
        return _Stream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        _JOURNEY.get().connecting()
        return _Stream(await self._inner.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of each phase, seconds. The request's own deadline ends all of them."""

    connect_timeout_s: float = 3.0  # TCP and TLS each
    write_timeout_s: float = 3.0
    read_timeout_s: float = 10.0  # between two reads
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
        self._timeouts = {
            "connect": settings.connect_timeout_s,
            "read": settings.read_timeout_s,
            "write": settings.write_timeout_s,
            "pool": settings.connect_timeout_s,
        }
        self._origins: dict[str, httpcore.URL] = {}
        self._http = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context if ssl_context is not None else httpcore.default_ssl_context(),
            max_connections=settings.connections_max,
            max_keepalive_connections=settings.connections_max,
            keepalive_expiry=settings.connection_idle_s,
            http1=True,
            http2=False,
            retries=0,
            network_backend=_Backend(),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

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
        http_request = self._http_request(wire)
        self._record_request(request, number, wire)
        answer: Answer | None = None
        error = "the deadline passed"
        is_known_unsent = False
        try:
            with anyio.move_on_after(max(0, deadline - now) / NS_PER_SECOND):
                answer = await self._answer(request, http_request, journey)
        except (*NETWORK_ERRORS, VenueProtocolError) as caught:
            error = f"{type(caught).__name__}: {caught}"
            is_known_unsent = isinstance(caught, UNSENT_ERRORS)
        except BaseException as caught:
            # Cancelled, or a bug: the caller learns nothing, the record says how far it got.
            self._failure(request, number, journey, f"abandoned: {type(caught).__name__}")
            raise
        if answer is None:
            if journey.progress is Progress.QUEUED and not is_known_unsent:
                # The library had the request and told nothing of it. Silence is no proof that nothing was sent.
                journey.progress = Progress.SENDING
            return self._failure(request, number, journey, error)
        received = self._now()
        self._heed(request.intent, answer, received)
        sent = answered(request, answer, sent_ns=journey.sending_ns, answered_ns=received)
        self._record_answer(request, number, answer, sent)
        return sent

    def _http_request(self, wire: Wire) -> httpcore.Request:
        origin = self._origins.get(wire.origin)
        if origin is None:
            origin = self._origins[wire.origin] = httpcore.URL(wire.origin + "/")
        scheme_port = {b"http": 80, b"https": 443}.get(origin.scheme)
        port = b"" if origin.port in (None, scheme_port) else b":%d" % origin.port
        headers = [(b"Host", origin.host + port), (b"Accept", b"application/json"), (b"Accept-Encoding", ACCEPT_ENCODING)]
        headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in wire.headers]
        if wire.body or wire.method not in ("GET", "DELETE"):
            headers.append((b"Content-Length", b"%d" % len(wire.body)))
        return httpcore.Request(
            wire.method,
            httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=wire.target.encode("ascii")),
            headers=headers,
            content=wire.body,
            extensions={"timeout": self._timeouts},
        )

    async def _answer(self, request: Request[T], http_request: httpcore.Request, journey: Journey) -> Answer:
        context = _JOURNEY.set(journey)
        try:
            response = await self._http.handle_async_request(http_request)
            journey.head()
            parts: list[bytes] = []
            size = 0
            try:
                assert isinstance(response.stream, AsyncIterable)
                async for part in response.stream:
                    parts.append(part)
                    size += len(part)
                    if size > request.answer_bytes_max:
                        raise VenueProtocolError(f"an answer above the limit of {request.answer_bytes_max} bytes")
                if journey.has_surplus():
                    await self._drop(response)
            finally:
                # Reading what is left could take for ever: a connection that is not at its end is closed instead.
                with anyio.move_on_after(1.0, shield=True):
                    await response.aclose()
        finally:
            _JOURNEY.reset(context)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body = decompress(b"".join(parts), headers.get("content-encoding", ""), bytes_max=request.answer_bytes_max)
        return Answer(response.status, headers, body)

    @staticmethod
    async def _drop(response: httpcore.Response) -> None:
        """Close a connection on which more came than was asked for, before another request can get it."""
        stream = response.extensions.get("network_stream")
        if isinstance(stream, httpcore.AsyncNetworkStream):
            await stream.aclose()

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
