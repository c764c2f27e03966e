"""The REST interface of the simulated Binance USDⓈ-M futures: orders on the book, dead-man switch, changes, batches."""

from __future__ import annotations

from typing import Any

import msgspec

from core.enums import OrderType, Side, TimeInForce
from core.units import NS_PER_MS, NS_PER_SECOND
from sim.venues.binance.desk import Call, Desk, new_tag, refusal, require
from sim.venues.binance.markets import Market, Product
from sim.venues.binance.orders import order_id, trade_id, usdm_order, usdm_trade
from sim.venues.binance.wire import ApiError, Params
from sim.venues.exchange.model import NewOrder, Order, Refused

ROWS_MAX = 1000
BATCH_MAX = 5
GTD_LEAST_NS = 600 * NS_PER_SECOND
PERCENT = 5  # a limit may be so far beyond the mark
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
TIMES = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "GTX": TimeInForce.GTC,
    "GTD": TimeInForce.GTD,
}
ALL_CANCELED = {"code": 200, "msg": "The operation of cancel all open order is done."}


class UsdmOrders:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.countdowns: dict[tuple[str, str], int] = {}  # account and symbol: when everything is canceled

    def place(self, call: Call) -> dict[str, Any]:
        desk, params = self._desk, call.params
        market, new = self.new_order(call)
        desk.require_room(call.account, market.listing)
        if desk.is_in_use(call.account, new.client_id):
            raise ApiError(-4116, "ClientOrderId is duplicated.")
        self._require_fillable(market, new)
        try:
            order = desk.exchange.place(call.ts, call.account, market.listing, new)
        except Refused as refused:
            raise refusal(Product.USDM, refused) from None
        found = usdm_order(desk.texts[market.symbol], order, is_answer=True)
        if params.get("newOrderRespType", "ACK") == "ACK":
            # An acknowledgement knows nothing of what the engine does with it.
            zero = desk.texts[market.symbol].qty(0)
            found |= {"status": "NEW", "executedQty": zero, "cumQty": zero, "avgPrice": "0.00"}
        return found

    def test(self, call: Call) -> dict[str, Any]:
        self.new_order(call)
        return {}

    def new_order(self, call: Call) -> tuple[Market, NewOrder]:
        """Everything that is checked before the engine."""
        desk, params = self._desk, call.params
        market, kind, side = desk.market(params), params.text("type"), desk.side(params)
        if kind in CONDITIONAL:
            raise ApiError(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
        if kind not in ("LIMIT", "MARKET"):
            raise ApiError(-1116, "Invalid orderType.")
        if params.get("positionSide", "BOTH") != "BOTH":
            raise ApiError(-4061, "Order's position side does not match user's setting.")
        desk.require_open(market)
        times = params.get("timeInForce", "GTC")
        if times not in TIMES:
            raise ApiError(-1115, "Invalid timeInForce.")
        if kind == "MARKET" and (params.get("timeInForce") or params.get("price")):
            name = "timeInForce" if params.get("timeInForce") else "price"
            raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
        price = None
        if kind == "LIMIT":
            require(params, "timeInForce", "price")
            price = desk.price(market, params, "price")
            self._check_percent(market, side, price)
        qty = desk.qty(market, params, "quantity", is_market=kind == "MARKET")
        is_reducing = params.flag("reduceOnly")
        self._check_notional(market, price, qty, is_reducing)
        new = NewOrder(
            side=side,
            qty=qty,
            price=price,
            order_type=OrderType.LIMIT if kind == "LIMIT" else OrderType.MARKET,
            time_in_force=TIMES[times],
            post_only=times == "GTX",
            reduce_only=is_reducing,
            expire_ts=self.good_till(call.ts, params, times),
            client_id=desk.new_client_id(params),
            tag=new_tag(kind, times, params),
        )
        return market, new

    @staticmethod
    def good_till(ts: int, params: Params, times: str) -> int:
        if times != "GTD":
            return 0
        until = params.integer("goodTillDate") * NS_PER_MS
        if until <= ts + GTD_LEAST_NS:
            raise ApiError(-4208, "The goodTillDate timestamp must be greater than the current time plus 600 seconds.")
        return until

    def _check_percent(self, market: Market, side: Side, price: int) -> None:
        mark = market.listing.reference
        highest, lowest = mark * (100 + PERCENT) // 100, mark * (100 - PERCENT) // 100
        text = self._desk.texts[market.symbol]
        if side is Side.BUY and price > highest:
            raise ApiError(-4016, f"Limit price can't be higher than {text.price(highest)}.")
        if side is Side.SELL and price < lowest:
            raise ApiError(-4024, f"Limit price can't be lower than {text.price(lowest)}.")

    @staticmethod
    def _check_notional(market: Market, price: int | None, qty: int, is_reducing: bool) -> None:
        if not is_reducing and market.rules.notional(price or market.listing.reference, qty) < market.notional_min:
            least = market.notional_min // 10**8
            raise ApiError(-4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only).")

    def _require_fillable(self, market: Market, new: NewOrder) -> None:
        """A FOK that cannot be filled is no order at all."""
        if new.time_in_force is not TimeInForce.FOK:
            return
        bids, asks = self._desk.exchange.levels(market.listing, 5000)
        found = 0
        for level in asks if new.side is Side.BUY else bids:
            if new.price is not None and (level.price > new.price if new.side is Side.BUY else level.price < new.price):
                break
            found += level.qty
        if found < new.qty:
            raise ApiError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been rejected. "
                "The order will not be recorded in the order history",
            )

    def replace(self, call: Call) -> dict[str, Any]:
        """Price and total quantity of a resting order. What is not above the filled quantity cancels it."""
        desk, params = self._desk, call.params
        market, side = desk.market(params), desk.side(params)
        qty, price = desk.qty(market, params, "quantity", is_market=False), desk.price(market, params, "price")
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or not order.is_open or order.side is not side:
            raise ApiError(-2013, "Order does not exist.")
        if order.price is None:
            raise ApiError(-4197, "No need to modify the order.")
        if qty <= order.filled_qty:
            desk.exchange.cancel(call.ts, order, "amended below what is filled")
            return usdm_order(desk.texts[market.symbol], order, is_answer=True)
        self._check_percent(market, side, price)
        if order.post_only and self._would_take(market, side, price):
            desk.exchange.cancel(call.ts, order, "post-only amended through the book")
            return usdm_order(desk.texts[market.symbol], order, is_answer=True)
        try:
            desk.exchange.replace(call.ts, order, qty=qty, price=price)
        except Refused as refused:
            raise refusal(Product.USDM, refused) from None
        return usdm_order(desk.texts[market.symbol], order, is_answer=True)

    def _would_take(self, market: Market, side: Side, price: int) -> bool:
        bid, ask = self._desk.exchange.best(market.listing)
        facing = ask if side is Side.BUY else bid
        return facing is not None and (price >= facing.price if side is Side.BUY else price <= facing.price)

    def query(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        market = desk.market(call.params)
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or (desk.faults.fires(20) if order.is_open else desk.faults.fires(21)):
            raise ApiError(-2013, "Order does not exist.")
        return usdm_order(desk.texts[market.symbol], order)

    def query_open(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        market = desk.market(call.params)
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or not order.is_open:
            raise ApiError(-2013, "Order does not exist.")
        return usdm_order(desk.texts[market.symbol], order)

    def cancel(self, call: Call) -> dict[str, Any]:
        desk = self._desk
        market = desk.market(call.params)
        order = desk.find(call, "orderId", "origClientOrderId")
        if order is None or not order.is_open:
            raise ApiError(-2011, "Unknown order sent.")
        desk.cancel(call.ts, order, "")
        return usdm_order(desk.texts[market.symbol], order, is_answer=True)

    def cancel_all(self, call: Call) -> dict[str, Any]:
        """Of the book; conditional orders are another service's."""
        desk = self._desk
        for order in desk.book_orders(call.account, desk.market(call.params).listing):
            desk.cancel(call.ts, order, "")
        return dict(ALL_CANCELED)

    def batch(self, call: Call) -> list[dict[str, Any]]:
        rows = []
        is_halved = self._desk.faults.fires(16)
        for index, values in enumerate(_batch(call.params.text("batchOrders"))):
            try:
                if is_halved and index % 2:
                    raise ApiError(-2019, "Margin is insufficient.")
                rows.append(self.place(Call(call.ts, call.client, Params(values))))
            except ApiError as error:
                rows.append({"code": error.code, "msg": error.text})
        return rows

    def cancel_batch(self, call: Call) -> list[dict[str, Any]]:
        params, rows = call.params, []
        name, listed = next(
            (
                (one, params.get(many))
                for one, many in (("orderId", "orderIdList"), ("origClientOrderId", "origClientOrderIdList"))
                if params.get(many)
            ),
            ("", ""),
        )
        if not name:
            raise ApiError(-1102, "Mandatory parameter 'orderIdList' was not sent, was empty/null, or malformed.")
        for found in _list(listed):
            try:
                values = {"symbol": params.text("symbol"), name: str(found)}
                rows.append(self.cancel(Call(call.ts, call.client, Params(values))))
            except ApiError as error:
                rows.append({"code": error.code, "msg": error.text})
        return rows

    # The dead-man switch.

    def countdown(self, call: Call) -> dict[str, Any]:
        """In so many ms everything on the book of a symbol is canceled, unless this comes again; 0: never."""
        market, wait = self._desk.market(call.params), call.params.integer("countdownTime")
        key = (call.account.name, market.symbol)
        if wait:
            self.countdowns[key] = call.ts + wait * NS_PER_MS
        else:
            self.countdowns.pop(key, None)
        return {"symbol": market.symbol, "countdownTime": str(wait)}

    def run_countdowns(self, ts: int) -> None:
        for (name, symbol), due in sorted(self.countdowns.items()):
            if due <= ts:
                del self.countdowns[name, symbol]
                account = self._desk.exchange.accounts[name]
                for order in self._desk.book_orders(account, self._desk.markets[symbol].listing):
                    self._desk.exchange.cancel(ts, order, "countdown")

    # What the account has.

    def open_orders(self, call: Call) -> list[dict[str, Any]]:
        desk = self._desk
        listing = desk.market(call.params).listing if call.params.get("symbol") else None
        return [usdm_order(desk.texts[order.listing.name], order) for order in desk.book_orders(call.account, listing)]

    def all_orders(self, call: Call) -> list[dict[str, Any]]:
        desk, params = self._desk, call.params
        market = desk.market(params)
        first, start = params.integer("orderId", 0), params.integer("startTime", 0) * NS_PER_MS
        found = [order for order in self._on_book(call, market) if order_id(order) >= first and order.created_ts >= start]
        limit = params.integer("limit", 500, ROWS_MAX)
        rows = found[:limit] if first or start else found[-limit:]
        return [usdm_order(desk.texts[market.symbol], order) for order in rows]

    def _on_book(self, call: Call, market: Market) -> list[Order]:
        return [
            order
            for order in self._desk.exchange.orders.values()
            if order.account is call.account and order.listing is market.listing and not order.is_lost
            if not order.is_stop or order.triggered_ts
        ]

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
        is_forward = first or order or start
        return [usdm_trade(desk.texts[market.symbol], fill) for fill in (found[:limit] if is_forward else found[-limit:])]


def _batch(text: str) -> list[dict[str, str]]:
    try:
        rows = msgspec.json.decode(text, type=list[dict[str, str | int | bool]])
    except msgspec.DecodeError:
        raise ApiError(-1130, "Data sent for parameter 'batchOrders' is not valid.") from None
    if not 1 <= len(rows) <= BATCH_MAX:
        raise ApiError(-4082, "Invalid number of batch place orders.")
    return [{name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in row.items()} for row in rows]


def _list(text: str) -> list[str | int]:
    try:
        found = msgspec.json.decode(text, type=list[str | int])
    except msgspec.DecodeError:
        raise ApiError(-1130, "Data sent for parameter 'orderIdList' is not valid.") from None
    if not 1 <= len(found) <= 10:
        raise ApiError(-4083, "Invalid number of orders.")
    return found
