"""Orders, fills and accounts as the venue's REST answers tell them, spot and futures."""

from __future__ import annotations

from typing import Any

import msgspec

from core.enums import OrderType, Reason, Side
from core.instruments import MONEY_SCALE
from core.units import NS_PER_MS, POW10, divide_half_even, format_fixed
from sim.venues.binance.markets import Market, Product
from sim.venues.exchange.ledger import Books
from sim.venues.exchange.model import Account, Fill, Order, State

ORDER_ID_FIRST = 4_000_000_000
ALGO_ID_FIRST = 2_000_000
TRADE_ID_FIRST = 900_000
SPOT_TEXT_SCALE = 8

_EXPIRED = frozenset(
    {Reason.IOC, Reason.FOK, Reason.NO_LIQUIDITY, Reason.REDUCE_ONLY, Reason.POST_ONLY, Reason.FULL, Reason.CLOSED}
)
_STATES = {
    State.NEW: "NEW",
    State.UNTRIGGERED: "NEW",
    State.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    State.FILLED: "FILLED",
    State.EXPIRED: "EXPIRED",
    State.REJECTED: "EXPIRED",
}


class Tag(msgspec.Struct, kw_only=True):
    """What an order is to Binance and not to the exchange. `canceled_by` is the id of the request that canceled it."""

    kind: str  # the type that was asked for
    time_in_force: str
    working_type: str = "CONTRACT_PRICE"
    child_id: str = ""  # client id of what a conditional order became
    canceled_by: str = ""
    good_till_ms: int = 0
    close_position: bool = False
    paid_in_bnb: bool = False


def tag_of(order: Order) -> Tag:
    tag = order.tag
    if not isinstance(tag, Tag):
        # A forced order: nobody asked for it.
        tag = order.tag = Tag(kind="MARKET", time_in_force="GTC")
    return tag


def order_id(order: Order) -> int:
    return ORDER_ID_FIRST + order.number


def algo_id(order: Order) -> int:
    return ALGO_ID_FIRST + order.number


def trade_id(fill: Fill) -> int:
    return TRADE_ID_FIRST + fill.trade_number


def is_conditional(order: Order) -> bool:
    """Of the futures: whether the algo service has it and the book does not (yet)."""
    return order.is_stop and not order.triggered_ts


def wire_id(order: Order) -> str:
    """The client id on the book."""
    return tag_of(order).child_id or order.client_id or f"web_{order.number}"


def status(order: Order) -> str:
    if order.state is State.CANCELED:
        if order.reason is Reason.SELF_TRADE:
            return "EXPIRED_IN_MATCH"
        return "EXPIRED" if order.reason in _EXPIRED else "CANCELED"
    return _STATES[order.state]


def ms(ts: int) -> int:
    return ts // NS_PER_MS


class Texts:
    """Numbers of one market as its product writes them: spot with eight decimals, futures with the symbol's own."""

    def __init__(self, product: Product, market: Market) -> None:
        rules = market.rules
        is_spot = product is Product.SPOT
        self._price = (SPOT_TEXT_SCALE if is_spot else rules.price_scale, rules.price_scale)
        self._qty = (SPOT_TEXT_SCALE if is_spot else rules.qty_scale, rules.qty_scale)
        self.market = market
        self.is_spot = is_spot

    def price(self, value: int | None) -> str:
        wide, own = self._price
        return format_fixed((value or 0) * POW10[wide - own], wide)

    def qty(self, value: int) -> str:
        wide, own = self._qty
        return format_fixed(value * POW10[wide - own], wide)

    def value(self, order: Order) -> str:
        """What its fills cost together."""
        rules = self.market.rules
        return money(order.value * POW10[MONEY_SCALE - rules.price_scale - rules.qty_scale])

    def average(self, order: Order) -> str:
        if not order.filled_qty:
            return "0.00" if not self.is_spot else "0.00000000"
        wide = self._price[1] + 3
        return format_fixed(divide_half_even(order.value * POW10[3], order.filled_qty), wide)


def money(amount: int) -> str:
    return format_fixed(amount, MONEY_SCALE)


# Spot.


def spot_type(order: Order) -> str:
    return tag_of(order).kind


def spot_order(texts: Texts, order: Order) -> dict[str, Any]:
    """As asked for, open or not."""
    tag = tag_of(order)
    return {
        "symbol": order.listing.name,
        "orderId": order_id(order),
        "orderListId": -1,
        "clientOrderId": wire_id(order),
        "price": texts.price(order.price),
        "origQty": texts.qty(order.qty),
        "executedQty": texts.qty(order.filled_qty),
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": texts.value(order),
        "status": status(order),
        "timeInForce": tag.time_in_force,
        "type": tag.kind,
        "side": order.side.name,
        "stopPrice": texts.price(order.trigger_price),
        "icebergQty": texts.qty(order.display_qty),
        "time": ms(order.created_ts),
        "updateTime": ms(order.updated_ts),
        "isWorking": order.state is not State.UNTRIGGERED,
        "workingTime": ms(order.triggered_ts or order.created_ts) if order.state is not State.UNTRIGGERED else -1,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def spot_placed(texts: Texts, order: Order, fills: list[Fill], kind: str) -> dict[str, Any]:
    """The answer to a new order: ACK, RESULT or FULL."""
    found: dict[str, Any] = {
        "symbol": order.listing.name,
        "orderId": order_id(order),
        "orderListId": -1,
        "clientOrderId": wire_id(order),
        "transactTime": ms(order.created_ts),
    }
    if kind == "ACK":
        return found
    tag = tag_of(order)
    found |= {
        "price": texts.price(order.price),
        "origQty": texts.qty(order.qty),
        "executedQty": texts.qty(order.filled_qty),
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": texts.value(order),
        "status": status(order),
        "timeInForce": tag.time_in_force,
        "type": tag.kind,
        "side": order.side.name,
        "workingTime": ms(order.created_ts),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }
    if order.trigger_price is not None:
        found["stopPrice"] = texts.price(order.trigger_price)
    if kind == "FULL":
        found["fills"] = [
            {
                "price": texts.price(fill.price),
                "qty": texts.qty(fill.qty),
                "commission": money(fill.fee),
                "commissionAsset": fill.fee_currency,
                "tradeId": trade_id(fill),
            }
            for fill in fills
        ]
    return found


def spot_canceled(texts: Texts, order: Order) -> dict[str, Any]:
    found = spot_placed(texts, order, [], "RESULT")
    del found["workingTime"]
    return found | {
        "origClientOrderId": wire_id(order),
        "clientOrderId": tag_of(order).canceled_by,
        "transactTime": ms(order.updated_ts),
    }


def spot_trade(texts: Texts, fill: Fill) -> dict[str, Any]:
    rules = texts.market.rules
    return {
        "symbol": fill.order.listing.name,
        "id": trade_id(fill),
        "orderId": order_id(fill.order),
        "orderListId": -1,
        "price": texts.price(fill.price),
        "qty": texts.qty(fill.qty),
        "quoteQty": money(rules.notional(fill.price, fill.qty)),
        "commission": money(fill.fee),
        "commissionAsset": fill.fee_currency,
        "time": ms(fill.ts),
        "isBuyer": fill.order.side is Side.BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def spot_balances(books: Books, account: Account, *, omit_zero: bool) -> list[dict[str, str]]:
    rows = []
    for asset, amount in sorted(account.balances.items()):
        locked = books.locked(account, asset)
        if amount or locked or not omit_zero:
            rows.append({"asset": asset, "free": money(amount - locked), "locked": money(locked)})
    return rows


# Futures.


def book_type(order: Order) -> str:
    """What it is on the book."""
    return {OrderType.STOP: "MARKET", OrderType.STOP_LIMIT: "LIMIT"}.get(order.order_type, tag_of(order).kind)


def usdm_order(texts: Texts, order: Order, *, is_answer: bool = False) -> dict[str, Any]:
    """`is_answer`: to placing, changing or cancelling, which has no `time`."""
    tag = tag_of(order)
    found = {
        "orderId": order_id(order),
        "symbol": order.listing.name,
        "status": status(order),
        "clientOrderId": wire_id(order),
        "price": texts.price(order.price),
        "avgPrice": texts.average(order),
        "origQty": texts.qty(order.qty),
        "executedQty": texts.qty(order.filled_qty),
        "cumQuote": texts.value(order),
        "timeInForce": tag.time_in_force,
        "type": book_type(order),
        "reduceOnly": order.reduce_only,
        "closePosition": tag.close_position,
        "side": order.side.name,
        "positionSide": "BOTH",
        "stopPrice": texts.price(0),
        "workingType": tag.working_type,
        "priceProtect": False,
        "origType": tag.kind,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": tag.good_till_ms,
        "updateTime": ms(order.updated_ts),
    }
    return found | ({"cumQty": texts.qty(order.filled_qty)} if is_answer else {"time": ms(order.created_ts)})


def algo_status(order: Order) -> str:
    """A conditional order's life at the algo service."""
    if not order.triggered_ts:
        return {State.UNTRIGGERED: "NEW", State.CANCELED: "CANCELED", State.EXPIRED: "EXPIRED"}[order.state]
    if order.state is State.REJECTED:
        return "REJECTED"
    return "TRIGGERED" if order.is_open else "FINISHED"


def algo_order(texts: Texts, order: Order) -> dict[str, Any]:
    tag = tag_of(order)
    triggered = bool(order.triggered_ts) and order.state is not State.REJECTED
    return {
        "algoId": algo_id(order),
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": tag.kind,
        "symbol": order.listing.name,
        "side": order.side.name,
        "positionSide": "BOTH",
        "timeInForce": tag.time_in_force,
        "quantity": texts.qty(order.qty),
        "algoStatus": algo_status(order),
        "actualOrderId": str(order_id(order)) if triggered else "",
        "actualPrice": texts.average(order) if triggered else "0.00000",
        "triggerPrice": texts.price(order.trigger_price),
        "price": texts.price(order.price),
        "icebergQuantity": None,
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": tag.working_type,
        "priceMatch": "NONE",
        "closePosition": tag.close_position,
        "priceProtect": False,
        "reduceOnly": order.reduce_only,
        "createTime": ms(order.created_ts),
        "updateTime": ms(order.updated_ts),
        "triggerTime": ms(order.triggered_ts),
        "goodTillDate": tag.good_till_ms,
    }


def usdm_trade(texts: Texts, fill: Fill) -> dict[str, Any]:
    rules = texts.market.rules
    return {
        "symbol": fill.order.listing.name,
        "id": trade_id(fill),
        "orderId": order_id(fill.order),
        "side": fill.order.side.name,
        "price": texts.price(fill.price),
        "qty": texts.qty(fill.qty),
        "realizedPnl": money(fill.profit),
        "quoteQty": money(rules.notional(fill.price, fill.qty)),
        "commission": money(fill.fee),
        "commissionAsset": fill.fee_currency,
        "time": ms(fill.ts),
        "positionSide": "BOTH",
        "buyer": fill.order.side is Side.BUY,
        "maker": fill.is_maker,
    }


def entry_price(texts: Texts, account: Account) -> str:
    """What the position was opened at."""
    held = account.positions.get(texts.market.symbol)
    if held is None or not held.qty:
        return "0.0"
    sign = 1 if held.qty > 0 else -1
    return money(divide_half_even(sign * held.value_open * POW10[texts.market.rules.qty_scale], abs(held.qty)))
