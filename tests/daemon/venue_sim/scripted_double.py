"""A SimVenue that does what its requests say, for tests of the shells."""

from __future__ import annotations

import json
from typing import Any, Literal

from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

MS = 1_000_000


class ScriptedDouble:
    """`/reply?{json}` answers with that HttpReply, `/ws` takes a WebSocket, `/stream` begins a chunked stream.

    Messages: "echo …" is sent back, "later N …" N ms later, "close N" closes with code N, "cut", "freeze". `log` has all.
    """

    def __init__(self, wire: Literal["http", "tcp"] = "http", ping_ns: int = 0) -> None:
        self.wire: Literal["http", "tcp"] = wire
        self.faults = Faults({1: "one", 2: "two"})
        self.log: list[Any] = []
        self.due_ts: int | None = None
        self._ping_ns = ping_ns
        self._out: list[Outgoing] = []

    def connected(self, ts: int, connection: int) -> None:
        self.log.append(("connected", connection))

    def disconnected(self, ts: int, connection: int) -> None:
        self.log.append(("disconnected", connection))

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self.log.append((request.method, request.path, request.body))
        if request.path == "/ws":
            return HttpReply(status=101, ping_ns=self._ping_ns, headers=(("x-venue", "double"),))
        if request.path == "/stream":
            for step in range(3):
                self._out.append(Outgoing(ts + (1 + step) * MS, connection, b"line %d\n" % step))
            self._out.append(Outgoing(ts + 9 * MS, connection, None, int(request.query or 0)))
            return HttpReply(is_stream=True, body=b"first\n")
        if request.path == "/boom":
            raise AssertionError("a bug of the venue")
        fields = json.loads(request.headers.get("x-reply", "{}"))
        body = fields.pop("body", f"{request.method} {request.path}?{request.query} {request.body.decode()}").encode()
        return HttpReply(body=body, headers=(("content-type", "text/plain"),), **fields)

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        self.log.append((connection, payload))
        text = payload.decode() if isinstance(payload, bytes) else payload
        word, _, rest = text.strip().partition(" ")
        answer: str | bytes = rest if isinstance(payload, str) else rest.encode()
        if word == "echo":
            self._out.append(Outgoing(ts, connection, answer))
        elif word == "later":
            delay, _, rest = rest.partition(" ")
            self._out.append(Outgoing(ts + int(delay) * MS, connection, rest if isinstance(payload, str) else rest.encode()))
        elif word == "close":
            self._out.append(Outgoing(ts, connection, None, int(rest)))
        elif word == "cut":
            self._out.append(Outgoing(ts, connection, None))
        elif word == "freeze":
            self._out.append(Outgoing(ts, connection, None, freezes=True))

    def next_ts(self) -> int | None:
        return self.due_ts

    def advance(self, ts: int) -> None:
        self.log.append("advance")
        self.due_ts = None

    def take(self) -> list[Outgoing]:
        taken, self._out = self._out, []
        return taken

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        if name != "say":
            raise ValueError(f"nothing is called {name}")
        self._out.append(Outgoing(ts, arguments["connection"], arguments["text"]))

    def ledger(self) -> dict[str, Any]:
        return {"orders": [], "fills": [], "positions": {}, "balances": {}}
