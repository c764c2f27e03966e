"""A Binance of a few lines for the loopback shell: the model venue's orders in the venue's words. Tests script the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import parse_qsl

from adapters.binance.endpoints import Product
from adapters.http.request import Wire
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing
from tests.adapters.binance.account_for_tests import STAMP, encoded, execution_report
from tests.adapters.binance.model_venue import ModelVenue
from tests.adapters.binance.venue_stream import VenueStream

LISTEN_KEY = "a" * 64
RIGHTS = {
    "ipRestrict": True,
    "enableReading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableSpotAndMarginTrading": True,
    "enableFutures": True,
}


def rules(product: Product, **changes: str) -> dict[str, Any]:
    """exchangeInfo of BTCUSDT as the configured instrument has it."""
    tick, lot = ("0.01", "0.00001") if product is Product.SPOT else ("0.1", "0.001")
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": changes.get("tick", tick)},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000", "stepSize": changes.get("lot", lot)},
    ]
    symbol = {
        "symbol": "BTCUSDT",
        "status": changes.get("status", "TRADING"),
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "filters": filters,
        "orderTypes": ["LIMIT"],
    }
    if product is Product.USDM:
        symbol |= {"marginAsset": "USDT", "contractType": "PERPETUAL"}
    return {"serverTime": 1, "rateLimits": [], "symbols": [symbol]}


class SmallVenue:
    """`answers` by "METHOD name" (the path's last part) go before its own: (status, body), or what gives the reply."""

    wire: Literal["http", "tcp"] = "http"
    faults: Faults

    def __init__(self, product: Product, *, seed: int = 1) -> None:
        self.product = product
        self.model = ModelVenue(random.Random(seed))
        self.stream = VenueStream(seed, product is Product.USDM)
        self.answers: dict[str, Any] = {}
        self.requests: list[str] = []
        self.users: list[int] = []  # connections that hear the account's events
        self.markets: dict[int, str] = {}  # connections of market streams, with what they asked for
        self.positions: list[dict[str, Any]] = []
        self._heard = 0
        self._out: list[Outgoing] = []
        self._ts = 0

    def connected(self, ts: int, connection: int) -> None:
        self._ts = ts

    def disconnected(self, ts: int, connection: int) -> None:
        self.users = [number for number in self.users if number != connection]
        self.markets.pop(connection, None)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        self._ts = ts
        params = dict(parse_qsl(request.body.decode() or request.query))
        name = f"{request.method} {request.path.rpartition('/')[2]}"
        if request.headers.get("upgrade", "").lower() == "websocket":
            if request.path.endswith("/stream"):
                self.markets[connection] = params["streams"]
            elif "listenKey" in params:
                assert params["listenKey"] == LISTEN_KEY
                self.users.append(connection)
            return HttpReply(status=101)
        self.requests.append(name)
        answer = self.answers.get(name)
        if isinstance(answer, list) and answer:
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(params)
        if isinstance(answer, HttpReply):
            return answer
        status, body = answer if isinstance(answer, tuple) else self._own(ts, request, name, params)
        self._tell()
        return HttpReply(status=status, body=body if isinstance(body, bytes) else encoded(body))

    def _own(self, ts: int, request: HttpRequest, name: str, params: dict[str, str]) -> tuple[int, Any]:
        fixed: dict[str, Callable[[], Any]] = {
            "GET time": lambda: {"serverTime": ts // 1_000_000},
            "GET exchangeInfo": lambda: rules(self.product),
            "GET apiRestrictions": lambda: RIGHTS,
            "GET account": lambda: {
                "canTrade": True,
                "canWithdraw": True,
                "updateTime": 1,
                "accountType": "SPOT",
                "balances": [],
            },
            "GET dual": lambda: {"dualSidePosition": False},
            "POST listenKey": lambda: {"listenKey": LISTEN_KEY},
            "PUT listenKey": lambda: {"listenKey": LISTEN_KEY},
            "GET openOrders": lambda: [row for row in self.model.orders.values() if row["status"] in ("NEW", "PARTIALLY_FILLED")],
            "GET openAlgoOrders": list,
            "GET income": list,
            "GET positionRisk": lambda: self.positions,
            "GET depth": self.stream.snapshot,
            "GET userTrades": lambda: self._trades(params),
            "GET myTrades": lambda: self._trades(params),
        }
        if name == "GET order" and "orderId" in params:
            return 200, next(row for row in self.model.orders.values() if row["orderId"] == int(params["orderId"]))
        if name in fixed:
            return 200, fixed[name]()
        path = "/fapi/v1/" + request.path.rpartition("/")[2]
        if request.path.endswith("/openOrders"):
            path = "/fapi/v1/allOpenOrders"
        target = f"{path}?{request.query}" if request.query else path
        return self.model.handle(Wire(request.method, "", target, (), request.body), ts - STAMP)

    def _trades(self, params: dict[str, str]) -> list[dict[str, Any]]:
        rows = self.model.trades
        if "orderId" in params:
            return [row for row in rows if row["orderId"] == int(params["orderId"])]
        if "fromId" in params:
            return [row for row in rows if row["id"] >= int(params["fromId"])]
        return [row for row in rows if int(params["startTime"]) <= row["time"] <= int(params["endTime"])]

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        asked = json.loads(payload)
        assert asked["method"] == "userDataStream.subscribe.signature"
        self.users.append(connection)
        self.send(connection, {"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}})

    # What tests do.

    def send(self, connection: int, message: Any) -> None:
        payload = message if isinstance(message, str) else json.dumps(message)
        self._out.append(Outgoing(self._ts, connection, payload))

    def tell(self, event: dict[str, Any]) -> None:
        """To everybody who hears the account's events."""
        for connection in self.users:
            self.send(connection, event if self.product is Product.USDM else {"subscriptionId": 0, "event": event})

    def cut(self, connection: int) -> None:
        self._out.append(Outgoing(self._ts, connection, None))
        self.disconnected(self._ts, connection)

    def show(self, payload: bytes) -> None:
        """A frame of the market, to whoever asked for any."""
        for connection in self.markets:
            self.send(connection, payload.decode())

    def fill(self, wire_id: str) -> None:
        self.model.fill(wire_id, self._ts - STAMP)
        self._tell()

    def _tell(self) -> None:
        for event in self.model.told[self._heard :]:
            self._heard += 1
            fields = event["o"]
            report = {key: fields[key] for key in ("s", "c", "S", "q", "p", "x", "X", "i", "l", "z", "L", "T", "t", "m", "n")}
            self.tell(event if self.product is Product.USDM else execution_report(**report, N="USDT"))

    def next_ts(self) -> int | None:
        return None

    def advance(self, ts: int) -> None:
        self._ts = ts

    def take(self) -> list[Outgoing]:
        out, self._out = self._out, []
        return out

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        self._ts = ts
        getattr(self, name)(**arguments)

    def ledger(self) -> dict[str, Any]:
        return {}
