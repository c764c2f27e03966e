"""How a WebSocket connection ends: refused before it began, or over."""

from __future__ import annotations

from core.errors import TransportError

# Close codes (RFC 6455, 7.4.1) that this side says or makes up; the others are the venue's.
NORMAL = 1000
ABNORMAL = 1006  # no closing handshake: a cut, or silence
INVALID_DATA = 1007
POLICY = 1008


class RefusedHandshake(TransportError):
    """The server answered the opening request, and not with a connection. `body` is its beginning; header names in lower case."""

    def __init__(self, where: str, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        said = body[:200].decode("utf-8", "backslashreplace").strip()
        super().__init__(f"{where} refuses the connection with status {status}{f': {said!r}' if said else ''}")


class LinkEnded(TransportError):
    """The connection is over. `code` is what the other side closed it with, or what broke it (RFC 6455, 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"the connection has ended: {code}{f' {reason}' if reason else ''}")
