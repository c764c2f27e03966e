"""The risk gate: the one place that makes an Approved command. Whatever is missing or not a number is a denial.

In order: trading state, instrument allowed, quantity, market status, order rate, worst-case position (position plus everything
still open), then the price (core/risk_price.py), then what is limited over the account and for each strategy
(core/risk_pre_trade.py). Cancels always pass: they only reduce risk. docs/RISK.md has the catalogue of denials.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from core.approved import _SEAL, Approved
from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import MarketStatus, OrderStatus, Side, TradingState
from core.errors import ConfigError
from core.market_state import MarketState
from core.orders import Order
from core.risk_limits import PPM, Denied, InstrumentLimits, RateLimit
from core.risk_pre_trade import PreTrade
from core.risk_price import Bounds, check_fields, check_price
from core.risk_states import TradingStates

__all__ = ["PPM", "Denied", "InstrumentLimits", "RateLimit", "RiskGate"]

# An enumeration's member costs a look-up in its class each time; these names cost none.
_BUY, _SELL = Side.BUY, Side.SELL
_UNKNOWN = OrderStatus.UNKNOWN
_ACTIVE, _HALTED, _TRADING = TradingState.ACTIVE, TradingState.HALTED, MarketStatus.TRADING


# (strategy_id, instrument_id) -> the strategy's own position, and what its open orders may still buy and sell.
HeldBy = Callable[[str, str], tuple[int, int, int]]


class RiskGate:
    """`account`: the checks over the whole account, where any are configured. `held_by` serves strategies that are REDUCING."""

    __slots__ = ("_bounds", "_held_by", "_sent", "account", "limits", "rate", "states")

    def __init__(
        self,
        states: dict[str, MarketState],
        limits: dict[str, InstrumentLimits],
        rate: RateLimit,
        account: PreTrade | None = None,
        trading_states: TradingStates | None = None,
        held_by: HeldBy | None = None,
    ) -> None:
        unknown = sorted(set(limits) - set(states))
        if unknown:
            raise ConfigError(f"risk limits name an instrument that is not configured: {unknown[0]}")
        self.limits = dict(limits)
        self._bounds = {key: Bounds(states[key], value) for key, value in limits.items()}
        self.rate = rate
        # As core/risk_rates.py counts, in place: every order passes here.
        self._sent: deque[int] = deque(maxlen=rate.orders_max)
        self.account = account
        self.states = trading_states or TradingStates()
        self._held_by = held_by

    @property
    def trading_state(self) -> TradingState:
        """Of the account; strategies may be under a stricter one of their own (`states`)."""
        return self.states.account

    def submit(self, command: SubmitOrder) -> Approved | Denied:
        key = command.instrument_id
        bounds = self._bounds.get(key) if type(key) is str else None
        if bounds is None:
            return Denied("instrument_allowed", 0, 1)
        qty = command.quantity
        side = command.side
        now = command.ts
        denied = self._check_exposure(bounds, now, command.strategy_id, side, qty, qty)
        if denied is not None:
            return denied
        open_orders_max = bounds.open_orders_max
        if open_orders_max and not bounds.state.open_orders < open_orders_max:
            return Denied("open_orders_max", bounds.state.open_orders + 1, open_orders_max)
        denied = check_price(bounds, now, side, qty, command.order_type, command.price, command.trigger_price)
        if denied is None:
            denied = check_fields(command)
        if denied is not None:
            return denied
        account = self.account
        watch = bounds.state.watch
        if account is not None and watch is not None:
            states = self.states
            is_closing = states.is_restricted and states.of(command.strategy_id) is not _ACTIVE
            denied = account.admit(
                watch, command.strategy_id, side, qty, bounds.reference, bounds.reach, command.price, now, is_closing, None
            )
            if denied is not None:
                return denied
        self._sent.append(now)
        return Approved(command, _SEAL)

    def replace(self, command: ReplaceOrder, order: Order) -> Approved | Denied:
        key = order.instrument_id
        bounds = self._bounds.get(key)
        if bounds is None:
            return Denied("instrument_allowed", 0, 1)
        if order.price is None:
            return Denied("replace_without_price", 0, 1)
        qty = command.quantity
        side = order.side
        now = command.ts
        added = max(qty - order.reserved_qty, 0) if type(qty) is int else 0
        denied = self._check_exposure(bounds, now, order.strategy_id, side, qty, added)
        if denied is None:
            denied = check_price(bounds, now, side, qty, order.order_type, command.price, order.trigger_price)
        if denied is not None:
            return denied
        account = self.account
        watch = bounds.state.watch
        if account is not None and watch is not None:
            states = self.states
            is_closing = states.is_restricted and states.of(order.strategy_id) is not _ACTIVE
            denied = account.admit(
                watch, order.strategy_id, side, added, bounds.reference, bounds.reach, command.price, now, is_closing, order
            )
            if denied is not None:
                return denied
        self._sent.append(now)
        return Approved(command, _SEAL)

    def cancel(self, command: CancelOrder | CancelAll) -> Approved:
        if self.account is not None:
            self.account.canceled(command.ts)
        return Approved(command, _SEAL)

    def _check_exposure(self, bounds: Bounds, now: int, strategy_id: str, side: Side, qty: int, added: int) -> Denied | None:
        # Written as "deny unless inside", never "deny if above": what does not compare is denied.
        if not (type(qty) is int and 0 < qty <= bounds.qty_max):
            return Denied("order_qty_max", qty if type(qty) is int else 0, bounds.qty_max)
        if qty % bounds.lot or qty < bounds.qty_min:
            return Denied("instrument_lot", qty, bounds.lot)
        state = bounds.state
        if self.states.is_restricted:
            denied = self._check_trading_state(state, strategy_id, side, added)
            if denied is not None:
                return denied
        if state.status is not _TRADING:
            return Denied("market_status", state.status, MarketStatus.TRADING)
        if state.is_gapped and state.quote is None:
            return Denied("market_gap", 1, 0)
        if state.unknown and added:
            # Whatever became of it: the same thing is not wanted twice.
            unknown = _unknown_qty(state, strategy_id, side)
            if unknown:
                return Denied("order_unknown", unknown, 0)
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

    def _check_trading_state(self, state: MarketState, strategy_id: str, side: Side, added: int) -> Denied | None:
        states = self.states
        trading_state = states.of(strategy_id)
        if trading_state is _ACTIVE:
            return None
        if trading_state is _HALTED:
            return Denied("trading_state", trading_state, _ACTIVE)
        closing = _closing_qty(side, state.position.qty, state.open_buy_qty, state.open_sell_qty)
        if states.account is _ACTIVE and self._held_by is not None:
            # Its own state: what counts is its own position, whatever the other strategies hold.
            closing = _closing_qty(side, *self._held_by(strategy_id, state.instrument.instrument_id))
        return None if added <= closing else Denied("trading_state_reducing", added, max(closing, 0))


def _unknown_qty(state: MarketState, strategy_id: str, side: Side) -> int:
    """What the strategy may be getting on this side by orders of whose outcome nobody knows."""
    known = [order_id for order_id, order in state.unknown.items() if order.status is not _UNKNOWN]
    for order_id in known:
        del state.unknown[order_id]
    same = [order for order in state.unknown.values() if order.strategy_id == strategy_id and order.side is side]
    return sum(order.reserved_qty for order in same)


def _closing_qty(side: Side, position: int, open_buy_qty: int, open_sell_qty: int) -> int:
    """How much more may be bought or sold before the position, with all that is open, could pass 0."""
    return -position - open_buy_qty if side is _BUY else position - open_sell_qty
