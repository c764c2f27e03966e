"""WebSockets: who hears what, subscriptions, listen keys, the WebSocket API; what is sent, and what of it goes wrong."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from core.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND
from sim.venues.binance.desk import Desk
from sim.venues.binance.market_data import Event, MarketData, speed_of
from sim.venues.binance.markets import Client, Product
from sim.venues.binance.orders import ms
from sim.venues.binance.wire import ApiError, encode
from sim.venues.exchange.model import Print
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

LISTEN_KEY_NS = 60 * NS_PER_MINUTE
LIFE_NS = 24 * 60 * NS_PER_MINUTE
PING_NS = {Product.SPOT: 20 * NS_PER_SECOND, Product.USDM: 180 * NS_PER_SECOND}
MESSAGES_PER_S_MAX = {Product.SPOT: 5, Product.USDM: 10}
STREAMS_MAX = 1024
LATE_NS = 30 * NS_PER_SECOND
REORDERED_NS = 200 * NS_PER_MS  # what happens meanwhile is told first
DEEP = "[" * 20_000
OTHER_TRADE_ID = 5_000_000
CLOSE_CODE = 1000
MARK_EVERY_NS = NS_PER_SECOND

WebSocketApi = Callable[[int, "Line", dict[str, Any]], Event]


class Line(msgspec.Struct, kw_only=True, eq=False):
    """One WebSocket. `kind`: "market", "user" (a listen key's) or "api"."""

    number: int
    kind: str
    opened_ts: int
    is_combined: bool = False
    names: dict[str, None] = {}
    listen_key: str = ""
    subscriptions: dict[int, Client] = {}
    subscriptions_made: int = 0
    heard: list[int] = []
    is_mute: bool = False


class Streams:
    def __init__(self, desk: Desk, market_data: MarketData, api: WebSocketApi) -> None:
        self._desk = desk
        self._market_data = market_data
        self._api = api
        self.out: list[Outgoing] = []
        self.lines: dict[int, Line] = {}
        self.listen_keys: dict[str, tuple[Client, int]] = {}
        self._keys_made = 0
        self._queue: list[tuple[int, int, Client, Event, bool]] = []
        self._queued = 0
        self._next_mark_ts = 0

    # Opening.

    def open(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        """A WebSocket's opening request."""
        if self._desk.faults.fires(44):
            return HttpReply(status=503)
        is_spot = self._desk.product is Product.SPOT
        path = request.path.rstrip("/")
        line = Line(number=connection, kind="market", opened_ts=ts)
        for prefix in () if is_spot else ("/public", "/market", "/private"):
            path = path.removeprefix(prefix)
        query = parse_qs(request.query)
        if is_spot and path == "/ws-api/v3":
            line.kind = "api"
        elif path == "/stream" or path.startswith("/stream/"):
            line.is_combined = True
            names = "/".join(query.get("streams", [])).split("/")
        elif path == "/ws" or path.startswith("/ws/"):
            names = path[3:].split("/") + query.get("listenKey", [])
        else:
            return HttpReply(status=404)
        if line.kind != "api":
            for name in filter(None, names):
                if name in self.listen_keys:
                    line.kind, line.listen_key = "user", name
                elif not self._add(ts, line, name):
                    return HttpReply(status=400)
        self.lines[connection] = line
        return HttpReply(status=101, ping_ns=PING_NS[self._desk.product])

    def _add(self, ts: int, line: Line, name: str) -> bool:
        """Subscribe; an unknown stream of a known form is silent, as it is there."""
        if len(line.names) >= STREAMS_MAX:
            return False
        line.names[name] = None
        symbol, _, kind = name.partition("@")
        feed = self._market_data.feeds.get(symbol.upper())
        word, _, suffix = kind.partition("@")
        if feed is not None and word == "depth":
            speed = speed_of(self._desk.product, suffix)
            if speed is not None:
                feed.sync(ts)
                feed.stream(speed)
        return True

    def closed(self, connection: int) -> None:
        self.lines.pop(connection, None)

    def close(self, ts: int, line: Line, code: int = 0) -> None:
        self.out.append(Outgoing(ts, line.number, None, code))
        self.lines.pop(line.number, None)

    # What comes in.

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        line = self.lines.get(connection)
        if line is None:
            return
        line.heard = [stamp for stamp in line.heard if stamp > ts - NS_PER_SECOND] + [ts]
        if len(line.heard) > MESSAGES_PER_S_MAX[self._desk.product] and line.kind != "api":
            self.close(ts, line, 1008)
            return
        try:
            message = msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._say(ts, line, {"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON in request"}})
            return
        if line.kind == "api":
            self._say(ts, line, self._api(ts, line, message))
        else:
            self._say(ts, line, self._command(ts, line, message))

    def _command(self, ts: int, line: Line, message: dict[str, Any]) -> Event:
        params, request_id = message.get("params"), message.get("id")
        names = params if isinstance(params, list) and all(isinstance(name, str) for name in params) else []
        match message.get("method"):
            case "SUBSCRIBE":
                for name in names:
                    self._add(ts, line, name)
            case "UNSUBSCRIBE":
                for name in names:
                    line.names.pop(name, None)
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(line.names), "id": request_id}
            case _:
                return {"error": {"code": 0, "msg": "Unknown property"}, "id": request_id}
        return {"result": None, "id": request_id}

    # Listen keys.

    def create_listen_key(self, ts: int, client: Client) -> Event:
        """An account's key that lives still is given again, and lives longer."""
        for key, (owner, _) in self.listen_keys.items():
            if owner is client:
                self.listen_keys[key] = (client, ts + LISTEN_KEY_NS)
                return {"listenKey": key}
        self._keys_made += 1
        key = f"simlistenkey{self._keys_made:052d}"
        self.listen_keys[key] = (client, ts + LISTEN_KEY_NS)
        return {"listenKey": key}

    def keep_listen_key(self, ts: int, client: Client) -> Event:
        if self._desk.faults.fires(61):
            self.expire_listen_keys(ts, client)
        for key, (owner, _) in self.listen_keys.items():
            if owner is client:
                self.listen_keys[key] = (client, ts + LISTEN_KEY_NS)
                return {"listenKey": key}
        raise ApiError(-1125, "This listenKey does not exist.")

    def close_listen_key(self, ts: int, client: Client) -> Event:
        self.listen_keys = {key: found for key, found in self.listen_keys.items() if found[0] is not client}
        return {}

    def expire_listen_keys(self, ts: int, client: Client | None = None) -> None:
        """Of one client, or of all: whoever listens is told, and hears no more."""
        for key, (owner, _) in list(self.listen_keys.items()):
            if client is None or owner is client:
                del self.listen_keys[key]
                for line in list(self.lines.values()):
                    if line.listen_key == key:
                        self._say(ts, line, {"e": "listenKeyExpired", "E": ms(ts), "listenKey": key}, key)
                        line.listen_key = ""

    # User events.

    def queue(self, ts: int, client: Client, event: Event, *, is_late: bool = False) -> None:
        """`is_late`: something has gone wrong with it already."""
        self._queued += 1
        heapq.heappush(self._queue, (ts, self._queued, client, event, is_late))

    def _tell(self, ts: int, client: Client, event: Event) -> None:
        """One event to every stream of the client, with what goes wrong on the way."""
        faults, kind = self._desk.faults, event["e"]
        if kind in ("outboundAccountPosition", "ACCOUNT_UPDATE") and faults.fires(59):
            if faults.random.below(2):
                self.queue(ts + LATE_NS, client, event, is_late=True)
        elif kind in ("executionReport", "ORDER_TRADE_UPDATE"):
            if faults.fires(35):
                self.queue(ts + REORDERED_NS, client, event, is_late=True)
                return
            self._send(ts, client, event)
            self._repeat(ts, client, event)
        else:
            self._send(ts, client, event)

    def _repeat(self, ts: int, client: Client, event: Event) -> None:
        faults = self._desk.faults
        fields: Event = event["o"] if event["e"] == "ORDER_TRADE_UPDATE" else event
        if fields["x"] == "TRADE" and faults.fires(22):
            self._send(ts, client, event)
        if fields["x"] == "TRADE" and faults.fires(23):
            self._send(ts, client, _with(event, t=fields["t"] + OTHER_TRADE_ID))
        if fields["X"] in ("FILLED", "CANCELED") and faults.fires(34):
            zero = fields["z"].translate({ord(digit): "0" for digit in "123456789"})
            self._send(ts, client, _with(event, x="NEW", X="NEW", l=zero, z=zero, t=-1))

    def _send(self, ts: int, client: Client, event: Event) -> None:
        faults = self._desk.faults
        for line in list(self.lines.values()):
            if line.kind == "user" and self.listen_keys.get(line.listen_key, (None, 0))[0] is client:
                if not self._breaks(ts, line):
                    self._say(ts, line, event, line.listen_key)
                continue
            for number, owner in list(line.subscriptions.items()):
                if owner is not client or self._breaks(ts, line):
                    continue
                if faults.fires(61):
                    del line.subscriptions[number]
                    event = {"e": "eventStreamTerminated", "E": ms(ts)}
                self._say(ts, line, {"subscriptionId": number, "event": event})

    # Market events.

    def has_listeners(self) -> bool:
        return any(line.names for line in self.lines.values())

    def _broadcast(self, ts: int, name: str, event: Event) -> None:
        for line in list(self.lines.values()):
            if name in line.names and not self._breaks(ts, line):
                self._say(ts, line, event, name)

    def publish(self, ts: int, prints: list[Print]) -> None:
        """What the market has done just now: prints, best prices, and depth where it is due."""
        for found in prints:
            symbol = found.listing.name.lower()
            self._broadcast(ts, f"{symbol}@trade", self._market_data.trade_event(ts, found))
            self._broadcast(ts, f"{symbol}@aggTrade", self._market_data.aggregate_event(ts, found))
        for symbol, feed in self._market_data.feeds.items():
            name = f"{symbol.lower()}@bookTicker"
            ticker = feed.ticker(ts, is_heard=any(name in line.names for line in self.lines.values()))
            if ticker is not None:
                self._broadcast(ts, name, ticker)

    def _push_depth(self, ts: int) -> None:
        for symbol, feed in self._market_data.feeds.items():
            for speed, stream in feed.streams.items():
                for event in stream.take(ts):
                    for name in _depth_names(self._desk.product, symbol.lower(), speed):
                        self._broadcast(ts, name, event)

    def _push_marks(self, ts: int) -> None:
        if self._desk.product is Product.SPOT or ts < self._next_mark_ts:
            return
        self._next_mark_ts = (ts // MARK_EVERY_NS + 1) * MARK_EVERY_NS
        for symbol, market in self._desk.markets.items():
            event = self._market_data.mark_event(ts, market)
            for name in (f"{symbol.lower()}@markPrice@1s", f"{symbol.lower()}@markPrice"):
                self._broadcast(ts, name, event)

    # Time.

    def next_ts(self) -> int | None:
        due = [row[0] for row in self._queue[:1]]
        due += [until for _, until in self.listen_keys.values()]
        due += [line.opened_ts + LIFE_NS for line in self.lines.values()]
        for feed in self._market_data.feeds.values():
            due += [stream.next_ts for stream in feed.streams.values() if stream.next_ts is not None]
        if self._desk.product is Product.USDM and self.has_listeners():
            due.append(self._next_mark_ts)
        return min(due, default=None)

    def advance(self, ts: int) -> None:
        while self._queue and self._queue[0][0] <= ts:
            _, _, client, event, is_late = heapq.heappop(self._queue)
            (self._send if is_late else self._tell)(ts, client, event)
        self._push_depth(ts)
        self._push_marks(ts)
        for client in [owner for owner, until in self.listen_keys.values() if until <= ts]:
            self.expire_listen_keys(ts, client)
        for line in list(self.lines.values()):
            if line.opened_ts + LIFE_NS <= ts:
                self.close(ts, line)

    # To the wire.

    def _breaks(self, ts: int, line: Line) -> bool:
        """A fault of the connection itself, at an occasion to say something."""
        faults = self._desk.faults
        if faults.fires(41):
            self.out.append(Outgoing(ts, line.number, None, freezes=True))
            self.lines.pop(line.number, None)
            return True
        if not line.is_mute and faults.fires(42):
            line.is_mute = True
        if faults.fires(43):
            shutdown = {"e": "serverShutdown", "E": ms(ts)}
            self._say(ts, line, {"event": shutdown} if line.kind == "api" else shutdown, "!serverShutdown")
            self.close(ts + 100 * NS_PER_MS, line)
            return True
        return False

    def _say(self, ts: int, line: Line, message: Event, name: str = "") -> None:
        if line.is_mute:
            return
        is_event = bool(name) and not name.startswith("!")
        payload = encode({"stream": name, "data": message} if line.is_combined and is_event else message).decode()
        if is_event and self._desk.faults.fires(55):
            payload = _broken(payload, self._desk.faults.random.below(3))
        self.out.append(Outgoing(ts, line.number, payload))

    def cut_all(self, ts: int) -> None:
        for line in list(self.lines.values()):
            self.close(ts, line)

    def shut_down(self, ts: int) -> None:
        """A server's end as it announces it."""
        for line in list(self.lines.values()):
            event = {"e": "serverShutdown", "E": ms(ts)}
            self._say(ts, line, {"event": event} if line.kind == "api" else event, "!serverShutdown")
            self.close(ts + 100 * NS_PER_MS, line, CLOSE_CODE)


def _with(event: Event, **changes: Any) -> Event:
    if event["e"] == "ORDER_TRADE_UPDATE":
        return event | {"o": event["o"] | changes}
    return event | changes


def _depth_names(product: Product, symbol: str, speed_ns: int) -> list[str]:
    speed_ms = speed_ns // NS_PER_MS
    names = [f"{symbol}@depth@{speed_ms}ms"]
    if speed_of(product, "") == speed_ns:
        names.append(f"{symbol}@depth")
    return names


def _broken(payload: str, kind: int) -> str:
    """Giant, deep, or with a key twice."""
    if kind == 0:
        return payload[:-1] + ',"x":"' + "x" * (1 << 21) + '"}'
    if kind == 1:
        return payload[:-1] + ',"x":' + DEEP + "]" * len(DEEP) + "}"
    return payload[:-1] + ',"' + payload[2 : payload.index('"', 2)] + '":"twice"}'
