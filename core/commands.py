"""Everything the Trader can ask of the world, as frozen records; `Approved` is the only form an engine accepts."""

from __future__ import annotations

import msgspec

from core.enums import OrderType, Side, TimeInForce


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ts: int  # the Trader's now when it was made


class SubmitOrder(Command, frozen=True, array_like=True, gc=False, tag="submit"):
    """price is None for MARKET and STOP; trigger_price is None but for STOP and STOP_LIMIT."""

    client_order_id: int
    strategy_id: str
    instrument_id: str
    side: Side
    order_type: OrderType
    quantity: int
    price: int | None
    trigger_price: int | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    display_qty: int = 0
    expire_ts: int = 0


class CancelOrder(Command, frozen=True, array_like=True, gc=False, tag="cancel"):
    client_order_id: int


class ReplaceOrder(Command, frozen=True, array_like=True, gc=False, tag="replace"):
    """`quantity` is the new remaining quantity. Smaller at the same price keeps the place in the queue.

    It is counted from `filled_qty`, the fills known when the command was made: a fill on its way here comes off it, as it does
    at every venue that counts an amended order's total. Without that, the fill and the whole new quantity could both happen.
    """

    client_order_id: int
    quantity: int
    price: int
    filled_qty: int = 0


class CancelAll(Command, frozen=True, array_like=True, gc=False, tag="cancel_all"):
    """instrument_id None: every instrument."""

    instrument_id: str | None


class SetTimer(Command, frozen=True, array_like=True, gc=False, tag="set_timer"):
    timer_id: int
    at: int


class CancelTimer(Command, frozen=True, array_like=True, gc=False, tag="cancel_timer"):
    timer_id: int


OrderCommand = SubmitOrder | CancelOrder | ReplaceOrder | CancelAll
TimerCommand = SetTimer | CancelTimer
AnyCommand = OrderCommand | TimerCommand
