"""A futures venue of a few lines in virtual time: what it does with orders is obvious, its ledger is the truth of a test."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qsl

from adapters.http.request import Wire
from tests.adapters.binance.account_for_tests import STAMP, encoded, order_update

STEP = 1000  # units of quantity in one whole


def text_of(units: int) -> str:
    return f"{units // STEP}.{units % STEP:03d}"


def units_of(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * STEP + int((fraction + "000")[:3])


class ModelVenue:
    """`told` collects the stream's events; times are monotonic ns, its stamps are STAMP + time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.orders: dict[str, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.placed: list[str] = []
        self.told: list[dict[str, Any]] = []

    def handle(self, wire: Wire, at: int) -> tuple[int, bytes]:
        params = dict(parse_qsl(wire.body.decode() or wire.target.partition("?")[2]))
        path = wire.target.partition("?")[0].removeprefix("/fapi/v1/")
        match wire.method, path:
            case "POST", "order":
                return self._place(params, at)
            case "DELETE", "order":
                return self._cancel(params["origClientOrderId"], at)
            case "PUT", "order":
                return self._replace(params, at)
            case "GET", "order":
                return self._query(params["origClientOrderId"])
            case "GET", "userTrades":
                rows = [row for row in self.trades if row["orderId"] == int(params["orderId"])]
                return 200, encoded(rows)
            case "DELETE", "allOpenOrders":
                for wire_id in [key for key, order in self.orders.items() if order["status"] in ("NEW", "PARTIALLY_FILLED")]:
                    self._cancel(wire_id, at)
                return 200, encoded({"code": 200, "msg": "done"})
            case "DELETE", "algoOpenOrders":
                return 200, encoded({"code": 200, "msg": "done"})
        raise AssertionError(f"{wire.method} {path} is not asked here")

    def _place(self, params: dict[str, str], at: int) -> tuple[int, bytes]:
        wire_id = params["newClientOrderId"]
        if wire_id in self.orders:
            return 400, encoded({"code": -4116, "msg": "ClientOrderId is duplicated."})
        if self._chance.random() < 0.1:
            return 400, encoded({"code": -2019, "msg": "Margin is insufficient."})
        self.placed.append(wire_id)
        self.orders[wire_id] = {
            "symbol": "BTCUSDT",
            "orderId": 1000 + len(self.orders),
            "clientOrderId": wire_id,
            "price": params["price"],
            "origQty": params["quantity"],
            "executedQty": "0.000",
            "status": "NEW",
            "type": "LIMIT",
            "side": params["side"],
            "updateTime": stamp(at),
        }
        self._tell(wire_id, "NEW", at)
        if self._chance.random() < 0.3:
            self.fill(wire_id, at)
        return self._query(wire_id)

    def _cancel(self, wire_id: str, at: int) -> tuple[int, bytes]:
        order = self.orders.get(wire_id)
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return 400, encoded({"code": -2011, "msg": "Unknown order sent."})
        order |= {"status": "CANCELED", "updateTime": stamp(at)}
        self._tell(wire_id, "CANCELED", at)
        return self._query(wire_id)

    def _replace(self, params: dict[str, str], at: int) -> tuple[int, bytes]:
        wire_id = params["origClientOrderId"]
        order = self.orders.get(wire_id)
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return 400, encoded({"code": -2013, "msg": "Order does not exist."})
        if units_of(params["quantity"]) <= units_of(order["executedQty"]):
            return self._cancel(wire_id, at)
        order |= {"origQty": params["quantity"], "price": params["price"], "updateTime": stamp(at)}
        self._tell(wire_id, "AMENDMENT", at)
        return self._query(wire_id)

    def _query(self, wire_id: str) -> tuple[int, bytes]:
        order = self.orders.get(wire_id)
        if order is None:
            return 400, encoded({"code": -2013, "msg": "Order does not exist."})
        return 200, encoded(order)

    def fill(self, wire_id: str, at: int) -> None:
        """Some of what is left, or all of it."""
        order = self.orders[wire_id]
        left = units_of(order["origQty"]) - units_of(order["executedQty"])
        qty = left if self._chance.random() < 0.5 else self._chance.randint(1, left)
        done = units_of(order["executedQty"]) + qty
        order |= {
            "executedQty": text_of(done),
            "status": "FILLED" if done == units_of(order["origQty"]) else "PARTIALLY_FILLED",
            "updateTime": stamp(at),
        }
        self.trades.append(
            {
                "symbol": "BTCUSDT",
                "id": 1 + len(self.trades),
                "orderId": order["orderId"],
                "price": order["price"],
                "qty": text_of(qty),
                "commission": "0.01",
                "commissionAsset": "USDT",
                "time": stamp(at),
                "side": order["side"],
                "maker": True,
            }
        )
        self._tell(wire_id, "TRADE", at)

    def _tell(self, wire_id: str, what: str, at: int) -> None:
        order = self.orders[wire_id]
        last = self.trades[-1] if what == "TRADE" else None
        self.told.append(
            order_update(
                c=wire_id,
                i=order["orderId"],
                S=order["side"],
                q=order["origQty"],
                p=order["price"],
                z=order["executedQty"],
                x=what,
                X=order["status"],
                T=stamp(at),
                t=last["id"] if last is not None else 0,
                l=last["qty"] if last is not None else "0",
                L=last["price"] if last is not None else "0",
                n="0.01",
            )
        )


def stamp(at: int) -> int:
    """ms."""
    return (STAMP + at) // 1_000_000
