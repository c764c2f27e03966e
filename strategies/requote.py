"""Requoter: brings a maker's resting orders to the prices it wants with the fewest messages, and never past its limits.

What holds whatever the venue answers, and in whatever order:
- position plus everything of one side that could still be filled stays within position_qty_max;
- no bid is sent at or above a price where an own offer may rest, and the other way round, requests in flight included;
- an order with a request in flight is left alone until the answer is here, but for `withdraw`, which cancels at once;
- while the outcome of any request is UNKNOWN everything is withdrawn and nothing new is sent;
- a refused side rests for `refusal_pause_ns`; what it cannot move any more it cancels.

An order already at a wanted price is kept, place in the queue and partial fill included; the others are moved, then the rest is
sent new or cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.enums import MarketStatus, OrderStatus, Reason, Side, TradingState
from core.events import (
    AnyOrderEvent,
    CancelRejected,
    OrderDenied,
    OrderFilled,
    OrderRejected,
    ReplaceRejected,
    StatusChanged,
)
from core.instruments import Instrument
from core.orders import TERMINAL, Order
from core.strategy import Context
from core.units import NS_PER_SECOND

REFUSAL_PAUSE_NS = NS_PER_SECOND

NO_PRICES: tuple[int, ...] = ()


class Requoter:
    """The resting orders of one strategy on one instrument. Prices in points, quantities in units of the instrument."""

    def __init__(
        self,
        instrument: Instrument,
        *,
        position_qty_max: int,
        refusal_pause_ns: int = REFUSAL_PAUSE_NS,
        post_only: bool = True,
    ) -> None:
        self._instrument = instrument
        self._instrument_id = instrument.instrument_id
        self._position_qty_max = position_qty_max
        self._refusal_pause_ns = refusal_pause_ns
        self._post_only = post_only
        self._orders: tuple[list[Order], list[Order]] = ([], [])  # by Side; those not known to be closed
        self._paused_until = [0, 0]  # by Side
        self._trading_state = TradingState.ACTIVE
        self._market_status = MarketStatus.TRADING
        self._is_stopped = False
        self._is_behind = False  # something had to wait for an answer
        self._unknown_canceled: set[int] = set()  # orders of unknown outcome whose cancel was asked for

    def aim(self, context: Context, bids: Sequence[int], asks: Sequence[int], quantity: int) -> None:
        """Want one order of `quantity` at each of these prices, best first, as far as position_qty_max leaves room."""
        self._is_behind = False
        bid_orders, ask_orders = self._drop_closed()
        if not self.may_quote:
            self.withdraw(context)
            return
        if any(order.status is OrderStatus.UNKNOWN for order in bid_orders + ask_orders):
            self.withdraw(context)
            self._is_behind = True
            return
        assert not bids or not asks or bids[0] < asks[0], "a maker must not want to trade with itself"
        # The side that moves away goes first, so that the other one finds the room.
        if asks and ask_orders and asks[0] > (ask_orders[0].price or 0):
            self._aim_side(context, Side.SELL, asks, quantity)
            self._aim_side(context, Side.BUY, bids, quantity)
        else:
            self._aim_side(context, Side.BUY, bids, quantity)
            self._aim_side(context, Side.SELL, asks, quantity)

    def withdraw(self, context: Context) -> None:
        """Ask once to cancel every order, whatever is in flight for it."""
        self._is_behind = False
        bid_orders, ask_orders = self._drop_closed()
        for order in bid_orders + ask_orders:
            if order.status is OrderStatus.UNKNOWN:
                # Asking leaves the order UNKNOWN: to ask again at every event would only make noise.
                if order.client_order_id in self._unknown_canceled:
                    continue
                self._unknown_canceled.add(order.client_order_id)
            context.cancel(order)

    @property
    def may_quote(self) -> bool:
        """False while stopped, halted, or the market is not in continuous trading."""
        return (
            not self._is_stopped
            and self._trading_state is not TradingState.HALTED
            and self._market_status is MarketStatus.TRADING
        )

    def on_order(self, order: Order, event: AnyOrderEvent, now: int) -> bool:
        """Take note of an answer; True when the maker should say again what it wants."""
        kind = type(event)
        if kind is OrderFilled:
            return True
        if kind is OrderDenied:
            self._paused_until[order.side] = now + self._refusal_pause_ns
            return False
        if isinstance(event, OrderRejected | ReplaceRejected | CancelRejected):
            # A post-only order that would have crossed says only that the market has moved: the next look at it will do. Never
            # answer a refusal at its own instant, or two refusals could chase each other for ever.
            pause = 1 if event.reason is Reason.POST_ONLY else self._refusal_pause_ns
            if kind is not CancelRejected:
                self._paused_until[order.side] = now + pause
            return False
        return self._is_behind or order.status is OrderStatus.UNKNOWN

    def on_status(self, context: Context, event: StatusChanged) -> None:
        if event.instrument_id == self._instrument_id:
            self._market_status = event.status
            if event.status is not MarketStatus.TRADING:
                self.withdraw(context)

    def on_halt(self, context: Context, state: TradingState) -> None:
        """In REDUCING only the side that shrinks the position goes on, and no further than flat."""
        self._trading_state = state
        if state is not TradingState.ACTIVE:
            self.withdraw(context)

    def on_stop(self, context: Context) -> None:
        self._is_stopped = True
        self.withdraw(context)

    def on_reconciled(self, context: Context) -> None:
        """Take over what an earlier run left at the venue, and cancel it: its prices are from another time."""
        for order in context.open_orders(self._instrument_id):
            if order not in self._orders[order.side]:
                self._orders[order.side].append(order)
        self.withdraw(context)

    def _drop_closed(self) -> tuple[list[Order], list[Order]]:
        for orders in self._orders:
            for order in orders:
                if order.status in TERMINAL:
                    self._unknown_canceled.difference_update(one.client_order_id for one in orders if one.status in TERMINAL)
                    orders[:] = [one for one in orders if one.status not in TERMINAL]
                    break
        return self._orders

    def _room(self, context: Context, side: Side) -> int:
        """How much may be bought (sold) from here, open orders not counted."""
        qty = context.position(self._instrument_id).qty
        held = qty if side is Side.BUY else -qty
        return -held if self._trading_state is TradingState.REDUCING else self._position_qty_max - held

    def _aim_side(self, context: Context, side: Side, prices: Sequence[int], quantity: int) -> None:
        orders = self._orders[side]
        room = self._room(context, side)
        if len(orders) == 1 and len(prices) == 1:
            # Most often the one order is already where it should be.
            order = orders[0]
            is_settled = order.status is OrderStatus.ACCEPTED or order.status is OrderStatus.PARTIALLY_FILLED
            if is_settled and order.price == prices[0] and order.leaves_qty <= quantity and order.leaves_qty <= room:
                return
        wanted = self._fit(prices, quantity, room)
        spare: list[Order] = []
        for order in orders:
            price = order.replace_price if order.status is OrderStatus.PENDING_REPLACE else order.price
            qty = wanted.get(price) if price is not None and order.status is not OrderStatus.PENDING_CANCEL else None
            if qty is None or price is None:
                spare.append(order)
                continue
            del wanted[price]
            if order.leaves_qty > qty:
                self._move(context, order, qty, price, room)
        is_paused = context.now < self._paused_until[side]
        if is_paused and wanted:
            self._is_behind = True
            wanted = {}
        targets = iter(wanted.items())
        if len(spare) > 1:
            # What can move takes the best prices; what waits for an answer holds the place of one of the others.
            spare.sort(key=_is_pending)
        for order in spare:
            target = next(targets, None)
            if target is not None:
                self._move(context, order, target[1], target[0], room)
            elif order.is_pending:
                self._is_behind = True
            else:
                context.cancel(order)
        for price, qty in targets:
            if room - sum(order.reserved_qty for order in orders) < qty or self._meets_own(side, price):
                self._is_behind = True
                continue
            order = context.submit(self._instrument_id, side, qty, price, post_only=self._post_only)
            if order.status in TERMINAL:
                return  # denied: the pause starts when the denial is delivered
            orders.append(order)

    def _fit(self, prices: Sequence[int], quantity: int, room: int) -> dict[int, int]:
        """Quantity by price, best first, as far as the room goes."""
        instrument = self._instrument
        wanted: dict[int, int] = {}
        for price in prices:
            qty = quantity if quantity <= room else room - room % instrument.lot
            if qty < instrument.qty_min or not instrument.price_min <= price <= instrument.price_max:
                break
            wanted[price] = qty
            room -= qty
        return wanted

    def _move(self, context: Context, order: Order, qty: int, price: int, room: int) -> None:
        """Replace, or note that it has to wait."""
        if order.is_pending:
            self._is_behind = True
            return
        orders = self._orders[order.side]
        if qty > order.reserved_qty and sum(other.reserved_qty for other in orders) - order.reserved_qty + qty > room:
            qty = order.leaves_qty
            self._is_behind = True
        assert order.price is not None, "a maker sends limit orders only"
        is_retreat = price < order.price if order.side is Side.BUY else price > order.price
        if not is_retreat and self._meets_own(order.side, price):
            # Where it is it rests behind the market, which is the safe place to wait in.
            self._is_behind = True
        elif not context.replace(order, qty, price) and (is_retreat or qty < order.leaves_qty):
            # A quote that risk will not let away from the market must not stay.
            context.cancel(order)

    def _meets_own(self, side: Side, price: int) -> bool:
        """Whether an order at `price` could trade with one of our own on the other side, wherever that may rest by now."""
        for other in self._orders[1 - side]:
            if other.price is None:
                continue
            nearest = other.price
            if other.replace_qty and other.is_pending:
                nearest = min(nearest, other.replace_price) if side is Side.BUY else max(nearest, other.replace_price)
            if price >= nearest if side is Side.BUY else price <= nearest:
                return True
        return False


def _is_pending(order: Order) -> bool:
    return order.is_pending
