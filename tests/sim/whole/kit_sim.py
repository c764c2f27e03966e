"""tradingd's own venue protocol in a world: the exchange of daemon/venue_sim and the adapter of adapters/sim.

Both ends use sockets of the system's own where they are shells; here both get streams of the world's network instead.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import anyio

from adapters.sim.address import Address
from adapters.sim.wire import VENUE_ORDER_ID_MIN
from core.enums import CashKind
from core.errors import TransportError
from core.identifiers import format_order_id
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import Exchange, Peer, Settings
from sim.venues.faults import Random
from sim.virtual.agenda import NS_PER_S, Agenda
from sim.virtual.loop import VirtualLoop
from tests.daemon.venue_sim.random_market import INSTRUMENT, RandomMarket
from tests.sim.whole.venue_kit import Ledger

HOST, PORT = "127.0.0.1", 7001
TURN_NS = 30_000_000  # between two looks at the market
POSITION_MAX = 60
CONFIG = f"""
[[instruments.inline]]
instrument_id = "{INSTRUMENT}"
class = "equity"
base_currency = "ACME"
quote_currency = "USD"
price_scale = 2
qty_scale = 0
tick = "0.01"
lot = "1"
price_max = "10000"

[[connections]]
venue = "SIM"
adapter = "sim"
address = "{HOST}:{PORT}"

[risk.instruments."{INSTRUMENT}"]
position_qty_max = "{{position_max}}"
"""


class SimKit:
    venue = "SIM"
    account = "main"

    def __init__(self, agenda: Agenda, seed: int) -> None:
        self.limits = {INSTRUMENT: POSITION_MAX}
        self.rest_ns = 0
        self.clock_step_ns_max = 3_600 * NS_PER_S
        self._agenda = agenda
        self._lines: list[dict[str, Any]] = []
        settings = Settings(
            account=self.account,
            tokens={"trade": ("",), "switch": ("",), "watch": ("",)},
            instrument_ids=frozenset((INSTRUMENT,)),
        )
        self.market = RandomMarket(random.Random(seed))
        self.exchange = Exchange(self.market, VenueAccount({INSTRUMENT: 0}), settings, self._lines.append)
        # Of its own: what else happens in the world does not depend on it.
        self._money = random.Random(f"money {seed}")
        self._ends: dict[int, tuple[Peer, asyncio.Transport]] = {}

    def config(self) -> str:
        return CONFIG.format(position_max=POSITION_MAX)

    def start(self, loop: VirtualLoop) -> None:
        task = loop.create_task(loop.create_server(lambda: _VenueEnd(self), HOST, PORT))
        self._server = task
        self._agenda.after(TURN_NS, self._turn)

    def act(self, random: Random) -> str:
        """Money moves without a fill: of the instrument, or of the account."""
        draw = self._money
        kind = draw.choice((CashKind.FUNDING, CashKind.DIVIDEND, CashKind.INTEREST, CashKind.TRANSFER))
        instrument_id = INSTRUMENT if kind in (CashKind.FUNDING, CashKind.DIVIDEND) else ""
        moved = self.exchange.move_cash(self._agenda.ns, kind, "USD", draw.randint(-(10**9), 10**9), instrument_id)
        self._flush()
        return f"{self.venue}: {moved.kind.name} of {moved.amount}"

    def calm(self) -> None:
        """It does nothing wrong by itself."""

    def cash(self) -> dict[str, str]:
        return {"USD": "1000000"}

    def lots(self) -> dict[str, int]:
        return {}

    def secrets(self) -> dict[str, str]:
        return {}

    def failure(self) -> str:
        return ""

    def fired(self) -> dict[str, int]:
        return {}

    # The shell.

    def begin(self, transport: asyncio.Transport) -> Peer:
        peer = self.exchange.connect(self._agenda.ns)
        self._ends[id(peer)] = (peer, transport)
        return peer

    def receive(self, peer: Peer, data: bytes) -> None:
        if not peer.is_closing:
            self.exchange.receive(self._agenda.ns, peer, data)
        self._flush()

    def end(self, peer: Peer) -> None:
        del self._ends[id(peer)]
        self.exchange.disconnect(self._agenda.ns, peer)
        self._flush()

    def _turn(self) -> None:
        while self.exchange.advance(self._agenda.ns):
            pass
        self._flush()
        self._agenda.after(TURN_NS, self._turn)

    def _flush(self) -> None:
        for peer, transport in list(self._ends.values()):
            if peer.out:
                transport.write(peer.out)
                peer.out.clear()
            if peer.is_closing:
                transport.close()

    # The ledger.

    def ledger(self) -> Ledger:
        orders: dict[int, dict[str, Any]] = {}
        fills: list[dict[str, Any]] = []
        for line in self._lines:
            order_id = line.get("client_order_id", 0)
            order = orders.get(order_id)
            match line["kind"]:
                case "submit" if order is None:
                    orders[order_id] = self._order(line)
                case "rejected" if line["reason"] != "DUPLICATE_ID":
                    del orders[order_id]
                case "accepted" | "replaced" if order is not None:
                    order["qty"] = order["filled_qty"] + line["leaves_qty"]
                case "filled" if order is not None:
                    order["filled_qty"] += line["qty"]
                    order["is_open"] = line["leaves_qty"] > 0
                    fills.append(self._fill(line))
                case "canceled" | "expired" if order is not None:
                    order["is_open"] = False
                case _:
                    continue
        return {
            "orders": list(orders.values()),
            "fills": fills,
            "positions": {self.account: dict(self.exchange.account.positions)},
            "balances": {},
            "cash": [
                {
                    "account": self.account,
                    "instrument_id": line["instrument_id"],
                    "currency": line["currency"],
                    "amount": line["amount"],
                    "ts": line["ts"],
                    "cause": line["cash_kind"],
                }
                for line in self._lines
                if line["kind"] == "cash_moved"
            ],
        }

    def _order(self, line: dict[str, Any]) -> dict[str, Any]:
        return {
            "account": self.account,
            "instrument_id": line["instrument_id"],
            "venue_order_id": str(line["client_order_id"]),
            "client_order_id": format_order_id(line["client_order_id"], "whole"),
            "side": line["side"],
            "qty": line["quantity"],
            "filled_qty": 0,
            "is_open": True,
            "ts": line["ts"],
            "reduce_only": line["reduce_only"],
            "origin": "forced" if line["client_order_id"] >= VENUE_ORDER_ID_MIN else "client",
        }

    def _fill(self, line: dict[str, Any]) -> dict[str, Any]:
        return {
            "account": self.account,
            "instrument_id": line["instrument_id"],
            "venue_order_id": str(line["client_order_id"]),
            "client_order_id": format_order_id(line["client_order_id"], "whole"),
            "trade_id": line["execution_id"],
            "side": line["side"],
            "qty": line["qty"],
            "price": line["price"],
            "fee": line["commission"],
            "fee_currency": line["commission_currency"],
            "ts": line["ts"],
            "is_busted": False,
        }


class _VenueEnd(asyncio.Protocol):
    def __init__(self, kit: SimKit) -> None:
        self._kit = kit
        self._peer: Peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._peer = self._kit.begin(transport)

    def data_received(self, data: bytes) -> None:
        self._kit.receive(self._peer, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._kit.end(self._peer)


class VirtualStream(asyncio.Protocol):
    """adapters.sim.io.Stream over the world's network."""

    def __init__(self) -> None:
        self.is_open = True
        self.bytes_waiting = 0
        self._transport: asyncio.Transport
        self._came = bytearray()
        self._woken = anyio.Event()
        self._ended = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = f"the connection broke: {exc}" if exc else "the connection has ended"
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
        self._woken = anyio.Event()

    def send(self, data: bytes | bytearray) -> None:
        if self.is_open and data:
            self._transport.write(bytes(data))

    async def flush(self) -> None:
        return

    async def receive(self) -> bytes:
        while not self._came:
            if self._ended or not self.is_open:
                self.close()
                raise TransportError(self._ended or "the connection has ended")
            await self._woken.wait()
        data = bytes(self._came)
        self._came.clear()
        return data

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._transport.close()
            self._wake()


async def connect(address: Address) -> VirtualStream:
    """In place of adapters.sim.io.connect."""
    try:
        _, stream = await asyncio.get_running_loop().create_connection(VirtualStream, address.host, address.port)
    except OSError as error:
        raise TransportError(f"{address}: no venue answers: {error}") from None
    return stream
