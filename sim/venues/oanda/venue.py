"""OANDA's v20 API as a simulated venue (sim/venues/protocol.py): paths, tokens, limits, and what happens on its own. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qs

from core.units import NS_PER_SECOND
from sim.venues.faults import Faults
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook
from sim.venues.oanda.calendar import next_day_end
from sim.venues.oanda.deeds import act
from sim.venues.oanda.engine import Engine
from sim.venues.oanda.faults import KNOWN, afterwards, instead, refusal
from sim.venues.oanda.pairs import DEFAULT_PAIRS, Pair
from sim.venues.oanda.reading import Refusal, answer
from sim.venues.oanda.streams import STREAMS_MAX, Streams
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

REQUESTS_PER_S = 120
CONNECTIONS_PER_S = 2
BODY_BYTES_MAX = 1 << 16
JSON_HEADERS = (("Content-Type", "application/json"),)
STREAM_HEADERS = (("Content-Type", "application/octet-stream"),)


class OandaVenue:
    """A SimVenue. `connections_per_s` 0: any number; more are cut before they are heard. `keeps_week` False: it never closes."""

    wire: Literal["http", "tcp"] = "http"

    def __init__(
        self,
        ts: int,
        *,
        seed: int = 0,
        faults: Mapping[int, int] | None = None,
        pairs: Iterable[Pair] = DEFAULT_PAIRS,
        requests_per_s: int = REQUESTS_PER_S,
        connections_per_s: int = CONNECTIONS_PER_S,
        tells_rest: bool = False,
        keeps_week: bool = True,
        by_second: bool = False,
    ) -> None:
        self.faults = Faults(KNOWN, seed, faults)
        self.engine = Engine(pairs, seed, tells_rest=tells_rest, by_second=by_second)
        self.streams = Streams(self.engine, self.faults)
        self._keeps_week = keeps_week
        self._requests_per_s = requests_per_s
        self._connections_per_s = connections_per_s
        self._requests: dict[str, deque[int]] = {}
        self._connects: deque[int] = deque()
        self._outgoing: list[Outgoing] = []
        self._day_end_ts = next_day_end(ts)
        self._follow_week(ts)
        self.engine.dealer.advance(ts)

    def add_account(self, ts: int, name: str, token: str, balance: int, *, hedging: bool = False) -> AccountBook:
        """`balance` in 10^-8 USD. Several accounts may share a token."""
        return self.engine.add_account(ts, name, token, balance, hedging=hedging)

    # SimVenue.

    def connected(self, ts: int, connection: int) -> None:
        while self._connects and self._connects[0] <= ts - NS_PER_SECOND:
            self._connects.popleft()
        if self._connections_per_s and len(self._connects) >= self._connections_per_s:
            self._outgoing.append(Outgoing(ts, connection, None))
            return
        self._connects.append(ts)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self.advance(ts)
        reply = self._http(ts, connection, request)
        self._tell(ts)
        headers = (*reply.headers, ("Date", text.http_date(ts)), ("RequestID", f"24{connection:016d}"))
        return HttpReply(
            status=reply.status,
            headers=headers,
            body=reply.body,
            delay_ns=reply.delay_ns,
            is_stream=reply.is_stream,
            bytes_max=reply.bytes_max,
            never=reply.never,
            closes=reply.closes,
        )

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        """Nothing of HTTP comes this way."""

    def disconnected(self, ts: int, connection: int) -> None:
        self.streams.close(connection)

    def next_ts(self) -> int | None:
        due = [self.engine.dealer.next_ts(), self._day_end_ts, self.streams.next_ts(), self.engine.exchange.next_expiry()]
        return min(ts for ts in due if ts is not None)

    def advance(self, ts: int) -> None:
        engine = self.engine
        while self._day_end_ts <= ts:
            self._end_day(self._day_end_ts)
        self._follow_week(ts)
        engine.exchange.expire(ts)
        engine.dealer.advance(ts)
        engine.flush(ts)
        engine.close_out(ts)
        self._tell(ts)
        self._outgoing += self.streams.advance(ts)

    def take(self) -> list[Outgoing]:
        taken, self._outgoing = self._outgoing, []
        return taken

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        """docs/VENUES-OANDA.md lists them."""
        self.advance(ts)
        if name == "cut":
            book = self.engine.books.get(str(arguments.get("account")))
            if book is None:
                raise ValueError("cut: which account?")
            for connection in self.streams.connections_of(book):
                self.streams.close(connection)
                self._outgoing.append(Outgoing(ts, connection, None))
            return
        act(self.engine, ts, name, arguments)
        self._tell(ts)

    def ledger(self) -> dict[str, Any]:
        return self.engine.ledger()

    # How.

    def _follow_week(self, ts: int) -> None:
        if self._keeps_week:
            self.engine.dealer.follow_week(ts)

    def _end_day(self, ts: int) -> None:
        engine = self.engine
        engine.exchange.end_of_day(ts)
        engine.flush(ts)
        engine.finance(ts)
        self._day_end_ts = next_day_end(ts)

    def _tell(self, ts: int) -> None:
        told, self.engine.told = self.engine.told, []
        self._outgoing += self.streams.tell(ts, told)

    def _http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        books = [book for book in self.engine.books.values() if book.token == token]
        if not books:
            return refusal(401, "Insufficient authorization to perform request.")
        if self._is_too_fast(ts, token):
            return refusal(429, "Rate limit exceeded", headers=(("Retry-After", "1"),))
        creates = request.method == "POST"
        changes = creates or request.method == "PUT"
        wrong = instead(self.faults, changes=changes, creates=creates)
        if wrong is not None:
            return wrong
        if len(request.body) > BODY_BYTES_MAX:
            return refusal(400, "The request is too large")
        parts = request.path.strip("/").split("/")
        if parts[-1] == "stream" and request.method == "GET":
            return self._open_stream(ts, connection, parts, parse_qs(request.query), books)
        try:
            body = json.loads(request.body) if request.body else None
        except ValueError:
            return refusal(400, "Unable to parse the request body as JSON")
        try:
            status, found = answer(self.engine, self.faults, ts, request.method, parts, parse_qs(request.query), body, books)
        except Refusal as refused:
            return refusal(refused.status, str(refused))
        reply = HttpReply(status=status, headers=JSON_HEADERS, body=json.dumps(found).encode())
        return afterwards(self.faults, reply, creates=creates) if changes else reply

    def _is_too_fast(self, ts: int, token: str) -> bool:
        lately = self._requests.setdefault(token, deque())
        while lately and lately[0] <= ts - NS_PER_SECOND:
            lately.popleft()
        if len(lately) >= self._requests_per_s:
            return True
        lately.append(ts)
        return False

    def _open_stream(
        self, ts: int, connection: int, parts: list[str], query: dict[str, list[str]], books: list[AccountBook]
    ) -> HttpReply:
        book = next((each for each in books if len(parts) == 5 and parts[:3] == ["v3", "accounts", each.name]), None)
        if book is None:
            return refusal(403, "The client is not authorized to open this stream")
        if self.streams.open_of(book.token) >= STREAMS_MAX:
            return refusal(429, f"No more than {STREAMS_MAX} streams are allowed")
        if parts[3] == "transactions":
            first = self.streams.open_transactions(ts, connection, book)
        elif parts[3] == "pricing":
            names = ",".join(query.get("instruments", [])).split(",")
            if not all(name in self.engine.exchange.listings for name in names):
                return refusal(400, "Invalid value specified for 'instruments'")
            first = self.streams.open_prices(ts, connection, book, names)
        else:
            return refusal(404, "There is no such stream")
        return HttpReply(headers=STREAM_HEADERS, body=first, is_stream=True)
