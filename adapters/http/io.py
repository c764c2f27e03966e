"""The one transport that carries all HTTP of a venue: the gate, deadlines, queries asked again, recording. It decides nothing.

The wire is an httpx transport: our own (strict_http1.py), asked without httpx's objects in between, unless another one is given.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec

from adapters.http.clock_offset import ClockOffset
from adapters.http.gate import Gate, GateLimits, Ticket
from adapters.http.line_stream import LINE_BYTES_MAX, Lines, RefusedStream
from adapters.http.meters import NEVER, Meter
from adapters.http.outcome import answered, failed
from adapters.http.progress import Journey
from adapters.http.record import RECORD_BYTES_MAX, HttpRecord, Recorder, Redactor, unrecorded
from adapters.http.request import Answer, Intent, Progress, Request, Sent, Signals, T, Wire
from adapters.http.retry import RetryLimits, wait_before_retry
from adapters.http.strict_http1 import StrictHttp1
from adapters.http.wire import HttpxWire, WireLayer
from core.errors import CapacityError, TransportError, VenueProtocolError
from core.units import NS_PER_SECOND

# Text that a cut could have split is left out of a record, or half a secret would stay in it.
RECORD_TAIL_BYTES = 2048


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of each phase, seconds. The request's own deadline ends all of them."""

    connect_timeout_s: float = 3.0  # name, TCP and TLS together
    silence_timeout_s: float = 10.0  # without a byte, once the request has left
    connection_idle_s: float = 30.0  # shorter than the venue keeps it, or a request meets a connection that is being closed
    connections_max: int = 16
    gate: GateLimits = GateLimits()
    retry: RetryLimits = RetryLimits()


# Looked up when they are called and not when this file is read: a simulated machine puts its own clocks in their place.


def monotonic_now_ns() -> int:
    return time.monotonic_ns()


def untold(_text: str) -> None:
    """Where nobody listens."""


def wall_now_ns() -> int:
    return time.time_ns()


class HttpTransport:
    """One venue's HTTP. `read_signals` reads from any answer what it says of budgets; `meters` are those budgets.

    `venue_clock` gives the time that requests are signed with; without it the wall clock does. `wire`: any httpx transport, for
    example a mock; without it StrictHttp1.
    """

    def __init__(
        self,
        venue: str,
        settings: HttpSettings,
        *,
        read_signals: Callable[[Answer], Signals],
        meters: Mapping[str, Meter],
        venue_clock: ClockOffset | None = None,
        record: Recorder = unrecorded,
        redactor: Redactor | None = None,
        ssl_context: ssl.SSLContext | None = None,
        wire: httpx.AsyncBaseTransport | None = None,
        monotonic_ns: Callable[[], int] = monotonic_now_ns,
        wall_ns: Callable[[], int] = wall_now_ns,
        on_ban: Callable[[str], None] = untold,
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
        self._on_ban = on_ban
        self._granted: dict[Ticket, anyio.Event] = {}
        self._numbers = 0
        self._wire: WireLayer
        connect_s, silence_s = settings.connect_timeout_s, settings.silence_timeout_s
        if wire is None:
            wire = StrictHttp1(
                connect_timeout_s=connect_s,
                silence_timeout_s=silence_s,
                connection_idle_s=settings.connection_idle_s,
                connections_max=settings.connections_max,
                ssl_context=ssl_context,
            )
        if isinstance(wire, StrictHttp1):
            self._wire = wire
        else:
            self._wire = HttpxWire(wire, connect_timeout_s=connect_s, silence_timeout_s=silence_s)

    async def aclose(self) -> None:
        await self._wire.aclose()

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

    async def send_all(self, requests: Sequence[Request[T]]) -> list[Sent[T]]:
        """All at once, as far as the gate lets them; what became of each, in their order."""
        found: dict[int, Sent[T]] = {}

        async def send(place: int) -> None:
            found[place] = await self.send(requests[place])

        async with anyio.create_task_group() as tasks:
            for place in range(len(requests)):
                tasks.start_soon(send, place)
        return [found[place] for place in range(len(requests))]

    @asynccontextmanager
    async def open_stream(
        self, request: Request[Any], *, silence_timeout_s: float, line_bytes_max: int = LINE_BYTES_MAX
    ) -> AsyncIterator[Lines]:
        """A connection of its own whose answer has no end: `async with … as lines: async for line in lines`.

        A line is bytes without its newline. The iteration ends by a TransportError only: the stream has ended, broke, or said
        nothing for `silence_timeout_s` (heartbeats are lines). Raises TransportError where it cannot be opened within the
        request's deadline; RefusedStream, one of them, for any status but 200. `request.judge` is not asked.
        """
        deadline = self._now() + int(request.deadline_s * NS_PER_SECOND)
        lines = await self._open_lines(request, deadline, silence_timeout_s, line_bytes_max)
        try:
            yield lines
        finally:
            await lines.aclose()

    async def _open_lines(self, request: Request[Any], deadline: int, silence_timeout_s: float, line_bytes_max: int) -> Lines:
        try:
            ticket = self._gate.enter(request.intent, request.costs, self._now(), deadline)
        except CapacityError as error:
            raise TransportError(f"{request.name}: {error}") from error
        if not await self._admit(ticket):
            raise TransportError(f"{request.name}: {self._gate.why_waiting(ticket, self._now())}")
        journey = Journey(self._now)
        self._numbers += 1
        number = self._numbers
        try:
            wire = request.build(self._signing_time(self._now()))
            self._record_request(request, number, wire)
            with anyio.fail_after(max(0, deadline - self._now()) / NS_PER_SECOND):
                lines = await self._wire.open_lines(
                    wire, journey, silence_timeout_s=silence_timeout_s, line_bytes_max=line_bytes_max
                )
        except RefusedStream as refused:
            answer = Answer(refused.status, refused.headers, refused.body)
            self._heed(request.intent, answer, self._now())
            self._record_answer(request, number, answer, failed(Progress.WHOLE, str(refused)))
            raise
        except (TimeoutError, TransportError, VenueProtocolError) as error:
            text = "the deadline passed" if isinstance(error, TimeoutError) else str(error)
            self._failure(request, number, journey, text)
            raise TransportError(f"{request.name}: {text}") from error
        except BaseException as error:
            self._failure(request, number, journey, f"abandoned: {type(error).__name__}")
            raise
        finally:
            # A stream holds no place of those under way: it stays for hours.
            self._gate.leave(ticket, was_sent=journey.progress >= Progress.SENDING)
            self._pass_on()
        opened = Answer(200, lines.headers, b"")
        self._heed(request.intent, opened, self._now())
        self._record_answer(request, number, opened, failed(Progress.HEAD, "a stream"))
        return lines

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
            self._pass_on()
        return sent

    # Waiting.

    async def _admit(self, ticket: Ticket) -> bool:
        """Wait for the gate. Whoever waits wakes for all: there is no task beside the callers.

        Nobody's leaving may take the others' hour with it: whoever goes, through the gate or with an answer, passes it on.
        """
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
                    event = self._granted[ticket] = anyio.Event()
                    wake = self._advance()
        except BaseException:
            if ticket.granted:
                self._gate.leave(ticket, was_sent=False)
            else:
                self._gate.abandon(ticket)
            raise
        finally:
            del self._granted[ticket]
            self._pass_on()
        return ticket.granted

    def _advance(self) -> int:
        moved, wake = self._gate.advance(self._now())
        for ticket in moved:
            event = self._granted.get(ticket)
            if event is not None:
                event.set()
        return NEVER if wake >= NEVER else wake

    def _pass_on(self) -> None:
        """Let go who may, and where the next may go later let one of those who wait know when."""
        if self._advance() < NEVER:
            waiting = next((event for ticket, event in self._granted.items() if ticket.waits()), None)
            if waiting is not None:
                waiting.set()

    # One exchange.

    async def _exchange(self, request: Request[T], deadline: int) -> Sent[T]:
        self._numbers += 1
        number = self._numbers
        journey = Journey(self._now)
        now = self._now()
        wire = request.build(self._signing_time(now))
        self._record_request(request, number, wire)
        answer: Answer | None = None
        error = "the deadline passed"
        try:
            with anyio.move_on_after(max(0, deadline - now) / NS_PER_SECOND):
                answer = await self._wire.exchange(wire, journey, answer_bytes_max=request.answer_bytes_max)
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

    def _signing_time(self, now: int) -> int:
        return self._clock.venue_now(now) if self._clock is not None and self._clock.is_known else self._wall()

    def _heed(self, intent: Intent, answer: Answer, now: int) -> None:
        signals = self._read_signals(answer)
        for name, used in signals.used:
            self._gate.observe(name, used, now)
        if signals.throttle is not None:
            was_banned = self._gate.ban_left(now) > 0
            self._gate.throttled(signals.throttle, intent, now)
            left = self._gate.ban_left(now)
            if left and not was_banned:
                seconds = left // NS_PER_SECOND
                self._on_ban(f"{self._venue}: the venue has banned this address for {seconds} s: nothing is asked or canceled")
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
        if self._record is unrecorded:
            return  # to take secrets out of what nobody keeps costs more than the request
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

    def _record_answer(self, request: Request[T], number: int, answer: Answer, sent: Sent[Any]) -> None:
        if self._record is unrecorded:
            return
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
                progress=sent.progress,
                outcome=sent.outcome,
                reason=self._redactor.text(sent.reason),
            )
        )

    def _cut(self, body: bytes) -> bytes:
        if len(body) <= RECORD_BYTES_MAX:
            return self._redactor.body(body)
        return self._redactor.body(body[:RECORD_BYTES_MAX])[:-RECORD_TAIL_BYTES]
