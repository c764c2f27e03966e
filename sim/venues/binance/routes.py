"""Every path of the REST interfaces that is served: what it weighs, what it asks of the key, what it is for, who answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from sim.venues.binance.desk import Call, Desk
from sim.venues.binance.market_data import MarketData
from sim.venues.binance.spot import SpotApi
from sim.venues.binance.streams import Streams
from sim.venues.binance.usdm import UsdmOrders
from sim.venues.binance.usdm_account import UsdmAccount
from sim.venues.binance.usdm_algo import AlgoService
from sim.venues.binance.usdm_income import UsdmIncome
from sim.venues.binance.wire import Params


class Purpose(Enum):
    READ = 0
    PLACE = 1  # may make an order: counts as one
    CHANGE = 2
    CANCEL = 3


class Route(msgspec.Struct, frozen=True):
    """`security`: "none", "key" or "signed". Public handlers are given (ts, params), the others a Call."""

    weight: int
    security: str
    purpose: Purpose
    public: Callable[[int, Params], Any] | None = None
    private: Callable[[Call], Any] | None = None
    weight_all: int = 0  # without a symbol
    levels: tuple[tuple[int, int], ...] = ()  # (so many levels of a book, weight), ascending

    def weight_of(self, params: Params) -> int:
        if self.levels:
            limit = params.integer("limit", 100)
            return next((weight for most, weight in self.levels if limit <= most), self.levels[-1][1])
        return self.weight_all if self.weight_all and not params.get("symbol") else self.weight


Routes = dict[tuple[str, str], Route]
SPOT_LEVELS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
USDM_LEVELS = ((50, 2), (100, 5), (500, 10), (1000, 20))


def _public(weight: int, handler: Callable[[int, Params], Any], weight_all: int = 0) -> Route:
    return Route(weight, "none", Purpose.READ, public=handler, weight_all=weight_all)


def _signed(weight: int, handler: Callable[[Call], Any], purpose: Purpose = Purpose.READ, weight_all: int = 0) -> Route:
    return Route(weight, "signed", purpose, private=handler, weight_all=weight_all)


def _restrictions(call: Call) -> dict[str, Any]:
    return {"createTime": 1_690_000_000_000, **call.client.may}


def _coins(desk: Desk) -> Callable[[Call], Any]:
    def coins(call: Call) -> Any:
        names = {name for market in desk.markets.values() for name in (market.rules.base_currency, market.rules.quote_currency)}
        return [
            {"coin": name, "name": name, "trading": True, "free": "0", "locked": "0", "networkList": []} for name in sorted(names)
        ]

    return coins


def shared_routes(desk: Desk) -> Routes:
    """The wallet's, whichever product is asked."""
    return {
        ("GET", "/sapi/v1/account/apiRestrictions"): _signed(1, _restrictions),
        ("GET", "/sapi/v1/capital/config/getall"): _signed(10, _coins(desk)),
        # There is no margin trading here.
        ("GET", "/sapi/v1/margin/allPairs"): _public(1, lambda ts, params: []),
        ("GET", "/sapi/v1/margin/isolated/allPairs"): _public(10, lambda ts, params: []),
    }


def spot_routes(desk: Desk, data: MarketData) -> Routes:
    api = SpotApi(desk)
    place, change, cancel = Purpose.PLACE, Purpose.CHANGE, Purpose.CANCEL
    return shared_routes(desk) | {
        ("GET", "/api/v3/ping"): _public(1, data.ping),
        ("GET", "/api/v3/time"): _public(1, data.time),
        ("GET", "/api/v3/exchangeInfo"): _public(20, data.exchange_info),
        ("GET", "/api/v3/depth"): Route(5, "none", Purpose.READ, public=data.depth, levels=SPOT_LEVELS),
        ("GET", "/api/v3/trades"): _public(25, data.trades),
        ("GET", "/api/v3/aggTrades"): _public(4, data.aggregate_trades),
        ("GET", "/api/v3/ticker/24hr"): _public(2, data.tickers, 80),
        ("GET", "/api/v3/ticker/price"): _public(2, data.prices, 4),
        ("GET", "/api/v3/ticker/bookTicker"): _public(2, data.book_tickers, 4),
        ("POST", "/api/v3/order"): _signed(1, api.place, place),
        ("POST", "/api/v3/order/test"): _signed(1, api.test),
        ("GET", "/api/v3/order"): _signed(4, api.query),
        ("DELETE", "/api/v3/order"): _signed(1, api.cancel, cancel),
        ("POST", "/api/v3/order/cancelReplace"): _signed(1, api.cancel_replace, place),
        ("PUT", "/api/v3/order/amend/keepPriority"): _signed(4, api.amend, change),
        ("GET", "/api/v3/openOrders"): _signed(6, api.open_orders, weight_all=80),
        ("DELETE", "/api/v3/openOrders"): _signed(1, api.cancel_all, cancel),
        ("GET", "/api/v3/allOrders"): _signed(20, api.all_orders),
        ("GET", "/api/v3/myTrades"): _signed(20, api.trades),
        ("GET", "/api/v3/account"): _signed(20, api.account),
    }


class Usdm:
    """The futures' parts, for the venue to let time pass in them."""

    def __init__(self, desk: Desk, data: MarketData, streams: Streams) -> None:
        self.orders = UsdmOrders(desk)
        self.algo = AlgoService(desk)
        self.account = UsdmAccount(desk)
        self.routes = self._routes(desk, data, streams)

    def _routes(self, desk: Desk, data: MarketData, streams: Streams) -> Routes:
        orders, algo, account = self.orders, self.algo, self.account
        place, change, cancel = Purpose.PLACE, Purpose.CHANGE, Purpose.CANCEL

        def key(handler: Callable[[Call], Any]) -> Route:
            return Route(1, "key", Purpose.READ, private=handler)

        return shared_routes(desk) | {
            ("GET", "/fapi/v1/ping"): _public(1, data.ping),
            ("GET", "/fapi/v1/time"): _public(1, data.time),
            ("GET", "/fapi/v1/exchangeInfo"): _public(1, data.exchange_info),
            ("GET", "/fapi/v1/depth"): Route(5, "none", Purpose.READ, public=data.depth, levels=USDM_LEVELS),
            ("GET", "/fapi/v1/trades"): _public(5, data.trades),
            ("GET", "/fapi/v1/aggTrades"): _public(20, data.aggregate_trades),
            ("GET", "/fapi/v1/ticker/24hr"): _public(1, data.tickers, 40),
            ("GET", "/fapi/v1/ticker/price"): _public(1, data.prices, 2),
            ("GET", "/fapi/v2/ticker/price"): _public(1, data.prices, 2),
            ("GET", "/fapi/v1/ticker/bookTicker"): _public(2, data.book_tickers, 5),
            ("GET", "/fapi/v1/premiumIndex"): _public(1, data.premium_index, 10),
            ("GET", "/fapi/v1/fundingRate"): _public(1, data.funding_rates),
            ("POST", "/fapi/v1/order"): _signed(1, orders.place, place),
            ("POST", "/fapi/v1/order/test"): _signed(1, orders.test),
            ("PUT", "/fapi/v1/order"): _signed(1, orders.replace, change),
            ("GET", "/fapi/v1/order"): _signed(1, orders.query),
            ("DELETE", "/fapi/v1/order"): _signed(1, orders.cancel, cancel),
            ("POST", "/fapi/v1/batchOrders"): _signed(5, orders.batch, place),
            ("DELETE", "/fapi/v1/batchOrders"): _signed(1, orders.cancel_batch, cancel),
            ("DELETE", "/fapi/v1/allOpenOrders"): _signed(1, orders.cancel_all, cancel),
            ("POST", "/fapi/v1/countdownCancelAll"): _signed(10, orders.countdown),
            ("GET", "/fapi/v1/openOrder"): _signed(1, orders.query_open),
            ("GET", "/fapi/v1/openOrders"): _signed(1, orders.open_orders, weight_all=40),
            ("GET", "/fapi/v1/allOrders"): _signed(5, orders.all_orders),
            ("GET", "/fapi/v1/userTrades"): _signed(5, orders.trades),
            ("POST", "/fapi/v1/algoOrder"): _signed(1, algo.place, place),
            ("GET", "/fapi/v1/algoOrder"): _signed(1, algo.query),
            ("DELETE", "/fapi/v1/algoOrder"): _signed(1, algo.cancel, cancel),
            ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(1, algo.cancel_all, cancel),
            ("GET", "/fapi/v1/openAlgoOrders"): _signed(1, algo.open_orders, weight_all=40),
            ("GET", "/fapi/v1/allAlgoOrders"): _signed(5, algo.all_orders),
            ("GET", "/fapi/v2/account"): _signed(5, account.account_v2),
            ("GET", "/fapi/v3/account"): _signed(5, account.account),
            ("GET", "/fapi/v2/balance"): _signed(5, account.balance),
            ("GET", "/fapi/v3/balance"): _signed(5, account.balance),
            ("GET", "/fapi/v2/positionRisk"): _signed(5, account.positions_v2),
            ("GET", "/fapi/v3/positionRisk"): _signed(5, account.positions),
            ("GET", "/fapi/v1/positionSide/dual"): _signed(30, account.position_mode),
            ("POST", "/fapi/v1/positionSide/dual"): _signed(1, account.set_position_mode),
            ("GET", "/fapi/v1/multiAssetsMargin"): _signed(30, account.multi_assets),
            ("POST", "/fapi/v1/leverage"): _signed(1, account.set_leverage),
            ("POST", "/fapi/v1/marginType"): _signed(1, account.set_margin_type),
            ("GET", "/fapi/v1/leverageBracket"): _signed(1, account.brackets),
            ("GET", "/fapi/v1/commissionRate"): _signed(20, account.commission_rate),
            ("GET", "/fapi/v1/income"): _signed(30, UsdmIncome(desk).rows),
            ("POST", "/fapi/v1/listenKey"): key(lambda call: streams.create_listen_key(call.ts, call.client)),
            ("PUT", "/fapi/v1/listenKey"): key(lambda call: streams.keep_listen_key(call.ts, call.client)),
            ("DELETE", "/fapi/v1/listenKey"): key(lambda call: streams.close_listen_key(call.ts, call.client)),
        }


# Methods of the spot WebSocket API that are REST requests by another name.
WEBSOCKET_METHODS = {
    "ping": ("GET", "/api/v3/ping"),
    "time": ("GET", "/api/v3/time"),
    "exchangeInfo": ("GET", "/api/v3/exchangeInfo"),
    "depth": ("GET", "/api/v3/depth"),
    "trades.recent": ("GET", "/api/v3/trades"),
    "ticker.book": ("GET", "/api/v3/ticker/bookTicker"),
    "order.place": ("POST", "/api/v3/order"),
    "order.test": ("POST", "/api/v3/order/test"),
    "order.status": ("GET", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "openOrders.status": ("GET", "/api/v3/openOrders"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "myTrades": ("GET", "/api/v3/myTrades"),
    "account.status": ("GET", "/api/v3/account"),
}
