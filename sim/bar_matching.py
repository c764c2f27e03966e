"""BarBook: the orders of one instrument against its bars. Every rule for a fill is written where the fill is decided.

A bar says four prices and a volume, not how it got there. Wherever that leaves a choice, the one that is worse for the account is
taken:
- an order sees only bars that begin after it has arrived, so nothing is filled by a price that was past when it was sent;
- at its first open a market order pays the open and slippage_ticks; a limit order that the open satisfies pays the same, never
  more than its limit;
- a stop triggers where the bar touches it, and pays slippage_ticks on the worse of trigger and open;
- a resting limit order fills at its price when the bar trades through it; fills_on_touch lets a touch do. An open that has jumped
  over it fills it at the open: gap_improvement False denies that;
- inside a bar the price goes open, low, high, close, or open, high, low, close: where both ways matter, both are walked, and the
  one that leaves the account worse at the close is taken;
- all fills of a bar together take no more than participation_ppm of its volume.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from core.commands import SubmitOrder
from core.enums import LiquiditySide, OrderType, Reason, Side, TimeInForce
from core.errors import ConfigError
from core.events import Bar
from core.instruments import Instrument

PPM = 1_000_000
NEVER = (1 << 63) - 1

# Orders that must be filled at once or not at all, and what their cancel says.
IMMEDIATE = {TimeInForce.IOC: Reason.IOC, TimeInForce.FOK: Reason.FOK}


class BarFillRules(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of a simulation on bars. participation_ppm: share of a bar's volume, millionths; 0: volume does not matter."""

    slippage_ticks: int = 0
    fills_on_touch: bool = False
    gap_improvement: bool = True
    participation_ppm: int = 0
    day_end_offset_ns: int = 0  # DAY orders end at midnight UTC plus this
    latency_ns: int = 0  # from us to the venue
    response_ns: int = 0  # and its answers back to us

    def __post_init__(self) -> None:
        for name in ("slippage_ticks", "participation_ppm", "latency_ns", "response_ns"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} cannot be negative, but is {getattr(self, name)}")
        if self.participation_ppm > PPM:
            raise ConfigError(f"participation_ppm {self.participation_ppm} is more than the whole volume, {PPM}")


class BarOrder:
    """An order at the venue. open_from and path_from: index of the first bar whose open, or whose inside, it sees."""

    __slots__ = (
        "client_order_id",
        "expire_ts",
        "filled_qty",
        "is_parked",
        "is_resting",
        "leaves_qty",
        "open_from",
        "order_type",
        "path_from",
        "post_only",
        "price",
        "reduce_only",
        "side",
        "takes_any_price",
        "time_in_force",
        "trigger_price",
    )

    def __init__(self, command: SubmitOrder, expire_ts: int) -> None:
        self.client_order_id = command.client_order_id
        self.side = command.side
        self.order_type = command.order_type
        self.leaves_qty = command.quantity
        self.filled_qty = 0
        self.price = command.price if command.price is not None else 0
        self.trigger_price = command.trigger_price if command.trigger_price is not None else 0
        self.time_in_force = command.time_in_force
        self.post_only = command.post_only
        self.reduce_only = command.reduce_only
        self.expire_ts = expire_ts
        self.is_parked = command.trigger_price is not None  # a stop that has not been triggered
        self.takes_any_price = command.order_type is OrderType.MARKET
        # A post-only order rests from the moment it is accepted; any other limit order may first take at an open.
        self.is_resting = command.post_only
        self.open_from = 0
        self.path_from = 0

    def trigger(self) -> None:
        self.is_parked = False
        self.takes_any_price = self.order_type is OrderType.STOP


class Outcome(msgspec.Struct, gc=False):
    """Something that became of an order: a fill (liquidity set), a cancel (reason set), or a trigger (neither)."""

    order: BarOrder
    price: int = 0
    qty: int = 0
    leaves_qty: int = 0
    liquidity: LiquiditySide | None = None
    reason: Reason | None = None


class BarBook:
    """Orders of one instrument, in the order of arrival, and the position their fills have built."""

    def __init__(self, instrument: Instrument, rules: BarFillRules) -> None:
        self.instrument = instrument
        self.rules = rules
        self.orders: dict[int, BarOrder] = {}
        self.position_qty = 0
        self.opened_index = -1  # the last bar whose open has been seen
        self.last_price: int | None = None
        self._slippage = rules.slippage_ticks * instrument.tick
        self._budget = NEVER  # what may still be filled in this bar

    def first_expiry(self) -> int:
        """When the first of its orders ends by itself; NEVER where none does."""
        return min((order.expire_ts for order in self.orders.values()), default=NEVER)

    # The bar's open.

    def at_open(self, index: int, price: int) -> list[Outcome]:
        """What the open of bar `index` does to the orders that see it."""
        outcomes: list[Outcome] = []
        for order in list(self.orders.values()):
            if order.open_from > index:
                continue
            if order.is_parked:
                reached = price >= order.trigger_price if order.side is Side.BUY else price <= order.trigger_price
                if not reached:
                    continue
                order.trigger()
                outcomes.append(Outcome(order))
            if order.takes_any_price:
                self._take(order, price, outcomes)
                continue
            is_buy = order.side is Side.BUY
            if not order.is_resting:
                # The first open that it sees: as far as that satisfies it, it takes; what is left rests.
                if price <= order.price if is_buy else price >= order.price:
                    self._take(order, price, outcomes)
                elif order.time_in_force in IMMEDIATE:
                    self._cancel(order, IMMEDIATE[order.time_in_force], outcomes)
                order.is_resting = True
            elif price < order.price if is_buy else price > order.price:
                # The market has jumped over it. In an opening auction everybody gets the open; in a continuous market the
                # order would have been hit at its own price on the way.
                improves = self.rules.gap_improvement and not order.post_only
                self._fill(order, price if improves else order.price, LiquiditySide.MAKER, outcomes)
            elif price == order.price and self.rules.fills_on_touch:
                self._fill(order, price, LiquiditySide.MAKER, outcomes)
        return outcomes

    def _take(self, order: BarOrder, price: int, outcomes: list[Outcome]) -> None:
        """Fill at `price` and slippage, a limit order no worse than its limit; IOC and FOK end here."""
        time_in_force = order.time_in_force
        if time_in_force is TimeInForce.FOK and self._fillable(order) < order.leaves_qty:
            self._cancel(order, Reason.FOK, outcomes)
            return
        self._fill(order, self._slipped(order, price), LiquiditySide.TAKER, outcomes)
        if time_in_force is TimeInForce.IOC and order.leaves_qty:
            self._cancel(order, Reason.IOC, outcomes)

    def _slipped(self, order: BarOrder, price: int) -> int:
        if order.side is Side.BUY:
            paid = min(price + self._slippage, self.instrument.price_max)
            return paid if order.takes_any_price else min(paid, order.price)
        paid = max(price - self._slippage, self.instrument.price_min)
        return paid if order.takes_any_price else max(paid, order.price)

    # Inside the bar.

    def inside(self, index: int, bar: Bar) -> list[Outcome]:
        """What happens between the open and the close of bar `index`."""
        touched = [order for order in self.orders.values() if order.path_from <= index and self._is_touched(order, bar)]
        if not touched:
            return []
        low_first = (bar.open, bar.low, bar.high, bar.close)
        if len(touched) == 1 and touched[0].order_type is not OrderType.STOP_LIMIT:
            return self._walk(index, bar.ts_event, low_first)
        high_first = (bar.open, bar.high, bar.low, bar.close)
        if self._worth(self._trial(index, bar, high_first), bar.close) < self._worth(
            self._trial(index, bar, low_first), bar.close
        ):
            return self._walk(index, bar.ts_event, high_first)
        return self._walk(index, bar.ts_event, low_first)

    def _is_touched(self, order: BarOrder, bar: Bar) -> bool:
        if order.is_parked:
            return bar.high >= order.trigger_price if order.side is Side.BUY else bar.low <= order.trigger_price
        if order.takes_any_price:
            return False  # waits for an open
        return bar.low <= order.price if order.side is Side.BUY else bar.high >= order.price

    def _trial(self, index: int, bar: Bar, path: Sequence[int]) -> list[Outcome]:
        """The outcomes of a path, on copies: nothing changes here."""
        trial = copy.copy(self)
        trial.orders = {key: copy.copy(order) for key, order in self.orders.items()}
        return trial._walk(index, bar.ts_event, path)

    def _worth(self, outcomes: Sequence[Outcome], close: int) -> int:
        """Profit of the fills at the close, fees taken off; 10^-MONEY_SCALE of the settlement currency."""
        instrument = self.instrument
        total = 0
        for outcome in outcomes:
            if outcome.liquidity is None:
                continue
            signed = outcome.qty if outcome.order.side is Side.BUY else -outcome.qty
            total += instrument.profit(instrument.notional(outcome.price, signed), instrument.notional(close, signed))
            total -= instrument.commission(outcome.price, outcome.qty, self.fee_rate(outcome.liquidity))
        return total

    def fee_rate(self, liquidity: LiquiditySide) -> int:
        return self.instrument.maker_fee_rate if liquidity is LiquiditySide.MAKER else self.instrument.taker_fee_rate

    def _walk(self, index: int, ts: int, path: Sequence[int]) -> list[Outcome]:
        """Follow the price along `path`; orders meet it one after the other."""
        outcomes: list[Outcome] = []
        for start, end in pairwise(path):
            if start == end:
                continue
            price = start
            done: set[int] = set()  # had their turn on this leg
            while True:
                order = self._next(index, ts, price, end, end < start, done)
                if order is None:
                    break
                if order.is_parked:
                    price = order.trigger_price
                    self._trigger(order, price, outcomes)
                else:
                    price = order.price
                    self._fill(order, price, LiquiditySide.MAKER, outcomes)
                done.add(order.client_order_id)
        return outcomes

    def _next(self, index: int, ts: int, price: int, end: int, is_down: bool, done: set[int]) -> BarOrder | None:
        """The order that the price meets first between `price` and `end`; a stop before a limit, then the older one."""
        best: BarOrder | None = None
        best_key = (0, 0)
        for order in self.orders.values():
            if order.path_from > index or order.client_order_id in done or order.takes_any_price or order.expire_ts < ts:
                continue
            # Going down the price meets bids and stops to sell, going up offers and stops to buy.
            is_parked = order.is_parked
            if (order.side is Side.BUY) is not (is_down is not is_parked):
                continue
            at = order.trigger_price if is_parked else order.price
            beyond = at - end if is_down else end - at
            ahead = price - at if is_down else at - price
            if ahead < 0 or beyond < 0 or (beyond == 0 and not is_parked and not self.rules.fills_on_touch):
                continue
            key = (ahead, 0 if is_parked else 1)
            if best is None or key < best_key:
                best, best_key = order, key
        return best

    def _trigger(self, order: BarOrder, price: int, outcomes: list[Outcome]) -> None:
        order.trigger()
        outcomes.append(Outcome(order))
        is_marketable = order.takes_any_price or (price <= order.price if order.side is Side.BUY else price >= order.price)
        if is_marketable:
            self._take(order, price, outcomes)
        elif order.time_in_force in IMMEDIATE:
            self._cancel(order, IMMEDIATE[order.time_in_force], outcomes)
        order.is_resting = True

    # Fills.

    def open_budget(self, volume: int) -> None:
        """Allow the fills of one bar their share of its volume."""
        share = self.rules.participation_ppm
        self._budget = volume * share // PPM if share else NEVER

    def _fillable(self, order: BarOrder) -> int:
        qty = min(order.leaves_qty, self._budget)
        if order.reduce_only:
            qty = min(qty, max(-self.position_qty if order.side is Side.BUY else self.position_qty, 0))
        return qty - qty % self.instrument.lot

    def _fill(self, order: BarOrder, price: int, liquidity: LiquiditySide, outcomes: list[Outcome]) -> None:
        qty = self._fillable(order)
        if qty > 0:
            order.leaves_qty -= qty
            order.filled_qty += qty
            self._budget -= qty
            self.position_qty += qty if order.side is Side.BUY else -qty
            outcomes.append(Outcome(order, price, qty, order.leaves_qty, liquidity))
        if not order.leaves_qty:
            del self.orders[order.client_order_id]
        elif order.reduce_only and self._has_nothing_to_reduce(order.side):
            self._cancel(order, Reason.REDUCE_ONLY, outcomes)

    def _has_nothing_to_reduce(self, side: Side) -> bool:
        return self.position_qty >= 0 if side is Side.BUY else self.position_qty <= 0

    def _cancel(self, order: BarOrder, reason: Reason, outcomes: list[Outcome]) -> None:
        if self.orders.pop(order.client_order_id, None) is not None:
            outcomes.append(Outcome(order, qty=order.leaves_qty, reason=reason))

    # Arrivals.

    def refusal(self, command: SubmitOrder) -> Reason | None:
        """Why the venue would not take this order; None where it would."""
        instrument = self.instrument
        if command.client_order_id in self.orders:
            return Reason.DUPLICATE_ID
        if command.quantity <= 0 or command.quantity % instrument.lot:
            return Reason.BAD_QTY
        for price in (command.price, command.trigger_price):
            if price is not None and price % instrument.tick:
                return Reason.BAD_TICK
        if command.time_in_force is TimeInForce.OPG or (command.post_only and command.order_type is not OrderType.LIMIT):
            return Reason.BAD_FIELD
        if command.reduce_only and self._has_nothing_to_reduce(command.side):
            return Reason.REDUCE_ONLY
        if command.post_only and command.price is not None and self.would_take(command.side, command.price):
            return Reason.POST_ONLY
        return None

    def would_take(self, side: Side, price: int) -> bool:
        """Whether a limit lies beyond the last price; at it, it may rest."""
        if self.last_price is None:
            return False
        return price > self.last_price if side is Side.BUY else price < self.last_price

    def meets(self, order: BarOrder, price: int) -> bool:
        """Whether the market at `price` would fill or trigger the order at once."""
        if order.takes_any_price:
            return True
        is_buy = order.side is Side.BUY
        if order.is_parked:
            return price >= order.trigger_price if is_buy else price <= order.trigger_price
        return price <= order.price if is_buy else price >= order.price
