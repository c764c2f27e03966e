"""What a Trader carries over a restart, as frozen records: cash, positions, orders, known executions and the trading state.

Money and sums are decimal text: turnover and the value of many fills may pass the 64 bits that a MessagePack integer holds.
"""

from __future__ import annotations

import msgspec

from core.enums import CashKind, OrderStatus, OrderType, Side, TimeInForce, TradingState


class PositionRecord(msgspec.Struct, frozen=True, array_like=True):
    """One position (core/portfolio.py); strategy_id "": the account's."""

    strategy_id: str
    instrument_id: str
    qty: int
    value_open: str
    realized_pnl: str
    fees: str
    buy_qty: int
    sell_qty: int
    turnover: str
    carry: str = "0"


class OrderRecord(msgspec.Struct, frozen=True, array_like=True):
    """Every field of core/orders.py's Order, under its own name."""

    client_order_id: int
    strategy_id: str
    instrument_id: str
    side: Side
    order_type: OrderType
    quantity: int
    price: int | None
    trigger_price: int | None
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool
    display_qty: int
    expire_ts: int
    ts_created: int
    ts_updated: int
    status: OrderStatus
    accepted: bool
    triggered: bool
    filled_qty: int
    filled_value: str
    leaves_qty: int
    reserved_qty: int
    replace_qty: int
    replace_price: int
    replace_in_flight: bool
    ts_filled: int
    ts_replaced: int
    venue_leaves_qty: int


class LossRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the loss limits of one scope remember (core/account_risk.py); strategy_id "": the account's."""

    strategy_id: str
    equity: str | None
    day: int
    day_equity: str
    week: int
    week_equity: str
    peak_equity: str
    is_unwinding: bool


class ForeignRecord(msgspec.Struct, frozen=True, array_like=True):
    """What of the venue is not ours (core/foreign.py). Stamps are the venue's, ns UTC; `begun_ts` is ours."""

    orders: tuple[tuple[int, str], ...] = ()  # adopted: client_order_id and the venue's own name
    set_aside: dict[str, int] = {}  # units by instrument that fills brought which were not adopted
    begun_ts: int = 0  # the account's first start
    last_fill_ts: int = 0
    agreed_fill_ts: int = 0  # stamp of the last fill or movement of money known when the venue last agreed


class CashRecord(msgspec.Struct, frozen=True, array_like=True):
    """Money that no fill explains (core/cash.py). Stamps are the venue's, ns UTC."""

    seen: tuple[tuple[str, CashKind, str, int], ...] = ()  # venue, kind, movement_id, ts_event: in the order they were booked
    forgotten: tuple[tuple[str, CashKind, int], ...] = ()  # venue, kind, the latest stamp that is no longer in `seen`
    totals: tuple[tuple[CashKind, str, str], ...] = ()  # kind, currency, money
    last_ts: int = 0
    booked: int = 0
    unshifted: dict[str, str] = {}  # money by currency that loss limits do not know the worth of (core/account_risk.py)


class ClientRefRecord(msgspec.Struct, frozen=True, array_like=True):
    """The order that a client's own name for it has made (core/clients.py), as it was asked for, and the limit that denied it."""

    client_id: str
    client_ref: str
    client_order_id: int
    instrument_id: str
    side: Side
    order_type: OrderType
    quantity: int
    price: int | None
    trigger_price: int | None
    limit: str = ""  # empty: it was not denied
    value: int = 0
    bound: int = 0


class TraderState(msgspec.Struct, frozen=True, array_like=True):
    """`orders` oldest first: all that are open, and the last of the closed ones; `executions` are those of these orders.

    `marks` is the last price seen of each instrument, in points: for display and for a simulated market to go on from.
    """

    cash: dict[str, str]
    positions: tuple[PositionRecord, ...]
    fills_booked: int
    trading_state: TradingState
    orders: tuple[OrderRecord, ...]
    executions: tuple[tuple[int, str], ...]
    marks: dict[str, int]
    strategy_states: tuple[tuple[str, TradingState], ...] = ()  # those that are not ACTIVE
    losses: tuple[LossRecord, ...] = ()
    foreign: ForeignRecord = ForeignRecord()
    client_refs: tuple[ClientRefRecord, ...] = ()  # the oldest first
    memory: tuple[tuple[str, bytes], ...] = ()  # what strategies saved, by their ids
    cash_moved: CashRecord = CashRecord()
    venue_money: tuple[tuple[str, str, str], ...] | None = None  # venue, currency, money; None: of before it was kept
