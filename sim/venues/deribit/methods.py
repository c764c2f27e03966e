"""The venue's methods: each takes parameters and gives a result, or raises RpcError. Written from the documentation of API v2."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from core.enums import Side
from core.units import NS_PER_MS, NS_PER_SECOND
from sim.venues.deribit.connection import Connection
from sim.venues.deribit.engine import STOPS, TIME_IN_FORCE, Engine, NewOrder
from sim.venues.deribit.ledger import Account, Fill, Key, VenueOrder
from sim.venues.deribit.markets import Market
from sim.venues.deribit.streams import Streams, portfolio_json, position_json, public_trade
from sim.venues.deribit.wallet import ROWS_DEFAULT, ROWS_MAX, page_of
from sim.venues.deribit.wire import Params, RpcError, invalid
from sim.venues.faults import Faults

TOKEN_S = 900
CLOCK_DIFFERENCE_MS_MAX = 60_000  # of a signature's stamp: documented as a minute
RECENT_ORDERS_MS = 30 * 60_000  # documented: closed orders are found for 30 minutes, trades for 24 hours
RECENT_TRADES_MS = 24 * 3_600_000
LABEL_MAX = 64
ORDER_TYPES = ("limit", "market", *STOPS)
TRIGGERS = ("last_price", "mark_price", "index_price")
# Counted against the matching engine's own limit (documented list).
ENGINE_METHODS = frozenset(
    (
        "private/buy",
        "private/sell",
        "private/edit",
        "private/edit_by_label",
        "private/cancel",
        "private/cancel_by_label",
        "private/cancel_all",
        "private/cancel_all_by_instrument",
        "private/cancel_all_by_currency",
        "private/close_position",
    )
)
SUBSCRIBE_METHODS = frozenset(
    ("public/subscribe", "private/subscribe", "public/unsubscribe", "private/unsubscribe", "private/unsubscribe_all")
)

Method = Callable[[int, Connection, Params], Any]


class Methods:
    def __init__(self, engine: Engine, streams: Streams, keys: dict[str, Key], faults: Faults) -> None:
        self._engine = engine
        self._streams = streams
        self._keys = keys
        self._faults = faults
        self.in_maintenance = False
        self.tells_first = False  # what the last call did is told before its answer
        self.lost: set[str] = set()  # order ids that a restart has forgotten
        self.public: dict[str, Method] = {
            "public/auth": self._auth,
            "public/set_heartbeat": self._set_heartbeat,
            "public/disable_heartbeat": self._disable_heartbeat,
            "public/test": lambda _ts, _connection, _params: {"version": "1.2.26"},
            "public/hello": lambda _ts, _connection, _params: {"version": "1.2.26"},
            "public/get_time": lambda ts, _connection, _params: ts // NS_PER_MS,
            "public/get_instrument": lambda _ts, _connection, params: self._market(params).as_json(),
            "public/get_instruments": self._get_instruments,
            "public/get_order_book": self._get_order_book,
            "public/get_currencies": self._get_currencies,
            "public/get_last_trades_by_instrument": self._last_trades,
            "public/status": lambda _ts, _connection, _params: {"locked": "false", "locked_indices": []},
            "public/ticker": lambda ts, _connection, params: streams.ticker_json(ts, self._market(params)),
            "public/subscribe": self._subscribe,
            "public/unsubscribe": self._unsubscribe,
        }
        self.private: dict[str, Method] = {
            "private/subscribe": self._subscribe,
            "private/unsubscribe": self._unsubscribe,
            "private/unsubscribe_all": self._unsubscribe_all,
            "private/enable_cancel_on_disconnect": self._enable_cod,
            "private/disable_cancel_on_disconnect": self._disable_cod,
            "private/get_cancel_on_disconnect": self._get_cod,
            "private/buy": lambda ts, connection, params: self._place(ts, connection, params, Side.BUY),
            "private/sell": lambda ts, connection, params: self._place(ts, connection, params, Side.SELL),
            "private/edit": self._edit,
            "private/edit_by_label": self._edit_by_label,
            "private/cancel": self._cancel,
            "private/cancel_by_label": self._cancel_by_label,
            "private/cancel_all": self._cancel_all,
            "private/cancel_all_by_instrument": self._cancel_all_by_instrument,
            "private/cancel_all_by_currency": self._cancel_all_by_currency,
            "private/close_position": self._close_position,
            "private/get_open_orders": self._get_open_orders,
            "private/get_order_state": self._get_order_state,
            "private/get_order_state_by_label": self._get_order_state_by_label,
            "private/get_user_trades_by_order": self._trades_by_order,
            "private/get_user_trades_by_currency_and_time": self._trades_by_time,
            "private/get_open_orders_by_currency": self._open_orders_by_currency,
            "private/get_open_orders_by_instrument": self._open_orders_by_instrument,
            "private/get_order_history_by_instrument": self._order_history,
            "private/get_user_trades_by_instrument": self._trades_by_instrument,
            "private/get_position": self._get_position,
            "private/get_positions": self._get_positions,
            "private/get_account_summary": self._get_account_summary,
            "private/get_transaction_log": self._get_transaction_log,
        }

    # The session.

    def _auth(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        grant = params.text("grant_type")
        if grant == "refresh_token":
            token = params.text("refresh_token")
            key = next((each for each in self._keys.values() if each.refresh_token and each.refresh_token == token), None)
            if key is None:
                raise RpcError(13009, "unauthorized", {"reason": "invalid_token"})
        else:
            key = self._keys.get(params.text("client_id"))
            if key is None or not self._proves(ts, key, grant, params):
                raise RpcError(13004, "invalid_credentials")
        token = f"{self._faults.random.next():016x}{self._faults.random.next():016x}"
        key.refresh_token = f"{self._faults.random.next():016x}{self._faults.random.next():016x}"
        connection.account, connection.token = key.account, token
        connection.token_until_ts = ts + TOKEN_S * NS_PER_SECOND
        return {
            "access_token": token,
            "refresh_token": key.refresh_token,
            "expires_in": TOKEN_S,
            "scope": f"connection mainaccount {key.scope}",
            "token_type": "bearer",
            "enabled_features": [],
        }

    def _proves(self, ts: int, key: Key, grant: str, params: Params) -> bool:
        if grant == "client_credentials":
            return hmac.compare_digest(params.text("client_secret"), key.secret)
        if grant != "client_signature":
            raise invalid("grant_type", "wrong value")
        stamp = params.integer("timestamp")
        if abs(stamp - ts // NS_PER_MS) > CLOCK_DIFFERENCE_MS_MAX:
            return False
        message = f"{stamp}\n{params.text('nonce')}\n{params.text('data', '')}"
        expected = hmac.new(key.secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, params.text("signature"))

    def _set_heartbeat(self, ts: int, connection: Connection, params: Params) -> str:
        interval_s = params.integer("interval")
        if interval_s < 10:
            raise invalid("interval", "must be at least 10")
        connection.heartbeat_ns = interval_s * NS_PER_SECOND
        connection.beat_ts, connection.test_asked_ts = ts + connection.heartbeat_ns, 0
        return "ok"

    def _disable_heartbeat(self, _ts: int, connection: Connection, _params: Params) -> str:
        connection.heartbeat_ns = 0
        return "ok"

    def _enable_cod(self, _ts: int, connection: Connection, params: Params) -> str:
        if params.text("scope", "connection") not in ("connection", "account"):
            raise invalid("scope", "wrong value")
        connection.is_armed = True
        return "ok"

    def _disable_cod(self, _ts: int, connection: Connection, _params: Params) -> str:
        connection.is_armed = False
        return "ok"

    def _get_cod(self, _ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        return {"enabled": connection.is_armed, "scope": params.text("scope", "connection")}

    def _subscribe(self, ts: int, connection: Connection, params: Params) -> list[str]:
        """Answers with the channels there are; a book's snapshot follows the answer."""
        accepted = []
        for channel in params.names("channels"):
            if channel.endswith(".raw") and connection.account is None:
                raise RpcError(13778, "raw_subscriptions_not_available_for_unauthorized")
            if self._streams.is_channel(channel, connection.account is not None):
                accepted.append(channel)
        for channel in accepted:
            if channel in connection.channels:
                continue
            connection.channels[channel] = None
            if channel.startswith("book."):
                self._streams.snapshot(ts, connection, channel)
        return accepted

    def _unsubscribe(self, _ts: int, connection: Connection, params: Params) -> list[str]:
        return [channel for channel in params.names("channels") if connection.channels.pop(channel, self) is None]

    def _unsubscribe_all(self, _ts: int, connection: Connection, _params: Params) -> str:
        connection.channels.clear()
        return "ok"

    # Instruments.

    def _market(self, params: Params, name: str = "instrument_name") -> Market:
        market = self._engine.markets.get(params.text(name))
        if market is None:
            raise RpcError(13020, "not_found", {"param": name})
        return market

    def _get_instruments(self, _ts: int, _connection: Connection, params: Params) -> list[dict[str, Any]]:
        currency, kind = params.text("currency", "any"), params.text("kind", "any")
        return [
            market.as_json()
            for market in self._engine.markets.values()
            if currency in ("any", market.rules.settlement_currency, market.rules.base_currency) and kind in ("any", market.kind)
        ]

    def _get_currencies(self, _ts: int, _connection: Connection, _params: Params) -> list[dict[str, Any]]:
        rules = [market.rules for market in self._engine.markets.values()]
        names = dict.fromkeys(name for rule in rules for name in (rule.base_currency, rule.settlement_currency))
        return [
            {"currency": name, "currency_long": name, "fee_precision": 4, "min_confirmations": 1, "withdrawal_fee": 0.0}
            for name in names
        ]

    def _last_trades(self, _ts: int, _connection: Connection, params: Params) -> dict[str, Any]:
        market, count = self._market(params), params.integer("count", 10)
        found = [fill for fill in self._engine.ledger.fills if fill.order.market is market and not fill.is_maker]
        return {"trades": [public_trade(fill) for fill in found[-count:]], "has_more": len(found) > count}

    def _get_order_book(self, ts: int, _connection: Connection, params: Params) -> dict[str, Any]:
        market, depth = self._market(params), params.integer("depth", 5)
        bids, asks = market.published
        return {
            "instrument_name": market.name,
            "timestamp": ts // NS_PER_MS,
            "change_id": market.change_id,
            "state": "open" if market.is_open else "closed",
            "bids": [[market.price(price), market.amount(bids[price])] for price in sorted(bids, reverse=True)[:depth]],
            "asks": [[market.price(price), market.amount(asks[price])] for price in sorted(asks)[:depth]],
            "mark_price": market.price(market.mark),
            "index_price": market.price(market.index),
            "last_price": market.price(market.last),
        }

    # Orders.

    def _account(self, connection: Connection) -> Account:
        assert connection.account is not None, "the venue lets nobody else call private methods"
        return connection.account

    def _check_open_for_trading(self, ts: int, params: Params) -> None:
        if self.in_maintenance or self._faults.fires(62):
            raise RpcError(11051, "system_maintenance")
        if params.has("valid_until") and ts // NS_PER_MS > params.integer("valid_until"):
            raise RpcError(13888, "timed_out")
        if self._faults.fires(57):
            raise RpcError(10043, "price_wrong_tick")

    def _label(self, params: Params) -> str:
        label = params.text("label", "")
        if len(label) > LABEL_MAX:
            raise invalid("label", f"must be at most {LABEL_MAX} characters")
        return label

    def _place(self, ts: int, connection: Connection, params: Params, side: Side) -> dict[str, Any]:
        market = self._market(params)
        self._check_open_for_trading(ts, params)
        wanted = self._read_order(params, market, side)
        fills_before = len(self._engine.ledger.fills)
        order = self._engine.place(ts, self._account(connection), connection.number, market, wanted)
        if order.is_open and order.order_type == "limit" and self._faults.fires(13):
            twin = self._engine.place(ts, self._account(connection), connection.number, market, wanted)
            twin.is_twin = True
        return self._order_result(order, fills_before)

    def _read_order(self, params: Params, market: Market, side: Side) -> NewOrder:
        rules = market.rules
        order_type = params.text("type", "limit")
        if order_type not in ORDER_TYPES:
            raise invalid("type", "wrong value")
        is_market = order_type in ("market", "stop_market")
        time_in_force = params.text("time_in_force", "good_til_cancelled")
        if time_in_force not in TIME_IN_FORCE or (is_market and time_in_force != "good_til_cancelled"):
            raise RpcError(11047, "unsupported_arg_combination")
        post_only = params.flag("post_only")
        if post_only and (is_market or time_in_force not in ("good_til_cancelled", "good_til_day")):
            raise RpcError(11055, "post_only_not_allowed")
        is_stop = order_type in STOPS
        trigger = params.text("trigger", "last_price") if is_stop else ""
        if is_stop and trigger not in TRIGGERS:
            raise invalid("trigger", "wrong value")
        return NewOrder(
            side=side,
            amount=params.scaled("amount", rules.qty_scale),
            price=None if is_market else params.scaled("price", rules.price_scale),
            order_type=order_type,
            time_in_force=time_in_force,
            label=self._label(params),
            post_only=post_only,
            reject_post_only=params.flag("reject_post_only"),
            reduce_only=params.flag("reduce_only"),
            display=params.scaled("display_amount", rules.qty_scale) if params.has("display_amount") else 0,
            trigger=trigger,
            trigger_price=params.scaled("trigger_price", rules.price_scale) if is_stop else 0,
        )

    def _order_result(self, order: VenueOrder, fills_before: int) -> dict[str, Any]:
        fills = [fill for fill in self._engine.ledger.fills[fills_before:] if fill.order is order]
        return {"order": order.as_json(), "trades": [fill.as_json() for fill in fills]}

    def _own(self, connection: Connection, order_id: str) -> VenueOrder:
        order = self._engine.order(order_id)
        if order is None or order.account is not connection.account or order_id in self.lost:
            raise RpcError(10004, "order_not_found")
        return order

    def _edit(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        order = self._own(connection, params.text("order_id"))
        self._check_open_for_trading(ts, params)
        return self._edit_order(ts, order, params)

    def _edit_by_label(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        market, label = self._market(params), params.text("label")
        self._check_open_for_trading(ts, params)
        found = [
            order
            for order in self._engine.open_orders(self._account(connection))
            if order.label == label and order.market is market and order.order_id not in self.lost
        ]
        if not found:
            raise RpcError(10004, "order_not_found")
        if len(found) > 1:
            raise RpcError(13032, "non_unique_order_label")
        return self._edit_order(ts, found[0], params)

    def _edit_order(self, ts: int, order: VenueOrder, params: Params) -> dict[str, Any]:
        rules = order.market.rules
        fills_before = len(self._engine.ledger.fills)
        price = params.scaled("price", rules.price_scale) if params.has("price") else None
        amount = params.scaled("amount", rules.qty_scale) if params.has("amount") else order.amount
        self._engine.edit(ts, order, amount, price, post_only=params.flag("post_only"), reject=params.flag("reject_post_only"))
        return self._order_result(order, fills_before)

    def _cancel(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        order = self._own(connection, params.text("order_id"))
        if order.is_open and self._faults.fires(28):
            raise RpcError(10004, "order_not_found")
        left = order.amount - order.filled
        if order.state == "open" and order.price is not None and self._faults.fires(27):
            self._engine.hit(ts, order, left)
        if not order.is_open:
            raise RpcError(11044, "not_open_order")
        self._cancel_order(ts, order)
        return order.as_json()

    def _cancel_order(self, ts: int, order: VenueOrder) -> None:
        if self._faults.fires(29):
            return
        is_divisible = order.amount - order.filled > order.market.rules.lot
        if order.state == "open" and order.price is not None and is_divisible and self._faults.fires(26):
            self._engine.hit(ts, order, order.market.rules.lot)
            self.tells_first = True
        left = order.amount - order.filled
        if order.state == "open" and order.price is not None and left > order.market.rules.lot and self._faults.fires(25):
            self._engine.hit(ts, order, order.market.rules.lot)
        self._engine.cancel(ts, order, "user_request")

    def _cancel_many(self, ts: int, orders: list[VenueOrder]) -> int:
        for order in orders:
            self._cancel_order(ts, order)
        return len(orders)

    def _open_of(self, connection: Connection) -> list[VenueOrder]:
        return [order for order in self._engine.open_orders(self._account(connection)) if order.order_id not in self.lost]

    def _cancel_by_label(self, ts: int, connection: Connection, params: Params) -> int:
        label, currency = params.text("label"), params.text("currency", "any")
        found = [order for order in self._open_of(connection) if order.label == label and _is_in(order, currency)]
        return self._cancel_many(ts, found)

    def _cancel_all(self, ts: int, connection: Connection, _params: Params) -> int:
        if self._faults.fires(38):
            raise RpcError(10028, "too_many_requests")
        return self._cancel_many(ts, self._open_of(connection))

    def _cancel_all_by_instrument(self, ts: int, connection: Connection, params: Params) -> int:
        market = self._market(params)
        return self._cancel_many(ts, [order for order in self._open_of(connection) if order.market is market])

    def _cancel_all_by_currency(self, ts: int, connection: Connection, params: Params) -> int:
        currency = params.text("currency")
        return self._cancel_many(ts, [order for order in self._open_of(connection) if _is_in(order, currency)])

    def _close_position(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        market, account = self._market(params), self._account(connection)
        size = account.holding(market.name).size
        if not size:
            raise RpcError(11030, "other_reject", {"reason": "no_position"})
        wanted = NewOrder(
            side=Side.SELL if size > 0 else Side.BUY,
            amount=abs(size),
            price=None,
            order_type="market",
            time_in_force="good_til_cancelled",
            reduce_only=True,
        )
        fills_before = len(self._engine.ledger.fills)
        return self._order_result(self._engine.place(ts, account, connection.number, market, wanted), fills_before)

    # Questions.

    def _get_open_orders(self, _ts: int, connection: Connection, _params: Params) -> list[dict[str, Any]]:
        return [order.as_json() for order in self._open_of(connection)]

    def _open_orders_by_currency(self, _ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        currency = params.text("currency")
        return [order.as_json() for order in self._open_of(connection) if _is_in(order, currency)]

    def _open_orders_by_instrument(self, _ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        market = self._market(params)
        return [order.as_json() for order in self._open_of(connection) if order.market is market]

    def _order_history(self, ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        """Closed ones, the newest first."""
        market, count, account = self._market(params), params.integer("count", 20), self._account(connection)
        found = [
            order
            for order in self._engine.ledger.orders
            if order.account is account and order.market is market and not order.is_open and not self._is_forgotten(ts, order)
        ]
        return [order.as_json() for order in reversed(found[-count:])]

    def _trades_by_instrument(self, _ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        market, count = self._market(params), params.integer("count", 10)
        found = [fill for fill in self._engine.ledger.fills_of(self._account(connection)) if fill.order.market is market]
        return {"trades": [fill.as_json() for fill in found[-count:]], "has_more": len(found) > count}

    def _get_position(self, _ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        market = self._market(params)
        return position_json(market, self._account(connection).holding(market.name))

    def _is_forgotten(self, ts: int, order: VenueOrder) -> bool:
        if order.order_id in self.lost or self._faults.fires(20):
            return True
        is_old = not order.is_open and ts // NS_PER_MS - order.updated_ms > RECENT_ORDERS_MS
        return is_old or (not order.is_open and self._faults.fires(21))

    def _get_order_state(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        order = self._own(connection, params.text("order_id"))
        if self._is_forgotten(ts, order):
            raise RpcError(10004, "order_not_found")
        return order.as_json()

    def _get_order_state_by_label(self, ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        label, currency = params.text("label"), params.text("currency")
        found = self._engine.ledger.orders_labelled(self._account(connection), label)
        return [order.as_json() for order in found if _is_in(order, currency) and not self._is_forgotten(ts, order)]

    def _trades_by_order(self, _ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        order = self._own(connection, params.text("order_id"))
        return [fill.as_json() for fill in self._engine.ledger.fills if fill.order is order]

    def _trades_by_time(self, ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        currency, count = params.text("currency"), params.integer("count", 10)
        start_ms, end_ms = params.integer("start_timestamp"), params.integer("end_timestamp")
        if not 1 <= count <= 1_000:
            raise invalid("count", "must be 1 to 1000")
        oldest_ms = 0 if params.flag("historical") else ts // NS_PER_MS - RECENT_TRADES_MS
        found = [
            fill
            for fill in self._engine.ledger.fills_of(self._account(connection))
            if _is_in(fill.order, currency) and max(start_ms, oldest_ms) <= fill.ts_ms <= end_ms
        ]
        if params.text("sorting", "default") == "desc":
            found.reverse()
        page: list[Fill] = found[:count]
        return {"trades": [fill.as_json() for fill in page], "has_more": len(found) > count}

    def _get_positions(self, _ts: int, connection: Connection, params: Params) -> list[dict[str, Any]]:
        account, currency = self._account(connection), params.text("currency", "any")
        return [
            position_json(market, account.holding(market.name))
            for market in self._engine.markets.values()
            if currency in ("any", market.rules.settlement_currency) and account.holding(market.name).size
        ]

    def _get_transaction_log(self, _ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        count = params.integer("count", ROWS_DEFAULT)
        if not 1 <= count <= ROWS_MAX:
            raise invalid("count", f"must be 1 to {ROWS_MAX}")
        continuation = params.integer("continuation") if params.has("continuation") else None
        start_ms, end_ms = params.integer("start_timestamp"), params.integer("end_timestamp")
        return page_of(self._account(connection), params.text("currency"), start_ms, end_ms, count, continuation)

    def _get_account_summary(self, _ts: int, connection: Connection, params: Params) -> dict[str, Any]:
        return portfolio_json(self._account(connection), params.text("currency"))


def _is_in(order: VenueOrder, currency: str) -> bool:
    return currency in ("any", order.market.rules.settlement_currency)
