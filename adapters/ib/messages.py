"""What the gateway says, as frozen records: numbers are decimal text, None where the protocol says "unset". Pure."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    pass


class ServerVersion(Message, frozen=True):
    version: int
    time: str


class NextValidId(Message, frozen=True):
    order_id: int


class ManagedAccounts(Message, frozen=True):
    accounts: tuple[str, ...]


class CurrentTime(Message, frozen=True):
    seconds: int


class Error(Message, frozen=True):
    """`number` is an order's id, a request's, or -1; warnings and notices come the same way (adapters/ib/outcomes.py)."""

    number: int
    code: int
    text: str


class OpenOrder(Message, frozen=True):
    order_id: int
    client_id: int
    perm_id: int
    con_id: int
    symbol: str
    account: str
    action: str
    order_type: str
    total: str
    limit_price: str | None
    trigger_price: str | None
    order_ref: str
    status: str
    time_in_force: str = ""
    good_till: str = ""
    is_outside_hours: bool = False
    display: int = 0


class OpenOrdersEnd(Message, frozen=True):
    pass


class OrderStatus(Message, frozen=True):
    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: str
    remaining: str
    why_held: str


class Execution(Message, frozen=True):
    """`request` is -1 where nobody asked. `seconds`: UTC, whole seconds; the protocol knows no finer ones."""

    request: int
    execution_id: str
    seconds: int
    account: str
    side: str
    qty: str
    price: str
    perm_id: int
    client_id: int
    order_id: int
    total_filled: str
    order_ref: str
    liquidity: int
    con_id: int
    symbol: str


class ExecutionsEnd(Message, frozen=True):
    request: int


class Commission(Message, frozen=True):
    execution_id: str
    amount: str | None
    currency: str


class Position(Message, frozen=True):
    account: str
    con_id: int
    symbol: str
    security_type: str
    qty: str


class PositionsEnd(Message, frozen=True):
    pass


class Details(Message, frozen=True):
    """Of one contract; `rules` pairs each exchange that takes it with the number of its market rule."""

    request: int
    con_id: int
    symbol: str
    security_type: str
    local_symbol: str
    exchange: str
    currency: str
    multiplier: str
    min_tick: str
    price_magnifier: int
    size_increment: str | None
    order_types: tuple[str, ...]
    rules: tuple[tuple[str, int], ...]


class DetailsEnd(Message, frozen=True):
    request: int


class MarketRule(Message, frozen=True):
    """From each lowest price on, the increment that holds."""

    rule: int
    increments: tuple[tuple[str, str], ...]


class PriceTick(Message, frozen=True):
    request: int
    tick_type: int
    price: str | None
    size: str | None


class SizeTick(Message, frozen=True):
    request: int
    tick_type: int
    size: str | None


class GenericTick(Message, frozen=True):
    request: int
    tick_type: int
    value: str | None


class TextTick(Message, frozen=True):
    request: int
    tick_type: int
    text: str


class BidAsk(Message, frozen=True):
    request: int
    seconds: int
    bid_price: str | None
    ask_price: str | None
    bid_size: str | None
    ask_size: str | None


class Last(Message, frozen=True):
    request: int
    seconds: int
    price: str | None
    size: str | None
    is_unreported: bool


class Depth(Message, frozen=True):
    """`operation` 0 inserts, 1 updates, 2 deletes; side 0 is the ask, 1 the bid."""

    request: int
    position: int
    operation: int
    side: int
    price: str | None
    size: str | None


class DataType(Message, frozen=True):
    """1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    request: int
    kind: int


class Unread(Message, frozen=True):
    """A message that exists and that nothing here is made of."""

    message_id: int


MarketMessage = PriceTick | SizeTick | GenericTick | TextTick | BidAsk | Last | Depth | DataType
AnyMessage = (
    ServerVersion
    | NextValidId
    | ManagedAccounts
    | CurrentTime
    | Error
    | OpenOrder
    | OpenOrdersEnd
    | OrderStatus
    | Execution
    | ExecutionsEnd
    | Commission
    | Position
    | PositionsEnd
    | Details
    | DetailsEnd
    | MarketRule
    | MarketMessage
    | Unread
)
