"""Alpaca's trading bodies and trade_updates frames as typed, strict structs: bytes in, structs out. Pure.

Unknown members are passed over (the venue adds some every year); a known one of another type, a body with duplicate keys, NaN or
too much of anything raises VenueProtocolError. Numbers stay bytes here, exact.py reads them.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Raw

from adapters.alpaca.exact import NULL
from adapters.http import strict_json
from core.errors import VenueProtocolError

BODY_BYTES_MAX: Final = 1 << 22  # 500 orders of about 1.2 KB, and room
FRAME_BYTES_MAX: Final = 1 << 18
ORDERS_PAGE_MAX: Final = 500
ACTIVITIES_PAGE_MAX: Final = 100

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Stamp = Annotated[str, Meta(max_length=40)]
Word = Annotated[str, Meta(max_length=64)]
LongText = Annotated[str, Meta(max_length=2_000)]
ClientId = Annotated[str, Meta(max_length=128)]

T = TypeVar("T")


class Status(Enum):
    """The 18 states of an order."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    DONE_FOR_DAY = "done_for_day"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    PENDING_REVIEW = "pending_review"
    ACCEPTED = "accepted"
    PENDING_NEW = "pending_new"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    STOPPED = "stopped"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    HELD = "held"


# No share of such an order can trade any more. A replaced one lives on under another id. `calculated` is either filled or done
# for the day with the settlement still to be reckoned, so by itself it ends nothing.
ENDED = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REPLACED, Status.REJECTED})


class OrderBody(msgspec.Struct, frozen=True):
    """An order as REST and the stream tell it. `qty` is null for an order by notional, which is never ours."""

    id: Id
    client_order_id: ClientId
    status: Status
    symbol: Word = ""
    side: Word = ""
    type: Word = ""
    time_in_force: Word = ""
    order_class: Word | None = ""
    qty: Raw = NULL
    filled_qty: Raw = NULL
    limit_price: Raw = NULL
    stop_price: Raw = NULL
    submitted_at: Stamp | None = None
    updated_at: Stamp | None = None
    filled_at: Stamp | None = None
    canceled_at: Stamp | None = None
    expired_at: Stamp | None = None
    failed_at: Stamp | None = None
    replaced_at: Stamp | None = None
    replaced_by: Id | None = None
    replaces: Id | None = None
    extended_hours: bool = False


class TradeUpdate(msgspec.Struct, frozen=True):
    """One event of trade_updates: price and qty are of this fill alone, the order is as it was right behind it."""

    event: Word
    order: OrderBody
    timestamp: Stamp | None = None
    at: Stamp | None = None
    price: Raw = NULL
    qty: Raw = NULL
    position_qty: Raw = NULL
    execution_id: Word | None = None


class Authorized(msgspec.Struct, frozen=True):
    status: Word = ""
    action: Word = ""
    message: LongText = ""


class Listening(msgspec.Struct, frozen=True):
    streams: list[Word] = []
    error: LongText = ""


class _Envelope(msgspec.Struct, frozen=True):
    stream: Word
    data: Raw = NULL


class Unheard(msgspec.Struct, frozen=True):
    """A message of a stream that is not known here."""

    stream: str


StreamMessage = TradeUpdate | Authorized | Listening | Unheard


class Canceling(msgspec.Struct, frozen=True):
    """A line of the 207 answer to DELETE /v2/orders."""

    id: Id
    status: int
    body: Any = None


class Closing(msgspec.Struct, frozen=True):
    """A line of the 207 answer to DELETE /v2/positions. Its body is an order, or an error."""

    symbol: Word
    status: int
    body: Raw = NULL


class PositionBody(msgspec.Struct, frozen=True):
    symbol: Word
    qty: Raw
    side: Word = ""
    asset_class: Word = ""


class ActivityBody(msgspec.Struct, frozen=True):
    """A FILL of /v2/account/activities. cum_qty and leaves_qty are as of right behind it."""

    id: Id
    activity_type: Word
    order_id: Id
    symbol: Word
    side: Word
    price: Raw
    qty: Raw
    cum_qty: Raw
    leaves_qty: Raw
    transaction_time: Stamp
    type: Word = ""


class MovementBody(msgspec.Struct, frozen=True):
    """An activity of /v2/account/activities that is no trade. `date` is what it is dated, `created_at` when it was made."""

    id: Id
    activity_type: Word
    activity_sub_type: Word | None = None
    date: Stamp | None = None
    created_at: Stamp | None = None
    net_amount: Raw = NULL
    currency: Word | None = None
    symbol: Word | None = None
    qty: Raw = NULL
    status: Word | None = None
    description: LongText | None = None


class AccountBody(msgspec.Struct, frozen=True):
    """pattern_day_trader and daytrade_count were taken out of answers in 2026."""

    id: Id
    account_number: Word
    status: Word
    currency: Word = "USD"
    cash: Raw = NULL
    equity: Raw = NULL
    buying_power: Raw = NULL
    multiplier: Raw = NULL
    trading_blocked: bool = False
    account_blocked: bool = False
    transfers_blocked: bool = False
    trade_suspended_by_user: bool = False
    shorting_enabled: bool = False
    pattern_day_trader: bool | None = None
    daytrade_count: int | None = None


class AssetBody(msgspec.Struct, frozen=True, rename={"asset_class": "class"}):
    id: Id
    symbol: Word
    status: Word
    tradable: bool
    asset_class: Word = ""
    exchange: Word = ""
    marginable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = False
    min_order_size: Raw = NULL
    min_trade_increment: Raw = NULL
    price_increment: Raw = NULL


class ClockBody(msgspec.Struct, frozen=True):
    timestamp: Stamp
    is_open: bool
    next_open: Stamp
    next_close: Stamp


class DayBody(msgspec.Struct, frozen=True):
    """A trading day: HH:MM of New York, session_* as HHMM where the venue says them."""

    date: Word
    open: Word
    close: Word
    session_open: Word = ""
    session_close: Word = ""


class ErrorBody(msgspec.Struct, frozen=True):
    """What every refusal carries. Some of the venue's gateways leave the code out."""

    message: LongText
    code: int = 0


class LatestQuote(msgspec.Struct, frozen=True):
    t: Stamp
    bp: Raw
    bs: Raw
    ap: Raw
    asz: Raw = msgspec.field(name="as")


class LatestQuotes(msgspec.Struct, frozen=True):
    quotes: dict[str, LatestQuote]


ORDER: msgspec.json.Decoder[OrderBody] = msgspec.json.Decoder(OrderBody)
ORDERS: msgspec.json.Decoder[list[OrderBody]] = msgspec.json.Decoder(list[OrderBody])
CANCELED: msgspec.json.Decoder[list[Canceling]] = msgspec.json.Decoder(list[Canceling])
CLOSED: msgspec.json.Decoder[list[Closing]] = msgspec.json.Decoder(list[Closing])
POSITIONS: msgspec.json.Decoder[list[PositionBody]] = msgspec.json.Decoder(list[PositionBody])
ACTIVITIES: msgspec.json.Decoder[list[ActivityBody]] = msgspec.json.Decoder(list[ActivityBody])
ROWS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
MOVEMENT: msgspec.json.Decoder[MovementBody] = msgspec.json.Decoder(MovementBody)
ACCOUNT: msgspec.json.Decoder[AccountBody] = msgspec.json.Decoder(AccountBody)
ASSET: msgspec.json.Decoder[AssetBody] = msgspec.json.Decoder(AssetBody)
CLOCK: msgspec.json.Decoder[ClockBody] = msgspec.json.Decoder(ClockBody)
CALENDAR: msgspec.json.Decoder[list[DayBody]] = msgspec.json.Decoder(list[DayBody])
ERROR: msgspec.json.Decoder[ErrorBody] = msgspec.json.Decoder(ErrorBody)
QUOTES: msgspec.json.Decoder[LatestQuotes] = msgspec.json.Decoder(LatestQuotes)
_ENVELOPE: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_BY_STREAM: dict[str, msgspec.json.Decoder[Any]] = {
    "trade_updates": msgspec.json.Decoder(TradeUpdate),
    "authorization": msgspec.json.Decoder(Authorized),
    "listening": msgspec.json.Decoder(Listening),
}


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """`body` as the decoder's type, strictly. Raises VenueProtocolError."""
    return strict_json.decode(body, decoder, bytes_max=BODY_BYTES_MAX)


class Movements(msgspec.Struct, frozen=True):
    """A page of activities that are no trades. One that cannot be read hides no other: `unread` says why, of each."""

    found: list[MovementBody]
    unread: list[str]
    rows: int


def read_movements(body: bytes) -> Movements:
    """Raises VenueProtocolError where it is no list."""
    rows = read(body, ROWS)
    found: list[MovementBody] = []
    unread: list[str] = []
    for row in rows:
        try:
            found.append(MOVEMENT.decode(row))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            unread.append(f"{error}: {strict_json.quoted(bytes(row))}")
    return Movements(found, unread, len(rows))


def read_frame(frame: str | bytes) -> StreamMessage:
    """A message of the trading stream: text from the live endpoint, binary with the same JSON from the paper one.

    Raises VenueProtocolError.
    """
    try:
        payload = frame.encode() if isinstance(frame, str) else frame
    except UnicodeEncodeError as error:
        raise VenueProtocolError(f"a text frame that is no Unicode: {error.reason}") from error
    envelope = strict_json.decode(payload, _ENVELOPE, bytes_max=FRAME_BYTES_MAX)
    decoder = _BY_STREAM.get(envelope.stream)
    if decoder is None:
        return Unheard(envelope.stream)
    try:
        message: StreamMessage = decoder.decode(envelope.data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{envelope.stream}: {error}: {strict_json.quoted(payload)}") from error
    return message


def authenticate(key: str, secret: str) -> str:
    return msgspec.json.encode({"action": "authenticate", "data": {"key_id": key, "secret_key": secret}}).decode()


def listen() -> str:
    return msgspec.json.encode({"action": "listen", "data": {"streams": ["trade_updates"]}}).decode()
