"""Any simulated venue on a loopback port: HTTP/1.1, WebSocket on the same port, or raw TCP. Nothing is decided in here.

It uses create_server, transports and call_later of the running loop and the clock that it is given, so it runs in virtual time as
well. No threads, no tasks.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from core.units import NS_PER_SECOND
from daemon.trading.clock import Clock
from daemon.venue_sim.loopback_http import BadRequestError, HttpSide, asks_for_websocket
from daemon.venue_sim.loopback_websocket import WebSocketSide
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing, SimVenue

CONNECTIONS_MAX = 512
OUT_BYTES_MAX = 1 << 25  # of what one connection has not read: more, and it is cut
PINGS_UNANSWERED_MAX = 3  # whoever answers none of so many is gone
TIMER_S_MIN = 1e-6  # a float of seconds may be a little early: never a timer that is due at once for ever
CLOSE_CODE_GOING_AWAY = 1001


class Served:
    """A venue behind its port. `host` and `port` are where it listens; `str` of it reads host:port."""

    def __init__(self, venue: SimVenue, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.venue = venue
        self.host = ""
        self.port = 0
        self.failure: BaseException | None = None
        self._clock = clock
        self._loop = loop
        self._ts = 0
        self._number = 0
        self._peers: dict[int, _Peer] = {}
        self._held: list[tuple[int, int, Callable[[], None]]] = []
        self._held_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ts = 0
        self._is_over = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are there now."""
        return len(self._peers)

    def now(self) -> int:
        self._ts = max(self._clock.now(), self._ts)
        return self._ts

    def act(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Something happens at the venue. Raises ValueError where it does not know that."""
        ts = self._begin()
        self.venue.act(ts, name, arguments or {})
        self.pump()

    def advance(self) -> None:
        """Let the venue's time pass now."""
        self.run(self.venue.advance)

    def cut_all(self) -> None:
        """Every connection ends without a word, and the venue is told."""
        for peer in list(self._peers.values()):
            peer.drop()

    # For the connections.

    def run(self, call: Callable[[int], None]) -> None:
        """A call of the venue at this moment; what follows from it is sent. A failure is a bug: it ends the serving."""
        if self._is_over:
            return
        try:
            call(self._begin())
            self.pump()
        except BaseException as failure:
            self.failure = self.failure or failure
            self.end()
            raise

    def _begin(self) -> int:
        ts = self.now()
        due = self.venue.next_ts()
        if due is not None and due <= ts:
            self.venue.advance(ts)
        return ts

    def hold(self, ts: int, call: Callable[[], None]) -> None:
        """`call` at `ts`, behind whatever was held for then before."""
        self._held_number += 1
        heapq.heappush(self._held, (ts, self._held_number, call))

    def pump(self) -> None:
        """Send what the venue has to say, and come again when there is something to do."""
        while True:
            for outgoing in self.venue.take():
                self.hold(outgoing.ts, self._sender(outgoing))
            if not self._held or self._held[0][0] > self.now():
                break
            heapq.heappop(self._held)[2]()
        self._arm()

    def _sender(self, outgoing: Outgoing) -> Callable[[], None]:
        def send() -> None:
            peer = self._peers.get(outgoing.connection)
            if peer is not None:
                peer.send(outgoing)

        return send

    def _arm(self) -> None:
        due = self.venue.next_ts()
        if self._held and (due is None or self._held[0][0] < due):
            due = self._held[0][0]
        if self._timer is not None:
            if due == self._timer_ts:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self._is_over:
            self._timer_ts = due
            delay_s = (due - self.now()) / NS_PER_SECOND
            self._timer = self._loop.call_later(max(delay_s, TIMER_S_MIN), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.run(lambda _ts: None)

    def join(self, peer: _Peer) -> int:
        """The connection's number, 0 where there are too many."""
        if len(self._peers) >= CONNECTIONS_MAX or self._is_over:
            return 0
        self._number += 1
        self._peers[self._number] = peer
        return self._number

    def leave(self, number: int) -> bool:
        """Whether it was there still."""
        return self._peers.pop(number, None) is not None

    def end(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self._peers.values()):
            peer.abort()


class _Peer(asyncio.Protocol):
    """One connection: HTTP at first, a WebSocket where the venue takes it for one, or TCP."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._number = 0
        self._transport: asyncio.Transport
        self._http: HttpSide | None = None
        self._websocket: WebSocketSide | None = None
        self._is_streaming = False
        self._is_busy = False  # a request has come and its answer has not left
        self._is_frozen = False
        self._is_closed = False  # by the venue, which wants to hear no more of it

    # From the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=OUT_BYTES_MAX)
        self._number = self._served.join(self)
        if not self._number:
            self._transport.abort()
            return
        if self._served.venue.wire == "http":
            self._http = HttpSide()
        self._served.run(lambda ts: self._served.venue.connected(ts, self._number))

    def data_received(self, data: bytes) -> None:
        if not self._number or self._is_frozen or (self._is_closed and self._websocket is None):
            return
        if self._websocket is not None:
            self._hear(data)
        elif self._http is not None:
            self._http.receive(data)
            self._serve()
        else:
            self._served.run(partial(self._receive, data))

    def eof_received(self) -> bool:
        return self._is_frozen  # nobody notices

    def connection_lost(self, _error: Exception | None) -> None:
        if self._served.leave(self._number) and not self._is_frozen:
            self._served.run(lambda ts: self._served.venue.disconnected(ts, self._number))

    def pause_writing(self) -> None:
        """It does not read what it is sent."""
        self._transport.abort()

    # HTTP.

    def _serve(self) -> None:
        """The requests that are whole, one behind the other's answer."""
        http = self._http
        while http is not None and not self._is_busy and not self._is_frozen and self._websocket is None:
            try:
                request = http.next_request()
            except BadRequestError as bad:
                self._write(bad.answer)
                self.drop()
                return
            if request is None:
                return
            self._is_busy = True
            self._served.run(partial(self._ask, request))

    def _ask(self, request: HttpRequest, ts: int) -> None:
        reply = self._served.venue.http(ts, self._number, request)
        if not reply.never:
            self._served.hold(ts + reply.delay_ns, lambda: self._answer(request, reply))

    def _answer(self, request: HttpRequest, reply: HttpReply) -> None:
        http = self._http
        if http is None or self._is_frozen or self._transport.is_closing():
            return
        if reply.status == 101:
            assert asks_for_websocket(request), "the venue takes a request for a WebSocket's that is none"
            self._open_websocket(http, request, reply)
            return
        out = http.answer(reply)
        if reply.bytes_max is not None:
            self._write(out[: reply.bytes_max])
            self.drop()
            return
        self._write(out)
        self._is_streaming = reply.is_stream
        if not reply.is_stream:
            self._finish()

    def _finish(self) -> None:
        """Behind a whole answer."""
        assert self._http is not None
        self._is_busy = self._is_streaming = False
        if not self._http.may_go_on():
            self.drop()
        else:
            self._served.hold(self._served.now(), self._serve)

    # WebSocket.

    def _open_websocket(self, http: HttpSide, request: HttpRequest, reply: HttpReply) -> None:
        self._websocket = WebSocketSide(request, reply)
        self._flush()
        if not self._websocket.is_open:
            self.drop()
            return
        if reply.ping_ns:
            self._ping_later(reply.ping_ns)
        if rest := http.rest():
            self._served.hold(self._served.now(), lambda: self._hear(rest))

    def _ping_later(self, ping_ns: int) -> None:
        def ping() -> None:
            if self._websocket is not None and self._websocket.is_open and not self._is_frozen:
                if self._websocket.pings_unanswered >= PINGS_UNANSWERED_MAX:
                    self.drop()
                    return
                self._websocket.ping()
                self._flush()
                self._ping_later(ping_ns)

        self._served.hold(self._served.now() + ping_ns, ping)

    def _hear(self, data: bytes) -> None:
        websocket = self._websocket
        assert websocket is not None
        messages = websocket.receive(data)
        self._flush()
        for message in () if self._is_closed else messages:
            self._served.run(partial(self._receive, message))

    def _receive(self, message: str | bytes, ts: int) -> None:
        self._served.venue.receive(ts, self._number, message)

    def _flush(self) -> None:
        assert self._websocket is not None
        out, is_last = self._websocket.out()
        self._write(out)
        if is_last:
            self._transport.close()

    # To the wire.

    def send(self, outgoing: Outgoing) -> None:
        if self._is_frozen or self._transport.is_closing():
            return
        payload = outgoing.payload
        if outgoing.freezes:
            self._is_frozen = True
        elif payload is None:
            self._close(outgoing.code)
        elif self._websocket is not None:
            self._websocket.send(payload)
            self._flush()
        elif self._http is not None:
            assert isinstance(payload, bytes)
            assert self._is_streaming, "bytes for a connection that has no stream"
            self._write(self._http.chunk(payload))
        else:
            assert isinstance(payload, bytes)
            self._write(payload)

    def _close(self, code: int) -> None:
        """The venue ends it, so it is not told."""
        self._is_closed = True
        self._served.leave(self._number)
        if self._websocket is not None and code:
            self._websocket.close(code)
            self._flush()
            return
        if self._is_streaming and code:
            assert self._http is not None
            self._write(self._http.end())
        self._transport.close()

    def drop(self) -> None:
        """It ends behind what was written; the venue hears of it."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _write(self, data: bytes) -> None:
        if data and not self._is_frozen:
            self._transport.write(data)


@asynccontextmanager
async def serve(venue: SimVenue, clock: Clock, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Served]:
    """The venue behind a port (0: any free one) while the block runs. What failed inside the venue is raised at its end."""
    loop = asyncio.get_running_loop()
    served = Served(venue, clock, loop)
    server = await loop.create_server(lambda: _Peer(served), host, port)
    served.host, served.port = server.sockets[0].getsockname()[:2]
    served.run(lambda _ts: None)
    try:
        yield served
    finally:
        server.close()
        served.end()
        await asyncio.sleep(0)  # connections that were aborted are told so
    if served.failure is not None:
        raise served.failure
