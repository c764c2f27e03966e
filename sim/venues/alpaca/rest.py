"""Alpaca's REST interfaces, simulated: trading and market data; a request in, status and body out. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from core.units import NS_PER_SECOND, to_float
from sim.venues.alpaca import hours
from sim.venues.alpaca.engine import MONEY_SCALE, Engine
from sim.venues.alpaca.history import EXECUTION
from sim.venues.alpaca.hours import Phase
from sim.venues.alpaca.settings import USD
from sim.venues.alpaca.tickets import ApiError, asset_id, body_of, plain, price_text, stamp_text
from sim.venues.exchange.model import Listing
from sim.venues.protocol import HttpRequest

INVALID, NOT_FOUND = 40010000, 40410000
ORDERS_LIMIT, ORDERS_LIMIT_MAX = 50, 500
ACTIVITIES_LIMIT_MAX = 100
EXCHANGE_NAME = "NASDAQ"

Answer = tuple[int, Any]  # status and what becomes its JSON; None: no body


class Rest:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Positions as they were before the last fill, for the fault of late balances.
        self._positions_before: dict[str, list[dict[str, Any]]] = {}

    def answer(self, ts: int, account: str, request: HttpRequest) -> Answer:
        """Raises ApiError."""
        query = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        path = unquote(request.path)
        parts = [part for part in path.split("/") if part]
        if parts[:2] == ["v2", "stocks"] or parts[:1] == ["v1beta3"]:
            return 200, self._data(parts, query)
        if not parts or parts[0] != "v2" or len(parts) < 2:
            raise ApiError(404, NOT_FOUND, f"endpoint not found: {path}")
        handlers: dict[str, Callable[[], Answer]] = {
            "orders": lambda: self._orders(ts, account, request, parts[2:], query),
            "orders:by_client_order_id": lambda: (200, self._by_client_id(account, query)),
            "positions": lambda: self._positions(ts, account, request, parts[2:], query),
            "account": lambda: self._account(ts, account, parts[2:], query),
            "clock": lambda: (200, self._clock(ts)),
            "calendar": lambda: (200, self._calendar(ts, query)),
            "assets": lambda: (200, self._assets(parts[2:])),
        }
        handler = handlers.get(parts[1])
        if handler is None:
            raise ApiError(404, NOT_FOUND, f"endpoint not found: {path}")
        return handler()

    # Orders.

    def _orders(self, ts: int, account: str, request: HttpRequest, rest: list[str], query: dict[str, str]) -> Answer:
        engine, method = self._engine, request.method
        if not rest:
            if method == "POST":
                return 200, engine.place(ts, account, _fields(request))[1]
            if method == "DELETE":
                return 207, self._cancel_all(ts, account)
            return 200, self._list(account, query)
        if method == "GET" and engine.faults.fires(20):
            raise ApiError(404, NOT_FOUND, f"order not found for {rest[0]}")
        ticket = engine.find(account, rest[0])
        if method == "DELETE":
            engine.cancel(ts, ticket)
            return 204, None
        if method == "PATCH":
            return 200, engine.replace(ts, ticket, _fields(request))
        return 200, body_of(ticket)

    def _by_client_id(self, account: str, query: dict[str, str]) -> dict[str, Any]:
        client_id = query.get("client_order_id", "")
        if self._engine.faults.fires(20):
            raise ApiError(404, NOT_FOUND, f"order not found for {client_id}")
        return body_of(self._engine.find_by_client_id(account, client_id))

    def _cancel_all(self, ts: int, account: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        leaves_some = self._engine.faults.fires(16)
        for number, ticket in enumerate(self._engine.open_tickets(account)):
            line: dict[str, Any] = {"id": ticket.id, "status": 200}
            try:
                if leaves_some and number % 2:
                    raise ApiError(500, 50010000, "internal server error occurred")
                self._engine.cancel(ts, ticket)
            except ApiError as error:
                line = {"id": ticket.id, "status": error.status, "body": error.body}
            lines.append(line)
        return lines

    def _list(self, account: str, query: dict[str, str]) -> list[dict[str, Any]]:
        status = query.get("status", "open")
        limit = min(_whole(query, "limit", ORDERS_LIMIT), ORDERS_LIMIT_MAX)
        after, until = _moment(query, "after"), _moment(query, "until")
        symbols = set(query["symbols"].split(",")) if query.get("symbols") else None
        source = self._engine.open_tickets(account) if status == "open" else self._engine.tickets.values()
        found = [
            ticket
            for ticket in source
            if ticket.account.name == account
            and not ticket.is_lost
            and (status != "closed" or not ticket.is_open)
            and (after is None or ticket.created_ts > after)
            and (until is None or ticket.created_ts < until)
            and (symbols is None or ticket.listing.name in symbols)
        ]
        found.sort(key=lambda ticket: ticket.created_ts, reverse=query.get("direction", "desc") == "desc")
        return [body_of(ticket) for ticket in found[:limit]]

    # Positions.

    def _positions(self, ts: int, account: str, request: HttpRequest, rest: list[str], query: dict[str, str]) -> Answer:
        if request.method == "DELETE":
            if rest:
                return 200, self._engine.close_position(ts, account, self._listing(rest[0]))
            return 207, self._close_all(ts, account, cancels=query.get("cancel_orders", "").lower() == "true")
        if rest:
            held = [body for body in self._held(account) if body["symbol"] == rest[0]]
            if not held:
                raise ApiError(404, NOT_FOUND, "position does not exist")
            return 200, held[0]
        now = self._held(account)
        before = self._positions_before.get(account, now)
        self._positions_before[account] = now
        return 200, before if self._engine.faults.fires(59) else now

    def _close_all(self, ts: int, account: str, *, cancels: bool) -> list[dict[str, Any]]:
        engine = self._engine
        if cancels:
            for ticket in engine.open_tickets(account):
                if ticket.status not in ("pending_cancel", "pending_replace"):
                    engine.cancel(ts, ticket)
                engine.cancel_now(ts, ticket)
            engine.settle()
        lines: list[dict[str, Any]] = []
        for listing in engine.exchange.listings.values():
            if engine.exchange.accounts[account].qty(listing):
                try:
                    body = engine.close_position(ts, account, listing)
                    lines.append({"symbol": listing.name, "status": 200, "body": body})
                except ApiError as error:
                    lines.append({"symbol": listing.name, "status": error.status, "body": error.body})
        return lines

    def _held(self, account: str) -> list[dict[str, Any]]:
        found = []
        owner = self._engine.exchange.accounts[account]
        for listing in self._engine.exchange.listings.values():
            held = owner.positions.get(listing.name)
            if held is None or not held.qty:
                continue
            rules = listing.rules
            value = rules.notional(listing.reference, held.qty)
            entry = abs(held.value_open) * 10**rules.price_scale // (abs(held.qty) * 10 ** (MONEY_SCALE - rules.qty_scale))
            profit = value - held.value_open
            found.append(
                {
                    "asset_id": asset_id(listing.name),
                    "symbol": listing.name,
                    "exchange": EXCHANGE_NAME,
                    "asset_class": "us_equity",
                    "asset_marginable": True,
                    "qty": plain(held.qty, rules.qty_scale),
                    "qty_available": plain(held.qty, rules.qty_scale),
                    "avg_entry_price": price_text(rules, entry),
                    "side": "long" if held.qty > 0 else "short",
                    "market_value": plain(value, MONEY_SCALE),
                    "cost_basis": plain(held.value_open, MONEY_SCALE),
                    "unrealized_pl": plain(profit, MONEY_SCALE),
                    "unrealized_plpc": "0",
                    "unrealized_intraday_pl": plain(profit, MONEY_SCALE),
                    "unrealized_intraday_plpc": "0",
                    "current_price": price_text(rules, listing.reference),
                    "lastday_price": price_text(rules, listing.reference),
                    "change_today": "0",
                }
            )
        return found

    # The account.

    def _account(self, ts: int, account: str, rest: list[str], query: dict[str, str]) -> Answer:
        if not rest:
            return 200, self._account_body(account)
        if rest[0] == "activities":
            return 200, self._activities(ts, account, rest[1:2], query)
        raise ApiError(404, NOT_FOUND, f"endpoint not found: account/{'/'.join(rest)}")

    def _account_body(self, account: str) -> dict[str, Any]:
        engine = self._engine
        settings, owner, books = engine.accounts[account], engine.exchange.accounts[account], engine.exchange.books
        cash, equity = owner.balances.get(USD, 0), books.equity(owner, USD)
        values = [listing.rules.notional(listing.reference, owner.qty(listing)) for listing in engine.exchange.listings.values()]
        used = books.margin_used(owner, USD)
        body = {
            "id": asset_id(account),
            "account_number": settings.number,
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": USD,
            "buying_power": plain(max(books.available(owner, USD), 0) * settings.multiplier, MONEY_SCALE),
            "regt_buying_power": plain(max(books.available(owner, USD), 0) * min(settings.multiplier, 2), MONEY_SCALE),
            "non_marginable_buying_power": plain(max(cash, 0), MONEY_SCALE),
            "cash": plain(cash, MONEY_SCALE),
            "accrued_fees": "0",
            "portfolio_value": plain(equity, MONEY_SCALE),
            "equity": plain(equity, MONEY_SCALE),
            "last_equity": plain(equity, MONEY_SCALE),
            "long_market_value": plain(sum(value for value in values if value > 0), MONEY_SCALE),
            "short_market_value": plain(sum(value for value in values if value < 0), MONEY_SCALE),
            "initial_margin": plain(used, MONEY_SCALE),
            "maintenance_margin": plain(used, MONEY_SCALE),
            "last_maintenance_margin": plain(used, MONEY_SCALE),
            "sma": "0",
            "multiplier": str(settings.multiplier),
            "trading_blocked": settings.is_blocked,
            "transfers_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
            "shorting_enabled": settings.may_short,
            "created_at": "2024-01-02T15:00:00Z",
        }
        if settings.is_flagged is not None:
            body |= {"pattern_day_trader": settings.is_flagged, "daytrade_count": 4 if settings.is_flagged else 0}
        return body

    def _activities(self, ts: int, account: str, path: list[str], query: dict[str, str]) -> list[dict[str, Any]]:
        after, until = _moment(query, "after"), _moment(query, "until")
        size = min(_whole(query, "page_size", ACTIVITIES_LIMIT_MAX), ACTIVITIES_LIMIT_MAX)
        category = query.get("category")
        if category and (path or "activity_types" in query):
            raise ApiError(422, INVALID, "category cannot be used with activity types")
        kinds = path or (query["activity_types"].split(",") if query.get("activity_types") else None)
        found = self._engine.history.listed(ts, account, kinds, after, until)
        if category:
            found = [each for each in found if (each.kind == EXECUTION) == (category == "trade_activity")]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        token = query.get("page_token")
        if token:
            at = next((number for number, each in enumerate(found) if each.id == token), None)
            if at is None:
                raise ApiError(422, INVALID, "invalid page_token")
            found = found[at + 1 :]
        return [each.body for each in found[:size]]

    # The market.

    def _clock(self, ts: int) -> dict[str, Any]:
        engine = self._engine
        days = hours.around(ts, is_always_open=engine.settings.is_always_open)
        edges = [(day.stamps()[1], day.stamps()[2]) for day in days]
        return {
            "timestamp": _eastern(ts),
            "is_open": engine.phase is Phase.REGULAR,
            "next_open": _eastern(next(opens for opens, _ in edges if opens > ts)),
            "next_close": _eastern(next(closes for _, closes in edges if closes > ts)),
        }

    def _calendar(self, ts: int, query: dict[str, str]) -> list[dict[str, str]]:
        today = hours.new_york(ts).date()
        first, last = _date(query, "start", today), _date(query, "end", today)
        days = hours.trading_days(first, last, is_always_open=self._engine.settings.is_always_open)
        return [
            {
                "date": day.day.isoformat(),
                "open": day.opens.strftime("%H:%M"),
                "close": day.closes.strftime("%H:%M"),
                "session_open": day.early.strftime("%H%M"),
                "session_close": day.late.strftime("%H%M"),
                "settlement_date": day.day.isoformat(),
            }
            for day in days
        ]

    def _listing(self, symbol: str) -> Listing:
        listings = self._engine.exchange.listings
        found = listings.get(symbol) or next((each for each in listings.values() if asset_id(each.name) == symbol), None)
        if found is None:
            raise ApiError(404, NOT_FOUND, f"asset not found for {symbol}")
        return found

    def _assets(self, rest: list[str]) -> Any:
        if rest:
            return _asset(self._listing(rest[0]))
        return [_asset(listing) for listing in self._engine.exchange.listings.values()]

    # Market data.

    def _data(self, parts: list[str], query: dict[str, str]) -> dict[str, Any]:
        kind = parts[2] if len(parts) > 2 else ""
        symbols = query.get("symbols", "").split(",")
        listings = [each for symbol in symbols if (each := self._engine.exchange.listings.get(symbol)) is not None]
        if kind == "snapshots":
            return {each.name: {"latestQuote": self._quote(each), "latestTrade": self._trade(each)} for each in listings}
        if parts[3:] == ["latest"] and kind == "quotes":
            return {"quotes": {each.name: self._quote(each) for each in listings}}
        if parts[3:] == ["latest"] and kind == "trades":
            return {"trades": {each.name: self._trade(each) for each in listings}}
        raise ApiError(404, NOT_FOUND, f"endpoint not found: {'/'.join(parts)}")

    def _quote(self, listing: Listing) -> dict[str, Any]:
        best, rules = self._engine.best(listing), listing.rules
        return {
            "t": stamp_text(self._engine.now),
            "ax": "V",
            "ap": to_float(best["ask"], rules.price_scale),
            "as": best["ask_qty"] // 10**rules.qty_scale,
            "bx": "V",
            "bp": to_float(best["bid"], rules.price_scale),
            "bs": best["bid_qty"] // 10**rules.qty_scale,
            "c": ["R"],
            "z": "C",
        }

    def _trade(self, listing: Listing) -> dict[str, Any]:
        price = to_float(listing.last, listing.rules.price_scale)
        return {"t": stamp_text(self._engine.now), "x": "V", "p": price, "s": 100, "c": ["@"], "i": 1, "z": "C"}


def _asset(listing: Listing) -> dict[str, Any]:
    return {
        "id": asset_id(listing.name),
        "class": "us_equity",
        "exchange": EXCHANGE_NAME,
        "symbol": listing.name,
        "name": f"{listing.name} Simulated Common Stock",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": False,
        "attributes": [],
    }


def _fields(request: HttpRequest) -> dict[str, Any]:
    try:
        found = json.loads(request.body, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        raise ApiError(400, INVALID, "request body format is invalid") from None
    if not isinstance(found, dict):
        raise ApiError(400, INVALID, "request body format is invalid")
    return found


def _whole(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else default


def _moment(query: dict[str, str], name: str) -> int | None:
    """ns UTC of an RFC 3339 stamp or a date. Raises ApiError."""
    text = query.get(name)
    if not text:
        return None
    whole, dot, rest = text.partition(".")
    digits = rest.rstrip("Z").partition("+")[0].partition("-")[0] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat((whole + zone).replace("Z", "+00:00"))
    except ValueError:
        raise ApiError(422, INVALID, f"invalid {name}: {text}") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND + int(digits.ljust(9, "0")[:9] or "0")


def _date(query: dict[str, str], name: str, default: date) -> date:
    try:
        return date.fromisoformat(query[name][:10]) if query.get(name) else default
    except ValueError:
        raise ApiError(422, INVALID, f"invalid {name}") from None


def _eastern(ts: int) -> str:
    moment = hours.new_york(ts)
    return (
        f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}.{ts % NS_PER_SECOND:09d}{moment.strftime('%z')[:3]}:{moment.strftime('%z')[3:]}"
    )


def encode(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
