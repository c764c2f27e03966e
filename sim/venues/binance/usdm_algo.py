"""The algo service of the futures: conditional orders until they trigger. A service of its own with ids of its own."""

from __future__ import annotations

from typing import Any

from core.enums import OrderType, Side
from sim.venues.binance.desk import Call, Desk, new_tag, refusal, require
from sim.venues.binance.markets import Market, Product
from sim.venues.binance.orders import ALGO_ID_FIRST, algo_id, algo_order
from sim.venues.binance.usdm import ALL_CANCELED, TIMES, UsdmOrders
from sim.venues.binance.wire import ApiError
from sim.venues.exchange.model import NewOrder, Order, Refused, Trigger

ALGO_ORDERS_MAX = 10
# Type: whether it has a limit price, whether it triggers the other way round.
_KINDS = {
    "STOP": (True, False),
    "STOP_MARKET": (False, False),
    "TAKE_PROFIT": (True, True),
    "TAKE_PROFIT_MARKET": (False, True),
}


class AlgoService:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def place(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        if desk.faults.fires(18):
            raise ApiError(-5000, "Path /fapi/v1/algoOrder, Method POST is invalid", 404)
        market, new = self._new_order(call)
        if any(order.is_open for order in desk.algo_named(call.account, new.client_id)):
            raise ApiError(-4116, "ClientOrderId is duplicated.")
        if len(desk.algo_orders(call.account, market.listing)) >= ALGO_ORDERS_MAX:
            raise ApiError(-4045, "Reach max stop order limit.")
        if desk.exchange.would_trigger(market.listing, new):
            raise ApiError(-2021, "Order would immediately trigger.")
        try:
            order = desk.exchange.place(call.ts, call.account, market.listing, new)
        except Refused as refused:
            raise refusal(Product.USDM, refused) from None
        desk.name_child(call.account, order)
        return algo_order(desk.texts[market.symbol], order)

    def _new_order(self, call: Call) -> tuple[Market, NewOrder]:
        desk, params = self._desk, call.params
        if params.text("algoType") != "CONDITIONAL":
            raise ApiError(-1130, "Data sent for parameter 'algoType' is not valid.")
        market, side, kind = desk.market(params), desk.side(params), params.text("type")
        if kind not in _KINDS:
            raise ApiError(-1116, "Invalid orderType.")
        desk.require_open(market)
        has_price, is_if_touched = _KINDS[kind]
        times = params.get("timeInForce", "GTC")
        if times not in TIMES:
            raise ApiError(-1115, "Invalid timeInForce.")
        working = params.get("workingType", "CONTRACT_PRICE")
        if working not in ("CONTRACT_PRICE", "MARK_PRICE"):
            raise ApiError(-1130, "Data sent for parameter 'workingType' is not valid.")
        require(params, "triggerPrice")
        closes = params.flag("closePosition")
        qty = self._closing_qty(call, market, side) if closes else desk.qty(market, params, "quantity", is_market=not has_price)
        trigger_by: Trigger = "mark" if working == "MARK_PRICE" else "last"
        tag = new_tag(kind, times, params)
        tag.close_position = closes
        new = NewOrder(
            side=side,
            qty=qty,
            price=desk.price(market, params, "price") if has_price else None,
            trigger_price=desk.price(market, params, "triggerPrice"),
            order_type=OrderType.STOP_LIMIT if has_price else OrderType.STOP,
            time_in_force=TIMES[times],
            trigger_by=trigger_by,
            is_if_touched=is_if_touched,
            post_only=times == "GTX",
            reduce_only=params.flag("reduceOnly") or closes,
            expire_ts=UsdmOrders.good_till(call.ts, params, times),
            client_id=desk.new_client_id(params, "clientAlgoId"),
            tag=tag,
        )
        return market, new

    @staticmethod
    def _closing_qty(call: Call, market: Market, side: Side) -> int:
        held = call.account.qty(market.listing)
        if held == 0 or (held > 0) is (side is Side.BUY):
            raise ApiError(-4509, "Time in Force (TIF) GTE can only be used with open positions.")
        return abs(held)

    def _find(self, call: Call) -> Order | None:
        params = call.params
        if params.get("algoId"):
            order = self._desk.exchange.order(params.integer("algoId") - ALGO_ID_FIRST)
            return order if order is not None and order.account is call.account and order.is_stop else None
        if params.get("clientAlgoId"):
            found = self._desk.algo_named(call.account, params.get("clientAlgoId"))
            return max(found, key=lambda order: (order.is_open, order.number), default=None)
        raise ApiError(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")

    def query(self, call: Call) -> dict[str, Any]:
        order = self._find(call)
        if order is None or (order.is_open and self._desk.faults.fires(20)):
            raise ApiError(-2013, "Order does not exist.")
        return algo_order(self._desk.texts[order.listing.name], order)

    def cancel(self, call: Call) -> dict[str, Any]:
        order = self._find(call)
        if order is None or order.triggered_ts or not order.is_open:
            raise ApiError(-2011, "Unknown order sent.")
        self._desk.exchange.cancel(call.ts, order, "canceled by the client")
        return {"algoId": algo_id(order), "clientAlgoId": order.client_id, "code": "200", "msg": "success"}

    def cancel_all(self, call: Call) -> dict[str, Any]:
        for order in self._desk.algo_orders(call.account, self._desk.market(call.params).listing):
            self._desk.exchange.cancel(call.ts, order, "canceled by the client")
        return dict(ALL_CANCELED)

    def open_orders(self, call: Call) -> list[dict[str, Any]]:
        desk = self._desk
        listing = desk.market(call.params).listing if call.params.get("symbol") else None
        return [algo_order(desk.texts[order.listing.name], order) for order in desk.algo_orders(call.account, listing)]

    def all_orders(self, call: Call) -> list[dict[str, Any]]:
        desk, market = self._desk, self._desk.market(call.params)
        orders = desk.exchange.orders.values()
        found = [order for order in orders if order.account is call.account and order.listing is market.listing and order.is_stop]
        return [algo_order(desk.texts[market.symbol], order) for order in found if not order.is_lost]
