"""One WebSocket connection, client side: send at once, receive whole messages, say how it ended. The only file here with sockets.

It stands on the event loop's own connections (create_connection, call_later, nothing else), and the protocol does no I/O: it is
known what was written and when, what waits is bounded both ways, and any loop will do, one in virtual time too.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from adapters.http.record import Redactor
from adapters.http.tls import default_context
from adapters.websocket.dialogue import Dialogue
from adapters.websocket.errors import ABNORMAL, NORMAL, LinkEnded, RefusedHandshake
from core.errors import TransportError
from core.venue_opening import CLOSED, OPENED, RECEIVED, SENT, OnFrame, no_frame

__all__ = ["LinkEnded", "RefusedHandshake", "WebSocketLink"]

MESSAGE_BYTES_MAX = 4 << 20
OUT_BYTES_MAX = 4 << 20
# Received and not taken yet: beyond, nothing more is read, and the venue's own buffers fill.
IN_MESSAGES_MAX = 10_000
IN_BYTES_MAX = 16 << 20
CLOSE_TIMEOUT_S = 1.0  # for the closing handshake


class WebSocketLink(asyncio.Protocol):
    """Made by `connect`. Belongs to the event loop that it was made in; one task may `receive`."""

    def __init__(
        self,
        dialogue: Dialogue,
        loop: asyncio.AbstractEventLoop,
        *,
        silence_timeout_s: float,
        ping_interval_s: float | None,
        out_bytes_max: int,
        on_frame: OnFrame,
        now: Callable[[], int],
        redactor: Redactor | None,
    ) -> None:
        assert silence_timeout_s > 0
        assert ping_interval_s is None or ping_interval_s > 0
        self._dialogue = dialogue
        self._loop = loop
        self._silence_timeout_s = silence_timeout_s
        self._ping_interval_s = ping_interval_s
        self._out_bytes_max = out_bytes_max
        self._on_frame = on_frame
        self._now = now
        self._redactor = redactor
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._messages: deque[str | bytes] = deque()
        self._bytes_in = 0
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # there while the other side is slow
        self._end: TransportError | None = None
        self._heard = self._pinged = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        subprotocol: str | None = None,
        connect_timeout_s: float = 5.0,
        silence_timeout_s: float = 30.0,
        ping_interval_s: float | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        out_bytes_max: int = OUT_BYTES_MAX,
        on_frame: OnFrame,
        now: Callable[[], int],
        redactor: Redactor | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> WebSocketLink:
        """An open connection. `connect_timeout_s` holds name, TCP, TLS and the opening handshake together.

        `silence_timeout_s`: without a byte, pongs count. `ping_interval_s`: pings of our own, for a venue that sends none.
        `on_frame` hears of whole messages (pings are not told), of secrets only what `redactor` leaves; without one the path of
        the URL is not told. Raises TransportError, RefusedHandshake (one of them) where the server said no, and ConfigError for
        a `url` that is none.
        """
        dialogue = Dialogue(url, headers=headers, subprotocol=subprotocol, message_bytes_max=message_bytes_max)
        uri = dialogue.uri
        loop = asyncio.get_running_loop()
        link = cls(
            dialogue,
            loop,
            silence_timeout_s=silence_timeout_s,
            ping_interval_s=ping_interval_s,
            out_bytes_max=out_bytes_max,
            on_frame=on_frame,
            now=now,
            redactor=redactor,
        )
        context = (ssl_context or default_context()) if uri.secure else None
        link._tell(OPENED, (url if redactor is not None else dialogue.where).encode())
        try:
            async with asyncio.timeout(connect_timeout_s):
                await loop.create_connection(lambda: link, uri.host, uri.port, ssl=context)
                await link._opened
        except TimeoutError:
            refusal = dialogue.refusal()
            if isinstance(refusal, RefusedHandshake):
                raise link._lost(refusal) from None
            raise link._lost(TransportError(f"{dialogue.where}: no connection within {connect_timeout_s:g} s")) from None
        except (OSError, UnicodeError) as error:
            text = f"{dialogue.where}: no connection: {type(error).__name__}: {error}"
            raise link._lost(TransportError(text)) from error
        except TransportError as error:
            raise link._lost(error) from None
        except BaseException:
            link._lost(TransportError("abandoned"))
            raise
        return link

    @property
    def is_open(self) -> bool:
        return self._end is None

    @property
    def subprotocol(self) -> str | None:
        """The one that the server has chosen."""
        return self._dialogue.subprotocol

    @property
    def bytes_waiting(self) -> int:
        """Sent here and not taken by the other side yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def receive(self) -> str | bytes:
        """The next whole message, those that came before the end first. Raises LinkEnded. May be cancelled: nothing is lost."""
        while not self._messages:
            if self._end is not None:
                raise self._end
            assert self._waiter is None, "two tasks receive on one connection"
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def take_ready(self) -> str | bytes | None:
        """The next message where one is here already: to drain a batch without waiting."""
        return self._take() if self._messages else None

    def send(self, payload: str | bytes) -> None:
        """Written when this returns, unless the other side is slow. Never waits and never raises: a connection that has ended
        takes nothing, one that is full is cut, and `receive` says so."""
        if self._end is not None:
            return
        self._dialogue.send(payload)
        self._write()
        self._tell(SENT, payload)

    async def flush(self, timeout_s: float) -> bool:
        """Until the other side's network has taken everything; False where it has not, or is gone."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._end is None and self._writable is not None:
                    await asyncio.shield(self._writable)
        except TimeoutError:
            return False
        return self._end is None

    async def close(self, code: int = NORMAL) -> None:
        """With a closing handshake where the other side answers it in time. Never raises."""
        if self._transport is None or self._gone.done():
            return
        if self._end is None:
            self._dialogue.close(code)
            self._write()
            self._finish(LinkEnded(code, "closed here"))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(self._gone)
        except TimeoutError:
            pass
        finally:
            self._transport.abort()

    # Inside.

    def _take(self) -> str | bytes:
        message = self._messages.popleft()
        self._bytes_in -= len(message)
        if self._is_paused and len(self._messages) <= IN_MESSAGES_MAX // 2 and self._bytes_in <= IN_BYTES_MAX // 2:
            self._is_paused = False
            self._heard = self._loop.time()
            if self._transport is not None and not self._gone.done():
                self._transport.resume_reading()
        return message

    def _write(self) -> None:
        data = self._dialogue.take_out()
        transport = self._transport
        if not data or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(data) > self._out_bytes_max:
            self._cut(f"the other side has not taken {transport.get_write_buffer_size()} bytes")
            return
        transport.write(data)

    def _tell(self, what: str, data: str | bytes) -> None:
        if self._on_frame is no_frame:
            return
        raw = data.encode() if isinstance(data, str) else data
        self._on_frame(self._now(), what, raw if self._redactor is None else self._redactor.body(raw))

    def _cut(self, reason: str) -> None:
        """End it without a word: the other side does not listen."""
        self._finish(LinkEnded(ABNORMAL, reason))
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, end: TransportError) -> None:
        if self._end is not None:
            return
        self._end = end
        if self._timer is not None:
            self._timer.cancel()
        self._tell(CLOSED, str(end))
        self._wake()

    def _lost(self, error: TransportError) -> TransportError:
        """It never opened."""
        self._finish(error)
        if self._transport is not None:
            self._transport.abort()
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # it has been heard
        return error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _watch(self) -> None:
        """Silence, and pings of our own."""
        now = self._loop.time()
        if self._is_paused:
            self._heard = now  # it is this side that does not listen
        # The same sums as the deadlines below: by a rounding apart, the timer would come back at once, for ever.
        if now >= self._heard + self._silence_timeout_s:
            self._cut(f"nothing was heard for {self._silence_timeout_s:g} s")
            return
        due = self._heard + self._silence_timeout_s
        if self._ping_interval_s is not None:
            if now >= self._pinged + self._ping_interval_s:
                self._pinged = now
                self._dialogue.ping(b"tradingd")
                self._write()
                if self._end is not None:
                    return
            due = min(due, self._pinged + self._ping_interval_s)
        self._timer = self._loop.call_at(due, self._watch)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, and have their methods.
        self._transport = transport = cast(asyncio.Transport, transport)
        if self._end is not None:  # connect was given up
            transport.abort()
            return
        # Whatever is not written at once counts as slow: then uvloop, too, writes at once instead of behind the other callbacks.
        transport.set_write_buffer_limits(high=0)
        self._write()

    def data_received(self, data: bytes) -> None:
        dialogue = self._dialogue
        if self._end is not None:
            dialogue.receive(data)
            if dialogue.was_closed_there and self._transport is not None:
                self._transport.close()
            return
        self._heard = self._loop.time()
        messages = dialogue.receive(data)
        self._write()
        if not self._opened.done():
            if dialogue.is_connecting:
                return
            if not dialogue.has_opened:
                self._opened.set_exception(dialogue.refusal())
                return
            self._pinged = self._heard
            self._watch()
            self._opened.set_result(None)
        for message in messages:
            self._messages.append(message)
            self._bytes_in += len(message)
            self._tell(RECEIVED, message)
        if messages:
            self._wake()
        if not dialogue.is_open:
            self._finish(dialogue.ended())
            if self._transport is not None:
                self._transport.close()
                self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)
        elif not self._is_paused and (len(self._messages) > IN_MESSAGES_MAX or self._bytes_in > IN_BYTES_MAX):
            assert self._transport is not None
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False  # closes

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self.resume_writing()
        if self._end is not None:
            return
        self._dialogue.receive_end()
        if not self._opened.done():
            self._opened.set_exception(self._dialogue.refusal())
        else:
            end = self._dialogue.ended()
            if exc is not None:
                end = LinkEnded(ABNORMAL, f"the connection broke: {type(exc).__name__}: {exc}")
            self._finish(end)
