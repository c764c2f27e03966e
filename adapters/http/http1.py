"""HTTP/1.1 as a venue's client needs it: one request's bytes out, one answer's bytes in, strict about both. Pure.

Deliberately small: no pipelining, no upgrades, no redirects, no trailers kept. What is ambiguous is refused, because an answer
read in two ways is how one request's answer becomes another's: two lengths, a length beside chunks, a folded header, a bare line
feed. tests/adapters/http/test_http1.py holds it against h11.
"""

from __future__ import annotations

import re

import msgspec

from adapters.http.content import ACCEPT_ENCODING
from adapters.http.request import Wire
from core.errors import TransportError, VenueProtocolError

HEAD_BYTES_MAX = 1 << 16
INTERIM_ANSWERS_MAX = 8
CHUNK_LINE_BYTES_MAX = 256

_METHOD = re.compile(r"[A-Z]{1,16}\Z")
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}\Z")
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?\Z|\Z")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00]*?)[ \t]*\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\Z")


class RawAnswer(msgspec.Struct, frozen=True):
    """Header names in lower case; of a header that comes more than once the values are joined by commas."""

    status: int
    headers: dict[str, str]
    body: bytes


def is_target(text: str) -> bool:
    """Whether HTTP can say it: a path and a query, nothing in it that would begin another line."""
    return _TARGET.match(text) is not None


def is_header(name: str, value: str) -> bool:
    return _NAME.match(name) is not None and _VALUE.match(value) is not None


def request_bytes(wire: Wire, host: str) -> bytes:
    """The whole request in one piece. Raises TransportError for one that HTTP has no way to say; nothing has left then."""
    if not (_METHOD.match(wire.method) and is_target(wire.target)):
        raise TransportError(f"{wire.method[:16]!r} {wire.target[:80]!r} cannot be sent by HTTP")
    lines = [
        f"{wire.method} {wire.target} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        f"Accept-Encoding: {ACCEPT_ENCODING}",
    ]
    for name, value in wire.headers:
        if not is_header(name, value):
            raise TransportError(f"header {name[:80]!r} cannot be sent by HTTP")  # its value may be a secret
        lines.append(f"{name}: {value}")
    if wire.body or wire.method not in ("GET", "DELETE"):
        lines.append(f"Content-Length: {len(wire.body)}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + wire.body


class AnswerReader:
    """Bytes of one answer as they come. `answer` is there when it is whole; each refusal is a VenueProtocolError."""

    def __init__(self, body_bytes_max: int) -> None:
        self.answer: RawAnswer | None = None
        self.has_surplus = False  # something came behind it
        self.may_stay_open = False
        self.has_head = False
        self._body_bytes_max = body_bytes_max
        self._buffer = bytearray()
        self._interim = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._left: int | None = None  # of a body with a length
        self._is_chunked = False
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        assert self.answer is None
        self._buffer += data
        if not self.has_head and not self._read_head():
            return
        if self._is_chunked:
            self._read_chunks()
        elif self._left is None:
            # It ends with the connection, and only then is it known to be whole.
            self._limit(len(self._buffer))
        elif len(self._buffer) >= self._left:
            self._finish(bytes(self._buffer[: self._left]), self._left)

    def end(self) -> None:
        """The connection has been closed by the other side. Raises VenueProtocolError where that cuts the answer."""
        if self.has_head and not self._is_chunked and self._left is None:
            self._finish(bytes(self._buffer), len(self._buffer))
            return
        what = f"after {len(self._buffer)} bytes of its head" if not self.has_head else f"in the body of status {self._status}"
        raise VenueProtocolError(f"the connection was closed {what}")

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
            if end < 0:
                if len(self._buffer) >= HEAD_BYTES_MAX:
                    raise VenueProtocolError(f"an answer's head above the limit of {HEAD_BYTES_MAX} bytes")
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            is_final = self._parse_head(head)
            if is_final:
                self.has_head = True
                return True
            self._interim += 1
            if self._interim > INTERIM_ANSWERS_MAX:
                raise VenueProtocolError(f"more than {INTERIM_ANSWERS_MAX} interim answers")

    def _parse_head(self, head: bytes) -> bool:
        """False for an interim answer."""
        first, *lines = head.split(b"\r\n")
        match = _STATUS_LINE.match(first)
        if match is None:
            raise VenueProtocolError(f"not an HTTP answer: {first[:80]!r}")
        self._status = int(match[2])
        headers: dict[str, str] = {}
        for line in lines:
            header = _HEADER.match(line)
            if header is None:
                raise VenueProtocolError(f"not an HTTP header: {line[:80]!r}")
            name, value = header[1].decode("ascii").lower(), header[2].decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if self._status == 101:
            raise VenueProtocolError("an upgrade that nobody asked for")
        if self._status < 200:
            return False
        self._headers = headers
        tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
        self.may_stay_open = match[1] == b"1" and "close" not in tokens
        self._frame(headers)
        return True

    def _frame(self, headers: dict[str, str]) -> None:
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if self._status in (204, 304):
            self._left = 0
        elif coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise VenueProtocolError(f"an answer with transfer coding {coding[:40]!r} and length {(length or '')[:40]!r}")
            self._is_chunked = True
        elif length is not None:
            # The same length twice is one length.
            values = {value.strip() for value in length.split(",")}
            (value,) = values if len(values) == 1 else ("",)
            if not (value.isascii() and value.isdecimal() and len(value) <= 15):
                raise VenueProtocolError(f"an answer of length {length[:40]!r}")
            self._left = int(value)
            self._limit(self._left)
        else:
            self.may_stay_open = False

    def _read_chunks(self) -> None:
        while True:
            line_end = self._buffer.find(b"\r\n", 0, CHUNK_LINE_BYTES_MAX)
            if line_end < 0:
                if len(self._buffer) >= CHUNK_LINE_BYTES_MAX:
                    raise VenueProtocolError("a chunk without a size")
                return
            match = _CHUNK.match(bytes(self._buffer[:line_end]))
            if match is None:
                raise VenueProtocolError(f"not the size of a chunk: {bytes(self._buffer[:line_end])[:40]!r}")
            size, start = int(match[1], 16), line_end + 2
            if size == 0:
                self._read_trailers(start)
                return
            self._limit(len(self._body) + size)
            if len(self._buffer) < start + size + 2:
                return
            if self._buffer[start + size : start + size + 2] != b"\r\n":
                raise VenueProtocolError("a chunk longer than its size")
            self._body += self._buffer[start : start + size]
            del self._buffer[: start + size + 2]

    def _read_trailers(self, at: int) -> None:
        """Lines behind the last chunk up to an empty one; they say nothing that is used."""
        while True:
            line_end = self._buffer.find(b"\r\n", at)
            if line_end < 0:
                if len(self._buffer) - at >= HEAD_BYTES_MAX:
                    raise VenueProtocolError(f"trailers above the limit of {HEAD_BYTES_MAX} bytes")
                return
            if line_end == at:
                self._finish(bytes(self._body), at + 2)
                return
            if _HEADER.match(bytes(self._buffer[at:line_end])) is None or line_end >= HEAD_BYTES_MAX:
                raise VenueProtocolError("trailers that cannot be")
            at = line_end + 2

    def _finish(self, body: bytes, consumed: int) -> None:
        self.has_surplus = len(self._buffer) > consumed
        self.answer = RawAnswer(self._status, self._headers, body)

    def _limit(self, size: int) -> None:
        if size > self._body_bytes_max:
            raise VenueProtocolError(f"an answer above the limit of {self._body_bytes_max} bytes")
