"""A client of the simulated Binance without sockets: signs by hand, hears frames, lets time pass."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, urlencode

from sim.venues.binance.faults import KNOWN
from sim.venues.binance.markets import Product
from sim.venues.binance.venue import BinanceVenue
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest

MS, S = 10**6, 10**9
T0 = 1_790_000_000 * S
PRICES = {Product.SPOT: "50000.00", Product.USDM: "50000.0"}


def opened(product: Product, *, seed: int = 1, is_quiet: bool = True, **more: Any) -> Binance:
    faults = Faults(KNOWN, seed)
    venue = BinanceVenue(product, T0, seed=seed, faults=faults, **more)
    venue.desk.crowd.is_quiet = is_quiet
    return Binance(venue)


class Binance:
    """`http` gives (status, body decoded). `frames` are what each WebSocket has heard, decoded; None: it was closed."""

    def __init__(self, venue: BinanceVenue) -> None:
        self.venue = venue
        self.ts = T0
        self.reply = HttpReply()
        self.frames: dict[int, list[Any]] = {}
        self.raw: dict[int, list[str]] = {}
        self._connections = 0
        self.listen()

    def listen(self) -> None:
        for outgoing in sorted(self.venue.take(), key=lambda each: each.ts):
            told = self.frames.setdefault(outgoing.connection, [])
            if outgoing.payload is None:
                told.append("frozen" if outgoing.freezes else None)
            else:
                assert isinstance(outgoing.payload, str)
                self.raw.setdefault(outgoing.connection, []).append(outgoing.payload)
                try:
                    told.append(json.loads(outgoing.payload))
                except RecursionError:
                    told.append("deep")

    def wait(self, duration_ns: int) -> None:
        """Time as a shell lets it pass."""
        until = self.ts + duration_ns
        while (due := self.venue.next_ts()) is not None and due <= until:
            self.ts = max(due, self.ts)
            self.venue.advance(self.ts)
            self.listen()
        self.ts = until
        self.venue.advance(until)
        self.listen()

    def act(self, name: str, **arguments: Any) -> None:
        self.venue.act(self.ts, name, arguments)
        self.listen()

    def http(
        self, method: str, path: str, params: dict[str, Any] | None = None, *, key: str = "us", signed: bool = True, **extra: Any
    ) -> tuple[int, Any]:
        values = {**(params or {}), **extra}
        given = values.pop("signature", None)
        if signed:
            values = {"timestamp": self.ts // MS, **values}
        query = urlencode(values)
        if signed:
            signature = hmac.new(f"{key}-secret".encode(), query.encode(), hashlib.sha256).hexdigest()
            query = f"{query}&signature={signature if given is None else quote(given)}"
        is_body = method in ("POST", "PUT")
        request = HttpRequest(
            method=method,
            path=path,
            query="" if is_body else query,
            headers={"x-mbx-apikey": f"{key}-key"} if key else {},
            body=query.encode() if is_body else b"",
        )
        self.reply = self.venue.http(self.ts, self.connect(), request)
        self.listen()
        body = self.reply.body
        return self.reply.status, json.loads(body) if body[:1] in (b"{", b"[") else body

    def connect(self) -> int:
        self._connections += 1
        self.venue.connected(self.ts, self._connections)
        return self._connections

    def socket(self, target: str) -> int:
        """The number of a WebSocket that is open."""
        number = self.connect()
        path, _, query = target.partition("?")
        request = HttpRequest(method="GET", path=path, query=query, headers={"upgrade": "websocket"})
        reply = self.venue.http(self.ts, number, request)
        assert reply.status == 101, reply
        self.frames[number] = []
        return number

    def say(self, number: int, message: Any) -> None:
        self.venue.receive(self.ts, number, message if isinstance(message, str) else json.dumps(message))
        self.listen()

    def heard(self, number: int) -> list[Any]:
        """And forget it."""
        found, self.frames[number] = self.frames[number], []
        return found

    # The spot user stream.

    def subscribe(self, key: str = "us") -> int:
        number = self.socket("/ws-api/v3")
        values: dict[str, Any] = {"apiKey": f"{key}-key", "timestamp": self.ts // MS}
        signed = "&".join(f"{name}={values[name]}" for name in sorted(values))
        values["signature"] = hmac.new(f"{key}-secret".encode(), signed.encode(), hashlib.sha256).hexdigest()
        self.say(number, {"id": "s", "method": "userDataStream.subscribe.signature", "params": values})
        [answer] = self.heard(number)
        assert answer["status"] == 200, answer
        return number

    def user_socket(self, key: str = "us") -> int:
        _, body = self.http("POST", "/fapi/v1/listenKey", key=key, signed=False)
        return self.socket(f"/private/ws?listenKey={body['listenKey']}")


class Spot(Binance):
    def __init__(self, **more: Any) -> None:
        super().__init__(opened(Product.SPOT, **more).venue)

    def order(self, side: str, qty: str, price: str | None, /, **more: Any) -> tuple[int, Any]:
        values = {"symbol": "BTCUSDT", "side": side, "quantity": qty, "type": "MARKET" if price is None else "LIMIT"}
        if price is not None:
            values |= {"price": price, "timeInForce": "GTC"}
        key = more.pop("key", "us")
        values |= more
        return self.http("POST", "/api/v3/order", {name: value for name, value in values.items() if value != ""}, key=key)


class Usdm(Binance):
    def __init__(self, **more: Any) -> None:
        super().__init__(opened(Product.USDM, **more).venue)

    def order(self, side: str, qty: str, price: str | None, /, **more: Any) -> tuple[int, Any]:
        values = {"symbol": "BTCUSDT", "side": side, "quantity": qty, "type": "MARKET" if price is None else "LIMIT"}
        values["newOrderRespType"] = "RESULT"
        if price is not None:
            values |= {"price": price, "timeInForce": "GTC"}
        key = more.pop("key", "us")
        values |= more
        return self.http("POST", "/fapi/v1/order", {name: value for name, value in values.items() if value != ""}, key=key)

    def algo(self, side: str, qty: str, trigger: str, **more: Any) -> tuple[int, Any]:
        values = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": side, "type": "STOP_MARKET"}
        values |= {"quantity": qty, "triggerPrice": trigger, **more}
        return self.http("POST", "/fapi/v1/algoOrder", values)
