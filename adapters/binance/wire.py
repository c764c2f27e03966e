"""Binance market-data bytes as typed messages: spot, USDⓈ-M and COIN-M, REST snapshots included. Pure and strict.

Numbers stay the venue's text here; book_sync converts them. Every frame becomes a message, a Skipped with its reason, or an
error: nothing is dropped silently. Fields of one letter keep the wire's names (developers.binance.com, "WebSocket Streams").
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.structs import astuple

from adapters.http.strict_json import require_strict
from core.errors import RefusedError, VenueProtocolError

PAYLOAD_BYTES_MAX = 1 << 23
# A side of a snapshot has at most 5,000 levels; a diff after a long stall may have more.
LEVELS_MAX = 20_000
# A frame of a combined stream begins with the stream's name.
STREAM_BYTES_MAX = 64
STREAMS_MAX = 1 << 12  # names remembered with their kinds

# Wire integers are ids and stamps: never negative, never beyond int64.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, Meta(max_length=64)]
Levels = Annotated[list[tuple[Text, Text]], Meta(max_length=LEVELS_MAX)]
L = TypeVar("L")


class DepthUpdate(Struct, Generic[L], frozen=True, gc=False):
    """Levels that changed in updates U to u; `pu` (futures) is the u of the update before. L: Levels, or Raw: as they came."""

    e: str
    E: Count
    s: str
    U: Count
    u: Count
    b: L
    a: L
    T: Count | UnsetType = UNSET
    pu: Count | UnsetType = UNSET
    ps: str | UnsetType = UNSET
    st: int | UnsetType = UNSET


class Snapshot(Struct, Generic[L], frozen=True, gc=False):
    """Reply of REST /depth: the whole book at last_update_id. L as in DepthUpdate."""

    last_update_id: Count = field(name="lastUpdateId")
    bids: L
    asks: L
    E: Count | UnsetType = UNSET
    T: Count | UnsetType = UNSET
    symbol: str | UnsetType = UNSET
    pair: str | UnsetType = UNSET


class Trade(Struct, frozen=True, gc=False):
    """One print; m: the buyer was the maker. Futures say in X what it was: MARKET, INSURANCE_FUND, ADL or NA."""

    e: str
    E: Count
    T: Count
    s: str
    t: Count
    p: Text
    q: Text
    m: bool
    X: str | UnsetType = UNSET
    M: bool | UnsetType = UNSET
    st: int | UnsetType = UNSET


class AggregateTrade(Struct, frozen=True, gc=False):
    """Prints first_trade_id to last_trade_id of one taker at one price."""

    e: str
    E: Count
    T: Count
    s: str
    a: Count
    p: Text
    q: Text
    first_trade_id: Count = field(name="f")
    last_trade_id: Count = field(name="l")
    m: bool
    M: bool | UnsetType = UNSET
    nq: Text | UnsetType = UNSET
    st: int | UnsetType = UNSET


class BookTicker(Struct, frozen=True, gc=False):
    """Best bid and ask after update u. Spot sends neither type nor time."""

    u: Count
    s: str
    b: Text
    B: Text
    a: Text
    A: Text
    e: str | UnsetType = UNSET
    E: Count | UnsetType = UNSET
    T: Count | UnsetType = UNSET
    ps: str | UnsetType = UNSET
    st: int | UnsetType = UNSET


class Skipped(Struct, frozen=True, gc=False):
    """A well-formed frame that says nothing about this book; `reason` is counted by the session."""

    reason: str


Message = DepthUpdate[L] | Snapshot[L] | Trade | AggregateTrade | BookTicker | Skipped


class _Envelope(Struct, frozen=True, gc=False):
    """What tells the kinds of frame apart, whichever of them this is."""

    stream: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    e: str | UnsetType = UNSET
    last_update_id: Raw | UnsetType = field(default=UNSET, name="lastUpdateId")
    result: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    msg: str | UnsetType = UNSET
    B: Raw | UnsetType = UNSET


class _RawDepth(Struct, frozen=True, gc=False):
    """A combined stream's frame with a depth update in it."""

    stream: str
    data: DepthUpdate[Raw]


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_raw_depth = msgspec.json.Decoder(_RawDepth).decode
_STRUCTS: dict[str, Any] = {
    "depthUpdate": DepthUpdate[Levels],
    "trade": Trade,
    "aggTrade": AggregateTrade,
    "bookTicker": BookTicker,
}
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(struct) for name, struct in _STRUCTS.items()}
_RAW_DECODERS = {**_DECODERS, "depthUpdate": msgspec.json.Decoder(DepthUpdate[Raw])}
_SNAPSHOT_DECODER = msgspec.json.Decoder(Snapshot[Levels])
_RAW_SNAPSHOT_DECODER = msgspec.json.Decoder(Snapshot[Raw])
_EVENT_OF_STREAM = {"depth": "depthUpdate", "trade": "trade", "aggTrade": "aggTrade", "bookTicker": "bookTicker"}
# Streams and events of the venue's that carry no book and no print of this symbol's own.
_OTHER_STREAMS = re.compile(
    r"!?(kline_|continuousKline_|indexPriceKline_|markPriceKline_|markPrice|indexPrice|miniTicker|ticker|avgPrice|forceOrder"
    r"|compositeIndex|assetIndex|blockTrade|rpiDepth|depth\d|contractInfo|tradingSession)"
)
_OTHER_EVENTS = frozenset(
    {
        "kline",
        "continuous_kline",
        "indexPrice_kline",
        "markPrice_kline",
        "markPriceUpdate",
        "indexPriceUpdate",
        "24hrTicker",
        "24hrMiniTicker",
        "1hTicker",
        "4hTicker",
        "1dTicker",
        "avgPrice",
        "forceOrder",
        "compositeIndex",
        "assetIndexUpdate",
        "contractInfo",
        "serverShutdown",
    }
)


def decode(payload: bytes) -> Message[Levels]:
    """The message in one frame: combined stream (`{"stream":…,"data":…}`), raw stream, or the body of a REST snapshot.

    Raises VenueProtocolError for what is not strict JSON (NaN, Infinity, duplicate keys, wrong types, a number with an
    exponent where an integer belongs) or no known frame, RefusedError where the venue answered with an error.
    """
    message: Message[Levels] = _decode(payload, _DECODERS, _SNAPSHOT_DECODER)
    return message


def decode_raw(payload: bytes) -> Message[Raw]:
    """As `decode`, levels left as they came: whoever reads them is as strict (native/levels_api.h)."""
    message: Message[Raw] = _usual_depth(payload) or _decode(payload, _RAW_DECODERS, _RAW_SNAPSHOT_DECODER)
    return message


def _usual_depth(payload: bytes) -> DepthUpdate[Raw] | None:
    """A depth update of a combined stream, read in one pass instead of two; None for all that is not exactly that.

    Depth updates are long, and looking through one for its kind costs as much as reading it.
    """
    if payload.find(b"@depth", 0, STREAM_BYTES_MAX) < 0 or len(payload) > PAYLOAD_BYTES_MAX:
        return None
    try:
        frame = _decode_raw_depth(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    diff = frame.data
    keys = 2 + 7 + (diff.T is not UNSET) + (diff.pu is not UNSET) + (diff.ps is not UNSET) + (diff.st is not UNSET)
    if diff.e != "depthUpdate" or _kind_of(frame.stream) != "depth" or payload.count(b":") != keys:
        return None
    return diff


@lru_cache(maxsize=STREAMS_MAX)
def _kind_of(stream: str) -> str:
    """The name reads symbol@kind@speed; a stream over all symbols reads !kind@arr."""
    return stream.partition("@")[0] if stream.startswith("!") else stream.partition("@")[2].partition("@")[0]


Decoders = dict[str, msgspec.json.Decoder[Any]]


def _decode(payload: bytes, decoders: Decoders, snapshots: msgspec.json.Decoder[Any]) -> Any:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise VenueProtocolError(f"a frame of {len(payload)} bytes is above the limit of {PAYLOAD_BYTES_MAX}")
    try:
        envelope = _decode_envelope(payload)
        if envelope.stream is not UNSET and envelope.data is not UNSET:
            return _decode_stream(payload, envelope.stream, envelope.data, decoders)
        return _decode_plain(payload, envelope, decoders, snapshots)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise VenueProtocolError(f"{error}: {payload[:200]!r}") from error


def _decode_stream(payload: bytes, stream: str, data: Raw, decoders: Decoders) -> Any:
    kind = _kind_of(stream)
    event = _EVENT_OF_STREAM.get(kind)
    if event is None:
        if _OTHER_STREAMS.match(kind) is None:
            raise VenueProtocolError(f"unknown stream {stream[:80]!r}: {payload[:200]!r}")
        require_strict(payload, bytes_max=PAYLOAD_BYTES_MAX)
        return Skipped(f"stream {kind}")
    return _decode_event(event, data, payload, decoders, keys_around=2)


def _decode_plain(payload: bytes, envelope: _Envelope, decoders: Decoders, snapshots: msgspec.json.Decoder[Any]) -> Any:
    if envelope.e is not UNSET:
        if envelope.e in _DECODERS:
            return _decode_event(envelope.e, payload, payload, decoders, keys_around=0)
        if envelope.e not in _OTHER_EVENTS:
            raise VenueProtocolError(f"unknown event {envelope.e[:80]!r}: {payload[:200]!r}")
        require_strict(payload, bytes_max=PAYLOAD_BYTES_MAX)
        return Skipped(f"event {envelope.e}")
    if envelope.last_update_id is not UNSET:
        snapshot = snapshots.decode(payload)
        _check_keys(snapshot, payload, keys_around=0)
        return snapshot
    if envelope.error is not UNSET or (envelope.code is not UNSET and envelope.msg is not UNSET):
        raise RefusedError(f"Binance refused: {payload[:300].decode('utf-8', 'backslashreplace')}")
    if envelope.id is not UNSET and envelope.result is not UNSET and bytes(envelope.result)[:1] in (b"n", b"["):
        return Skipped("subscription reply")  # null, or the list of subscriptions
    if envelope.B is not UNSET:
        return _decode_event("bookTicker", payload, payload, decoders, keys_around=0)
    raise VenueProtocolError(f"neither a stream, an event, a snapshot nor a reply: {payload[:200]!r}")


def _decode_event(event: str, data: Raw | bytes, payload: bytes, decoders: Decoders, keys_around: int) -> Any:
    message = decoders[event].decode(data)
    if message.e != event and not (message.e is UNSET and event == "bookTicker"):
        raise VenueProtocolError(f"expected event {event}, found {message.e!r}: {payload[:200]!r}")
    _check_keys(message, payload, keys_around)
    return message


def _check_keys(message: Struct, payload: bytes, keys_around: int) -> None:
    """Refuse duplicate keys, of which a JSON decoder keeps the last and says nothing.

    Each key has one colon, so where there are as many colons as distinct fields decoded, each came once. A new field or a
    colon inside a text makes the count differ, and then the slow check decides.
    """
    if payload.count(b":") != keys_around + _keys_of(message):
        require_strict(payload, bytes_max=PAYLOAD_BYTES_MAX)


def _keys_of(message: Struct) -> int:
    """How many of its fields were there."""
    values = astuple(message)
    return len(values) - values.count(UNSET)
