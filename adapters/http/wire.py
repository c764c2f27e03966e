"""What HttpTransport needs of the wire, and how any httpx transport gives it: a mock of respx, a recording, httpx's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx

from adapters.http.content import ACCEPT_ENCODING
from adapters.http.line_stream import LineCutter, Lines, RefusedStream
from adapters.http.progress import Journey
from adapters.http.request import Answer, Progress, Wire
from core.errors import TransportError, VenueProtocolError

# What whoever opens an adapter may give it for a wire.
AnyTransport = httpx.AsyncBaseTransport

# httpx raises these before anything is written.
_BEFORE_SENDING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class WireLayer(Protocol):
    async def exchange(self, wire: Wire, journey: Journey, *, answer_bytes_max: int) -> Answer:
        """One request, one answer, decompressed. Raises TransportError or VenueProtocolError; `journey` says how far it got,
        and SENDING is said before the first byte can have left."""

    async def open_lines(self, wire: Wire, journey: Journey, *, silence_timeout_s: float, line_bytes_max: int) -> Lines:
        """An answer without an end. Raises as `exchange`, and RefusedStream for any status but 200."""

    async def aclose(self) -> None: ...


class HttpxWire:
    """A WireLayer over an httpx transport that is not StrictHttp1. Timeouts as httpx has them, in seconds."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, connect_timeout_s: float, silence_timeout_s: float) -> None:
        self._transport = transport
        self._timeouts = {
            "connect": connect_timeout_s,
            "pool": connect_timeout_s,
            "read": silence_timeout_s,
            "write": silence_timeout_s,
        }

    async def exchange(self, wire: Wire, journey: Journey, *, answer_bytes_max: int) -> Answer:
        extensions = {"timeout": self._timeouts, "journey": journey, "answer_bytes_max": answer_bytes_max}
        request = _request(wire, ACCEPT_ENCODING, extensions)
        with _told(journey):
            response = await self._transport.handle_async_request(request)
            journey.reached(Progress.HEAD)
            return await _whole(response, answer_bytes_max)

    async def open_lines(self, wire: Wire, journey: Journey, *, silence_timeout_s: float, line_bytes_max: int) -> Lines:
        timeouts = {**self._timeouts, "read": silence_timeout_s}
        request = _request(wire, "identity", {"timeout": timeouts, "journey": journey})
        with _told(journey):
            response = await self._transport.handle_async_request(request)
            journey.reached(Progress.HEAD)
            if response.status_code != 200:
                answer = await _whole(response, line_bytes_max)
                raise RefusedStream(answer.status, answer.headers, answer.body)
        return HttpxLines(response, line_bytes_max)

    async def aclose(self) -> None:
        await self._transport.aclose()


async def _whole(response: httpx.Response, bytes_max: int) -> Answer:
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > bytes_max:
                raise VenueProtocolError(f"an answer above the limit of {bytes_max} bytes")
    finally:
        await response.aclose()
    return Answer(response.status_code, _headers_of(response), bytes(body))


def _headers_of(response: httpx.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.multi_items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


class HttpxLines:
    """Lines of a response of httpx; its own read timeout is the silence."""

    def __init__(self, response: httpx.Response, line_bytes_max: int) -> None:
        self.headers = _headers_of(response)
        self._response = response
        self._parts = response.aiter_bytes()
        self._cutter = LineCutter(line_bytes_max)
        self._lines: deque[bytes] = deque()

    def __aiter__(self) -> HttpxLines:
        return self

    async def __anext__(self) -> bytes:
        try:
            while not self._lines:
                self._lines += self._cutter.feed(await anext(self._parts))
        except StopAsyncIteration:
            raise TransportError("the venue has ended the stream") from None
        except (httpx.TransportError, VenueProtocolError) as error:
            raise TransportError(f"{type(error).__name__}: {error}") from error
        return self._lines.popleft()

    async def aclose(self) -> None:
        await self._response.aclose()


def _request(wire: Wire, accept_encoding: str, extensions: dict[str, object]) -> httpx.Request:
    return httpx.Request(
        wire.method,
        wire.origin + wire.target,
        headers=[("Accept", "application/json"), ("Accept-Encoding", accept_encoding), *wire.headers],
        content=wire.body or None,
        extensions=extensions,
    )


@contextmanager
def _told(journey: Journey) -> Iterator[None]:
    """httpx's errors as ours, and what they prove."""
    # It may have left from the moment that it is handed over: who is cancelled in there knows no more.
    journey.connecting()
    journey.sending()
    try:
        yield
    except _BEFORE_SENDING as error:
        journey.did_not_send()
        raise TransportError(f"{type(error).__name__}: {error}") from error
    except (httpx.ProtocolError, httpx.DecodingError) as error:
        raise VenueProtocolError(f"{error}") from error
    except httpx.TransportError as error:
        raise TransportError(f"{type(error).__name__}: {error}") from error
