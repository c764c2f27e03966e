"""What stands before every endpoint: Host, Origin, token, rates, sizes. Requests and WebSockets pass it alike.

Nothing of a request that is refused here is looked at further, and nothing of it is written anywhere.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

import anyio

from core.errors import RefusedError
from core.risk_rates import SlidingWindow
from core.units import NS_PER_SECOND
from daemon.api.metrics import ApiMetrics
from daemon.api.settings import ApiSettings
from daemon.api.tokens import Caller, Tokens

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

HEADERS_MAX = 64
PATH_BYTES_MAX = 512
QUERY_BYTES_MAX = 512
JSON_DEPTH_MAX = 8
OPEN_PER_SECOND_MAX = 20  # requests without a token for what is open to all, of everybody together
REQUEST_SECONDS_MAX = 8.0  # from the whole request to its answer
SUBPROTOCOL = "tradingd"
TOKEN_SUBPROTOCOL = "bearer."
# Stopping is never held up by what else a client asks for.
URGENT = frozenset(("/kill", "/halt", "/reduce"))
OPEN_TO_ALL = frozenset(("/docs", "/openapi.json"))  # they say nothing that the documentation does not

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_JSON_TYPE = re.compile(rb"application/json(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_PLAIN_HEADERS: Headers = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Refusal(RefusedError):
    """Why a request goes no further; `kind` is what it is counted as."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind


class Gate:
    def __init__(self, app: App, settings: ApiSettings, tokens: Tokens, metrics: ApiMetrics) -> None:
        self._app = app
        self._tokens = tokens
        self._metrics = metrics
        self._body_bytes_max = settings.body_bytes_max
        self._origins = frozenset(origin.encode() for origin in settings.origins)
        hosts = [f"{name}:{settings.port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        self._hosts = frozenset(host.encode() for host in hosts)
        self._host_names = frozenset(name.lower().encode() for name in settings.host_names)
        self._open = SlidingWindow(OPEN_PER_SECOND_MAX, NS_PER_SECOND)
        windows = {client.client_id: settings.requests_max for client in settings.clients}
        self._asked = {key: SlidingWindow(most, NS_PER_SECOND) for key, most in windows.items()}
        self._urgent = {key: SlidingWindow(most, NS_PER_SECOND) for key, most in windows.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            origin = self._judge(scope)
        except Refusal as refusal:
            self._metrics.refused(refusal.kind)
            await _refuse(scope, send, refusal)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, receive, send, origin)

    # Who asks, and from where.

    def _judge(self, scope: Scope) -> bytes | None:
        """The Origin, where there is a good one. Raises Refusal; leaves the caller in the scope's state."""
        headers: Headers = scope["headers"]
        if len(headers) > HEADERS_MAX or len(scope["raw_path"]) > PATH_BYTES_MAX or len(scope["query_string"]) > QUERY_BYTES_MAX:
            raise Refusal(400, "size", "too many headers, or an address that is too long")
        host = _only(headers, b"host")
        if host is None or not self._is_our_name(host):
            raise Refusal(403, "host", "the Host header is not a name of this API")
        origins = _all(headers, b"origin")
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            raise Refusal(403, "origin", "requests from this Origin are not allowed")
        origin = origins[0] if origins else None
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and origin is not None:
            return origin  # a browser asks before it sends the token
        caller = self._caller(scope, headers)
        if caller is None:
            if scope["type"] == "http" and scope["path"] in OPEN_TO_ALL:
                self._count_open()
                return origin
            raise Refusal(401, "token", "a bearer token of this API is needed")
        windows = self._urgent if scope["path"] in URGENT else self._asked
        window, now = windows[caller.client_id], time.monotonic_ns()
        if not window.has_room(now):
            raise Refusal(429, "rate", f"at most {window.events_max} requests in a second")
        window.add(now)
        scope.setdefault("state", {})["caller"] = caller
        return origin

    def _is_our_name(self, host: bytes) -> bool:
        host = host.lower()
        return host in self._hosts or re.sub(rb":\d{1,5}\Z", b"", host) in self._host_names

    def _caller(self, scope: Scope, headers: Headers) -> Caller | None:
        given = _only(headers, b"authorization")
        if given is not None:
            scheme, _, token = given.decode("latin-1").partition(" ")
            return self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        if scope["type"] == "websocket":
            # A browser cannot give a WebSocket headers, only subprotocols.
            for offered in scope.get("subprotocols", ()):
                if offered.startswith(TOKEN_SUBPROTOCOL):
                    return self._tokens.find(offered.removeprefix(TOKEN_SUBPROTOCOL))
        return None

    def _count_open(self) -> None:
        now = time.monotonic_ns()
        if not self._open.has_room(now):
            raise Refusal(429, "rate", "too many requests without a token")
        self._open.add(now)

    # One request.

    async def _serve(self, scope: Scope, receive: Receive, send: Send, origin: bytes | None) -> None:
        status = 0
        extra = [*_PLAIN_HEADERS, *_cross_origin(origin)]

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        with anyio.move_on_after(REQUEST_SECONDS_MAX) as bound:
            try:
                if scope["method"] == "OPTIONS" and origin is not None:
                    await _answer(send_on, 204, b"")
                else:
                    body = await self._body(scope, receive)
                    await self._app(scope, _replay(body, receive), send_on)
            except Refusal as refusal:
                self._metrics.refused(refusal.kind)
                await _refuse(scope, send_on, refusal)
        if bound.cancelled_caught and not status:
            await _refuse(scope, send_on, Refusal(503, "late", "no answer in time; an order's outcome is unknown"))
        self._metrics.answered(_endpoint(scope), status)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        headers: Headers = scope["headers"]
        length = _only(headers, b"content-length")
        if length is not None and (not length.isdigit() or int(length[:12]) > self._body_bytes_max):
            raise self._too_long()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "size", "the request ended too early")
            body += message.get("body", b"")
            if len(body) > self._body_bytes_max:
                raise self._too_long()
            if not message.get("more_body", False):
                break
        if body:
            kind = _only(headers, b"content-type")
            if kind is None or _JSON_TYPE.fullmatch(kind) is None:
                raise Refusal(415, "type", "a body must be application/json")
            if _depth(bytes(body)) > JSON_DEPTH_MAX:
                raise Refusal(400, "depth", f"JSON may be nested {JSON_DEPTH_MAX} deep")
        return bytes(body)

    def _too_long(self) -> Refusal:
        return Refusal(413, "size", f"a body may have {self._body_bytes_max} bytes")


def _all(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _only(headers: Headers, name: bytes) -> bytes | None:
    """The header's value where it is there once: twice it means nothing."""
    found = _all(headers, name)
    return found[0].strip() if len(found) == 1 else None


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then whatever comes."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _cross_origin(origin: bytes | None) -> Iterable[tuple[bytes, bytes]]:
    """Only what a page of an allowed origin needs; nobody else is told anything."""
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-allow-methods", b"GET, POST"),
        (b"vary", b"origin"),
    )


def _endpoint(scope: Scope) -> str:
    """The route that answered, as it stands in the documentation: a label that nobody outside can make new values of."""
    return str(getattr(scope.get("route"), "path", "other"))


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    body = json.dumps({"error": str(refusal)}).encode()
    if scope["type"] == "http":
        await _answer(send, refusal.status, body)
    elif "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"application/json")]
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1008})
