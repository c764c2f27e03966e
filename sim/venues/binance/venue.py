"""The simulated Binance as a SimVenue: requests in, answers and frames out, with what goes wrong on the way. Pure.

One product, one address. Public data, signed requests with weights and order counts, user streams by listen key or by the
WebSocket API. What has really happened is in the exchange and its ledger, whatever is told.
"""

from __future__ import annotations

from typing import Any, Literal

from core.units import NS_PER_MS, NS_PER_SECOND
from sim.venues.binance.acts import Acts
from sim.venues.binance.desk import Call, Desk
from sim.venues.binance.limits import Limits
from sim.venues.binance.market_data import MarketData, next_funding
from sim.venues.binance.markets import ClientSetup, Market, Product
from sim.venues.binance.order_faults import OrderFaults
from sim.venues.binance.orders import algo_id, is_conditional, order_id, trade_id
from sim.venues.binance.routes import WEBSOCKET_METHODS, Purpose, Route, Routes, Usdm, spot_routes
from sim.venues.binance.streams import Line, Streams
from sim.venues.binance.user_events import Event
from sim.venues.binance.wire import (
    ApiError,
    Params,
    check_clock,
    check_signature,
    check_websocket_signature,
    client_of,
    encode,
)
from sim.venues.exchange.model import Fill, Order
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

# Between what happens and its event on the user stream.
USER_EVENT_NS = NS_PER_MS
MARK_EVERY_NS = NS_PER_SECOND
JSON = ("Content-Type", "application/json;charset=UTF-8")
SUBSCRIPTIONS_MAX = 65_535


class BinanceVenue:
    """`desk` is the venue's inside, for tests; everything else goes by the protocol."""

    wire: Literal["http", "tcp"] = "http"

    def __init__(
        self,
        product: Product,
        ts: int,
        *,
        seed: int,
        faults: Faults,
        markets: list[Market] | None = None,
        setups: list[ClientSetup] | None = None,
        limits: Limits | None = None,
        child_keeps_id: bool = False,
    ) -> None:
        self.product = product
        self.faults = faults
        self.desk = Desk(product, ts, seed, faults, markets=markets, setups=setups, limits=limits, child_keeps_id=child_keeps_id)
        self.market_data = MarketData(self.desk)
        self.streams = Streams(self.desk, self.market_data, self._websocket_api)
        self.acts = Acts(self.desk, self.streams)
        self.order_faults = OrderFaults(self.desk)
        self._usdm = Usdm(self.desk, self.market_data, self.streams) if product is Product.USDM else None
        self._routes: Routes = spot_routes(self.desk, self.market_data) if self._usdm is None else self._usdm.routes
        self._now = ts
        self._mark_ts = ts + MARK_EVERY_NS
        self._funding_ts = next_funding(ts)
        if self._usdm is not None:
            for account in self.desk.exchange.accounts.values():
                self._usdm.account.open_account(account)
        self.desk.crowd.advance(ts)
        self._settle(ts)

    # The protocol.

    def connected(self, ts: int, connection: int) -> None:
        self._pass(ts)

    def disconnected(self, ts: int, connection: int) -> None:
        self._pass(ts)
        self.streams.closed(connection)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self._pass(ts)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return self.streams.open(ts, connection, request)
        route = self._routes.get((request.method, request.path))
        if route is None:
            text = f"Path {request.path}, Method {request.method} is invalid"
            return _refused(ApiError(-5000, text, 404), ())
        reply = self.order_faults.around(ts, route, request, lambda: self._answer(ts, route, request))
        self._settle(ts)
        return reply

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        self._pass(ts)
        self.streams.receive(ts, connection, payload)
        self._settle(ts)

    def next_ts(self) -> int | None:
        due = [self.desk.crowd.next_ts(), self.streams.next_ts(), self.desk.exchange.next_expiry()]
        if self._usdm is not None:
            due += [self._mark_ts, self._funding_ts, *self._usdm.orders.countdowns.values()]
        return min((ts for ts in due if ts is not None), default=None)

    def advance(self, ts: int) -> None:
        self._pass(ts)

    def take(self) -> list[Outgoing]:
        taken, self.streams.out = self.streams.out, []
        return taken

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        """sim/venues/binance/acts.py lists the deeds."""
        self._pass(ts)
        try:
            self.acts.act(ts, name, arguments)
        finally:
            self._settle(ts)

    def ledger(self) -> dict[str, Any]:
        return self.desk.exchange.ledger(self._order_name, _trade_name)

    def _order_name(self, order: Order) -> str:
        """As the venue's answers have it; of a conditional order that never triggered "a" and the algo service's id."""
        if self.product is Product.USDM and is_conditional(order):
            return f"a{algo_id(order)}"
        return str(order_id(order))

    # Time.

    def _pass(self, ts: int) -> None:
        """Everything that was due up to now, in order of time."""
        while (due := self.next_ts()) is not None and due <= ts:
            self._step(max(due, self._now))
        self._now = max(self._now, ts)

    def _step(self, ts: int) -> None:
        self._now = ts
        desk = self.desk
        desk.crowd.advance(ts)
        desk.exchange.expire(ts)
        if self._usdm is not None:
            self._usdm.orders.run_countdowns(ts)
            if self._mark_ts <= ts:
                self._mark_ts += MARK_EVERY_NS * ((ts - self._mark_ts) // MARK_EVERY_NS + 1)
                self._mark(ts)
            if self._funding_ts <= ts:
                self._funding_ts = next_funding(ts)
                for market in desk.markets.values():
                    self.acts.fund(ts, market, market.funding_rate_ppb)
        self._settle(ts)
        self.streams.advance(ts)

    def _mark(self, ts: int) -> None:
        """The mark follows the crowd; who cannot cover his positions any more is liquidated."""
        assert self._usdm is not None
        desk = self.desk
        if not desk.crowd.is_quiet:
            for market in desk.markets.values():
                fair = market.rules.round_price(desk.crowd.fair(market.listing), "down")
                desk.exchange.set_index(ts, market.listing, fair)
                desk.exchange.set_mark(ts, market.listing, fair)
        for account in desk.exchange.accounts.values():
            for market in desk.markets.values():
                if account.qty(market.listing) and self._usdm.account.is_bankrupt(account):
                    self.acts.liquidate(ts, account, market)

    def _settle(self, ts: int) -> None:
        """What has just happened gets its numbers and its events."""
        desk = self.desk
        for listing in desk.exchange.take_touched():
            self.market_data.feeds[listing.name].sync(ts)
        prints = desk.exchange.take_prints()
        self.market_data.keep(prints)
        desk.collect(ts)
        told, desk.told = desk.told, []
        for one in told:
            self.streams.queue(one.ts + USER_EVENT_NS, one.client, one.event)
        self.streams.publish(ts, prints)

    # Requests.

    def _answer(self, ts: int, route: Route, request: HttpRequest) -> HttpReply:
        """What an honest venue answers."""
        account: str | None = None
        try:
            params = Params.of(request)
            self.desk.meters.take(ts, route.weight_of(params))
            if route.public is not None:
                body = route.public(ts, params)
            else:
                client = client_of(self.desk.clients, request.headers.get("x-mbx-apikey"))
                account = client.account.name
                if route.security == "signed":
                    check_signature(client, request, params)
                    check_clock(ts, params)
                body = self._private(route, Call(ts, client, params))
        except ApiError as error:
            return _refused(error, self.desk.meters.headers(account))
        return HttpReply(body=encode(body), headers=(JSON, *self.desk.meters.headers(account)))

    def _private(self, route: Route, call: Call) -> Any:
        assert route.private is not None
        rights = "enableSpotAndMarginTrading" if self.product is Product.SPOT else "enableFutures"
        if route.purpose is not Purpose.READ and not call.client.may[rights]:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if route.purpose in (Purpose.PLACE, Purpose.CHANGE):
            self.desk.meters.take_order(call.ts, call.account.name)
            self.order_faults.before_order(call)
        if route.purpose is Purpose.CANCEL:
            self.order_faults.before_cancel(call)
        try:
            return route.private(call)
        finally:
            self.desk.set_paying_bnb(False)

    # The spot WebSocket API.

    def _websocket_api(self, ts: int, line: Line, message: dict[str, Any]) -> Event:
        request_id, method, given = message.get("id"), message.get("method"), message.get("params") or {}
        try:
            if not isinstance(request_id, str | int | None) or not isinstance(method, str) or not isinstance(given, dict):
                raise ApiError(-1135, "Invalid request")
            values = {str(name): value for name, value in given.items()}
            result = self._websocket_result(ts, line, method, values)
        except ApiError as error:
            found: Event = {"id": request_id, "status": error.status, "error": {"code": error.code, "msg": error.text}}
            return found
        return {"id": request_id, "status": 200, "result": result, "rateLimits": []}

    def _websocket_result(self, ts: int, line: Line, method: str, values: dict[str, Any]) -> Any:
        params = Params({name: _text(value) for name, value in values.items()})
        if method == "userDataStream.subscribe.signature":
            self.desk.meters.take(ts, 2)
            call = self._websocket_call(ts, values, params)
            if any(client is call.client for client in line.subscriptions.values()):
                raise ApiError(-2035, "There is already an active subscription for this account.")
            if line.subscriptions_made >= SUBSCRIPTIONS_MAX:
                raise ApiError(-1191, "Too many subscriptions on this connection.")
            number = line.subscriptions_made
            line.subscriptions_made += 1
            line.subscriptions[number] = call.client
            return {"subscriptionId": number}
        if method == "userDataStream.unsubscribe":
            wanted = params.integer("subscriptionId", -1) if params.get("subscriptionId") else None
            for number in list(line.subscriptions):
                if wanted is None or number == wanted:
                    del line.subscriptions[number]
            return {}
        if method == "session.subscriptions":
            return [{"subscriptionId": number} for number in line.subscriptions]
        route = self._routes.get(WEBSOCKET_METHODS.get(method, ("", "")))
        if route is None:
            raise ApiError(-1198, f"Method '{method[:80]}' is not known.")
        self.desk.meters.take(ts, route.weight_of(params))
        if route.public is not None:
            return route.public(ts, params)
        return self._private(route, self._websocket_call(ts, values, params))

    def _websocket_call(self, ts: int, values: dict[str, Any], params: Params) -> Call:
        client = client_of(self.desk.clients, params.get("apiKey") or None)
        check_websocket_signature(client, values)
        check_clock(ts, params)
        return Call(ts, client, params)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _trade_name(fill: Fill) -> str:
    return str(trade_id(fill))


def _refused(error: ApiError, headers: tuple[tuple[str, str], ...]) -> HttpReply:
    return HttpReply(status=error.status, body=error.body(), headers=(JSON, *error.headers, *headers))
