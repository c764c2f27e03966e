"""The two streams of a simulated Alpaca: trade_updates in JSON, market data in MessagePack; who listens to what. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from core.units import NS_PER_SECOND, to_float
from sim.venues.alpaca.engine import MarketNews, News
from sim.venues.alpaca.settings import AlpacaSimSettings
from sim.venues.alpaca.tickets import stamp_text
from sim.venues.exchange.model import Listing
from sim.venues.faults import Faults
from sim.venues.protocol import Outgoing

DEEP = 100_000  # brackets of the message that nobody should read
_CHANNELS = ("trades", "quotes", "bars", "statuses", "lulds", "updatedBars", "dailyBars")
_PACK = msgspec.msgpack.Encoder()


class Listener(msgspec.Struct):
    """One connection. `account`: "" until it has logged in."""

    connection: int
    is_data: bool
    account: str = ""
    is_listening: bool = False
    is_mute: bool = False
    channels: dict[str, list[str]] = {}

    def wants(self, channel: str, symbol: str) -> bool:
        symbols = self.channels.get(channel, ())
        return symbol in symbols or "*" in symbols


class Streams:
    """`out` gathers what is to be sent."""

    def __init__(
        self, settings: AlpacaSimSettings, faults: Faults, listings: Mapping[str, Listing], keys: Mapping[str, tuple[str, str]]
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._listings = listings
        self._keys = keys  # by key: account, secret
        self._listeners: dict[int, Listener] = {}
        self._swapped: dict[int, bytes] = {}
        self._bars: dict[str, list[int]] = {}  # symbol: open, high, low, close, volume, count of this minute
        self._bar_ts = 0
        self.out: list[Outgoing] = []

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return tuple(self._listeners.values())

    def opened(self, ts: int, connection: int, *, is_data: bool) -> None:
        self._listeners[connection] = Listener(connection, is_data, channels={})
        if is_data:
            self._pack(ts, connection, [{"T": "success", "msg": "connected"}])

    def closed(self, connection: int) -> None:
        self._listeners.pop(connection, None)
        self._swapped.pop(connection, None)

    def close_all(self, ts: int, which: str = "both") -> None:
        """`which`: trades, data or both."""
        for connection, listener in list(self._listeners.items()):
            if which in ("both", "data" if listener.is_data else "trades"):
                self.out.append(Outgoing(ts, connection, None))
                self.closed(connection)

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        listener = self._listeners.get(connection)
        if listener is None:
            return
        try:
            if listener.is_data and isinstance(payload, bytes) and payload[:1] != b"{":
                message = msgspec.msgpack.decode(payload)
            else:
                message = json.loads(payload)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            message = None
        if not isinstance(message, dict):
            if listener.is_data:
                self._pack(ts, connection, [{"T": "error", "code": 400, "msg": "invalid syntax"}])
            return
        if listener.is_data:
            self._data_request(ts, listener, message)
        else:
            self._trade_request(ts, listener, message)

    # trade_updates.

    def _trade_request(self, ts: int, listener: Listener, message: dict[str, Any]) -> None:
        data = message.get("data")
        fields = data if isinstance(data, dict) else {}
        if message.get("action") in ("authenticate", "auth"):
            key, secret = fields.get("key_id", message.get("key", "")), fields.get("secret_key", message.get("secret", ""))
            listener.account = self._account(str(key), str(secret))
            status = "authorized" if listener.account else "unauthorized"
            self._say(ts, listener, {"stream": "authorization", "data": {"status": status, "action": "authenticate"}})
        elif message.get("action") == "listen" and listener.account:
            wanted = fields.get("streams")
            streams = [each for each in wanted if each == "trade_updates"] if isinstance(wanted, list) else []
            listener.is_listening = bool(streams)
            self._say(ts, listener, {"stream": "listening", "data": {"streams": streams}})
        else:
            self._say(ts, listener, {"stream": "listening", "data": {"error": "not authorized"}})

    def _account(self, key: str, secret: str) -> str:
        account, expected = self._keys.get(key, ("", ""))
        return account if account and secret == expected and not self._faults.fires(61) else ""

    def tell(self, news: News) -> None:
        """One event to everybody who listens to that account."""
        at = news.ts + self._settings.stream_ns
        data = {
            "event": news.event,
            "timestamp": stamp_text(news.ts),
            "at": stamp_text(news.ts),
            "order": news.body,
            **news.extra,
        }
        is_fill = news.event in ("fill", "partial_fill")
        for listener in self.listeners:
            if listener.is_data or not listener.is_listening or listener.account != news.account or listener.is_mute:
                continue
            if is_fill and self._faults.fires(36):
                continue
            self._mishap(at, listener)
            self._say(at, listener, {"stream": "trade_updates", "data": data})
            if is_fill and self._faults.fires(22):
                self._say(at, listener, {"stream": "trade_updates", "data": data})
            if is_fill and self._faults.fires(23):
                other = data | {"execution_id": str(data["execution_id"])[::-1]}
                self._say(at, listener, {"stream": "trade_updates", "data": other})

    def _mishap(self, ts: int, listener: Listener) -> None:
        if self._faults.fires(41):
            listener.is_mute = True
        if self._faults.fires(43):
            self.out.append(Outgoing(ts, listener.connection, None, 1001))
            self.closed(listener.connection)
        if self._faults.fires(55):
            self._send(ts, listener, b'{"stream":"trade_updates","data":' + b"[" * DEEP)

    def _say(self, ts: int, listener: Listener, message: dict[str, Any]) -> None:
        self._send(ts, listener, json.dumps(message, separators=(",", ":")).encode())

    def _send(self, ts: int, listener: Listener, payload: bytes) -> None:
        connection = listener.connection
        if connection not in self._listeners or listener.is_mute:
            return
        frame: str | bytes = payload if self._settings.sends_binary else payload.decode()
        waiting = self._swapped.pop(connection, None)
        if waiting is None and listener.is_listening and self._faults.fires(35):
            self._swapped[connection] = payload
            return
        self.out.append(Outgoing(ts, connection, frame))
        if waiting is not None:
            self.out.append(Outgoing(ts, connection, waiting if self._settings.sends_binary else waiting.decode()))

    # Market data.

    def _data_request(self, ts: int, listener: Listener, message: dict[str, Any]) -> None:
        action = message.get("action")
        if action == "auth":
            self._data_auth(ts, listener, message)
        elif not listener.account:
            self._pack(ts, listener.connection, [{"T": "error", "code": 401, "msg": "not authenticated"}])
        elif action in ("subscribe", "unsubscribe"):
            for channel in _CHANNELS:
                named = message.get(channel)
                if isinstance(named, list):
                    before = [each for each in listener.channels.get(channel, []) if each not in named]
                    added = [str(each) for each in named] if action == "subscribe" else []
                    listener.channels[channel] = before + added
            answer: dict[str, Any] = {"T": "subscription", "corrections": [], "cancelErrors": []}
            answer |= {channel: listener.channels.get(channel, []) for channel in _CHANNELS}
            self._pack(ts, listener.connection, [answer])
        else:
            self._pack(ts, listener.connection, [{"T": "error", "code": 400, "msg": "invalid syntax"}])

    def _data_auth(self, ts: int, listener: Listener, message: dict[str, Any]) -> None:
        account = self._account(str(message.get("key", "")), str(message.get("secret", "")))
        others = [each for each in self.listeners if each.is_data and each.account == account and each is not listener]
        if listener.account:
            answer = {"T": "error", "code": 403, "msg": "already authenticated"}
        elif not account:
            answer = {"T": "error", "code": 402, "msg": "auth failed"}
        elif len(others) >= self._settings.data_connections_max:
            answer = {"T": "error", "code": 406, "msg": "connection limit exceeded"}
        else:
            listener.account = account
            answer = {"T": "success", "msg": "authenticated"}
        self._pack(ts, listener.connection, [answer])

    def publish(self, news: MarketNews) -> None:
        listing = self._listings[news.symbol]
        scale, qty_scale = listing.rules.price_scale, listing.rules.qty_scale
        fields, at = news.fields, stamp_ext(news.ts)
        common = {"S": news.symbol, "t": at, "z": "C"}
        if news.kind == "quote":
            bid, ask = fields["bid"], fields["ask"]
            if self._faults.fires(50):
                bid, ask = ask, bid
            message = {
                "T": "q",
                **common,
                "bx": "V",
                "bp": to_float(bid, scale),
                "bs": fields["bid_qty"] // 10**qty_scale,
                "ax": "V",
                "ap": float("nan") if self._faults.fires(54) else to_float(ask, scale),
                "as": fields["ask_qty"] // 10**qty_scale,
                "c": ["R"],
            }
            self._spread(news.ts, "quotes", news.symbol, message)
            if self._faults.fires(49):
                stale = message | {"t": stamp_ext(news.ts + NS_PER_SECOND)}
                self._spread(news.ts + NS_PER_SECOND, "quotes", news.symbol, stale)
        elif news.kind == "trade":
            number = (1 << 60) + 1 if self._faults.fires(56) else fields["number"]
            price, size = to_float(fields["price"], scale), fields["qty"] // 10**qty_scale
            message = {"T": "t", **common, "i": number, "x": "V", "p": price, "s": size, "c": ["@"]}
            self._spread(news.ts, "trades", news.symbol, message)
            self._add_to_bar(news.symbol, fields["price"], size)
        elif news.kind == "status":
            self._spread(news.ts, "statuses", news.symbol, {"T": "s", **common, **fields})
        else:
            up, down = to_float(fields["up"], scale), to_float(fields["down"], scale)
            self._spread(news.ts, "lulds", news.symbol, {"T": "l", **common, "u": up, "d": down, "i": fields["indicator"]})

    def _add_to_bar(self, symbol: str, price: int, size: int) -> None:
        bar = self._bars.get(symbol)
        if bar is None:
            self._bars[symbol] = [price, price, price, price, size, 1]
        else:
            bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
            bar[4] += size
            bar[5] += 1

    def end_minute(self, ts: int, begun_ts: int) -> None:
        """Bars of the minute that ends at `ts`."""
        for symbol, (opens, high, low, close, volume, count) in sorted(self._bars.items()):
            scale = self._listings[symbol].rules.price_scale
            prices = {name: to_float(value, scale) for name, value in (("o", opens), ("h", high), ("l", low), ("c", close))}
            message = {"T": "b", "S": symbol, "t": stamp_ext(begun_ts), **prices, "v": volume, "n": count, "vw": prices["c"]}
            self._spread(ts, "bars", symbol, message)
        self._bars.clear()

    def _spread(self, ts: int, channel: str, symbol: str, message: dict[str, Any]) -> None:
        for listener in self.listeners:
            if listener.is_data and listener.account and not listener.is_mute and listener.wants(channel, symbol):
                if self._faults.fires(51):
                    continue
                if self._faults.fires(41):
                    listener.is_mute = True
                    continue
                self._pack(ts + self._settings.stream_ns, listener.connection, [message])

    def _pack(self, ts: int, connection: int, messages: list[dict[str, Any]]) -> None:
        self.out.append(Outgoing(ts, connection, _PACK.encode(messages)))


def stamp_ext(ts: int) -> Ext:
    """MessagePack's timestamp of 64 bits."""
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    return Ext(-1, (fraction << 34 | seconds).to_bytes(8, "big"))
