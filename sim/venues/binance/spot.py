"""The REST interface of the simulated Binance spot: orders, what the account has, its key."""

from __future__ import annotations

from typing import Any

from core.enums import OrderType, Side, TimeInForce
from core.instruments import MONEY_SCALE
from core.units import NS_PER_MS
from sim.venues.binance.desk import Call, Desk, new_tag, refusal, require
from sim.venues.binance.markets import Market, Product
from sim.venues.binance.orders import (
    ms,
    order_id,
    spot_balances,
    spot_canceled,
    spot_order,
    spot_placed,
    spot_trade,
    trade_id,
)
from sim.venues.binance.wire import ApiError, encode
from sim.venues.exchange.model import NewOrder, Order, Refused

ROWS_MAX = 1000
_TIMES = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
# Type: ours, whether it has a price and a stop price, whether it triggers the other way round.
_KINDS = {
    "LIMIT": (OrderType.LIMIT, True, False, False),
    "LIMIT_MAKER": (OrderType.LIMIT, True, False, False),
    "MARKET": (OrderType.MARKET, False, False, False),
    "STOP_LOSS": (OrderType.STOP, False, True, False),
    "STOP_LOSS_LIMIT": (OrderType.STOP_LIMIT, True, True, False),
    "TAKE_PROFIT": (OrderType.STOP, False, True, True),
    "TAKE_PROFIT_LIMIT": (OrderType.STOP_LIMIT, True, True, True),
}


class CancelReplaceError(ApiError):
    """A cancel and a new order of which not both were done; `data` says which."""

    def __init__(self, code: int, text: str, status: int, data: dict[str, Any]) -> None:
        super().__init__(code, text, status)
        self.data = data

    def body(self) -> bytes:
        return encode({"code": self.code, "msg": self.text, "data": self.data})


class SpotApi:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # Orders.

    def place(self, call: Call) -> dict[str, Any]:
        order = self._place(call)
        params = call.params
        kind = params.get("newOrderRespType", "FULL" if params.get("type") in ("LIMIT", "MARKET") else "ACK")
        texts = self._desk.texts[order.listing.name]
        return spot_placed(texts, order, self._desk.fills_of_order(order), kind)

    def _place(self, call: Call) -> Order:
        desk = self._desk
        market, new = self._new_order(call)
        desk.require_room(call.account, market.listing)
        if desk.is_in_use(call.account, new.client_id):
            raise ApiError(-2010, "Duplicate order sent.")
        if new.trigger_price is not None and desk.exchange.would_trigger(market.listing, new):
            raise ApiError(-2010, "Stop price would trigger immediately.")
        try:
            return desk.exchange.place(call.ts, call.account, market.listing, new)
        except Refused as refused:
            raise refusal(Product.SPOT, refused) from None

    def test(self, call: Call) -> dict[str, Any]:
        """Everything is checked that can be without the engine."""
        self._new_order(call)
        return {}

    def _new_order(self, call: Call) -> tuple[Market, NewOrder]:
        desk, params = self._desk, call.params
        market = desk.market(params)
        desk.require_open(market)
        side, kind = desk.side(params), params.text("type")
        if kind not in _KINDS:
            raise ApiError(-1116, "Invalid orderType.")
        order_type, has_price, has_stop, is_if_touched = _KINDS[kind]
        times = params.get("timeInForce")
        if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            require(params, "timeInForce")
        elif times and kind != "LIMIT_MAKER":
            raise ApiError(-1106, "Parameter 'timeInForce' sent when not required.")
        if times and times not in _TIMES:
            raise ApiError(-1115, "Invalid timeInForce.")
        if not has_price and params.get("price"):
            raise ApiError(-1106, "Parameter 'price' sent when not required.")
        price = desk.price(market, params, "price") if has_price else None
        trigger = desk.price(market, params, "stopPrice") if has_stop else None
        if kind == "MARKET" and params.get("quoteOrderQty"):
            qty = self._qty_for(market, side, params.decimal("quoteOrderQty", MONEY_SCALE))
        else:
            qty = desk.qty(market, params, "quantity", is_market=order_type in (OrderType.MARKET, OrderType.STOP))
        self._check_notional(market, side, price or trigger, qty)
        display = desk.qty(market, params, "icebergQty", is_market=False) if params.get("icebergQty") else 0
        new = NewOrder(
            side=side,
            qty=qty,
            price=price,
            order_type=order_type,
            time_in_force=_TIMES[times or "GTC"],
            trigger_price=trigger,
            is_if_touched=is_if_touched,
            post_only=kind == "LIMIT_MAKER",
            display_qty=display,
            client_id=desk.new_client_id(params),
            tag=new_tag(kind, times or "GTC", params),
        )
        return market, new

    def _check_notional(self, market: Market, side: Side, price: int | None, qty: int) -> None:
        reference = price or market.listing.last
        if price is not None and market.listing.last:
            last = market.listing.last
            if price > last * 5 or price * 5 < last:
                raise ApiError(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        if market.rules.notional(reference, qty) < market.notional_min:
            raise ApiError(-1013, "Filter failure: NOTIONAL")

    def _qty_for(self, market: Market, side: Side, budget: int) -> int:
        """As many lots as the budget buys, or brings, now."""
        rules, qty = market.rules, 0
        bids, asks = self._desk.exchange.levels(market.listing, 1000)
        for level in asks if side is Side.BUY else bids:
            worth = rules.notional(level.price, level.qty)
            if worth >= budget:
                qty += budget // rules.notional(level.price, 1)
                break
            qty, budget = qty + level.qty, budget - worth
        if qty < rules.qty_min:
            raise ApiError(-1013, "Filter failure: NOTIONAL")
        return qty // rules.lot * rules.lot

    def query(self, call: Call) -> dict[str, Any]:
        self._desk.market(call.params)
        order = self._desk.find(call, "orderId", "origClientOrderId")
        if order is None or self._is_hidden(order):
            raise ApiError(-2013, "Order does not exist.")
        return spot_order(self._desk.texts[order.listing.name], order)

    def _is_hidden(self, order: Order) -> bool:
        return self._desk.faults.fires(20) if order.is_open else self._desk.faults.fires(21)

    def cancel(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        desk.market(call.params)
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or not order.is_open:
            raise ApiError(-2011, "Unknown order sent.")
        desk.cancel(call.ts, order, desk.new_client_id(call.params))
        return spot_canceled(desk.texts[order.listing.name], order)

    def cancel_all(self, call: Call) -> list[dict[str, Any]]:
        desk = self._desk
        market = desk.market(call.params)
        found = desk.book_orders(call.account, market.listing)
        if not found:
            raise ApiError(-2011, "Unknown order sent.")
        for order in found:
            desk.cancel(call.ts, order, desk.own_id())
        return [spot_canceled(desk.texts[market.symbol], order) for order in found]

    def cancel_replace(self, call: Call) -> dict[str, Any]:
        """A cancel, then a new order: two things, of which one may fail."""
        desk, params = self._desk, call.params
        mode = params.text("cancelReplaceMode")
        if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
            raise ApiError(-1134, "Invalid cancelReplaceMode.")
        self._new_order(call)
        order = desk.find(call, "cancelOrderId", "cancelOrigClientOrderId")
        canceled: dict[str, Any] | None = None
        if order is not None and order.is_open:
            desk.cancel(call.ts, order, params.client_id("cancelNewClientOrderId") or desk.own_id())
            canceled = spot_canceled(desk.texts[order.listing.name], order)
        not_canceled = {"code": -2011, "msg": "Unknown order sent."}
        if canceled is None and mode == "STOP_ON_FAILURE":
            data = _halves("FAILURE", "NOT_ATTEMPTED", not_canceled, None)
            raise CancelReplaceError(-2022, "Order cancel-replace failed.", 400, data)
        placed: dict[str, Any] | None = None
        try:
            if desk.faults.fires(17):
                raise ApiError(-2010, "Account has insufficient balance for requested action.")
            placed = self.place(call)
        except ApiError as error:
            refused = {"code": error.code, "msg": error.text}
            if canceled is None:
                data = _halves("FAILURE", "FAILURE", not_canceled, refused)
                raise CancelReplaceError(-2022, "Order cancel-replace failed.", 400, data) from None
            data = _halves("SUCCESS", "FAILURE", canceled, refused)
            raise CancelReplaceError(-2021, "Order cancel-replace partially failed.", 409, data) from None
        if canceled is None:
            data = _halves("FAILURE", "SUCCESS", not_canceled, placed)
            raise CancelReplaceError(-2021, "Order cancel-replace partially failed.", 409, data)
        return _halves("SUCCESS", "SUCCESS", canceled, placed)

    def amend(self, call: Call) -> dict[str, Any]:
        """Less quantity, same place."""
        desk, params = self._desk, call.params
        market = desk.market(params)
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or not order.is_open:
            raise ApiError(-2013, "Order does not exist.")
        qty = desk.qty(market, params, "newQty", is_market=False)
        if not order.filled_qty < qty < order.qty:
            raise ApiError(
                -2038, "Order amend rejected: the new quantity must lie between what is filled and what was asked for."
            )
        try:
            desk.exchange.replace(call.ts, order, qty=qty)
        except Refused as refused:
            raise refusal(Product.SPOT, refused) from None
        amended = spot_order(desk.texts[market.symbol], order)
        return {"transactTime": ms(call.ts), "executionId": order.number, "amendedOrder": amended}

    # What the account has.

    def open_orders(self, call: Call) -> list[dict[str, Any]]:
        desk = self._desk
        listing = desk.market(call.params).listing if call.params.get("symbol") else None
        return [spot_order(desk.texts[order.listing.name], order) for order in desk.book_orders(call.account, listing)]

    def all_orders(self, call: Call) -> list[dict[str, Any]]:
        desk, params = self._desk, call.params
        market = desk.market(params)
        start, first = params.integer("startTime", 0) * NS_PER_MS, params.integer("orderId", 0)
        end = params.integer("endTime", 2**43) * NS_PER_MS
        found = [
            order
            for order in desk.exchange.orders.values()
            if order.account is call.account and order.listing is market.listing and not order.is_lost
            if start <= order.created_ts <= end and order_id(order) >= first
        ]
        limit = params.integer("limit", 500, ROWS_MAX)
        rows = found[:limit] if first or params.get("startTime") else found[-limit:]
        return [spot_order(desk.texts[market.symbol], order) for order in rows]

    def trades(self, call: Call) -> list[dict[str, Any]]:
        desk, params = self._desk, call.params
        market = desk.market(params)
        first, order = params.integer("fromId", 0), params.integer("orderId", 0)
        start, end = params.integer("startTime", 0) * NS_PER_MS, params.integer("endTime", 2**43) * NS_PER_MS
        found = [
            fill
            for fill in desk.fills_of(call.account, market.symbol)
            if trade_id(fill) >= first and (not order or order_id(fill.order) == order) and start <= fill.ts <= end
        ]
        limit = params.integer("limit", 500, ROWS_MAX)
        is_forward = first or order or params.get("startTime")
        return [spot_trade(desk.texts[market.symbol], fill) for fill in (found[:limit] if is_forward else found[-limit:])]

    def account(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        may_trade = call.client.may["enableSpotAndMarginTrading"]
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"},
            "canTrade": may_trade,
            "canWithdraw": call.client.may["enableWithdrawals"],
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": ms(call.ts),
            "accountType": "SPOT",
            "balances": spot_balances(desk.books, call.account, omit_zero=call.params.flag("omitZeroBalances")),
            "permissions": ["SPOT"],
            "uid": 354937868 + call.account.number,
        }


def _halves(cancel: str, new: str, canceled: Any, placed: Any) -> dict[str, Any]:
    return {"cancelResult": cancel, "newOrderResult": new, "cancelResponse": canceled, "newOrderResponse": placed}
