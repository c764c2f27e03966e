"""Self-trade prevention: no order may be able to meet a resting order of our own, of another strategy or of any.

A venue's own prevention works per account and after the fact; this one works across strategies, before anything is sent.
"""

from __future__ import annotations

from core.enums import OrderType, Side
from core.order_store import OrderStore
from core.orders import Order
from core.risk_limits import Denied, SelfTrade

_BUY = Side.BUY
# Beyond every price: nothing of ours rests on that side.
_NOTHING = 1 << 200


class SelfTradeCheck:
    """Of one instrument.

    For each side a price is kept that no resting order of ours is better than: orders that do not reach it pass in one
    comparison. It is widened when an order is approved, and made exact by a look at the open orders when something reaches it.
    """

    __slots__ = ("_highest_buy", "_instrument_id", "_is_any", "_lowest_sell", "_orders")

    def __init__(self, orders: OrderStore, instrument_id: str, prevention: SelfTrade) -> None:
        self._orders = orders
        self._instrument_id = instrument_id
        self._is_any = prevention is SelfTrade.ANY
        # None: not known. What was open before this object was, after a restart, is found by the first look.
        self._highest_buy: int | None = None
        self._lowest_sell: int | None = None

    def check(self, strategy_id: str, side: Side, reach: int, replaced: Order | None) -> Denied | None:
        """`reach`: the worst price the order may trade at. `replaced` is the order that a replace moves: it cannot meet itself.

        Names the price of the own order that it could meet as the bound.
        """
        if side is _BUY:
            nearest = self._lowest_sell
            if nearest is not None and reach < nearest:
                return None
        else:
            nearest = self._highest_buy
            if nearest is not None and reach > nearest:
                return None
        return self._look(strategy_id, side, reach, replaced)

    def approved(self, side: Side, reach: int) -> None:
        """An order that may come to rest at `reach` is on its way."""
        if side is _BUY:
            if self._highest_buy is not None and reach > self._highest_buy:
                self._highest_buy = reach
        elif self._lowest_sell is not None and reach < self._lowest_sell:
            self._lowest_sell = reach

    def _look(self, strategy_id: str, side: Side, reach: int, replaced: Order | None) -> Denied | None:
        is_buy = side is _BUY
        nearest = _NOTHING if is_buy else -_NOTHING
        met: int | None = None
        for order in self._orders.open_orders(self._instrument_id):
            if order.side is side or order.price is None:
                continue
            price = _nearest_price(order)
            nearest = min(nearest, price) if is_buy else max(nearest, price)
            # A stop that has not woken rests nowhere; when it wakes, the venue's own prevention is what is left.
            rests = order.order_type is not OrderType.STOP_LIMIT or order.triggered
            is_other = order is not replaced and (self._is_any or order.strategy_id != strategy_id)
            if rests and is_other and (reach >= price if is_buy else reach <= price):
                met = price if met is None else min(met, price) if is_buy else max(met, price)
        if is_buy:
            self._lowest_sell = nearest
        else:
            self._highest_buy = nearest
        return None if met is None else Denied("self_trade", reach, met)


def _nearest_price(order: Order) -> int:
    """The most aggressive price at which an open order rests, or would after a replace that is not answered yet."""
    price = order.price
    assert price is not None
    if not order.replace_qty:
        return price
    return max(price, order.replace_price) if order.side is _BUY else min(price, order.replace_price)
