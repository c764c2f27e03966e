"""The simulated venue's protocol: bytes of its connections and time in, bytes for them and lines of its ledger out. Pure.

One account that outlives connections: one connection may trade it, any number may hold its switch. Everything that happens to an
order, and money that no fill explains, is numbered, from 1 in the ledger's life, and goes to whoever trades.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, assert_never

import msgspec

from adapters.sim.pending import Pending
from adapters.sim.wire import (
    EVENTS_PER_MESSAGE_MAX,
    FIRST_LOGIN,
    HEARTBEAT_NS,
    REQUEST_BYTES_MAX,
    SILENCE_NS_MAX,
    VENUE_ORDER_ID_MIN,
    VERSION,
    Answer,
    CancelEverything,
    CashEvents,
    DeadMan,
    Done,
    FeedEnded,
    Flatten,
    Frames,
    Heartbeat,
    LoggedIn,
    Login,
    LoginRefused,
    Logout,
    MarketEvents,
    OrderEvents,
    Query,
    Request,
    Role,
    SendCommand,
    StateReply,
    decode_request,
    encode,
)
from core.commands import CancelAll, CancelOrder, OrderCommand, ReplaceOrder, SubmitOrder
from core.enums import CashKind, OrderType, Reason, Side
from core.errors import CapacityError, VenueProtocolError
from core.events import (
    AnyEvent,
    AnyOrderEvent,
    Book,
    CancelRejected,
    CashMoved,
    GapDetected,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    Quote,
    ReplaceRejected,
    StatusChanged,
    Trade,
)
from daemon.venue_sim.account import VenueAccount

WAKEUPS_PER_TURN_MAX = 256  # then connections have their turn
SETTLE_NS_MAX = 1_000_000_000  # how long a login waits for the answers to what the connection before it had sent
MARKET_BYTES_MAX = 1 << 20  # that a reader has not taken yet: beyond, market data is left out
ORDER_IDS_KEPT_MAX = 1_000_000
MS_NS = 1_000_000
HEARING: tuple[Role, ...] = ("trade", "watch")
PRICED = (OrderType.LIMIT, OrderType.STOP_LIMIT)

MarketEvent = Quote | Book | Trade | StatusChanged | GapDetected
Line = dict[str, Any]


class Market(Protocol):
    """The simulated venue as sim/flow_venue.py and sim/tape.py have it."""

    def advance(self, until_ts: int) -> Sequence[AnyEvent]: ...

    def take(self, command: OrderCommand) -> None: ...

    @property
    def done(self) -> bool: ...


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`tokens` by role; "" where none is asked for."""

    account: str
    tokens: dict[Role, tuple[str, ...]]
    instrument_ids: frozenset[str]
    cancel_on_disconnect: bool = False


class Peer:
    """One connection. `out` is for the shell to send; once `is_closing` and `out` is sent it closes and reads no more."""

    def __init__(self, ts: int) -> None:
        self.out = bytearray()
        self.is_closing = False
        self.bytes_waiting = 0  # that were given to the socket and have not left: the shell says
        self.role: Role | None = None  # once it has logged in
        self.frames = Frames(REQUEST_BYTES_MAX)
        self.heard_ts = ts
        self.said_ts = ts
        self.market_sequence = 0
        self.login: Login | None = None  # a login that waits for the account to settle
        self.login_due_ts = 0

    def say(self, ts: int, message: Answer) -> None:
        self.out += encode(message)
        self.said_ts = ts


class Exchange:
    """`note` is called with each line of the ledger, before anything that follows from it is in a peer's `out`.

    `life` counts the venue's lives in this ledger, from 1; the rest is what the lives before left (daemon/venue_sim/ledger.py).
    """

    def __init__(
        self,
        market: Market,
        account: VenueAccount,
        settings: Settings,
        note: Callable[[Line], None],
        *,
        life: int = 1,
        number: int = 0,
        venue_orders: int = 0,
        used_ids: Sequence[int] = (),
    ) -> None:
        self.peers: list[Peer] = []
        self.account = account
        self.number = number  # of the account's last event
        self.feed_ended = False
        self._life = life
        self._market = market
        self._settings = settings
        self._note = note
        self._pending = Pending({order_id: order.instrument_id for order_id, order in account.open.items()})
        self._used: dict[int, None] = {}
        self._forgotten_max = 0  # ids up to this one were used, or never will be
        for order_id in used_ids:
            if order_id < VENUE_ORDER_ID_MIN:
                self._remember(order_id)
        self._venue_orders = venue_orders
        self._dead_man_ts: int | None = None
        self._latest: dict[tuple[str, type], MarketEvent] = {}

    # Connections.

    def connect(self, ts: int) -> Peer:
        peer = Peer(ts)
        self.peers.append(peer)
        return peer

    def disconnect(self, ts: int, peer: Peer) -> None:
        """It is gone, whoever closed it."""
        self.peers.remove(peer)
        if peer.role is None:
            return
        self._note({"kind": "disconnected", "ts": ts, "role": peer.role})
        was_trading = peer.role == "trade" and not peer.is_closing
        if self._settings.cancel_on_disconnect and was_trading and self.account.open:
            self._cancel_everything(ts, "the trading connection is gone")

    def receive(self, ts: int, peer: Peer, data: bytes) -> None:
        """What came in on it. Whoever breaks the protocol, or was fenced off, is heard no more."""
        peer.heard_ts = ts
        try:
            for payload in peer.frames.receive(data):
                if peer.is_closing:
                    return
                self._request(ts, peer, decode_request(payload))
        except VenueProtocolError as error:
            self._close(ts, peer, str(error)[:200])

    def _close(self, ts: int, peer: Peer, reason: str) -> None:
        if not peer.is_closing:
            peer.say(ts, Logout(reason))
            peer.is_closing = True

    def _request(self, ts: int, peer: Peer, request: Request) -> None:
        if isinstance(request, Login):
            self._login(ts, peer, request)
            return
        if isinstance(request, Heartbeat):
            return
        if peer.role is None:
            raise VenueProtocolError("the first message on a connection is a login, and it must be answered first")
        match request:
            case SendCommand(command=command):
                if peer.role != "trade":
                    raise VenueProtocolError("only the role trade sends orders")
                self._command(ts, command)
            case Query(request=number, since_ts=since_ts):
                self._run_market(ts)
                peer.say(ts, StateReply(number, self.number, self.account.state_since(since_ts, ts)))
            case CancelEverything(request=number):
                self._require_switch(peer, request)
                self._cancel_everything(ts, "the switch")
                peer.say(ts, Done(number))
            case Flatten(request=number):
                self._require_switch(peer, request)
                self._flatten(ts)
                peer.say(ts, Done(number))
            case DeadMan(request=number, timeout_ms=timeout_ms):
                self._require_switch(peer, request)
                self._dead_man_ts = ts + timeout_ms * MS_NS if timeout_ms else None
                peer.say(ts, Done(number))
            case Logout(reason=reason):
                self._note({"kind": "logout", "ts": ts, "role": peer.role, "reason": reason})
                peer.is_closing = True
            case _:
                assert_never(request)

    def _require_switch(self, peer: Peer, request: Request) -> None:
        if peer.role != "switch":
            raise VenueProtocolError(f"{type(request).__name__} is for a switch")

    # Login.

    def _login(self, ts: int, peer: Peer, login: Login) -> None:
        if peer.role is not None or peer.login is not None:
            raise VenueProtocolError("a connection logs in once")
        settings = self._settings
        reason = ""
        if login.version != VERSION:
            reason = f"version {login.version} of the protocol; here it is {VERSION}"
        elif login.account != settings.account:
            reason = f"there is no account {login.account!r} here"
        elif not any(hmac.compare_digest(login.token.encode(), token.encode()) for token in settings.tokens[login.role]):
            reason = f"the token is not one for the role {login.role!r}"
        if reason:
            self._note({"kind": "login_refused", "ts": ts, "role": login.role, "reason": reason})
            peer.say(ts, LoginRefused(reason))
            peer.is_closing = True
            return
        if login.role == "trade":
            for other in self.peers:
                if other is not peer and (other.role == "trade" or (other.login is not None and other.login.role == "trade")):
                    # From now on nothing of it counts, read or not: two must not trade one account.
                    self._close(ts, other, "another connection trades the account now")
        peer.login = login
        peer.login_due_ts = ts + (SETTLE_NS_MAX if login.role == "trade" else 0)
        self._finish_login(ts, peer, login)

    def _finish_login(self, ts: int, peer: Peer, login: Login) -> None:
        """Where something is still on its way to an answer, what is open is not known yet: the login waits."""
        self._run_market(ts)
        if self._pending.asked and ts < peer.login_due_ts:
            return
        peer.login = None
        peer.role = login.role
        self._note({"kind": "login", "ts": ts, "role": login.role, "seen": login.last_event})
        seen = login.last_event if login.last_event != FIRST_LOGIN else None
        peer.say(ts, LoggedIn(self.number, ts, self.account.state_behind(seen, ts)))
        if login.role not in HEARING:
            return
        self._say_market(ts, peer, list(self._latest.values()))
        if self.feed_ended:
            peer.say(ts, FeedEnded("the recording has ended"))

    # Commands.

    def _command(self, ts: int, command: OrderCommand) -> None:
        self._run_market(ts)
        self._note(_line_of(command, ts))
        refused = self._refusal(ts, command)
        if refused is not None:
            self._happened([refused])
            return
        if isinstance(command, SubmitOrder):
            self._remember(command.client_order_id)
        self._give(ts, command)

    def _give(self, ts: int, command: OrderCommand) -> None:
        try:
            self._market.take(command)
        except CapacityError:
            # As a venue does that is too busy.
            self._happened(_busy(ts, command, self._pending))
            return
        if isinstance(command, SubmitOrder):
            self.account.take(command)
        self._pending.sent(command)

    def _refusal(self, ts: int, command: OrderCommand) -> AnyOrderEvent | None:
        """What the matching engine would not even understand."""
        if isinstance(command, CancelAll):
            if command.instrument_id is not None and command.instrument_id not in self._settings.instrument_ids:
                raise VenueProtocolError(f"there is no instrument {command.instrument_id!r} here")
            return None
        order_id = command.client_order_id
        if order_id <= 0 or (isinstance(command, SubmitOrder) and order_id >= VENUE_ORDER_ID_MIN):
            raise VenueProtocolError(f"{order_id} cannot be an order's id")
        if not isinstance(command, SubmitOrder):
            return None
        reason = Reason.NONE
        if self._is_used(order_id):
            reason = Reason.DUPLICATE_ID
        elif command.instrument_id not in self._settings.instrument_ids:
            reason = Reason.BAD_FIELD
        elif command.order_type in PRICED and command.price is None:
            reason = Reason.BAD_PRICE
        elif command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT) and command.trigger_price is None:
            reason = Reason.BAD_TRIGGER
        return None if reason is Reason.NONE else OrderRejected(ts, ts, order_id, reason)

    def _is_used(self, order_id: int) -> bool:
        return order_id in self._used or order_id <= self._forgotten_max

    def _remember(self, order_id: int) -> None:
        self._used[order_id] = None
        if len(self._used) > ORDER_IDS_KEPT_MAX:
            oldest = next(iter(self._used))
            del self._used[oldest]
            self._forgotten_max = max(self._forgotten_max, oldest)

    def _cancel_everything(self, ts: int, why: str) -> None:
        self._run_market(ts)
        self._note({"kind": "cancel_everything", "ts": ts, "why": why})
        self._give(ts, CancelAll(ts, None))

    def _flatten(self, ts: int) -> None:
        self._run_market(ts)
        self._note({"kind": "flatten", "ts": ts, "why": "the switch"})
        for instrument_id, qty in sorted(self.account.positions.items()):
            if qty:
                self._venue_orders += 1
                order = SubmitOrder(
                    ts=ts,
                    client_order_id=VENUE_ORDER_ID_MIN + self._venue_orders,
                    strategy_id="venue",
                    instrument_id=instrument_id,
                    side=Side.SELL if qty > 0 else Side.BUY,
                    order_type=OrderType.MARKET,
                    quantity=abs(qty),
                    price=None,
                    reduce_only=True,
                )
                self._note(_line_of(order, ts))
                self._give(ts, order)

    # Time.

    @property
    def is_waiting(self) -> bool:
        """Something is on its way: look again soon."""
        return bool(self._pending.asked)

    def advance(self, ts: int) -> bool:
        """Everything that is due by `ts`. True: there is more to do at once."""
        is_behind = self._run_market(ts)
        if self._dead_man_ts is not None and ts >= self._dead_man_ts:
            self._dead_man_ts = None
            self._cancel_everything(ts, "the dead-man switch")
        for peer in self.peers:
            if peer.is_closing:
                continue
            if peer.login is not None:
                self._finish_login(ts, peer, peer.login)
            if peer.role == "switch":
                continue  # it says something when there is something to say
            if ts - peer.heard_ts >= SILENCE_NS_MAX:
                self._close(ts, peer, f"nothing was heard for {SILENCE_NS_MAX // 10**9} s")
            elif ts - peer.said_ts >= HEARTBEAT_NS:
                peer.say(ts, Heartbeat(ts))
        return is_behind

    def _run_market(self, ts: int) -> bool:
        """The market up to `ts`; False once it is there."""
        market = self._market
        for _ in range(WAKEUPS_PER_TURN_MAX):
            events = market.advance(ts)
            if not events:
                if market.done and not self.feed_ended:
                    self.feed_ended = True
                    for peer in self._hearers():
                        peer.say(ts, FeedEnded("the recording has ended"))
                return False
            self._events(ts, events)
        return True

    def _events(self, ts: int, events: Sequence[AnyEvent]) -> None:
        orders: list[AnyOrderEvent] = []
        seen: list[MarketEvent] = []
        moved: list[CashMoved] = []
        for event in events:
            if isinstance(event, OrderFilled):
                # The matching engine counts from 1 in each life of the venue.
                orders.append(msgspec.structs.replace(event, execution_id=f"{self._life}-{event.execution_id}"))
            elif isinstance(event, OrderEvent):
                orders.append(event)
            elif isinstance(event, CashMoved):
                moved.append(event)
            elif isinstance(event, Quote | Book | Trade | StatusChanged | GapDetected):
                seen.append(event)
        if orders:
            self._happened(orders)
        for each in moved:
            self._moved(each)
        if seen:
            for event in seen:
                if not isinstance(event, Trade | GapDetected):
                    self._latest[event.instrument_id, type(event)] = event
            for peer in self._hearers():
                self._say_market(ts, peer, seen)

    def _happened(self, events: Sequence[AnyOrderEvent]) -> None:
        """Numbered, in the ledger and in the books before anybody hears of it."""
        first = self.number + 1
        for event in events:
            self.number += 1
            self._note({"number": self.number, **_line_of(event, event.ts_event)})
            self.account.book(event, self.number)
            self._pending.happened(event)
        for peer in self._hearers():
            for start in range(0, len(events), EVENTS_PER_MESSAGE_MAX):
                part = tuple(events[start : start + EVENTS_PER_MESSAGE_MAX])
                peer.say(part[-1].ts_init, OrderEvents(first + start, part))

    def move_cash(self, ts: int, kind: CashKind, currency: str, amount: int, instrument_id: str = "") -> CashMoved:
        """The venue moves money of the account, > 0 towards it, in 10^-MONEY_SCALE: a deed that no client asked for."""
        venue = min(self._settings.instrument_ids).rpartition(".")[2]
        self._run_market(ts)
        moved = CashMoved(ts, ts, venue, f"M{self.number + 1}", kind, currency, amount, instrument_id)
        self._moved(moved)
        return moved

    def _moved(self, moved: CashMoved) -> None:
        self.number += 1
        line = _line_of(moved, moved.ts_event)
        self._note({**line, "number": self.number, "kind": "cash_moved", "cash_kind": moved.kind.name})
        self.account.book(moved, self.number)
        for peer in self._hearers():
            peer.say(moved.ts_init, CashEvents(self.number, (moved,)))

    def _say_market(self, ts: int, peer: Peer, events: Sequence[MarketEvent]) -> None:
        for start in range(0, len(events), EVENTS_PER_MESSAGE_MAX):
            peer.market_sequence += 1
            if peer.bytes_waiting + len(peer.out) > MARKET_BYTES_MAX:
                continue  # a slow reader sees by the sequence that something is missing
            peer.say(ts, MarketEvents(peer.market_sequence, tuple(events[start : start + EVENTS_PER_MESSAGE_MAX])))

    def _hearers(self) -> Iterator[Peer]:
        return (peer for peer in self.peers if peer.role in HEARING and not peer.is_closing)

    def goodbye(self, ts: int) -> None:
        """The venue goes down in order."""
        for peer in self.peers:
            self._close(ts, peer, "the venue goes down")


def _busy(ts: int, command: OrderCommand, pending: Pending) -> list[AnyOrderEvent]:
    match command:
        case SubmitOrder(client_order_id=order_id):
            return [OrderRejected(ts, ts, order_id, Reason.FULL)]
        case CancelOrder(client_order_id=order_id):
            return [CancelRejected(ts, ts, order_id, Reason.FULL)]
        case ReplaceOrder(client_order_id=order_id):
            return [ReplaceRejected(ts, ts, order_id, Reason.FULL)]
        case CancelAll():
            return [CancelRejected(ts, ts, order_id, Reason.FULL) for order_id in pending.scope(command)]


def _line_of(record: OrderCommand | AnyOrderEvent | CashMoved, ts: int) -> Line:
    """A line of the ledger: what it is, when, and its fields; closed sets by their names."""
    kind = record.__struct_config__.tag
    fields = {
        name: value.name if hasattr(value, "name") else value
        for name, value in msgspec.structs.asdict(record).items()
        if name not in ("ts", "ts_event", "ts_init")
    }
    return {"kind": kind, "ts": ts, **fields}
