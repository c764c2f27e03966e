"""Answers what client programs ask for over the control socket: orders, their own views, streams.

Who a client is was proven by whoever asks here (daemon/api); this side holds it to its own instruments, orders and rates, and
lets the Trader decide. An order's answer is given when its intent is on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from core.clients import ClientDesk
from core.enums import OrderStatus, OrderType, Side, TimeInForce
from core.errors import ConfigError, RefusedError, UnitError
from core.events import ClientCancelRequested, ClientOrderRequested, ClientReplaceRequested, OrderDenied
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.instruments import Instrument
from core.orders import TERMINAL, Order
from core.risk_rates import SlidingWindow
from core.trader import Trader
from core.trader_state import ClientRefRecord
from core.units import INT64_MAX, NS_PER_SECOND
from daemon.audit.record_text import limit_text
from daemon.config.models_api import LEVELS_MAX, Client
from daemon.control.server import LineSource, Reply
from daemon.control.wire import STREAM_INTERVAL_MS_MAX, Request
from daemon.timestamps import parse_moment
from daemon.trading.risk_view import risk_view
from daemon.trading.session import Session
from daemon.trading.stream import TOPICS, Streams
from daemon.trading.views import fill_view, market_view, order_id_text, order_view, positions_view

PATHS = ("/book/{instrument_id}", "/fills/{client_id}", "/risk/{client_id}", "/stream")
ACTION_PATHS = ("/order", "/cancel/{order_id}", "/replace/{order_id}")

_ORDER_ID = re.compile(r"(\d{1,10})-(\d{1,10})", re.ASCII)
_INTERVAL = re.compile(r"\d{1,6}", re.ASCII)
_Number = Annotated[str, msgspec.Meta(max_length=40)]
_Text = Annotated[str, msgspec.Meta(max_length=64)]
ClientRef = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]


class OrderBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers are decimal text in the instrument's units."""

    client_id: _Text
    client_ref: ClientRef
    instrument_id: _Text
    side: Literal["BUY", "SELL"]
    quantity: _Number
    order_type: Literal["LIMIT", "MARKET", "STOP", "STOP_LIMIT"] = "LIMIT"
    price: _Number | None = None
    trigger_price: _Number | None = None
    time_in_force: Literal["GTC", "IOC", "FOK", "DAY", "GTD", "OPG"] = "GTC"
    post_only: bool = False
    reduce_only: bool = False
    display_qty: _Number | None = None
    expire_time: _Text | None = None


class CancelBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: _Text = ""  # empty: an operator, who may cancel anybody's order


class ReplaceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: _Text
    quantity: _Number  # what is to be left
    price: _Number


class Refused(RefusedError):
    """A request that is understood and not done: the reply says why."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.reply: Reply = (status, {"error": error, **more})


class ClientRequests:
    """The requests of one session's clients. Notes fills from the moment it is made; `phase` says where the daemon stands."""

    def __init__(self, session: Session, clients: Sequence[Client], run_id: str, phase: Callable[[], str]) -> None:
        self._session = session
        self._run_id = run_id
        self._phase = phase
        self._clients = {client.id: client for client in clients}
        # Cancels are counted by themselves: they only reduce risk, and a client that has used up its orders may take them back.
        self._orders = {key: SlidingWindow(client.requests_max, NS_PER_SECOND) for key, client in self._clients.items()}
        self._cancels = {key: SlidingWindow(client.requests_max, NS_PER_SECOND) for key, client in self._clients.items()}
        self._levels_max = max((client.levels for client in clients), default=0)
        self.streams = Streams(session, phase, list(self._clients))
        session.on_batch = self.streams.publish

    @property
    def _trader(self) -> Trader:
        return self._session.trader

    @property
    def _desk(self) -> ClientDesk:
        return self._trader.clients

    def answer(self, request: Request) -> Reply | LineSource | None:
        """None where the path is none of these. Raises StorageError where the journal refuses."""
        _, first, *rest = request.path.split("/", 2)
        name = rest[0] if rest else ""
        try:
            match request.method, first, bool(name):
                case "POST", "order", False:
                    return self._order(_body(request, OrderBody))
                case "POST", "cancel", True:
                    return self._cancel(name, _body(request, CancelBody))
                case "POST", "replace", True:
                    return self._replace(name, _body(request, ReplaceBody))
                case "GET", "book", True:
                    return self._book(name, request)
                case "GET", "fills", True:
                    return self._fills(self._client(name))
                case "GET", "risk", True:
                    return 200, risk_view(self._trader, self._client(name).id, self._trader.now)
                case "GET", "orders", False if "client_id" in request.query:
                    return self._own_orders(self._client(request.query["client_id"]))
                case "GET", "positions", False if "client_id" in request.query:
                    return 200, positions_view(self._trader, self._client(request.query["client_id"]).id)
                case "GET", "stream", False:
                    return self._stream(request.query)
                case _, "order" | "stream", False:
                    return 405, {"error": f"{request.path} does not take {request.method}"}
                case _, "cancel" | "replace" | "book" | "fills" | "risk", True:
                    return 405, {"error": f"/{first} does not take {request.method}"}
        except Refused as refused:
            return refused.reply
        return None

    # Orders.

    def _order(self, body: OrderBody) -> Reply:
        client = self._client(body.client_id)
        instrument = self._instrument(client, body.instrument_id)
        made = self._desk.find(client.id, body.client_ref)
        wanted = _wanted(body, instrument)
        if made is not None:
            return self._repeated(made, wanted)
        self._count(client, self._orders, "orders")
        self._require_running()
        session = self._session
        session.apply(lambda now: [msgspec.structs.replace(wanted, ts_event=now, ts_init=now)], waits_for_disk=True)
        session.inbox.wake()
        made = self._desk.find(client.id, body.client_ref)
        if made is None:
            raise Refused(503, "the order was not taken: the daemon is ending")
        return self._order_answer(made, is_repeated=False)

    def _repeated(self, made: ClientRefRecord, wanted: ClientOrderRequested) -> Reply:
        same = ("instrument_id", "side", "order_type", "quantity", "price", "trigger_price")
        if any(getattr(made, name) != getattr(wanted, name) for name in same):
            order_id = order_id_text(made.client_order_id)
            raise Refused(409, f"client_ref {made.client_ref} is the name of another order, {order_id}", order_id=order_id)
        return self._order_answer(made, is_repeated=True)

    def _order_answer(self, made: ClientRefRecord, *, is_repeated: bool) -> Reply:
        trader = self._trader
        order = trader.orders.get(made.client_order_id)
        answer: dict[str, Any] = {
            "order_id": order_id_text(made.client_order_id),
            "client_ref": made.client_ref,
            "is_repeated": is_repeated,
        }
        if made.limit:
            denial = _denial(made.limit, made.value, made.bound, trader.instruments[made.instrument_id])
            return 409, {"error": _sentence(denial), **answer, "status": OrderStatus.DENIED.name, "denial": denial}
        if order is None:
            # It ended so long ago that only its name is still known.
            return 200, {**answer, "status": "FORGOTTEN", "order": None}
        return 200, {**answer, "status": order.status.name, "order": order_view(trader, order)}

    def _cancel(self, order_id: str, body: CancelBody) -> Reply:
        order = self._find(order_id, body.client_id)
        if order.status in TERMINAL:
            raise Refused(409, f"order {order_id} has ended: {order.status.name}", order=order_view(self._trader, order))
        if body.client_id:
            self._count(self._client(body.client_id), self._cancels, "cancels")
        if order.status is not OrderStatus.PENDING_CANCEL:
            wanted = ClientCancelRequested(0, 0, body.client_id, order.client_order_id)
            self._session.apply(lambda now: [msgspec.structs.replace(wanted, ts_event=now, ts_init=now)], waits_for_disk=True)
            self._session.inbox.wake()
        return 200, {"order": order_view(self._trader, order)}

    def _replace(self, order_id: str, body: ReplaceBody) -> Reply:
        client = self._client(body.client_id)
        order = self._find(order_id, client.id)
        instrument = self._trader.instruments[order.instrument_id]
        quantity = _parsed("quantity", body.quantity, instrument.parse_qty)
        price = _parsed("price", body.price, instrument.parse_price)
        if order.status in TERMINAL:
            raise Refused(409, f"order {order_id} has ended: {order.status.name}", order=order_view(self._trader, order))
        if order.replace_in_flight or (order.is_pending and order.status is not OrderStatus.SUBMITTED):
            raise Refused(409, f"order {order_id} is {order.status.name}: wait for the answer to the request before")
        self._count(client, self._orders, "orders")
        self._require_running()
        wanted = ClientReplaceRequested(0, 0, client.id, order.client_order_id, quantity, price)
        self._session.apply(lambda now: [msgspec.structs.replace(wanted, ts_event=now, ts_init=now)], waits_for_disk=True)
        self._session.inbox.wake()
        denied = self._desk.last_denied
        if denied is not None and denied.client_order_id == order.client_order_id:
            denial = _denial_of(denied, instrument)
            raise Refused(409, _sentence(denial), denial=denial, order=order_view(self._trader, order))
        return 200, {"order": order_view(self._trader, order)}

    # Views.

    def _own_orders(self, client: Client) -> Reply:
        trader = self._trader
        return 200, {"orders": [order_view(trader, order) for order in trader.orders.open_orders(None, client.id)]}

    def _fills(self, client: Client) -> Reply:
        kept = self.streams.fills_of[client.id]
        return 200, {
            "run_id": self._run_id,
            "fills": [fill_view(self._trader, fill, number) for number, fill in kept],
        }

    def _book(self, instrument_id: str, request: Request) -> Reply:
        levels = LEVELS_MAX
        if "client_id" in request.query:
            client = self._client(request.query["client_id"])
            self._instrument(client, instrument_id)
            levels = client.levels
        if instrument_id not in self._trader.states:
            raise Refused(404, f"there is no instrument {instrument_id[:64]!r}")
        return 200, market_view(self._trader, instrument_id, levels)

    def _stream(self, query: dict[str, str]) -> Reply | LineSource:
        unknown = sorted(set(query) - {"topics", "client_id", "interval_ms"})
        topics = query.get("topics", ",".join(TOPICS)).split(",")
        if unknown or not set(topics) <= set(TOPICS):
            raise Refused(400, f"a stream takes topics ({', '.join(TOPICS)}), client_id and interval_ms")
        interval_ms = query.get("interval_ms", "0")
        if _INTERVAL.fullmatch(interval_ms) is None or int(interval_ms) > STREAM_INTERVAL_MS_MAX:
            raise Refused(400, f"interval_ms is a whole number up to {STREAM_INTERVAL_MS_MAX}")
        interval_s = int(interval_ms) / 1_000
        client_id = query.get("client_id", "")
        if not client_id:
            return self.streams.open(topics, "", dict.fromkeys(self._trader.instruments, self._levels_max), interval_s)
        client = self._client(client_id)
        return self.streams.open(topics, client.id, dict.fromkeys(client.instruments, client.levels), interval_s)

    # What every request is held to.

    def _client(self, client_id: str) -> Client:
        client = self._clients.get(client_id)
        if client is None:
            raise Refused(404, f"there is no client {client_id[:64]!r}")
        return client

    def _instrument(self, client: Client, instrument_id: str) -> Instrument:
        if instrument_id not in client.instruments:
            raise Refused(403, f"{instrument_id[:64]!r} is not one of the instruments of client {client.id}")
        return self._trader.instruments[instrument_id]

    def _find(self, order_id: str, client_id: str) -> Order:
        """Another's order is not found either: what there is of others is not for this client to know."""
        match = _ORDER_ID.fullmatch(order_id)
        order = None
        if match is not None and int(match[2]) <= COUNTER_MAX:
            order = self._trader.orders.get(int(match[1]) << COUNTER_BITS | int(match[2]))
        if order is None or (client_id and order.strategy_id != client_id):
            raise Refused(404, f"there is no order {order_id[:32]!r} of this client that is remembered")
        return order

    def _count(self, client: Client, windows: dict[str, SlidingWindow], what: str) -> None:
        now = self._session.clock.now()
        window = windows[client.id]
        if not window.has_room(now):
            raise Refused(429, f"client {client.id} has sent its {client.requests_max} {what} of this second")
        window.add(now)

    def _require_running(self) -> None:
        if self._phase() != "running":
            raise Refused(409, f"the daemon is {self._phase()}: no order is taken")


def _body(request: Request, kind: Any) -> Any:
    try:
        return msgspec.convert(request.body, kind)
    except msgspec.ValidationError as error:
        raise Refused(400, f"the body: {error}") from None


def _parsed(name: str, text: str, parse: Any) -> int:
    try:
        return int(parse(text))
    except UnitError as error:
        raise Refused(400, f"{name}: {error}") from None


def _wanted(body: OrderBody, instrument: Instrument) -> ClientOrderRequested:
    """The event, without its stamps."""

    def price(name: str, text: str | None) -> int | None:
        return None if text is None else _parsed(name, text, instrument.parse_price)

    expire_ts = 0
    if body.expire_time is not None:
        try:
            expire_ts = parse_moment(body.expire_time)
        except ConfigError as error:
            raise Refused(400, f"expire_time: {error}") from None
        if not 0 < expire_ts <= INT64_MAX:
            raise Refused(400, "expire_time: lies outside what can be counted")
    return ClientOrderRequested(
        ts_event=0,
        ts_init=0,
        client_id=body.client_id,
        client_ref=body.client_ref,
        instrument_id=body.instrument_id,
        side=Side[body.side],
        order_type=OrderType[body.order_type],
        quantity=_parsed("quantity", body.quantity, instrument.parse_qty),
        price=price("price", body.price),
        trigger_price=price("trigger_price", body.trigger_price),
        time_in_force=TimeInForce[body.time_in_force],
        post_only=body.post_only,
        reduce_only=body.reduce_only,
        display_qty=0 if body.display_qty is None else _parsed("display_qty", body.display_qty, instrument.parse_qty),
        expire_ts=expire_ts,
    )


def _denial_of(denied: OrderDenied, instrument: Instrument) -> dict[str, Any]:
    return _denial(denied.limit, denied.value, denied.bound, instrument)


def _denial(limit: str, value: int, bound: int, instrument: Instrument) -> dict[str, Any]:
    return {"limit": limit, "value": limit_text(limit, value, instrument), "bound": limit_text(limit, bound, instrument)}


def _sentence(denial: dict[str, Any]) -> str:
    return f"denied by the risk gate: {denial['limit']}, value {denial['value']}, bound {denial['bound']}; nothing was sent"
