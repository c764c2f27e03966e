"""An answer that has no end, line by line: OANDA's prices and transactions. Bounded: a line, what waits, silence."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

from adapters.http.http1 import AnswerReader
from adapters.http.progress import Journey
from adapters.http.request import Progress
from core.errors import TransportError, VenueProtocolError

LINE_BYTES_MAX = 1 << 20
# Received and not taken yet: beyond, nothing more is read, and the venue's own buffers fill.
WAITING_BYTES_MAX = 16 << 20
WAITING_LINES_MAX = 10_000


class RefusedStream(TransportError):
    """The venue answered, and not with a stream. Header names in lower case."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        said = body[:200].decode("utf-8", "backslashreplace").strip()
        super().__init__(f"the venue refuses the stream with status {status}{f': {said!r}' if said else ''}")


class Lines(Protocol):
    """`async for line in lines`: bytes without the newline; ends by a TransportError only."""

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer; names in lower case."""

    def __aiter__(self) -> Lines: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class LineCutter:
    """Cuts a body into lines. Raises VenueProtocolError for one above `bytes_max`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        if b"\n" not in data:
            self._rest += data
            self._check(len(self._rest))
            return []
        first, *others = data.split(b"\n")
        lines = [bytes(self._rest + first), *others]
        self._rest = bytearray(lines.pop())
        self._check(max(map(len, lines)), len(self._rest))
        return [line.removesuffix(b"\r") for line in lines]

    def _check(self, *sizes: int) -> None:
        if max(sizes) > self._bytes_max:
            raise VenueProtocolError(f"a line above the limit of {self._bytes_max} bytes")


class LineStream(asyncio.Protocol):
    """Lines of one connection of its own. One task may iterate; it may be cancelled in between, and nothing is lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, silence_timeout_s: float, line_bytes_max: int) -> None:
        self._loop = loop
        self._silence_timeout_s = silence_timeout_s
        self._reader = AnswerReader(line_bytes_max)
        self._cutter = LineCutter(line_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._journey: Journey | None = None
        self._lines: deque[bytes] = deque()
        self._bytes_waiting = 0
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._end: TransportError | VenueProtocolError | None = None
        self._is_over = False
        self._heard = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def headers(self) -> dict[str, str]:
        return self._reader.headers

    async def start(self, data: bytes, journey: Journey) -> None:
        """Ask, and wait for the head of the answer; for a refusal, for all of it. Raises as Lines does, or RefusedStream."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise TransportError("the connection was closed before anything was written to it")
        self._journey = journey
        journey.sending()
        self._heard = self._loop.time()
        self._watch()
        self._transport.write(data)
        while not self._reader.has_head and self._end is None:
            await self._wait()
        if self._reader.has_head and self._reader.status != 200:
            await self._refused()
        coding = self._reader.headers.get("content-encoding", "identity")
        if self._end is None and coding.strip().lower() not in ("", "identity"):
            raise VenueProtocolError(f"content coding {coding[:40]!r} was not asked for")
        if self._end is not None and not self._reader.has_head:
            raise self._end

    async def _refused(self) -> None:
        """All of the refusal, or as much as comes."""
        while not self._is_over and self._end is None and not self._reader.is_whole():
            await self._wait()
        raise RefusedStream(self._reader.status, self._reader.headers, self._reader.take_body())

    def __aiter__(self) -> LineStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._lines:
            if self._end is not None:
                raise TransportError(str(self._end)) from self._end
            await self._wait()
        line = self._lines.popleft()
        self._bytes_waiting -= len(line)
        if self._is_paused and len(self._lines) <= WAITING_LINES_MAX // 2 and self._bytes_waiting <= WAITING_BYTES_MAX // 2:
            self._is_paused = False
            self._heard = self._loop.time()
            if self._transport is not None and not self._is_over:
                self._transport.resume_reading()
        return line

    async def aclose(self) -> None:
        self._finish(TransportError("the stream was closed here"))

    async def _wait(self) -> None:
        assert self._waiter is None, "two tasks read one stream"
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _finish(self, end: TransportError | VenueProtocolError) -> None:
        if self._end is None:
            self._end = end
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _watch(self) -> None:
        now = self._loop.time()
        if self._is_paused:
            self._heard = now  # it is this side that does not listen
        # One sum for both: by a rounding apart, the timer would come back at once, for ever where time stands still meanwhile.
        due = self._heard + self._silence_timeout_s
        if now >= due:
            self._finish(TransportError(f"nothing was heard for {self._silence_timeout_s:g} s"))
        else:
            self._timer = self._loop.call_at(due, self._watch)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, and have their methods.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if self._journey is None:
            self._finish(VenueProtocolError("the venue answers what nobody has asked"))
        if self._end is not None or reader.is_whole():
            return
        self._heard = self._loop.time()
        try:
            reader.feed(data)
            if reader.has_head and reader.status == 200:
                self._take(reader.take_body())
        except VenueProtocolError as error:
            self._finish(error)
            return
        if reader.has_head and self._journey is not None:
            self._journey.reached(Progress.HEAD)
        if reader.is_whole() and reader.status == 200:
            self._finish(TransportError("the venue has ended the stream"))
        self._wake()

    def _take(self, body: bytes) -> None:
        lines = self._cutter.feed(body)
        self._lines += lines
        self._bytes_waiting += sum(map(len, lines))
        if not self._is_paused and (len(self._lines) > WAITING_LINES_MAX or self._bytes_waiting > WAITING_BYTES_MAX):
            assert self._transport is not None
            self._is_paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if exc is not None:
            self._finish(TransportError(f"the connection broke: {type(exc).__name__}: {exc}"))
            return
        try:
            self._reader.end()
        except VenueProtocolError as error:
            self._finish(TransportError(str(error)))
            return
        self._finish(TransportError("the venue has ended the stream"))
