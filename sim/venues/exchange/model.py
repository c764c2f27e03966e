"""What a simulated exchange is made of: listings, accounts, orders, fills, prints, and what is asked of it.

Prices and quantities are points and units of the listing's Instrument, money is 10^-8 of its currency, stamps are ns UTC.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import msgspec

from core.enums import MarketStatus, OrderType, Reason, Side, TimeInForce
from core.instruments import Instrument

Trigger = Literal["last", "mark", "index"]
Origin = Literal["client", "manual", "forced"]


class State(IntEnum):
    NEW = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    CANCELED = 3  # whoever did it: `reason` and `cause` say why
    EXPIRED = 4  # its time ran out
    REJECTED = 5  # a stop that was refused when it was triggered
    UNTRIGGERED = 6


OPEN_STATES = frozenset({State.NEW, State.PARTIALLY_FILLED, State.UNTRIGGERED})


class Happened(IntEnum):
    """What an order's copy in `Exchange.take_changes` tells of."""

    PLACED = 0
    REPLACED = 1
    TRIGGERED = 2  # a stop became a live order
    RESTATED = 3  # the venue took quantity off: self-trade prevention or reduce-only
    FILLED = 4  # in part or whole: only ever inside a Fill
    CANCELED = 5
    EXPIRED = 6
    REJECTED = 7


class Listing(msgspec.Struct, kw_only=True, eq=False):
    """One instrument of the exchange. `mark`, `index`, `last` are points, 0: unknown.

    margin "cash": a buy needs its whole cost, a sell what is sold. "margin": positions of either sign, each worth at most
    `leverage_max` times what the account has. `takes_when_closed`: orders wait for `open` instead of being refused.
    """

    name: str
    rules: Instrument
    status: MarketStatus = MarketStatus.TRADING
    leverage_max: int = 1
    margin: Literal["cash", "margin"] = "cash"
    mark: int = 0
    index: int = 0
    last: int = 0
    trigger_by: Trigger = "last"
    takes_when_closed: bool = False
    symbol: int = -1  # in the native book
    tag: Any = None  # the simulator's own

    @property
    def reference(self) -> int:
        """What a position is valued at: the mark, or else the last price; 0: nobody knows."""
        return self.mark or self.last

    def trigger_price_of(self, trigger: Trigger) -> int:
        return {"last": self.last, "mark": self.mark, "index": self.index}[trigger]


class Holding(msgspec.Struct, kw_only=True, eq=True):
    """A position, signed. `value_open` (signed, as Instrument.notional has it) and `realized` in the settlement currency.

    Of a spot listing it is what was traded there, net; what is owned is in the account's balances.
    """

    qty: int = 0
    value_open: int = 0
    realized: int = 0


class Working(msgspec.Struct, kw_only=True, eq=True):
    """What an account's open orders on one listing could still do: quantities, and the money that its buys may cost."""

    buy_qty: int = 0
    sell_qty: int = 0
    buy_cost: int = 0


class Account(msgspec.Struct, kw_only=True, eq=False):
    """`number` is its owner in the native book. `leverage` by listing: lower than the listing's greatest."""

    name: str
    number: int
    balances: dict[str, int] = {}
    positions: dict[str, Holding] = {}
    working: dict[str, Working] = {}
    leverage: dict[str, int] = {}
    fees: dict[str, int] = {}
    tag: Any = None

    def holding(self, listing: Listing) -> Holding:
        return self.positions.setdefault(listing.name, Holding())

    def qty(self, listing: Listing) -> int:
        """Its position; makes none."""
        held = self.positions.get(listing.name)
        return 0 if held is None else held.qty

    def pay(self, currency: str, amount: int) -> None:
        """Add `amount` to a balance; negative takes away."""
        self.balances[currency] = self.balances.get(currency, 0) + amount


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `price` None: at the market; `trigger_price`: a stop, which waits for it.

    `is_if_touched`: a stop of the other direction (take profit). `reprices`: a post-only order that would take is moved one
    tick away instead of being refused. `display_qty` 0: all of it shows.
    """

    side: Side
    qty: int
    price: int | None = None
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    trigger_price: int | None = None
    trigger_by: Trigger | None = None  # None: as the listing says
    is_if_touched: bool = False
    post_only: bool = False
    reprices: bool = False
    reduce_only: bool = False
    display_qty: int = 0
    expire_ts: int = 0
    client_id: str = ""
    tag: Any = None


class Order(msgspec.Struct, kw_only=True, eq=False):
    """An order's whole life. `number` is its id in the native book; `qty` is the total, fills included.

    `order_type` stays STOP or STOP_LIMIT after the trigger. `value` is the sum of price * qty of its fills. `reason` and `cause`
    say why it ended: ours, and the caller's own words. `is_waiting`: taken while closed, not in the book yet.
    """

    number: int
    account: Account
    listing: Listing
    side: Side
    qty: int
    price: int | None
    trigger_price: int | None
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    reprices: bool
    reduce_only: bool
    display_qty: int
    expire_ts: int
    client_id: str
    trigger_by: Trigger
    is_if_touched: bool
    created_ts: int
    updated_ts: int
    origin: Origin = "client"
    state: State = State.NEW
    happened: Happened = Happened.PLACED
    filled_qty: int = 0
    value: int = 0
    reason: Reason = Reason.NONE
    cause: str = ""
    triggered_ts: int = 0
    is_waiting: bool = False
    is_lost: bool = False  # the venue has forgotten it
    tag: Any = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def leaves_qty(self) -> int:
        """What may still be filled; 0 of an order that has ended."""
        return max(self.qty - self.filled_qty, 0) if self.is_open else 0

    @property
    def is_stop(self) -> bool:
        return self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)


class Fill(msgspec.Struct, kw_only=True, eq=False):
    """One side of a trade. `fee` in 10^-8 of `fee_currency`, negative: a rebate. `order` goes on living.

    `order_then` is a copy of the order right behind this fill, so a Fill in `take_changes` stands for its order's change too.
    `profit` is what it realized, in the settlement currency. `corrects` is the number of the fill in whose place it stands.
    """

    number: int
    order: Order
    order_then: Order
    trade_number: int
    price: int
    qty: int
    fee: int
    fee_currency: str
    is_maker: bool
    ts: int
    position_after: int
    profit: int = 0
    is_busted: bool = False
    corrects: int = 0


class Print(msgspec.Struct, frozen=True):
    """A public trade. `maker` and `taker` are the numbers of the orders, 0: nobody's."""

    listing: Listing
    price: int
    qty: int
    taker_side: Side
    ts: int
    trade_number: int
    maker: int = 0
    taker: int = 0


class CashMove(msgspec.Struct, frozen=True):
    """Money that moved without a fill: funding, a deposit, a dividend."""

    account: Account
    listing: Listing | None
    currency: str
    amount: int
    ts: int
    cause: str


class Refused(Exception):
    """The exchange says no, and nothing has happened."""

    def __init__(self, reason: Reason, text: str = "") -> None:
        self.reason = reason
        super().__init__(text or reason.name.lower())


class NoFunds(Refused):
    """There is not enough money, or not enough to sell. `needed` and `available` in 10^-8 of `currency`, or in units."""

    def __init__(self, needed: int, available: int, currency: str) -> None:
        self.needed, self.available, self.currency = needed, available, currency
        super().__init__(Reason.NONE, f"needs {needed} {currency}, has {available}")
