"""Price checks: is there a market to trade on, is the price on its tick and inside the collar, what is the order worth.

`Bounds` is what all checks of one instrument read: its limits, rules and state, side by side.
"""

from __future__ import annotations

from typing import Any

from core.enums import OrderType, Side, TimeInForce
from core.market_state import MarketState
from core.risk_limits import PPM, Denied, InstrumentLimits
from core.units import INT64_MAX

# An enumeration's member costs a look-up in its class each time; these names cost none.
_BUY = Side.BUY
_LIMIT = OrderType.LIMIT


class Bounds:
    __slots__ = (
        "age_ns_max",
        "collar_ppm",
        "instrument",
        "is_locked_denied",
        "lot",
        "notional_max",
        "open_orders_max",
        "position_max",
        "price_max",
        "price_min",
        "qty_max",
        "qty_min",
        "reach",
        "reference",
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
        self.open_orders_max = limits.open_orders_max
        self.is_locked_denied = limits.is_locked_denied
        self.lot = instrument.lot
        self.qty_min = instrument.qty_min
        self.tick = instrument.tick
        self.price_min = instrument.price_min
        self.price_max = instrument.price_max
        # Of the last order that check_price let pass: the market's price, and the worst that the order may trade at.
        self.reference = 0
        self.reach = 0


def check_price(
    bounds: Bounds, now: int, side: Side, qty: int, order_type: OrderType, price: int | None, trigger_price: int | None
) -> Denied | None:
    quote = bounds.state.quote
    if quote is not None and quote.bid_price >= quote.ask_price and quote.bid_qty > 0 and quote.ask_qty > 0:
        if quote.bid_price > quote.ask_price:
            return Denied("market_crossed", quote.bid_price, quote.ask_price)
        if bounds.is_locked_denied:
            return Denied("market_locked", quote.bid_price, quote.ask_price)
    if quote is not None and not bounds.age_ns_max and (quote.ask_qty if side is _BUY else quote.bid_qty) > 0:
        # What _reference would find, without the call: with a two-sided market it is nearly always this.
        reference = quote.ask_price if side is _BUY else quote.bid_price
    else:
        found = _reference(bounds, now, side)
        if found is None:
            return _no_reference(bounds, now)
        reference = found
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
        judged = _check_price_other(bounds, reference, width, side, order_type, price, trigger_price)
        if isinstance(judged, Denied):
            return judged
        worst = judged
    bounds.reference = reference
    bounds.reach = worst
    # What crosses the market may trade at the market's price too: the dearer end counts.
    if worst >= reference if side is _BUY else worst <= reference:
        worst = min(worst, reference) if bounds.instrument.is_inverse else max(worst, reference, key=abs)
    notional = abs(bounds.instrument.notional(worst, qty))
    if not notional <= bounds.notional_max:
        return Denied("order_notional_max", notional, bounds.notional_max)
    return None


def _check_price_other(
    bounds: Bounds,
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


def _reference(bounds: Bounds, now: int, side: Side) -> int | None:
    """The opposite best price; the last trade where that side is empty; None when there is neither, or both are too old."""
    age_max = bounds.age_ns_max
    state = bounds.state
    quote = state.quote
    # By the venue's stamp too: what was long on its way here, or waited in our own queue, is no market any more.
    if quote is not None and (not age_max or (now - quote.ts_init <= age_max and now - quote.ts_event <= age_max)):
        if side is _BUY:
            if quote.ask_qty > 0:
                return quote.ask_price
        elif quote.bid_qty > 0:
            return quote.bid_price
    trade = state.trade
    if trade is not None and (not age_max or (now - trade.ts_init <= age_max and now - trade.ts_event <= age_max)):
        return trade.price
    return None


def _no_reference(bounds: Bounds, now: int) -> Denied:
    """There is no market, or there was one and it is too old: the age of the younger of quote and trade then says how much."""
    stamps = [min(seen.ts_event, seen.ts_init) for seen in (bounds.state.quote, bounds.state.trade) if seen is not None]
    age = now - max(stamps) if stamps else 0
    if bounds.age_ns_max and age > bounds.age_ns_max:
        return Denied("market_age_ns_max", age, bounds.age_ns_max)
    return Denied("market_missing", 0, 1)


def check_fields(command: Any) -> Denied | None:
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
