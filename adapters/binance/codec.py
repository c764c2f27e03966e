"""Commands and questions as Binance REST requests, each with the judge of its own answer. Pure; ccxt signs.

Parameters are made here and not by ccxt's helpers: those go through floats and loaded markets. An answer must name the order that
was asked for: on a connection where the venue (or a proxy) sends an answer too many, the next request would read it as its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import msgspec

from adapters.binance import rest_bodies as bodies
from adapters.binance.endpoints import TABLES, Product
from adapters.binance.income_log import PAGE_ROWS, IncomePage
from adapters.binance.outcomes import judge
from adapters.binance.signing import Signer
from adapters.binance.wire import Snapshot
from adapters.http.request import Request, T, Wire
from adapters.http.strict_json import decode
from core.commands import ReplaceOrder, SubmitOrder
from core.enums import OrderType, Side, TimeInForce
from core.errors import RefusedError, VenueProtocolError
from core.identifiers import format_order_id
from core.instruments import Instrument
from core.units import NS_PER_MS, NS_PER_SECOND, format_fixed

RECV_WINDOW_MS = 5000  # the venue's default; it takes up to 60000
# Good-till-date orders must end later than this from now.
GTD_LEAST_NS = 600 * NS_PER_SECOND
COUNTDOWN_MS_MAX = 24 * 3600 * 1000
TRADES_MAX = 1000
# How far apart the two ends of a question for executions may lie.
TRADES_WINDOW_MS = {Product.SPOT: 24 * 3600 * 1000, Product.USDM: 7 * 24 * 3600 * 1000}
DEPTH_LEVELS, DEEP_LEVELS = 1000, 5000  # of a snapshot; only spot has the deep one

_SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
_TIMES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
_SNAPSHOT = msgspec.json.Decoder(Snapshot)


class BinanceCodec:
    """One product of one account. `instruments` by the venue's symbol; `prefix` is that of our order ids."""

    def __init__(
        self,
        product: Product,
        signer: Signer,
        instruments: Mapping[str, Instrument],
        prefix: str,
        *,
        recv_window_ms: int = RECV_WINDOW_MS,
        deadline_s: float = 10.0,
    ) -> None:
        assert 1 <= recv_window_ms <= 60_000
        self.product = product
        self.recv_window_ms = recv_window_ms
        self._signer = signer
        self._symbols = {instrument.instrument_id: (symbol, instrument) for symbol, instrument in instruments.items()}
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._table = TABLES[product]

    # Orders.

    def place(self, command: SubmitOrder, now_ns: int) -> Request[bodies.OrderBody]:
        """A new order that goes to the book. Raises RefusedError for what this product has no word for; `now_ns` is UTC."""
        symbol, instrument = self._symbols[command.instrument_id]
        wire_id = format_order_id(command.client_order_id, self._prefix)
        if self.product is Product.SPOT:
            params = _spot_order(command, instrument)
        elif command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
            raise RefusedError("conditional futures orders go to the algo service")
        else:
            params = _futures_order(command, instrument, now_ns)
        params |= {"symbol": symbol, "newClientOrderId": wire_id, "newOrderRespType": "RESULT"}
        return self._request("order.place", params, partial(_order_named, symbol, wire_id))

    def place_conditional(self, command: SubmitOrder, now_ns: int) -> Request[bodies.AlgoOrderBody]:
        """A stop of the futures, which the algo service keeps until it triggers."""
        symbol, instrument = self._symbols[command.instrument_id]
        wire_id = format_order_id(command.client_order_id, self._prefix)
        if self.product is not Product.USDM or command.order_type not in (OrderType.STOP, OrderType.STOP_LIMIT):
            raise RefusedError("only stops of the futures go to the algo service")
        if command.post_only or command.display_qty:
            raise RefusedError("a conditional futures order can be neither post-only nor iceberg")
        assert command.trigger_price is not None
        params = {
            "algoType": "CONDITIONAL",
            "symbol": symbol,
            "side": _SIDES[command.side],
            "type": "STOP" if command.order_type is OrderType.STOP_LIMIT else "STOP_MARKET",
            "quantity": _plain(command.quantity, instrument.qty_scale),
            "triggerPrice": _plain(command.trigger_price, instrument.price_scale),
            "workingType": "CONTRACT_PRICE",
            "clientAlgoId": wire_id,
        }
        if command.order_type is OrderType.STOP_LIMIT:
            assert command.price is not None
            params |= {"price": _plain(command.price, instrument.price_scale), **_futures_time(command, now_ns)}
        if command.reduce_only:
            params["reduceOnly"] = "true"
        return self._request("algo.place", params, partial(_algo_named, symbol, wire_id))

    def replace(self, command: ReplaceOrder, instrument_id: str, side: Side) -> Request[bodies.OrderBody]:
        """A limit order's price and quantity. The venue counts an order's total, so what was filled belongs to it."""
        if self.product is not Product.USDM:
            raise RefusedError("Binance spot has no change of a resting order that keeps its id: cancel it and place a new one")
        symbol, instrument = self._symbols[instrument_id]
        wire_id = format_order_id(command.client_order_id, self._prefix)
        params = {
            "symbol": symbol,
            "origClientOrderId": wire_id,
            "side": _SIDES[side],
            "quantity": _plain(command.filled_qty + command.quantity, instrument.qty_scale),
            "price": _plain(command.price, instrument.price_scale),
        }
        return self._request("order.replace", params, partial(_order_named, symbol, wire_id))

    def cancel(self, client_order_id: int, instrument_id: str) -> Request[bodies.OrderBody]:
        symbol, _ = self._symbols[instrument_id]
        wire_id = format_order_id(client_order_id, self._prefix)
        params = {"symbol": symbol, "origClientOrderId": wire_id}
        return self._request("order.cancel", params, partial(_order_named, symbol, wire_id))

    def cancel_venue_order(self, order_id: int, symbol: str) -> Request[bodies.OrderBody]:
        """Whose order it is does not matter: for a kill."""
        return self._request(
            "order.cancel", {"symbol": symbol, "orderId": str(order_id)}, partial(_order_numbered, symbol, order_id)
        )

    def cancel_conditional(self, client_order_id: int) -> Request[bodies.AlgoCanceled]:
        wire_id = format_order_id(client_order_id, self._prefix)
        return self._request("algo.cancel", {"clientAlgoId": wire_id}, partial(_algo_canceled, wire_id))

    def cancel_venue_conditional(self, algo_id: int) -> Request[bodies.AlgoCanceled]:
        """Whose conditional order it is does not matter: for a kill."""

        def read(body: bytes) -> bodies.AlgoCanceled:
            done = bodies.read_algo_canceled(body)
            if done.algo_id != algo_id or not done.is_done:
                raise VenueProtocolError(f"asked to cancel conditional order {algo_id}, answered with {done!r}")
            return done

        return self._request("algo.cancel", {"algoId": str(algo_id)}, read)

    def query_order(self, client_order_id: int, instrument_id: str) -> Request[bodies.OrderBody]:
        """An order by our id. Code -2013 of a refusal: the venue does not know it, or not any more."""
        symbol, _ = self._symbols[instrument_id]
        wire_id = format_order_id(client_order_id, self._prefix)
        params = {"symbol": symbol, "origClientOrderId": wire_id}
        return self._request("order.query", params, partial(_order_named, symbol, wire_id))

    def query_conditional(self, client_order_id: int, instrument_id: str) -> Request[bodies.AlgoOrderBody]:
        symbol, _ = self._symbols[instrument_id]
        wire_id = format_order_id(client_order_id, self._prefix)
        return self._request("algo.query", {"clientAlgoId": wire_id}, partial(_algo_named, symbol, wire_id))

    def query_venue_conditional(self, algo_id: int, symbol: str) -> Request[bodies.AlgoOrderBody]:
        def read(body: bytes) -> bodies.AlgoOrderBody:
            order = bodies.read_algo_order(body)
            if order.symbol != symbol or order.algo_id != algo_id:
                raise VenueProtocolError(
                    f"asked for conditional order {algo_id} of {symbol}, answered with {order.algo_id} of {order.symbol}"
                )
            return order

        return self._request("algo.query", {"algoId": str(algo_id)}, read)

    def query_venue_order(self, order_id: int, symbol: str) -> Request[bodies.OrderBody]:
        """An order by the venue's id, for the executions of one whose client id is not known."""

        def read(body: bytes) -> bodies.OrderBody:
            order = bodies.read_order(body)
            if order.symbol != symbol or order.order_id != order_id:
                raise VenueProtocolError(
                    f"asked for order {order_id} of {symbol}, answered with {order.order_id} of {order.symbol}"
                )
            return order

        return self._request("order.query", {"symbol": symbol, "orderId": str(order_id)}, read)

    # Everything at once.

    def cancel_all(self, symbol: str) -> Request[list[bodies.OrderBody] | bodies.Done]:
        """Every order of one symbol on the book. Of the futures, conditional ones need `cancel_all_conditional` as well."""
        return self._request("orders.cancel_all", {"symbol": symbol}, _canceled_all)

    def cancel_all_conditional(self, symbol: str) -> Request[bodies.Done]:
        return self._request("algo.cancel_all", {"symbol": symbol}, bodies.read_done)

    def dead_man(self, symbol: str, countdown_ms: int) -> Request[bodies.Countdown]:
        """Have the venue cancel the symbol's orders unless this is sent again within `countdown_ms`; 0 disarms."""
        assert 0 <= countdown_ms <= COUNTDOWN_MS_MAX

        def read(body: bytes) -> bodies.Countdown:
            armed = bodies.read_countdown(body)
            if armed.symbol != symbol or armed.countdown_time != str(countdown_ms):
                raise VenueProtocolError(
                    f"asked for {countdown_ms} ms on {symbol}, answered {armed.countdown_time!r} on {armed.symbol}"
                )
            return armed

        return self._request("dead_man", {"symbol": symbol, "countdownTime": str(countdown_ms)}, read)

    # What the venue has.

    def open_orders(self, symbol: str | None = None) -> Request[list[bodies.OrderBody]]:
        return self._request("orders.open", _maybe(symbol=symbol), bodies.read_orders, is_all=symbol is None)

    def open_conditional(self, symbol: str | None = None) -> Request[list[bodies.AlgoOrderBody]]:
        return self._request("algo.open", _maybe(symbol=symbol), bodies.read_algo_orders, is_all=symbol is None)

    def all_open(self, symbols: Collection[str]) -> list[Request[list[bodies.OrderBody]] | Request[list[bodies.AlgoOrderBody]]]:
        """What asks for the open orders of `symbols` with the least weight: symbol by symbol, or of the whole account."""
        endpoint = self._table["orders.open"]
        is_all = endpoint.weight * len(symbols) >= endpoint.weight_all
        wanted: list[str | None] = [None] if is_all else [*symbols]
        asked: list[Request[list[bodies.OrderBody]] | Request[list[bodies.AlgoOrderBody]]]
        asked = [self.open_orders(symbol) for symbol in wanted]
        if self.product is Product.USDM:
            asked += [self.open_conditional(symbol) for symbol in wanted]
        return asked

    def trades(self, symbol: str, *, from_id: int) -> Request[list[bodies.TradeBody]]:
        """At most TRADES_MAX executions of ours, from a trade id on; a full page means that there are more."""
        return self._trades(symbol, _maybe(fromId=str(from_id)))

    def trades_between(self, symbol: str, since_ms: int, until_ms: int) -> Request[list[bodies.TradeBody]]:
        """At most TRADES_MAX executions of ours, both ends included; at most TRADES_WINDOW_MS apart."""
        assert 0 <= until_ms - since_ms <= TRADES_WINDOW_MS[self.product]
        return self._trades(symbol, _maybe(startTime=str(since_ms), endTime=str(until_ms)))

    def _trades(self, symbol: str, which: dict[str, str]) -> Request[list[bodies.TradeBody]]:
        def read(body: bytes) -> list[bodies.TradeBody]:
            trades = bodies.read_trades(body)
            if any(trade.symbol != symbol for trade in trades):
                raise VenueProtocolError(f"asked for executions in {symbol}, answered with another's")
            return trades

        return self._request("trades", {"symbol": symbol, **which, "limit": str(TRADES_MAX)}, read)

    def trades_of_order(self, order_id: int, symbol: str) -> Request[list[bodies.TradeBody]]:
        """Every execution of one order, by the venue's id."""

        def read(body: bytes) -> list[bodies.TradeBody]:
            trades = bodies.read_trades(body)
            if any(trade.order_id != order_id or trade.symbol != symbol for trade in trades):
                raise VenueProtocolError(f"asked for executions of order {order_id} of {symbol}, answered with another's")
            return trades

        return self._request("trades", {"symbol": symbol, "orderId": str(order_id), "limit": str(TRADES_MAX)}, read)

    def spot_account(self) -> Request[bodies.SpotAccount]:
        return self._request("account", {"omitZeroBalances": "true"}, bodies.read_spot_account)

    def futures_account(self) -> Request[bodies.FuturesAccount]:
        return self._request("account", {}, bodies.read_futures_account)

    def positions(self) -> Request[list[bodies.PositionBody]]:
        return self._request("positions", {}, bodies.read_positions)

    def income(self, page: IncomePage) -> Request[list[bodies.IncomeBody]]:
        """One page of what moved the futures account's money, of every kind."""
        window = {"startTime": str(page.since_ms), "endTime": str(page.until_ms)}
        params = {**window, "page": str(page.number), "limit": str(PAGE_ROWS)}
        return self._request("income", params, bodies.read_income)

    def position_mode(self) -> Request[bodies.PositionMode]:
        return self._request("position_mode", {}, bodies.read_position_mode)

    def key_permissions(self) -> Request[bodies.KeyPermissions]:
        return self._request("key.permissions", {}, bodies.read_key_permissions)

    # The market and the session.

    def server_time(self) -> Request[bodies.ServerTime]:
        return self._request("time", {}, bodies.read_server_time)

    def exchange_info(self, symbols: Iterable[str] = ()) -> Request[bodies.ExchangeInfo]:
        """The rules of `symbols`; of every symbol without any, and of the futures always."""
        asked = sorted(symbols) if self.product is Product.SPOT else []
        params = {"symbols": msgspec.json.encode(asked).decode()} if asked else {}
        request = self._request("exchange_info", params, bodies.read_exchange_info)
        return msgspec.structs.replace(request, answer_bytes_max=bodies.EXCHANGE_INFO_BYTES_MAX, deadline_s=60.0)

    def depth(self, symbol: str, levels: int = 0) -> Request[bytes]:
        """The body of a snapshot, for BinanceBookSession.receive; it was read once to see that it is one.

        `levels` are to be had of it for a while: twice as many are asked for, where the venue has them, as the market moves.
        """

        def read(body: bytes) -> bytes:
            decode(body, _SNAPSHOT, bytes_max=bodies.BODY_BYTES_MAX)
            return body

        is_deep = self.product is Product.SPOT and 2 * levels > DEPTH_LEVELS
        params = {"symbol": symbol, "limit": str(DEEP_LEVELS if is_deep else DEPTH_LEVELS)}
        request = self._request("depth.deep" if is_deep else "depth", params, read)
        return msgspec.structs.replace(request, answer_bytes_max=bodies.BODY_BYTES_MAX)

    def create_listen_key(self) -> Request[bodies.ListenKey]:
        return self._request("listen_key.create", {}, bodies.read_listen_key)

    def keep_listen_key(self) -> Request[bodies.Done | bodies.ListenKey]:
        return self._request("listen_key.keep", {}, _kept)

    def close_listen_key(self) -> Request[bodies.Done]:
        return self._request("listen_key.close", {}, bodies.read_done)

    def subscribe_user_stream(self, request_id: str, venue_ns: int) -> bytes:
        """Spot: the frame that asks the WebSocket API for this account's events."""
        params = self._signer.signed_params({"timestamp": str(venue_ns // NS_PER_MS)})
        message = {
            "id": request_id,
            "method": "userDataStream.subscribe.signature",
            "params": {**params, "timestamp": venue_ns // NS_PER_MS},
        }
        return msgspec.json.encode(message)

    def _request(self, name: str, params: dict[str, str], read: Callable[[bytes], T], *, is_all: bool = False) -> Request[T]:
        endpoint = self._table.get(name)
        if endpoint is None:
            raise RefusedError(f"Binance {self.product.name} has no {name}")

        def build(venue_ns: int) -> Wire:
            return self._signer.sign(endpoint, params, venue_ns // NS_PER_MS, self.recv_window_ms)

        return Request(
            name=f"binance.{self.product.name.lower()}.{name}",
            intent=endpoint.intent,
            build=build,
            judge=partial(judge, self.product, read),
            costs=endpoint.costs(self.product, is_all=is_all),
            deadline_s=self._deadline_s,
            answer_bytes_max=bodies.BODY_BYTES_MAX,
        )


def _plain(value: int, scale: int) -> str:
    """Without zeros behind the last digit that counts: our scale may be finer than the precision that the venue allows."""
    text = format_fixed(value, scale)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _maybe(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


def _spot_order(command: SubmitOrder, instrument: Instrument) -> dict[str, str]:
    if command.reduce_only and command.side is Side.BUY:
        raise RefusedError("spot has no short position for a reduce-only buy to reduce")
    params = {"side": _SIDES[command.side], "quantity": _plain(command.quantity, instrument.qty_scale)}
    kinds = {
        OrderType.LIMIT: "LIMIT_MAKER" if command.post_only else "LIMIT",
        OrderType.MARKET: "MARKET",
        OrderType.STOP: "STOP_LOSS",
        OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    }
    params["type"] = kinds[command.order_type]
    if command.post_only and command.order_type is not OrderType.LIMIT:
        raise RefusedError("only a limit order can be post-only")
    if command.price is not None:
        params["price"] = _plain(command.price, instrument.price_scale)
        time = _TIMES.get(command.time_in_force)
        if time is None or (command.post_only and command.time_in_force is not TimeInForce.GTC):
            raise RefusedError(f"Binance spot has no {command.time_in_force.name} for a {params['type']} order")
        if not command.post_only:
            params["timeInForce"] = time
    if command.trigger_price is not None:
        params["stopPrice"] = _plain(command.trigger_price, instrument.price_scale)
    if command.display_qty:
        if command.price is None or command.time_in_force is not TimeInForce.GTC:
            raise RefusedError("an iceberg order must be a limit order that is good till canceled")
        params["icebergQty"] = _plain(command.display_qty, instrument.qty_scale)
    return params


def _futures_order(command: SubmitOrder, instrument: Instrument, now_ns: int) -> dict[str, str]:
    if command.display_qty:
        raise RefusedError("Binance futures have no iceberg orders")
    params = {"side": _SIDES[command.side], "quantity": _plain(command.quantity, instrument.qty_scale)}
    if command.order_type is OrderType.MARKET:
        if command.post_only:
            raise RefusedError("only a limit order can be post-only")
        params["type"] = "MARKET"
    else:
        assert command.price is not None
        params |= {"type": "LIMIT", "price": _plain(command.price, instrument.price_scale)}
        params |= _futures_time(command, now_ns)
    if command.reduce_only:
        params["reduceOnly"] = "true"
    return params


def _futures_time(command: SubmitOrder, now_ns: int) -> dict[str, str]:
    if command.post_only:
        if command.time_in_force is not TimeInForce.GTC:
            raise RefusedError(f"a post-only futures order rests until it is canceled: {command.time_in_force.name} cannot be")
        return {"timeInForce": "GTX"}
    if command.time_in_force is TimeInForce.GTD:
        # The venue cuts it to whole seconds, so what is later than a second is lost.
        if command.expire_ts <= now_ns + GTD_LEAST_NS + NS_PER_SECOND:
            raise RefusedError("Binance takes good-till-date orders only for more than 600 s from now")
        return {"timeInForce": "GTD", "goodTillDate": str(command.expire_ts // NS_PER_MS)}
    time = _TIMES.get(command.time_in_force)
    if time is None:
        raise RefusedError(f"Binance futures have no {command.time_in_force.name}")
    return {"timeInForce": time}


def _order_named(symbol: str, wire_id: str, body: bytes) -> bodies.OrderBody:
    order = bodies.read_order(body)
    if order.symbol != symbol or order.own_id != wire_id:
        raise VenueProtocolError(f"asked about {wire_id} of {symbol}, answered with {order.own_id!r} of {order.symbol}")
    return order


def _order_numbered(symbol: str, order_id: int, body: bytes) -> bodies.OrderBody:
    order = bodies.read_order(body)
    if order.symbol != symbol or order.order_id != order_id:
        raise VenueProtocolError(f"asked about order {order_id} of {symbol}, answered with {order.order_id} of {order.symbol}")
    return order


def _algo_named(symbol: str, wire_id: str, body: bytes) -> bodies.AlgoOrderBody:
    order = bodies.read_algo_order(body)
    if order.symbol != symbol or order.client_algo_id != wire_id:
        raise VenueProtocolError(f"asked about {wire_id} of {symbol}, answered with {order.client_algo_id!r} of {order.symbol}")
    return order


def _algo_canceled(wire_id: str, body: bytes) -> bodies.AlgoCanceled:
    done = bodies.read_algo_canceled(body)
    if done.client_algo_id != wire_id or not done.is_done:
        raise VenueProtocolError(f"asked to cancel {wire_id}, answered with {done!r}")
    return done


def _canceled_all(body: bytes) -> list[bodies.OrderBody] | bodies.Done:
    """Spot lists the orders, order lists among them in other words; futures say done."""
    return bodies.read_done(body) if body.lstrip()[:1] == b"{" else bodies.read_orders(body)


def _kept(body: bytes) -> bodies.Done | bodies.ListenKey:
    return bodies.read_listen_key(body) if b"listenKey" in body else bodies.read_done(body)
