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
from core.units import NS_PER_SECOND

PPM = 1_000_000


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


class RiskGate:
    __slots__ = ("_limits", "_sent", "_states", "rate", "trading_state")

    def __init__(self, states: dict[str, MarketState], limits: dict[str, InstrumentLimits], rate: RateLimit) -> None:
        unknown = sorted(set(limits) - set(states))
        if unknown:
            raise ConfigError(f"risk limits name an instrument that is not configured: {unknown[0]}")
        self._states = states
        self._limits = limits
        self.rate = rate
        self._sent: deque[int] = deque(maxlen=rate.orders_max)
        self.trading_state = TradingState.ACTIVE

    def submit(self, command: SubmitOrder) -> Approved | Denied:
        limits = self._limits.get(command.instrument_id) if type(command.instrument_id) is str else None
        if limits is None:
            return Denied("instrument_allowed", 0, 1)
        malformed = _malformed_field(command)
        if malformed is not None:
            return Denied(f"order_{malformed}", 0, 1)
        state = self._states[command.instrument_id]
        denied = self._check(
            state,
            limits,
            command.ts,
            command.side,
            command.quantity,
            command.quantity,
            command.order_type,
            command.price,
            command.trigger_price,
        )
        if denied is not None:
            return denied
        self._sent.append(command.ts)
        return Approved(command, _SEAL)

    def replace(self, command: ReplaceOrder, order: Order) -> Approved | Denied:
        limits = self._limits.get(order.instrument_id)
        if limits is None:
            return Denied("instrument_allowed", 0, 1)
        if order.price is None:
            return Denied("replace_without_price", 0, 1)
        state = self._states[order.instrument_id]
        added = max(command.quantity - order.reserved_qty, 0) if type(command.quantity) is int else 0
        denied = self._check(
            state, limits, command.ts, order.side, command.quantity, added, order.order_type, command.price, order.trigger_price
        )
        if denied is not None:
            return denied
        self._sent.append(command.ts)
        return Approved(command, _SEAL)

    def cancel(self, command: CancelOrder | CancelAll) -> Approved:
        return Approved(command, _SEAL)

    def _check(
        self,
        state: MarketState,
        limits: InstrumentLimits,
        now: int,
        side: Side,
        qty: int,
        added: int,
        order_type: OrderType,
        price: int | None,
        trigger_price: int | None,
    ) -> Denied | None:
        # Written as "deny unless inside", never "deny if above": what does not compare is denied.
        if not (type(qty) is int and 0 < qty <= limits.order_qty_max):
            return Denied("order_qty_max", qty if type(qty) is int else 0, limits.order_qty_max)
        instrument = state.instrument
        if qty % instrument.lot or not instrument.qty_min <= qty <= instrument.qty_max:
            return Denied("instrument_lot", qty, instrument.lot)
        if self.trading_state is not TradingState.ACTIVE:
            denied = self._check_state(state, side, added)
            if denied is not None:
                return denied
        if state.status is not MarketStatus.TRADING:
            return Denied("market_status", state.status, MarketStatus.TRADING)
        if state.is_gapped and state.quote is None:
            return Denied("market_gap", 1, 0)
        sent = self._sent
        if len(sent) == self.rate.orders_max and not now - sent[0] >= self.rate.window_ns:
            return Denied("order_rate_max", len(sent) + 1, self.rate.orders_max)
        position = state.position.qty
        worst = position + state.open_buy_qty + added if side is Side.BUY else state.open_sell_qty + added - position
        if not worst <= limits.position_qty_max:
            return Denied("position_qty_max", worst, limits.position_qty_max)
        return self._check_price(state, limits, now, side, qty, order_type, price, trigger_price)

    def _check_state(self, state: MarketState, side: Side, added: int) -> Denied | None:
        if self.trading_state is TradingState.HALTED:
            return Denied("trading_state", self.trading_state, TradingState.ACTIVE)
        position = state.position.qty
        closing = -position - state.open_buy_qty if side is Side.BUY else position - state.open_sell_qty
        return None if added <= closing else Denied("trading_state_reducing", added, max(closing, 0))

    def _check_price(
        self,
        state: MarketState,
        limits: InstrumentLimits,
        now: int,
        side: Side,
        qty: int,
        order_type: OrderType,
        price: int | None,
        trigger_price: int | None,
    ) -> Denied | None:
        instrument = state.instrument
        needs_price = order_type is OrderType.LIMIT or order_type is OrderType.STOP_LIMIT
        needs_trigger = order_type is OrderType.STOP or order_type is OrderType.STOP_LIMIT
        if needs_price is not (price is not None) or needs_trigger is not (trigger_price is not None):
            return Denied("order_price_missing", 0, 1)
        reference = self._reference(state, limits, now, side)
        if reference is None:
            return Denied("market_missing", 0, 1)
        for given in (price, trigger_price):
            if given is None:
                continue
            # A bool is an int to Python, and a NaN is equal to nothing.
            if type(given) is not int:
                return Denied("order_price_missing", 0, 1)
            if given % instrument.tick or not instrument.price_min <= given <= instrument.price_max:
                return Denied("instrument_tick", given, instrument.tick)
        # A limit that is passive can rest as far away as it likes; what the collar stops is paying too much.
        width = abs(reference) * limits.price_collar_ppm // PPM
        if side is Side.BUY:
            bound = reference + width
            if trigger_price is not None:
                bound = max(bound, trigger_price + width)
            if price is not None and not price <= bound:
                return Denied("price_collar_ppm", price, bound)
        else:
            bound = reference - width
            if trigger_price is not None:
                bound = min(bound, trigger_price - width)
            if price is not None and not price >= bound:
                return Denied("price_collar_ppm", price, bound)
        # A market order is judged at the collar. What crosses the market may also trade at the market's price: the dearer counts.
        worst = bound if price is None else price
        if instrument.is_inverse:
            worst = max(worst, instrument.price_min)
        if worst >= reference if side is Side.BUY else worst <= reference:
            worst = min(worst, reference) if instrument.is_inverse else max(worst, reference, key=abs)
        notional = abs(instrument.notional(worst, qty))
        if not notional <= limits.order_notional_max:
            return Denied("order_notional_max", notional, limits.order_notional_max)
        return None

    def _reference(self, state: MarketState, limits: InstrumentLimits, now: int, side: Side) -> int | None:
        """The opposite best price; the last trade where that side is empty; None when there is neither, or both are too old."""
        age_max = limits.market_age_ns_max
        quote = state.quote
        if quote is not None and (not age_max or now - quote.ts_init <= age_max):
            if side is Side.BUY and quote.ask_qty > 0:
                return quote.ask_price
            if side is Side.SELL and quote.bid_qty > 0:
                return quote.bid_price
        trade = state.trade
        if trade is not None and (not age_max or now - trade.ts_init <= age_max):
            return trade.price
        return None


def _malformed_field(command: Any) -> str | None:
    """The field of a SubmitOrder that is not of its own type, whatever was declared; None when all are.

    A bool, or an int that only looks like an enum, would be read differently further on.
    """
    if type(command.side) is not Side:
        return "side"
    if type(command.order_type) is not OrderType:
        return "order_type"
    if type(command.quantity) is not int:
        return "quantity"
    if type(command.time_in_force) is not TimeInForce:
        return "time_in_force"
    if type(command.post_only) is not bool:
        return "post_only"
    if type(command.reduce_only) is not bool:
        return "reduce_only"
    if type(command.display_qty) is not int or not 0 <= command.display_qty <= max(command.quantity, 0):
        return "display_qty"
    earliest = command.ts + 1 if command.time_in_force is TimeInForce.GTD else 0
    if type(command.expire_ts) is not int or not command.expire_ts >= earliest:
        return "expire_ts"
    return None
