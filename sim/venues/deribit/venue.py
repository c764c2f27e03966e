"""The simulated Deribit: (ts, connection, bytes) in, bytes per connection out. Pure; a shell gives it sockets, or a virtual
network.

It keeps accounts, credits, heartbeats, cancel-on-disconnect and subscriptions as documented; what it does wrong is asked of
`faults`. Time only moves by the stamps that it is given, which must not go back.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from core.enums import Side
from core.units import NS_PER_DAY, NS_PER_SECOND
from sim.venues.deribit.connection import SILENCE_NS_MAX, Connection, Outgoing
from sim.venues.deribit.engine import Engine, NewOrder
from sim.venues.deribit.faults import Faults
from sim.venues.deribit.ledger import Account, Ledger, VenueOrder
from sim.venues.deribit.markets import Market, default_markets
from sim.venues.deribit.methods import ENGINE_METHODS, SUBSCRIBE_METHODS, Methods
from sim.venues.deribit.streams import Streams
from sim.venues.deribit.wire import Params, RpcError, answer, heartbeat, read_request, refusal

LATE_ANSWER_NS = 60 * NS_PER_SECOND
DAY_END_NS = 8 * 3_600 * NS_PER_SECOND
PROCESSING_US = 120
UNKNOWN_CODE = 19_999
TAKERS_NUMBER = 1 << 32
SLOW_METHODS = (b'"private/buy"', b'"private/sell"', b'"private/edit"', b'"private/edit_by_label"')
ORDER_METHODS = ENGINE_METHODS - {"private/close_position"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Credits of one account, as documented; tokens of the engine's bucket are requests."""

    request_cost: int = 500
    subscribe_cost: int = 3_000
    pool: int = 50_000
    refill_per_s: int = 10_000
    engine_burst: int = 20
    engine_per_s: int = 5


class DeribitVenue:
    def __init__(
        self,
        ts: int,
        *,
        markets: Mapping[str, Market] | None = None,
        faults: Faults | None = None,
        limits: Limits | None = None,
        is_testnet: bool = True,
    ) -> None:
        self.now = ts
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.is_testnet = is_testnet
        self.markets = default_markets() if markets is None else markets
        self.engine = Engine(self.markets, self.faults)
        self.accounts: dict[str, Account] = {}
        self.streams = Streams(self.engine, self.faults, self._notify)
        self.methods = Methods(self.engine, self.streams, self.accounts, self.faults)
        self.connections: dict[int, Connection] = {}
        # A gateway holds each order for up to so long before the engine sees it, and has it even where the connection is gone.
        self.gateway_ns_max = 0
        self._held: list[tuple[int, int, int, bytes]] = []
        self._held_number = 0
        self._outgoing: list[Outgoing] = []
        self._next_connection = 1
        # Whoever else trades: some quote, others take. One account would be held back from trading with itself.
        self._crowd = Account(number=1, name="crowd", client_id="", client_secret="")
        self._takers = Account(number=TAKERS_NUMBER, name="takers", client_id="", client_secret="")
        self._day_end_ts = (ts - DAY_END_NS) // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY + DAY_END_NS
        for currency in dict.fromkeys(market.rules.settlement_currency for market in self.markets.values()):
            self._crowd.cash[currency] = self._takers.cash[currency] = 10**17

    @property
    def ledger(self) -> Ledger:
        """What happened, for auditors."""
        return self.engine.ledger

    def add_account(self, name: str, client_id: str, client_secret: str, cash: Mapping[str, int]) -> Account:
        """`cash` in 10^-8 of each currency."""
        account = Account(
            number=len(self.accounts) + 2, name=name, client_id=client_id, client_secret=client_secret, cash=dict(cash)
        )
        account.pool, account.engine = self.limits.pool * NS_PER_SECOND, self.limits.engine_burst * NS_PER_SECOND
        account.credits_ts = self.now
        self.accounts[client_id] = account
        return account

    def take(self) -> list[Outgoing]:
        """What is to be delivered since the last call, in order."""
        taken, self._outgoing = self._outgoing, []
        return taken

    # Connections.

    def connect(self, ts: int) -> int:
        """A client has connected: its number."""
        self._pass(ts)
        number = self._next_connection
        self._next_connection += 1
        self.connections[number] = Connection(number, ts, ts)
        return number

    def disconnect(self, ts: int, connection: int) -> None:
        """The client's end is gone."""
        self._pass(ts)
        self._drop(ts, self.connections[connection], tell=False)

    def _drop(self, ts: int, connection: Connection, *, tell: bool = True, keep_orders: bool = False) -> None:
        if not connection.is_open:
            return
        connection.is_open = False
        if tell and not connection.is_half_open:
            self._outgoing.append(Outgoing(ts, connection.number, None))
        if connection.is_armed and not keep_orders and connection.account is not None:
            for order in self.engine.open_orders(connection.account):
                if order.connection == connection.number:
                    self.engine.cancel(ts, order, "cancel_on_disconnect")
        self._publish(ts)

    def _send(self, ts: int, connection: Connection, payload: bytes) -> None:
        if connection.is_open and not connection.is_half_open:
            self._outgoing.append(Outgoing(ts, connection.number, payload))

    def _notify(self, ts: int, connection: Connection, payload: bytes) -> None:
        if not connection.is_mute:
            self._send(ts, connection, payload)
            held, connection.held = connection.held, []
            for late in held:
                self._send(ts, connection, late)

    def _publish(self, ts: int) -> None:
        self.streams.publish(ts, self.connections.values())

    # Requests.

    def receive(self, ts: int, number: int, payload: bytes) -> None:
        """A frame from a client."""
        self._pass(ts)
        connection = self.connections[number]
        faults = self.faults
        if not connection.is_open or connection.is_half_open:
            return
        connection.heard_ts, connection.test_asked_ts = ts, 0
        if self.gateway_ns_max and not faults.is_quiet and any(method in payload for method in SLOW_METHODS):
            connection.gateway_ts = max(connection.gateway_ts, ts + faults.random.below(self.gateway_ns_max))
            self._held_number += 1
            heapq.heappush(self._held, (connection.gateway_ts, self._held_number, number, payload))
        else:
            self._serve(ts, connection, payload)

    def _serve(self, ts: int, connection: Connection, payload: bytes) -> None:
        """A request reaches the engine; its connection may be gone by now."""
        faults = self.faults
        us_in = ts // 1_000
        try:
            request_id, method, params = read_request(payload)
        except RpcError as error:
            self._send(ts, connection, refusal(None, error, us_in, us_in + PROCESSING_US, self.is_testnet))
            return
        is_order = method in ORDER_METHODS
        if is_order and self._fails_before(ts, connection):
            return
        reply, is_last = self._call(ts, connection, request_id, method, params, us_in)
        if reply is None:
            return
        tells_first = is_order and faults.fires(24)
        if tells_first:
            self._publish(ts)
        self._reply(ts, connection, request_id, reply, is_order)
        self._publish(ts)
        if is_last:
            self._drop(ts, connection)
        if faults.fires(43):
            self._drop(ts, connection)

    def _fails_before(self, ts: int, connection: Connection) -> bool:
        if self.faults.fires(1):
            self._drop(ts, connection)
            return True
        if self.faults.fires(41):
            connection.is_half_open = True
            return True
        if self.faults.fires(42):
            connection.is_mute = True
        return False

    def _call(
        self, ts: int, connection: Connection, request_id: int | None, method: str, params: Params, us_in: int
    ) -> tuple[bytes | None, bool]:
        """The answer, and whether it is the last thing on this connection."""
        testnet = self.is_testnet ^ self.faults.fires(69)
        us_out = us_in + PROCESSING_US
        try:
            if method == "private/logout":
                self._drop(ts, connection, keep_orders=True)
                return None, True
            if not self._pays(ts, connection, method):
                raise RpcError(10028, "too_many_requests")
            call = self.methods.public.get(method)
            if call is None:
                call = self.methods.private.get(method)
                if call is None:
                    raise RpcError(-32601, "Method not found")
                self._require_login(ts, connection)
            if method in ORDER_METHODS and self.faults.fires(14):
                if self.faults.random.below(2):
                    call(ts, connection, params)
                raise RpcError(UNKNOWN_CODE, "a new kind of trouble")
            return answer(request_id, call(ts, connection, params), us_in, us_out, testnet), False
        except RpcError as error:
            return refusal(request_id, error, us_in, us_out, testnet), error.code == 10028

    def _require_login(self, ts: int, connection: Connection) -> None:
        if connection.account is None:
            raise RpcError(13009, "unauthorized")
        if connection.token_until_ts <= ts or self.faults.fires(61):
            connection.account = None
            raise RpcError(13009, "unauthorized", {"reason": "token_expired"})

    def _pays(self, ts: int, connection: Connection, method: str) -> bool:
        """Take the request's credits; False where there are none left."""
        account, limits = connection.account, self.limits
        if account is None:
            return True
        elapsed = ts - account.credits_ts
        account.credits_ts = ts
        account.pool = min(account.pool + elapsed * limits.refill_per_s, limits.pool * NS_PER_SECOND)
        account.engine = min(account.engine + elapsed * limits.engine_per_s, limits.engine_burst * NS_PER_SECOND)
        if method in ENGINE_METHODS:
            if self.faults.fires(46):
                account.engine = 0
            account.engine -= NS_PER_SECOND
            if account.engine < 0:
                account.engine = 0
                return False
            return True
        cost = limits.subscribe_cost if method in SUBSCRIBE_METHODS else limits.request_cost
        account.pool -= cost * NS_PER_SECOND
        if account.pool < 0:
            account.pool = 0
            return False
        return True

    def _reply(self, ts: int, connection: Connection, request_id: int | None, reply: bytes, is_order: bool) -> None:
        faults = self.faults
        if not is_order:
            self._send(ts, connection, reply)
            return
        if faults.fires(2):
            self._drop(ts, connection)
        elif faults.fires(3):
            self._send(ts, connection, reply[: len(reply) // 2])
            self._drop(ts, connection)
        elif faults.fires(9):
            kinds = (b'{"jsonrpc":"2.0","id":%d,"result":{}}', b'{"jsonrpc":"2.0","id":%d,"result":"ok"}')
            self._send(ts, connection, kinds[faults.random.below(2)] % (request_id or 0))
        elif faults.fires(10):
            self._send(ts + LATE_ANSWER_NS, connection, reply)
        elif faults.fires(15):
            self._send(ts, connection, reply[:-1] + b',"error":{"code":11094,"message":"internal_server_error"}}')
        else:
            self._send(ts, connection, reply)

    # Time.

    def next_ts(self) -> int:
        """When `advance` has something to do."""
        due = [self._day_end_ts, *(held[0] for held in self._held[:1])]
        for connection in self.connections.values():
            if connection.is_open:
                due.append(connection.heard_ts + SILENCE_NS_MAX)
                if connection.heartbeat_ns:
                    due.append(connection.beat_ts)
        return min(due)

    def advance(self, ts: int) -> None:
        """Let time pass: heartbeats, silence, the end of the day."""
        self._pass(ts)

    def _pass(self, ts: int) -> None:
        assert ts >= self.now, "time never goes back"
        while self._held and self._held[0][0] <= ts:
            due_ts, _, number, payload = heapq.heappop(self._held)
            self.now = max(due_ts, self.now)
            self._serve(self.now, self.connections[number], payload)
        self.now = ts
        while self._day_end_ts <= ts:
            self.engine.end_of_day(self._day_end_ts)
            self._day_end_ts += NS_PER_DAY
            self._publish(ts)
        for connection in list(self.connections.values()):
            if not connection.is_open:
                continue
            if connection.heard_ts + SILENCE_NS_MAX <= ts:
                self._drop(ts, connection)
            elif connection.heartbeat_ns and connection.beat_ts <= ts:
                self._beat(ts, connection)

    def _beat(self, ts: int, connection: Connection) -> None:
        if connection.test_asked_ts:
            self._drop(ts, connection)
            return
        connection.beat_ts = ts + connection.heartbeat_ns
        connection.test_asked_ts = ts
        self._send(ts, connection, heartbeat("heartbeat"))
        self._send(ts, connection, heartbeat("test_request"))

    # The world outside the wire.

    def crowd(
        self, ts: int, name: str, side: Side, price: int | None, amount: int, time_in_force: str = "good_til_cancelled"
    ) -> bool:
        """Somebody else's order, at the market where price is None; False where the venue refuses it."""
        self._pass(ts)
        wanted = NewOrder(
            side=side,
            amount=amount,
            price=price,
            order_type="market" if price is None else "limit",
            time_in_force=time_in_force,
        )
        try:
            self.engine.place(ts, self._takers if price is None else self._crowd, 0, self.markets[name], wanted)
        except RpcError:
            return False
        finally:
            self._publish(ts)
        return True

    def crowd_cancel_all(self, ts: int, name: str) -> None:
        self._pass(ts)
        for order in self.engine.open_orders(self._crowd):
            if order.market.name == name:
                self.engine.cancel(ts, order, "user_request")
        self._publish(ts)

    def manual_cancel(self, ts: int, order: VenueOrder) -> None:
        """The account's owner cancels in the browser (fault 58)."""
        self._pass(ts)
        self.engine.cancel(ts, order, "user_request")
        self._publish(ts)

    def manual_order(self, ts: int, account: Account, name: str, wanted: NewOrder) -> VenueOrder:
        """The account's owner trades in the browser (fault 58). Raises RpcError."""
        self._pass(ts)
        order = self.engine.place(ts, account, 0, self.markets[name], wanted)
        self._publish(ts)
        return order

    def liquidate(self, ts: int, account: Account, name: str, amount: int) -> VenueOrder:
        """The venue closes `amount` of a position at the market (fault 65). Raises RpcError where nobody takes it."""
        side = Side.SELL if account.holding(name).size > 0 else Side.BUY
        wanted = NewOrder(
            side=side,
            amount=amount,
            price=None,
            order_type="market",
            time_in_force="good_til_cancelled",
            reduce_only=True,
            is_liquidation=True,
        )
        return self.manual_order(ts, account, name, wanted)

    def set_mark(self, ts: int, name: str, mark: int) -> None:
        self._pass(ts)
        self.engine.set_mark(ts, self.markets[name], mark)
        self._publish(ts)

    def fund(self, ts: int, name: str, rate: int) -> None:
        """Funding on every open position: longs pay `rate` (10^-9 of the notional) to shorts; negative the other way round."""
        self._pass(ts)
        market = self.markets[name]
        currency = market.rules.settlement_currency
        for account in (*self.accounts.values(), self._crowd, self._takers):
            size = account.holding(name).size
            if size and market.mark:
                payment = market.rules.notional(market.mark, size) * rate // 10**9
                account.cash[currency] = account.cash.get(currency, 0) - payment

    def maintain(self, ts: int, is_on: bool) -> None:
        """Maintenance begins or ends (fault 62)."""
        self._pass(ts)
        self.methods.in_maintenance = is_on
        self.streams.platform(ts, self.connections.values(), {"maintenance": is_on})

    def settle(self, ts: int, name: str) -> None:
        """The instrument's life is over: its orders leave, nothing trades any more."""
        self._pass(ts)
        market = self.markets[name]
        for account in (*self.accounts.values(), self._crowd, self._takers):
            for order in self.engine.open_orders(account):
                if order.market is market:
                    self.engine.cancel(ts, order, "settlement")
        market.is_open = False
        self._publish(ts)

    def restart(self, ts: int, orders_lost: int) -> None:
        """The venue restarts: every connection ends, and the newest `orders_lost` open orders are forgotten (fault 60)."""
        self._pass(ts)
        for connection in self.connections.values():
            self._drop(ts, connection, keep_orders=True)
        for account in self.accounts.values():
            for order in self.engine.open_orders(account)[-orders_lost:] if orders_lost else []:
                self.engine.cancel(ts, order, "")
                self.methods.lost.add(order.order_id)
        self._publish(ts)
