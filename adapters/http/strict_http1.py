"""The wire of every request: our own HTTP/1.1 on the event loop's connections, as an httpx transport. It decides nothing.

A request leaves in one piece, byte for byte as it was signed; whether a byte was written is known and not guessed (`Journey`,
told through `request.extensions["journey"]`); an answer too many closes its connection; and no redirect, cookie, proxy of the
environment or retry can get between a request and its answer. General clients give none of the first three.

    httpx.AsyncClient(transport=StrictHttp1())      # for whoever only wants to read: data sources

HttpTransport (io.py) asks by `exchange` instead, which is the same without httpx's objects in between.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeVar, cast

import anyio
import httpx

from adapters.http.content import ACCEPT_ENCODING, decompress
from adapters.http.http1 import AnswerReader, RawAnswer, request_bytes, serialized
from adapters.http.line_stream import LineStream
from adapters.http.progress import Journey
from adapters.http.request import ANSWER_BYTES_MAX, Answer, Progress, Wire
from adapters.http.tls import default_context
from core.errors import ConfigError, TransportError, VenueProtocolError

CONNECTIONS_MAX = 16  # at once, of those who come by httpx
READ_TIMEOUT_S = 10.0

P = TypeVar("P", bound=asyncio.Protocol)

# Written here, whatever the caller's client says: the length of what is sent, and a coding that is undone within a bound.
_OURS = frozenset({"content-length", "transfer-encoding", "accept-encoding"})
_UNDONE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class Silence(TransportError):
    """Nothing was heard for too long."""


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
            self._fail(Silence(f"nothing was heard for {silence_s} s"))

    def _fail(self, error: TransportError | VenueProtocolError) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(error)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, and have their methods.
        self._transport = cast(asyncio.Transport, transport)
        # What is not written at once counts as slow: then uvloop, too, writes at once instead of behind the other callbacks.
        self._transport.set_write_buffer_limits(high=0)

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


class StrictHttp1(httpx.AsyncBaseTransport):
    """Connections to any number of servers, kept for the next request. Times in seconds.

    `connect_timeout_s`: name, TCP and TLS together. `silence_timeout_s`: without a byte, once the request has left.
    `connection_idle_s`: shorter than the server keeps it, or a request meets a connection that is being closed. Through httpx
    the request's own timeouts (connect, read, pool) come first, and `answer_bytes_max` may stand in its extensions.
    `connect_interval_s`: new connections are asked for no closer together than this.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 3.0,
        silence_timeout_s: float = READ_TIMEOUT_S,
        connection_idle_s: float = 30.0,
        connections_max: int = CONNECTIONS_MAX,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        ssl_context: ssl.SSLContext | None = None,
        connect_interval_s: float = 0.0,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._connect_interval_s = connect_interval_s
        self._connect_at = 0.0  # of the loop's time: when the next new connection may be asked for
        self._freed = anyio.Event()
        self._silence_timeout_s = silence_timeout_s
        self._connection_idle_s = connection_idle_s
        self._answer_bytes_max = answer_bytes_max
        self._ssl_context = ssl_context
        self._idle: dict[str, deque[_Connection]] = {}
        self._slots = anyio.Semaphore(connections_max)

    # For HttpTransport.

    async def exchange(self, wire: Wire, journey: Journey, *, answer_bytes_max: int) -> Answer:
        """One request, one answer, decompressed. Raises TransportError or VenueProtocolError; `journey` says how far it got."""
        data = request_bytes(wire, wire.origin.partition("://")[2])
        reader = AnswerReader(answer_bytes_max)
        raw = await self._ask(wire.origin, data, reader, journey, self._connect_timeout_s, self._silence_timeout_s)
        return Answer(
            raw.status, raw.headers, decompress(raw.body, raw.headers.get("content-encoding", ""), bytes_max=answer_bytes_max)
        )

    async def open_lines(self, wire: Wire, journey: Journey, *, silence_timeout_s: float, line_bytes_max: int) -> LineStream:
        """An answer without an end, on a connection of its own. Raises TransportError, RefusedStream or VenueProtocolError."""
        data = request_bytes(wire, wire.origin.partition("://")[2], accept_encoding="identity")
        loop = asyncio.get_running_loop()
        journey.connecting()
        lines = await self._connect(
            wire.origin,
            lambda: LineStream(loop, silence_timeout_s=silence_timeout_s, line_bytes_max=line_bytes_max),
            self._connect_timeout_s,
        )
        try:
            await lines.start(data, journey)
        except BaseException:
            await lines.aclose()
            raise
        return lines

    # For httpx.

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx wants it: the answer's body is whole when this returns; errors are httpx's own.

        Of these ConnectError, ConnectTimeout, PoolTimeout and LocalProtocolError prove that no byte has left.
        """
        journey = request.extensions.get("journey") or Journey(time.monotonic_ns)
        assert isinstance(journey, Journey)
        timeouts = request.extensions.get("timeout", {})
        bytes_max = int(request.extensions.get("answer_bytes_max", self._answer_bytes_max))
        origin, target = _parts_of(request.url)
        body = await request.aread()
        # The length is added by the one who writes the body: two of them would be one too many.
        headers = [(name, value) for name, value in _texts(request.headers.raw) if name.lower() not in _OURS]
        headers.append(("Accept-Encoding", ACCEPT_ENCODING))
        try:
            data = serialized(request.method, target, headers, body)
        except TransportError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from error
        reader = AnswerReader(bytes_max, is_head=request.method == "HEAD")
        try:
            with anyio.fail_after(timeouts.get("pool")):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("every connection is in use", request=request) from error
        try:
            raw = await self._ask(
                origin,
                data,
                reader,
                journey,
                _or(timeouts.get("connect"), self._connect_timeout_s),
                _or(timeouts.get("read"), self._silence_timeout_s),
            )
            return _response(raw, bytes_max)
        except (TransportError, VenueProtocolError) as error:
            raise _as_httpx(error, journey, request) from error
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    # For both.

    async def _ask(
        self, origin: str, data: bytes, reader: AnswerReader, journey: Journey, connect_timeout_s: float, silence_timeout_s: float
    ) -> RawAnswer:
        loop = asyncio.get_running_loop()
        connection = await self._idle_or_turn(origin)
        if connection is None:
            journey.connecting()
            connection = await self._connect(origin, lambda: _Connection(loop), connect_timeout_s)
        raw = await connection.exchange(data, reader, journey, silence_timeout_s)
        if not connection.is_closed:
            connection.idle_since = loop.time()
            self._idle.setdefault(origin, deque()).append(connection)
            self._freed.set()
        return raw

    def _take_idle(self, origin: str, now: float) -> _Connection | None:
        """The connection used last, if it is still good; those that have waited too long are closed."""
        connections = self._idle.get(origin)
        if not connections:
            return None
        oldest = now - self._connection_idle_s
        while connections and (connections[0].is_closed or connections[0].idle_since < oldest):
            connections.popleft().abort()
        while connections:
            connection = connections.pop()
            if not connection.is_closed:
                return connection
        return None

    async def _idle_or_turn(self, origin: str) -> _Connection | None:
        """A connection that is there, or None when a new one may be asked for: where that is not yet, the first to come free."""
        loop = asyncio.get_running_loop()
        while (connection := self._take_idle(origin, loop.time())) is None:
            wait_s = self._connect_at - loop.time()
            if wait_s <= 0:
                return None
            self._freed = self._freed if not self._freed.is_set() else anyio.Event()
            with anyio.move_on_after(wait_s):
                await self._freed.wait()
        return connection

    async def _turn_to_connect(self) -> None:
        """Some venues allow only so many new connections a second."""
        loop = asyncio.get_running_loop()
        while (wait_s := self._connect_at - loop.time()) > 0:
            await anyio.sleep(wait_s)
        self._connect_at = loop.time() + self._connect_interval_s

    async def _connect(self, origin: str, factory: Callable[[], P], timeout_s: float) -> P:
        scheme, host, port = _origin_of(origin)
        context = (self._ssl_context or default_context()) if scheme == "https" else None
        await self._turn_to_connect()
        try:
            async with asyncio.timeout(timeout_s):
                _, protocol = await asyncio.get_running_loop().create_connection(factory, host, port, ssl=context)
        except TimeoutError as error:
            raise TransportError(f"no connection to {host}:{port} within {timeout_s} s") from error
        except (OSError, UnicodeError) as error:
            raise TransportError(f"no connection to {host}:{port}: {type(error).__name__}: {error}") from error
        return protocol


@lru_cache(maxsize=64)
def _origin_of(origin: str) -> tuple[str, str, int]:
    """Scheme, host and port of "https://host" or "http://127.0.0.1:8080"."""
    scheme, _, address = origin.partition("://")
    host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdecimal() else (address, "", "")
    host = host.removeprefix("[").removesuffix("]")
    if scheme not in ("http", "https") or not host or "/" in address or "@" in address:
        raise ConfigError(f"{origin!r} is no origin: write for example https://api.example.com or http://127.0.0.1:8080")
    return scheme, host, int(port) if port else (443 if scheme == "https" else 80)


# To and from httpx.


def _parts_of(url: httpx.URL) -> tuple[str, str]:
    """Origin and target, byte for byte as httpx would send them."""
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol(f"{url.scheme!r} is neither http nor https")
    return f"{url.scheme}://{url.netloc.decode('ascii')}", url.raw_path.decode("ascii")


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _or(given: float | None, default: float) -> float:
    """httpx says None for "wait for ever", and nothing does here."""
    return default if given is None else given


def _response(raw: RawAnswer, bytes_max: int) -> httpx.Response:
    content = decompress(raw.body, raw.headers.get("content-encoding", ""), bytes_max=bytes_max)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in raw.headers.items() if name not in _UNDONE]
    return httpx.Response(raw.status, headers=headers, content=content)


def _as_httpx(error: Exception, journey: Journey, request: httpx.Request) -> httpx.TransportError:
    kind: type[httpx.TransportError]
    if journey.progress < Progress.SENDING:
        kind = httpx.ConnectError
    elif isinstance(error, VenueProtocolError):
        kind = httpx.RemoteProtocolError
    else:
        kind = httpx.ReadTimeout if isinstance(error, Silence) else httpx.ReadError
    return kind(str(error), request=request)
