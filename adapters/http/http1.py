"""HTTP/1.1 as a venue's client needs it: one request's bytes out, one answer's bytes in, strict about both. Pure.

Deliberately small: no pipelining, no upgrades, no redirects, no trailers kept. What is ambiguous is refused, because an answer
read in two ways is how one request's answer becomes another's: two lengths, a length beside chunks, a folded header, a bare line
feed. tests/adapters/http/test_http1.py holds it against h11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from adapters.http.content import ACCEPT_ENCODING
from adapters.http.request import Wire
from core.errors import TransportError, VenueProtocolError

HEAD_BYTES_MAX = 1 << 16
INTERIM_ANSWERS_MAX = 8
CHUNK_LINE_BYTES_MAX = 256

_WITHOUT_BODY = frozenset({"GET", "DELETE", "HEAD"})
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


def request_bytes(wire: Wire, host: str, *, accept_encoding: str = ACCEPT_ENCODING) -> bytes:
    """The whole request in one piece, with what every request says. Raises TransportError as `serialized` does."""
    fixed = (f"Host: {host}", "Accept: application/json", f"Accept-Encoding: {accept_encoding}")
    return serialized(wire.method, wire.target, wire.headers, wire.body, fixed=fixed)


def serialized(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, *, fixed: tuple[str, ...] = ()
) -> bytes:
    """A request in one piece, its length added; `fixed` are lines of ours in front of `headers`.

    Raises TransportError for one that HTTP has no way to say; nothing has left then.
    """
    if not (_METHOD.match(method) and is_target(target)):
        raise TransportError(f"{method[:16]!r} {target[:80]!r} cannot be sent by HTTP")
    lines = [f"{method} {target} HTTP/1.1", *fixed]
    for name, value in headers:
        if not is_header(name, value):
            raise TransportError(f"header {name[:80]!r} cannot be sent by HTTP")  # its value may be a secret
        lines.append(f"{name}: {value}")
    if body or method not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


class AnswerReader:
    """Bytes of one answer as they come. `answer` is there when it is whole; each refusal is a VenueProtocolError.

    `is_head`: of a request with the method HEAD, whose answer has a length and no body. What has come of a body that has no end
    is to be had by `take_body`; the bound is then one on what was not taken.
    """

    def __init__(self, body_bytes_max: int, *, is_head: bool = False) -> None:
        self.answer: RawAnswer | None = None
        self.has_surplus = False  # something came behind it
        self.may_stay_open = False
        self.has_head = False
        self._body_bytes_max = body_bytes_max
        self._buffer = bytearray()
        self._interim = 0
        self._is_head = is_head
        self.status = 0
        self.headers: dict[str, str] = {}
        self._left: int | None = None  # of a body with a length
        self._is_chunked = False
        self._chunk_left = 0
        self._is_between = True  # chunks: the next line says a size
        self._body = bytearray()

    def is_whole(self) -> bool:
        return self.answer is not None

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

    def take_body(self) -> bytes:
        """What has come of the body since the last time, where its end is not known beforehand; else b"" until it is whole."""
        if self.answer is not None:
            body = self.answer.body
            self.answer = RawAnswer(self.status, self.headers, b"")
            return body
        source = self._body if self._is_chunked else self._buffer if self.has_head and self._left is None else b""
        taken = bytes(source)
        if isinstance(source, bytearray):
            source.clear()
        return taken

    def end(self) -> None:
        """The connection has been closed by the other side. Raises VenueProtocolError where that cuts the answer."""
        if self.has_head and not self._is_chunked and self._left is None:
            self._finish(bytes(self._buffer), len(self._buffer))
            return
        what = f"after {len(self._buffer)} bytes of its head" if not self.has_head else f"in the body of status {self.status}"
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
        self.status = int(match[2])
        headers: dict[str, str] = {}
        for line in lines:
            header = _HEADER.match(line)
            if header is None:
                raise VenueProtocolError(f"not an HTTP header: {line[:80]!r}")
            name, value = header[1].decode("ascii").lower(), header[2].decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if self.status == 101:
            raise VenueProtocolError("an upgrade that nobody asked for")
        if self.status < 200:
            return False
        self.headers = headers
        tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
        self.may_stay_open = match[1] == b"1" and "close" not in tokens
        self._frame(headers)
        return True

    def _frame(self, headers: dict[str, str]) -> None:
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if self.status in (204, 304) or self._is_head:
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
        while self._read_chunk():
            pass

    def _read_chunk(self) -> bool:
        """A size, or what is there of the chunk behind it. False where more has to come, or the last one was read."""
        buffer = self._buffer
        if not self._is_between:
            part = buffer[: self._chunk_left]
            self._body += part
            self._chunk_left -= len(part)
            del buffer[: len(part)]
            if self._chunk_left or len(buffer) < 2:
                return False
            if buffer[:2] != b"\r\n":
                raise VenueProtocolError("a chunk longer than its size")
            del buffer[:2]
            self._is_between = True
        line_end = buffer.find(b"\r\n", 0, CHUNK_LINE_BYTES_MAX)
        if line_end < 0:
            if len(buffer) >= CHUNK_LINE_BYTES_MAX:
                raise VenueProtocolError("a chunk without a size")
            return False
        match = _CHUNK.match(bytes(buffer[:line_end]))
        if match is None:
            raise VenueProtocolError(f"not the size of a chunk: {bytes(buffer[:line_end])[:40]!r}")
        size = int(match[1], 16)
        if size == 0:
            self._read_trailers(line_end + 2)
            return False
        self._limit(len(self._body) + size)
        del buffer[: line_end + 2]
        self._chunk_left, self._is_between = size, False
        return True

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
        self.answer = RawAnswer(self.status, self.headers, body)

    def _limit(self, size: int) -> None:
        if size > self._body_bytes_max:
            raise VenueProtocolError(f"an answer above the limit of {self._body_bytes_max} bytes")
