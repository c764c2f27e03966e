"""The risk gate: the one place that makes an Approved command. Whatever is missing or not a number is a denial.

Pre-trade checks of this gate: trading state, instrument allowed, order quantity, price on tick and inside a collar around the
market, notional, worst-case position (position plus everything still open), order rate. Cancels always pass: they
only reduce risk.
"""

from __future__ import annotations

from collections import deque
from typing import Any, final

import msgspec

from core.approved import _SEAL, Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import MarketStatus, OrderType, Side, TimeInForce, TradingState
from core.errors import ConfigError
from core.market_state import MarketState
from core.orders import Order
from core.units import INT64_MAX, NS_PER_SECOND

PPM = 1_000_000

# An enumeration's member costs a look-up in its class each time; these names cost none.
_BUY, _SELL = Side.BUY, Side.SELL
_LIMIT = OrderType.LIMIT
_ACTIVE, _TRADING = TradingState.ACTIVE, MarketStatus.TRADING


class InstrumentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for one instrument; quantities in its units, money in 10^-MONEY_SCALE of the settlement currency."""

    order_qty_max: int
    order_notional_max: int
    position_qty_max: int
    price_collar_ppm: int  # how far past the opposite best a buy may bid (a sell may offer), millionths
    market_age_ns_max: int = 0  # 0: a quote of any age will do

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            # bool is an int to Python, and a NaN that got this far would make every comparison False.
            if type(value) is not int or value < 0:
                raise ConfigError(f"risk limit {name} must be a whole number of 0 or more, not {value!r}")


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `orders_max` new or replaced orders in any window of `window_ns`."""

    orders_max: int
    window_ns: int = NS_PER_SECOND

    def __post_init__(self) -> None:
        if type(self.orders_max) is not int or self.orders_max < 1 or type(self.window_ns) is not int or self.window_ns < 1:
            raise ConfigError(
                f"order rate needs a whole number of orders and of ns above 0, not {self.orders_max!r} per {self.window_ns!r}"
            )


@final
class Denied(msgspec.Struct, frozen=True, gc=False):
    """A refusal: which limit, the value that broke it, and the bound, in that limit's units."""

    limit: str
    value: int
    bound: int


class _Bounds:
    """Limits, rules and state of one instrument, side by side: what one check reads."""

    __slots__ = (
        "age_ns_max",
        "collar_ppm",
        "instrument",
        "lot",
        "notional_max",
        "position_max",
        "price_max",
        "price_min",
        "qty_max",
        "qty_min",
        "state",
        "tick",
    )

    def __init__(self, state: MarketState, limits: InstrumentLimits) -> None:
        instrument = state.instrument
        self.state = state
        self.instrument = instrument
        self.qty_max = min(limits.order_qty_max, instrument.qty_max)
        self.notional_max = limits.order_notional_max
        self.position_max = limits.position_qty_max
        self.collar_ppm = limits.price_collar_ppm
        self.age_ns_max = limits.market_age_ns_max
        self.lot = instrument.lot
        self.qty_min = instrument.qty_min
        self.tick = instrument.tick
        self.price_min = instrument.price_min
        self.price_max = instrument.price_max


class RiskGate:
    __slots__ = ("_bounds", "_sent", "limits", "rate", "trading_state")

    def __init__(self, states: dict[str, MarketState], limits: dict[str, InstrumentLimits], rate: RateLimit) -> None:
        unknown = sorted(set(limits) - set(states))
        if unknown:
            raise ConfigError(f"risk limits name an instrument that is not configured: {unknown[0]}")
        self.limits = dict(limits)
        self._bounds = {key: _Bounds(states[key], value) for key, value in limits.items()}
        self.rate = rate
        self._sent: deque[int] = deque(maxlen=rate.orders_max)
        self.trading_state = TradingState.ACTIVE

    def submit(self, command: SubmitOrder) -> Approved | Denied:
        bounds = self._bounds.get(command.instrument_id) if type(command.instrument_id) is str else None
        if bounds is None:
            return Denied("instrument_allowed", 0, 1)
        qty = command.quantity
        side = command.side
        denied = self._check_exposure(bounds, command.ts, side, qty, qty)
        if denied is None:
            denied = self._check_price(bounds, command.ts, side, qty, command.order_type, command.price, command.trigger_price)
        if denied is None:
            denied = _check_fields(command)
        if denied is not None:
            return denied
        self._sent.append(command.ts)
        return Approved(command, _SEAL)

    def replace(self, command: ReplaceOrder, order: Order) -> Approved | Denied:
        bounds = self._bounds.get(order.instrument_id)
        if bounds is None:
            return Denied("instrument_allowed", 0, 1)
        if order.price is None:
            return Denied("replace_without_price", 0, 1)
        qty = command.quantity
        added = max(qty - order.reserved_qty, 0) if type(qty) is int else 0
        denied = self._check_exposure(bounds, command.ts, order.side, qty, added)
        if denied is None:
            denied = self._check_price(bounds, command.ts, order.side, qty, order.order_type, command.price, order.trigger_price)
        if denied is not None:
            return denied
        self._sent.append(command.ts)
        return Approved(command, _SEAL)

    def cancel(self, command: CancelOrder | CancelAll) -> Approved:
        return Approved(command, _SEAL)

    def _check_exposure(self, bounds: _Bounds, now: int, side: Side, qty: int, added: int) -> Denied | None:
        # Written as "deny unless inside", never "deny if above": what does not compare is denied.
        if not (type(qty) is int and 0 < qty <= bounds.qty_max):
            return Denied("order_qty_max", qty if type(qty) is int else 0, bounds.qty_max)
        if qty % bounds.lot or qty < bounds.qty_min:
            return Denied("instrument_lot", qty, bounds.lot)
        state = bounds.state
        if self.trading_state is not _ACTIVE:
            denied = self._check_trading_state(state, side, added)
            if denied is not None:
                return denied
        if state.status is not _TRADING:
            return Denied("market_status", state.status, MarketStatus.TRADING)
        if state.is_gapped and state.quote is None:
            return Denied("market_gap", 1, 0)
        sent = self._sent
        if len(sent) == self.rate.orders_max and not now - sent[0] >= self.rate.window_ns:
            return Denied("order_rate_max", len(sent) + 1, self.rate.orders_max)
        if side is _BUY:
            worst = state.position.qty + state.open_buy_qty + added
        elif side is _SELL:
            worst = state.open_sell_qty + added - state.position.qty
        else:
            return Denied("order_side", 0, 1)
        if not worst <= bounds.position_max:
            return Denied("position_qty_max", worst, bounds.position_max)
        return None

    def _check_trading_state(self, state: MarketState, side: Side, added: int) -> Denied | None:
        if self.trading_state is TradingState.HALTED:
            return Denied("trading_state", self.trading_state, TradingState.ACTIVE)
        position = state.position.qty
        closing = -position - state.open_buy_qty if side is _BUY else position - state.open_sell_qty
        return None if added <= closing else Denied("trading_state_reducing", added, max(closing, 0))

    def _check_price(
        self,
        bounds: _Bounds,
        now: int,
        side: Side,
        qty: int,
        order_type: OrderType,
        price: int | None,
        trigger_price: int | None,
    ) -> Denied | None:
        quote = bounds.state.quote
        if quote is not None and quote.bid_price > quote.ask_price and quote.bid_qty > 0 and quote.ask_qty > 0:
            return Denied("market_crossed", quote.bid_price, quote.ask_price)
        reference = self._reference(bounds, now, side)
        if reference is None:
            return Denied("market_missing", 0, 1)
        if not reference >= bounds.price_min:
            return Denied("market_price", reference, bounds.price_min)
        # A passive limit may rest as far away as it likes; what the collar stops is paying too much.
        width = abs(reference) * bounds.collar_ppm // PPM
        if order_type is _LIMIT:
            if not (type(price) is int and trigger_price is None):
                return Denied("order_price_missing", 0, 1)
            if price % bounds.tick or not bounds.price_min <= price <= bounds.price_max:
                return Denied("instrument_tick", price, bounds.tick)
            if side is _BUY:
                if not price <= reference + width:
                    return Denied("price_collar_ppm", price, reference + width)
            elif not price >= reference - width:
                return Denied("price_collar_ppm", price, reference - width)
            worst = price
        else:
            judged = self._check_price_other(bounds, reference, width, side, order_type, price, trigger_price)
            if isinstance(judged, Denied):
                return judged
            worst = judged
        # What crosses the market may trade at the market's price too: the dearer end counts.
        if worst >= reference if side is _BUY else worst <= reference:
            worst = min(worst, reference) if bounds.instrument.is_inverse else max(worst, reference, key=abs)
        notional = abs(bounds.instrument.notional(worst, qty))
        if not notional <= bounds.notional_max:
            return Denied("order_notional_max", notional, bounds.notional_max)
        return None

    def _check_price_other(
        self,
        bounds: _Bounds,
        reference: int,
        width: int,
        side: Side,
        order_type: OrderType,
        price: int | None,
        trigger_price: int | None,
    ) -> Denied | int:
        """Market, stop and stop-limit orders: a refusal, or the worst price at which their value is judged."""
        needs_price = order_type is OrderType.STOP_LIMIT
        needs_trigger = needs_price or order_type is OrderType.STOP
        if not needs_trigger and order_type is not OrderType.MARKET:
            return Denied("order_type", 0, 1)
        if needs_price is not (price is not None) or needs_trigger is not (trigger_price is not None):
            return Denied("order_price_missing", 0, 1)
        for given in (price, trigger_price):
            # Not isinstance: a bool is an int to Python, and a NaN is equal to nothing.
            if given is not None and type(given) is not int:
                return Denied("order_price_missing", 0, 1)
            if given is not None and (given % bounds.tick or not bounds.price_min <= given <= bounds.price_max):
                return Denied("instrument_tick", given, bounds.tick)
        # A stop is judged around the price at which it would wake, when that is the worse one.
        wake = trigger_price if trigger_price is not None else reference
        if side is _BUY:
            bound = max(reference, wake) + width
            if price is not None and not price <= bound:
                return Denied("price_collar_ppm", price, bound)
            return price if price is not None else bound
        bound = min(reference, wake) - width
        if price is not None and not price >= bound:
            return Denied("price_collar_ppm", price, bound)
        return price if price is not None else max(bound, bounds.price_min)

    def _reference(self, bounds: _Bounds, now: int, side: Side) -> int | None:
        """The opposite best price; the last trade where that side is empty; None when there is neither, or both are too old."""
        age_max = bounds.age_ns_max
        state = bounds.state
        quote = state.quote
        if quote is not None and (not age_max or now - quote.ts_init <= age_max):
            if side is _BUY:
                if quote.ask_qty > 0:
                    return quote.ask_price
            elif quote.bid_qty > 0:
                return quote.bid_price
        trade = state.trade
        if trade is not None and (not age_max or now - trade.ts_init <= age_max):
            return trade.price
        return None


def _check_fields(command: Any) -> Denied | None:
    """Refuses a SubmitOrder with a field that is not of its own type, whatever was declared, or that contradicts another.

    A bool, or an int that only looks like an enumeration's member, would be read differently further on.
    """
    if type(command.time_in_force) is not TimeInForce:
        return Denied("order_time_in_force", 0, 1)
    if type(command.post_only) is not bool or type(command.reduce_only) is not bool:
        return Denied("order_flags", 0, 1)
    display_qty = command.display_qty
    if type(display_qty) is not int or not 0 <= display_qty <= command.quantity:
        return Denied("order_display_qty", 0, command.quantity)
    expire_ts = command.expire_ts
    earliest = command.ts + 1 if command.time_in_force is TimeInForce.GTD else 0
    if type(expire_ts) is not int or not earliest <= expire_ts <= INT64_MAX:
        return Denied("order_expire_ts", 0, earliest)
    return None
