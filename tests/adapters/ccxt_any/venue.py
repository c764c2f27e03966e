"""A small exchange behind an httpx mock that speaks Binance spot's REST, for the adapter of any exchange; and how to open it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import httpx

from adapters.ccxt_any.io import CcxtAdapter
from adapters.ccxt_any.opening import open_adapter
from core.events import AnyEvent
from core.strategy import Subscription
from core.venue_opening import Environment, OnFrame, Role, VenueOpening, no_frame
from daemon.trading.venue_opening import venue_defaults
from tests.adapters.binance.account_for_tests import SPOT

KEY, SECRET, PREFIX = "the-api-key-of-mine", "the-secret-of-mine", "td"
ADDRESS = "127.0.0.1:9"
INSTRUMENT = SPOT.instrument_id
FAST = {
    "exchange": "binance",
    "options": {"fetchMarkets": {"types": ["spot"]}},
    "poll_orders_s": 0.02,
    "poll_idle_s": 0.02,
    "poll_soon_s": 0.005,
    "poll_book_s": 0.02,
    "poll_trades_s": 0.02,
    "lost_after_s": 0.3,
    "reconnect_first_s": 0.02,
    "reconnect_max_s": 0.1,
    "not_found_s": 0.2,
    "deadline_s": 5.0,
    "rate_burst_s": 1000.0,
}
MARKET = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
    "isSpotTradingAllowed": True,
    "permissions": ["SPOT"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
    ],
}


def error(status: int, code: int, text: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "msg": text})


# Called with the exchange and the request's parameters before it is looked at. None: go on.
Fault = Callable[["Exchange", dict[str, str]], httpx.Response | None]


class Exchange:
    """Orders rest until a test fills them; `faults` by "METHOD path", each used once, `always` for as long as it is there."""

    def __init__(self) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.prints: list[dict[str, Any]] = []
        self.book: dict[str, Any] = {"lastUpdateId": 1, "bids": [["100.5", "2"], ["99.50", "1"]], "asks": [["101.00", "3.5"]]}
        self.balance = "0"
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.market: dict[str, Any] = MARKET
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.hidden: set[int] = set()  # orders that lists and questions do not show

    async def handle(self, request: httpx.Request) -> httpx.Response:
        name = f"{request.method} {request.url.path.removeprefix('/api/v3/')}"
        query = (request.url.query or b"").decode() or request.content.decode()
        params = dict(parse_qsl(query))
        self.seen.append((name, params))
        fault = self.always.get(name) or (self.faults[name].pop(0) if self.faults.get(name) else None)
        answer = None if fault is None else fault(self, params)
        return answer or self.answer(name, params)

    def answer(self, name: str, params: dict[str, str]) -> httpx.Response:
        match name:
            case "GET time":
                return httpx.Response(200, json={"serverTime": self.ms()})
            case "GET exchangeInfo":
                return httpx.Response(200, json={"symbols": [self.market]})
            case "POST order":
                return self.place(params)
            case "DELETE order":
                return self.cancel(params)
            case "DELETE openOrders":
                found = [order for order in self.orders.values() if order["status"] in ("NEW", "PARTIALLY_FILLED")]
                for order in found:
                    order["status"] = "CANCELED"
                return httpx.Response(200, json=found) if found else error(400, -2011, "Unknown order sent.")
            case "GET order":
                order = self.orders.get(int(params["orderId"]))
                if order is None or order["orderId"] in self.hidden:
                    return error(400, -2013, "Order does not exist.")
                return httpx.Response(200, json=order)
            case "GET openOrders":
                return httpx.Response(200, json=self.listed(lambda each: each["status"] in ("NEW", "PARTIALLY_FILLED")))
            case "GET allOrders":
                return httpx.Response(200, json=self.listed(lambda each: True))
            case "GET myTrades":
                since = int(params.get("startTime", "0"))
                return httpx.Response(200, json=[trade for trade in self.trades if trade["time"] >= since])
            case "GET depth":
                return httpx.Response(200, json=self.book)
            case "GET aggTrades" | "GET trades":
                return httpx.Response(200, json=self.prints[-int(params["limit"]) :])
            case "GET account":
                return httpx.Response(200, json={"balances": [{"asset": "BTC", "free": self.balance, "locked": "0"}]})
        return error(404, -1, f"nothing at {name}")

    @staticmethod
    def ms() -> int:
        return time.time_ns() // 1_000_000

    def listed(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        return [order for order in self.orders.values() if order["orderId"] not in self.hidden and wanted(order)]

    def place(self, params: dict[str, str]) -> httpx.Response:
        number = len(self.orders) + 1
        order = {
            "symbol": params["symbol"],
            "orderId": number,
            "orderListId": -1,
            "clientOrderId": params["newClientOrderId"],
            "transactTime": self.ms(),
            "time": self.ms(),
            "updateTime": self.ms(),
            "price": params.get("price", "0.00000000"),
            "origQty": params["quantity"],
            "executedQty": "0.00000000",
            "cummulativeQuoteQty": "0.00000000",
            "status": "NEW",
            "timeInForce": params.get("timeInForce", "GTC"),
            "type": params["type"],
            "side": params["side"],
            "fills": [],
        }
        self.orders[number] = order
        return httpx.Response(200, json=order)

    def cancel(self, params: dict[str, str]) -> httpx.Response:
        order = self.orders.get(int(params["orderId"]))
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return error(400, -2011, "Unknown order sent.")
        order["status"] = "CANCELED"
        return httpx.Response(200, json=order)

    # What others do.

    def fill(self, number: int, units: int, price: str = "100.00", *, fee: str = "0.01", maker: bool = True) -> None:
        """`units` of 10^-5."""
        order = self.orders[number]
        filled = SPOT.parse_qty(order["executedQty"]) + units
        total = SPOT.parse_qty(order["origQty"])
        assert filled <= total
        order["executedQty"] = SPOT.format_qty(filled)
        order["status"] = "FILLED" if filled == total else "PARTIALLY_FILLED"
        self.trades.append(
            {
                "symbol": "BTCUSDT",
                "id": 1000 + len(self.trades),
                "orderId": number,
                "price": price,
                "qty": SPOT.format_qty(units),
                "quoteQty": "0",
                "commission": fee,
                "commissionAsset": "BNB",
                "time": self.ms(),
                "isBuyer": order["side"] == "BUY",
                "isMaker": maker,
            }
        )

    def print(self, number: int, price: str, qty: str) -> None:
        self.prints.append({"a": number, "p": price, "q": qty, "f": number, "l": number, "T": self.ms(), "m": True, "M": True})


class Sink:
    """Keeps everything; `room` says how many events it takes at once."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def offer(self, event: AnyEvent) -> bool:
        self.events.append(event)
        return True

    async def put(self, event: AnyEvent) -> None:
        self.events.append(event)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


def opening(
    *,
    troubles: list[str] | None = None,
    role: Role = Role.TRADE,
    subscriptions: list[Subscription] | None = None,
    on_frame: OnFrame = no_frame,
    address: str = ADDRESS,
    environment: Environment = Environment.SIMULATOR,
    instruments: Any = None,
    symbols: dict[str, str] | None = None,
    first_order_id: int = 0,
    now: Callable[[], int] = time.time_ns,
    **settings: Any,
) -> VenueOpening:
    secrets = {"key": KEY, "secret": SECRET}
    return VenueOpening(
        venue="BINANCE",
        environment=environment,
        account="main",
        address=address,
        settings={**venue_defaults("ccxt"), **FAST, **settings},
        secret=lambda part: secrets.get(part, ""),
        instruments={INSTRUMENT: SPOT} if instruments is None else instruments,
        subscriptions=subscriptions or [],
        order_id_prefix=PREFIX,
        now=now,
        on_trouble=(troubles if troubles is not None else []).append,
        on_frame=on_frame,
        role=role,
        symbols=symbols or {},
        first_order_id=first_order_id,
    )


def adapter_of(exchange: Exchange, **settings: Any) -> CcxtAdapter:
    return open_adapter(opening(**settings), wire=httpx.MockTransport(exchange.handle))


@contextmanager
def away(exchange: Exchange) -> Iterator[None]:
    """Nobody answers."""

    class Everything(dict[str, Fault]):
        def get(self, key: str, default: Any = None) -> Any:
            return self._fail

        @staticmethod
        def _fail(exchange: Exchange, params: dict[str, str]) -> httpx.Response:
            raise httpx.ConnectError("no route")

    before, exchange.always = exchange.always, Everything()
    try:
        yield
    finally:
        exchange.always = before
