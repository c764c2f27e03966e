"""Everything that can happen, as frozen records. The same definition is the journal's codec: append fields, never move them.

ts_event is the venue's stamp, ts_init ours, both int64 ns UTC. The Trader's "now" is ts_init.
Prices in points, quantities in units, money in 10^-MONEY_SCALE (core/instruments.py).
"""

from __future__ import annotations

import msgspec

from core.enums import AggressorSide, CashKind, LiquiditySide, MarketStatus, OrderType, Reason, Side, TimeInForce, TradingState
from core.trader_state import TraderState


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ts_event: int
    ts_init: int


# Market.


class Quote(Event, frozen=True, array_like=True, gc=False, tag="quote"):
    """Best bid and offer. A side is empty when its quantity is 0; its price then means nothing."""

    instrument_id: str
    bid_price: int
    bid_qty: int
    ask_price: int
    ask_qty: int


class Trade(Event, frozen=True, array_like=True, gc=False, tag="trade"):
    """A public print."""

    instrument_id: str
    price: int
    qty: int
    aggressor_side: AggressorSide
    trade_id: int = 0


class Bar(Event, frozen=True, array_like=True, gc=False, tag="bar"):
    """Open, high, low, close over [ts_event - interval_ns, ts_event): known only at its end."""

    instrument_id: str
    open: int
    high: int
    low: int
    close: int
    volume: int
    interval_ns: int


class Book(Event, frozen=True, array_like=True, tag="book"):
    """The best levels, best first: (price, quantity) pairs."""

    instrument_id: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class StatusChanged(Event, frozen=True, array_like=True, gc=False, tag="status"):
    instrument_id: str
    status: MarketStatus


class GapDetected(Event, frozen=True, array_like=True, gc=False, tag="gap"):
    """The feed lost data: the book is unknown until it is rebuilt."""

    instrument_id: str


# Time and control.


class TimerFired(Event, frozen=True, array_like=True, gc=False, tag="timer"):
    timer_id: int


class Started(Event, frozen=True, array_like=True, gc=False, tag="started"):
    """First event of every run."""

    run_id: str


class Stopping(Event, frozen=True, array_like=True, gc=False, tag="stopping"):
    """The last event a strategy sees; is_final: it does not even hear of what becomes of its orders."""

    reason: str
    is_final: bool = False


class TradingStateSet(Event, frozen=True, array_like=True, gc=False, tag="trading_state"):
    """An operator or the guardian made trading stricter. Towards ACTIVE it changes nothing: that takes a TradingResumed.

    strategy_id "": the account.
    """

    state: TradingState
    reason: str
    strategy_id: str = ""


class TradingResumed(Event, frozen=True, array_like=True, gc=False, tag="trading_resumed"):
    """The one way back towards ACTIVE (core/risk_states.py): somebody says why. strategy_id "": the account."""

    reason: str
    state: TradingState = TradingState.ACTIVE
    strategy_id: str = ""


class LimitTripped(Event, frozen=True, array_like=True, tag="limit_tripped"):
    """Made by the Trader, like OrderDenied: a limit of the account ("") or of a strategy was passed, and `state` is in effect.

    `value` and `bound` in the units of that limit; `inputs` are the numbers that the value was made of, each with its name.
    """

    strategy_id: str
    state: TradingState
    limit: str
    value: int
    bound: int
    inputs: tuple[tuple[str, int], ...]


class StateRestored(Event, frozen=True, array_like=True, tag="restored"):
    """Where this run begins: what the runs before it left. Facts that the venue adds follow, then Started.

    Until Started no strategy hears of anything.
    """

    previous_run: int  # 0: there was none
    state: TraderState


class Reconciled(Event, frozen=True, array_like=True, gc=False, tag="reconciled"):
    """Orders, fills and positions agree with what the venue says, after `facts` events that said what had changed."""

    facts: int


class ControlRequested(Event, frozen=True, array_like=True, gc=False, tag="control"):
    """Somebody asked for something over the control socket or by a signal: who and why. What follows from it are events too."""

    action: str
    uid: int  # of the process that asked; -1: a signal, or the daemon itself
    reason: str


class Heartbeat(Event, frozen=True, array_like=True, gc=False, tag="heartbeat"):
    """The daemon's proof of work: it waits in the inbox like any event; what sees it answered knows the loop works."""

    number: int  # from 1 in each run


class CancelAllRequested(Event, frozen=True, array_like=True, gc=False, tag="cancel_all_requested"):
    """Every open order is to be canceled, in any trading state."""

    reason: str


class FlattenRequested(Event, frozen=True, array_like=True, gc=False, tag="flatten_requested"):
    """Every strategy's position is to be closed at the market, by reduce-only orders through the risk gate."""

    reason: str


# What strategies remember over a restart (core/memory.py).


class MemoryRequested(Event, frozen=True, array_like=True, gc=False, tag="memory_requested"):
    """Every strategy that has something to remember is asked for it."""


class StrategySaved(Event, frozen=True, array_like=True, gc=False, tag="strategy_saved"):
    """Made by the Trader, like OrderDenied: what the strategy wants to have back, as MessagePack."""

    strategy_id: str
    memory: bytes


# What is at the venue and not ours: orders and fills that no command of ours explains (docs/PAPER.md says what becomes of them).


class ForeignOrderFound(Event, frozen=True, array_like=True, gc=False, tag="foreign_order"):
    """Adopted: from here on an order of the strategy "(foreign)". `quantity` is what was left; price None: it waits as a stop."""

    client_order_id: int  # given by us
    instrument_id: str
    side: Side
    price: int | None
    quantity: int
    venue_order_id: str


class ForeignFilled(Event, frozen=True, array_like=True, gc=False, tag="foreign_fill"):
    """A trade by hand, a forced one, one of a foreign order. Adopted, it is booked; else the venue's position differs by it."""

    instrument_id: str
    execution_id: str
    side: Side
    price: int
    qty: int
    liquidity_side: LiquiditySide
    commission: int
    commission_currency: str
    is_adopted: bool


class VenueCompared(Event, frozen=True, array_like=True, gc=False, tag="compared"):
    """Orders, executions and positions were held against the venue's: what that added, and what still differs.

    `ts_event` is by the venue's own clock where that is known.

    `is_whole` False: only some of several venues have said anything.
    """

    facts: int
    differences: int
    is_whole: bool = True


class CashMoved(Event, frozen=True, array_like=True, gc=False, tag="cash_moved"):
    """The venue moved money that no fill explains. `amount` in 10^-MONEY_SCALE of `currency`, > 0: ours grew.

    `movement_id` is the venue's own name of it, unique at this venue for this account: booked once, however often it is said
    (core/cash.py). What a fill carries, its commission and the profit it realised, is not said again.
    """

    venue: str
    movement_id: str
    kind: CashKind
    currency: str
    amount: int
    instrument_id: str = ""  # "": of the account
    client_order_id: int = 0  # a COMMISSION of this order


class PositionCorrected(Event, frozen=True, array_like=True, gc=False, tag="corrected"):
    """A person has put our position right where no execution does: a split, an expiry, a delivery. Booked at `price`, no fee.

    `strategy_id` "": shared out among those who hold the instrument, by what they hold.
    """

    instrument_id: str
    side: Side
    price: int
    qty: int
    strategy_id: str = ""


# Client programs (core/clients.py): what a program outside asks for, as it was let in.


class ClientOrderRequested(Event, frozen=True, array_like=True, gc=False, tag="client_order"):
    """A client wants this order. `client_ref` is its own name for it: one that was used before makes no second order."""

    client_id: str
    client_ref: str
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


class ClientCancelRequested(Event, frozen=True, array_like=True, gc=False, tag="client_cancel"):
    """client_id "": an operator, who may cancel anybody's order."""

    client_id: str
    client_order_id: int


class ClientReplaceRequested(Event, frozen=True, array_like=True, gc=False, tag="client_replace"):
    """`quantity` is the new remaining quantity."""

    client_id: str
    client_order_id: int
    quantity: int
    price: int


# Orders. client_order_id is ours (core/identifiers.py); venue ids appear at the adapter's edge and in OrderAccepted.


class OrderEvent(Event, frozen=True, array_like=True, gc=False):
    client_order_id: int


class OrderAccepted(OrderEvent, frozen=True, array_like=True, gc=False, tag="accepted"):
    """Resting, or parked as a stop. `price` is where it rests: a post-only slide may have moved it."""

    price: int
    leaves_qty: int
    venue_order_id: str = ""


class OrderRejected(OrderEvent, frozen=True, array_like=True, gc=False, tag="rejected"):
    reason: Reason
    text: str = ""


class OrderFilled(OrderEvent, frozen=True, array_like=True, gc=False, tag="filled"):
    instrument_id: str
    execution_id: str
    side: Side
    price: int
    qty: int
    leaves_qty: int
    liquidity_side: LiquiditySide
    commission: int
    commission_currency: str


class OrderCanceled(OrderEvent, frozen=True, array_like=True, gc=False, tag="canceled"):
    qty: int
    reason: Reason


class OrderExpired(OrderEvent, frozen=True, array_like=True, gc=False, tag="expired"):
    qty: int


class OrderReplaced(OrderEvent, frozen=True, array_like=True, gc=False, tag="replaced"):
    """`filled_qty`: what of the order was filled when so much was left; -1: nobody says, and the stamps of fills decide."""

    price: int
    leaves_qty: int
    filled_qty: int = -1


class OrderTriggered(OrderEvent, frozen=True, array_like=True, gc=False, tag="triggered"):
    pass


class OrderRestated(OrderEvent, frozen=True, array_like=True, gc=False, tag="restated"):
    """The venue shrank the order by itself: self-trade prevention or reduce-only."""

    leaves_qty: int
    reason: Reason


class CancelRejected(OrderEvent, frozen=True, array_like=True, gc=False, tag="cancel_rejected"):
    reason: Reason


class ReplaceRejected(OrderEvent, frozen=True, array_like=True, gc=False, tag="replace_rejected"):
    reason: Reason


class OrderOutcomeUnknown(OrderEvent, frozen=True, array_like=True, gc=False, tag="outcome_unknown"):
    """A request was sent and no answer can be trusted; only a fact from the venue ends this (VENUES: the outcome rule)."""

    text: str = ""


class OrderDenied(OrderEvent, frozen=True, array_like=True, gc=False, tag="denied"):
    """Our own risk gate refused; nothing was sent. `limit`, `value` and `bound` say why in the units of that limit."""

    strategy_id: str
    instrument_id: str
    limit: str
    value: int
    bound: int


AnyOrderEvent = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCanceled
    | OrderExpired
    | OrderReplaced
    | OrderTriggered
    | OrderRestated
    | CancelRejected
    | ReplaceRejected
    | OrderOutcomeUnknown
    | OrderDenied
)
VenueFinding = ForeignOrderFound | ForeignFilled | VenueCompared | CashMoved | PositionCorrected
MemoryEvent = MemoryRequested | StrategySaved
AnyEvent = (
    Quote
    | Trade
    | Bar
    | Book
    | StatusChanged
    | GapDetected
    | TimerFired
    | Started
    | Stopping
    | TradingStateSet
    | StateRestored
    | Reconciled
    | ControlRequested
    | CancelAllRequested
    | FlattenRequested
    | TradingResumed
    | LimitTripped
    | Heartbeat
    | VenueFinding
    | MemoryEvent
    | ClientOrderRequested
    | ClientCancelRequested
    | ClientReplaceRequested
    | AnyOrderEvent
)
