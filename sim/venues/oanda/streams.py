"""The two streams: who listens, and what each connection has not been sent yet. Pure."""

from __future__ import annotations

import msgspec

from core.units import NS_PER_SECOND
from sim.venues.faults import Faults
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook, Transaction
from sim.venues.oanda.engine import Engine
from sim.venues.oanda.faults import line, price_line
from sim.venues.oanda.views import price_view
from sim.venues.protocol import Outgoing

HEARTBEAT_NS = 5 * NS_PER_SECOND
STREAMS_MAX = 20  # of one token


class Stream(msgspec.Struct):
    """`names` of a price stream, with the quote of each that was sent last; None: a stream of transactions."""

    connection: int
    book: AccountBook
    heartbeat_ts: int
    names: dict[str, int] | None = None
    lines: dict[str, bytes] = {}
    is_silent: bool = False
    held: bytes = b""  # a line that goes behind the next one


class Streams:
    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults
        self._streams: dict[int, Stream] = {}

    def open_transactions(self, ts: int, connection: int, book: AccountBook) -> bytes:
        """The first line."""
        self._streams[connection] = Stream(connection, book, ts + HEARTBEAT_NS)
        return line(self._heartbeat(ts, self._streams[connection]))

    def open_prices(self, ts: int, connection: int, book: AccountBook, names: list[str]) -> bytes:
        """The first lines: what every instrument can be dealt at now."""
        quotes = self._engine.dealer.quotes
        stream = Stream(connection, book, ts + HEARTBEAT_NS, {name: quotes[name].seen for name in names})
        first = b""
        for name in names:
            stream.lines[name] = line(price_view(ts, self._engine.exchange.listings[name], quotes[name]))
            first += stream.lines[name]
        self._streams[connection] = stream
        return first

    def close(self, connection: int) -> None:
        self._streams.pop(connection, None)

    def open_of(self, token: str) -> int:
        return sum(stream.book.token == token for stream in self._streams.values())

    def connections_of(self, book: AccountBook, *, prices: bool | None = None) -> list[int]:
        return [
            stream.connection
            for stream in self._streams.values()
            if stream.book is book and (prices is None or (stream.names is not None) is prices)
        ]

    def next_ts(self) -> int | None:
        return min((stream.heartbeat_ts for stream in self._streams.values()), default=None)

    def tell(self, ts: int, told: list[tuple[AccountBook, Transaction]]) -> list[Outgoing]:
        """New transactions, to everybody who listens."""
        found = []
        for book, made in told:
            for stream in [each for each in self._streams.values() if each.names is None and each.book is book]:
                found += self._tell(ts, stream, line(made))
        return found

    def _tell(self, ts: int, stream: Stream, said: bytes) -> list[Outgoing]:
        faults = self._faults
        if faults.fires(41):
            stream.is_silent = True
        if stream.is_silent or faults.fires(42):
            return []
        if faults.fires(43):
            self.close(stream.connection)
            return [Outgoing(ts, stream.connection, None)]
        if faults.fires(35) and not stream.held:
            stream.held = said
            return []
        if faults.fires(22):
            said += said
        said, stream.held = said + stream.held, b""
        stream.heartbeat_ts = ts + HEARTBEAT_NS
        return [Outgoing(ts, stream.connection, said)]

    def advance(self, ts: int) -> list[Outgoing]:
        """Prices that have changed, and heartbeats where nothing else was said."""
        found = []
        for stream in list(self._streams.values()):
            if stream.is_silent:
                stream.heartbeat_ts = ts + HEARTBEAT_NS
                continue
            said = b"" if stream.names is None else self._prices(ts, stream)
            if not said and ts >= stream.heartbeat_ts:
                said, stream.held = stream.held + line(self._heartbeat(ts, stream)), b""
            if said:
                stream.heartbeat_ts = ts + HEARTBEAT_NS
                found.append(Outgoing(ts, stream.connection, said))
        return found

    def _prices(self, ts: int, stream: Stream) -> bytes:
        assert stream.names is not None
        said = b""
        for name, seen in stream.names.items():
            quoted = self._engine.dealer.quotes[name]
            if quoted.seen == seen:
                continue
            stream.names[name] = quoted.seen
            price = price_view(ts, self._engine.exchange.listings[name], quoted)
            said += b"".join(price_line(self._faults, price, stream.lines.get(name, b"")))
            stream.lines[name] = line(price)
        return said

    def _heartbeat(self, ts: int, stream: Stream) -> dict[str, str]:
        said = {"type": "HEARTBEAT", "time": text.time(ts)}
        return (
            said
            if stream.names is not None
            else {"type": "HEARTBEAT", "lastTransactionID": stream.book.last_id, "time": said["time"]}
        )
