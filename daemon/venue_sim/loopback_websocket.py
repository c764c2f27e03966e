"""The server's side of one WebSocket: bytes in, whole messages out; messages in, bytes out. No sockets.

Frames and the closing handshake are the `websockets` package's, whose protocol does no I/O.
"""

from __future__ import annotations

import logging

from websockets.frames import CONT, DATA_OPCODES, PONG, TEXT, Frame
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from sim.venues.protocol import HttpReply, HttpRequest

MESSAGE_BYTES_MAX = 1 << 22
INVALID_DATA = 1007

_SILENT = logging.Logger("daemon.venue_sim.loopback", logging.ERROR)
_SILENT.addHandler(logging.NullHandler())


class WebSocketSide:
    """`request` is the opening request, which `reply` takes. `is_open` False at once: it was none that could be taken."""

    def __init__(self, request: HttpRequest, reply: HttpReply) -> None:
        self._protocol = ServerProtocol(max_size=MESSAGE_BYTES_MAX, logger=_SILENT)
        self._parts = bytearray()
        self._is_text = False
        self.pings_unanswered = 0
        target = f"{request.path}?{request.query}" if request.query else request.path
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
        self._protocol.receive_data("\r\n".join(lines).encode("latin-1"))
        for event in self._protocol.events_received():
            assert isinstance(event, Request)
            response = self._protocol.accept(event)
            # The package's own clock has no place in virtual time.
            del response.headers["Date"]
            for name, value in reply.headers:
                response.headers[name] = value
            self._protocol.send_response(response)

    @property
    def is_open(self) -> bool:
        return self._protocol.state is OPEN

    def receive(self, data: bytes) -> list[str | bytes]:
        """The messages that are whole with it. Pings are answered."""
        self._protocol.receive_data(data)
        found = (self._message(event) for event in self._protocol.events_received() if isinstance(event, Frame))
        return [message for message in found if message is not None]

    def _message(self, frame: Frame) -> str | bytes | None:
        if frame.opcode not in DATA_OPCODES:
            if frame.opcode is PONG:
                self.pings_unanswered = 0
            return None
        if frame.opcode is not CONT:
            self._is_text = frame.opcode is TEXT
            self._parts.clear()
        self._parts += frame.data
        if not frame.fin:
            return None
        if not self._is_text:
            return bytes(self._parts)
        try:
            return self._parts.decode()
        except UnicodeDecodeError:
            self._protocol.fail(INVALID_DATA, "text that is not UTF-8")
            return None

    def send(self, payload: str | bytes) -> None:
        if not self.is_open:
            return
        if isinstance(payload, str):
            self._protocol.send_text(payload.encode())
        else:
            self._protocol.send_binary(payload)

    def ping(self) -> None:
        if self.is_open:
            self.pings_unanswered += 1
            self._protocol.send_ping(b"")

    def close(self, code: int) -> None:
        if self.is_open:
            self._protocol.send_close(code)

    def out(self) -> tuple[bytes, bool]:
        """What has to be written, and whether the connection ends behind it."""
        parts = self._protocol.data_to_send()
        return b"".join(parts), b"" in parts
