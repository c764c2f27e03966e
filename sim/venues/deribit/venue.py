"""The simulated Deribit: a SimVenue (sim/venues/protocol.py) over one WebSocket, and the same methods by HTTP. Pure.

It keeps accounts, credits, heartbeats, cancel-on-disconnect and subscriptions as documented; what it does wrong is asked of
`faults`. Time only moves by the stamps that it is given, which must not go back.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.enums import Side
from core.units import NS_PER_DAY, NS_PER_SECOND
from sim.venues.deribit import deeds, rest
from sim.venues.deribit.connection import SILENCE_NS_MAX, Connection
from sim.venues.deribit.crowd import Crowd
from sim.venues.deribit.engine import Engine, NewOrder
from sim.venues.deribit.faults import KNOWN
from sim.venues.deribit.ledger import TRADING_SCOPE, Account, Key, Ledger, VenueOrder, ledger_as_plain
from sim.venues.deribit.markets import Market, default_markets
from sim.venues.deribit.methods import ENGINE_METHODS, SUBSCRIBE_METHODS, Methods
from sim.venues.deribit.streams import Streams
from sim.venues.deribit.wire import Params, RpcError, answer, heartbeat, read_request, refusal
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

LATE_ANSWER_NS = 60 * NS_PER_SECOND
SLOW_ANSWER_NS = 2 * NS_PER_SECOND

DAY_END_NS = 8 * 3_600 * NS_PER_SECOND
PROCESSING_US = 120
UNKNOWN_CODE = 19_999
TAKERS_NUMBER = 1 << 32
SLOW_METHODS = (b'"private/buy"', b'"private/sell"', b'"private/edit"', b'"private/edit_by_label"')
LOG_METHOD = "private/get_transaction_log"
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
    log_burst: int = 2  # requests for the transaction log, which refill by one a second


class DeribitVenue:
    wire: Literal["http", "tcp"] = "http"

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
        self.faults = Faults(KNOWN) if faults is None else faults
        self.limits = limits or Limits()
        self.is_testnet = is_testnet
        self.markets = default_markets() if markets is None else markets
        self.engine = Engine(self.markets, self.faults)
        self.accounts: dict[str, Account] = {}  # by the id of its first key
        self.keys: dict[str, Key] = {}
        self.streams = Streams(self.engine, self.faults, self._notify)
        self.methods = Methods(self.engine, self.streams, self.keys, self.faults)
        self.market_crowd: Crowd | None = None  # None: nobody trades but those who are told to
        self.connections: dict[int, Connection] = {}
        # A gateway holds each order for up to so long before the engine sees it, and has it even where the connection is gone.
        self.gateway_ns_max = 0
        self._held: list[tuple[int, int, int, bytes]] = []
        self._held_number = 0
        self._outgoing: list[Outgoing] = []
        # Whoever else trades: some quote, others take. One account would be held back from trading with itself.
        self._crowd = Account(number=1, name="crowd")
        self._takers = Account(number=TAKERS_NUMBER, name="takers")
        self._day_end_ts = (ts - DAY_END_NS) // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY + DAY_END_NS
        for currency in dict.fromkeys(market.rules.settlement_currency for market in self.markets.values()):
            self._crowd.cash[currency] = self._takers.cash[currency] = 10**17

    @property
    def books(self) -> Ledger:
        """What happened, as the venue holds it."""
        return self.engine.ledger

    def ledger(self) -> dict[str, Any]:
        return ledger_as_plain(self.engine.ledger, self.accounts.values())

    def add_account(self, name: str, client_id: str, client_secret: str, cash: Mapping[str, int]) -> Account:
        """`cash` in 10^-8 of each currency."""
        account = Account(number=len(self.accounts) + 2, name=name, cash=dict(cash))
        account.pool, account.engine = self.limits.pool * NS_PER_SECOND, self.limits.engine_burst * NS_PER_SECOND
        account.log_credits = self.limits.log_burst * NS_PER_SECOND
        account.credits_ts = self.now
        self.engine.wallets.open(account)
        self.accounts[client_id] = account
        self.add_key(account, client_id, client_secret)
        return account

    def add_key(self, account: Account, client_id: str, client_secret: str, scope: str = TRADING_SCOPE) -> None:
        """One more key of the account; all of them draw on its credits."""
        self.keys[client_id] = Key(account, client_secret, scope)

    def take(self) -> list[Outgoing]:
        taken, self._outgoing = self._outgoing, []
        return taken

    # Connections.

    def connected(self, ts: int, connection: int) -> None:
        self._pass(ts)
        assert connection not in self.connections, "connections are numbered once"
        self.connections[connection] = Connection(connection, ts, ts)

    def disconnected(self, ts: int, connection: int) -> None:
        self._pass(ts)
        found = self.connections.get(connection)
        if found is not None:
            self._drop(ts, found, tell=False)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self._pass(ts)
        return rest.serve(self, ts, self.connections[connection], request)

    def _drop(self, ts: int, connection: Connection, *, tell: bool = True, keep_orders: bool = False) -> None:
        if not connection.is_open:
            return
        connection.is_open = False
        if not self.gateway_ns_max:
            # Nothing of it is on its way to the engine any more.
            del self.connections[connection.number]
        if tell and not connection.is_half_open:
            self._outgoing.append(Outgoing(ts, connection.number, None))
        if connection.is_armed and not keep_orders and connection.account is not None:
            mine = [order for order in self.engine.open_orders(connection.account) if order.connection == connection.number]
            resting = [order for order in mine if order.state == "open" and order.price is not None]
            if resting and self.faults.fires(36):
                # Nobody hears of it: the connection is gone.
                self.engine.hit(ts, resting[0], resting[0].market.rules.lot)
            for order in mine:
                self.engine.cancel(ts, order, "cancel_on_disconnect")
        self.publish(ts)

    def _send(self, ts: int, connection: Connection, payload: bytes) -> None:
        if connection.is_open and not connection.is_half_open:
            self._outgoing.append(Outgoing(ts, connection.number, payload.decode()))

    def _notify(self, ts: int, connection: Connection, payload: bytes) -> None:
        if not connection.is_mute:
            self._send(ts, connection, payload)
            held, connection.held = connection.held, []
            for late in held:
                self._send(ts, connection, late)

    def publish(self, ts: int) -> None:
        self.streams.publish(ts, self.connections.values())

    # Requests.

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        self._pass(ts)
        found = self.connections.get(connection)
        if found is not None:
            self._receive(ts, found, payload.encode() if isinstance(payload, str) else payload)

    def _receive(self, ts: int, connection: Connection, payload: bytes) -> None:
        faults = self.faults
        if not connection.is_open or connection.is_half_open:
            return
        connection.heard_ts, connection.test_asked_ts = ts, 0
        if self.gateway_ns_max and not faults.is_quiet and any(method in payload for method in SLOW_METHODS):
            connection.gateway_ts = max(connection.gateway_ts, ts + faults.random.below(self.gateway_ns_max))
            self._held_number += 1
            heapq.heappush(self._held, (connection.gateway_ts, self._held_number, connection.number, payload))
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
        if method == "public/auth" and faults.fires(44):
            self._drop(ts, connection)
            return
        reply, is_last = self.call(ts, connection, request_id, method, params, us_in)
        if reply is None:
            return
        tells_first = self.methods.tells_first or (is_order and faults.fires(24))
        self.methods.tells_first = False
        if tells_first:
            self.publish(ts)
        self._reply(ts, connection, request_id, reply, is_order)
        self.publish(ts)
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
            self._outgoing.append(Outgoing(ts, connection.number, None, freezes=True))
            return True
        if self.faults.fires(42):
            connection.is_mute = True
        return False

    def call(
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
        account.log_credits = min(account.log_credits + elapsed, limits.log_burst * NS_PER_SECOND)
        if method == LOG_METHOD:
            account.log_credits -= NS_PER_SECOND
            return account.log_credits >= 0
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
        elif faults.fires(40):
            self._send(ts + SLOW_ANSWER_NS, connection, reply)
        elif faults.fires(15):
            self._send(ts, connection, reply[:-1] + b',"error":{"code":11094,"message":"internal_server_error"}}')
        else:
            self._send(ts, connection, reply)

    # Time.

    def next_ts(self) -> int:
        due = [self._day_end_ts, *(held[0] for held in self._held[:1])]
        if self.market_crowd is not None:
            due.append(self.market_crowd.next_ts)
        for connection in self.connections.values():
            if connection.is_open:
                due.append(connection.heard_ts + SILENCE_NS_MAX)
                if connection.heartbeat_ns:
                    due.append(connection.beat_ts)
        return min(due)

    def advance(self, ts: int) -> None:
        self._pass(ts)

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        self._pass(ts)
        deeds.act(self, ts, name, arguments)

    def _pass(self, ts: int) -> None:
        assert ts >= self.now, "time never goes back"
        while self._held and self._held[0][0] <= ts:
            due_ts, _, number, payload = heapq.heappop(self._held)
            self.now = max(due_ts, self.now)
            self._serve(self.now, self.connections[number], payload)
        self.now = ts
        crowd = self.market_crowd
        while crowd is not None and crowd.next_ts <= ts:
            crowd.step(self, ts)
        while self._day_end_ts <= ts:
            self.engine.end_of_day(self._day_end_ts)
            self.settle_session(self._day_end_ts)
            self._day_end_ts += NS_PER_DAY
            self.publish(ts)
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
        if self.faults.fires(47):
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
            self.publish(ts)
        return True

    def crowd_cancel_all(self, ts: int, name: str) -> None:
        self.crowd_cancel(ts, [order for order in self.crowd_orders() if order.market.name == name])

    def crowd_orders(self) -> list[VenueOrder]:
        """What the crowd has resting, oldest first."""
        return self.engine.open_orders(self._crowd)

    def crowd_cancel(self, ts: int, orders: list[VenueOrder]) -> None:
        self._pass(ts)
        for order in orders:
            self.engine.cancel(ts, order, "user_request")
        self.publish(ts)

    def hit(self, ts: int, order: VenueOrder, amount: int) -> None:
        """Somebody trades against a resting order."""
        self._pass(ts)
        self.engine.hit(ts, order, amount)
        self.publish(ts)

    def manual_cancel(self, ts: int, order: VenueOrder) -> None:
        """The account's owner cancels in the browser (fault 58)."""
        self._pass(ts)
        self.engine.cancel(ts, order, "user_request")
        self.publish(ts)

    def manual_order(self, ts: int, account: Account, name: str, wanted: NewOrder) -> VenueOrder:
        """The account's owner trades in the browser (fault 58). Raises RpcError."""
        self._pass(ts)
        order = self.engine.place(ts, account, 0, self.markets[name], wanted)
        self.publish(ts)
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
        self.publish(ts)

    def fund(self, ts: int, name: str, rate: int) -> None:
        """Funding on every open position: longs pay `rate` (10^-9 of the notional) to shorts; negative the other way round.

        It is the session's, and in the balance once that is settled.
        """
        self._pass(ts)
        market = self.markets[name]
        for account in self.accounts.values():
            held = account.holdings.get(name)
            size = 0 if held is None else held.size
            if size and market.mark:
                self.engine.wallets.accrue(account, market, -(market.rules.notional(market.mark, size) * rate // 10**9))

    def settle_session(self, ts: int) -> None:
        """Gains and funding of the session go into the balances: 08:00 UTC, or whenever somebody says so."""
        self.engine.wallets.settle(ts, self.accounts.values(), self.markets.values())

    def maintain(self, ts: int, is_on: bool) -> None:
        """Maintenance begins or ends (fault 62)."""
        self._pass(ts)
        self.methods.in_maintenance = is_on
        self.streams.platform(ts, self.connections.values(), {"maintenance": is_on})

    def open_book(self, ts: int, name: str, is_open: bool) -> None:
        """Trading of one instrument stops, or goes on; what rests stays."""
        self._pass(ts)
        self.markets[name].is_open = is_open
        state = {"instrument_name": name, "state": "open" if is_open else "closed", "timestamp": ts // 1_000_000}
        self.streams.instrument(ts, self.connections.values(), self.markets[name], state)

    def settle(self, ts: int, name: str, price: int | None = None) -> None:
        """The instrument's life is over: its orders leave, nothing trades any more, and positions are delivered.

        `price` as Wallets.deliver has it; None: at the mark, or an option's index.
        """
        self._pass(ts)
        market = self.markets[name]
        everybody = (*self.accounts.values(), self._crowd, self._takers)
        for account in everybody:
            for order in self.engine.open_orders(account):
                if order.market is market:
                    self.engine.cancel(ts, order, "settlement")
        market.is_open = False
        last = market.index if market.kind == "option" else market.mark or market.last
        if last or price is not None:
            self.engine.wallets.deliver(ts, everybody, market, last if price is None else price)
        self.publish(ts)

    def restart(self, ts: int, orders_lost: int) -> None:
        """The venue restarts: every connection ends, and the newest `orders_lost` open orders are forgotten (fault 60)."""
        self._pass(ts)
        for connection in list(self.connections.values()):
            self._drop(ts, connection, keep_orders=True)
        for account in self.accounts.values():
            for order in self.engine.open_orders(account)[-orders_lost:] if orders_lost else []:
                self.engine.cancel(ts, order, "")
                self.methods.lost.add(order.order_id)
        self.publish(ts)
