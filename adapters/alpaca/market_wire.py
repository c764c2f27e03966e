"""The market data stream in MessagePack: frames in, typed messages out; requests out. Pure.

Every frame is an array of maps, each with its type under "T". Types that are not known here are passed over and counted: the
venue may add some. A known type with a wrong member breaks the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.msgpack import Ext

from core.errors import VenueProtocolError

FRAME_BYTES_MAX = 1 << 20
MESSAGES_PER_FRAME_MAX = 4_096
SYMBOLS_PER_REQUEST = 500

Symbol = Annotated[str, Meta(min_length=1, max_length=32)]
Word = Annotated[str, Meta(max_length=64)]
LongText = Annotated[str, Meta(max_length=500)]
Number = float | int


class QuoteMessage(msgspec.Struct, frozen=True, tag_field="T", tag="q"):
    """Best bid and offer; sizes are shares (before November 2025: round lots)."""

    symbol: Symbol = msgspec.field(name="S")
    bid_price: Number = msgspec.field(name="bp")
    bid_size: Number = msgspec.field(name="bs")
    ask_price: Number = msgspec.field(name="ap")
    ask_size: Number = msgspec.field(name="as")
    at: Ext = msgspec.field(name="t")


class TradeMessage(msgspec.Struct, frozen=True, tag_field="T", tag="t"):
    symbol: Symbol = msgspec.field(name="S")
    number: int = msgspec.field(name="i")
    price: Number = msgspec.field(name="p")
    size: Number = msgspec.field(name="s")
    at: Ext = msgspec.field(name="t")
    exchange: Word = msgspec.field(name="x", default="")


class BarMessage(msgspec.Struct, frozen=True, tag_field="T", tag="b"):
    """A minute, stamped with its beginning."""

    symbol: Symbol = msgspec.field(name="S")
    open: Number = msgspec.field(name="o")
    high: Number = msgspec.field(name="h")
    low: Number = msgspec.field(name="l")
    close: Number = msgspec.field(name="c")
    volume: Number = msgspec.field(name="v")
    at: Ext = msgspec.field(name="t")


class StatusMessage(msgspec.Struct, frozen=True, tag_field="T", tag="s"):
    """A halt, or its end."""

    symbol: Symbol = msgspec.field(name="S")
    code: Word = msgspec.field(name="sc")
    at: Ext = msgspec.field(name="t")
    message: LongText = msgspec.field(name="sm", default="")
    reason_code: Word = msgspec.field(name="rc", default="")
    reason: LongText = msgspec.field(name="rm", default="")
    tape: Word = msgspec.field(name="z", default="")


class BandsMessage(msgspec.Struct, frozen=True, tag_field="T", tag="l"):
    """Limit up, limit down: outside these prices nothing trades."""

    symbol: Symbol = msgspec.field(name="S")
    up: Number = msgspec.field(name="u")
    down: Number = msgspec.field(name="d")
    at: Ext = msgspec.field(name="t")
    indicator: Word = msgspec.field(name="i", default="")


class SuccessMessage(msgspec.Struct, frozen=True, tag_field="T", tag="success"):
    msg: Word = ""


class ErrorMessage(msgspec.Struct, frozen=True, tag_field="T", tag="error"):
    code: int = 0
    msg: LongText = ""


class SubscriptionMessage(msgspec.Struct, frozen=True, tag_field="T", tag="subscription"):
    """Everything that is subscribed to now."""

    trades: list[Symbol] = []
    quotes: list[Symbol] = []
    bars: list[Symbol] = []
    statuses: list[Symbol] = []
    lulds: list[Symbol] = []


MarketMessage = (
    QuoteMessage | TradeMessage | BarMessage | StatusMessage | BandsMessage | SuccessMessage | ErrorMessage | SubscriptionMessage
)


class _Tag(msgspec.Struct, frozen=True):
    kind: Word = msgspec.field(name="T")


_MESSAGES: msgspec.msgpack.Decoder[list[MarketMessage]] = msgspec.msgpack.Decoder(list[MarketMessage])
_ONE: msgspec.msgpack.Decoder[MarketMessage] = msgspec.msgpack.Decoder(MarketMessage)
_PARTS: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TAG: msgspec.msgpack.Decoder[_Tag] = msgspec.msgpack.Decoder(_Tag)
_KNOWN = frozenset({"q", "t", "b", "s", "l", "success", "error", "subscription"})
_ENCODER = msgspec.msgpack.Encoder()
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


def read_frame(frame: str | bytes) -> tuple[list[MarketMessage], int]:
    """The messages of a frame, and how many of types that are not known were passed over. Raises VenueProtocolError."""
    if isinstance(frame, str):
        raise VenueProtocolError(f"a text frame on a MessagePack stream: {frame[:100]!r}")
    if len(frame) > FRAME_BYTES_MAX:
        raise VenueProtocolError(f"a frame of {len(frame)} bytes; at most {FRAME_BYTES_MAX}")
    try:
        messages = _MESSAGES.decode(frame)
    except _DECODE_ERRORS as error:
        return _read_one_by_one(frame, error)
    if len(messages) > MESSAGES_PER_FRAME_MAX:
        raise VenueProtocolError(f"{len(messages)} messages in one frame; at most {MESSAGES_PER_FRAME_MAX}")
    return messages, 0


def _read_one_by_one(frame: bytes, first: Exception) -> tuple[list[MarketMessage], int]:
    """The slow way, for frames with a type that is not known among the others."""
    messages: list[MarketMessage] = []
    unknown = 0
    try:
        parts = _PARTS.decode(frame)
        if len(parts) > MESSAGES_PER_FRAME_MAX:
            raise VenueProtocolError(f"{len(parts)} messages in one frame; at most {MESSAGES_PER_FRAME_MAX}")
        for part in parts:
            if _TAG.decode(part).kind in _KNOWN:
                messages.append(_ONE.decode(part))
            else:
                unknown += 1
    except _DECODE_ERRORS as error:
        raise VenueProtocolError(f"no market data: {error}: {frame[:100]!r}") from error
    if not unknown:
        raise VenueProtocolError(f"no market data: {first}: {frame[:100]!r}") from first
    return messages, unknown


def auth(key: str, secret: str) -> bytes:
    return _ENCODER.encode({"action": "auth", "key": key, "secret": secret})


def subscribe(channels: Mapping[str, Sequence[str]]) -> bytes:
    """`channels`: trades, quotes, bars, statuses, lulds, and the symbols of each."""
    request: dict[str, Any] = {"action": "subscribe"}
    request |= {name: list(symbols) for name, symbols in channels.items() if symbols}
    return _ENCODER.encode(request)
