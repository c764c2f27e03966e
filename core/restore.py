"""Takes a Trader's state down as records, and builds it up in a fresh Trader. Nothing of a strategy's own memory is in it."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from core.enums import OrderStatus
from core.errors import StateError
from core.order_store import FOREIGN_ORDER_ID
from core.orders import Order
from core.portfolio import Position
from core.trader_state import CashRecord, LossRecord, OrderRecord, PositionRecord, TraderState
from core.units import NS_PER_SECOND

if TYPE_CHECKING:
    from core.account_risk import LossWatch
    from core.trader import Trader

CLOSED_ORDERS_KEPT_MAX = 1_000  # late answers and fills find them after a restart too
# Executions are asked for again from so long before the last one known: a venue may report two of them out of order. Orders that
# were filled so lately are kept however many they are, so that none of their executions is ever taken for somebody else's.
EXECUTIONS_OVERLAP_NS = 60 * NS_PER_SECOND
FOREIGN_EXECUTIONS_KEPT_MAX = 10_000

_TEXT = frozenset(("filled_value",))
_AT_CREATION = (
    "client_order_id",
    "strategy_id",
    "instrument_id",
    "side",
    "order_type",
    "quantity",
    "price",
    "trigger_price",
    "time_in_force",
    "post_only",
    "reduce_only",
    "display_qty",
    "expire_ts",
    "ts_created",
)
_LATER = tuple(name for name in OrderRecord.__struct_fields__ if name not in _AT_CREATION)
# All of an order in one call: ten thousand are taken down while the loop waits.
_FIELDS_OF = attrgetter(*OrderRecord.__struct_fields__)
_TEXT_AT = tuple(index for index, name in enumerate(OrderRecord.__struct_fields__) if name in _TEXT)


def capture(trader: Trader) -> TraderState:
    """The state as it is now. Reading changes nothing."""
    portfolio, store = trader.portfolio, trader.orders
    positions = [_position_record("", key, position) for key, position in portfolio.by_instrument.items() if position.is_used]
    positions += [_position_record(*key, position) for key, position in portfolio.by_strategy.items() if position.is_used]
    open_orders = store.open_orders()
    # A denied order never left, and may hold anything that a strategy put there.
    closed = [order for order in store.orders.values() if not order.is_open and order.status is not OrderStatus.DENIED]
    late_ts = store.last_fill_ts - EXECUTIONS_OVERLAP_NS
    late = [order for order in closed[:-CLOSED_ORDERS_KEPT_MAX] if order.filled_qty and order.ts_filled >= late_ts]
    kept = {order.client_order_id: order for order in (*late, *closed[-CLOSED_ORDERS_KEPT_MAX:])}
    kept.update((order.client_order_id, order) for order in open_orders)
    executions = store.executions()
    foreign = [execution for execution in executions if execution[0] == FOREIGN_ORDER_ID]
    marks = {}
    for key, state in trader.states.items():
        mark = state.mark()
        if mark is not None:
            marks[key] = (mark[0] + mark[1]) // 2
        elif key in trader.marks_restored:
            marks[key] = trader.marks_restored[key]
    return TraderState(
        cash={currency: str(amount) for currency, amount in sorted(portfolio.cash.items())},
        positions=tuple(positions),
        fills_booked=portfolio.fills_booked,
        trading_state=trader.risk.trading_state,
        orders=tuple(_order_record(kept[key]) for key in sorted(kept)),
        executions=(
            *foreign[-FOREIGN_EXECUTIONS_KEPT_MAX:],
            *(execution for execution in executions if execution[0] in kept),
        ),
        marks=marks,
        strategy_states=tuple(trader.risk.states.strategies()),
        losses=() if trader.account_risk is None else tuple(_loss_record(watch) for watch in trader.account_risk.watches),
        foreign=trader.foreign.capture(),
        memory=trader.memory.capture(),
        client_refs=trader.clients.capture(),
        cash_moved=_cash_record(trader),
        venue_money=tuple((*key, str(amount)) for key, amount in sorted(portfolio.venue_money.items())),
    )


def restore(trader: Trader, state: TraderState) -> None:
    """Build `state` up in a Trader that has done nothing yet.

    Raises StateError where it has, or where the state holds an instrument that is not configured; then nothing was changed.
    """
    portfolio = trader.portfolio
    if trader.orders.orders or trader.order_counter or portfolio.fills_booked or trader.cash.booked:
        raise StateError("a state can be restored only before the first order")
    held = [record.instrument_id for record in state.positions] + [record.instrument_id for record in state.orders]
    for name in held:
        if name not in trader.instruments:
            raise StateError(f"the restored state holds {name!r}, which is not configured")
    portfolio.cash = {currency: int(amount) for currency, amount in state.cash.items()}
    portfolio.venue_money = _venue_money(trader, state)
    portfolio.fills_booked = state.fills_booked
    for record in state.positions:
        key = record.instrument_id
        position = portfolio.position_of(record.strategy_id, key) if record.strategy_id else portfolio.by_instrument[key]
        position.qty = record.qty
        position.value_open = int(record.value_open)
        position.realized_pnl = int(record.realized_pnl)
        position.fees = int(record.fees)
        position.buy_qty, position.sell_qty = record.buy_qty, record.sell_qty
        position.turnover = int(record.turnover)
        position.carry = int(record.carry)
    trader.orders.restore([order_of(each) for each in state.orders], state.executions)
    trader.risk.states.restrict("", state.trading_state)
    for strategy_id, trading_state in state.strategy_states:
        trader.risk.states.restrict(strategy_id, trading_state)
    trader.cash.restore(state.cash_moved)
    trader.marks_restored = dict(state.marks)
    trader.clients.restore(state.client_refs)
    for market in trader.states.values():
        if market.watch is not None:
            market.watch.touch()
    if trader.account_risk is not None:
        trader.account_risk.restored()
        records = {record.strategy_id: record for record in state.losses}
        for watch in trader.account_risk.watches:
            if watch.strategy_id in records:
                _restore_loss(watch, records[watch.strategy_id])
        unshifted = state.cash_moved.unshifted
        trader.account_risk.unshifted = {currency: int(amount) for currency, amount in unshifted.items()}


def _position_record(strategy_id: str, instrument_id: str, position: Position) -> PositionRecord:
    return PositionRecord(
        strategy_id=strategy_id,
        instrument_id=instrument_id,
        qty=position.qty,
        value_open=str(position.value_open),
        realized_pnl=str(position.realized_pnl),
        fees=str(position.fees),
        buy_qty=position.buy_qty,
        sell_qty=position.sell_qty,
        turnover=str(position.turnover),
        carry=str(position.carry),
    )


def _venue_money(trader: Trader, state: TraderState) -> dict[tuple[str, str], int]:
    if state.venue_money is not None:
        return {(venue, currency): int(amount) for venue, currency, amount in state.venue_money}
    # Nobody has counted by venue: whatever cash is short of may be short at each.
    venues = {instrument.venue for instrument in trader.instruments.values() if instrument.pays_notional}
    short = {currency: int(amount) for currency, amount in state.cash.items() if int(amount) < 0}
    return {(venue, currency): amount for venue in sorted(venues) for currency, amount in short.items()}


def _cash_record(trader: Trader) -> CashRecord:
    risk = trader.account_risk
    unshifted = {} if risk is None else {currency: str(amount) for currency, amount in risk.unshifted.items()}
    return msgspec.structs.replace(trader.cash.capture(), unshifted=unshifted)


def _loss_record(watch: LossWatch) -> LossRecord:
    return LossRecord(
        strategy_id=watch.strategy_id,
        equity=None if watch.equity is None else str(watch.equity),
        day=watch.day,
        day_equity=str(watch.day_equity),
        week=watch.week,
        week_equity=str(watch.week_equity),
        peak_equity=str(watch.peak_equity),
        is_unwinding=watch.is_unwinding,
    )


def _restore_loss(watch: LossWatch, record: LossRecord) -> None:
    """A restart is no new day: losses go on from where they were."""
    watch.equity = None if record.equity is None else int(record.equity)
    watch.day, watch.day_equity = record.day, int(record.day_equity)
    watch.week, watch.week_equity = record.week, int(record.week_equity)
    watch.peak_equity = int(record.peak_equity)
    watch.is_unwinding = record.is_unwinding


def _order_record(order: Order) -> OrderRecord:
    values: list[Any] = list(_FIELDS_OF(order))
    for index in _TEXT_AT:
        values[index] = str(values[index])
    return OrderRecord(*values)


def order_of(record: OrderRecord) -> Order:
    """The order that was taken down."""
    order = Order(*(getattr(record, name) for name in _AT_CREATION))
    for name in _LATER:
        value = getattr(record, name)
        setattr(order, name, int(value) if name in _TEXT else value)
    return order
