"""The simulated venue's wire: frames of MessagePack, a length of four bytes in front. Bytes in, messages out; no sockets here.

    frame   = length of the payload u32, little-endian; payload
    payload = one message below as a tagged array: ["login", 1, "main", …]

Orders are core.commands, answers and the market core.events: the structs, and so the codec, that the journal has too. What is no
frame, no message, or a message that cannot be (a number beyond 64 bits, a fill of nothing) raises VenueProtocolError, and nothing
of it counts. Fields are only ever appended.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from core.commands import OrderCommand
from core.errors import VenueProtocolError
from core.events import (
    AnyOrderEvent,
    Book,
    CashMoved,
    Event,
    GapDetected,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderReplaced,
    OrderRestated,
    Quote,
    StatusChanged,
    Trade,
)
from core.units import INT64_MAX, INT64_MIN
from core.venue_adapter import VenueState

VERSION = 2
LENGTH: Final = struct.Struct("<I")
REQUEST_BYTES_MAX = 4_096  # one message to the venue
ANSWER_BYTES_MAX = 1 << 25  # one message of the venue: an account's whole state is the longest
TEXT_CHARACTERS_MAX = 256  # names, tokens and reasons
EVENTS_PER_MESSAGE_MAX = 4_096
BOOK_LEVELS_MAX = 10  # of a side, as the venue publishes them
DEAD_MAN_MS_MAX = 3_600_000
VENUE_ORDER_ID_MIN = 1 << 62  # ids from here on are of orders that the venue made for a switch; no client's id comes near
VENUE_ORDER_PREFIX = "V"  # VenueOrder.venue_order_id of such an order: V and how far its id is from the first
FIRST_LOGIN = -1
HEARTBEAT_NS = 1_000_000_000  # each side says something at least so often
SILENCE_NS_MAX = 5_000_000_000  # whoever has not been heard of for so long is gone

Role = Literal["trade", "switch", "watch"]  # watch hears what trade hears, and sends nothing


class Message(msgspec.Struct, frozen=True, array_like=True):
    pass


# To the venue.


class Login(Message, frozen=True, array_like=True, tag="login"):
    """First on a connection. `last_event`: the number of the account's last event seen; executions and movements of money behind
    it come with the state. FIRST_LOGIN: none was, and none come."""

    version: int
    account: str
    token: str
    role: Role
    last_event: int = FIRST_LOGIN


class SendCommand(Message, frozen=True, array_like=True, tag="command"):
    """Role trade only; its answers are order events."""

    command: OrderCommand


class Query(Message, frozen=True, array_like=True, tag="query"):
    """Open orders and positions now, executions and movements of money at or after `since_ts`. Answered by StateReply."""

    request: int
    since_ts: int


class CancelEverything(Message, frozen=True, array_like=True, tag="cancel_everything"):
    """Every order of the account, whoever sent it. Answered by Done once the venue has it."""

    request: int


class Flatten(Message, frozen=True, array_like=True, tag="flatten"):
    """Close every position by reduce-only market orders of the venue's own. Answered by Done once they are in."""

    request: int


class DeadMan(Message, frozen=True, array_like=True, tag="dead_man"):
    """Unless it comes again within `timeout_ms` the venue cancels everything by itself; 0 disarms. It outlives the connection."""

    request: int
    timeout_ms: int


class Heartbeat(Message, frozen=True, array_like=True, tag="heartbeat"):
    """Either way, when nothing else was sent for HEARTBEAT_NS."""

    ts: int


class Logout(Message, frozen=True, array_like=True, tag="logout"):
    """Either way: the last message on a connection."""

    reason: str


# From the venue.


class LoggedIn(Message, frozen=True, array_like=True, tag="logged_in"):
    """The account as it stands behind its event `number`; what follows on this connection begins at number + 1."""

    number: int
    ts: int
    state: VenueState


class LoginRefused(Message, frozen=True, array_like=True, tag="login_refused"):
    reason: str


class OrderEvents(Message, frozen=True, array_like=True, tag="order_events"):
    """Everything that happens to orders, numbered with CashEvents without a gap; `number` is that of the first one here."""

    number: int
    events: tuple[AnyOrderEvent, ...]


class CashEvents(Message, frozen=True, array_like=True, tag="cash_events"):
    """Money that the venue moved and no fill explains, numbered in one series with OrderEvents."""

    number: int
    events: tuple[CashMoved, ...]


class MarketEvents(Message, frozen=True, array_like=True, tag="market"):
    """`sequence` counts these messages on a connection, from 1: one that is missing was left out for a slow reader."""

    sequence: int
    events: tuple[Quote | Book | Trade | StatusChanged | GapDetected, ...]


class StateReply(Message, frozen=True, array_like=True, tag="state"):
    request: int
    number: int
    state: VenueState


class Done(Message, frozen=True, array_like=True, tag="done"):
    request: int


class FeedEnded(Message, frozen=True, array_like=True, tag="feed_ended"):
    """The market has an end and has reached it; orders are answered on."""

    reason: str


Request = Login | SendCommand | Query | CancelEverything | Flatten | DeadMan | Heartbeat | Logout
Answer = LoggedIn | LoginRefused | OrderEvents | CashEvents | MarketEvents | StateReply | Done | FeedEnded | Heartbeat | Logout

_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
# What msgspec raises on bytes that are no message: its own errors, and Python's for text that is no UTF-8 and for deep nesting.
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


def encode(message: Request | Answer) -> bytes:
    """One frame."""
    payload = _ENCODER.encode(message)
    return LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts a stream into payloads of at most `bytes_max`."""

    __slots__ = ("_buffer", "_bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """The payloads that are whole by now. Raises VenueProtocolError for a length that cannot be."""
        buffer = self._buffer
        buffer += data
        payloads = []
        start = 0
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            if not 0 < length <= self._bytes_max:
                raise VenueProtocolError(
                    f"a message of {length} bytes; there are none of more than {self._bytes_max}, and none empty"
                )
            end = start + LENGTH.size + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[start + LENGTH.size : end]))
            start = end
        del buffer[:start]
        return payloads


def decode_request(payload: bytes) -> Request:
    """Raises VenueProtocolError."""
    try:
        message = _REQUESTS.decode(payload)
    except _DECODE_ERRORS as error:
        raise VenueProtocolError(f"this is no message to a venue: {error}") from None
    _check_numbers(message)
    match message:
        case SendCommand(command=command):
            _check_numbers(command)
        case Login():
            _check_texts(message.account, message.token)
        case DeadMan(timeout_ms=timeout_ms):
            if not 0 <= timeout_ms <= DEAD_MAN_MS_MAX:
                raise VenueProtocolError(f"a dead-man switch of {timeout_ms} ms; 0 to {DEAD_MAN_MS_MAX}")
        case _:
            pass
    return message


def decode_answer(payload: bytes) -> Answer:
    """Raises VenueProtocolError."""
    try:
        message = _ANSWERS.decode(payload)
    except _DECODE_ERRORS as error:
        raise VenueProtocolError(f"this is no message of a venue: {error}") from None
    _check_numbers(message)
    match message:
        case MarketEvents(events=events) | OrderEvents(events=events) | CashEvents(events=events):
            if len(events) > EVENTS_PER_MESSAGE_MAX:
                raise VenueProtocolError(f"{len(events)} events in one message; at most {EVENTS_PER_MESSAGE_MAX}")
            for event in events:
                _check_event(event)
        case LoggedIn(state=state) | StateReply(state=state):
            _check_state(state)
        case _:
            pass
    return message


# What the types do not say.


def _check_numbers(struct_: msgspec.Struct) -> None:
    for value in msgspec.structs.astuple(struct_):
        if type(value) is int and not INT64_MIN <= value <= INT64_MAX:
            raise VenueProtocolError(f"{type(struct_).__name__}: {value} is beyond 64 bits")
        if type(value) is str and len(value) > TEXT_CHARACTERS_MAX:
            raise VenueProtocolError(f"{type(struct_).__name__}: a text of {len(value)} characters")


def _check_texts(*texts: str) -> None:
    for text in texts:
        if not text.isprintable():
            raise VenueProtocolError("a name or token holds what cannot be printed")


def _check_event(event: Event) -> None:
    _check_numbers(event)
    if event.ts_event < 0:
        raise VenueProtocolError(f"{type(event).__name__}: an event before 1970")
    match event:
        case Quote():
            _require(event.bid_qty >= 0 and event.ask_qty >= 0, event)
        case Book():
            _check_levels(event, event.bids, falling=True)
            _check_levels(event, event.asks, falling=False)
        case Trade():
            _require(event.qty >= 0, event)
        case OrderFilled():
            _require(event.qty > 0 and event.leaves_qty >= 0 and event.client_order_id > 0, event)
        case OrderAccepted() | OrderReplaced() | OrderRestated():
            _require(event.leaves_qty >= 0 and event.client_order_id > 0, event)
        case OrderCanceled() | OrderExpired():
            _require(event.qty >= 0 and event.client_order_id > 0, event)
        case CashMoved():
            _require(bool(event.venue and event.movement_id and event.currency) and event.client_order_id >= 0, event)
        case _:
            pass


def _check_levels(event: Book, levels: Sequence[tuple[int, int]], *, falling: bool) -> None:
    _require(len(levels) <= BOOK_LEVELS_MAX, event)
    before: int | None = None
    for price, qty in levels:
        _require(INT64_MIN <= price <= INT64_MAX and 0 < qty <= INT64_MAX, event)
        _require(before is None or (price < before if falling else price > before), event)
        before = price


def _check_state(state: VenueState) -> None:
    for order in state.open_orders:
        _check_numbers(order)
        if order.leaves_qty <= 0:
            raise VenueProtocolError(f"an open order of {order.leaves_qty}")
    for fill in state.executions:
        _check_event(fill)
    for moved in state.cash_moves:
        _check_event(moved)
    for instrument_id, qty in state.positions.items():
        if len(instrument_id) > TEXT_CHARACTERS_MAX or not INT64_MIN <= qty <= INT64_MAX:
            raise VenueProtocolError("a position that cannot be")


def _require(is_possible: bool, event: Any) -> None:
    if not is_possible:
        raise VenueProtocolError(f"an event that cannot be: {event!r}")
