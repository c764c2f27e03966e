"""A simulated Alpaca behind sim/venues/protocol.py: keys, limits, faults, what happens by itself, and the ledger. Pure.

`act` knows: trade (symbol, side, qty: somebody at the market), limit (symbol, side, price, qty), fair (symbol, price), quiet
(is_quiet, withdraws), manual_order (account, and the members of an order), manual_cancel (account, id), hit (account, id, qty),
bust (account), correct (account, price), overfill (account, id, qty, price), halt and resume (symbol), luld (symbol), split
(symbol, numerator, denominator), dividend (symbol, cash of a share), restart (loses: open orders are forgotten), maintain
(seconds), revoke and restore (account), cut (which: trades, data, both), withdraw and deposit (account, dollars), interest
(account, cents), journal (account, to, dollars), undo (account: its last movement of money), night (fees are taken).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import msgspec

from core.enums import Side
from core.units import NS_PER_SECOND
from sim.venues.alpaca.deeds import Deeds
from sim.venues.alpaca.engine import Engine
from sim.venues.alpaca.faults import KNOWN, ON_CHANGES
from sim.venues.alpaca.rest import Rest, encode
from sim.venues.alpaca.settings import AlpacaSimSettings
from sim.venues.alpaca.streams import Streams
from sim.venues.alpaca.tickets import ApiError
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

MINUTE_NS = 60 * NS_PER_SECOND
TRADE_STREAM = "/stream"
DATA_STREAMS = ("/v2/iex", "/v2/sip")
JSON_HEADER = ("Content-Type", "application/json")
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
HTML_HEADERS = (("Content-Type", "text/html"),)
SLOW_NS = 2 * NS_PER_SECOND
KEY_HEADER, SECRET_HEADER = "apca-api-key-id", "apca-api-secret-key"


class AlpacaVenue:
    """`ts`: ns UTC, where its time begins."""

    def __init__(self, settings: AlpacaSimSettings, *, seed: int, ts: int, ppm: dict[int, int] | None = None) -> None:
        self.wire: Literal["http", "tcp"] = "http"
        self.settings = settings
        self.faults = Faults(KNOWN, seed, ppm)
        self.engine = Engine(settings, self.faults, seed, ts)
        self._keys = {account.key: (account.name, account.secret) for account in settings.accounts}
        self._keys |= {each.second_key: (each.name, each.second_secret) for each in settings.accounts if each.second_key}
        self._streams = Streams(settings, self.faults, self.engine.exchange.listings, self._keys)
        self._rest = Rest(self.engine)
        self._deeds = Deeds(self.engine)
        self._requests: dict[str, deque[int]] = {key: deque() for key in self._keys}
        self.revoked: set[str] = set()
        self._maintained_until = 0
        self._throttles = 0
        self._minute = ts // MINUTE_NS
        self._last_ts = ts

    # Connections.

    def connected(self, ts: int, connection: int) -> None:
        self._pass(ts)

    def disconnected(self, ts: int, connection: int) -> None:
        self._pass(ts)
        self._streams.closed(connection)

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        self._pass(ts)
        self._streams.receive(ts, connection, payload)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self._pass(ts)
        if request.headers.get("upgrade", "").lower() == "websocket":
            if request.path != TRADE_STREAM and request.path not in DATA_STREAMS:
                return self._reply(404, {"message": "endpoint not found"})
            self._streams.opened(ts, connection, is_data=request.path != TRADE_STREAM)
            return HttpReply(status=101)
        reply = self._answer(ts, request)
        self._tell()
        return reply

    def _answer(self, ts: int, request: HttpRequest) -> HttpReply:
        if ts < self._maintained_until and request.path != "/v2/clock":
            return self._reply(503, {"message": "service is temporarily unavailable for maintenance"})
        key = request.headers.get(KEY_HEADER, "")
        account, secret = self._keys.get(key, ("", ""))
        is_taken = account and secret == request.headers.get(SECRET_HEADER) and account not in self.revoked
        if not is_taken or self.faults.fires(61):
            return self._reply(401, {"code": 40110000, "message": "request is not authorized"})
        limits, is_over = self._count(ts, key)
        if is_over:
            return self._reply(429, {"code": 42910000, "message": "rate limit exceeded"}, limits)
        if self.faults.fires(62):
            return self._reply(503, {"message": "service is temporarily unavailable"}, limits)
        return self._handled(ts, account, request, limits)

    def _count(self, ts: int, key: str) -> tuple[tuple[tuple[str, str], ...], bool]:
        """The headers of the budget, and whether it is used up."""
        made, most = self._requests[key], self.settings.requests_per_min
        while made and made[0] <= ts - MINUTE_NS:
            made.popleft()
        is_over = len(made) >= most
        if not is_over:
            made.append(ts)
        reset = (made[0] + MINUTE_NS) // NS_PER_SECOND + 1 if made else ts // NS_PER_SECOND
        headers = (
            ("X-RateLimit-Limit", str(most)),
            ("X-RateLimit-Remaining", str(most - len(made))),
            ("X-RateLimit-Reset", str(reset)),
        )
        return headers, is_over

    def _handled(self, ts: int, account: str, request: HttpRequest, limits: tuple[tuple[str, str], ...]) -> HttpReply:
        """The answer, with what goes wrong on its way. Only requests that change something meet the faults of the order path."""
        is_change = request.method in ("POST", "PATCH", "DELETE")
        fault = next((number for number in ON_CHANGES if is_change and self.faults.fires(number)), 0)
        before = self._spoiled_before(fault, limits)
        if before is not None:
            return before
        try:
            status, body = self._rest.answer(ts, account, request)
        except ApiError as error:
            return self._reply(error.status, error.body, limits)
        if is_change and request.method == "POST" and self.faults.fires(11):
            return self._reply(422, {"code": 40010001, "message": "client_order_id must be unique"}, limits)
        self.engine.settle()
        return self._spoiled_after(fault, self._reply(status, body, limits))

    def _spoiled_before(self, fault: int, limits: tuple[tuple[str, str], ...]) -> HttpReply | None:
        """Nothing was done."""
        match fault:
            case 1:
                return HttpReply(bytes_max=0)
            case 5:
                return self._reply(500, {"code": 50010000, "message": "internal server error occurred"}, limits)
            case 6:
                return self._reply(503, {"message": "service unavailable"}, limits)
            case 14:
                return self._reply(422, {"code": 42299999, "message": "something that nobody has documented"}, limits)
            case 15:
                return self._reply(200, {"code": 40310000, "message": "insufficient buying power"}, limits)
            case 37:
                self._throttles += 1
                after = (("Retry-After", "1"),) if self._throttles % 2 else ()
                return self._reply(429, {"code": 42910000, "message": "rate limit exceeded"}, limits + after)
            case 39:
                return HttpReply(status=403, headers=HTML_HEADERS, body=HTML)
            case _:
                return None

    def _spoiled_after(self, fault: int, reply: HttpReply) -> HttpReply:
        """It was done."""
        match fault:
            case 2:
                return msgspec.structs.replace(reply, bytes_max=0)
            case 3:
                return msgspec.structs.replace(reply, bytes_max=max(len(reply.body) // 2, 20))
            case 4:
                return self._reply(500, {"code": 50010000, "message": "internal server error occurred"})
            case 8:
                return HttpReply(status=504, headers=HTML_HEADERS, body=HTML)
            case 9:
                return self._reply(200, [])
            case 10:
                return msgspec.structs.replace(reply, delay_ns=self.settings.late_answer_ns)
            case 24:
                return msgspec.structs.replace(reply, delay_ns=reply.delay_ns + 100 * self.settings.stream_ns)
            case 40:
                return msgspec.structs.replace(reply, delay_ns=SLOW_NS)
            case _:
                return reply

    def _reply(self, status: int, body: Any, headers: tuple[tuple[str, str], ...] = ()) -> HttpReply:
        content = encode(body)
        kinds = (JSON_HEADER,) if content else ()
        return HttpReply(status=status, headers=(*kinds, *headers), body=content, delay_ns=self.settings.answer_ns)

    # Time.

    def next_ts(self) -> int:
        return min(self.engine.next_ts(), (self._minute + 1) * MINUTE_NS)

    def advance(self, ts: int) -> None:
        self._pass(ts)

    def _pass(self, ts: int) -> None:
        ts = max(ts, self._last_ts)
        self._last_ts = ts
        while (self._minute + 1) * MINUTE_NS <= ts:
            begun, ends = self._minute * MINUTE_NS, (self._minute + 1) * MINUTE_NS
            self.engine.advance(ends)
            self._tell()
            self._streams.end_minute(ends, begun)
            self._minute = max(self._minute + 1, min(ts // MINUTE_NS, self._minute + 1))
        self.engine.advance(ts)
        self._tell()

    def _tell(self) -> None:
        self.engine.settle()
        news, self.engine.news = self.engine.news, []
        for each in news:
            self._streams.tell(each)
        market, self.engine.market_news = self.engine.market_news, []
        for heard in market:
            self._streams.publish(heard)

    def take(self) -> list[Outgoing]:
        taken, self._streams.out = self._streams.out, []
        return taken

    # What happens by itself.

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        self._pass(ts)
        try:
            match name:
                case "maintain":
                    self._maintained_until = ts + int(arguments.get("seconds", 60)) * NS_PER_SECOND
                case "cut":
                    self._streams.close_all(ts, str(arguments.get("which", "both")))
                case "revoke":
                    self.revoked.add(str(arguments["account"]))
                case "restore":
                    self.revoked.discard(str(arguments["account"]))
                case "restart":
                    self._streams.close_all(ts)
                    self._deeds.act(ts, name, arguments)
                case _:
                    self._deeds.act(ts, name, arguments)
        except KeyError as error:
            raise ValueError(f"{name}: {error} is missing, or is nothing of this venue") from None
        except ApiError as error:
            raise ValueError(f"{name}: {error}") from None
        self._tell()

    # For auditors.

    def ledger(self) -> dict[str, Any]:
        """By tickets: the ids that the venue gives, whatever happened behind them."""
        engine = self.engine
        rows = engine.exchange.ledger()
        fills = []
        for row, ticket_id in zip(rows["fills"], engine.fill_tickets, strict=True):
            ticket = engine.tickets[ticket_id]
            fills.append(row | {"venue_order_id": ticket.id, "client_order_id": ticket.client_id})
        orders = [
            {
                "account": ticket.account.name,
                "instrument_id": ticket.listing.rules.instrument_id,
                "venue_order_id": ticket.id,
                "client_order_id": ticket.client_id,
                "side": "BUY" if ticket.side is Side.BUY else "SELL",
                "qty": ticket.qty,
                "filled_qty": ticket.filled,
                "is_open": ticket.is_open and not ticket.is_lost,
                "ts": ticket.created_ts,
                "reduce_only": ticket.intent.endswith("to_close"),
                "origin": ticket.origin,
                "triggered_by": ticket.replaces,  # a replaced order goes on as this one
            }
            for ticket in engine.tickets.values()
        ]
        return rows | {"orders": orders, "fills": fills}
