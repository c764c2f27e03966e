"""HTTP/1.1 for the control socket: bytes in, one request out; a reply in, bytes out. No socket in here.

One request for each connection, a body of JSON or none. Small on purpose: every limit has a name, and anything else is refused.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from core.errors import VenueProtocolError

HEAD_BYTES_MAX = 8_192
BODY_BYTES_MAX = 65_536

QUERY_FIELDS_MAX = 8
STREAM_INTERVAL_MS_MAX = 60_000  # between two pieces of market data, as a stream may ask for it

# Of an address every printable character but those that HTTP itself gives a meaning.
_REQUEST_LINE = re.compile(rb"(GET|POST) (/[!$-\x3e@-~]{0,400})(?:\?([!$-~]{0,400}))? HTTP/1\.[01]\Z")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class BadRequestError(VenueProtocolError):
    """What came in is no request that is answered here; `status` says how to tell."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    body: dict[str, Any]
    uid: int = -1  # of the process that asked; -1: not known
    query: dict[str, str] = {}


class RequestParser:
    """Feed it what arrives; it gives the request once that is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Request | None:
        """The request, or None while more is needed. Raises BadRequestError."""
        buffer = self._buffer
        buffer += data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > HEAD_BYTES_MAX:
                raise BadRequestError(413, f"the head of a request may have {HEAD_BYTES_MAX} bytes")
            return None
        if end > HEAD_BYTES_MAX:
            raise BadRequestError(413, f"the head of a request may have {HEAD_BYTES_MAX} bytes")
        first, *lines = bytes(buffer[:end]).split(b"\r\n")
        length = _content_length(lines)
        if len(buffer) < end + 4 + length:
            return None
        return _request(first, bytes(buffer[end + 4 : end + 4 + length]))


def _content_length(lines: list[bytes]) -> int:
    found = None
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise BadRequestError(400, "a header line has no colon")
        key = name.strip().lower()
        if key == b"transfer-encoding":
            raise BadRequestError(400, "a body must come with its Content-Length")
        if key == b"content-length":
            text = value.strip()
            if found is not None or not text.isdigit() or len(text) > 9:
                raise BadRequestError(400, "Content-Length must be one number")
            found = int(text)
    length = found or 0
    if length > BODY_BYTES_MAX:
        raise BadRequestError(413, f"a body may have {BODY_BYTES_MAX} bytes")
    return length


def _request(first: bytes, body: bytes) -> Request:
    match = _REQUEST_LINE.match(first)
    if match is None:
        raise BadRequestError(400, "this is no GET or POST of HTTP/1.1")
    try:
        path = unquote(match[2].decode("ascii"), errors="strict")
        query = _query(match[3] or b"")
    except ValueError:
        raise BadRequestError(400, "the address is not one that can be read") from None
    try:
        content = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(400, f"the body is no JSON object: {error}") from None
    return Request(match[1].decode("ascii"), path, content, query=query)


def _query(raw: bytes) -> dict[str, str]:
    """Raises ValueError for what is no query, or names a field twice."""
    fields = parse_qsl(
        raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict", max_num_fields=QUERY_FIELDS_MAX
    )
    query = dict(fields)
    if len(query) != len(fields):
        raise ValueError("a field is named twice")
    return query


# Before the lines of a stream, which end with the connection.
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"


def reply_bytes(status: int, content: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(content)
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode("ascii") + body
