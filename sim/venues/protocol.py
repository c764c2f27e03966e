"""What every venue simulator is to its shells: HTTP requests, frames and time in; answers and frames out. Pure.

A shell owns the sockets (daemon/venue_sim for loopback) and the clock; connections are numbered by it, from 1, never again.
Stamps are ns UTC and never go back. Everything that a simulated venue does wrong on purpose it says in what it gives back: late,
cut, never.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from sim.venues.faults import Faults


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request. `path` without, `query` without "?", both as they came; header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """`status` 101 takes a WebSocket's opening request; the shell writes the handshake.

    `is_stream`: the answer has no end: `body` is its first chunk, and Outgoing bytes to this connection are the next ones.
    `bytes_max`: so many bytes of the answer leave, then the connection is cut; 0: none. `never`: the request is left unanswered
    on a connection that stays open. `ping_ns`: of a 101: the shell pings so often, 0 never.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay_ns: int = 0
    is_stream: bool = False
    bytes_max: int | None = None
    never: bool = False
    closes: bool = False  # the connection, behind the answer
    ping_ns: int = 0


class Outgoing(msgspec.Struct, frozen=True):
    """For a connection, at the earliest at `ts`: str is a text frame; bytes a binary frame, a chunk, or raw bytes of a TCP venue.

    payload None closes it: with a WebSocket's closing handshake (a stream's last chunk) where `code` is not 0, else by a cut.
    `freezes`: from then on the connection is half open: nothing is read, nothing is answered, and nobody is told.
    """

    ts: int
    connection: int
    payload: str | bytes | None
    code: int = 0
    freezes: bool = False


class SimVenue(Protocol):
    """`receive` is given str and bytes as Outgoing has them. Nothing here raises for what a client sends.

    `wire` "tcp": raw bytes both ways, and `http` is never called. `faults` is for a drill to arm.
    """

    wire: Literal["http", "tcp"]
    faults: Faults

    def connected(self, ts: int, connection: int) -> None:
        """A TCP connection is there."""

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply: ...

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None: ...

    def disconnected(self, ts: int, connection: int) -> None:
        """It is gone, whoever ended it; not called for one that the venue closed itself."""

    def next_ts(self) -> int | None:
        """When `advance` has something to do next; it may be called earlier and later."""

    def advance(self, ts: int) -> None: ...

    def take(self) -> list[Outgoing]:
        """What has to be sent, oldest first; empty until something happens again. To be called after each of the calls above."""

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        """Something happens at the venue that no client asked for: a trade of somebody else, a halt, a liquidation (its document
        lists them). Raises ValueError for a name or arguments that it does not know."""

    def ledger(self) -> dict[str, Any]:
        """What really happened, in plain types, for an auditor that shares no code with anybody:

        {"orders": [{"account", "instrument_id", "venue_order_id", "client_order_id", "side": "BUY"|"SELL", "qty", "filled_qty",
        "is_open", "ts", "reduce_only", "origin": "client"|"manual"|"forced"}], "fills": [{"account", "instrument_id",
        "venue_order_id", "client_order_id", "trade_id", "side", "qty", "price", "fee", "fee_currency", "ts", "is_busted"}],
        "positions": {account: {instrument_id: qty}}, "balances": {account: {currency: amount}}}. Numbers are integers: prices,
        quantities in the instrument's units, money in 10^-8; ts in ns UTC. `client_order_id` is the text that the client sent.
        """
