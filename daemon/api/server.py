"""uvicorn with bounds of our own: connections, the time a request may take, what a WebSocket may send and leave unread."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from core.risk_rates import SlidingWindow
from core.units import NS_PER_SECOND
from daemon.api.gate import App
from daemon.api.settings import ApiSettings

HEAD_BYTES_MAX = 8_192
REQUEST_SECONDS_MAX = 10.0  # from the first byte, or the connection, to the end of the answer
KEEP_ALIVE_SECONDS_MAX = 5
BACKLOG_MAX = 64
MESSAGE_BYTES_MAX = 1_024  # of a client's WebSocket message; none is wanted
RECEIVED_BYTES_MAX = 65_536  # of one WebSocket in RECEIVED_SECONDS: pings, pongs and its end
RECEIVED_SECONDS = 10.0
UNREAD_BYTES_MAX = 1 << 20  # that wait to be read by one WebSocket
PING_SECONDS = 10.0
CLOSE_SECONDS_MAX = 2.0
END_SECONDS_MAX = 6  # for what is being answered when the end comes: a kill ends the daemon that this process lives with
LOG_LINES_MAX = 20  # in LOG_WINDOW_NS
LOG_WINDOW_NS = 60 * NS_PER_SECOND


class BoundedHttp(H11Protocol):
    """Cuts a connection off that is one too many, or whose request is not answered within its time, whoever is slow."""

    connections_max = 0  # set for each server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn itself narrows it
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > self.connections_max:
            transport.abort()
        else:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._begin()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._end()
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            # The next request was here already.
            self._begin()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._end()
        super().handle_websocket_upgrade(event)

    def _begin(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS_MAX, self.transport.abort)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Cuts one off that sends more than a listener has to, or that leaves too much unread."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._received = 0
        self._received_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        now = self.loop.time()
        if now - self._received_since > RECEIVED_SECONDS:
            self._received, self._received_since = 0, now
        self._received += len(data)
        if self._received > RECEIVED_BYTES_MAX or self.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.transport.abort()
            return
        super().data_received(data)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # A peer that does not read would keep the connection for ever: closing waits until all has been sent.
        self.loop.call_later(CLOSE_SECONDS_MAX, self._cut_off)

    def _cut_off(self) -> None:
        if not self.disconnected:
            self.transport.abort()


class Seldom(logging.Filter):
    """Lets so many lines of a minute through: what a client can cause must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._written = SlidingWindow(LOG_LINES_MAX, LOG_WINDOW_NS)

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic_ns()
        if not self._written.has_room(now):
            return False
        self._written.add(now)
        return True


def make_server(app: App, settings: ApiSettings) -> uvicorn.Server:
    class Http(BoundedHttp):
        connections_max = settings.connections_max

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Http,
        ws=BoundedWebSocket,
        loop="asyncio",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS_MAX,
        timeout_graceful_shutdown=END_SECONDS_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
    )
    logging.getLogger("uvicorn.error").addFilter(Seldom())
    return uvicorn.Server(config)
