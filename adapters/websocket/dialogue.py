"""One WebSocket conversation, client side: bytes in, whole messages and bytes to send out. Pure; sockets are link.py's.

Frames, masks and the closing handshake are the `websockets` package's, whose protocol does no I/O; here messages are put together
from their fragments, text is text, and what came instead of a connection is kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import CONT, DATA_OPCODES, PONG, TEXT, Frame
from websockets.http11 import Request
from websockets.protocol import CLOSED, CONNECTING, OPEN
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from adapters.http.http1 import is_header, is_target
from adapters.websocket.errors import ABNORMAL, INVALID_DATA, LinkEnded, RefusedHandshake
from core.errors import ConfigError, TransportError

HEAD_BYTES_MAX = 1 << 16  # of a refusal: what of it is kept
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")

# The package writes every frame to its logger where that listens at DEBUG: logins would be in it.
_SILENT = logging.Logger("adapters.websocket", logging.ERROR)
_SILENT.addHandler(logging.NullHandler())


def read_url(url: str) -> WebSocketURI:
    """Raises ConfigError for what is no ws:// or wss:// URL."""
    try:
        uri = parse_uri(url)
        port = uri.port
    except (InvalidURI, ValueError):
        uri, port = None, 0
    if uri is None or not 0 < port < 65_536 or uri.user_info is not None or not is_target(uri.resource_name):
        raise ConfigError(f"{url.partition('?')[0]!r} is no URL of a WebSocket: write for example wss://stream.example.com/ws")
    return uri


class Dialogue:
    """`where` is what messages call the server: no path and no query, for either may hold a key."""

    def __init__(self, url: str, *, headers: Sequence[tuple[str, str]], subprotocol: str | None, message_bytes_max: int) -> None:
        self.uri = uri = read_url(url)
        self.where = f"{'wss' if uri.secure else 'ws'}://{uri.host}:{uri.port}"
        self.pongs = 0  # answers to our own pings
        self._protocol = ClientProtocol(
            uri,
            subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
            max_size=message_bytes_max,
            logger=_SILENT,
        )
        self._protocol.send_request(self._opening(headers))
        self._opening_answer = bytearray()
        self._is_text = False
        self._parts = bytearray()
        self._failure: LinkEnded | None = None

    def _opening(self, headers: Sequence[tuple[str, str]]) -> Request:
        request = self._protocol.connect()
        for name, value in headers:
            if not is_header(name, value):
                raise TransportError(f"header {name[:80]!r} cannot be sent by HTTP")  # its value may be a secret
            request.headers[name] = value
        return request

    @property
    def is_open(self) -> bool:
        return self._protocol.state is OPEN and self._failure is None

    @property
    def is_connecting(self) -> bool:
        return self._protocol.state is CONNECTING and self._protocol.handshake_exc is None

    @property
    def has_opened(self) -> bool:
        """Whether there was a connection, be it over by now."""
        return self._protocol.state is not CONNECTING and self._protocol.handshake_exc is None

    @property
    def was_closed_there(self) -> bool:
        return self._protocol.close_rcvd is not None

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    def refusal(self) -> TransportError:
        """Why there is no connection, as far as the server has said it."""
        head, _, body = bytes(self._opening_answer).partition(b"\r\n\r\n")
        status = _STATUS_LINE.match(head)
        if status is None or status[1] == b"101":
            why = self._protocol.handshake_exc
            return TransportError(f"{self.where}: no WebSocket handshake{f': {why}' if why else ''}")
        headers: dict[str, str] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return RefusedHandshake(self.where, int(status[1]), headers, body)

    def ended(self) -> LinkEnded:
        """How the connection ended; to be asked once it has."""
        if self._failure is not None:
            return self._failure
        protocol = self._protocol
        broken = protocol.parser_exc
        if broken is not None and not isinstance(broken, EOFError):
            close = protocol.close_sent
            return LinkEnded(close.code if close is not None else ABNORMAL, f"{broken}")
        if protocol.close_rcvd is not None:
            return LinkEnded(int(protocol.close_rcvd.code), protocol.close_rcvd.reason)
        return LinkEnded(ABNORMAL, "it was cut")

    # What comes in.

    def receive(self, data: bytes) -> list[str | bytes]:
        """Messages that are whole by now. Breaches of the protocol end the connection: see `ended`."""
        protocol = self._protocol
        if protocol.state is CLOSED or self._failure is not None:
            return []
        if protocol.state is CONNECTING:
            self._opening_answer += data[: HEAD_BYTES_MAX - len(self._opening_answer)]
        protocol.receive_data(data)
        messages: list[str | bytes] = []
        for event in protocol.events_received():
            # The other kind is the answer to the opening request, and the package has judged it.
            if isinstance(event, Frame) and not self._take(event, messages):
                break
        return messages

    def receive_end(self) -> None:
        """The other side has closed its half, or the connection is gone."""
        self._protocol.receive_eof()

    def _take(self, frame: Frame, messages: list[str | bytes]) -> bool:
        """False where it ends the conversation."""
        if frame.opcode is PONG:
            self.pongs += 1
        if frame.opcode not in DATA_OPCODES:
            return True  # the package has answered it
        if frame.opcode is not CONT:
            self._is_text = frame.opcode is TEXT
        if not frame.fin:
            self._parts += frame.data
            return True
        payload = bytes(self._parts + frame.data) if frame.opcode is CONT else bytes(frame.data)
        self._parts.clear()
        if not self._is_text:
            messages.append(payload)
            return True
        try:
            messages.append(payload.decode("utf-8"))
        except UnicodeDecodeError as error:
            self.fail(INVALID_DATA, f"a text that is no UTF-8 at byte {error.start}")
            return False
        return True

    # What goes out.

    def take_out(self) -> bytes:
        """What has to be written, in the order it was made."""
        return b"".join(self._protocol.data_to_send())

    def send(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            self._protocol.send_text(payload.encode("utf-8"))
        else:
            self._protocol.send_binary(payload)

    def ping(self, payload: bytes) -> None:
        self._protocol.send_ping(payload)

    def close(self, code: int, reason: str = "") -> None:
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)

    def fail(self, code: int, reason: str) -> None:
        """End it from this side, whatever the other one says from now on."""
        if self._failure is None:
            self._failure = LinkEnded(code, reason)
        if code != ABNORMAL:
            self.close(code, "")
