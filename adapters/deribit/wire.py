"""Deribit's frames as typed messages: answers, errors, heartbeats, notifications. Pure and strict.

Numbers that are prices, amounts or money keep their own text (msgspec.Raw) until adapters/deribit/exact.py reads them at a
scale. Every frame becomes a message, a Skipped with its channel, or VenueProtocolError: nothing is dropped silently. Field
names are the wire's own, as documented for API v2 (docs.deribit.com: "JSON-RPC API", "Subscription Channels"); fields not
listed are ignored, but their JSON is still checked. What is not read in that documentation is marked [?].
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from core.errors import VenueProtocolError

PAYLOAD_BYTES_MAX = 1 << 23
LEVELS_MAX = 50_000
ITEMS_MAX = 10_000
QUOTED_MAX = 200  # bytes of a bad frame that an error repeats

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, Meta(max_length=128)]
Direction = Literal["buy", "sell"]
# new, change or delete; price; new amount (0 for delete).
LevelChange = tuple[Literal["new", "change", "delete"], Raw, Raw]
Levels = Annotated[list[LevelChange], Meta(max_length=LEVELS_MAX)]
PlainLevels = Annotated[list[tuple[Raw, Raw]], Meta(max_length=LEVELS_MAX)]  # price, amount


class Answer(Struct, frozen=True):
    """A successful answer. us_in, us_out: when the server had the request and had the answer, µs of its own clock."""

    id: int
    result: Raw
    us_in: int = 0
    us_out: int = 0
    testnet: bool | None = None


class Refusal(Struct, frozen=True):
    """An error answer; id None where the server could not even read the request's id."""

    id: int | None
    code: int
    text: str
    us_in: int = 0
    testnet: bool | None = None


class Heartbeat(Struct, frozen=True):
    """`is_test_request`: answer with public/test, or the server closes the connection."""

    is_test_request: bool


class Book(Struct, frozen=True):
    """book.INSTRUMENT.raw or .100ms: the first is a snapshot, each later one follows prev_change_id."""

    instrument_name: Name
    timestamp: Count
    change_id: Count
    bids: Levels
    asks: Levels
    type: Literal["snapshot", "change"]
    prev_change_id: Count | UnsetType | None = UNSET


class Quote(Struct, frozen=True):
    """quote.INSTRUMENT: the best prices; null or 0 where a side is empty [?]."""

    instrument_name: Name
    timestamp: Count
    best_bid_price: Raw
    best_bid_amount: Raw
    best_ask_price: Raw
    best_ask_amount: Raw


class PublicTrade(Struct, frozen=True):
    trade_id: Name
    trade_seq: Count
    instrument_name: Name
    timestamp: Count
    direction: Direction
    price: Raw
    amount: Raw
    liquidation: str | UnsetType | None = UNSET
    block_trade_id: str | UnsetType | None = UNSET


class PublicTrades(Struct, frozen=True):
    trades: list[PublicTrade]


class Order(Struct, frozen=True):
    """An order as every method and channel shows it. `price` is "market_price" for a stop that becomes a market order."""

    order_id: Name
    order_state: Name
    order_type: Name
    instrument_name: Name
    direction: Direction
    creation_timestamp: Count
    last_update_timestamp: Count
    price: Raw | UnsetType = UNSET
    amount: Raw | UnsetType = UNSET
    filled_amount: Raw | UnsetType = UNSET
    time_in_force: Name = ""
    label: Name = ""
    post_only: bool = False
    reduce_only: bool = False
    is_liquidation: bool = False
    trigger_price: Raw | UnsetType = UNSET
    trigger_order_id: Name | UnsetType = UNSET
    cancel_reason: Name | UnsetType = UNSET


class UserTrade(Struct, frozen=True):
    """A fill of ours. `state` is the state of the order after it; liquidation: M, T or MT where one side was forced."""

    trade_id: Name
    trade_seq: Count
    order_id: Name
    instrument_name: Name
    timestamp: Count
    direction: Direction
    price: Raw
    amount: Raw
    fee: Raw
    fee_currency: Name
    state: Name
    label: Name | None = None
    liquidity: Literal["M", "T"] | UnsetType = UNSET
    liquidation: str | UnsetType | None = UNSET


class Position(Struct, frozen=True):
    """`size` in the units of an order's amount, negative when short."""

    instrument_name: Name
    size: Raw
    direction: Literal["buy", "sell", "zero"]
    kind: Name = ""


class UserChanges(Struct, frozen=True):
    """user.changes: what happened to our orders in one step of the engine, with the trades and positions that go with it."""

    orders: Annotated[list[Order], Meta(max_length=ITEMS_MAX)]
    trades: Annotated[list[UserTrade], Meta(max_length=ITEMS_MAX)]
    positions: Annotated[list[Position], Meta(max_length=ITEMS_MAX)]
    instrument_name: Name = ""


class UserOrders(Struct, frozen=True):
    orders: list[Order]


class UserTrades(Struct, frozen=True):
    trades: list[UserTrade]


class Portfolio(Struct, frozen=True):
    """user.portfolio.CURRENCY."""

    currency: Name
    balance: Raw
    equity: Raw
    available_funds: Raw
    maintenance_margin: Raw
    initial_margin: Raw


class PlatformState(Struct, frozen=True):
    """platform_state: `locked` with the price index it is about, or `maintenance`."""

    price_index: Name | UnsetType = UNSET
    locked: bool | UnsetType = UNSET
    maintenance: bool | UnsetType = UNSET


class InstrumentState(Struct, frozen=True):
    """instrument.state.KIND.CURRENCY: created, started, settled, closed, deactivated or terminated."""

    instrument_name: Name
    state: Name
    timestamp: Count


class Skipped(Struct, frozen=True):
    """A well-formed notification that nobody here asked for."""

    channel: str


class Spoiled(Struct, frozen=True):
    """A well-formed envelope whose content breaks the protocol: whose it was is known, what it said is not."""

    text: str
    id: int | None = None
    channel: str = ""


Notification = (
    Book
    | Quote
    | PublicTrades
    | UserChanges
    | UserOrders
    | UserTrades
    | Portfolio
    | PlatformState
    | InstrumentState
    | Skipped
    | Spoiled
)
Message = Answer | Refusal | Heartbeat | Notification


class _Envelope(Struct, frozen=True):
    jsonrpc: Literal["2.0"]
    id: int | UnsetType | None = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    us_in: int = msgspec.field(default=0, name="usIn")
    us_out: int = msgspec.field(default=0, name="usOut")
    testnet: bool | None = None


class _Params(Struct, frozen=True):
    channel: Name
    data: Raw


class _HeartbeatParams(Struct, frozen=True):
    type: Literal["heartbeat", "test_request"]


class _Error(Struct, frozen=True):
    code: int
    message: str
    data: Raw | UnsetType = UNSET


_untyped = msgspec.json.Decoder().decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_params = msgspec.json.Decoder(_Params).decode
_heartbeat = msgspec.json.Decoder(_HeartbeatParams).decode
_error = msgspec.json.Decoder(_Error).decode
_book = msgspec.json.Decoder(Book).decode
_OBJECTS: dict[str, Any] = {
    "quote": msgspec.json.Decoder(Quote),
    "user.changes": msgspec.json.Decoder(UserChanges),
    "user.portfolio": msgspec.json.Decoder(Portfolio),
    "platform_state": msgspec.json.Decoder(PlatformState),
    "instrument.state": msgspec.json.Decoder(InstrumentState),
}
_orders = msgspec.json.Decoder(Annotated[list[Order], Meta(max_length=ITEMS_MAX)])
_user_trades = msgspec.json.Decoder(Annotated[list[UserTrade], Meta(max_length=ITEMS_MAX)])
_public_trades = msgspec.json.Decoder(Annotated[list[PublicTrade], Meta(max_length=ITEMS_MAX)])
_one_order = msgspec.json.Decoder(Order)
_PUBLIC_CHANNEL = re.compile(rb'"channel":"((?:book|trades|quote|ticker)\.[A-Za-z0-9_.-]{1,128})"')
_BAD = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def decode(payload: bytes) -> Message:
    """The message in one frame. Raises VenueProtocolError for what is not strict JSON, or no frame of this protocol.

    Where the envelope can be read and its content cannot, a Spoiled says whose content it was: an answer that cannot be read
    leaves its request's outcome unknown, and a spoiled book is a gap in that book alone.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise VenueProtocolError(f"a frame of {len(payload)} bytes is above the limit of {PAYLOAD_BYTES_MAX}")
    try:
        envelope = _envelope(payload)
    except _BAD as error:
        text = f"{error}: {payload[:QUOTED_MAX]!r}"
        # Not even JSON. Where it calls itself market data, it is no word about our orders: no reason to end the connection.
        public = _PUBLIC_CHANNEL.search(payload[:QUOTED_MAX])
        if public is not None:
            return Spoiled(text, channel=public[1].decode())
        raise VenueProtocolError(text) from error
    if envelope.method is UNSET:
        return _answer(payload, envelope)
    if envelope.id is not UNSET or envelope.params is UNSET:
        raise VenueProtocolError(f"a notification has params and no id: {payload[:QUOTED_MAX]!r}")
    return _notification(payload, envelope.method, envelope.params)


def _answer(payload: bytes, envelope: _Envelope) -> Message:
    if envelope.id is UNSET:
        raise VenueProtocolError(f"neither an answer nor a notification: {payload[:QUOTED_MAX]!r}")
    request = envelope.id
    try:
        require_distinct_keys(payload)
        if (envelope.result is UNSET) == (envelope.error is UNSET):
            raise VenueProtocolError(f"an answer has a result or an error: {payload[:QUOTED_MAX]!r}")
        if envelope.error is not UNSET:
            error = _error(envelope.error)
            text = error.message if error.data is UNSET else f"{error.message} {bytes(error.data)[:QUOTED_MAX].decode()}"
            return Refusal(request, error.code, text[: 2 * QUOTED_MAX], envelope.us_in, envelope.testnet)
        if request is None or envelope.result is UNSET:
            raise VenueProtocolError(f"a result answers nothing: {payload[:QUOTED_MAX]!r}")
        return Answer(request, envelope.result, envelope.us_in, envelope.us_out, envelope.testnet)
    except (VenueProtocolError, *_BAD) as problem:
        return Spoiled(f"{problem}"[: 2 * QUOTED_MAX], id=request)


def _notification(payload: bytes, method: str, params: Raw) -> Message:
    try:
        if method == "heartbeat":
            require_distinct_keys(payload)
            return Heartbeat(_heartbeat(params).type == "test_request")
        if method != "subscription":
            raise VenueProtocolError(f"unknown method {method[:80]!r}: {payload[:QUOTED_MAX]!r}")
        found = _params(params)
    except _BAD as error:
        raise VenueProtocolError(f"{error}: {payload[:QUOTED_MAX]!r}") from error
    try:
        return _content(payload, found.channel, found.data)
    except (VenueProtocolError, *_BAD) as problem:
        return Spoiled(f"{problem}"[: 2 * QUOTED_MAX], channel=found.channel)


# Colons in a book notification: jsonrpc, method, params, channel, data; then its own fields, prev_change_id aside.
_BOOK_COLONS = 5 + 6


def _content(payload: bytes, channel: str, data: Raw) -> Notification:
    kind, _, rest = channel.partition(".")
    if kind == "book":
        book = _book(data)
        # Each key has one colon: as many as there are distinct fields, and each came once. Otherwise the slow look decides.
        if payload.count(b":") != _BOOK_COLONS + (book.prev_change_id is not UNSET):
            require_distinct_keys(payload)
        if book.instrument_name != rest.partition(".")[0]:
            raise VenueProtocolError(f"channel {channel!r} speaks of {book.instrument_name!r}")
        if (book.type == "change") != isinstance(book.prev_change_id, int):
            raise VenueProtocolError(f"a {book.type} with prev_change_id {book.prev_change_id}")
        return book
    require_distinct_keys(payload)
    if kind == "trades":
        return PublicTrades(_public_trades.decode(data))
    if kind in ("user", "instrument"):
        kind = f"{kind}.{rest.partition('.')[0]}"
    if kind == "user.orders":
        # One order where the channel is raw, a list where it is aggregated.
        return UserOrders(_orders.decode(data) if bytes(data)[:1] == b"[" else [_one_order.decode(data)])
    if kind == "user.trades":
        return UserTrades(_user_trades.decode(data))
    if kind in _OBJECTS and channel != "platform_state.public_methods_state":
        decoded: Notification = _OBJECTS[kind].decode(data)
        return decoded
    return Skipped(channel)


# Results, by what was asked.


class AuthResult(Struct, frozen=True):
    """public/auth. expires_in in seconds; scope: words such as connection, trade:read_write, wallet:none."""

    access_token: str
    refresh_token: str
    expires_in: Count
    scope: str
    token_type: str = ""


class OrderResult(Struct, frozen=True):
    """private/buy, sell, edit."""

    order: Order
    trades: list[UserTrade] = []


class TradesResult(Struct, frozen=True):
    """private/get_user_trades_by_…; has_more: ask again from the last one."""

    trades: Annotated[list[UserTrade], Meta(max_length=ITEMS_MAX)]
    has_more: bool = False


class TickStep(Struct, frozen=True):
    above_price: Raw
    tick_size: Raw


class InstrumentResult(Struct, frozen=True):
    """One instrument of public/get_instrument(s)."""

    instrument_name: Name
    kind: Name
    base_currency: Name
    quote_currency: Name
    tick_size: Raw
    min_trade_amount: Raw
    contract_size: Raw
    maker_commission: Raw
    taker_commission: Raw
    is_active: bool
    creation_timestamp: Count
    counter_currency: Name = ""
    settlement_currency: Name = ""
    settlement_period: Name = ""
    instrument_type: Name = ""
    price_index: Name = ""
    expiration_timestamp: Count = 0
    option_type: Name = ""
    strike: Raw | UnsetType = UNSET
    tick_size_steps: list[TickStep] = []
    block_trade_tick_size: Raw | UnsetType = UNSET


class OrderBookResult(Struct, frozen=True):
    """public/get_order_book, as far as it is used: which change its picture is of, and the best levels then."""

    instrument_name: Name
    change_id: Count
    bids: PlainLevels
    asks: PlainLevels


class LogRow(Struct, frozen=True):
    """One row of private/get_transaction_log: what has changed the balance. `type` is one of a list that may grow.

    `change` is in `currency`; of a future's gains and a perpetual's funding the settlement's row says it. `total_interest_pl` is
    the session's funding, `interest_pl` what came since the row before. `side` of a delivery: close buy or close sell.
    """

    id: Count
    currency: Name
    timestamp: Count
    type: Name
    change: Raw | UnsetType = UNSET
    commission: Raw | UnsetType = UNSET
    instrument_name: Name | None = None
    trade_id: Name | int | None = None
    side: Name | None = None
    amount: Raw | UnsetType = UNSET
    price: Raw | UnsetType = UNSET
    interest_pl: Raw | UnsetType = UNSET
    total_interest_pl: Raw | UnsetType = UNSET


class LogResult(Struct, frozen=True):
    """`continuation`: ask again with it for older rows; None: there are no more."""

    logs: Annotated[list[LogRow], Meta(max_length=ITEMS_MAX)]
    continuation: Count | None = None


ResultType = TypeVar("ResultType")
_RESULT_TYPES: tuple[Any, ...] = (
    AuthResult,
    OrderResult,
    Order,
    list[Order],
    list[UserTrade],
    TradesResult,
    list[Position],
    InstrumentResult,
    list[InstrumentResult],
    OrderBookResult,
    LogResult,
    list[str],
    Count,
)
_RESULTS: dict[Any, Any] = {kind: msgspec.json.Decoder(kind) for kind in _RESULT_TYPES}


def decode_result(kind: type[ResultType], result: Raw) -> ResultType:
    """The result of an answer as `kind`. Raises VenueProtocolError where it is something else."""
    try:
        decoded: ResultType = _RESULTS[kind].decode(result)
    except _BAD as error:
        raise VenueProtocolError(f"{error}: {bytes(result)[:QUOTED_MAX]!r}") from error
    return decoded


def decode_ok(result: Raw) -> None:
    """Raises VenueProtocolError where a result is not the word ok."""
    if bytes(result) != b'"ok"':
        raise VenueProtocolError(f"expected ok: {bytes(result)[:QUOTED_MAX]!r}")


def require_distinct_keys(payload: bytes) -> None:
    """Refuse duplicate keys, of which a JSON decoder keeps the last and says nothing. Raises VenueProtocolError.

    Each key has one colon: where a decoder that keeps the last finds as many keys as there are colons, each came once. A colon
    inside a text makes the numbers differ, and then the slow look decides.
    """
    try:
        if _keys_in(_untyped(payload)) == payload.count(b":"):
            return
    except _BAD as error:
        raise VenueProtocolError(f"{error}: {payload[:QUOTED_MAX]!r}") from error
    _look_for_repeats(payload)


def _keys_in(found: object) -> int:
    """How many keys the objects in a decoded frame have, all together."""
    keys, left = 0, [found]
    while left:
        value = left.pop()
        if type(value) is dict:
            keys += len(value)
            left += [each for each in value.values() if type(each) in (dict, list)]
        elif type(value) is list:
            left += [each for each in value if type(each) in (dict, list)]
    return keys


def _look_for_repeats(payload: bytes) -> None:

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise VenueProtocolError(f"duplicate keys in {payload[:QUOTED_MAX]!r}")
        return found

    def refuse(text: str) -> None:
        raise VenueProtocolError(f"{text} is not a number: {payload[:QUOTED_MAX]!r}")

    try:
        json.loads(payload, object_pairs_hook=distinct, parse_constant=refuse, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise VenueProtocolError(f"{error}: {payload[:QUOTED_MAX]!r}") from error
