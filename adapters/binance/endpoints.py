"""What of Binance's REST interface is used: methods, paths, weights and what each request is for. Spot and USDⓈ-M futures."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from adapters.http.request import Intent


class Product(IntEnum):
    SPOT = 0
    USDM = 1


class Security(IntEnum):
    NONE = 0
    KEY = 1  # the API key in a header
    SIGNED = 2  # and a timestamp and a signature


# Names of budgets: request weight and raw requests belong to the address, order counts to the account.
WEIGHT, RAW, ORDERS_10S, ORDERS_1M, ORDERS_1D = "weight", "raw", "orders_10s", "orders_1m", "orders_1d"
ORDER_METERS = {Product.SPOT: (ORDERS_10S, ORDERS_1D), Product.USDM: (ORDERS_10S, ORDERS_1M)}


class Endpoint(msgspec.Struct, frozen=True):
    """`section` and `path` as ccxt names them; `weight_all` is the weight without a symbol."""

    name: str
    intent: Intent
    method: str
    section: str
    path: str
    weight: int
    security: Security = Security.SIGNED
    counts_as_order: bool = False
    weight_all: int = 0

    def costs(self, product: Product, *, is_all: bool = False) -> tuple[tuple[str, int], ...]:
        weight = self.weight_all if is_all and self.weight_all else self.weight
        orders = tuple((meter, 1) for meter in ORDER_METERS[product]) if self.counts_as_order else ()
        return ((WEIGHT, weight), (RAW, 1), *orders)


def _table(*endpoints: Endpoint) -> dict[str, Endpoint]:
    return {endpoint.name: endpoint for endpoint in endpoints}


_C, _M, _P, _Q, _O = Intent.CANCEL, Intent.CHANGE, Intent.PLACE, Intent.QUERY, Intent.OTHER

SPOT = _table(
    Endpoint("time", _Q, "GET", "public", "time", 1, Security.NONE),
    Endpoint("exchange_info", _Q, "GET", "public", "exchangeInfo", 20, Security.NONE),
    # By how many levels are asked for: up to 1000, and up to 5000.
    Endpoint("depth", _Q, "GET", "public", "depth", 50, Security.NONE),
    Endpoint("depth.deep", _Q, "GET", "public", "depth", 250, Security.NONE),
    Endpoint("order.place", _P, "POST", "private", "order", 1, counts_as_order=True),
    Endpoint("order.cancel", _C, "DELETE", "private", "order", 1),
    Endpoint("order.query", _Q, "GET", "private", "order", 4),
    Endpoint("orders.cancel_all", _C, "DELETE", "private", "openOrders", 1),
    Endpoint("orders.open", _Q, "GET", "private", "openOrders", 6, weight_all=80),
    Endpoint("trades", _Q, "GET", "private", "myTrades", 20),
    Endpoint("account", _Q, "GET", "private", "account", 20),
    Endpoint("key.permissions", _Q, "GET", "sapi", "account/apiRestrictions", 1),
)

USDM = _table(
    Endpoint("time", _Q, "GET", "fapiPublic", "time", 1, Security.NONE),
    Endpoint("exchange_info", _Q, "GET", "fapiPublic", "exchangeInfo", 1, Security.NONE),
    Endpoint("depth", _Q, "GET", "fapiPublic", "depth", 20, Security.NONE),
    # Documented with weight 0; one each costs little and survives a change.
    Endpoint("order.place", _P, "POST", "fapiPrivate", "order", 1, counts_as_order=True),
    Endpoint("order.replace", _M, "PUT", "fapiPrivate", "order", 1, counts_as_order=True),
    Endpoint("order.cancel", _C, "DELETE", "fapiPrivate", "order", 1),
    Endpoint("order.query", _Q, "GET", "fapiPrivate", "order", 1),
    Endpoint("orders.cancel_all", _C, "DELETE", "fapiPrivate", "allOpenOrders", 1),
    Endpoint("orders.open", _Q, "GET", "fapiPrivate", "openOrders", 1, weight_all=40),
    Endpoint("algo.place", _P, "POST", "fapiPrivate", "algoOrder", 1, counts_as_order=True),
    Endpoint("algo.cancel", _C, "DELETE", "fapiPrivate", "algoOrder", 1),
    Endpoint("algo.query", _Q, "GET", "fapiPrivate", "algoOrder", 1),
    Endpoint("algo.cancel_all", _C, "DELETE", "fapiPrivate", "algoOpenOrders", 1),
    Endpoint("algo.open", _Q, "GET", "fapiPrivate", "openAlgoOrders", 1, weight_all=40),
    # It can only take risk away, and late it is worth nothing: it goes with the cancels.
    Endpoint("dead_man", _C, "POST", "fapiPrivate", "countdownCancelAll", 10),
    Endpoint("trades", _Q, "GET", "fapiPrivate", "userTrades", 5),
    Endpoint("account", _Q, "GET", "fapiPrivateV3", "account", 5),
    Endpoint("positions", _Q, "GET", "fapiPrivateV3", "positionRisk", 5),
    Endpoint("income", _Q, "GET", "fapiPrivate", "income", 30),
    Endpoint("position_mode", _Q, "GET", "fapiPrivate", "positionSide/dual", 30),
    Endpoint("listen_key.create", _O, "POST", "fapiPrivate", "listenKey", 1, Security.KEY),
    Endpoint("listen_key.keep", _O, "PUT", "fapiPrivate", "listenKey", 1, Security.KEY),
    Endpoint("listen_key.close", _O, "DELETE", "fapiPrivate", "listenKey", 1, Security.KEY),
    Endpoint("key.permissions", _Q, "GET", "sapi", "account/apiRestrictions", 1),
)

TABLES = {Product.SPOT: SPOT, Product.USDM: USDM}
