"""The REST paths: which request asks for what. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from sim.venues.exchange.model import Order
from sim.venues.faults import Faults
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook, Transaction
from sim.venues.oanda.deeds import coarsen
from sim.venues.oanda.engine import Engine
from sim.venues.oanda.views import (
    account_view,
    instrument_view,
    order_view,
    position_view,
    positions_view,
    price_view,
    summary_view,
    trade_view,
    written_order,
)

PAGE_MAX = 1_000
HOST = "https://api-fxpractice.oanda.com"

Query = dict[str, list[str]]
Found = tuple[int, dict[str, Any]]


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def answer(
    engine: Engine, faults: Faults, ts: int, method: str, parts: list[str], query: Query, body: Any, books: list[AccountBook]
) -> Found:
    """`books` are those that the token opens. Raises Refusal."""
    if parts[:2] != ["v3", "accounts"]:
        raise Refusal(404, "The resource does not exist")
    if len(parts) == 2:
        names = [book.name for book in books]
        if faults.fires(69):
            names.append("001-001-1234567-001")
        return 200, {"accounts": [{"id": name, "tags": []} for name in names]}
    book = next((each for each in books if each.name == parts[2]), None)
    if book is None:
        raise Refusal(403, "Insufficient authorization to perform request.")
    rest = [unquote(part) for part in parts[3:]]
    if method == "GET":
        return 200, _get(engine, faults, ts, rest, query, book)
    if method == "POST" and rest == ["orders"]:
        if faults.fires(57):
            coarsen(engine)
        return engine.place(ts, book, _member(body, "order"))
    if method == "PUT":
        return _put(engine, faults, ts, rest, body, book)
    raise Refusal(405, "The method is not allowed here")


def _put(engine: Engine, faults: Faults, ts: int, rest: list[str], body: Any, book: AccountBook) -> Found:
    match rest:
        case ["orders", specifier, "cancel"]:
            order = engine.pending(book, specifier)
            if order is not None and faults.fires(29):
                return 200, _pretended(book, order, ts)
            return engine.cancel(ts, book, specifier)
        case ["orders", specifier]:
            return engine.replace(ts, book, specifier, _member(body, "order"))
        case ["positions", name, "close"]:
            return engine.close_position(ts, book, name, body)
    raise Refusal(404, "The resource does not exist")


def _pretended(book: AccountBook, order: Order, ts: int) -> dict[str, Any]:
    """The answer to a cancel that was never done: its transaction is in no list."""
    number = str(len(book.transactions) + 1)
    said = {
        "id": number,
        "accountID": book.name,
        "batchID": number,
        "time": text.time(ts),
        "type": "ORDER_CANCEL",
        "orderID": order.tag.id,
        "clientOrderID": order.client_id,
        "reason": "CLIENT_REQUEST",
    }
    return {"orderCancelTransaction": said, "relatedTransactionIDs": [number], "lastTransactionID": number}


def _get(engine: Engine, faults: Faults, ts: int, rest: list[str], query: Query, book: AccountBook) -> dict[str, Any]:
    pending = [order for order in engine.exchange.open_orders(book.account) if order.tag is not None]
    last = {"lastTransactionID": book.last_id}
    match rest:
        case []:
            shown = [] if faults.fires(20) else pending
            return {"account": account_view(engine, book, shown), **last}
        case ["summary"]:
            return {"account": summary_view(engine, book, pending), **last}
        case ["instruments"]:
            if faults.fires(57):
                coarsen(engine)
            names = ",".join(query.get("instruments", [])).split(",")
            wanted = [each for name, each in engine.exchange.listings.items() if names == [""] or name in names]
            return {"instruments": [instrument_view(each) for each in wanted], **last}
        case ["orders"] | ["pendingOrders"]:
            shown = [] if faults.fires(20) else pending
            return {"orders": [order_view(book, order) for order in reversed(shown)], **last}
        case ["orders", specifier]:
            return {"order": _order(engine, book, specifier), **last}
        case ["trades"] | ["openTrades"]:
            return {"trades": [trade_view(engine, trade) for trade in reversed(book.trades)], **last}
        case ["positions"]:
            return {"positions": positions_view(engine, book, only_open=False), **last}
        case ["openPositions"]:
            return {"positions": positions_view(engine, book, only_open=True), **last}
        case ["positions", name] if name in engine.exchange.listings:
            return {"position": position_view(book, engine.exchange.listings[name]), **last}
        case ["pricing"]:
            return _prices(engine, ts, query)
        case ["changes"]:
            since = _number(query, "sinceTransactionID")
            return {"changes": {"transactions": book.transactions[since:]}, "state": summary_view(engine, book, pending), **last}
        case ["transactions", *more]:
            return _transactions(more, query, book) | last
    raise Refusal(404, "The resource does not exist")


def _order(engine: Engine, book: AccountBook, specifier: str) -> dict[str, Any]:
    order = engine.find(book, specifier)
    if order is not None:
        return order_view(book, order, "" if specifier.startswith("@") else specifier)
    written = written_order(book, specifier)
    if written is None or specifier in book.orders:
        raise Refusal(404, "The order specified does not exist")
    return written


def _prices(engine: Engine, ts: int, query: Query) -> dict[str, Any]:
    names = ",".join(query.get("instruments", [])).split(",")
    listings = engine.exchange.listings
    if not all(name in listings for name in names):
        raise Refusal(400, "Invalid value specified for 'instruments'")
    prices = [price_view(engine.dealer.quotes[name].ts or ts, listings[name], engine.dealer.quotes[name]) for name in names]
    return {"time": text.time(ts), "prices": prices}


def _transactions(more: list[str], query: Query, book: AccountBook) -> dict[str, Any]:
    kinds = _kinds(query)
    match more:
        case []:
            return _pages(query, book)
        case ["sinceid"]:
            since = _number(query, "id")
            return {"transactions": _of_kinds(book.transactions[since : since + PAGE_MAX], kinds)}
        case ["idrange"]:
            first, last = _number(query, "from"), _number(query, "to")
            if not 0 < first <= last or last - first >= PAGE_MAX:
                raise Refusal(400, "Invalid value specified for 'from' and 'to'")
            return {"transactions": _of_kinds(book.transactions[first - 1 : last], kinds)}
        case [number] if number.isdecimal() and 0 < int(number) <= len(book.transactions):
            return {"transaction": book.transactions[int(number) - 1]}
    raise Refusal(404, "The transaction specified does not exist")


def _pages(query: Query, book: AccountBook) -> dict[str, Any]:
    """Addresses of idrange that hold the transactions of a time, a page each."""
    size = _number(query, "pageSize", 100)
    if not 1 <= size <= PAGE_MAX:
        raise Refusal(400, "Invalid value specified for 'pageSize'")
    begin, end = _time(query, "from", book.times[0]), _time(query, "to", book.times[-1])
    kinds = query.get("type", [])
    _kinds(query)
    inside = [place + 1 for place, ts in enumerate(book.times) if begin <= ts <= end]
    suffix = f"&type={kinds[0]}" if kinds else ""
    pages = []
    if inside:
        for first in range(inside[0], inside[-1] + 1, size):
            last = min(first + size - 1, inside[-1])
            pages.append(f"{HOST}/v3/accounts/{book.name}/transactions/idrange?from={first}&to={last}{suffix}")
    return {"from": text.time(begin), "to": text.time(end), "pageSize": size, "count": len(inside), "pages": pages}


# Words of the filter that stand for several kinds (documented); what belongs to which is the simulator's reading.
_GROUPS = {
    "FUNDING": {"TRANSFER_FUNDS", "TRANSFER_FUNDS_REJECT", "DAILY_FINANCING", "DIVIDEND_ADJUSTMENT"},
    "ADMIN": {"CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT", "RESET_RESETTABLE_PL"},
}
_FILTERS = frozenset(
    {
        *_GROUPS,
        *(kind for group in _GROUPS.values() for kind in group if kind != "DIVIDEND_ADJUSTMENT"),
        "ORDER",
        "ORDER_FILL",
        "ORDER_CANCEL",
        "MARKET_ORDER",
        "LIMIT_ORDER",
        "STOP_ORDER",
    }
)


def _kinds(query: Query) -> set[str]:
    words = {word for each in query.get("type", []) for word in each.split(",")}
    if not words <= _FILTERS:
        raise Refusal(400, "Invalid value specified for 'type'")
    return set().union(*(_GROUPS.get(word, {word}) for word in words))


def _of_kinds(found: list[Transaction], kinds: set[str]) -> list[Transaction]:
    return [each for each in found if not kinds or each["type"] in kinds]


def _member(body: Any, name: str) -> Any:
    if not isinstance(body, dict) or name not in body:
        raise Refusal(400, f"Invalid value specified for '{name}'")
    return body[name]


def _number(query: Query, name: str, default: int | None = None) -> int:
    value = query.get(name, [""])[0]
    if not value and default is not None:
        return default
    if not value.isdecimal() or len(value) > 15:
        raise Refusal(400, f"Invalid value specified for '{name}'")
    return int(value)


def _time(query: Query, name: str, default: int) -> int:
    value = query.get(name, [""])[0]
    found = text.read_time(value) if value else default
    if found is None:
        raise Refusal(400, f"Invalid value specified for '{name}'")
    return found
