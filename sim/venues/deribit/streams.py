"""What the venue tells subscribers after each step: books by change ids, prints, and each account's own changes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from sim.venues.deribit.connection import Connection
from sim.venues.deribit.engine import Engine
from sim.venues.deribit.ledger import Account, Fill, Holding, VenueOrder, average_price
from sim.venues.deribit.markets import Market, number
from sim.venues.deribit.wire import notification
from sim.venues.faults import Faults

STALE_BOOKS = 20  # notifications that follow nothing once a book has stopped to
INTERVALS = ("raw", "100ms", "agg2")  # all are sent at once here: an aggregation of one step
BAD_NUMBERS = (b"NaN", b"1e999", b"-1.0", b"Infinity", b"0.123456789", b"1.0.0")

Send = Callable[[int, Connection, bytes], None]


class Streams:
    """`send` puts a notification on its way to one connection."""

    def __init__(self, engine: Engine, faults: Faults, send: Send) -> None:
        self._engine = engine
        self._faults = faults
        self._send = send
        self.change_id = 0

    def is_channel(self, channel: str, is_private: bool) -> bool:
        """Whether `channel` exists and may be subscribed to."""
        parts = channel.split(".")
        kind = parts[0]
        if kind == "user":
            return is_private and len(parts) >= 3 and parts[1] in ("changes", "orders", "trades", "portfolio")
        if kind in ("book", "trades"):
            return len(parts) == 3 and parts[1] in self._engine.markets and parts[2] in INTERVALS
        if kind == "quote":
            return len(parts) == 2 and parts[1] in self._engine.markets
        if kind == "ticker":
            return len(parts) == 3 and parts[1] in self._engine.markets and parts[2] in INTERVALS
        return channel == "platform_state" or (kind == "instrument" and len(parts) == 4)

    # One step of the engine.

    def publish(self, ts: int, connections: Iterable[Connection]) -> None:
        """Tell of everything that has changed since the last time."""
        engine = self._engine
        changed, fills, touched = list(engine.changed.values()), list(engine.fills), list(engine.touched.values())
        engine.changed.clear()
        engine.fills.clear()
        engine.touched.clear()
        live = [connection for connection in connections if connection.is_open]
        for market in touched:
            self._publish_book(ts, market, live)
        self._publish_prints(ts, fills, live)
        for connection in live:
            if connection.account is not None:
                self._publish_user(ts, connection, connection.account, changed, fills)

    def _publish_book(self, ts: int, market: Market, connections: list[Connection]) -> None:
        now = self._engine.levels(market)
        before, market.published = market.published, now
        sides = [_side_changes(old, new) for old, new in zip(before, now, strict=True)]
        if not any(sides):
            return
        self.change_id += 1
        previous, market.change_id = market.change_id, self.change_id
        data = self._book_json(ts, market, "change", sides[0], sides[1])
        data["prev_change_id"] = previous
        for connection in connections:
            for channel in connection.channels:
                if channel.startswith(f"book.{market.name}."):
                    self._send_book(ts, connection, channel, data)
                elif channel == f"quote.{market.name}":
                    self._send(ts, connection, notification(channel, self._quote_json(ts, market)))
                elif channel.startswith(f"ticker.{market.name}."):
                    self._send(ts, connection, notification(channel, self.ticker_json(ts, market)))

    def _send_book(self, ts: int, connection: Connection, channel: str, data: dict[str, Any]) -> None:
        faults = self._faults
        if faults.fires(49):
            connection.stale_books = STALE_BOOKS
        if connection.stale_books:
            # Stamps and numbers go on, and what has changed is not in it.
            connection.stale_books -= 1
            data = {**data, "bids": [], "asks": []}
        if faults.fires(51):
            kind = faults.random.below(3)
            if kind == 0:
                return
            if kind == 1:
                self._send(ts, connection, notification(channel, data))
            else:
                connection.held.append(notification(channel, data))
                return
        if faults.fires(50):
            data = {**data, "bids": [["new", number(10**9, 0), number(10, 0)], *data["bids"]]}
        payload = notification(channel, data)
        if faults.fires(54):
            bad = BAD_NUMBERS[faults.random.below(len(BAD_NUMBERS))]
            payload = payload.replace(b'"timestamp":', b'"timestamp":' + bad + b',"was":', 1)
        if faults.fires(55):
            payload = payload.replace(b'"change_id":', b'"change_id":7,"change_id":', 1)
        if faults.fires(56):
            payload = payload.replace(b'"change_id":', b'"change_id":99999999999999999999,"was":', 1)
        self._send(ts, connection, payload)

    def snapshot(self, ts: int, connection: Connection, channel: str) -> None:
        """The first message of a new book subscription."""
        market = self._engine.markets[channel.split(".")[1]]
        bids, asks = market.published
        data = self._book_json(
            ts,
            market,
            "snapshot",
            [("new", price, amount) for price, amount in bids.items()],
            [("new", price, amount) for price, amount in asks.items()],
        )
        if self._faults.fires(53):
            data["change_id"] -= 1
        self._send(ts, connection, notification(channel, data))

    def _book_json(
        self, ts: int, market: Market, kind: str, bids: list[tuple[str, int, int]], asks: list[tuple[str, int, int]]
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "timestamp": ts // 1_000_000,
            "instrument_name": market.name,
            "change_id": market.change_id,
            "bids": [[action, market.price(price), market.amount(amount)] for action, price, amount in bids],
            "asks": [[action, market.price(price), market.amount(amount)] for action, price, amount in asks],
        }

    def ticker_json(self, ts: int, market: Market) -> dict[str, Any]:
        return {
            **self._quote_json(ts, market),
            "state": "open" if market.is_open else "closed",
            "last_price": market.price(market.last) if market.last else None,
            "mark_price": market.price(market.mark),
            "index_price": market.price(market.index),
            "min_price": market.price(market.rules.price_min),
            "max_price": market.price(market.rules.price_max),
            "open_interest": market.amount(0),
            "settlement_price": market.price(market.mark),
            "stats": {"volume": market.amount(0), "low": None, "high": None, "price_change": None},
        }

    def _quote_json(self, ts: int, market: Market) -> dict[str, Any]:
        bids, asks = market.published
        bid, ask = max(bids, default=0), min(asks, default=0)
        return {
            "timestamp": ts // 1_000_000,
            "instrument_name": market.name,
            "best_bid_price": market.price(bid),
            "best_bid_amount": market.amount(bids.get(bid, 0)),
            "best_ask_price": market.price(ask),
            "best_ask_amount": market.amount(asks.get(ask, 0)),
        }

    def _publish_prints(self, ts: int, fills: list[Fill], connections: list[Connection]) -> None:
        # The taker's side of each trade; the maker's where nobody's account took.
        prints = {fill.trade_id: fill for fill in sorted(fills, key=lambda fill: not fill.is_maker)}
        for fill in prints.values():
            market = fill.order.market
            public = public_trade(fill)
            for connection in connections:
                for channel in connection.channels:
                    if channel.startswith(f"trades.{market.name}."):
                        self._send(ts, connection, notification(channel, [public]))

    def _publish_user(
        self, ts: int, connection: Connection, account: Account, changed: list[VenueOrder], fills: list[Fill]
    ) -> None:
        own = [order for order in changed if order.account is account]
        trades = [fill for fill in fills if fill.order.account is account]
        for name in dict.fromkeys([*(order.market.name for order in own), *(fill.order.market.name for fill in trades)]):
            orders_here = [order for order in own if order.market.name == name]
            trades_here = [fill for fill in trades if fill.order.market.name == name]
            market = self._engine.markets[name]
            for channel in connection.channels:
                kind = channel.split(".")[:2]
                if kind[0] != "user" or not _covers(channel, market):
                    continue
                if kind[1] == "changes":
                    self._send_changes(ts, connection, channel, market, account, orders_here, trades_here)
                elif kind[1] == "trades" and trades_here:
                    self._send(ts, connection, notification(channel, [fill.as_json() for fill in trades_here]))
                elif kind[1] == "orders":
                    for order in orders_here:
                        self._send(ts, connection, notification(channel, order.as_json()))
        if own or trades:
            self._send_portfolios(ts, connection, account)

    def _send_changes(
        self,
        ts: int,
        connection: Connection,
        channel: str,
        market: Market,
        account: Account,
        orders: list[VenueOrder],
        fills: list[Fill],
    ) -> None:
        faults = self._faults
        data = {
            "instrument_name": market.name,
            "orders": [order.as_json() for order in orders],
            "trades": [fill.as_json() for fill in fills],
            "positions": [position_json(market, account.holding(market.name))] if fills else [],
        }
        payload = notification(channel, data)
        if faults.fires(35):
            connection.held.append(payload)
            return
        self._send(ts, connection, payload)
        if fills and faults.fires(22):
            self._send(ts, connection, payload)
        if fills and faults.fires(23):
            again = [{**fill.as_json(), "trade_id": f"{fill.trade_id}9"} for fill in fills]
            self._send(ts, connection, notification(channel, {**data, "trades": again}))
        if fills and faults.fires(31):
            more = [
                {**fill.as_json(), "trade_id": f"{fill.trade_id}7", "amount": market.amount(fill.order.amount + 1)}
                for fill in fills
            ]
            self._send(ts, connection, notification(channel, {**data, "trades": more}))
        closed = [order for order in orders if order.state == "cancelled"]
        if closed and faults.fires(34):
            reopened = {**closed[0].as_json(), "order_state": "open", "last_update_timestamp": closed[0].updated_ms + 1}
            self._send(ts, connection, notification(channel, {**data, "orders": [reopened], "trades": []}))

    def _send_portfolios(self, ts: int, connection: Connection, account: Account) -> None:
        for channel in connection.channels:
            if channel.startswith("user.portfolio."):
                wanted = channel.rpartition(".")[2]
                for currency in account.cash:
                    if wanted not in ("any", currency, currency.lower()):
                        continue
                    data = portfolio_json(account, currency)
                    if self._faults.fires(59):
                        data["balance"] = data["equity"] = number(account.cash[currency] * 3 + 1, 8)
                    self._send(ts, connection, notification(channel, data))

    def instrument(self, ts: int, connections: Iterable[Connection], market: Market, data: Mapping[str, Any]) -> None:
        for connection in connections:
            for channel in connection.channels:
                parts = channel.split(".")
                if parts[:2] != ["instrument", "state"] or not connection.is_open:
                    continue
                if parts[2] in ("any", market.kind) and parts[3] in ("any", market.rules.settlement_currency):
                    self._send(ts, connection, notification(channel, data))

    def platform(self, ts: int, connections: Iterable[Connection], data: Mapping[str, Any]) -> None:
        for connection in connections:
            if connection.is_open and "platform_state" in connection.channels:
                self._send(ts, connection, notification("platform_state", data))


PUBLIC_FIELDS = (
    "timestamp",
    "price",
    "amount",
    "direction",
    "index_price",
    "instrument_name",
    "trade_seq",
    "mark_price",
    "tick_direction",
    "contracts",
    "trade_id",
)


def public_trade(fill: Fill) -> dict[str, Any]:
    """What everybody is told of it."""
    shown = fill.as_json()
    return {key: shown[key] for key in PUBLIC_FIELDS}


def _side_changes(old: dict[int, int], new: dict[int, int]) -> list[tuple[str, int, int]]:
    changes = [("delete", price, 0) for price in old if price not in new]
    for price, amount in new.items():
        if price not in old:
            changes.append(("new", price, amount))
        elif old[price] != amount:
            changes.append(("change", price, amount))
    return changes


def _covers(channel: str, market: Market) -> bool:
    """user.X.INSTRUMENT.INTERVAL, or user.X.KIND.CURRENCY.INTERVAL with any for all."""
    parts = channel.split(".")
    if len(parts) == 4:
        return parts[2] == market.name
    if len(parts) != 5:
        return False
    return parts[2] in ("any", market.kind) and parts[3] in ("any", market.rules.settlement_currency)


def position_json(market: Market, holding: Holding) -> dict[str, Any]:
    direction = "zero" if not holding.size else "buy" if holding.size > 0 else "sell"
    return {
        "instrument_name": market.name,
        "kind": market.kind,
        "direction": direction,
        "size": market.amount(holding.size),
        "average_price": average_price(market, holding),
        "mark_price": market.price(market.mark),
        "index_price": market.price(market.index),
        "realized_profit_loss": number(holding.realized, 8),
        "floating_profit_loss": 0.0,
        "total_profit_loss": number(holding.realized, 8),
        "estimated_liquidation_price": None,
        "delta": 0.0,
        "leverage": market.leverage_max,
    }


def portfolio_json(account: Account, currency: str) -> dict[str, Any]:
    balance: msgspec.Raw = number(account.cash.get(currency, 0), 8)
    return {
        "currency": currency,
        "balance": balance,
        "equity": balance,
        "available_funds": balance,
        "margin_balance": balance,
        "maintenance_margin": 0.0,
        "initial_margin": 0.0,
        "options_delta": 0.0,
        "delta_total_map": {},
    }
